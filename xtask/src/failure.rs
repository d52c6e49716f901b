//! From an error to a message and an exit code.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Error;
use serde_json::json;
use slimbed_compact::ArtefactError;
use slimbed_data::DataError;
use slimbed_data::synth::SynthError;
use slimbed_embedding::EmbeddingError;
use slimbed_files::FileError;
use slimbed_train::TrainError;

use crate::output::Output;

const OTHER: u8 = 1;
const BAD_INPUT: u8 = 2;

/// Something the user can mend: a flag, a configuration, a file. The message says what was expected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// Reports `error` and returns its exit code; a reader that closed stdout early is no failure.
pub fn exit_with(error: &Error, output: Output) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let code = exit_code(error);
    let message = describe(error);
    // One write, so that the message stays whole beside the output of other processes. There is
    // nowhere left to report a failure of stderr or stdout to.
    let _ = io::stderr().write_all(format!("error: {message}\n").as_bytes());
    if output == Output::Json {
        report_as_json(&message, code);
    }
    ExitCode::from(code)
}

/// Reports what the parser of the command line says: help and version, or a usage error.
pub fn exit_with_usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    // The flags are not parsed, so the one that matters is looked for by hand.
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        report_as_json(first.trim_start_matches("error: "), BAD_INPUT);
    }
    ExitCode::from(BAD_INPUT)
}

fn report_as_json(message: &str, code: u8) {
    let object = json!({ "error": message, "exit_code": code });
    let _ = writeln!(io::stdout(), "{object}");
}

/// 2 when a cause of `error` is something the user can mend (a full disk too), 1 otherwise.
fn exit_code(error: &Error) -> u8 {
    let is_bad_input = error.chain().any(|cause| {
        cause.is::<BadInput>()
            || cause.is::<DataError>()
            || cause.is::<SynthError>()
            || cause.is::<FileError>()
            || cause.is::<ArtefactError>()
            || cause
                .downcast_ref::<TrainError>()
                .is_some_and(is_input_of_training)
    });
    if is_bad_input { BAD_INPUT } else { OTHER }
}

/// Whether a run failed for what it was given, not for what became of it.
fn is_input_of_training(error: &TrainError) -> bool {
    use TrainError::{
        Artefact, Budget, Checkpoint, Data, DataShape, Embedding, File, Metric, RunFile, Score,
        Setting,
    };
    matches!(
        error,
        Artefact(_)
            | Budget { .. }
            | Checkpoint { .. }
            | Data(_)
            | DataShape { .. }
            | Embedding(EmbeddingError::Setting { .. })
            | File(_)
            | Metric { .. }
            | RunFile { .. }
            | Score(_)
            | Setting { .. }
    )
}

/// The chain of causes in one line; a cause that its parent already quotes is not repeated.
fn describe(error: &Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.ends_with(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

fn is_broken_pipe(error: &Error) -> bool {
    let stdout = error.downcast_ref::<io::Error>();
    stdout.is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_input_is_found_below_its_context() {
        let error = Error::new(BadInput("no such field".into())).context("reading the recipe");
        assert_eq!(exit_code(&error), 2);
        assert_eq!(describe(&error), "reading the recipe: no such field");
        assert_eq!(exit_code(&Error::msg("broken")), 1);
    }

    #[test]
    fn a_quoted_cause_is_not_repeated() {
        let inner = io::Error::other("disk full");
        let outer = Error::new(inner).context("cannot write x: disk full");
        assert_eq!(describe(&outer), "cannot write x: disk full");
    }
}
