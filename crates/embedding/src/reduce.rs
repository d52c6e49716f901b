//! Summing the gradient of a batch over the occurrences of each unique row.

use std::ops::Range;

use crate::error::check_length;
use crate::index::FieldIndex;
use crate::parts::Parts;
use crate::prefetch::{AHEAD, prefetch};
use crate::{BatchIndex, EmbeddingError};

/// Sums `gradient` `[batch, fields, dim]` over the occurrences of each unique row to `out`, `[U, dim]`.
///
/// Row `u` becomes `Σ weight · gradient[sample, field]` over its occurrences in the order of the batch:
/// the exact adjoint of [`expand`](crate::expand). A row is summed by one task.
///
/// # Errors
/// When a slice has another length than its shape.
pub fn reduce(
    gradient: &[f32],
    index: &BatchIndex,
    dim: usize,
    out: &mut [f32],
) -> Result<(), EmbeddingError> {
    let expected = index.n() * index.n_fields() * dim;
    check_length("gradient of the embeddings", expected, gradient.len())?;
    check_length(
        "gradients of unique rows",
        index.n_unique() * dim,
        out.len(),
    )?;
    let parts = Parts {
        index,
        dim,
        leaf: |f: usize, rows, out: &mut [f32]| {
            let field = FieldGradient {
                values: &gradient[f * dim..],
                width: index.n_fields() * dim,
                index: index.field(f),
            };
            field.reduce(rows, dim, out);
        },
    };
    parts.run(0..index.n_unique(), out);
    Ok(())
}

/// The gradient of one field.
struct FieldGradient<'a> {
    /// That of sample `b` starts at `b · width`.
    values: &'a [f32],
    width: usize,
    index: &'a FieldIndex,
}

impl FieldGradient<'_> {
    /// Sums the gradients of some unique rows.
    fn reduce(&self, rows: Range<usize>, dim: usize, out: &mut [f32]) {
        match dim {
            0 => {}
            8 => self.sum_in_registers::<8>(rows, out),
            16 => self.sum_in_registers::<16>(rows, out),
            32 => self.sum_in_registers::<32>(rows, out),
            _ => self.sum_in_memory(rows, dim, out),
        }
    }

    fn sum_in_registers<const DIM: usize>(&self, rows: Range<usize>, out: &mut [f32]) {
        let (out, _) = out.as_chunks_mut::<DIM>();
        for (u, out) in rows.zip(out) {
            let mut sum = [0.0; DIM];
            self.add_occurrences(u, &mut sum);
            *out = sum;
        }
    }

    fn sum_in_memory(&self, rows: Range<usize>, dim: usize, out: &mut [f32]) {
        for (u, out) in rows.zip(out.chunks_exact_mut(dim)) {
            out.fill(0.0);
            self.add_occurrences(u, out);
        }
    }

    /// Adds the gradients at all occurrences of unique row `u`.
    #[inline(always)]
    fn add_occurrences(&self, u: usize, sum: &mut [f32]) {
        let (bounds, samples) = (&self.index.bounds, &self.index.samples);
        for place in bounds[u] as usize..bounds[u + 1] as usize {
            if let Some(&sample) = samples.get(place + AHEAD) {
                prefetch(self.values, sample as usize * self.width, sum.len());
            }
            let row = &self.values[samples[place] as usize * self.width..][..sum.len()];
            let weight = self.index.weights.get(place).copied().unwrap_or(1.0);
            sum.iter_mut().zip(row).for_each(|(s, g)| *s += weight * g);
        }
    }
}
