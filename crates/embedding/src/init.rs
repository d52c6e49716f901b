//! Initial rows.

use rayon::prelude::*;
use slimbed_rng::Seed;

use crate::Table;

/// Values drawn from one seek of the stream; a fixed number, so that bits do not depend on threads.
const CHUNK: usize = 1 << 16;

/// The distribution of a new table `[n_rows, dim]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowInit {
    /// All zero.
    Zeros,
    /// DLRM's rule: `U(±1/√n_rows)`.
    UniformByRows,
    /// Xavier over the whole matrix, as PEP does: `U(±√(6 / (n_rows + dim)))`.
    Xavier,
    /// `N(0, std²)`.
    Normal {
        /// Standard deviation.
        std: f32,
    },
}

impl RowInit {
    /// Standard deviation of the values of a table `[n_rows, dim]`.
    pub fn std(self, n_rows: usize, dim: usize) -> f32 {
        let (n_rows, dim) = (n_rows as f32, dim as f32);
        match self {
            Self::Zeros => 0.0,
            Self::UniformByRows => 1.0 / (3.0 * n_rows).sqrt(),
            Self::Xavier => (2.0 / (n_rows + dim)).sqrt(),
            Self::Normal { std } => std,
        }
    }

    /// Fills `table` from the stream `embedding/<name>`; the same bits for any number of threads.
    pub fn fill(self, table: &mut Table, seed: Seed, name: &str) {
        let (n_rows, dim) = (table.n_rows() as f32, table.dim() as f32);
        let purpose = format!("embedding/{name}");
        table
            .values_mut()
            .par_chunks_mut(CHUNK)
            .enumerate()
            .for_each(|(chunk, values)| {
                let mut stream = seed.stream(&purpose, 0);
                let first = (chunk * CHUNK) as u64;
                match self {
                    Self::Zeros => values.fill(0.0),
                    Self::UniformByRows => {
                        stream.seek(first);
                        stream.fill_uniform(values, 1.0 / n_rows.sqrt());
                    }
                    Self::Xavier => {
                        stream.seek(first);
                        stream.fill_uniform(values, (6.0 / (n_rows + dim)).sqrt());
                    }
                    Self::Normal { std } => {
                        stream.seek(2 * first);
                        stream.fill_normal(values, std);
                    }
                }
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(init: RowInit, n_rows: usize, threads: usize) -> Vec<f32> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let mut table = Table::zeros(n_rows, 16).unwrap();
        pool.install(|| init.fill(&mut table, Seed::new(1), "C1"));
        table.values().to_vec()
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        for init in [
            RowInit::UniformByRows,
            RowInit::Xavier,
            RowInit::Normal { std: 0.1 },
        ] {
            assert_eq!(filled(init, 20_000, 1), filled(init, 20_000, 3));
        }
    }

    #[test]
    fn scales_are_those_of_the_rules() {
        let rms = |init| {
            let values = filled(init, 10_000, 2);
            (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt()
        };
        let close = |a: f32, b: f32| assert!((a / b - 1.0).abs() < 0.01, "{a} {b}");
        close(rms(RowInit::UniformByRows), 0.01 / 3f32.sqrt());
        close(rms(RowInit::Xavier), (2f32 / 10_016.0).sqrt());
        close(rms(RowInit::Normal { std: 0.25 }), 0.25);
    }

    #[test]
    fn chunks_continue_one_stream() {
        let values = filled(RowInit::UniformByRows, 10_000, 2);
        let mut walked = vec![0.0; values.len()];
        Seed::new(1)
            .stream("embedding/C1", 0)
            .fill_uniform(&mut walked, 0.01);
        assert_eq!(values, walked);
    }
}
