//! Dense tables whose masked values stay zero.

use crate::{
    EmbeddingError, EmbeddingLayer, FieldTables, IdBatch, LayerShape, Mask, PlainEmbedding,
    SavedState, StateTensor, StepSize, TrainedRows,
};

/// A [`PlainEmbedding`] of rows under a [`Mask`]: what is not kept is zero at the start and stays zero.
///
/// Gradients of masked values are zeroed before their norm is taken and before the step, so no optimiser
/// moves them. With a full mask every bit is that of the plain layer.
#[derive(Debug)]
pub struct MaskedEmbedding {
    plain: PlainEmbedding,
    mask: Mask,
}

impl MaskedEmbedding {
    /// Zeroes the masked values of `rows` and trains the others.
    ///
    /// # Errors
    /// When the mask is that of other tables.
    pub fn new(mut rows: TrainedRows, mask: Mask) -> Result<Self, EmbeddingError> {
        mask.check(rows.tables())?;
        for (f, table) in rows.tables_mut().iter_mut().enumerate() {
            mask.apply_to_table(f, table);
        }
        let plain = PlainEmbedding::of(rows);
        Ok(Self { plain, mask })
    }

    /// What is kept.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// The rows with their optimiser.
    pub fn rows(&self) -> &TrainedRows {
        self.plain.rows()
    }
}

impl EmbeddingLayer for MaskedEmbedding {
    fn shape(&self) -> &LayerShape {
        self.plain.shape()
    }

    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.plain.forward(ids, out)
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError> {
        self.plain.backward(gradient)?;
        let (index, gradients) = self.plain.summed_gradients_mut()?;
        self.mask.apply_to_gradients(index, gradients)
    }

    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError> {
        self.plain.gradient_norm_squared()
    }

    fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError> {
        self.plain.step(size)
    }

    fn settle(&mut self) {
        self.plain.settle();
    }

    fn lookup(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.plain.lookup(ids, out)
    }

    fn write_rows(&self, f: usize, first: usize, out: &mut [f32]) {
        self.plain.write_rows(f, first, out);
    }

    fn into_tables(self: Box<Self>) -> Vec<FieldTables> {
        Box::new(self.plain).into_tables()
    }

    /// `sparsity`: the share of masked values.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        let kept = self.mask.n_kept() as f64 / self.mask.n_values().max(1) as f64;
        vec![("sparsity", 1.0 - kept)]
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        let mut state = self.plain.state();
        state.extend(self.mask.state(self.plain.rows().names()));
        state
    }

    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        self.plain.restore(saved)?;
        self.mask.restore(self.plain.rows().names(), saved)
    }
}

#[cfg(test)]
mod tests {
    use slimbed_rng::Seed;
    use smallvec::smallvec;

    use super::*;
    use crate::{Bags, FieldSpec, Pooling, RowInit, RowSettings, SparseRule};

    const N_ROWS: [usize; 2] = [70, 9];
    const DIM: usize = 3;
    const RULES: [SparseRule; 4] = [
        SparseRule::Sgd,
        SparseRule::ADAGRAD,
        SparseRule::ROW_WISE_ADAGRAD,
        SparseRule::LAZY_ADAM,
    ];

    fn rows(rule: SparseRule) -> TrainedRows {
        let field = |f: usize| FieldSpec {
            name: format!("C{f}"),
            n_rows: N_ROWS[f],
            pooling: Pooling::Mean,
        };
        let settings = RowSettings {
            dim: DIM,
            init: RowInit::UniformByRows,
            seed: Seed::new(2),
            rule,
            weight_decay: 0.01,
        };
        TrainedRows::new(&[field(0), field(1)], &settings).unwrap()
    }

    fn half() -> Mask {
        Mask::from_rows(&N_ROWS, DIM, |f, row, keep| {
            let kept = |j: usize| (f + row + j).is_multiple_of(2);
            keep.iter_mut().enumerate().for_each(|(j, k)| *k = kept(j));
        })
    }

    /// Embeddings, norms and rows of some steps; one field has bags, the first of them empty.
    fn train(layer: &mut dyn EmbeddingLayer, steps: std::ops::Range<u64>) -> Vec<f64> {
        let mut seen = Vec::new();
        for step in steps {
            let mut stream = Seed::new(step).stream("test", 0);
            let mut ids = |n| [(); 8].map(|()| stream.below(n as u64) as u32);
            let [single, bags] = N_ROWS.map(&mut ids);
            let offsets = [0, 0, 2, 3, 4, 5, 6, 7, 8];
            let batch = IdBatch {
                n: 8,
                fields: smallvec![
                    Bags {
                        ids: &single,
                        offsets: None
                    },
                    Bags {
                        ids: &bags,
                        offsets: Some(&offsets)
                    },
                ],
            };
            let mut out = vec![0.0; 8 * 2 * DIM];
            layer.forward(&batch, &mut out).unwrap();
            seen.extend(out.iter().map(|&x| f64::from(x)));
            let gradient = (0..out.len()).map(|_| stream.uniform() - 0.5);
            layer.backward(&gradient.collect::<Vec<_>>()).unwrap();
            seen.push(layer.gradient_norm_squared().unwrap());
            layer.step(StepSize::of(0.1)).unwrap();
        }
        layer.settle();
        for (f, n_rows) in N_ROWS.into_iter().enumerate() {
            let mut rows = vec![0.0; n_rows * DIM];
            layer.write_rows(f, 0, &mut rows);
            seen.extend(rows.iter().map(|&x| f64::from(x)));
        }
        seen
    }

    #[test]
    fn a_full_mask_is_the_plain_layer() {
        for rule in RULES {
            let mut plain = PlainEmbedding::of(rows(rule));
            let mask = Mask::full(&N_ROWS, DIM);
            let mut masked = MaskedEmbedding::new(rows(rule), mask).unwrap();
            assert_eq!(train(&mut masked, 0..20), train(&mut plain, 0..20));
        }
    }

    #[test]
    fn masked_values_stay_zero_and_others_start_as_they_were() {
        for rule in RULES {
            let plain = rows(rule);
            let mut masked = MaskedEmbedding::new(rows(rule), half()).unwrap();
            let check = |masked: &MaskedEmbedding, kept: &dyn Fn(f32, f32) -> bool| {
                for (f, table) in masked.rows().tables().iter().enumerate() {
                    let start = plain.tables()[f].values().iter();
                    for (i, (&v, &start)) in table.values().iter().zip(start).enumerate() {
                        let is_kept = half().is_kept(f, i / DIM, i % DIM);
                        assert!(
                            if is_kept { kept(v, start) } else { v == 0.0 },
                            "{f} {i} {v}"
                        );
                    }
                }
            };
            check(&masked, &|v, start| v == start);
            train(&mut masked, 0..20);
            check(&masked, &|v, _| v != 0.0);
            assert!((masked.figures()[0].1 - 0.5).abs() < 0.01);
        }
    }

    #[test]
    fn masked_gradients_are_not_in_the_norm() {
        let mut masked = MaskedEmbedding::new(rows(SparseRule::Sgd), half()).unwrap();
        let batch = IdBatch {
            n: 1,
            fields: smallvec![Bags { ids: &[1], offsets: None }; 2],
        };
        masked.forward(&batch, &mut [0.0; 6]).unwrap();
        masked.backward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
        // Row 1 of field 0 keeps column 1, that of field 1 columns 0 and 2.
        assert_eq!(masked.gradient_norm_squared().unwrap(), 4.0 + 16.0 + 36.0);
    }

    #[test]
    fn a_restored_layer_goes_on_with_the_same_bits() {
        let mut first = MaskedEmbedding::new(rows(SparseRule::LAZY_ADAM), half()).unwrap();
        train(&mut first, 0..5);
        let mask = Mask::full(&N_ROWS, DIM);
        let mut second = MaskedEmbedding::new(rows(SparseRule::LAZY_ADAM), mask).unwrap();
        second.restore(&first.state()).unwrap();
        assert_eq!(train(&mut first, 5..10), train(&mut second, 5..10));
        assert_eq!(second.mask(), &half());
    }

    #[test]
    fn the_mask_of_other_tables_is_refused() {
        let mask = Mask::full(&[70, 8], DIM);
        let error = MaskedEmbedding::new(rows(SparseRule::Sgd), mask).unwrap_err();
        assert!(
            error.to_string().contains("mask of the embeddings"),
            "{error}"
        );
    }
}
