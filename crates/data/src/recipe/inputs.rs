//! The files that a recipe expects in a folder.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::parse::Source;
use super::raw::{RawFiles, RawNames};
use crate::DataError;

/// A file is also found when it is compressed.
const ENDS: [&str; 3] = ["", ".gz", ".zst"];

/// A file that the folder given as input has to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// What it holds: `train`, `validation`, `test`, `ratings`, `users` or `movies`.
    pub role: &'static str,
    /// The names it may have, the preferred one first.
    pub names: Vec<String>,
}

/// The files of a recipe whose splits are files: none, or all three.
pub fn parts(
    source: &Source<'_>,
    raw: Option<&Spanned<RawFiles>>,
) -> Result<Vec<NamedFile>, DataError> {
    let Some(spanned) = raw else {
        return Ok(Vec::new());
    };
    let raw = spanned.get_ref();
    if [&raw.ratings, &raw.users, &raw.movies]
        .iter()
        .any(|names| names.is_some())
    {
        let message = "`ratings`, `users` and `movies` belong to a MovieLens format";
        return Err(source.error(Some(spanned.span()), message.into()));
    }
    let roles = [
        ("train", &raw.train),
        ("validation", &raw.validation),
        ("test", &raw.test),
    ];
    let named = roles.map(|(role, names)| named(source, role, names.as_ref()));
    let all: Vec<_> = named.into_iter().collect::<Result<_, _>>()?;
    let all: Option<Vec<_>> = all.into_iter().collect();
    all.ok_or_else(|| {
        let message = "expected `train`, `validation` and `test` under [files]";
        source.error(Some(spanned.span()), message.into())
    })
}

/// The file of a role, when the recipe names one.
pub fn named(
    source: &Source<'_>,
    role: &'static str,
    names: Option<&RawNames>,
) -> Result<Option<NamedFile>, DataError> {
    let Some(spanned) = names else {
        return Ok(None);
    };
    let names = spanned.get_ref().clone();
    let is_name = |name: &String| Path::new(name).file_name() == Some(name.as_ref());
    if names.is_empty() || !names.iter().all(is_name) {
        let message = format!("expected names of files without folders for `{role}`");
        return Err(source.error(Some(spanned.span()), message));
    }
    Ok(Some(NamedFile { role, names }))
}

/// The paths of `files` in the one folder of `inputs`; without `files`, the inputs themselves.
pub fn find(files: &[NamedFile], inputs: &[PathBuf]) -> Result<Vec<PathBuf>, DataError> {
    if files.is_empty() {
        return Ok(inputs.to_vec());
    }
    match inputs {
        [folder] if folder.is_dir() => files.iter().map(|file| find_one(file, folder)).collect(),
        _ => Err(DataError::NoFolder {
            names: files.iter().map(listed).collect::<Vec<_>>().join(", "),
            found: inputs
                .iter()
                .map(|path| format!("`{}`", path.display()))
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

fn find_one(file: &NamedFile, folder: &Path) -> Result<PathBuf, DataError> {
    let candidates = file
        .names
        .iter()
        .flat_map(|name| ENDS.map(|end| folder.join(format!("{name}{end}"))));
    let mut there = candidates.filter(|path| path.is_file());
    there.next().ok_or_else(|| DataError::MissingFile {
        folder: folder.to_owned(),
        role: file.role,
        names: listed(file),
    })
}

fn listed(file: &NamedFile) -> String {
    let names: Vec<_> = file.names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" or ")
}
