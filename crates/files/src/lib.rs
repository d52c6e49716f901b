//! Files that are written whole or not at all.
//!
//! [`write_atomically`] writes beside the target, syncs, and renames; [`AtomicDir`] does the same for
//! a folder. A reader sees the old content or the new one, never a part, whatever moment the process
//! or the machine stops at. Errors name the path and what was being done ([`FileError`]).

mod dir;
mod error;
mod file;

pub use dir::AtomicDir;
pub use error::{FileError, IoContext};
pub use file::write_atomically;
