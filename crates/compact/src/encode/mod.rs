//! From exact rows to stored ones.
//!
//! - [`TableStats`]: what decides about sizes, from one pass over the rows.
//! - [`Bound`]: the information that has to be stored.
//! - [`Encoder`]: weighs the candidates and picks one.
//! - [`encode`]: stores rows as an [`Encoding`] says.

mod bound;
mod choose;
mod falling;
mod stats;

use serde::{Deserialize, Serialize};

pub use bound::Bound;
pub use choose::{Candidate, Choice, Encoder, Prefer};
pub(crate) use falling::Falling;
pub use stats::TableStats;

use crate::rows::Rows;
use crate::structure::{Buffer, Form, presence};
use crate::{EncodeError, Structure, Values};

/// Which rows a structure holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowsStored {
    /// All.
    All,
    /// Those that keep a value, with a bit for every row.
    Present,
}

/// How rows are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// Which rows.
    pub rows: RowsStored,
    /// Where their values stand.
    pub structure: Structure,
    /// Their type.
    pub values: Values,
    /// Leading rows that are stored dense, whatever they keep; none of tables that are dense anyway.
    pub n_head: u32,
}

impl Encoding {
    /// Every row, every value, as it is.
    pub const EXACT_DENSE: Self = Self {
        rows: RowsStored::All,
        structure: Structure::Dense,
        values: Values::F32,
        n_head: 0,
    };

    /// Its name, for example `head 6400 + present + bitmap int8`.
    pub fn name(&self) -> String {
        let head = match self.n_head {
            0 => String::new(),
            n => format!("head {n} + "),
        };
        let present = match self.rows {
            RowsStored::All => "",
            RowsStored::Present => "present + ",
        };
        let (structure, values) = (self.structure.name(), self.values.name());
        format!("{head}{present}{structure} {values}")
    }
}

/// Rows in their stored form.
#[derive(Clone, Debug)]
pub(crate) struct Encoded<'a> {
    pub buffers: Vec<Buffer<'a>>,
    /// Exponent of the power of two that values are multiplied with.
    pub unit_log2: i32,
    /// Rows stored, if not all.
    pub n_present: Option<u64>,
}

/// Stores `rows` as `encoding` says.
///
/// # Errors
/// When integers are asked for and a value is not finite, or the encoding does not suit the table.
pub(crate) fn encode<'a>(rows: Rows<'a>, encoding: Encoding) -> Result<Encoded<'a>, EncodeError> {
    if encoding.values.is_integer() {
        rows.check_finite()?;
    }
    let unit_log2 = encoding.values.unit_log2(rows.largest());
    let (structure, n_head) = (encoding.structure, encoding.n_head as usize);
    let form = Form {
        values: encoding.values,
        unit_log2,
        dim: rows.dim(),
    };
    if encoding.rows == RowsStored::All {
        let buffers = structure.encode(rows, n_head, form)?;
        return Ok(Encoded {
            buffers,
            unit_log2,
            n_present: None,
        });
    }
    let present = presence::present_rows(rows, n_head);
    if present.is_empty() {
        return Err(EncodeError::NothingPresent);
    }
    let stored = structure.encode(rows.select(&present), n_head, form)?;
    let mut buffers: Vec<_> = stored.into_iter().map(Buffer::into_owned).collect();
    buffers.push(presence::encode(&present, n_head, rows.n_rows()));
    Ok(Encoded {
        buffers,
        unit_log2,
        n_present: Some(present.len() as u64),
    })
}
