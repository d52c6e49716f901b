//! Tables that tests share.

use slimbed_compact::{Encoding, RowsStored, Structure, Values};
use slimbed_rng::Seed;

/// Rows with a share of kept values.
#[derive(Clone, Debug)]
pub struct Sample {
    pub values: Vec<f32>,
    pub n_rows: usize,
    pub dim: usize,
}

/// Which values are kept.
#[derive(Clone, Copy, Debug)]
pub enum Pattern {
    /// Any, each with this chance.
    Anywhere(f64),
    /// The first ones, up to this share of them.
    Prefix(f64),
    /// The first ones, fewer from row to row, but up to so many more.
    Falling(u64),
}

impl Sample {
    pub fn new(n_rows: usize, dim: usize, pattern: Pattern, seed: u64) -> Self {
        let mut stream = Seed::new(seed).stream("sample", 0);
        let mut uniform = move || stream.uniform_f64();
        let mut values = Vec::with_capacity(n_rows * dim);
        for row in 0..n_rows {
            let length = match pattern {
                Pattern::Anywhere(_) => dim,
                Pattern::Falling(more) => {
                    let least = dim * (n_rows - row) / n_rows;
                    least + (uniform() * (more + 1) as f64) as usize
                }
                Pattern::Prefix(share) => (uniform() * share * (dim + 1) as f64) as usize,
            };
            for column in 0..dim {
                let kept = match pattern {
                    Pattern::Anywhere(density) => uniform() < density,
                    Pattern::Prefix(_) | Pattern::Falling(_) => column < length,
                };
                let x = (4.0 * uniform() - 1.0) as f32;
                values.push(if kept { x } else { 0.0 });
            }
        }
        Self {
            values,
            n_rows,
            dim,
        }
    }

    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..][..self.dim]
    }

    /// Every encoding that such a table can have.
    pub fn encodings(&self) -> Vec<Encoding> {
        let mut all = Vec::new();
        for values in Values::ALL {
            for structure in Structure::ALL {
                for rows in [RowsStored::All, RowsStored::Present] {
                    for n_head in [0, self.n_rows as u32 / 3] {
                        let encoding = Encoding {
                            rows,
                            structure,
                            values,
                            n_head,
                        };
                        if self.suits(encoding) && !all.contains(&encoding) {
                            all.push(encoding);
                        }
                    }
                }
            }
        }
        all
    }

    fn suits(&self, encoding: Encoding) -> bool {
        let record = match encoding.values {
            Values::F32 => 4 * self.dim,
            Values::F16 => 2 * self.dim,
            Values::Int8 => 4 + self.dim,
            Values::Int4 => 4 + self.dim.div_ceil(2),
        };
        let lines = record <= 32 && 64 % record != 0;
        let some = self.values.iter().any(|&x| x != 0.0);
        (encoding.structure != Structure::DenseLines || lines)
            && (encoding.rows == RowsStored::All || some)
            && (encoding.n_head == 0 || encoding.structure.has_head())
    }
}
