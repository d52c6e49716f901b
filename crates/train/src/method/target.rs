//! How many values may stay: from a share, bytes, or a ratio.

use slimbed_compact::{Bound, Rows, TableSource, TableStats, Values};
use slimbed_data::Dataset;
use slimbed_rng::Seed;

use super::file_size::FileSize;
use crate::{Config, MethodConfig, MethodKind, TrainError};

/// The share that is kept where nothing is said.
const DEFAULT_KEEP: f64 = 0.1;

/// Bytes may miss the budget by this share of it, on the lower side.
const SLACK: f64 = 0.005;

/// Bytes of a row's scale and bias.
const AFFINE_BYTES: u64 = 4;

/// Encoder runs that a search for the number of values may take.
const TRIES: usize = 12;

/// What may stay of all tables together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// So many values.
    Values(u64),
    /// As many values as fit into so many bytes of tables in the shipped file.
    Tables(u64),
    /// As many as fit into a shipped file of so many bytes.
    File {
        bytes: u64,
        /// Those besides the tables.
        rest: u64,
    },
}

impl Target {
    /// What the settings of a run ask for; `None`: nothing.
    ///
    /// # Errors
    /// When a size of the network cannot work.
    pub fn of(dataset: &Dataset, config: &Config, seed: Seed) -> Result<Option<Self>, TrainError> {
        let n_values = n_values(dataset, config.model.dim);
        let dense = 4.0 * (n_values + n_first_order(dataset, config)) as f64;
        Ok(match config.method {
            MethodConfig { budget, .. } if budget > 0 => Some(Self::File {
                bytes: budget,
                rest: FileSize::new(dataset, config, seed)?.rest()?,
            }),
            MethodConfig { ratio, .. } if ratio > 0.0 => Some(Self::Tables((dense / ratio) as u64)),
            MethodConfig { keep, .. } if keep > 0.0 => Some(Self::share(keep, n_values)),
            _ if needs_target(config) => Some(Self::share(DEFAULT_KEEP, n_values)),
            _ => None,
        })
    }

    /// A share of all values.
    pub fn share(keep: f64, n_values: u64) -> Self {
        Self::Values(((keep * n_values as f64).round() as u64).clamp(1, n_values))
    }

    /// About how many values that is: of bytes, what the information bound has room for.
    pub fn n_kept(self, n_values: u64, values: Values) -> u64 {
        let bytes = match self {
            Self::Values(n_kept) => return n_kept,
            Self::Tables(bytes) => bytes,
            Self::File { bytes, rest } => bytes.saturating_sub(rest),
        };
        let fits = |n| Bound::of(n_values, n, values).bytes() <= bytes as f64;
        largest(n_values, fits)
    }

    /// About how many values that is where each of `n_rows` rows keeps its first ones: a row of integers has scale
    /// and bias besides, and every row a byte that says how many it keeps. With the values as `values` says or
    /// more exact, whatever leaves more.
    pub fn n_kept_in_rows(self, n_values: u64, n_rows: u64, values: Values) -> u64 {
        let bytes = match self {
            Self::Values(n_kept) => return n_kept,
            Self::Tables(bytes) => bytes,
            Self::File { bytes, rest } => bytes.saturating_sub(rest),
        };
        let exact_enough = Values::ALL
            .into_iter()
            .filter(|other| other.bits() >= values.bits());
        let of = |values: Values| {
            let besides = 1 + if values.is_integer() { AFFINE_BYTES } else { 0 };
            8 * bytes.saturating_sub(n_rows * besides) / values.bits() as u64
        };
        let n_kept = exact_enough.map(of).max().unwrap_or(0);
        n_kept.clamp(n_rows.min(n_values), n_values)
    }

    /// Bytes of `tables` as they count here: those of the tables, or of the file with them.
    ///
    /// # Errors
    /// When rows cannot be read or stored.
    pub fn bytes_of(
        self,
        tables: &dyn TableSource,
        file: &FileSize<'_>,
        config: &Config,
    ) -> Result<u64, TrainError> {
        match self {
            Self::File { .. } => file.with(tables),
            _ => stored_bytes(tables, config),
        }
    }

    /// How many values stay: of bytes, as many as the encoders find room for. `bytes_of` says how many bytes so many
    /// values take.
    ///
    /// # Errors
    /// When rows cannot be read, or no number of values fits.
    pub fn fit(
        self,
        n_values: u64,
        config: &Config,
        mut bytes_of: impl FnMut(u64) -> Result<u64, TrainError>,
    ) -> Result<u64, TrainError> {
        let (budget, rest) = match self {
            Self::Values(n_kept) => return Ok(n_kept),
            Self::Tables(bytes) => (bytes, 0),
            Self::File { bytes, rest } => (bytes, rest),
        };
        let (mut low, mut high) = (0, n_values);
        let mut next = self.n_kept(n_values, config.export.values);
        for _ in 0..TRIES {
            let bytes = bytes_of(next)?;
            if bytes > budget {
                high = next;
            } else {
                low = next;
                if bytes as f64 >= (1.0 - SLACK) * budget as f64 || next == n_values {
                    break;
                }
            }
            let room = budget.saturating_sub(rest) as f64;
            let taken = bytes.saturating_sub(rest).max(1) as f64;
            let guess = (next as f64 * room / taken) as u64;
            next = guess.clamp(low + (high - low) / 16, high - (high - low).div_ceil(16));
            if next <= low || high <= low + 1 {
                break;
            }
        }
        if low == 0 {
            return Err(self.missed(bytes_of(1)?));
        }
        Ok(low)
    }

    /// The error of a budget of which `smallest` bytes are the least.
    pub fn missed(self, smallest: u64) -> TrainError {
        let (budget, what) = match self {
            Self::Values(n) => (n, "values"),
            Self::Tables(bytes) => (bytes, "bytes for the tables"),
            Self::File { bytes, .. } => (bytes, "bytes for the shipped file"),
        };
        TrainError::Budget {
            budget,
            smallest,
            what,
        }
    }
}

/// Whether the method has to know how far it goes, and the settings of its own do not say.
fn needs_target(config: &Config) -> bool {
    match config.method.name {
        MethodKind::Pep | MethodKind::MletPep | MethodKind::Magnitude | MethodKind::Hash => true,
        MethodKind::Deeplight => true,
        MethodKind::Qr => config.qr.divisor == 0,
        MethodKind::Cutoff => config.cutoff.min_count == 0,
        _ => false,
    }
}

/// The largest number, 1 to `n`, that fits.
pub fn largest(n: u64, fits: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (1, n);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Bytes of the tables as the run's encoder would store them; those with first-order weights, which no method
/// reduces, as one value for each row.
fn stored_bytes(source: &dyn TableSource, config: &Config) -> Result<u64, TrainError> {
    let encoder = config.export.encoder(config.export.values);
    let mut bytes = first_order_bytes(source, config);
    for (f, field) in source.fields().iter().enumerate() {
        for (i, part) in field.parts.iter().enumerate() {
            let values = source.part(f, i)?;
            let rows = Rows::new(&values, part.dim).map_err(|source| TrainError::Rows {
                field: field.name.clone(),
                source,
            })?;
            bytes += encoder.choose(&TableStats::of(rows)).taken.n_bytes;
        }
        if field.is_projected {
            bytes += (4 * field.parts[0].dim * field.dim) as u64;
        }
    }
    Ok(bytes)
}

/// Bytes of the first-order weights that go with the tables of `source`.
fn first_order_bytes(source: &dyn TableSource, config: &Config) -> u64 {
    let fields = source.fields();
    if !config.model.spec(0, fields.len()).has_first_order() {
        return 0;
    }
    // A scale for one value would take more room than f16.
    let value_bytes = match config.export.values {
        Values::F32 => 4,
        _ => 2,
    };
    value_bytes * fields.iter().map(|field| field.n_rows as u64).sum::<u64>()
}

/// Number of first-order weights.
fn n_first_order(dataset: &Dataset, config: &Config) -> u64 {
    let spec = config.model.spec(0, dataset.fields().len());
    u64::from(spec.has_first_order()) * n_values(dataset, 1)
}

/// Values of all tables of a data set, first-order weights not counted.
pub fn n_values(dataset: &Dataset, dim: usize) -> u64 {
    let rows = dataset.fields().iter().map(|field| u64::from(field.n_rows));
    rows.sum::<u64>() * dim as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_cost_more_than_their_values() {
        let kept = |target: Target, values| target.n_kept_in_rows(1000, 100, values);
        assert_eq!(kept(Target::Values(7), Values::Int8), 7);
        // 100 rows of int8 take 500 bytes besides their values, those of f16 and f32 100.
        assert_eq!(kept(Target::Tables(900), Values::Int8), 400);
        assert_eq!(kept(Target::Tables(500), Values::Int8), 200);
        assert_eq!(kept(Target::Tables(900), Values::F32), 200);
        assert_eq!(kept(Target::Tables(900), Values::Int4), 800);
        // Every row keeps a value, and none more than it has.
        assert_eq!(kept(Target::Tables(10), Values::Int8), 100);
        assert_eq!(kept(Target::Tables(9000), Values::F32), 1000);
        let file = Target::File {
            bytes: 1000,
            rest: 100,
        };
        assert_eq!(kept(file, Values::Int8), 400);
    }
}
