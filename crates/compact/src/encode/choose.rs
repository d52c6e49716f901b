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
    /// One for each kind of encoding, without heads, from the smallest to the largest.
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
        let taken = match self.prefer {
            Prefer::Size => smallest,
            Prefer::Speed => {
                let limit = (SPEED_LIMIT * bound.bytes()) as u64;
                fastest(&candidates, limit.max(smallest.n_bytes), stats)
            }
        };
        Choice {
            taken,
            candidates,
            bound,
        }
    }

    fn candidates(&self, stats: &TableStats) -> impl Iterator<Item = Candidate> {
        let types = Values::ALL.into_iter().filter(|&values| {
            values == self.values || values > Values::F32 && values < self.values
        });
        let all = types.flat_map(|values| {
            ORDER.map(|(rows, structure)| Encoding {
                rows,
                structure,
                values,
                n_head: 0,
            })
        });
        all.filter_map(|encoding| candidate(encoding, stats))
    }
}

fn candidate(encoding: Encoding, stats: &TableStats) -> Option<Candidate> {
    let n_bytes = n_bytes(encoding, stats)? as u64;
    Some(Candidate { encoding, n_bytes })
}

/// The fastest candidate of at most `limit` bytes, with as long a head as still fits.
fn fastest(candidates: &[Candidate], limit: u64, stats: &TableStats) -> Candidate {
    let with_heads = candidates.iter().flat_map(|&plain| {
        let longest = longest_head(plain.encoding, limit, stats);
        [Some(plain), longest].into_iter().flatten()
    });
    let allowed = with_heads.filter(|candidate| candidate.n_bytes <= limit);
    let fastest = allowed.min_by_key(|c| (cost(c.encoding), c.n_bytes));
    fastest.unwrap_or(candidates[0])
}

/// The encoding with the most leading rows stored dense that takes at most `limit` bytes.
fn longest_head(plain: Encoding, limit: u64, stats: &TableStats) -> Option<Candidate> {
    if !plain.structure.has_head() {
        return None;
    }
    let heads = stats.heads().filter_map(|n_head| {
        let n_head = n_head as u32;
        candidate(Encoding { n_head, ..plain }, stats)
    });
    heads.filter(|candidate| candidate.n_bytes <= limit).last()
}

/// From the fastest to the slowest, by the bench `lookup`: what touches one line, what reads an index
/// first, what reads bits of rows before that, what counts bits.
const ORDER: [(RowsStored, Structure); 13] = [
    (RowsStored::All, Structure::DenseLines),
    (RowsStored::All, Structure::Dense),
    (RowsStored::All, Structure::Steps),
    (RowsStored::Present, Structure::DenseLines),
    (RowsStored::Present, Structure::Dense),
    (RowsStored::Present, Structure::Steps),
    (RowsStored::All, Structure::Prefix),
    (RowsStored::All, Structure::Bitmap),
    (RowsStored::All, Structure::List),
    (RowsStored::Present, Structure::Prefix),
    (RowsStored::Present, Structure::Bitmap),
    (RowsStored::Present, Structure::List),
    (RowsStored::All, Structure::Positions),
];

/// Place in [`ORDER`], equal for value types; of two of them that with the longer head is faster.
fn cost(encoding: Encoding) -> (usize, std::cmp::Reverse<u32>) {
    let place = (encoding.rows, encoding.structure);
    let place = ORDER.iter().position(|order| *order == place);
    (
        place.unwrap_or(ORDER.len()),
        std::cmp::Reverse(encoding.n_head),
    )
}
