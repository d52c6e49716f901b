//! A small dataset in a folder of its own, and the real binary run on it.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

/// Five columns: label, I1, I2, C1, C2.
pub const RECIPE: &str = r#"name = "toy"
format = "tsv"
n_columns = 5
[label]
column = 1
name = "clicked"
[[dense]]
columns = "2-3"
names = "I1-I2"
transform = "log1p"
[[fields]]
columns = "4-5"
names = "C1-C2"
kind = "hex"
[split]
kind = "random"
shares = { train = 8, validation = 1, test = 1 }
"#;

/// The binary under test.
pub fn xtask() -> Command {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
}

/// A folder with `toy.toml` and whatever a test adds.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put("toy.toml", RECIPE);
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// Everything in the folder, hidden files too, sorted.
    pub fn names(&self) -> Vec<String> {
        names(self.0.path())
    }

    /// `data prepare` from `input` to `out`, inside the folder.
    pub fn prepare(&self, input: &str) -> Command {
        let mut command = xtask();
        command.current_dir(self.0.path());
        command.args(["data", "prepare", "--data", "toy.toml", "--out", "out"]);
        command.args(["--input", input]);
        command
    }
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).into_string().unwrap()).collect();
    names.sort();
    names
}

/// Good lines with both labels in every split, without line ends.
pub fn lines(n: u32) -> Vec<String> {
    let hash = |i: u32| i.wrapping_mul(0x9e37_79b9) >> 7;
    let line = |i: u32| {
        let (label, a, b) = (hash(i) % 2, hash(i + 7) % 50, hash(i + 9) % 900);
        format!("{label}\t{a}\t{}\t{:08x}\t{b:x}", i % 11, a * 77)
    };
    (0..n).map(line).collect()
}

/// The lines as the text of a file.
pub fn text(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}
