//! From unique rows to the embeddings of a batch, inside candle's graph.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::{BatchIndex, EmbeddingError};

/// Pools `rows` `[U, dim]` into `[batch, fields, dim]`.
///
/// Row `(b, f)` is the weighted sum of the unique rows in its bag; the gradient of a unique row is the
/// weighted sum over its occurrences, in the order of the batch. Both are independent of the number of
/// threads.
///
/// # Errors
/// When `rows` does not have the index's number of unique rows.
pub fn expand(rows: &Tensor, index: &Arc<BatchIndex>) -> Result<Tensor, EmbeddingError> {
    if rows.device().is_cpu() {
        return Ok(rows.contiguous()?.apply_op1(Expand {
            index: index.clone(),
        })?);
    }
    composed(rows, index)
}

/// The same from candle's ops, for any device: one product with the weights, one `index_add`.
fn composed(rows: &Tensor, index: &BatchIndex) -> Result<Tensor, EmbeddingError> {
    let (n_fields, dim) = (index.n_fields(), rows.dim(1)?);
    let n_slots = index.n() * n_fields;
    let (mut uniques, mut slots, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for slot in 0..n_slots {
        let (bag, weight) = index.bag(slot % n_fields, slot / n_fields);
        for unique in bag {
            uniques.push(unique as u32);
            slots.push(slot as u32);
            weights.push(weight);
        }
    }
    let n = slots.len();
    let device = rows.device();
    let out = Tensor::zeros((n_slots, dim), rows.dtype(), device)?;
    if n == 0 {
        return Ok(out.reshape((index.n(), n_fields, dim))?);
    }
    let gathered = rows.index_select(&Tensor::from_vec(uniques, n, device)?, 0)?;
    let weighted = gathered.broadcast_mul(&Tensor::from_vec(weights, (n, 1), device)?)?;
    let sums = out.index_add(&Tensor::from_vec(slots, n, device)?, &weighted, 0)?;
    Ok(sums.reshape((index.n(), n_fields, dim))?)
}

struct Expand {
    index: Arc<BatchIndex>,
}

impl CustomOp1 for Expand {
    fn name(&self) -> &'static str {
        "expand_unique_rows"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let index = &*self.index;
        let (n_unique, dim) = layout.shape().dims2()?;
        if n_unique != index.n_unique() {
            bail!(
                "{}: expected {} rows, found {n_unique}",
                self.name(),
                index.n_unique()
            );
        }
        let rows = values(rows, layout)?;
        let n_fields = index.n_fields();
        let mut out = vec![0.0; index.n() * n_fields * dim];
        out.par_chunks_mut((n_fields * dim).max(1))
            .enumerate()
            .for_each(|(b, out)| {
                for (f, out) in out.chunks_exact_mut(dim).enumerate() {
                    let (bag, weight) = index.bag(f, b);
                    bag.for_each(|u| add_scaled(out, weight, &rows[u * dim..][..dim]));
                }
            });
        Ok((
            CpuStorage::F32(out),
            Shape::from((index.n(), n_fields, dim)),
        ))
    }

    fn bwd(
        &self,
        _rows: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let op = ExpandGradient {
            index: self.index.clone(),
        };
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&op)?))
    }
}

struct ExpandGradient {
    index: Arc<BatchIndex>,
}

impl CustomOp1 for ExpandGradient {
    fn name(&self) -> &'static str {
        "sum_over_occurrences"
    }

    fn cpu_fwd(
        &self,
        grad: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let index = &*self.index;
        let (_, n_fields, dim) = layout.shape().dims3()?;
        let grad = values(grad, layout)?;
        let mut out = vec![0.0; index.n_unique() * dim];
        index
            .split_mut(&mut out, dim)
            .into_par_iter()
            .enumerate()
            .for_each(|(f, out)| {
                for (u, out) in out.chunks_exact_mut(dim).enumerate() {
                    for place in index.places(f, u) {
                        let slot = place.sample as usize * n_fields + f;
                        add_scaled(out, place.weight, &grad[slot * dim..][..dim]);
                    }
                }
            });
        Ok((CpuStorage::F32(out), Shape::from((index.n_unique(), dim))))
    }
}

fn add_scaled(out: &mut [f32], scale: f32, row: &[f32]) {
    for (o, v) in out.iter_mut().zip(row) {
        *o += scale * v;
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "expected a contiguous tensor, found strides {:?}",
            layout.stride()
        );
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use proptest::prelude::*;

    use super::*;
    use crate::{Bags, IdBatch, Pooling};

    /// Ids of `[fields][samples][bag]`, multi-valued throughout.
    fn any_bags() -> impl Strategy<Value = (Vec<Vec<Vec<u32>>>, usize)> {
        (1..4usize, 0..6usize, 1..5usize).prop_flat_map(|(fields, samples, dim)| {
            let bag = prop::collection::vec(0..7u32, 0..4);
            let field = prop::collection::vec(bag, samples);
            (prop::collection::vec(field, fields), Just(dim))
        })
    }

    fn index(bags: &[Vec<Vec<u32>>], pooling: Pooling) -> Arc<BatchIndex> {
        let flat: Vec<Vec<u32>> = bags.iter().map(|field| field.concat()).collect();
        let offsets: Vec<Vec<u32>> = bags.iter().map(|field| offsets(field)).collect();
        let fields = flat
            .iter()
            .zip(&offsets)
            .map(|(ids, offsets)| Bags {
                ids,
                offsets: Some(offsets),
            })
            .collect();
        let batch = IdBatch {
            n: bags[0].len(),
            fields,
        };
        Arc::new(BatchIndex::new(&batch, &vec![pooling; bags.len()]).unwrap())
    }

    fn offsets(field: &[Vec<u32>]) -> Vec<u32> {
        let ends = field.iter().scan(0, |end, bag| {
            *end += bag.len() as u32;
            Some(*end)
        });
        std::iter::once(0).chain(ends).collect()
    }

    fn numbered(shape: &[usize]) -> Var {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    proptest! {
        #[test]
        fn op_equals_the_composition((bags, dim) in any_bags(), mean in any::<bool>()) {
            let pooling = if mean { Pooling::Mean } else { Pooling::Sum };
            let index = index(&bags, pooling);
            let rows = numbered(&[index.n_unique(), dim]);
            let fast = expand(&rows, &index).unwrap();
            prop_assert_eq!(fast.dims(), [index.n(), bags.len(), dim]);
            if index.n_unique() > 0 {
                let slow = composed(&rows, &index).unwrap();
                let weights = numbered(fast.dims());
                let grad = |y: &Tensor| {
                    let loss = (y * weights.as_tensor()).unwrap().sum_all().unwrap();
                    flat(loss.backward().unwrap().get(&rows).unwrap())
                };
                for (a, b) in flat(&fast).iter().zip(flat(&slow)) {
                    prop_assert!((a - b).abs() < 1e-5);
                }
                for (a, b) in grad(&fast).iter().zip(grad(&slow)) {
                    prop_assert!((a - b).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        // The op is linear, so any step gives its exact derivative.
        let index = index(
            &[vec![vec![3, 3], vec![1]], vec![vec![], vec![0, 5]]],
            Pooling::Mean,
        );
        let rows = numbered(&[index.n_unique(), 2]);
        let weights = numbered(&[2, 2, 2]);
        let value = |rows: &Tensor| -> f32 {
            let y = expand(rows, &index).unwrap();
            (y * weights.as_tensor())
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar()
                .unwrap()
        };
        let y = (expand(&rows, &index).unwrap() * weights.as_tensor()).unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        let grad = flat(grads.get(&rows).unwrap());
        let base = flat(&rows);
        for i in 0..base.len() {
            let mut moved = base.clone();
            moved[i] += 1.0;
            let moved = Tensor::from_vec(moved, rows.dims(), &Device::Cpu).unwrap();
            assert!((value(&moved) - value(&rows) - grad[i]).abs() < 1e-5);
        }
    }
}
