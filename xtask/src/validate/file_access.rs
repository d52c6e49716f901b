//! Only the crates whose job it is touch the file system.

use std::path::Path;

use super::sources;

const THIS_FILE: &str = "xtask/src/validate/file_access.rs";
const MAY_TOUCH_FILES: &[&str] = &["compact", "data", "files", "train"];
const FILE_APIS: &[&str] = &["std::fs", "File::create", "File::open", "OpenOptions"];

/// Searches `crates/*/src` below `root`; one sentence for each line that names a file API.
///
/// # Errors
/// When a source cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for source in sources::read(root, is_guarded)? {
        for (i, line) in source.text.lines().enumerate() {
            if let Some(api) = FILE_APIS.iter().find(|api| code(line).contains(**api)) {
                findings.push(format!(
                    "{}:{}: `{api}`: only {} touch files (MAY_TOUCH_FILES in {THIS_FILE})",
                    source.path,
                    i + 1,
                    MAY_TOUCH_FILES.join(", ")
                ));
            }
        }
    }
    Ok(findings)
}

fn is_guarded(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("crates")
        && parts
            .next()
            .is_some_and(|name| !MAY_TOUCH_FILES.contains(&name))
        && parts.next() == Some("src")
        && path.ends_with(".rs")
}

fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}
