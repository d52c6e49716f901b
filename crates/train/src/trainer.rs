//! The loop: epochs, validation, selection, checkpoints.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use candle_core::Device;
use slimbed_data::{Batch, BatchOptions, Dataset, Order, Split};
use slimbed_embedding::{EmbeddingLayer, FieldSpec, PlainEmbedding, Pooling};
use slimbed_eval::{DeadCause, Metrics};
use slimbed_rng::Seed;

use crate::checkpoint::{self, Header, Position};
use crate::early_stop::{EarlyStop, Verdict};
use crate::learner::{Learner, Rates, StepResult};
use crate::observer::{Observer, StepEvent, ValidationEvent};
use crate::scoring::{Scores, score};
use crate::{Config, Engine, ModelSpec, Schedule, TrainError};

/// A validation AUC up to here is that of random scores on a small split.
const RANDOM_AUC: f64 = 0.52;

/// Where a run keeps its two checkpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPaths {
    /// The best on the validation split.
    pub best: PathBuf,
    /// The newest.
    pub last: PathBuf,
}

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
    /// Time in training steps and their loading, without validation and checkpoints.
    pub train_time: Duration,
}

/// One training run.
pub struct Trainer<'a> {
    dataset: &'a Dataset,
    config: Config,
    spec: ModelSpec,
    learner: Learner,
    steps_per_epoch: u64,
    schedule: Schedule,
    stop: EarlyStop,
    position: Position,
    log: LossLog,
    n_samples: u64,
    train_time: Duration,
}

/// Losses since the last line of the log.
#[derive(Default)]
struct LossLog {
    sum: f64,
    n: u64,
}

impl<'a> Trainer<'a> {
    /// Makes model, tables and optimisers for `dataset`.
    ///
    /// # Errors
    /// When a setting cannot work or memory runs out.
    pub fn new(
        dataset: &'a Dataset,
        config: &Config,
        seed: Seed,
        device: &Device,
    ) -> Result<Self, TrainError> {
        config.check()?;
        let spec = ModelSpec::new(&config.model, dataset.n_dense(), dataset.fields().len());
        let train = &config.train;
        let engine = Engine {
            kind: train.engine,
            precision: train.precision(),
            device: device.clone(),
        };
        let (rule, decay) = (train.dense_rule(), train.dense_decay());
        let dense = engine.build(spec.network()?, seed, rule, decay)?;
        let embedding = Box::new(plain_embedding(dataset, config, seed)?);
        let learner = Learner::new(dense, embedding, seed, train.clip_norm);
        let steps_per_epoch = dataset
            .n_rows(Split::Train)
            .div_ceil(train.batch_size as u64);
        Ok(Self {
            dataset,
            spec,
            learner,
            steps_per_epoch,
            schedule: train.schedule(steps_per_epoch * train.epochs),
            stop: EarlyStop::new(train.patience),
            position: Position::default(),
            log: LossLog::default(),
            n_samples: 0,
            train_time: Duration::ZERO,
            config: config.clone(),
        })
    }

    /// The network with its sizes.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// The model, its tables and optimisers.
    pub fn learner(&self) -> &Learner {
        &self.learner
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
        while self.position.epoch < self.config.train.epochs {
            if self.run_epoch(paths, observer)? == Verdict::Stop {
                break;
            }
            self.position = Position {
                epoch: self.position.epoch + 1,
                batch: 0,
                ..self.position
            };
        }
        let (best_auc, best_step) = self.stop.best().unwrap_or_default();
        Ok(Outcome {
            n_steps: self.position.step,
            best_step,
            best_auc,
            n_samples: self.n_samples,
            train_time: self.train_time,
        })
    }

    /// Brings the learner to the best checkpoint, everything owed to its rows paid.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub fn load_best(&mut self, paths: &CheckpointPaths) -> Result<(), TrainError> {
        checkpoint::load(&paths.best, &mut self.learner)?;
        self.learner.embedding.settle();
        Ok(())
    }

    fn run_epoch(
        &mut self,
        paths: &CheckpointPaths,
        observer: &mut dyn Observer,
    ) -> Result<Verdict, TrainError> {
        let every = self.config.train.validation_period(self.steps_per_epoch);
        let mut batches = self.dataset.batches(Split::Train, self.batch_options())?;
        let mut validated_at = None;
        loop {
            let started = Instant::now();
            let Some(batch) = batches.next().transpose()? else {
                break;
            };
            self.step(&batch, observer)?;
            self.train_time += started.elapsed();
            if self.position.batch.is_multiple_of(every) {
                validated_at = Some(self.position.step);
                if self.validate(paths, observer)? == Verdict::Stop {
                    return Ok(Verdict::Stop);
                }
            }
        }
        if validated_at == Some(self.position.step) {
            return Ok(Verdict::Worse);
        }
        self.validate(paths, observer)
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

    fn step(&mut self, batch: &Batch, observer: &mut dyn Observer) -> Result<(), TrainError> {
        let step = self.position.step;
        let factor = self.schedule.factor(step);
        let train = &self.config.train;
        let rates = Rates {
            dense: train.lr * factor,
            embedding: train.embedding_lr * factor,
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

    fn validate(
        &mut self,
        paths: &CheckpointPaths,
        observer: &mut dyn Observer,
    ) -> Result<Verdict, TrainError> {
        let metrics = self.validation_metrics()?;
        let verdict = self.stop.observe(metrics.auc, self.position.step);
        observer.validation(&ValidationEvent {
            step: self.position.step,
            epoch: self.position.epoch,
            is_best: verdict == Verdict::Best,
            metrics: &metrics,
        })?;
        let header = Header::new(&self.learner, self.position, &self.stop, &self.config);
        checkpoint::save(&paths.last, &self.learner, header.clone())?;
        if verdict == Verdict::Best {
            checkpoint::save(&paths.best, &self.learner, header)?;
        }
        Ok(verdict)
    }

    fn validation_metrics(&mut self) -> Result<Metrics, TrainError> {
        self.learner.embedding.settle();
        let scores = self.scores(Split::Validation)?;
        let step = self.position.step;
        if let Some(row) = scores.logits.iter().position(|logit| !logit.is_finite()) {
            let logit = scores.logits[row];
            let cause =
                format!("validation row {row} scores {logit}: the learning rate is too high");
            return Err(TrainError::DeadModel { step, cause });
        }
        let metrics = scores.metrics(Split::Validation)?;
        let cause = slimbed_eval::dead_cause(&scores.logits, &scores.labels).map_err(|source| {
            TrainError::Metric {
                split: "validation",
                source,
            }
        })?;
        match cause.filter(|cause| self.is_fatal(cause, metrics.auc)) {
            Some(cause) => Err(TrainError::DeadModel {
                step,
                cause: cause.to_string(),
            }),
            None => Ok(metrics),
        }
    }

    /// A model that is no better than the click rate gets one epoch to change that, and may be an
    /// over-confident one that ranks well.
    fn is_fatal(&self, cause: &DeadCause, auc: f64) -> bool {
        let had_its_chance = self.position.step >= self.steps_per_epoch;
        match cause {
            DeadCause::NoBetterThanBaseRate { .. } => had_its_chance && auc <= RANDOM_AUC,
            _ => true,
        }
    }

    fn scores(&mut self, split: Split) -> Result<Scores, TrainError> {
        let Learner {
            embedding, dense, ..
        } = &mut self.learner;
        let tables = embedding.tables();
        score(&tables, dense.as_mut(), self.dataset, split, &|_| {})
    }
}

fn plain_embedding(
    dataset: &Dataset,
    config: &Config,
    seed: Seed,
) -> Result<impl EmbeddingLayer + 'static, TrainError> {
    let fields = dataset.fields().iter().map(|field| FieldSpec {
        name: field.name.clone(),
        n_rows: field.n_rows as usize,
        pooling: Pooling::Sum,
    });
    let fields: Vec<_> = fields.collect();
    let train = &config.train;
    let decay = train.embedding_weight_decay as f32;
    let (init, rule) = (train.row_init(), train.sparse_rule());
    Ok(PlainEmbedding::new(
        &fields,
        config.model.dim,
        init,
        seed,
        rule,
        decay,
    )?)
}
