//! One file, replaced in one step.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::temporary::{new_file, new_link, parent, remove_stale_of};
use crate::{FileError, IoContext};

/// Lets `write` fill a new file beside `path`, syncs it and renames it to `path`.
///
/// Missing parent folders are made, and what a killed process left of an earlier write to `path` is
/// removed. When `write` fails nothing is left behind and an existing file at `path` stays as it was.
///
/// # Errors
/// The error of `write`, or a [`FileError`] that names the step that failed (a full disk, say).
pub fn write_atomically<E: From<FileError>>(
    path: &Path,
    write: impl FnOnce(&mut File, &Path) -> Result<(), E>,
) -> Result<(), E> {
    make_room(path)?;
    let mut temporary = new_file(path)?;
    let temporary_path = temporary.path().to_owned();
    write(temporary.as_file_mut(), &temporary_path)?;
    // Reopened by path: `write` may have replaced the file instead of filling the open one.
    let synced = File::open(&temporary_path).and_then(|file| file.sync_all());
    synced.at("write", path)?;
    let persisted = temporary.persist(path).map_err(|e| e.error);
    let file = persisted.at("rename to", path)?;
    // Closing alone leaves the lock to a process that is being started in this very moment and has not
    // closed its copy yet: whoever locks the finished file would find it in use.
    let _ = file.unlock();
    let folder = parent(path);
    sync_folder(&folder)
        .at("sync folder", &folder)
        .map_err(E::from)
}

/// Makes `path` a second name of the file `from`, in one step; where names cannot be shared, a copy.
///
/// Both names are meant to be replaced by renaming: replacing one leaves the other as it is, but a
/// write into the file would show under both.
///
/// # Errors
/// When `from` cannot be read or `path` cannot be written; what was at `path` then stays.
pub fn link_atomically(from: &Path, path: &Path) -> Result<(), FileError> {
    make_room(path)?;
    let Ok(link) = new_link(from, path) else {
        // Another file system, or one without links; if `from` is the trouble, copying says so.
        return write_atomically(path, |_, temporary| {
            fs::copy(from, temporary).at("copy", from).map(|_| ())
        });
    };
    let temporary_path = link.path().to_owned();
    let renamed = link.persist(path).map_err(|e| e.error);
    renamed.at("rename to", path)?;
    // Renaming between two names of one file does nothing and leaves both.
    let _ = fs::remove_file(temporary_path);
    let folder = parent(path);
    sync_folder(&folder).at("sync folder", &folder)
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes the folder of `path` and clears what killed writers left there.
fn make_room(path: &Path) -> Result<(), FileError> {
    refuse_devices(path)?;
    let folder = parent(path);
    fs::create_dir_all(&folder).at("create folder", &folder)?;
    remove_stale_of(path);
    Ok(())
}

/// The rename would replace a device or a pipe by an ordinary file.
fn refuse_devices(path: &Path) -> Result<(), FileError> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let reason = io::Error::other("expected a new or an ordinary file");
        return Err(reason).at("replace", path);
    }
    Ok(())
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
    fn a_finished_file_can_be_locked_while_a_new_process_still_has_a_copy_of_its_handle() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut copy = None;
        write_atomically::<FileError>(&path, |file, tmp| {
            copy = Some(file.try_clone().at("open", tmp)?);
            Ok(())
        })
        .unwrap();
        File::open(&path).unwrap().try_lock().unwrap();
        drop(copy);
    }

    #[test]
    fn what_is_no_ordinary_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let error = put(dir.path(), "text").unwrap_err();
        assert!(error.to_string().contains("ordinary file"), "{error}");
        #[cfg(unix)]
        assert!(put("/dev/null".as_ref(), "text").is_err());
    }

    #[test]
    fn a_linked_name_lives_on_when_the_other_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b/b"));
        put(&a, "one").unwrap();
        // The second time both are one file already.
        for _ in 0..2 {
            link_atomically(&a, &b).unwrap();
            assert_eq!(fs::read_to_string(&b).unwrap(), "one");
            assert_eq!(fs::read_dir(dir.path().join("b")).unwrap().count(), 1);
        }
        put(&a, "two").unwrap();
        assert_eq!(fs::read_to_string(&b).unwrap(), "one");
        link_atomically(&a, &b).unwrap();
        put(&b, "three").unwrap();
        assert_eq!(fs::read_to_string(&a).unwrap(), "two");
    }

    #[test]
    fn a_link_to_nothing_names_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let error = link_atomically(&a, &b).unwrap_err();
        assert!(error.to_string().contains("copy"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
