//! The n-th largest of very many numbers, without sorting them or keeping a copy.

/// Bits of a key that one pass settles, from the highest on.
const DIGITS: [u32; 3] = [11, 11, 10];

/// Where the largest keys end: all above `key` are among them, and `n_ties` of those equal to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub key: u32,
    pub n_ties: u64,
}

/// The keys of one pass whose digit counts: those that begin with the digits found so far.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    prefix: u64,
    shift: u32,
    n_bits: u32,
}

/// How often each value of a digit occurs.
pub type Counts = Vec<u64>;

/// A key whose order as an integer is that of the number.
#[inline(always)]
pub fn key_of(x: f32) -> u32 {
    let bits = x.to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 1 << 31
    }
}

/// The cut below the `n` largest keys, `n` from 1 to the number of keys; `count` counts the digits of all
/// keys in a pass, and is called three times.
pub fn cut_below(n: u64, count: impl Fn(Pass) -> Counts) -> Cut {
    let (mut wanted, mut prefix, mut shift) = (n, 0, u32::BITS);
    for n_bits in DIGITS {
        shift -= n_bits;
        let counts = count(Pass {
            prefix,
            shift,
            n_bits,
        });
        let mut digit = counts.len() - 1;
        while digit > 0 && counts[digit] < wanted {
            wanted -= counts[digit];
            digit -= 1;
        }
        prefix = prefix << n_bits | digit as u64;
    }
    Cut {
        key: prefix as u32,
        n_ties: wanted,
    }
}

impl Pass {
    /// Counts of no key yet.
    pub fn zeros(self) -> Counts {
        vec![0; 1 << self.n_bits]
    }

    /// Counts one key.
    #[inline(always)]
    pub fn add(self, counts: &mut [u64], key: u32) {
        let rest = u64::from(key) >> self.shift;
        if rest >> self.n_bits == self.prefix {
            counts[rest as usize & ((1 << self.n_bits) - 1)] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(n: u64, keys: &[u32]) -> Cut {
        cut_below(n, |pass| {
            let mut counts = pass.zeros();
            keys.iter().for_each(|&key| pass.add(&mut counts, key));
            counts
        })
    }

    #[test]
    fn keys_have_the_order_of_the_numbers() {
        let rising = [
            -f32::INFINITY,
            -2.0,
            -1e-40,
            0.0,
            1e-40,
            0.5,
            3.0,
            f32::INFINITY,
        ];
        assert!(rising.map(key_of).is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn the_cut_is_that_of_a_sort() {
        let spread = |i: u32| i.wrapping_mul(0x9e37_79b9);
        let cases: [Vec<u32>; 4] = [
            (0..1000).map(spread).collect(),
            (0..1000).map(|i| spread(i) & 0xc000_0401).collect(),
            vec![u32::MAX; 5],
            vec![0; 5],
        ];
        for keys in cases {
            let mut falling = keys.clone();
            falling.sort_unstable_by(|a, b| b.cmp(a));
            for n in [1, 2, 5, keys.len() / 2, keys.len()] {
                let key = falling[n - 1];
                let n_above = falling.iter().filter(|&&k| k > key).count();
                let n_ties = (n - n_above) as u64;
                assert_eq!(cut(n as u64, &keys), Cut { key, n_ties });
            }
        }
    }
}
