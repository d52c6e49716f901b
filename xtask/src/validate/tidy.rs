//! Small rules for every text file.

use std::path::Path;

use super::sources::{self, Source};

const MAX_SOURCE_LINES: usize = 600;

/// What has no place in a finished change. The texts are split, or this file would hold them itself.
const LEFTOVERS: &[&str] = &[
    concat!("todo", "!("),
    concat!("dbg", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
];

/// Paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tmp/", "bash"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("../", "shared"),
];

/// Checks every text file below `root`; one sentence for each breach.
///
/// # Errors
/// When a file cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let sources = sources::read(root, is_text)?;
    Ok(sources.iter().flat_map(check_source).collect())
}

fn is_text(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let endings = [".md", ".py", ".rs", ".sh", ".toml", ".yml"];
    endings.iter().any(|ending| name.ends_with(ending))
        || name.starts_with("LICENSE")
        || path == ".ci/run"
}

fn check_source(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    if !source.text.ends_with('\n') {
        findings.push(format!("{}: the last line has no end", source.path));
    }
    if source.path.ends_with(".rs") {
        findings.extend(check_rust(source));
    }
    if source.path.ends_with(".rs") || source.path.ends_with(".md") {
        findings.extend(lines_with(source, MACHINE_PATHS, "a path of one machine"));
    }
    findings
}

fn check_rust(source: &Source) -> Vec<String> {
    let mut findings = lines_with(source, LEFTOVERS, "a leftover");
    if !source.text.starts_with("//!") {
        findings.push(format!("{}:1: the file must open with `//!`", source.path));
    }
    let n_lines = source.text.lines().count();
    if n_lines > MAX_SOURCE_LINES && source.path.contains("src/") {
        findings.push(format!(
            "{}: {n_lines} lines, {MAX_SOURCE_LINES} at most: one idea for each file",
            source.path
        ));
    }
    findings
}

fn lines_with(source: &Source, needles: &[&str], what: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for (i, line) in source.text.lines().enumerate() {
        for needle in needles.iter().filter(|needle| line.contains(**needle)) {
            findings.push(format!("{}:{}: {what}: `{needle}`", source.path, i + 1));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check_source(&Source {
            path: path.into(),
            text: text.into(),
        })
    }

    #[test]
    fn each_rule_finds_its_breach() {
        let leftover = format!("//! x\n{}\n", LEFTOVERS[0]);
        let machine = format!("see {}x\n", MACHINE_PATHS[0]);
        let long = "//! x\n".repeat(MAX_SOURCE_LINES + 1);
        let cases = [
            ("src/a.rs", "fn a() {}\n", "open with"),
            ("src/a.rs", leftover.as_str(), "src/a.rs:2: a leftover"),
            ("src/a.rs", long.as_str(), "601 lines"),
            ("src/a.rs", "//! x", "no end"),
            ("a.md", machine.as_str(), "a.md:1: a path of one machine"),
        ];
        for (path, text, expected) in cases {
            let found = findings(path, text);
            assert!(found.len() == 1 && found[0].contains(expected), "{found:?}");
        }
        assert_eq!(findings("src/a.rs", "//! x\n"), Vec::<String>::new());
    }
}
