//! The layer.

use rayon::prelude::*;
use slimbed_embedding::{
    BatchIndex, EmbeddingError, EmbeddingLayer, FieldTables, IdBatch, LayerShape, SavedState,
    Stage, StateTensor, StepSize, TrainedRows, expand, reduce, sum_of_squares,
};
use slimbed_rng::Seed;

use crate::attributes::tabulate;
use crate::net::{CHUNK, Net};
use crate::settings::{AmtlSettings, Sizes};
use crate::sizer::{Eye, Sizer};
use crate::state::Saved;
use crate::trainer::{Pass, Trainer};

/// Rows of `dim` values of which only the first `k` count, `k` being learned from the row's frequency.
#[derive(Debug)]
pub struct AmtlEmbedding {
    rows: TrainedRows,
    stage: Stage,
    /// Of the last forward pass.
    index: BatchIndex,
    /// Unique rows of the last forward pass, `[U, dim]`, and memory for more.
    unique: Vec<f32>,
    /// The same masked, then their gradients.
    masked: Vec<f32>,
    /// `None` where every row keeps all its values.
    learned: Option<Learned>,
}

/// Sizes that are not all full.
#[derive(Debug)]
pub(crate) struct Learned {
    pub sizer: Sizer,
    pub trainer: Trainer,
    /// What a checkpoint keeps besides vectors of weights.
    pub saved: Saved,
}

impl AmtlEmbedding {
    /// A layer over `rows`, new ones or those of a trained plain table (a warm start).
    ///
    /// `counts` says for each field how often each row occurs in the training split; row 0 is the
    /// out-of-vocabulary row and has a count as well. The branches are drawn from `seed`.
    ///
    /// # Errors
    /// When a setting cannot work, the counts are not those of the rows, or the system does not give the
    /// memory of the attributes (8 bytes a row).
    pub fn new(
        rows: TrainedRows,
        counts: &[&[u64]],
        settings: &AmtlSettings,
        seed: Seed,
    ) -> Result<Self, EmbeddingError> {
        settings.check()?;
        check_counts(&rows, counts)?;
        let learned = match settings.sizes {
            Sizes::Full => None,
            Sizes::Learned => Some(Learned::new(settings, rows.dim(), counts, seed)?),
        };
        Ok(Self {
            rows,
            stage: Stage::Forward,
            index: BatchIndex::default(),
            unique: Vec::new(),
            masked: Vec::new(),
            learned,
        })
    }

    /// The rows with their optimiser, none of them masked.
    pub fn rows(&self) -> &TrainedRows {
        &self.rows
    }

    pub(crate) fn learned(&self) -> Option<&Learned> {
        self.learned.as_ref()
    }

    pub(crate) fn learned_mut(&mut self) -> Option<&mut Learned> {
        self.learned.as_mut()
    }

    /// Values of all rows.
    pub(crate) fn n_values(&self) -> u64 {
        let n_rows = self.rows.tables().iter().map(|table| table.n_rows() as u64);
        n_rows.sum::<u64>() * self.rows.dim() as u64
    }

    /// Indexes a batch, brings its unique rows, masks them and spreads them over `out`.
    fn bring(
        &mut self,
        ids: &IdBatch<'_>,
        eye: Eye,
        out: &mut [f32],
    ) -> Result<(), EmbeddingError> {
        self.rows.check(ids)?;
        let dim = self.rows.dim();
        check_length(ids.n * self.n_fields() * dim, out.len())?;
        self.stage = Stage::Forward;
        self.index.rebuild(ids, self.rows.pooling())?;
        let (n, most) = (self.index.n_unique() * dim, self.index.n_ids() * dim);
        for buffer in [&mut self.unique, &mut self.masked] {
            // Room for the most unique rows that so many ids can have: it stops growing with the batch.
            if buffer.len() < most {
                buffer.resize(most, 0.0);
            }
        }
        let unique = &mut self.unique[..n];
        self.rows.gather(&self.index, unique)?;
        let Some(Learned { sizer, trainer, .. }) = &mut self.learned else {
            return expand(unique, &self.index, dim, out);
        };
        let masked = &mut self.masked[..n];
        masked.copy_from_slice(unique);
        trainer.forward(sizer, &self.index, eye, masked)?;
        expand(masked, &self.index, dim, out)
    }

    /// Gradients of the unique rows, `[U, dim]`.
    fn gradients(&self) -> Result<&[f32], EmbeddingError> {
        self.stage.check_step()?;
        Ok(&self.masked[..self.index.n_unique() * self.rows.dim()])
    }
}

impl Learned {
    fn new(
        settings: &AmtlSettings,
        dim: usize,
        counts: &[&[u64]],
        seed: Seed,
    ) -> Result<Self, EmbeddingError> {
        let net = Net::new(settings, dim);
        let (attributes, sample) = tabulate(counts, seed)?;
        let trainer = Trainer::new(settings, &net, sample);
        let sizer = Sizer {
            weights: net.draw(seed, settings.start_bias),
            net,
            tilt: 0.0,
            estimator: settings.estimator,
            attributes,
            dim,
        };
        let mut learned = Self {
            sizer,
            trainer,
            saved: Saved::default(),
        };
        learned.note();
        Ok(learned)
    }
}

impl EmbeddingLayer for AmtlEmbedding {
    fn shape(&self) -> &LayerShape {
        self.rows.shape()
    }

    fn forward(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.bring(ids, Eye::Training, out)?;
        self.stage = Stage::Backward;
        Ok(())
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), EmbeddingError> {
        self.stage.check_backward()?;
        let n = self.index.n_unique() * self.rows.dim();
        let sums = &mut self.masked[..n];
        reduce(gradient, &self.index, self.rows.dim(), sums)?;
        let pass = match self.stage {
            Stage::Step => Pass::Again,
            _ => Pass::First,
        };
        if let Some(Learned {
            sizer,
            trainer,
            saved,
        }) = &mut self.learned
        {
            if saved.is_held() {
                trainer.backward_held(sizer, sums);
            } else {
                trainer.backward(sizer, pass, &self.unique[..n], sums);
            }
        }
        self.stage = Stage::Step;
        Ok(())
    }

    fn gradient_norm_squared(&self) -> Result<f64, EmbeddingError> {
        let rows = self.gradients().map(sum_of_squares)?;
        let own = self
            .learned
            .as_ref()
            .filter(|learned| !learned.saved.is_held());
        Ok(rows + own.map_or(0.0, |learned| sum_of_squares(&learned.trainer.gradient)))
    }

    fn step(&mut self, size: StepSize) -> Result<(), EmbeddingError> {
        let n = self.gradients()?.len();
        self.stage = Stage::Forward;
        let gradients = &self.masked[..n];
        self.rows
            .step(&self.index, gradients, size.lr, size.scale)?;
        if let Some(learned) = self.learned.as_mut().filter(|l| !l.saved.is_held()) {
            learned.trainer.step(&mut learned.sizer, size);
            learned.note();
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.rows.settle();
    }

    fn lookup(&mut self, ids: &IdBatch<'_>, out: &mut [f32]) -> Result<(), EmbeddingError> {
        self.bring(ids, Eye::Scoring, out)
    }

    fn write_rows(&self, f: usize, first: usize, out: &mut [f32]) {
        let values = self.rows.tables()[f].values();
        out.copy_from_slice(&values[first * self.rows.dim()..][..out.len()]);
        if let Some(Learned { sizer, .. }) = &self.learned {
            sizer.mask_rows(f, first, out, &mut sizer.tapes());
        }
    }

    fn into_tables(self: Box<Self>) -> Vec<FieldTables> {
        let mut tables = self.rows.into_tables();
        if let Some(Learned { sizer, trainer, .. }) = self.learned {
            drop(trainer);
            for (f, table) in tables.iter_mut().enumerate() {
                let chunks = table.values_mut().par_chunks_mut(CHUNK * sizer.dim);
                let init = || sizer.tapes();
                chunks
                    .enumerate()
                    .for_each_init(init, |tapes, (chunk, rows)| {
                        sizer.mask_rows(f, chunk * CHUNK, rows, tapes);
                    });
            }
        }
        tables.into_iter().map(FieldTables::from).collect()
    }

    fn figures(&self) -> Vec<(&'static str, f64)> {
        self.size_figures()
    }

    fn state(&self) -> Vec<StateTensor<'_>> {
        let own = self.learned.iter().flat_map(Learned::state);
        self.rows.state().chain(own).collect()
    }

    fn restore(&mut self, saved: &dyn SavedState) -> Result<(), EmbeddingError> {
        self.stage = Stage::Forward;
        self.rows.restore(saved)?;
        self.learned
            .as_mut()
            .map_or(Ok(()), |learned| learned.restore(saved))
    }
}

/// Refuses counts of other fields or rows.
fn check_counts(rows: &TrainedRows, counts: &[&[u64]]) -> Result<(), EmbeddingError> {
    let tables = rows.tables();
    if tables.len() != counts.len() {
        let (expected, found) = (tables.len(), counts.len());
        return Err(EmbeddingError::FieldCount { expected, found });
    }
    let fields = tables.iter().zip(counts).zip(rows.names());
    for ((table, counts), name) in fields {
        if table.n_rows() != counts.len() {
            return Err(EmbeddingError::Setting {
                what: format!("counts of field `{name}`"),
                expected: "one count for each row of its table",
                found: format!("{} for {} rows", counts.len(), table.n_rows()),
            });
        }
    }
    Ok(())
}

fn check_length(expected: usize, found: usize) -> Result<(), EmbeddingError> {
    if expected == found {
        return Ok(());
    }
    Err(EmbeddingError::Length {
        what: "embeddings",
        expected,
        found,
    })
}
