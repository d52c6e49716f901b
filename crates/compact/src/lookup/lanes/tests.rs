//! All kinds of lanes against the portable one, and that against numbers worked by hand.

use proptest::prelude::*;

use super::*;
use crate::lookup::MOST_IN_LINE;
use crate::structure::{RING, Record};

/// Every operation of `L`, as lanes.
unsafe fn everything<L: Lanes>(bytes: &[u8], n: usize, mask: u16, odd: usize) -> Vec<[f32; 16]> {
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
            lanes(L::load_f32_in_line(
                at,
                (3 * LANES + odd) as u32,
                (1 << n.min(13)) - 1,
            )),
            lanes(L::load_first_f32(at, ((1_u32 << n) - 1) as u16)),
            lanes(L::load_f16(at, n)),
            lanes(L::load_u8(at, n)),
            lanes(L::load_u4(at, odd, n)),
            lanes(x.mul_add(L::splat(1.7), L::load_u8(at, n))),
            lanes(x.mul(L::splat(1.7))),
            lanes(x.add(L::load_u8(at, n))),
            lanes(L::splat_f16(at)),
            lanes(L::load_u8(at, 16).first(n)),
            lanes(L::load_u8(at, 16).expand(mask)),
            lanes(L::expand_f32(at, mask)),
            short,
        ]
    }
}

fn bits(all: &[[f32; 16]]) -> Vec<u32> {
    all.iter().flatten().map(|x| x.to_bits()).collect()
}

/// Where a ladder with the bounds of `values` has them and their neighbours.
unsafe fn steps<L: Lanes>(values: &[u32; LANES]) -> Vec<u64> {
    let mut ladder = Ladder::default();
    let mut firsts = *values;
    firsts.sort_unstable();
    for (s, &first) in firsts.iter().enumerate() {
        let start = (values[s] as usize) << s;
        ladder.put(s, (first, start), values[s] as usize, s as u32);
    }
    let mut found = Vec::new();
    for less in 0..2 {
        let rows = values.map(|x| x.saturating_sub(less).min(u32::MAX - 1));
        let mut records = Records::new();
        let first = RING + 5 * LANES;
        // SAFETY: said by the caller.
        unsafe { L::find_steps(&ladder, &rows, &mut records, first) };
        for place in 5 * LANES..6 * LANES {
            // SAFETY: just found.
            let records = unsafe {
                [
                    records.get::<true>(place, std::ptr::null()),
                    records.get::<false>(place, std::ptr::null()),
                ]
            };
            found.extend(records.iter().flat_map(numbers));
        }
    }
    found
}

/// All that a record says.
fn numbers(record: &Record) -> [u64; 4] {
    let Record {
        at,
        kept,
        skip,
        lanes,
    } = *record;
    [at.addr() as u64, kept.into(), u64::from(skip) % 16, lanes]
}

/// The lines of rows of 16 floats, 8, 4, 2, 1 and none, whose records stand one after the other.
unsafe fn lines<L: Lanes>(firsts: &[u32; MOST_IN_LINE], rows: &[u32; LANES]) -> Vec<u64> {
    let mut ladder = Ladder::default();
    let mut start = 0;
    for (s, &first) in firsts.iter().enumerate() {
        let kept = 16 >> s;
        ladder.put(s, (first, start), 4 * kept as usize, kept);
        let behind = firsts.get(s + 1).map_or(first, |&next| next);
        start += ((behind - first) as usize * 4 * kept as usize).next_multiple_of(64);
    }
    let mut records = Records::new();
    // SAFETY: said by the caller.
    unsafe { L::find_lines(&ladder, rows, &mut records, RING) };
    // SAFETY: just found.
    let found = (0..LANES).map(|place| unsafe { records.get_line(place, std::ptr::null()) });
    found.flat_map(|record| numbers(&record)).collect()
}

/// What `L` says of 16 rows of the blocks that `words` are.
unsafe fn blocks<L: Lanes>(words: &[u32; 32], rows: &[u32; LANES], n: usize) -> Weighed {
    let weights = [0, 6, 4, 8, 16, 32, 64, 128];
    // SAFETY: the caller has chosen an implementation this processor has; rows are of the 4 blocks.
    unsafe { L::weigh_blocks(words.as_ptr().cast(), rows, &weights, n) }
}

/// The operations of `L` on integers.
unsafe fn integers<L: Lanes>(words: &[u32], at: u32, word: u64) -> Vec<u64> {
    let (planes, weights) = words.split_at(words.len() / 2);
    let behind_one = |words: &[u32]| [&[9], words].concat();
    let n = weights.len().min(planes.len());
    let (planes, weights) = (behind_one(planes), behind_one(weights));
    // SAFETY: the caller has chosen an implementation this processor has.
    unsafe {
        let (sum, number) = L::weigh(planes.as_ptr().add(1), weights.as_ptr().add(1), n, at);
        let places = (0..66).map(|n| L::select(word, n) as u64);
        let mut bits = [0; 4];
        let columns = word.to_le_bytes().repeat(3);
        L::columns(columns.as_ptr(), at as usize % 24, &mut bits);
        let mut few = [0; 1];
        L::columns(columns.as_ptr(), at as usize % 24, &mut few);
        let values: [u32; LANES] = std::array::from_fn(|i| (word >> i) as u32);
        let mut packed = [0; LANES];
        L::compress(&values, word as u16, packed.as_mut_ptr());
        let packed = &packed[..(word as u16).count_ones() as usize];
        let others: [usize; LANES] = std::array::from_fn(|i| 1000 + i);
        let mut merged = [0; LANES];
        L::merge(&values, word as u16, (7, 64), &others, &mut merged);
        let merged = merged.map(|x| x as u64);
        let others = [
            few[0],
            sum.into(),
            number.into(),
            L::below(&values, at * 9999).into(),
        ];
        let steps = steps::<L>(&values);
        let packed: Vec<u64> = packed.iter().map(|&x| x.into()).collect();
        places
            .chain(others)
            .chain(bits)
            .chain(packed)
            .chain(merged)
            .chain(steps)
            .collect()
    }
}

#[test]
fn addresses_are_those_worked_by_hand() {
    let rows = std::array::from_fn(|i| 10 * i as u32);
    let others = std::array::from_fn(|i| 1000 + i);
    let mut found = [0; LANES];
    // SAFETY: any processor has the portable one.
    unsafe { Portable::merge(&rows, 0b101, (7, 64), &others, &mut found) };
    assert_eq!(found[..5], [7, 1000, 7 + 20 * 64, 1001, 1002]);
    assert_eq!(found[15], 1013);
}

#[test]
fn blocks_are_weighed_as_by_hand() {
    let mut words = [0; 32];
    // Block 2: its first word, a plane with bits 0, 2 and 5, one with bit 1.
    (words[16], words[17], words[18]) = (77, 0b10_0101, 0b10);
    // SAFETY: any processor has the portable one.
    let found = unsafe { blocks::<Portable>(&words, &[64 + 5; LANES], 2) };
    assert_eq!(found.first, [77; LANES]);
    assert_eq!(found.sum, [2 * 6 + 4; LANES]);
    assert_eq!(found.number, [0b01; LANES]);
}

#[test]
fn planes_are_weighed_as_by_hand() {
    let words = [0b0110_u32, 0b1011, 0b0101, 3, 10, 100];
    // SAFETY: any processor has the portable one.
    let found = unsafe { integers::<Portable>(&words, 2, 0b1_0010) };
    // Ones below bit 2: 1, 2 and 1; bits 2: 1, 0 and 1.
    assert_eq!(found[67..69], [3 + 20 + 100, 0b101]);
    assert_eq!(found[..4], [1, 4, 64, 64]);
}

proptest! {
    #[test]
    fn all_kinds_find_the_same_lines(
        firsts in prop::array::uniform5(1..10_000_000_u32),
        rows in prop::array::uniform16(0..20_000_000_u32),
    ) {
        let mut firsts = [&[0], &firsts[..]].concat();
        firsts.sort_unstable();
        let firsts: [u32; MOST_IN_LINE] = firsts.try_into().expect("six");
        // SAFETY: any processor has the portable one.
        let expected = unsafe { lines::<Portable>(&firsts, &rows) };
        #[cfg(target_arch = "x86_64")]
        for isa in crate::Isa::available() {
            let found = match isa {
                crate::Isa::Portable => continue,
                // SAFETY: the processor has it.
                crate::Isa::Avx2 => unsafe { lines::<Avx2>(&firsts, &rows) },
                // SAFETY: likewise.
                crate::Isa::Avx512 => unsafe { lines::<Avx512>(&firsts, &rows) },
            };
            prop_assert_eq!(&expected, &found, "{:?}", isa);
        }
    }

    #[test]
    fn all_kinds_weigh_blocks_alike(
        words in prop::array::uniform32(any::<u32>()),
        rows in prop::array::uniform16(0..128_u32),
        n in 0..8_usize,
    ) {
        // SAFETY: any processor has the portable one.
        let expected = unsafe { blocks::<Portable>(&words, &rows, n) };
        #[cfg(target_arch = "x86_64")]
        for isa in crate::Isa::available() {
            let found = match isa {
                crate::Isa::Portable => continue,
                // SAFETY: the processor has it.
                crate::Isa::Avx2 => unsafe { blocks::<Avx2>(&words, &rows, n) },
                // SAFETY: likewise.
                crate::Isa::Avx512 => unsafe { blocks::<Avx512>(&words, &rows, n) },
            };
            prop_assert_eq!(expected, found, "{:?}", isa);
        }
    }

    #[test]
    fn all_kinds_weigh_and_select_alike(
        words in prop::collection::vec(any::<u32>(), 0..=16),
        weights in prop::collection::vec(0..100_u32, 16),
        at in 0..32_u32,
        word: u64,
        thin: u64,
    ) {
        let n = words.len();
        let words = [words, weights[..n].to_vec()].concat();
        let word = if thin % 2 == 0 { word & thin } else { word };
        // SAFETY: any processor has the portable one.
        let expected = unsafe { integers::<Portable>(&words, at, word) };
        #[cfg(target_arch = "x86_64")]
        for isa in crate::Isa::available() {
            let found = match isa {
                crate::Isa::Portable => continue,
                // SAFETY: the processor has it.
                crate::Isa::Avx2 => unsafe { integers::<Avx2>(&words, at, word) },
                // SAFETY: likewise.
                crate::Isa::Avx512 => unsafe { integers::<Avx512>(&words, at, word) },
            };
            prop_assert_eq!(&expected, &found, "{:?}", isa);
        }
    }

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
    assert_eq!(all[11], expected);
    // Half bytes 1, 2, …: the high half of byte 1, the low half of byte 2, …
    assert_eq!(all[5][..4], [0.0, 2.0, 0.0, 3.0]);
}
