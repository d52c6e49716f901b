//! Sorting 32-bit keys digit by digit.
//!
//! A least-significant-digit radix sort: three stable scatters by 11, 11 and 10 bits. Each is one pass
//! over memory whatever the order of the keys, where a comparison sort makes `log2 n`. The counts of
//! all three digits come from one pass, and a digit that all keys share is skipped (the scores of a
//! model have few exponents).

const DIGIT_BITS: u32 = 11;
const N_DIGITS: usize = 3;
const N_VALUES: usize = 1 << DIGIT_BITS;

/// Below this many keys, clearing and summing the counts costs more than comparing.
const SMALL: usize = 2048;

type Counts = [usize; N_VALUES];

/// Sorts `keys` ascending; needs scratch memory of the same size.
pub(crate) fn sort_keys(keys: &mut Vec<u32>) {
    if keys.len() < SMALL {
        keys.sort_unstable();
        return;
    }
    let mut scratch = vec![0; keys.len()];
    for (digit, counts) in count_digits(keys).iter().enumerate() {
        let is_shared = counts[value_of(keys[0], digit)] == keys.len();
        if !is_shared {
            scatter(keys, &mut scratch, digit, starts(counts));
            std::mem::swap(keys, &mut scratch);
        }
    }
}

fn count_digits(keys: &[u32]) -> [Counts; N_DIGITS] {
    let mut counts = [[0; N_VALUES]; N_DIGITS];
    for &key in keys {
        for (digit, counts) in counts.iter_mut().enumerate() {
            counts[value_of(key, digit)] += 1;
        }
    }
    counts
}

fn value_of(key: u32, digit: usize) -> usize {
    (key >> (DIGIT_BITS * digit as u32)) as usize % N_VALUES
}

/// Where the first key of each digit value goes: the exclusive running sum.
fn starts(counts: &Counts) -> Counts {
    let mut next = 0;
    counts.map(|count| {
        let start = next;
        next += count;
        start
    })
}

fn scatter(keys: &[u32], sorted: &mut [u32], digit: usize, mut next: Counts) {
    for &key in keys {
        let slot = &mut next[value_of(key, digit)];
        sorted[*slot] = key;
        *slot += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn check(mut keys: Vec<u32>) {
        let mut expected = keys.clone();
        expected.sort_unstable();
        sort_keys(&mut keys);
        assert_eq!(keys, expected);
    }

    #[test]
    fn sizes_around_the_switch_and_shared_digits() {
        for n in [0, 1, 2, SMALL - 1, SMALL, SMALL + 1, 10_000] {
            let spread = |i: usize| (i as u32).wrapping_mul(0x9e37_79b9);
            check((0..n).map(spread).collect());
            check((0..n).map(|i| spread(i) & 0x7ff).collect());
            check((0..n).map(|i| spread(i) & 0xffc0_0000).collect());
            check((0..n).map(|i| spread(i) & 0x003f_f800).collect());
            check(vec![u32::MAX; n]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn radix_equals_comparison(keys in vec(any::<u32>(), SMALL..3 * SMALL)) {
            check(keys);
        }
    }
}
