//! Lengths of rows, raised until none is longer than one before it.

/// Lengths that fall from row to row: each row's is that of the longest row from it on.
///
/// A stack of as many entries as there are lengths, built in one pass: a row raises the shorter ones before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Falling {
    /// Lengths, each below the one before, and how many rows have them.
    lengths: Vec<(usize, usize)>,
}

impl Falling {
    /// The lengths of rows with these lengths.
    pub fn of(lengths: impl Iterator<Item = usize>) -> Self {
        let mut falling = Self::default();
        lengths.for_each(|length| falling.push(length));
        falling
    }

    /// Counts one more row.
    pub fn push(&mut self, length: usize) {
        let mut n = 1;
        while let Some(&(last, n_last)) = self.lengths.last()
            && last <= length
        {
            n += n_last;
            self.lengths.pop();
        }
        self.lengths.push((length, n));
    }

    /// Lengths, each below the one before, and how many rows have them.
    pub fn lengths(&self) -> &[(usize, usize)] {
        &self.lengths
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shorter_rows_in_front_of_longer_ones_are_raised() {
        let falling = Falling::of([5, 2, 3, 3, 0, 1, 0, 0].into_iter());
        assert_eq!(falling.lengths(), [(5, 1), (3, 3), (1, 2), (0, 2)]);
        assert_eq!(Falling::of([].into_iter()).lengths(), []);
    }

    proptest! {
        #[test]
        fn every_row_gets_the_largest_length_from_it_on(
            lengths in prop::collection::vec(0..9_usize, 0..40),
        ) {
            let falling = Falling::of(lengths.iter().copied());
            let found = falling.lengths().iter();
            let found: Vec<_> = found.flat_map(|&(t, n)| vec![t; n]).collect();
            let longest = |i: usize| lengths[i..].iter().copied().max().unwrap_or(0);
            let expected: Vec<_> = (0..lengths.len()).map(longest).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
