//! The two sides of a comparison, each measurement in a process of its own.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slimbed_files::{FileError, IoContext, write_atomically};

use super::workload;
use crate::failure::BadInput;

/// Lines of a dead process's stderr that are shown.
const TAIL_LINES: usize = 15;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This program.
    Ours,
    /// PyTorch.
    Theirs,
}

/// The program of the other side.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Its file.
    pub name: &'static str,
    /// What it says.
    pub text: &'static str,
    /// The command of `bench`; ours is a child of the same name.
    pub command: &'static str,
}

/// Starts the processes, and keeps their files in a folder that goes with it.
#[derive(Debug)]
pub struct Sides {
    folder: tempfile::TempDir,
    python: PathBuf,
    script: Script,
    /// The other side.
    pub other: Program,
}

/// What the other side says of itself.
#[derive(Clone, Debug, Deserialize)]
pub struct Program {
    /// Name and version.
    pub version: String,
    /// Its peak resident size without any data.
    pub idle_rss_bytes: u64,
}

impl Sides {
    /// Looks for PyTorch behind `python`.
    ///
    /// # Errors
    /// When there is no such program or it has no PyTorch: the message says how to get it.
    pub fn find(python: &Path, script: Script) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().at("create a folder in", &env::temp_dir())?;
        let path = folder.path().join(script.name);
        write_atomically(&path, |file, path| {
            std::io::Write::write_all(file, script.text.as_bytes()).at("write", path)
        })
        .map_err(|e: FileError| e)?;
        let output = Command::new(python).arg(&path).arg("--version").output();
        let other = program(output).map_err(|reason| absent(python, script, &reason))?;
        Ok(Self {
            folder,
            python: python.to_owned(),
            script,
            other,
        })
    }

    /// A path for a file of the comparison.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets one side do the workload with so many threads.
    ///
    /// # Errors
    /// When the process cannot be started, fails, or answers something else than expected.
    pub fn run<A: DeserializeOwned>(
        &self,
        side: Side,
        workload: &impl Serialize,
        threads: usize,
    ) -> anyhow::Result<A> {
        let path = self.path("workload.json");
        workload::write(workload, &path)?;
        let mut command = match side {
            Side::Ours => self.ours(threads)?,
            Side::Theirs => self.theirs(threads),
        };
        let output = command.arg(&path).output();
        let output = output.with_context(|| format!("cannot start {}", side.name()))?;
        answer(&output)
            .with_context(|| format!("{} failed to {}", side.name(), self.script.command))
    }

    fn theirs(&self, threads: usize) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.path(self.script.name));
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, threads.to_string());
        }
        command
    }

    fn ours(&self, threads: usize) -> anyhow::Result<Command> {
        let program = env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        let child = format!("{}-child", self.script.command);
        command.args(["bench", &child, "--threads", &threads.to_string()]);
        Ok(command)
    }
}

impl Side {
    /// Its name in progress and errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "our side",
            Self::Theirs => "PyTorch",
        }
    }

    /// The side that goes second.
    pub fn other(self) -> Self {
        match self {
            Self::Ours => Self::Theirs,
            Self::Theirs => Self::Ours,
        }
    }
}

fn program(output: std::io::Result<Output>) -> Result<Program, String> {
    let output = output.map_err(|e| e.to_string())?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.trim_end().lines().last().unwrap_or_default();
        return Err(last.to_owned());
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let found = || format!("expected its version in JSON, found `{}`", stdout.trim());
    serde_json::from_str(stdout.trim()).map_err(|_| found())
}

/// The error of a command whose `python` has no PyTorch.
pub(super) fn absent(python: &Path, script: Script, reason: &str) -> BadInput {
    BadInput(format!(
        "cannot run PyTorch with `{}`: {reason}\nTo get it:\n  \
         python3 -m venv .venv && .venv/bin/pip install torch --index-url https://download.pytorch.org/whl/cpu\n  \
         cargo xtask bench {} --against torch --python .venv/bin/python",
        python.display(),
        script.command
    ))
}

fn answer<A: DeserializeOwned>(output: &Output) -> anyhow::Result<A> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr.trim_end().lines().collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    if !output.status.success() {
        bail!("{}\n{tail}", output.status);
    }
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last = stdout.trim_end().lines().last().unwrap_or_default();
    serde_json::from_str(last)
        .with_context(|| format!("expected an answer in JSON, found `{last}`\n{tail}"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use super::super::workload::Answer;
    use super::*;

    fn answer(output: &Output) -> anyhow::Result<Answer> {
        super::answer(output)
    }

    fn output(stdout: &str, stderr: &str) -> Output {
        ended(0, stdout, stderr)
    }

    fn ended(code: i32, stdout: &str, stderr: &str) -> Output {
        Output {
            status: ExitStatus::from_raw(code << 8),
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }

    #[test]
    fn the_answer_is_the_last_line() {
        let text = "warming up\n{\"samples_per_s\": 2.5, \"peak_rss_bytes\": 7, \"losses\": [1, null], \"threads\": 2}\n";
        let found = answer(&output(text, "")).unwrap();
        assert_eq!((found.samples_per_s, found.peak_rss_bytes), (2.5, 7));
        assert_eq!(found.losses, [Some(1.0), None]);
    }

    #[test]
    fn something_else_is_shown_with_the_end_of_stderr() {
        let stderr: String = (1..=30).map(|i| format!("line {i}.\n")).collect();
        let error = format!("{:#}", answer(&output("done\n", &stderr)).unwrap_err());
        for part in [
            "expected an answer in JSON, found `done`",
            "line 16.",
            "line 30.",
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("line 15."), "{error}");
    }

    #[test]
    fn a_dead_process_is_shown_with_its_last_words() {
        let error = answer(&ended(3, "{}", "Traceback\nMemoryError: too much\n"));
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "exit status: 3\nTraceback\nMemoryError: too much");
    }

    #[test]
    fn a_version_has_to_be_readable() {
        let found = program(Ok(output("Python 3.11", "")));
        assert!(found.unwrap_err().contains("`Python 3.11`"));
    }
}
