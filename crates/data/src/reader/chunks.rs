//! Input files cut into chunks at line ends.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ReadProgress;
use super::open::{Meter, open};
use crate::DataError;

const CHUNK: usize = 4 << 20;
/// A line longer than this is no line of a table.
const LONGEST_LINE: usize = 64 << 20;

/// Whole lines of one file.
pub struct Chunk {
    /// Which of the files, from 0.
    pub file: usize,
    pub path: Arc<Path>,
    /// Line number of the first line in its file, from 1.
    pub first_line: u64,
    /// Number of the first line over all files, from 0.
    pub first_index: u64,
    pub n_lines: u64,
    pub bytes: Vec<u8>,
}

/// Hands out chunks of one file after the other.
pub struct Chunks {
    paths: Vec<PathBuf>,
    meters: Vec<Meter>,
    current: Option<Current>,
    /// What stopped the last group before its end.
    failure: Option<DataError>,
    /// Lines of all files handed out.
    n_lines: u64,
}

struct Current {
    path: Arc<Path>,
    source: Box<dyn Read + Send>,
    /// Bytes behind the last line end handed out.
    rest: Vec<u8>,
    next_line: u64,
}

impl Chunks {
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths,
            meters: Vec::new(),
            current: None,
            failure: None,
            n_lines: 0,
        }
    }

    /// Up to `n` chunks, or `None` at the end of the last file.
    ///
    /// A failure comes in a call of its own, after the chunks before it: which of two problems is
    /// reported does not depend on `n`.
    pub fn next_group(&mut self, n: usize) -> Result<Option<Vec<Chunk>>, DataError> {
        let mut group = Vec::with_capacity(n);
        while group.len() < n && self.failure.is_none() {
            match self.next_chunk() {
                Ok(Some(chunk)) => group.push(chunk),
                Ok(None) => break,
                Err(error) => self.failure = Some(error),
            }
        }
        match self.failure.take_if(|_| group.is_empty()) {
            Some(error) => Err(error),
            None => Ok((!group.is_empty()).then_some(group)),
        }
    }

    pub fn progress(&self) -> ReadProgress {
        let bytes = self.meters.iter().map(|meter| meter.read().0).sum();
        ReadProgress {
            bytes,
            lines: self.n_lines,
        }
    }

    pub fn checksums(&self) -> Vec<(PathBuf, u64, u64)> {
        let pairs = self.paths.iter().zip(&self.meters);
        pairs
            .map(|(path, meter)| {
                let (n_bytes, hash) = meter.read();
                (path.clone(), n_bytes, hash)
            })
            .collect()
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, DataError> {
        loop {
            let Some(current) = &mut self.current else {
                let Some(path) = self.paths.get(self.meters.len()) else {
                    return Ok(None);
                };
                let meter = Meter::default();
                self.current = Some(Current::open(path, meter.clone())?);
                self.meters.push(meter);
                continue;
            };
            match current.next_lines()? {
                Some((bytes, first_line, n_lines)) => {
                    let first_index = self.n_lines;
                    self.n_lines += n_lines;
                    let path = current.path.clone();
                    return Ok(Some(Chunk {
                        file: self.meters.len() - 1,
                        path,
                        first_line,
                        first_index,
                        n_lines,
                        bytes,
                    }));
                }
                None if current.next_line == 1 => {
                    return Err(DataError::EmptyFile {
                        path: current.path.to_path_buf(),
                    });
                }
                None => self.current = None,
            }
        }
    }
}

impl Current {
    fn open(path: &Path, meter: Meter) -> Result<Self, DataError> {
        let source = open(path, meter)?;
        Ok(Self {
            path: path.into(),
            source,
            rest: Vec::new(),
            next_line: 1,
        })
    }

    /// Whole lines, the number of the first and how many there are; `None` at the end of the file.
    fn next_lines(&mut self) -> Result<Option<(Vec<u8>, u64, u64)>, DataError> {
        let mut bytes = std::mem::take(&mut self.rest);
        let mut wanted = CHUNK;
        loop {
            let at_end = self.fill(&mut bytes, wanted)?;
            if at_end {
                break;
            }
            if let Some(end) = memchr::memrchr(b'\n', &bytes) {
                self.rest = bytes.split_off(end + 1);
                break;
            }
            wanted = bytes.len() + CHUNK;
            if bytes.len() > LONGEST_LINE {
                return Err(DataError::ColumnCount {
                    path: self.path.to_path_buf(),
                    line: self.next_line,
                    expected: 1,
                    found: 0,
                    missing: format!(": no line end within {LONGEST_LINE} bytes"),
                });
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let open_end = u64::from(bytes.last() != Some(&b'\n'));
        let n_lines = memchr::memchr_iter(b'\n', &bytes).count() as u64 + open_end;
        let first_line = self.next_line;
        self.next_line += n_lines;
        Ok(Some((bytes, first_line, n_lines)))
    }

    /// Reads until `bytes` has `wanted` bytes; whether the file ended before.
    fn fill(&mut self, bytes: &mut Vec<u8>, wanted: usize) -> Result<bool, DataError> {
        let missing = wanted.saturating_sub(bytes.len()) as u64;
        // Room for the end of the file too, which is only seen by reading on.
        bytes.reserve(wanted + 64 - bytes.len().min(wanted));
        let n = self
            .source
            .by_ref()
            .take(missing)
            .read_to_end(bytes)
            .map_err(|source| {
                let n_whole = memchr::memchr_iter(b'\n', bytes).count() as u64;
                let line = self.next_line + n_whole;
                DataError::Read {
                    path: self.path.to_path_buf(),
                    line,
                    source,
                }
            })?;
        Ok((n as u64) < missing)
    }
}
