//! Progress bars on stderr; hidden when stderr is no terminal.

use std::time::Instant;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// What a bar counts.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Rows of a table.
    Rows,
    /// Bytes of a file.
    Bytes,
}

/// A bar with rate and time left, and the clock behind both.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    /// Starts a bar that ends at `total`.
    pub fn start(what: &'static str, total: u64, unit: Unit) -> Self {
        let bar = ProgressBar::new(total)
            .with_style(unit.style())
            .with_message(what);
        Self {
            bar,
            start: Instant::now(),
        }
    }

    /// Moves the bar to `position`.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Moves the bar of stage `what`; a new stage starts a bar of its own.
    pub fn set_stage(&self, what: &'static str, position: u64) {
        if self.bar.message() != what {
            self.bar.reset();
            self.bar.set_message(what);
        }
        self.set(position);
    }

    /// Moves the bar on by `n`.
    pub fn advance(&self, n: u64) {
        self.bar.inc(n);
    }

    /// Takes the bar away.
    pub fn clear(self) {
        self.bar.finish_and_clear();
    }

    /// Takes the bar away and says how long `n_rows` took: `1,000 rows in 2 seconds (500 rows/s)`.
    pub fn finish(self, n_rows: u64) -> Speed {
        self.bar.finish_and_clear();
        Speed {
            n_rows,
            seconds: self.start.elapsed().as_secs_f64(),
        }
    }
}

/// How many rows went through in which time.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    n_rows: u64,
    /// Wall time in seconds.
    pub seconds: f64,
}

impl Speed {
    /// Rows per second; 0 when the clock did not move.
    pub fn rows_per_sec(self) -> u64 {
        let rate = self.n_rows as f64 / self.seconds;
        if rate.is_finite() { rate as u64 } else { 0 }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = HumanCount(self.n_rows);
        let rate = HumanCount(self.rows_per_sec());
        write!(f, "{rows} rows in {:.2} s ({rate} rows/s)", self.seconds)
    }
}

impl Unit {
    fn style(self) -> ProgressStyle {
        let template = match self {
            Self::Rows => "{msg} [{bar:30}] {human_pos}/{human_len} rows  {per_sec}  ETA {eta}",
            Self::Bytes => "{msg} [{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}",
        };
        // The default style is less telling, but a bar is no reason to fail.
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
    }
}
