//! What a baseline stores of each field, known before anything is trained.

use slimbed_embedding::{Combine, EmbeddingError, Sharing};

/// Rows a field keeps, and how its ids share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPlan {
    /// How ids become rows.
    pub sharing: Sharing,
    /// `(rows, values of a row)` of the table, or of quotients and remainders.
    pub parts: Vec<(usize, usize)>,
    /// Whether rows are multiplied with a matrix `[values of a row, dim]`.
    pub is_projected: bool,
}

/// The plans of all fields.
pub type Plan = Vec<FieldPlan>;

impl FieldPlan {
    /// A row of `dim` values for each of `n_rows` ids: the plain table.
    pub fn own(n_rows: usize, dim: usize) -> Self {
        Self {
            sharing: Sharing::None,
            parts: vec![(n_rows, dim)],
            is_projected: false,
        }
    }

    /// Values stored for a model of `dim`, a projection's included.
    pub fn n_values(&self, dim: usize) -> u64 {
        let rows = self.parts.iter().map(|&(n_rows, width)| n_rows * width);
        let matrix = match self.is_projected {
            true => self.width() * dim,
            false => 0,
        };
        (rows.sum::<usize>() + matrix) as u64
    }

    /// Values of a row before a projection.
    pub fn width(&self) -> usize {
        let dims = self.parts.iter().map(|part| part.1);
        match self.sharing {
            Sharing::QuotientRemainder {
                combine: Combine::Concat,
                ..
            } => dims.sum(),
            _ => dims.max().unwrap_or(0),
        }
    }
}

/// Values stored for a model of `dim`.
pub fn n_values(plan: &[FieldPlan], dim: usize) -> u64 {
    plan.iter().map(|field| field.n_values(dim)).sum()
}

/// The plan of the largest knob in `0..n_knobs` that stores at most `n` values, or that of 0 when none does;
/// larger knobs store more.
pub(crate) fn largest(n_knobs: u64, dim: usize, n: u64, plan: impl Fn(u64) -> Plan) -> Plan {
    let (mut low, mut high) = (0, n_knobs.max(1) - 1);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if n_values(&plan(middle), dim) <= n {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    plan(low)
}

pub(crate) fn refuse<T>(
    what: impl Into<String>,
    expected: &'static str,
    found: impl ToString,
) -> Result<T, EmbeddingError> {
    Err(EmbeddingError::Setting {
        what: what.into(),
        expected,
        found: found.to_string(),
    })
}
