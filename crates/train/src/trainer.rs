//! The loop: epochs, validation, selection, checkpoints.

use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use slimbed_compact::Artefact;
use slimbed_data::{Batch, BatchOptions, Dataset, Order, Split};
use slimbed_embedding::{EmbeddingLayer, PlainEmbedding};
use slimbed_rng::Seed;
use slimbed_score::{ModelSpec, dense_weights};

use crate::checkpoint::{LossLog, Phase, Position};
use crate::early_stop::{EarlyStop, Verdict};
use crate::learner::{Learner, Rates, StepResult};
use crate::method::{copy_first_order, first_order_layer, trained_rows};
use crate::observer::{Flow, Observer, StepEvent};
use crate::restore::CheckpointPaths;
use crate::times::Times;
use crate::{Config, DenseNetwork, Engine, Schedule, TrainConfig, TrainError};

/// How a training run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Steps taken.
    pub n_steps: u64,
    /// Step of the best validation.
    pub best_step: u64,
    /// AUC of the best validation.
    pub best_auc: f64,
    /// Samples trained on.
    pub n_samples: u64,
    /// How long it took.
    pub times: Times,
}

/// What the first step starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Fresh weights.
    Fresh,
    /// Weights that are trained, and may be the best already.
    Trained,
}

/// One training run.
pub struct Trainer<'a> {
    pub(crate) dataset: &'a Dataset,
    pub(crate) config: Config,
    spec: ModelSpec,
    pub(crate) learner: Learner,
    pub(crate) steps_per_epoch: u64,
    start: Start,
    schedule: Schedule,
    pub(crate) stop: EarlyStop,
    pub(crate) phase: Phase,
    pub(crate) position: Position,
    pub(crate) log: LossLog,
    pub(crate) n_samples: u64,
    /// Bytes of `metrics.jsonl` that hold.
    pub(crate) metrics_bytes: u64,
    /// Of the parts before this one; `train_secs` and `n_samples` of this one too.
    pub(crate) times: Times,
    pub(crate) started: Instant,
}

impl<'a> Trainer<'a> {
    /// Makes model, plain tables and optimisers for `dataset`.
    ///
    /// # Errors
    /// When a setting cannot work or memory runs out.
    pub fn new(
        dataset: &'a Dataset,
        config: &Config,
        seed: Seed,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let rows = trained_rows(dataset, config, seed, None)?;
        let layer = Box::new(PlainEmbedding::of(rows));
        Self::with_layer(dataset, config, seed, device, layer)
    }

    /// The same with a layer that exists, for example that of a reduction method.
    ///
    /// # Errors
    /// When a setting cannot work or memory runs out.
    pub fn with_layer(
        dataset: &'a Dataset,
        config: &Config,
        seed: Seed,
        device: &Device,
        embedding: Box<dyn EmbeddingLayer>,
    ) -> Result<Self, TrainError> {
        let started = Instant::now();
        config.check()?;
        let spec = config.model.spec(dataset.n_dense(), dataset.fields().len());
        let train = &config.train;
        let dense = dense_network(&spec, train, seed, device)?;
        let mut learner = Learner::new(dense, embedding, seed, train.clip_norm);
        if spec.has_first_order() {
            learner = learner.with_first_order(first_order_layer(dataset, config, seed)?);
        }
        let steps_per_epoch = dataset
            .n_rows(Split::Train)
            .div_ceil(train.batch_size as u64);
        Ok(Self {
            dataset,
            spec,
            learner,
            steps_per_epoch,
            start: Start::Fresh,
            schedule: train.schedule(steps_per_epoch * train.epochs),
            stop: EarlyStop::new(train.patience),
            phase: Phase::Training,
            position: Position::default(),
            log: LossLog::default(),
            n_samples: 0,
            metrics_bytes: 0,
            times: Times::default(),
            started,
            config: config.clone(),
        })
    }

    /// Starts from the dense and the first-order weights of an artefact; call it before the first step.
    ///
    /// # Errors
    /// When the artefact is damaged or holds another network.
    pub(crate) fn import_dense(&mut self, path: &Path) -> Result<(), TrainError> {
        let artefact = Artefact::open(path)?;
        self.learner.dense.import(&dense_weights(&artefact)?)?;
        if let Some(weights) = &mut self.learner.first_order {
            copy_first_order(path, self.dataset, weights.rows_mut().tables_mut())?;
        }
        self.start = Start::Trained;
        Ok(())
    }

    /// The network with its sizes.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The model, its tables and optimisers.
    pub fn learner(&self) -> &Learner {
        &self.learner
    }

    /// The same, to be changed.
    pub(crate) fn learner_mut(&mut self) -> &mut Learner {
        &mut self.learner
    }

    /// The model, its tables and optimisers; the run is over.
    pub fn into_learner(self) -> Learner {
        self.learner
    }

    /// Samples trained on so far.
    pub fn n_samples(&self) -> u64 {
        self.n_samples
    }

    /// Bytes of `metrics.jsonl` that hold: 0, or as many as the restored checkpoint says.
    pub fn metrics_bytes(&self) -> u64 {
        self.metrics_bytes
    }

    /// Trains until the epochs are over or the validation AUC stops to rise.
    ///
    /// # Errors
    /// When the data cannot be read, a checkpoint cannot be written, the loss is not finite or the model
    /// is dead.
    pub fn run(
        &mut self,
        paths: &CheckpointPaths,
        observer: &mut dyn Observer,
    ) -> Result<Outcome, TrainError> {
        if self.start == Start::Trained && self.stop.best().is_none() && self.metrics_bytes == 0 {
            // More training may only make it worse.
            let verdict = self.validate(observer)?;
            self.save(paths, verdict, observer)?;
        }
        while self.phase == Phase::Training {
            self.run_epoch(paths, observer)?;
        }
        let (best_auc, best_step) = self.stop.best().unwrap_or_default();
        Ok(Outcome {
            n_steps: self.position.step,
            best_step,
            best_auc,
            n_samples: self.n_samples,
            times: self.times_now(),
        })
    }

    /// Trains on what is left of the epoch.
    fn run_epoch(
        &mut self,
        paths: &CheckpointPaths,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let epoch = self.position.epoch;
        let mut batches = self.dataset.batches(Split::Train, self.batch_options())?;
        while self.phase == Phase::Training && self.position.epoch == epoch {
            let started = Instant::now();
            let batch = batches.next().transpose()?;
            let batch = batch.ok_or_else(|| self.out_of_data())?;
            self.step(&batch, observer)?;
            self.times.train_secs += started.elapsed().as_secs_f64();
            self.times.n_samples += batch.n as u64;
            self.after_step(paths, observer)?;
        }
        Ok(())
    }

    fn batch_options(&self) -> BatchOptions {
        let train = &self.config.train;
        BatchOptions {
            batch_size: train.batch_size,
            order: Order::Shuffled {
                seed: self.learner.seed,
                epoch: self.position.epoch,
                window_blocks: train.shuffle_window,
            },
            start_batch: self.position.batch,
            prefetch: 4,
        }
    }

    /// Validates where a validation is due, and saves what is due to be saved.
    ///
    /// A checkpoint follows every validation, so none stands between an epoch's last step and the
    /// validation after it.
    fn after_step(
        &mut self,
        paths: &CheckpointPaths,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        if observer.inspect(self.position.step, &mut self.learner)? == Flow::End {
            self.advance(Verdict::Stop);
            return self.save(paths, Verdict::Worse, observer);
        }
        let train = &self.config.train;
        let ends_epoch = self.position.batch == self.steps_per_epoch;
        let every = train.validation_period(self.steps_per_epoch);
        if ends_epoch || self.position.batch.is_multiple_of(every) {
            let verdict = self.validate(observer)?;
            self.advance(verdict);
            return self.save(paths, verdict, observer);
        }
        let every = train.checkpoint_every;
        if every > 0 && self.position.step.is_multiple_of(every) {
            return self.save(paths, Verdict::Worse, observer);
        }
        Ok(())
    }

    /// Goes on to the next epoch or phase where it is time.
    fn advance(&mut self, verdict: Verdict) {
        if self.position.batch == self.steps_per_epoch {
            self.position.epoch += 1;
            self.position.batch = 0;
        }
        if verdict == Verdict::Stop || self.position.epoch >= self.config.train.epochs {
            self.phase = Phase::Trained;
        }
    }

    fn step(&mut self, batch: &Batch, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let step = self.position.step;
        let factor = self.schedule.factor(step);
        let train = &self.config.train;
        let rates = Rates {
            dense: train.lr * factor,
            embedding: train.embedding_lr * factor,
            factor,
        };
        let result = self.learner.step(batch, step, rates)?;
        self.check_finite(result)?;
        self.position.step += 1;
        self.position.batch += 1;
        self.n_samples += batch.n as u64;
        self.log.sum += result.loss;
        self.log.n += 1;
        observer.samples(batch.n as u64);
        if self
            .position
            .step
            .is_multiple_of(self.config.train.log_every)
        {
            self.report(rates, result, observer)?;
        }
        Ok(())
    }

    fn report(
        &mut self,
        rates: Rates,
        result: StepResult,
        observer: &mut dyn Observer,
    ) -> Result<(), TrainError> {
        let log = std::mem::take(&mut self.log);
        observer.step(&StepEvent {
            step: self.position.step,
            epoch: self.position.epoch,
            loss: log.sum / log.n as f64,
            lr: rates.dense,
            embedding_lr: rates.embedding,
            gradient_norm: result.gradient_norm,
        })?;
        Ok(())
    }

    fn check_finite(&self, result: StepResult) -> Result<(), TrainError> {
        let gradient_norm = result.gradient_norm.unwrap_or(0.0);
        for (quantity, value) in [("loss", result.loss), ("gradient norm", gradient_norm)] {
            if !value.is_finite() {
                let Position { step, epoch, batch } = self.position;
                return Err(TrainError::NotFinite {
                    quantity,
                    value,
                    step,
                    epoch,
                    batch,
                });
            }
        }
        Ok(())
    }

    fn out_of_data(&self) -> TrainError {
        TrainError::DataShape {
            what: "training batches",
            expected: self.steps_per_epoch.max(1).to_string(),
            found: self.position.batch.to_string(),
        }
    }
}

fn dense_network(
    spec: &ModelSpec,
    train: &TrainConfig,
    seed: Seed,
    device: &Device,
) -> Result<Box<dyn DenseNetwork>, TrainError> {
    let engine = Engine {
        kind: train.engine,
        precision: train.precision(),
        device: device.clone(),
    };
    let (rule, decay) = (train.dense_rule(), train.dense_decay());
    engine.build(spec.network()?, seed, rule, decay)
}
