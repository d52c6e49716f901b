//! The pruning schedule of DeepLight (W. Deng et al., arXiv 2002.06987).
//!
//! While trained tables are trained on, the values of the smallest magnitude of all of them are set to zero every so
//! many steps, more of them each time: at step `t` a share `S·(1 − D^(t/Ω))`. There is no mask: a value that was
//! pruned learns like any other and may grow back until the next time. Nothing is trained again afterwards.
//!
//! The tables are also pruned whenever they are settled, so that what is scored is what would be shipped; and they
//! are ready ([`EmbeddingLayer::is_ready`]) once the share is `S`: only then does a validation count.

mod select;
mod settings;

use slimbed_embedding::{
    EmbeddingError, EmbeddingLayer, FieldTables, IdBatch, LayerShape, PlainEmbedding, SavedState,
    StateTensor, StateValues, StepSize, TrainedRows,
};

pub use settings::{DeepLightSettings, Schedule};

/// Name of the tensor with the number of steps, low half first.
const STEP: &str = "deeplight/step";

/// Plain tables that are pruned by magnitude while they are trained.
#[derive(Debug)]
pub struct DeepLightEmbedding {
    plain: PlainEmbedding,
    schedule: Schedule,
    /// Steps taken, low half first, as a checkpoint takes it.
    step: [u32; 2],
}

impl DeepLightEmbedding {
    /// Trains `rows` on, usually those of a plain training, and prunes them.
    ///
    /// # Panics
    /// When the tables differ in width.
    pub fn new(rows: TrainedRows, schedule: Schedule) -> Self {
        Self {
            plain: PlainEmbedding::of(rows),
            schedule,
            step: [0; 2],
        }
    }

    /// The rows with their optimiser.
    pub fn rows(&self) -> &TrainedRows {
        self.plain.rows()
    }

    /// Prunes all but the `n_kept` values of the largest magnitude.
    pub fn prune(&mut self, n_kept: u64) {
        let tables = self.plain.rows_mut().tables_mut();
        let n_values: usize = tables.iter().map(|table| table.values().len()).sum();
        select::zero_smallest(tables, (n_values as u64).saturating_sub(n_kept));
    }

    fn n_steps(&self) -> u64 {
        u64::from(self.step[0]) | u64::from(self.step[1]) << 32
    }

    fn n_values(&self) -> u64 {
        let tables = self.rows().tables().iter();
        tables.map(|table| table.values().len() as u64).sum()
    }

    /// Prunes as many as the schedule says of the steps taken.
    fn prune_now(&mut self) {
        let n_kept = self.schedule.n_kept(self.n_values(), self.n_steps());
        self.prune(n_kept);
    }
}

impl EmbeddingLayer for DeepLightEmbedding {
    fn shape(&self) -> &LayerShape {
        self.plain.shape()
    }

    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.plain.forward(ids, out)
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError> {
        self.plain.backward(gradient)
    }

    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError> {
        self.plain.gradient_norm_squared()
    }

    /// Every so many steps, as the schedule says, this costs passes over the tables.
    fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError> {
        self.plain.step(size)?;
        let n_steps = self.n_steps() + 1;
        self.step = [n_steps as u32, (n_steps >> 32) as u32];
        if n_steps.is_multiple_of(self.schedule.every) {
            self.plain.settle();
            self.prune_now();
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.plain.settle();
        self.prune_now();
    }

    fn is_ready(&self) -> bool {
        self.schedule.share(self.n_steps()) >= 1.0
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

    /// `sparsity`: the share of values that the schedule prunes by now.
    fn figures(&self) -> Vec<(&'static str, f64)> {
        let n_values = self.n_values();
        let n_kept = self.schedule.n_kept(n_values, self.n_steps());
        vec![("sparsity", 1.0 - n_kept as f64 / n_values.max(1) as f64)]
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        let mut state = self.plain.state();
        state.push(StateTensor {
            name: STEP.into(),
            n_rows: 1,
            dim: 2,
            values: StateValues::U32(&self.step),
        });
        state
    }

    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        self.plain.restore(saved)?;
        let found = saved.find(STEP).map(|tensor| tensor.values);
        let Some(StateValues::U32(&[low, high])) = found else {
            return Err(EmbeddingError::StateMismatch {
                name: STEP.into(),
                expected: "2 integers".into(),
                found: found.map_or("nothing".into(), |values| format!("{values:?}")),
            });
        };
        self.step = [low, high];
        saved.release(STEP);
        Ok(())
    }
}
