//! From raw files to rows: streaming, in parallel, in order, with bounded memory.
//!
//! [`RowReader`] reads groups of chunks of about 4 MB, cut at line ends. While rayon parses one group
//! the next is read and decompressed. Groups come out in the order of the input, whatever the number of
//! threads.

mod cell;
mod chunks;
mod line;
mod open;

use std::path::PathBuf;

use rayon::prelude::*;

use crate::{DataError, Recipe};
use chunks::{Chunk, Chunks};
use line::LineParser;

/// The key of an empty categorical cell; no hexadecimal number and no bucket has it.
pub const MISSING: u64 = 1 << 63;

/// Parsed rows, column types already applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Number of each row's line over all files, from 0; bad rows leave gaps.
    pub lines: Vec<u64>,
    /// 0 or 1.
    pub labels: Vec<u8>,
    /// `[n, n_dense]`, transformed.
    pub dense: Vec<f32>,
    /// `[n, n_fields]`: what identifies a category before it has an id.
    pub keys: Vec<u64>,
}

/// How far a reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadProgress {
    /// Bytes read from the files, compressed where they are.
    pub bytes: u64,
    /// Lines read.
    pub lines: u64,
}

/// Reads the rows of several files as one input.
pub struct RowReader<'a> {
    recipe: &'a Recipe,
    chunks: Chunks,
    next: Option<Result<Vec<Chunk>, DataError>>,
    bad: BadRows,
}

/// Rows that were skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadRows {
    limit: u64,
    /// How many.
    pub n: u64,
    /// What was wrong with the first few.
    pub examples: Vec<String>,
}

/// Messages of bad rows that are kept.
const N_EXAMPLES: usize = 5;

impl<'a> RowReader<'a> {
    /// Opens the first of `paths`; up to `max_bad_rows` rows may be bad.
    ///
    /// # Errors
    /// When the first file cannot be opened.
    pub fn open(
        recipe: &'a Recipe,
        paths: &[PathBuf],
        max_bad_rows: u64,
    ) -> Result<Self, DataError> {
        let mut chunks = Chunks::new(paths.to_vec());
        let next = chunks
            .next_group(rayon::current_num_threads() * 2)
            .transpose();
        let bad = BadRows {
            limit: max_bad_rows,
            ..BadRows::default()
        };
        Ok(Self {
            recipe,
            chunks,
            next,
            bad,
        })
    }

    /// The next rows in order, one entry a chunk; `None` at the end.
    ///
    /// # Errors
    /// The first bad row beyond the limit, or a file that cannot be read.
    pub fn next_group(&mut self) -> Result<Option<Vec<Rows>>, DataError> {
        let Some(group) = self.next.take().transpose()? else {
            return Ok(None);
        };
        let chunks = &mut self.chunks;
        let parser = LineParser::new(self.recipe);
        // One more than may still be skipped ends the reading: no chunk needs to tell of others.
        let most = self.bad.limit.saturating_sub(self.bad.n).saturating_add(1);
        let (next, parsed) = rayon::join(
            || {
                chunks
                    .next_group(rayon::current_num_threads() * 2)
                    .transpose()
            },
            || {
                group
                    .par_iter()
                    .map(|chunk| parser.parse(chunk, most))
                    .collect::<Vec<_>>()
            },
        );
        self.next = next;
        let mut all = Vec::with_capacity(parsed.len());
        for (rows, errors) in parsed {
            errors
                .into_iter()
                .try_for_each(|error| self.bad.skip(error))?;
            all.push(rows);
        }
        Ok(Some(all))
    }

    /// How far the reader is.
    pub fn progress(&self) -> ReadProgress {
        self.chunks.progress()
    }

    /// The rows skipped so far.
    pub fn bad_rows(&self) -> &BadRows {
        &self.bad
    }

    /// xxh3-64 and size of each file, as stored on disk; complete once the reader is at the end.
    pub fn checksums(&self) -> Vec<(PathBuf, u64, u64)> {
        self.chunks.checksums()
    }
}

/// Lines of all files, good and bad; `progress` is told after each chunk.
pub(crate) fn count_lines(
    paths: &[PathBuf],
    mut progress: impl FnMut(ReadProgress),
) -> Result<u64, DataError> {
    let mut chunks = Chunks::new(paths.to_vec());
    while chunks.next_group(1)?.is_some() {
        progress(chunks.progress());
    }
    Ok(chunks.progress().lines)
}

impl BadRows {
    fn skip(&mut self, error: DataError) -> Result<(), DataError> {
        self.n += 1;
        if self.n > self.limit {
            return Err(if self.limit == 0 {
                error
            } else {
                DataError::TooManyBadRows {
                    limit: self.limit,
                    last: Box::new(error),
                }
            });
        }
        if self.examples.len() < N_EXAMPLES {
            self.examples.push(error.to_string());
        }
        Ok(())
    }
}
