//! Pooling rows into the embeddings of a batch: the kernel of `forward`, of lookups and of [`expand`].

use rayon::prelude::*;
use smallvec::SmallVec;

use crate::error::check_length;
use crate::parts::IDS_PER_TASK;
use crate::prefetch::{AHEAD, prefetch};
use crate::{Bags, BatchIndex, EmbeddingError, Pooling};

/// Samples done together, field by field: few enough that their embeddings stay in the first-level cache,
/// enough to work on one table for a while.
const TILE: usize = 4;

/// Where the embeddings of one field come from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// `[rows, dim]`.
    pub values: &'a [f32],
    /// Numbers of rows, all of them in `values`.
    pub bags: Bags<'a>,
    pub pooling: Pooling,
}

/// One source a field.
pub(crate) type Sources<'a> = SmallVec<[Source<'a>; 32]>;

/// Pools the unique rows `[U, dim]` of a batch into `out`, `[batch, fields, dim]`.
///
/// Row `(b, f)` is the sum or mean of the unique rows in its bag, added in the order of the batch; an
/// empty bag gives zeros. [`reduce`](crate::reduce) is the adjoint.
///
/// # Errors
/// When a slice has another length than its shape.
pub fn expand(
    rows: &[f32],
    index: &BatchIndex,
    dim: usize,
    out: &mut [f32],
) -> Result<(), EmbeddingError> {
    check_length("unique rows", index.n_unique() * dim, rows.len())?;
    let expected = index.n() * index.n_fields() * dim;
    check_length("embeddings", expected, out.len())?;
    let source = |f: usize| {
        let (span, field) = (index.span(f), index.field(f));
        Source {
            values: &rows[span.start * dim..span.end * dim],
            bags: Bags {
                ids: &field.unique_of,
                offsets: field.offsets(),
            },
            pooling: field.pooling,
        }
    };
    let sources: Sources<'_> = (0..index.n_fields()).map(source).collect();
    pool(&sources, dim, out);
    Ok(())
}

/// Writes the embeddings `[batch, fields, dim]` of checked ids to `out`.
///
/// Samples are cut over threads by the size of the batch alone.
pub(crate) fn pool(sources: &[Source<'_>], dim: usize, out: &mut [f32]) {
    let width = sources.len() * dim;
    if out.is_empty() {
        return;
    }
    let n = out.len() / width;
    let n_ids: usize = sources.iter().map(|source| source.bags.ids.len()).sum();
    let n_samples = (n * IDS_PER_TASK / n_ids.max(1)).max(1);
    if n <= n_samples {
        return pool_samples(sources, 0, dim, out);
    }
    let tasks = out.par_chunks_mut(n_samples * width).enumerate();
    tasks.for_each(|(task, out)| pool_samples(sources, task * n_samples, dim, out));
}

/// The samples from `first` on that fit `out`.
fn pool_samples(sources: &[Source<'_>], first: usize, dim: usize, out: &mut [f32]) {
    match dim {
        8 => pool_rows(sources, first, 8, out),
        16 => pool_rows(sources, first, 16, out),
        32 => pool_rows(sources, first, 32, out),
        64 => pool_rows(sources, first, 64, out),
        _ => pool_rows(sources, first, dim, out),
    }
}

/// Inlined for every known `dim`, so that a row is a few whole registers.
#[inline(always)]
fn pool_rows(sources: &[Source<'_>], first: usize, dim: usize, out: &mut [f32]) {
    let width = sources.len() * dim;
    let ahead = TILE * AHEAD.div_ceil(TILE * sources.len());
    for (first, out) in (first..).step_by(TILE).zip(out.chunks_mut(TILE * width)) {
        for (f, source) in sources.iter().enumerate() {
            let out = &mut out[f * dim..];
            match source.bags.offsets {
                None => {
                    let ids = &source.bags.ids[first..];
                    copy_rows(source.values, ids, ahead, dim, width, out);
                }
                Some(offsets) => pool_bags(source, &offsets[first..], ahead, dim, width, out),
            }
        }
    }
}

/// Copies row `ids[i]` to `out[i · stride..]`, as long as `out` lasts, and asks for the row `ahead` places
/// later.
#[inline(always)]
pub(crate) fn copy_rows(
    values: &[f32],
    ids: &[u32],
    ahead: usize,
    dim: usize,
    stride: usize,
    out: &mut [f32],
) {
    for (i, out) in out.chunks_mut(stride).enumerate() {
        if let Some(&id) = ids.get(i + ahead) {
            prefetch(values, id as usize * dim, dim);
        }
        out[..dim].copy_from_slice(&values[ids[i] as usize * dim..][..dim]);
    }
}

/// Pools the bag from `offsets[i]` on to `out[i · stride..]`, likewise.
#[inline(always)]
fn pool_bags(
    source: &Source<'_>,
    offsets: &[u32],
    ahead: usize,
    dim: usize,
    stride: usize,
    out: &mut [f32],
) {
    let ids = source.bags.ids;
    for (i, out) in out.chunks_mut(stride).enumerate() {
        if let Some(&[start, end]) = offsets.get(i + ahead..i + ahead + 2) {
            for &id in &ids[start as usize..end as usize] {
                prefetch(source.values, id as usize * dim, dim);
            }
        }
        let bag = &ids[offsets[i] as usize..offsets[i + 1] as usize];
        let weight = source.pooling.weight(bag.len());
        let out = &mut out[..dim];
        out.fill(0.0);
        for &id in bag {
            let row = &source.values[id as usize * dim..][..dim];
            out.iter_mut().zip(row).for_each(|(o, v)| *o += weight * v);
        }
    }
}
