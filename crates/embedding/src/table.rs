//! Rows as plain memory.

use memmap2::MmapMut;

use crate::EmbeddingError;

/// Asks the system for huge pages from this size on; smaller tables would waste them.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// `n_rows` rows of `dim` 32-bit values, zero at first.
///
/// The memory is anonymous and page-aligned (so 64-byte aligned), with huge pages where the system
/// offers them, and costs nothing before it is touched.
#[derive(Debug)]
pub struct Table<T = f32> {
    memory: MmapMut,
    n_rows: usize,
    dim: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: bytemuck::Pod> Table<T> {
    /// A table of zeros.
    ///
    /// # Errors
    /// When the system does not give the memory.
    pub fn zeros(n_rows: usize, dim: usize) -> Result<Self, EmbeddingError> {
        let bytes = n_rows.saturating_mul(dim).saturating_mul(size_of::<T>());
        // An empty map is refused by the system; one byte stands for an empty table.
        let memory = MmapMut::map_anon(bytes.max(1))
            .map_err(|source| EmbeddingError::Allocate { bytes, source })?;
        #[cfg(target_os = "linux")]
        if bytes >= HUGE_PAGE_BYTES {
            // Only advice: a system without huge pages refuses it, and 4 KB pages work too.
            let _ = memory.advise(memmap2::Advice::HugePage);
        }
        Ok(Self {
            memory,
            n_rows,
            dim,
            element: std::marker::PhantomData,
        })
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Values of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row by row.
    pub fn values(&self) -> &[T] {
        bytemuck::cast_slice(&self.memory[..self.n_bytes()])
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> &mut [T] {
        let bytes = self.n_bytes();
        bytemuck::cast_slice_mut(&mut self.memory[..bytes])
    }

    /// Row `row`; panics when there is none.
    pub fn row(&self, row: u32) -> &[T] {
        &self.values()[row as usize * self.dim..][..self.dim]
    }

    /// Row `row`, to be changed; panics when there is none.
    pub fn row_mut(&mut self, row: u32) -> &mut [T] {
        let dim = self.dim;
        &mut self.values_mut()[row as usize * dim..][..dim]
    }

    /// The table `[n_rows, dim]` whose values stand at the start of this one's memory; the rest of the
    /// memory is given back where the system can do that.
    ///
    /// # Panics
    /// When `dim` is larger than that of the table.
    pub fn narrow(mut self, dim: usize) -> Self {
        assert!(dim <= self.dim, "{dim} columns of {}", self.dim);
        self.dim = dim;
        #[cfg(target_os = "linux")]
        {
            let (bytes, options) = (self.n_bytes().max(1), memmap2::RemapOptions::new());
            // SAFETY: the map is anonymous and owned, and nothing borrows it while `self` is taken.
            // A system that refuses to shrink it leaves it as it was.
            let _ = unsafe { self.memory.remap(bytes, options) };
        }
        self
    }

    fn n_bytes(&self) -> usize {
        self.n_rows * self.dim * size_of::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_zero_and_apart() {
        let mut table = Table::<f32>::zeros(100_000, 16).unwrap();
        assert_eq!(table.values().as_ptr() as usize % 64, 0);
        assert!(table.values().iter().all(|&x| x == 0.0));
        table.row_mut(7).fill(3.0);
        assert_eq!(table.row(7), [3.0; 16]);
        assert_eq!(table.values().iter().filter(|&&x| x != 0.0).count(), 16);
    }

    #[test]
    fn narrow_tables_keep_the_start_of_the_memory() {
        let mut table = Table::<f32>::zeros(1000, 64).unwrap();
        let counted = table.values_mut().iter_mut().zip(0u16..);
        counted.for_each(|(x, i)| *x = f32::from(i));
        let memory = table.values().as_ptr();
        let narrow = table.narrow(3);
        assert_eq!((narrow.n_rows(), narrow.dim()), (1000, 3));
        assert_eq!(narrow.values().as_ptr(), memory);
        assert_eq!(narrow.values().len(), 3000);
        assert_eq!(narrow.row(999), [2997.0, 2998.0, 2999.0]);
        assert!(narrow.narrow(0).values().is_empty());
    }

    #[test]
    fn empty_tables_exist() {
        assert!(Table::<f32>::zeros(0, 16).unwrap().values().is_empty());
    }

    #[test]
    fn impossible_sizes_are_an_error() {
        let error = Table::<f32>::zeros(usize::MAX / 8, 16).unwrap_err();
        assert!(error.to_string().contains("cannot allocate"), "{error}");
    }
}
