//! Sixteen 32-bit floats at a time, on three kinds of processor.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use portable::Portable;

/// Values in a vector.
pub const LANES: usize = 16;

/// Sixteen floats and what lookups do with them. Lane 0 is the first in memory.
///
/// # Safety
/// All of it asks for a processor with the instructions of the implementation. `load_*` reads exactly
/// the bytes of `n` values, at most 16, and none if `n` is 0; the lanes beyond are 0.
pub unsafe trait Lanes: Copy {
    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self;

    /// `n` 32-bit floats.
    unsafe fn load_f32(at: *const u8, n: usize) -> Self;

    /// `n` 16-bit floats.
    unsafe fn load_f16(at: *const u8, n: usize) -> Self;

    /// `n` bytes as floats 0 to 255.
    unsafe fn load_u8(at: *const u8, n: usize) -> Self;

    /// `n` half bytes as floats 0 to 15, from half byte `first` on, low half first.
    unsafe fn load_u4(at: *const u8, first: usize, n: usize) -> Self;

    /// `self · b + c`, rounded once.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;

    /// `self · b`.
    unsafe fn mul(self, b: Self) -> Self;

    /// The lanes below `n`; 0 in the others.
    unsafe fn first(self, n: usize) -> Self;

    /// The first lanes, moved in order to the lanes whose bit is set; 0 in the others.
    unsafe fn expand(self, mask: u16) -> Self;

    /// Writes the first `n` lanes.
    unsafe fn store(self, at: *mut f32, n: usize);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every operation of `L`, as lanes.
    unsafe fn everything<L: Lanes>(
        bytes: &[u8],
        n: usize,
        mask: u16,
        odd: usize,
    ) -> Vec<[f32; 16]> {
        let at = bytes.as_ptr();
        let lanes = |x: L| {
            let mut out = [0.0; LANES];
            // SAFETY: the array has 16 values.
            unsafe { x.store(out.as_mut_ptr(), LANES) };
            out
        };
        // SAFETY: the caller has chosen an implementation this processor has; there are 64 bytes.
        unsafe {
            let x = L::load_f32(at, n);
            let mut short = [7.0; LANES];
            x.store(short.as_mut_ptr(), n);
            vec![
                lanes(x),
                lanes(L::load_f16(at, n)),
                lanes(L::load_u8(at, n)),
                lanes(L::load_u4(at, odd, n)),
                lanes(x.mul_add(L::splat(1.7), L::load_u8(at, n))),
                lanes(x.mul(L::splat(1.7))),
                lanes(L::load_u8(at, 16).first(n)),
                lanes(L::load_u8(at, 16).expand(mask)),
                short,
            ]
        }
    }

    fn bits(all: &[[f32; 16]]) -> Vec<u32> {
        all.iter().flatten().map(|x| x.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn all_kinds_agree(
            floats in prop::collection::vec(-8.0..8.0_f32, 16),
            n in 0..=16_usize,
            mask: u16,
            odd in 0..3_usize,
        ) {
            let bytes: &[u8] = bytemuck::cast_slice(&floats);
            // SAFETY: any processor has the portable one.
            let expected = bits(&unsafe { everything::<Portable>(bytes, n, mask, odd) });
            #[cfg(target_arch = "x86_64")]
            for isa in crate::Isa::available() {
                let found = match isa {
                    crate::Isa::Portable => continue,
                    // SAFETY: the processor has it.
                    crate::Isa::Avx2 => unsafe { everything::<Avx2>(bytes, n, mask, odd) },
                    // SAFETY: likewise.
                    crate::Isa::Avx512 => unsafe { everything::<Avx512>(bytes, n, mask, odd) },
                };
                prop_assert_eq!(&expected, &bits(&found), "{:?}", isa);
            }
        }
    }

    #[test]
    fn expanding_keeps_the_order() {
        let bytes: Vec<u8> = (1..=64).collect();
        // SAFETY: any processor has the portable one.
        let all = unsafe { everything::<Portable>(&bytes, 16, 0b1000_0000_0000_1010, 1) };
        let mut expected = [0.0; 16];
        (expected[1], expected[3], expected[15]) = (1.0, 2.0, 3.0);
        assert_eq!(all[7], expected);
        // Half bytes 1, 2, …: the high half of byte 1, the low half of byte 2, …
        assert_eq!(all[3][..4], [0.0, 2.0, 0.0, 3.0]);
    }
}
