//! `metrics.jsonl` and TensorBoard.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use slimbed_files::IoContext;

use crate::observer::{Observer, StepEvent, ValidationEvent};
use crate::tensorboard::EventWriter;
use crate::{RunDir, TrainError};

/// Writes what happens to the run's folder, line by line.
///
/// `metrics.jsonl` holds nothing that depends on time or machine: the same seed gives the same bytes.
/// Speed goes to TensorBoard only.
pub struct Recorder {
    path: PathBuf,
    lines: File,
    events: EventWriter,
    last_line: Instant,
    n_samples: u64,
}

impl Recorder {
    /// Starts both files in the run's folder.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn create(run: &RunDir) -> Result<Self, TrainError> {
        let path = run.metrics();
        let lines = File::create(&path).at("create", &path)?;
        let events = EventWriter::create(run.path(), now())?;
        Ok(Self {
            path,
            lines,
            events,
            last_line: Instant::now(),
            n_samples: 0,
        })
    }

    fn line(&mut self, value: &Value) -> Result<(), TrainError> {
        let text = format!("{value}\n");
        Ok(self
            .lines
            .write_all(text.as_bytes())
            .at("write", &self.path)?)
    }

    fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), TrainError> {
        for &(tag, value) in values {
            self.events.scalar(tag, step, value as f32, now())?;
        }
        Ok(self.events.flush()?)
    }

    fn samples_per_s(&mut self) -> f64 {
        let rate = self.n_samples as f64 / self.last_line.elapsed().as_secs_f64();
        self.n_samples = 0;
        self.last_line = Instant::now();
        rate
    }
}

impl Observer for Recorder {
    fn samples(&mut self, n: u64) {
        self.n_samples += n;
    }

    fn step(&mut self, event: &StepEvent) -> Result<(), TrainError> {
        let mut line = json!({
            "kind": "train",
            "step": event.step,
            "epoch": event.epoch,
            "loss": event.loss,
            "lr": event.lr,
            "embedding_lr": event.embedding_lr,
        });
        let rate = self.samples_per_s();
        let mut scalars = vec![
            ("train/loss", event.loss),
            ("train/lr", event.lr),
            ("train/samples_per_s", rate),
        ];
        if let Some(norm) = event.gradient_norm {
            line["gradient_norm"] = norm.into();
            scalars.push(("train/gradient_norm", norm));
        }
        self.line(&line)?;
        self.scalars(event.step, &scalars)
    }

    fn validation(&mut self, event: &ValidationEvent<'_>) -> Result<(), TrainError> {
        let metrics = event.metrics;
        self.line(&json!({
            "kind": "validation",
            "step": event.step,
            "epoch": event.epoch,
            "best": event.is_best,
            "metrics": metrics,
        }))?;
        let scalars = [
            ("validation/auc", metrics.auc),
            ("validation/logloss", metrics.logloss),
        ];
        self.scalars(event.step, &scalars)?;
        // The validation's own time is not training time.
        self.n_samples = 0;
        self.last_line = Instant::now();
        Ok(())
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}
