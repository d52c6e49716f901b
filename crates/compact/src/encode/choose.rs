//! Which encoding a table gets.

use serde::{Deserialize, Serialize};

use super::{Bound, Encoding, RowsStored, TableStats};
use crate::structure::n_bytes;
use crate::{Structure, Values};

/// What matters most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prefer {
    /// The fastest encoding of at most 1.5 times the bound; the smallest if there is none.
    #[default]
    Speed,
    /// The smallest.
    Size,
}

/// Most bytes of a fast encoding, as a multiple of the bound.
const SPEED_LIMIT: f64 = 1.5;

/// Picks encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// The least exact type values may have.
    ///
    /// Where integers with a scale and a bias for every row would take more room than f16, f16 is taken:
    /// it keeps 11 significant bits.
    pub values: Values,
    /// What matters most.
    pub prefer: Prefer,
}

/// An encoding and the bytes it would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The encoding.
    pub encoding: Encoding,
    /// Bytes of its tensors; those of `prefix` and `bitmap` within 2 bytes for 32 rows.
    pub n_bytes: u64,
}

/// What was weighed.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The encoding taken.
    pub taken: Candidate,
    /// All of them, from the smallest to the largest.
    pub candidates: Vec<Candidate>,
    /// The information in the table, with values of the type asked for.
    pub bound: Bound,
}

impl Encoder {
    /// Weighs every encoding of a table with these statistics.
    pub fn choose(&self, stats: &TableStats) -> Choice {
        let bound = Bound::new(stats, self.values);
        let mut candidates: Vec<_> = self.candidates(stats).collect();
        // Stable: of two of the same size the faster comes first.
        candidates.sort_by_key(|candidate| candidate.n_bytes);
        let smallest = candidates[0];
        let limit = match self.prefer {
            Prefer::Size => smallest.n_bytes,
            Prefer::Speed => (smallest.n_bytes).max((SPEED_LIMIT * bound.bytes()) as u64),
        };
        let allowed = candidates.iter().filter(|c| c.n_bytes <= limit);
        let taken = *allowed
            .min_by_key(|c| (cost(c.encoding), c.n_bytes))
            .unwrap_or(&smallest);
        Choice {
            taken,
            candidates,
            bound,
        }
    }

    fn candidates(&self, stats: &TableStats) -> impl Iterator<Item = Candidate> {
        let types = Values::ALL.into_iter();
        let types = types.filter(|&values| {
            values == self.values || values > Values::F32 && values < self.values
        });
        let all = types.flat_map(|values| {
            ORDER.map(|(rows, structure)| Encoding {
                rows,
                structure,
                values,
            })
        });
        all.filter_map(|encoding| {
            let n_bytes = n_bytes(encoding, stats)? as u64;
            Some(Candidate { encoding, n_bytes })
        })
    }
}

/// From the fastest to the slowest, by the bench `lookup`: what touches one line, what reads an index
/// first, what reads bits of rows before that, what counts bits.
const ORDER: [(RowsStored, Structure); 9] = [
    (RowsStored::All, Structure::DenseLines),
    (RowsStored::All, Structure::Dense),
    (RowsStored::Present, Structure::DenseLines),
    (RowsStored::Present, Structure::Dense),
    (RowsStored::All, Structure::Prefix),
    (RowsStored::All, Structure::Bitmap),
    (RowsStored::Present, Structure::Prefix),
    (RowsStored::Present, Structure::Bitmap),
    (RowsStored::All, Structure::Positions),
];

/// Place in [`ORDER`]; equal for value types.
fn cost(encoding: Encoding) -> usize {
    let place = (encoding.rows, encoding.structure);
    ORDER
        .iter()
        .position(|o| *o == place)
        .unwrap_or(ORDER.len())
}
