//! PyTorch as the other side: one process that keeps its table and ids in memory.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, anyhow};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slimbed_compact::Values;
use slimbed_files::{FileError, IoContext, write_atomically};

use super::pages::{Pages, backing};
use super::sides::{COMPARED, Side};
use super::streams::Stream;
use super::tables::PageSize;
use crate::bench::sides::{Script, absent};

/// The other side, in the binary so that the command works from any folder.
const SCRIPT: Script = Script {
    name: "lookup.py",
    text: include_str!("../../../../benches/compare/lookup.py"),
    command: "lookup",
};
/// Lines of a dead process's stderr that are shown.
const TAIL_LINES: usize = 15;

/// The process and what it holds.
#[derive(Debug)]
pub struct Torch {
    /// Name and version.
    pub version: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

/// What the process is told, a line of JSON each.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Order<'a> {
    /// Make a table, and drop the one before.
    Table {
        n_rows: usize,
        dim: usize,
        values: Values,
    },
    /// Read ids, and find the fastest form to look them up.
    Stream {
        path: &'a Path,
        bag: usize,
        batch: usize,
    },
    /// Write the vectors of the first batches.
    Results { path: &'a Path, n_batches: usize },
    /// Look up.
    Time { seconds: f64 },
}

#[derive(Debug, Deserialize)]
struct Started {
    version: String,
}

/// A table of the other side.
#[derive(Debug, Deserialize)]
pub struct Held {
    /// Its bytes.
    pub n_bytes: u64,
    /// Where they are in the memory of the process.
    address: u64,
}

#[derive(Debug, Deserialize)]
struct Ready {
    form: String,
}

#[derive(Debug, Deserialize)]
struct Written {}

#[derive(Debug, Deserialize)]
struct Timed {
    rows_per_s: f64,
}

impl Torch {
    /// Starts PyTorch with `python`.
    ///
    /// # Errors
    /// When there is no such program or it has no PyTorch: the message says how to get it.
    pub fn start(python: &Path, n_threads: usize, pages: PageSize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().at("create a folder in", &env::temp_dir())?;
        let script = folder.path().join(SCRIPT.name);
        write_atomically(&script, |file, path| {
            file.write_all(SCRIPT.text.as_bytes()).at("write", path)
        })
        .map_err(|e: FileError| e)?;
        let errors = folder.path().join("stderr.txt");
        let mut command = Command::new(python);
        command.arg(&script).arg(n_threads.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(&errors).at("create", &errors)?);
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS"] {
            command.env(variable, n_threads.to_string());
        }
        // PyTorch asks for huge pages when this is set.
        let huge = if pages == PageSize::Huge { "1" } else { "0" };
        command.env("THP_MEM_ALLOC_ENABLE", huge);
        let refused = |reason: String| absent(python, SCRIPT, &reason);
        let mut child = command.spawn().map_err(|e| refused(e.to_string()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(anyhow!("the pipes to `{}` are missing", python.display()));
        };
        let mut torch = Self {
            version: String::new(),
            child,
            input,
            output: BufReader::new(output),
            folder,
        };
        let started = torch.answer::<Started>();
        torch.version = started.map_err(|_| refused(torch.tail(1)))?.version;
        Ok(torch)
    }

    /// Lets PyTorch make the same table as ours.
    ///
    /// # Errors
    /// When it fails.
    pub fn hold(&mut self, n_rows: usize, dim: usize, values: Values) -> anyhow::Result<Held> {
        self.ask(&Order::Table {
            n_rows,
            dim,
            values,
        })
    }

    /// Lets PyTorch read the same ids as ours; returns the form in which it looks them up.
    ///
    /// # Errors
    /// When it fails.
    pub fn take(&mut self, stream: &Stream) -> anyhow::Result<String> {
        let path = self.folder.path().join("ids.bin");
        stream.write(&path)?;
        let order = Order::Stream {
            path: &path,
            bag: stream.bag,
            batch: stream.batch,
        };
        Ok(self.ask::<Ready>(&order)?.form)
    }

    /// The pages that hold its table.
    pub fn pages(&self, held: &Held) -> Option<Pages> {
        backing(self.child.id(), held.address)
    }

    fn ask<T: DeserializeOwned>(&mut self, order: &Order<'_>) -> anyhow::Result<T> {
        let line = serde_json::to_string(order)?;
        let sent = writeln!(self.input, "{line}").and_then(|()| self.input.flush());
        let answer = sent.map_err(Into::into).and_then(|()| self.answer());
        answer.with_context(|| format!("PyTorch failed:\n{}", self.tail(TAIL_LINES)))
    }

    fn answer<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() {
            // It is about to end, and then its last words are in the file.
            let status = self.child.wait()?;
            return Err(anyhow!("it ended with {status}"));
        }
        serde_json::from_str(&line)
            .with_context(|| format!("expected an answer in JSON, found `{}`", line.trim()))
    }

    /// The last lines of its stderr.
    fn tail(&self, n_lines: usize) -> String {
        let path = self.folder.path().join("stderr.txt");
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(n_lines)..].join("\n")
    }
}

impl Side for Torch {
    fn results(&mut self) -> anyhow::Result<Vec<f32>> {
        let path = self.folder.path().join("results.bin");
        let order = Order::Results {
            path: &path,
            n_batches: COMPARED,
        };
        self.ask::<Written>(&order)?;
        let bytes = fs::read(&path).at("read", &path)?;
        fs::remove_file(&path).at("remove", &path)?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
    }

    fn rows_per_s(&mut self, seconds: f64) -> anyhow::Result<f64> {
        Ok(self.ask::<Timed>(&Order::Time { seconds })?.rows_per_s)
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        // It may have ended already, and nobody is left to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
