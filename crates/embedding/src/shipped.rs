//! What a layer leaves of a field when it is trained.

use crate::Table;

/// The exact tables behind one field, as they are to be stored.
#[derive(Debug)]
pub struct FieldTables {
    /// One table, or two for [`Sharing::QuotientRemainder`].
    pub parts: Vec<Table>,
    /// How ids become rows of the parts.
    pub sharing: Sharing,
    /// `[width, dim]` row by row, which pooled rows are multiplied with; `None` where rows have `dim` values.
    pub projection: Option<Vec<f32>>,
}

impl From<Table> for FieldTables {
    /// A row for every id, of `dim` values.
    fn from(table: Table) -> Self {
        Self {
            parts: vec![table],
            sharing: Sharing::None,
            projection: None,
        }
    }
}

/// How the ids of a field become rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Id `i` has row `i`.
    #[default]
    None,
    /// Id `i` has the row that a hash function chooses among all.
    Hash {
        /// Chooses the function.
        seed: u64,
    },
    /// Id `i` has row `i` if there is one, else row 0.
    Cutoff,
    /// Id `i` is made of row `i / divisor` of one table and row `i % divisor` of another.
    QuotientRemainder {
        /// Rows of the second table.
        divisor: u32,
        /// What is made of the two rows.
        combine: Combine,
    },
}

/// What is made of two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// Their sum.
    Sum,
    /// Their element-wise product.
    Product,
    /// One behind the other.
    Concat,
}
