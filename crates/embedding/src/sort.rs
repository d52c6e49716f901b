//! Sorting the occurrences of a field by their ids.

/// Digits of a 32-bit id.
const N_DIGITS: usize = 4;

/// Values of a digit.
const N_VALUES: usize = 1 << 8;

/// Below this many occurrences, clearing and summing the counts costs more than comparing.
const SMALL: usize = 64;

/// Writes the occurrences `0..ids.len()` to `order`, sorted by id, equal ids in their order.
///
/// A least-significant-digit radix sort over the digits that the ids really have; the ids stay where they
/// are and fit the first-level cache for the usual batch. `scratch` and `order` are as long as `ids`.
pub fn sort_occurrences(ids: &[u32], order: &mut [u32], scratch: &mut [u32]) {
    let bits = u32::BITS - ids.iter().fold(0, |all, id| all | id).leading_zeros();
    if ids.len() < SMALL || bits == 0 {
        order.iter_mut().zip(0..).for_each(|(o, i)| *o = i);
        order.sort_unstable_by_key(|&o| (ids[o as usize], o));
        return;
    }
    let n_digits = bits.div_ceil(8) as usize;
    let mut counts = count_digits(ids, n_digits);
    // Every pass swaps the two, the last one has to end in `order`.
    let (mut to, mut from) = (order, scratch);
    if n_digits.is_multiple_of(2) {
        std::mem::swap(&mut to, &mut from);
    }
    scatter(ids, 0..ids.len() as u32, to, &mut counts[0], 0);
    let rest = counts.iter_mut().enumerate().take(n_digits).skip(1);
    for (digit, counts) in rest {
        std::mem::swap(&mut to, &mut from);
        scatter(ids, from.iter().copied(), to, counts, digit);
    }
}

type Counts = [u32; N_VALUES];

/// Where the first occurrence of each value of each digit goes.
fn count_digits(ids: &[u32], n_digits: usize) -> [Counts; N_DIGITS] {
    let mut counts = [[0; N_VALUES]; N_DIGITS];
    for (digit, counts) in counts.iter_mut().enumerate().take(n_digits) {
        ids.iter().for_each(|&id| counts[value_of(id, digit)] += 1);
        let mut next = 0;
        for count in counts {
            next += std::mem::replace(count, next);
        }
    }
    counts
}

#[inline(always)]
fn value_of(id: u32, digit: usize) -> usize {
    (id >> (8 * digit)) as usize % N_VALUES
}

#[inline(always)]
fn scatter(
    ids: &[u32],
    from: impl Iterator<Item = u32>,
    to: &mut [u32],
    next: &mut Counts,
    digit: usize,
) {
    for occurrence in from {
        let next = &mut next[value_of(ids[occurrence as usize], digit)];
        to[*next as usize] = occurrence;
        *next += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(ids: &[u32]) {
        let mut expected: Vec<u32> = (0..ids.len() as u32).collect();
        expected.sort_by_key(|&o| ids[o as usize]);
        let (mut order, mut scratch) = (vec![7; ids.len()], vec![7; ids.len()]);
        sort_occurrences(ids, &mut order, &mut scratch);
        assert_eq!(order, expected);
    }

    proptest! {
        #[test]
        fn equals_the_stable_sort(
            ids in prop::collection::vec(any::<u32>(), 0..400),
            bits in 0..33u32,
        ) {
            let narrow = ids.iter().map(|id| id.checked_shr(32 - bits).unwrap_or(0));
            check(&narrow.collect::<Vec<_>>());
        }
    }
}
