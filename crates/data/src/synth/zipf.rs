//! Exact draws from a Zipf distribution by the inverse of its cumulative sum.

/// `P(k) = (k + 1)^-s / sum_j (j + 1)^-s` for ranks `k < n`.
///
/// The cumulative sum is kept and searched from a guide table of `n` entries (Chen and Asau 1974),
/// which takes fewer than 2 steps on average whatever the exponent.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    /// `P(rank <= k)`; the last one is above every draw.
    cumulative: Vec<f64>,
    /// The first rank that a draw in `[b / n, (b + 1) / n)` can have.
    guide: Vec<u32>,
}

impl Zipf {
    /// The distribution over `n >= 1` ranks with exponent `s`.
    pub(super) fn new(n: u32, s: f64) -> Self {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (0..n)
            .map(|k| {
                sum += f64::from(k + 1).powf(-s);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|c| *c /= sum);
        cumulative[n as usize - 1] = f64::INFINITY;
        let mut rank = 0;
        let guide = (0..n)
            .map(|bucket| {
                let low = f64::from(bucket) / f64::from(n);
                while cumulative[rank as usize] <= low {
                    rank += 1;
                }
                rank
            })
            .collect();
        Self { cumulative, guide }
    }

    /// Number of ranks.
    pub(super) fn n(&self) -> usize {
        self.cumulative.len()
    }

    /// The rank of the uniform draw `u` in `[0, 1)`.
    pub(super) fn rank(&self, u: f64) -> u32 {
        let bucket = (u * self.n() as f64) as usize;
        let mut rank = self.guide[bucket.min(self.n() - 1)];
        // The product above may round up into the next bucket, so one step back may be due.
        while rank > 0 && self.cumulative[rank as usize - 1] > u {
            rank -= 1;
        }
        while self.cumulative[rank as usize] <= u {
            rank += 1;
        }
        rank
    }

    /// The probability of a rank.
    pub(super) fn probability(&self, rank: usize) -> f64 {
        let below = if rank == 0 {
            0.0
        } else {
            self.cumulative[rank - 1]
        };
        self.cumulative[rank].min(1.0) - below
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slimbed_rng::Seed;

    #[test]
    fn three_ids_by_hand() {
        // Exponent 1: weights 1, 1/2, 1/3 over 11/6 are 6/11, 3/11, 2/11.
        let zipf = Zipf::new(3, 1.0);
        for (rank, expected) in [6.0, 3.0, 2.0].into_iter().enumerate() {
            assert!((zipf.probability(rank) - expected / 11.0).abs() < 1e-15);
        }
        for (u, rank) in [(0.0, 0), (0.545, 0), (0.546, 1), (0.818, 1), (0.819, 2)] {
            assert_eq!(zipf.rank(u), rank, "{u}");
        }
        assert_eq!(zipf.rank(1.0 - f64::EPSILON), 2);
    }

    #[test]
    fn the_guide_finds_what_a_scan_finds() {
        let mut stream = Seed::new(1).stream("zipf", 0);
        for (n, s) in [(1, 1.0), (2, 0.0), (7, 8.0), (1000, 1.1), (5000, 0.5)] {
            let zipf = Zipf::new(n, s);
            let edges = zipf.cumulative.clone().into_iter().filter(|c| *c < 1.0);
            let draws: Vec<f64> = (0..2000).map(|_| stream.uniform_f64()).collect();
            for u in edges.chain(draws) {
                let scan = zipf.cumulative.iter().position(|c| *c > u);
                assert_eq!(Some(zipf.rank(u) as usize), scan, "n {n}, s {s}, u {u}");
            }
        }
    }

    /// Chi-square of the first 20 ranks and the rest, 20 degrees of freedom.
    #[test]
    fn frequencies_pass_a_chi_square() {
        let (zipf, n_draws, head) = (Zipf::new(2000, 1.2), 200_000, 20);
        let mut counts = vec![0.0f64; head + 1];
        let mut stream = Seed::new(2).stream("zipf", 0);
        for _ in 0..n_draws {
            counts[(zipf.rank(stream.uniform_f64()) as usize).min(head)] += 1.0;
        }
        let mut expected: Vec<f64> = (0..head).map(|k| zipf.probability(k)).collect();
        expected.push(1.0 - expected.iter().sum::<f64>());
        let terms = counts.iter().zip(&expected);
        let chi2: f64 = terms
            .map(|(c, p)| {
                let mean = p * f64::from(n_draws);
                (c - mean).powi(2) / mean
            })
            .sum();
        // The 0.1 % and 99.9 % points of chi-square with 20 degrees of freedom.
        assert!((5.92..45.31).contains(&chi2), "{chi2}");
    }
}
