//! Temporaries beside a target: how they are named, and how one in use is told from one left behind.
//!
//! A temporary is called `.slimbed-<target>-<six characters>`, files with `.tmp` behind. Its writer
//! holds an advisory lock on it, which the system releases when the process ends in whatever way. So a
//! temporary that can be locked was left behind by a killed process. Where the system or the file
//! system has no such locks, temporaries are never taken for left behind.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use crate::{FileError, IoContext};

const PREFIX: &str = ".slimbed-";
const SUFFIX: &str = ".tmp";

/// Random characters of a name; also what `tempfile` takes by default.
const N_RANDOM: usize = 6;

/// Characters of the target's name that are kept: file systems take 255 bytes in all.
const MAX_NAME: usize = 50;

/// Removes what killed processes left in `folder` while they wrote there, and returns how many files
/// and folders that were.
///
/// What another process is writing stays, and so does what cannot be removed.
pub fn remove_stale(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    ours.filter(|entry| remove_if_stale(&entry.path())).count()
}

/// Removes what killed processes left of earlier writes to `target`.
pub(crate) fn remove_stale_of(target: &Path) {
    let prefix = prefix(target);
    let entries = fs::read_dir(parent(target)).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        let random = random.map(|rest| rest.strip_suffix(SUFFIX).unwrap_or(rest));
        if random.is_some_and(|random| !random.contains('-') && random.len() == N_RANDOM) {
            remove_if_stale(&entry.path());
        }
    }
}

/// A new file beside `target`, in use until it is dropped.
pub(crate) fn new_file(target: &Path) -> Result<NamedTempFile, FileError> {
    let (folder, prefix) = (parent(target), prefix(target));
    loop {
        let mut builder = builder(&prefix, 0o666);
        let file = builder.suffix(SUFFIX).tempfile_in(&folder);
        let file = file.at("create a file in", &folder)?;
        if claim(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
}

/// A new folder beside `target` and the handle that keeps it in use.
pub(crate) fn new_folder(target: &Path) -> Result<(TempDir, Option<File>), FileError> {
    let (folder, prefix) = (parent(target), prefix(target));
    loop {
        let made = builder(&prefix, 0o777).tempdir_in(&folder);
        let made = made.at("create a folder in", &folder)?;
        // Only Unix opens folders; elsewhere they cannot be locked.
        match File::open(made.path()) {
            Ok(handle) if !claim(&handle, made.path()) => {}
            handle => return Ok((made, handle.ok())),
        }
    }
}

/// A second name, beside `target`, of the file `from`.
pub(crate) fn new_link(from: &Path, target: &Path) -> std::io::Result<NamedTempFile<()>> {
    let prefix = prefix(target);
    let mut builder = builder(&prefix, 0o666);
    builder
        .suffix(SUFFIX)
        .make_in(parent(target), |path| fs::hard_link(from, path))
}

/// The folder of `path`.
pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A builder of temporaries with the permissions an ordinary new file or folder has: `tempfile` alone
/// hides them from other users. The system takes the umask off `mode`.
fn builder(prefix: &str, mode: u32) -> tempfile::Builder<'_, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).rand_bytes(N_RANDOM);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

fn prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let name: String = name.chars().take(MAX_NAME).collect();
    format!("{PREFIX}{name}-")
}

/// Marks a new temporary as in use. False when another process took it for left behind in the moment
/// before: it is gone then, or will be.
fn claim(handle: &File, path: &Path) -> bool {
    // Elsewhere a lock would keep out the writer's own second handle.
    if cfg!(not(unix)) {
        return true;
    }
    !matches!(handle.try_lock(), Err(TryLockError::WouldBlock)) && path.exists()
}

fn remove_if_stale(path: &Path) -> bool {
    if cfg!(not(unix)) {
        return false;
    }
    // The lock is held while removing, so that a writer who has just made the temporary notices.
    let Ok(handle) = File::open(path) else {
        return false;
    };
    if handle.try_lock().is_err() {
        return false;
    }
    let removed = match path.is_dir() {
        true => fs::remove_dir_all(path),
        false => fs::remove_file(path),
    };
    removed.is_ok()
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::{AtomicDir, write_atomically};

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// What a process killed in the middle of a write leaves.
    fn leave(path: PathBuf) {
        fs::write(path, "half").unwrap();
    }

    #[test]
    fn a_write_removes_what_killed_writers_of_its_target_left() {
        let dir = tempfile::tempdir().unwrap();
        let put = || write_atomically::<FileError>(&dir.path().join("a"), |_, _| Ok(()));
        leave(dir.path().join(".slimbed-a-x1Y2z3.tmp"));
        fs::create_dir(dir.path().join(".slimbed-a-abcdef")).unwrap();
        leave(dir.path().join(".slimbed-a-abcdef/half.pack"));
        leave(dir.path().join(".slimbed-a-b-x1Y2z3.tmp"));
        put().unwrap();
        assert_eq!(names(dir.path()), [".slimbed-a-b-x1Y2z3.tmp", "a"]);
        assert_eq!(remove_stale(dir.path()), 1);
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_temporary_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        let folder = AtomicDir::create(&target).unwrap();
        write_atomically::<FileError>(&target, |_, mine| {
            remove_stale_of(&target);
            assert_eq!(remove_stale(dir.path()), 0);
            assert!(mine.exists() && folder.path().exists());
            Ok(())
        })
        .unwrap();
        drop(folder);
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn long_names_fit() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("ü".repeat(127));
        write_atomically::<FileError>(&target, |_, _| Ok(())).unwrap();
        assert_eq!(names(dir.path()).len(), 1);
    }
}
