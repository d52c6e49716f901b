//! The project's own text files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Folders that are not the project's text: built, cloned or prepared.
const SKIPPED: &[&str] = &[".git", "__pycache__", "prepared", "runs", "target"];

/// One text file of the project.
pub struct Source {
    /// Its path relative to the root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// Reads every file below `root` whose name `wanted` accepts, sorted by path.
///
/// # Errors
/// When a folder or a file cannot be read, or a file is not UTF-8.
pub fn read(root: &Path, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<Source>> {
    let mut paths = Vec::new();
    list(root, &mut paths)?;
    let mut sources = Vec::new();
    for path in paths {
        let name = path
            .strip_prefix(root)?
            .to_string_lossy()
            .replace('\\', "/");
        if wanted(&name) {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            sources.push(Source { path: name, text });
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn list(folder: &Path, paths: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
            list(&entry.path(), paths)?;
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(())
}
