//! One file, replaced in one step.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::{FileError, IoContext};

const TEMPORARY_PREFIX: &str = ".slimbed-";

/// Lets `write` fill a new file beside `path`, syncs it and renames it to `path`.
///
/// Missing parent folders are made. When `write` fails nothing is left behind and an existing file at
/// `path` stays as it was.
///
/// # Errors
/// The error of `write`, or a [`FileError`] that names the step that failed (a full disk, say).
pub fn write_atomically<E: From<FileError>>(
    path: &Path,
    write: impl FnOnce(&mut File, &Path) -> Result<(), E>,
) -> Result<(), E> {
    refuse_devices(path)?;
    let folder = parent(path);
    fs::create_dir_all(&folder).at("create folder", &folder)?;
    let mut temporary = builder(0o666)
        .suffix(".tmp")
        .tempfile_in(&folder)
        .at("create a file in", &folder)?;
    let temporary_path = temporary.path().to_owned();
    write(temporary.as_file_mut(), &temporary_path)?;
    // Reopened by path: `write` may have replaced the file instead of filling the open one.
    let synced = File::open(&temporary_path).and_then(|file| file.sync_all());
    synced.at("write", path)?;
    temporary
        .persist(path)
        .map_err(|e| e.error)
        .at("rename to", path)?;
    sync_folder(&folder)
        .at("sync folder", &folder)
        .map_err(E::from)
}

/// The rename would replace a device or a pipe by an ordinary file.
fn refuse_devices(path: &Path) -> Result<(), FileError> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let reason = io::Error::other("expected a new or an ordinary file");
        return Err(reason).at("replace", path);
    }
    Ok(())
}

/// A builder of temporaries with the permissions an ordinary new file or folder has: `tempfile` alone
/// hides them from other users. The system takes the umask off `mode`.
pub(crate) fn builder(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

pub(crate) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn put(path: &Path, text: &str) -> Result<(), FileError> {
        write_atomically(path, |file, tmp| {
            file.write_all(text.as_bytes()).at("write", tmp)
        })
    }

    #[test]
    fn replaces_the_whole_file_and_makes_folders() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c.txt");
        put(&path, "one").unwrap();
        put(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.txt");
        put(&path, "old").unwrap();
        let failed = write_atomically::<FileError>(&path, |file, tmp| {
            file.write_all(b"half").at("write", tmp)?;
            Err(io::Error::other("disk full")).at("write", tmp)
        });
        assert!(failed.unwrap_err().to_string().contains("disk full"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_ordinary_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let error = put(dir.path(), "text").unwrap_err();
        assert!(error.to_string().contains("ordinary file"), "{error}");
        #[cfg(unix)]
        assert!(put("/dev/null".as_ref(), "text").is_err());
    }
}
