//! Where results and remarks go.
//!
//! Results go to stdout, remarks and progress to stderr. With `--json`, stdout holds one JSON object
//! only, so that a script reads the last line and nothing else.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

/// The two audiences of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A person: text.
    Text,
    /// A program: JSON.
    Json,
}

impl Output {
    /// Writes the result of a command, in the form the audience reads.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn result(self, value: &impl Serialize, text: impl Display) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        match self {
            Self::Text => writeln!(stdout, "{text}")?,
            Self::Json => writeln!(stdout, "{}", serde_json::to_string(value)?)?,
        }
        Ok(stdout.flush()?)
    }

    /// Writes one line of a result that grows while the command runs; programs get it on stderr.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub fn line(self, text: impl Display) -> io::Result<()> {
        match self {
            Self::Text => writeln!(io::stdout(), "{text}"),
            Self::Json => writeln!(io::stderr(), "{text}"),
        }
    }
}

/// Bytes for a person: `1.2 MB` is 1,200,000 bytes.
pub fn human_bytes(n: u64) -> String {
    indicatif::DecimalBytes(n).to_string()
}
