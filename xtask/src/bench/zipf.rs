//! Zipf draws without a table: a table of ten million rows needs no ten million sums.

use slimbed_rng::Stream;

/// `P(k) ∝ (k + 1)^-s` for ranks `k < n`, by rejection-inversion (Hörmann and Derflinger 1996), which
/// takes 1.1 draws on average.
#[derive(Clone, Debug)]
pub struct Zipf {
    n: f64,
    s: f64,
    /// The integral up to the first and the last rank: the draws lie between.
    first: f64,
    last: f64,
    /// Up to here left of its rank a point is accepted at once.
    sure: f64,
}

impl Zipf {
    /// The distribution over `n >= 1` ranks with exponent `s`, which is not 1.
    pub fn new(n: u64, s: f64) -> Self {
        let mut zipf = Self {
            n: n as f64,
            s,
            first: 0.0,
            last: 0.0,
            sure: 0.0,
        };
        zipf.first = zipf.integral(1.5) - 1.0;
        zipf.last = zipf.integral(zipf.n + 0.5);
        zipf.sure = 2.0 - zipf.inverse(zipf.integral(2.5) - 2f64.powf(-s));
        zipf
    }

    /// Draws a rank, from 0.
    pub fn draw(&self, stream: &mut Stream) -> u64 {
        loop {
            let u = self.last + stream.uniform_f64() * (self.first - self.last);
            let x = self.inverse(u);
            let rank = x.round().clamp(1.0, self.n);
            if rank - x <= self.sure || u >= self.integral(rank + 0.5) - rank.powf(-self.s) {
                return rank as u64 - 1;
            }
        }
    }

    /// `∫ x^-s dx` up to a constant.
    fn integral(&self, x: f64) -> f64 {
        x.powf(1.0 - self.s) / (1.0 - self.s)
    }

    fn inverse(&self, y: f64) -> f64 {
        ((1.0 - self.s) * y).powf(1.0 / (1.0 - self.s))
    }
}

#[cfg(test)]
mod tests {
    use slimbed_rng::Seed;

    use super::*;

    #[test]
    fn frequencies_are_those_of_the_formula() {
        for (n, s) in [(1, 1.1), (2, 1.1), (50, 1.1), (50, 0.5)] {
            let zipf = Zipf::new(n, s);
            let mut stream = Seed::new(1).stream("zipf", n);
            let n_draws = 200_000;
            let mut counts = vec![0u32; n as usize];
            for _ in 0..n_draws {
                counts[zipf.draw(&mut stream) as usize] += 1;
            }
            let weights: Vec<f64> = (1..=n).map(|k| (k as f64).powf(-s)).collect();
            let total: f64 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(&weights) {
                let expected = f64::from(n_draws) * weight / total;
                let deviation = (f64::from(*count) - expected) / expected.sqrt();
                assert!(deviation.abs() < 5.0, "{n} {s}: {count} for {expected}");
            }
        }
    }

    #[test]
    fn large_tables_have_their_long_tail() {
        let zipf = Zipf::new(10_131_227, 1.1);
        let mut stream = Seed::new(1).stream("zipf", 0);
        let draws: Vec<u64> = (0..100_000).map(|_| zipf.draw(&mut stream)).collect();
        assert!(draws.iter().all(|&rank| rank < 10_131_227));
        // ζ(1.1) up to n is 10.58 - 10 n^-0.1 = 8.59: one draw in 8.59 is the first rank.
        let first = draws.iter().filter(|&&rank| rank == 0).count();
        assert!((11_150..12_150).contains(&first), "{first}");
        assert!(draws.iter().any(|&rank| rank > 5_000_000));
    }
}
