//! One folder, made in one step.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::file::sync_folder;
use crate::temporary::{new_folder, parent, remove_stale_of};
use crate::{FileError, IoContext};

/// A folder under construction: it takes its final name at [`AtomicDir::commit`], and is deleted when
/// dropped before.
#[derive(Debug)]
pub struct AtomicDir {
    temporary: tempfile::TempDir,
    /// Keeps the folder from being taken for one left behind.
    _in_use: Option<File>,
    target: PathBuf,
}

impl AtomicDir {
    /// Starts a folder that will become `target`; removes what killed processes left of earlier ones.
    ///
    /// # Errors
    /// When `target` exists and is not an empty folder, or the parent cannot be written.
    pub fn create(target: &Path) -> Result<Self, FileError> {
        if target.exists() && fs::read_dir(target).at("list", target)?.next().is_some() {
            let reason = std::io::Error::other("it exists and is not empty");
            return Err(reason).at("create folder", target);
        }
        let folder = parent(target);
        fs::create_dir_all(&folder).at("create folder", &folder)?;
        remove_stale_of(target);
        let (temporary, in_use) = new_folder(target)?;
        Ok(Self {
            temporary,
            _in_use: in_use,
            target: target.to_owned(),
        })
    }

    /// Where the files are to be written.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Syncs every file and gives the folder its name.
    ///
    /// # Errors
    /// When a file cannot be synced or the folder cannot be renamed; it is then deleted.
    pub fn commit(self) -> Result<(), FileError> {
        for entry in fs::read_dir(self.path()).at("list", self.path())? {
            let path = entry.at("list", self.path())?.path();
            File::open(&path)
                .and_then(|file| file.sync_all())
                .at("write", &path)?;
        }
        sync_folder(self.path()).at("sync folder", self.path())?;
        if self.target.exists() {
            fs::remove_dir(&self.target).at("replace", &self.target)?;
        }
        fs::rename(self.path(), &self.target).at("rename to", &self.target)?;
        // The folder has moved: there is nothing left for the guard to delete.
        let _ = self.temporary.keep();
        let folder = parent(&self.target);
        sync_folder(&folder).at("sync folder", &folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appears_at_commit_and_vanishes_without() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        {
            let unfinished = AtomicDir::create(&target).unwrap();
            fs::write(unfinished.path().join("a"), "1").unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let finished = AtomicDir::create(&target).unwrap();
        fs::write(finished.path().join("a"), "1").unwrap();
        finished.commit().unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "1");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn refuses_a_folder_with_content() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kept"), "1").unwrap();
        let error = AtomicDir::create(dir.path()).unwrap_err();
        assert!(error.to_string().contains("not empty"), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn clears_what_a_killed_process_left_of_the_same_folder() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(".slimbed-out-x1Y2z3");
        fs::create_dir(&left).unwrap();
        fs::write(left.join("half.pack"), "half").unwrap();
        let other = AtomicDir::create(&dir.path().join("other")).unwrap();
        assert!(left.exists(), "it is no business of another target");
        let first = AtomicDir::create(&dir.path().join("out")).unwrap();
        assert!(!left.exists());
        let second = AtomicDir::create(&dir.path().join("out")).unwrap();
        assert!(other.path().exists() && first.path().exists() && second.path().exists());
    }
}
