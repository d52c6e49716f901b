//! Adam over whole tables, for the faithful mode: a step costs a pass over them.

use rayon::prelude::*;
use slimbed_embedding::{BatchIndex, EmbeddingError, SavedState, StateTensor, Table};
use slimbed_fused::WeightDecay;

use crate::PepSettings;
use crate::adam::Adam;

/// Rows whose gradients are in memory at a time.
const ROWS_AT_ONCE: usize = 1 << 12;

/// The optimisers of some tables, one each.
#[derive(Debug)]
pub struct Dense {
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    adam: Adam,
    /// Of some rows, `[_, width]`.
    gradient: Vec<f32>,
}

impl Dense {
    /// Optimisers called `<name>/<what>` for tables of the given names.
    pub fn new(
        names: &[String],
        tables: &[Table],
        what: &str,
        settings: &PepSettings,
        decay: WeightDecay,
    ) -> Self {
        let field = |(name, table): (&String, &Table)| {
            let n_params = table.values().len();
            let n_at_once = table.n_rows().min(ROWS_AT_ONCE) * table.dim();
            Field {
                adam: Adam::new(format!("{name}/{what}"), n_params, settings, decay),
                gradient: vec![0.0; n_at_once],
            }
        };
        let fields = names.iter().zip(tables).map(field).collect();
        Self { fields }
    }

    /// One step of all rows; those of `index` have `gradients` `[U, width]` times `scale`, the others none.
    pub fn step(
        &mut self,
        tables: &mut [Table],
        index: &BatchIndex,
        gradients: &[f32],
        lr: f64,
        scale: f32,
    ) {
        let fields = self.fields.par_iter_mut().zip(tables).enumerate();
        fields.with_max_len(1).for_each(|(f, (field, table))| {
            let (span, width) = (index.span(f), table.dim());
            let gradients = &gradients[span.start * width..span.end * width];
            let mut rows = index
                .rows(f)
                .iter()
                .zip(gradients.chunks_exact(width))
                .peekable();
            let fill = |first: usize, out: &mut [f32]| {
                out.fill(0.0);
                let end = first + out.len();
                while let Some((&row, gradient)) =
                    rows.next_if(|(row, _)| (**row as usize) * width < end)
                {
                    out[row as usize * width - first..][..width].copy_from_slice(gradient);
                }
            };
            let Field { adam, gradient } = field;
            adam.step_in_runs(table.values_mut(), gradient, lr, scale, fill);
        });
    }

    pub fn state(&self) -> impl Iterator<Item = StateTensor<'_>> {
        self.fields.iter().flat_map(|field| field.adam.state())
    }

    pub fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        let mut fields = self.fields.iter_mut();
        fields.try_for_each(|field| field.adam.restore(saved))
    }
}
