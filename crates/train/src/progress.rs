//! Progress bars; silent when standard error is not a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::TrainError;
use crate::observer::{Observer, StepEvent, ValidationEvent};
use crate::recorder::Recorder;

/// A bar over samples with rate and ETA.
pub fn bar(n: u64, title: &str) -> ProgressBar {
    let template = "{msg:24} [{bar:32}] {human_pos}/{human_len} {per_sec} ETA {eta}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(n)
        .with_style(style)
        .with_message(title.to_owned());
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// Shows the training on a bar and passes everything on to the [`Recorder`].
pub struct Watched {
    recorder: Recorder,
    bar: ProgressBar,
    title: &'static str,
    loss: Option<f64>,
    auc: Option<f64>,
}

impl Watched {
    /// Watches a phase called `title` of at most `n_samples`, of which `n_done` are done.
    pub fn new(title: &'static str, recorder: Recorder, n_samples: u64, n_done: u64) -> Self {
        let bar = bar(n_samples, title).with_position(n_done);
        bar.reset_eta();
        Self {
            recorder,
            bar,
            title,
            loss: None,
            auc: None,
        }
    }

    fn show(&self) {
        let part = |name, value: Option<f64>| {
            value.map_or_else(String::new, |value| format!(" {name} {value:.4}"))
        };
        self.bar.set_message(format!(
            "{}{}{}",
            self.title,
            part("loss", self.loss),
            part("AUC", self.auc)
        ));
    }
}

impl Observer for Watched {
    fn samples(&mut self, n: u64) {
        self.bar.inc(n);
        self.recorder.samples(n);
    }

    fn step(&mut self, event: &StepEvent) -> Result<(), TrainError> {
        self.loss = Some(event.loss);
        self.show();
        self.recorder.step(event)
    }

    fn validation(&mut self, event: &ValidationEvent<'_>) -> Result<(), TrainError> {
        self.auc = Some(event.metrics.auc);
        self.show();
        self.recorder.validation(event)
    }

    fn sync(&mut self) -> Result<u64, TrainError> {
        self.recorder.sync()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
