//! Where the bytes of an opened artefact are.

use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;

use memmap2::{Mmap, MmapMut};
use slimbed_files::{FileError, IoContext};

/// The bytes of a file.
#[derive(Debug)]
pub enum Memory {
    /// Pages of the file itself, read when they are touched.
    Mapped(Mmap),
    /// A copy, in huge pages where the system has them.
    Loaded { memory: MmapMut, len: usize },
}

impl Memory {
    /// Maps `path`.
    pub fn map(path: &Path) -> Result<Self, FileError> {
        let file = File::open(path).at("open", path)?;
        // SAFETY: the map is only read, and artefacts are replaced by renaming a new file over them,
        // never changed in place; a file that another program shortens meanwhile is beyond our reach.
        let map = unsafe { Mmap::map(&file) }.at("map", path)?;
        Ok(Self::Mapped(map))
    }

    /// Reads `path` into memory of our own.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        let mut file = File::open(path).at("open", path)?;
        let len = file.metadata().at("read size of", path)?.len() as usize;
        // The system refuses an empty map.
        let mut memory = MmapMut::map_anon(len.max(1)).at("allocate memory for", path)?;
        #[cfg(target_os = "linux")]
        {
            // Only advice: a system without huge pages refuses it, and small ones work too.
            let _ = memory.advise(memmap2::Advice::HugePage);
        }
        file.read_exact(&mut memory[..len]).at("read", path)?;
        Ok(Self::Loaded { memory, len })
    }
}

impl Memory {
    /// Gives back the memory behind `part` of a mapped file; the next access would read the file again.
    pub fn release(&self, part: &[u8]) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            let (all, part) = (map.as_ptr_range(), part.as_ptr_range());
            if part.start < all.start || all.end < part.end {
                return;
            }
            let start = part.start as usize - all.start as usize;
            let len = part.end as usize - part.start as usize;
            let advice = memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: the part lies in the map, as was just checked, and the map is a read-only view of a
            // file, so dropping its pages loses nothing. A system that refuses only keeps them longer.
            let _ = unsafe { map.unchecked_advise_range(advice, start, len) };
        }
        #[cfg(not(unix))]
        let _ = part;
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Loaded { memory, len } => &memory[..*len],
        }
    }
}
