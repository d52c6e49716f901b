//! `metrics.jsonl` and TensorBoard.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use slimbed_files::IoContext;

use crate::observer::{Observer, StepEvent, ValidationEvent};
use crate::run_dir::run_file;
use crate::tensorboard::EventWriter;
use crate::{RunDir, TrainError};

/// Writes what happens to the run's folder, line by line.
///
/// `metrics.jsonl` holds nothing that depends on time or machine: the same seed gives the same bytes.
/// Speed goes to TensorBoard only.
pub struct Recorder {
    path: PathBuf,
    lines: File,
    n_bytes: u64,
    events: EventWriter,
    last_line: Instant,
    n_samples: u64,
}

impl Recorder {
    /// Goes on behind the first `n_bytes` bytes of `metrics.jsonl`, and drops what stands behind them: it
    /// is going to be written again. TensorBoard's events go to a new file, since it reads several.
    ///
    /// # Errors
    /// When a file cannot be made, or `metrics.jsonl` is shorter.
    pub fn open(run: &RunDir, n_bytes: u64) -> Result<Self, TrainError> {
        let path = run.metrics();
        let options = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut lines = options.at("open", &path)?;
        let found = lines.metadata().at("read size of", &path)?.len();
        if found < n_bytes {
            let reason = format!("expected the checkpoint's {n_bytes} bytes, found {found}");
            return Err(run_file(&path, reason));
        }
        lines.set_len(n_bytes).at("shorten", &path)?;
        lines
            .seek(SeekFrom::Start(n_bytes))
            .at("go to the end of", &path)?;
        let events = EventWriter::create(run.path(), now())?;
        Ok(Self {
            path,
            lines,
            n_bytes,
            events,
            last_line: Instant::now(),
            n_samples: 0,
        })
    }

    fn line(&mut self, value: &Value) -> Result<(), TrainError> {
        let text = format!("{value}\n");
        let written = self.lines.write_all(text.as_bytes());
        written.at("write", &self.path)?;
        self.n_bytes += text.len() as u64;
        Ok(())
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

    fn sync(&mut self) -> Result<u64, TrainError> {
        self.lines.sync_data().at("write", &self.path)?;
        Ok(self.n_bytes)
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(step: u64) -> StepEvent {
        StepEvent {
            step,
            epoch: 0,
            loss: 0.5,
            lr: 0.1,
            embedding_lr: 0.1,
            gradient_norm: None,
        }
    }

    #[test]
    fn goes_on_behind_the_bytes_of_the_checkpoint() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path(), "a", |_| Ok(())).unwrap();
        let mut recorder = Recorder::open(&run, 0).unwrap();
        recorder.step(&event(1)).unwrap();
        let n_bytes = recorder.sync().unwrap();
        recorder.step(&event(2)).unwrap();
        let whole = std::fs::read(run.metrics()).unwrap();
        // A kill may cut a line in two.
        let cut = OpenOptions::new().write(true).open(run.metrics()).unwrap();
        cut.set_len(whole.len() as u64 - 3).unwrap();

        let mut resumed = Recorder::open(&run, n_bytes).unwrap();
        assert_eq!(
            std::fs::read(run.metrics()).unwrap(),
            whole[..n_bytes as usize]
        );
        resumed.step(&event(2)).unwrap();
        assert_eq!(resumed.sync().unwrap(), whole.len() as u64);
        assert_eq!(std::fs::read(run.metrics()).unwrap(), whole);

        let error = Recorder::open(&run, whole.len() as u64 + 1).err().unwrap();
        assert!(error.to_string().contains("metrics.jsonl"), "{error}");
        assert_eq!(std::fs::read(run.metrics()).unwrap(), whole);
    }
}
