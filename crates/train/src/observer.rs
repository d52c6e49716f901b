//! What the loop tells those who watch it.

use slimbed_eval::Metrics;

use crate::{Learner, TrainError};

/// A line of the training log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepEvent {
    /// Steps taken.
    pub step: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Mean loss since the line before.
    pub loss: f64,
    /// Learning rate of the dense parameters at this step.
    pub lr: f64,
    /// Learning rate of the tables at this step.
    pub embedding_lr: f64,
    /// Norm of this step's gradients, when clipping is on.
    pub gradient_norm: Option<f64>,
}

/// A validation.
#[derive(Clone, Copy, Debug)]
pub struct ValidationEvent<'a> {
    /// Steps taken.
    pub step: u64,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Whether it is the best so far.
    pub is_best: bool,
    /// Metrics of the validation split.
    pub metrics: &'a Metrics,
}

/// Whether a training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    GoOn,
    /// It has what it was for.
    End,
}

/// Watches a run.
pub trait Observer {
    /// `n` more samples were trained on.
    fn samples(&mut self, n: u64);

    /// A line of the log is due.
    ///
    /// # Errors
    /// When it cannot be recorded.
    fn step(&mut self, event: &StepEvent) -> Result<(), TrainError>;

    /// The validation split was scored.
    ///
    /// # Errors
    /// When it cannot be recorded.
    fn validation(&mut self, event: &ValidationEvent<'_>) -> Result<(), TrainError>;

    /// A step has been taken by `learner`; the observer may end the training with it.
    ///
    /// # Errors
    /// When what it looks at cannot be read or written.
    fn inspect(&mut self, _step: u64, _learner: &mut Learner) -> Result<Flow, TrainError> {
        Ok(Flow::GoOn)
    }

    /// A checkpoint is about to be written: makes everything recorded so far durable, and returns the
    /// length of the log in bytes.
    ///
    /// # Errors
    /// When the file system refuses.
    fn sync(&mut self) -> Result<u64, TrainError>;
}
