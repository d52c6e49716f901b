//! Memory for operands that stay.

use memmap2::MmapMut;

use super::Line;
use crate::FusedError;

/// A huge page of x86 and of most ARM systems.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Lines of anonymous memory, on huge pages where the system has them.
///
/// A processor finds its place in the L2 cache by the address in memory, and 4 KB pages lie there in any
/// order: the weights of a DLRM that just fit into L2 then put each other out. Reading 1.9 MB again and again
/// took 25 µs on 4 KB pages and 11 µs on a huge one (Xeon with 2 MB of L2).
#[derive(Debug)]
pub(super) struct Pages {
    memory: MmapMut,
    /// First byte.
    start: usize,
    n_lines: usize,
}

impl Pages {
    /// `n_lines` of zeros.
    ///
    /// # Errors
    /// When the system does not give the memory.
    pub fn zeros(n_lines: usize) -> Result<Self, FusedError> {
        let bytes = n_lines * size_of::<Line>();
        // Room to start at a huge page; what is not touched takes no memory.
        let room = bytes.next_multiple_of(HUGE_PAGE_BYTES) + HUGE_PAGE_BYTES;
        let memory =
            MmapMut::map_anon(room).map_err(|source| FusedError::Allocate { bytes, source })?;
        let address = memory.as_ptr() as usize;
        let start = address.next_multiple_of(HUGE_PAGE_BYTES) - address;
        #[cfg(target_os = "linux")]
        if bytes >= HUGE_PAGE_BYTES / 4 {
            // Only advice: a system without huge pages refuses it, and 4 KB pages work too.
            let _ = memory.advise_range(
                memmap2::Advice::HugePage,
                start,
                bytes.next_multiple_of(HUGE_PAGE_BYTES),
            );
        }
        Ok(Self {
            memory,
            start,
            n_lines,
        })
    }

    /// All lines.
    pub fn lines(&self) -> &[Line] {
        bytemuck::cast_slice(&self.memory[self.start..][..self.n_lines * size_of::<Line>()])
    }

    /// All lines, to be changed.
    pub fn lines_mut(&mut self) -> &mut [Line] {
        let n_bytes = self.n_lines * size_of::<Line>();
        bytemuck::cast_slice_mut(&mut self.memory[self.start..][..n_bytes])
    }
}
