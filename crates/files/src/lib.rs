//! Files that are written whole or not at all.
//!
//! [`write_atomically`] writes beside the target, syncs, and renames; [`AtomicDir`] does the same for
//! a folder. A reader sees the old content or the new one, never a part, whatever moment the process
//! or the machine stops at. What a killed process leaves is removed by the next write to the same target,
//! or by [`remove_stale`]. Errors name the path and what was being done ([`FileError`]).

mod dir;
mod error;
mod file;
mod temporary;

pub use dir::AtomicDir;
pub use error::{FileError, IoContext};
pub use file::{link_atomically, write_atomically};
pub use temporary::remove_stale;
