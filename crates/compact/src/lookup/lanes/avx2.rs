//! AVX2, FMA, F16C and BMI2: two registers of eight.

use std::arch::x86_64::*;

use super::{LANES, Lanes};

/// Two 256-bit registers.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(__m256, __m256);

/// Sign bits for the first `n` of eight lanes.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn mask(n: usize) -> __m256i {
    // SAFETY: said above.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lanes)
    }
}

/// The first `n` bytes at `at`, at most 32, and zeros.
///
/// # Safety
/// There are `n` bytes.
#[inline(always)]
unsafe fn partial(at: *const u8, n: usize) -> [u8; 32] {
    let mut bytes = [0; 32];
    // SAFETY: said above.
    unsafe { std::ptr::copy_nonoverlapping(at, bytes.as_mut_ptr(), n) };
    bytes
}

/// Sixteen bytes as floats.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
unsafe fn bytes_to_floats(bytes: __m128i) -> Avx2 {
    // SAFETY: said above.
    unsafe {
        let high = _mm_bsrli_si128::<8>(bytes);
        let convert = |half| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(half));
        Avx2(convert(bytes), convert(high))
    }
}

/// The first lanes, moved to the lanes of `mask`.
///
/// # Safety
/// The processor has AVX2 and BMI2.
#[inline(always)]
unsafe fn expand_half(x: __m256, mask: u8) -> __m256 {
    // SAFETY: said above.
    unsafe {
        // A byte of ones for every set bit; their order numbers go there.
        let bytes = _pdep_u64(mask.into(), 0x0101_0101_0101_0101) * 0xff;
        let from = _pdep_u64(0x0706_0504_0302_0100, bytes);
        let from = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(from as i64));
        let keep = _mm256_cvtepi8_epi32(_mm_cvtsi64_si128(bytes as i64));
        let moved = _mm256_permutevar8x32_ps(x, from);
        _mm256_and_ps(moved, _mm256_castsi256_ps(keep))
    }
}

// SAFETY: loads and stores are masked to `n` values, or read a copy of them.
unsafe impl Lanes for Avx2 {
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller's processor has it; so everywhere below.
        unsafe { Self(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }

    #[inline(always)]
    unsafe fn load_f32(at: *const u8, n: usize) -> Self {
        let at = at.cast::<f32>();
        // SAFETY: masked to the caller's `n` values.
        unsafe {
            let high = _mm256_maskload_ps(at.wrapping_add(8), mask(n.saturating_sub(8)));
            Self(_mm256_maskload_ps(at, mask(n)), high)
        }
    }

    #[inline(always)]
    unsafe fn load_f16(at: *const u8, n: usize) -> Self {
        // SAFETY: 32 bytes, the caller's or those of the copy.
        unsafe {
            let copy;
            let mut from = at;
            if n < LANES {
                copy = partial(at, 2 * n);
                from = copy.as_ptr();
            }
            let half = |i| _mm256_cvtph_ps(_mm_loadu_si128(from.add(i).cast()));
            Self(half(0), half(16))
        }
    }

    #[inline(always)]
    unsafe fn load_u8(at: *const u8, n: usize) -> Self {
        // SAFETY: 16 bytes, the caller's or those of the copy.
        unsafe {
            if n == LANES {
                return bytes_to_floats(_mm_loadu_si128(at.cast()));
            }
            bytes_to_floats(_mm_loadu_si128(partial(at, n).as_ptr().cast()))
        }
    }

    #[inline(always)]
    unsafe fn load_u4(at: *const u8, first: usize, n: usize) -> Self {
        let odd = first % 2;
        // SAFETY: the copy has 32 bytes; there are bytes for the caller's `n` values.
        unsafe {
            let copy = partial(at.wrapping_add(first / 2), (odd + n).div_ceil(2));
            let word = u128::from_le_bytes(*copy.first_chunk().unwrap_unchecked());
            let keep = if n == LANES {
                u64::MAX
            } else {
                (1 << (4 * n)) - 1
            };
            let halves = _mm_cvtsi64_si128(((word >> (4 * odd)) as u64 & keep) as i64);
            let low_half = _mm_set1_epi8(15);
            let even = _mm_and_si128(halves, low_half);
            let odd = _mm_and_si128(_mm_srli_epi16::<4>(halves), low_half);
            bytes_to_floats(_mm_unpacklo_epi8(even, odd))
        }
    }

    #[inline(always)]
    unsafe fn splat_f16(at: *const u8) -> Self {
        // SAFETY: the caller has one value.
        unsafe {
            let half = _mm_set1_epi16(at.cast::<i16>().read_unaligned());
            let all = _mm256_cvtph_ps(half);
            Self(all, all)
        }
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let low = _mm256_fmadd_ps(self.0, b.0, c.0);
            Self(low, _mm256_fmadd_ps(self.1, b.1, c.1))
        }
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_add_ps(self.0, b.0), _mm256_add_ps(self.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_mul_ps(self.0, b.0), _mm256_mul_ps(self.1, b.1)) }
    }

    #[inline(always)]
    unsafe fn first(self, n: usize) -> Self {
        // SAFETY: as above.
        unsafe {
            let keep = |x, n| _mm256_and_ps(x, _mm256_castsi256_ps(mask(n)));
            Self(keep(self.0, n), keep(self.1, n.saturating_sub(8)))
        }
    }

    #[inline(always)]
    unsafe fn expand(self, mask: u16) -> Self {
        let mut lanes = [0.0_f32; LANES + 8];
        let (low, high) = (mask as u8, (mask >> 8) as u8);
        // SAFETY: the high half begins at most 8 lanes into the array of 24.
        unsafe {
            self.store(lanes.as_mut_ptr(), LANES);
            let rest = _mm256_loadu_ps(lanes.as_ptr().add(low.count_ones() as usize));
            Self(expand_half(self.0, low), expand_half(rest, high))
        }
    }

    #[inline(always)]
    unsafe fn store(self, at: *mut f32, n: usize) {
        // SAFETY: masked to the caller's `n` values.
        unsafe {
            _mm256_maskstore_ps(at, mask(n), self.0);
            _mm256_maskstore_ps(at.wrapping_add(8), mask(n.saturating_sub(8)), self.1);
        }
    }

    #[inline(always)]
    unsafe fn weigh(planes: *const u32, weights: *const u32, n: usize, at: u32) -> (u32, u32) {
        // SAFETY: the caller has `n` of each.
        unsafe { super::portable::weigh(planes, weights, n, at) }
    }

    #[inline(always)]
    unsafe fn below(values: &[u32; LANES], bound: u32) -> u16 {
        // SAFETY: any processor has the portable ones.
        unsafe { super::Portable::below(values, bound) }
    }

    #[inline(always)]
    unsafe fn compress(values: &[u32; LANES], mask: u16, to: *mut u32) {
        // SAFETY: as above.
        unsafe { super::Portable::compress(values, mask, to) }
    }

    #[inline(always)]
    unsafe fn columns(at: *const u8, n: usize, words: &mut [u64]) {
        // SAFETY: as above.
        unsafe { super::Portable::columns(at, n, words) }
    }

    #[inline(always)]
    unsafe fn select(word: u64, n: usize) -> usize {
        if n >= 64 {
            return 64;
        }
        // SAFETY: the caller's processor has BMI2.
        unsafe { _pdep_u64(1 << n, word) }.trailing_zeros() as usize
    }
}
