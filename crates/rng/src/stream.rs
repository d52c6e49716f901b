//! Named streams and the distributions drawn from them.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The number a run is reproduced from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(u64);

impl Seed {
    /// Wraps a user's seed; every value is valid.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The number given by the user.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The stream for `purpose`, number `index`, at its first word.
    ///
    /// The key is `xxh3-128(purpose, seed) ‖ xxh3-128(purpose, !seed)`, the ChaCha stream number is
    /// `index`: both functions are specified, so the bits are the same on every machine.
    pub fn stream(self, purpose: &str, index: u64) -> Stream {
        let mut key = [0u8; 32];
        key[..16].copy_from_slice(&xxh3_128_with_seed(purpose.as_bytes(), self.0).to_le_bytes());
        key[16..].copy_from_slice(&xxh3_128_with_seed(purpose.as_bytes(), !self.0).to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(index);
        Stream { rng }
    }
}

/// Where a [`Stream`] stands: what a checkpoint has to keep of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(pub u128);

/// A ChaCha8 generator that can be moved to any word.
#[derive(Clone, Debug)]
pub struct Stream {
    rng: ChaCha8Rng,
}

impl Stream {
    /// Moves to 32-bit word `word` of the stream.
    pub fn seek(&mut self, word: u64) {
        self.rng.set_word_pos(u128::from(word));
    }

    /// The position to save.
    pub fn position(&self) -> Position {
        Position(self.rng.get_word_pos())
    }

    /// Goes back to a saved position.
    pub fn restore(&mut self, position: Position) {
        self.rng.set_word_pos(position.0);
    }

    /// The next 32 random bits.
    pub fn word(&mut self) -> u32 {
        self.rng.next_u32()
    }

    /// The next 64 random bits (two words).
    pub fn word64(&mut self) -> u64 {
        let low = u64::from(self.word());
        low | (u64::from(self.word()) << 32)
    }

    /// Uniform in `[0, 1)` with 24 bits; one word.
    pub fn uniform(&mut self) -> f32 {
        unit_f32(self.word())
    }

    /// Uniform in `[0, 1)` with 53 bits; two words.
    pub fn uniform_f64(&mut self) -> f64 {
        (self.word64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform integer in `0..n` without bias worth naming (64-bit multiply-shift, bias below
    /// `n / 2^64`); two words.
    ///
    /// # Panics
    /// When `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "an empty range has no element");
        ((u128::from(self.word64()) * u128::from(n)) >> 64) as u64
    }

    /// Fills `out` with `U(-bound, bound)`; one word for each value.
    pub fn fill_uniform(&mut self, out: &mut [f32], bound: f32) {
        for x in out {
            *x = (2.0 * self.uniform() - 1.0) * bound;
        }
    }

    /// Fills `out` with `N(0, std²)`; two words for each value, so that value `i` of a stream stands
    /// at word `2 i`.
    pub fn fill_normal(&mut self, out: &mut [f32], std: f32) {
        for x in out {
            *x = (self.normal() * f64::from(std)) as f32;
        }
    }

    /// Standard normal by Box-Muller in f64; two words.
    pub fn normal(&mut self) -> f64 {
        // 1 - u lies in (0, 1], so the logarithm is finite.
        let radius = (-2.0 * (1.0 - f64::from(self.uniform())).ln()).sqrt();
        radius * (std::f64::consts::TAU * f64::from(self.uniform())).cos()
    }

    /// Fisher-Yates shuffle in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

fn unit_f32(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / (1u32 << 24) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_seed_purpose_and_index() {
        let first = |seed, purpose, index| Seed::new(seed).stream(purpose, index).word64();
        let base = first(1, "a", 0);
        assert_eq!(base, first(1, "a", 0));
        for other in [first(2, "a", 0), first(1, "b", 0), first(1, "a", 1)] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_bits_never_change() {
        // Recorded on 2026-11-21: a change here breaks every saved seed.
        let mut stream = Seed::new(42).stream("golden", 3);
        assert_eq!([stream.word(), stream.word(), stream.word()], GOLDEN);
    }
    const GOLDEN: [u32; 3] = [2_524_369_713, 680_879_097, 3_379_610_317];

    #[test]
    fn seek_reaches_the_same_words() {
        let mut walked = Seed::new(5).stream("x", 0);
        let words: Vec<u32> = (0..100).map(|_| walked.word()).collect();
        let mut jumped = Seed::new(5).stream("x", 0);
        for i in [99, 0, 17, 63, 64] {
            jumped.seek(i as u64);
            assert_eq!(jumped.word(), words[i]);
        }
    }

    #[test]
    fn restore_continues_where_position_was_taken() {
        let mut stream = Seed::new(5).stream("x", 9);
        stream.word();
        let mark = stream.position();
        let next = stream.word64();
        stream.restore(mark);
        assert_eq!(stream.word64(), next);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut stream = Seed::new(1).stream("moments", 0);
        let n = 200_000;
        let mut normal = vec![0.0; n];
        stream.fill_normal(&mut normal, 2.0);
        let mut uniform = vec![0.0; n];
        stream.fill_uniform(&mut uniform, 3.0);
        let variance =
            |xs: &[f32]| xs.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n as f64;
        assert!((variance(&normal) - 4.0).abs() < 0.05);
        assert!((variance(&uniform) - 3.0).abs() < 0.05);
        assert!(uniform.iter().all(|x| x.abs() <= 3.0));
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..1000).collect();
        Seed::new(3).stream("shuffle", 0).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
    }
}
