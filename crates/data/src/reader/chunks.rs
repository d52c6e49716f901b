//! Input files cut into chunks at line ends, or at the ends of records where cells may hold line ends.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ReadProgress;
use super::csv::{Header, HeaderReader, whole_records};
use super::open::{Meter, open};
use crate::{DataError, Format, Recipe};

const CHUNK: usize = 4 << 20;
/// A line longer than this is no line of a table.
const LONGEST_LINE: usize = 64 << 20;

/// Whole rows of one file.
pub struct Chunk {
    /// Which of the files, from 0.
    pub file: usize,
    pub path: Arc<Path>,
    /// Line number of the first line in its file, from 1.
    pub first_line: u64,
    /// Number of the first row over all files, from 0.
    pub first_index: u64,
    pub n_rows: u64,
    pub bytes: Vec<u8>,
    /// The columns of the file, where a header names them.
    pub header: Option<Arc<Header>>,
}

/// Hands out chunks of one file after the other.
pub struct Chunks<'a> {
    paths: Vec<PathBuf>,
    /// Reads the header of each file; without it, every line is a row.
    headers: Option<HeaderReader<'a>>,
    meters: Vec<Meter>,
    current: Option<Current>,
    header: Option<Arc<Header>>,
    /// What stopped the last group before its end.
    failure: Option<DataError>,
    /// Rows of all files handed out.
    n_rows: u64,
    /// Lines of all files handed out, those of headers too.
    n_lines: u64,
}

struct Current {
    path: Arc<Path>,
    source: Box<dyn Read + Send>,
    /// Bytes behind the last line end handed out.
    rest: Vec<u8>,
    next_line: u64,
    /// The header and its separator.
    header: Option<(Arc<Header>, u8)>,
}

/// Whole rows and how many there are.
struct Piece {
    bytes: Vec<u8>,
    first_line: u64,
    n_rows: u64,
}

impl Chunks<'static> {
    /// Files without headers, whose lines are rows.
    pub fn lines(paths: Vec<PathBuf>) -> Self {
        Chunks::new(paths, None)
    }
}

impl<'a> Chunks<'a> {
    /// Files as a recipe describes them.
    pub fn of(recipe: &'a Recipe, paths: Vec<PathBuf>) -> Self {
        let headers = match &recipe.format {
            Format::Csv(rule) => Some(HeaderReader::new(recipe, rule)),
            _ => None,
        };
        Self::new(paths, headers)
    }

    fn new(paths: Vec<PathBuf>, headers: Option<HeaderReader<'a>>) -> Self {
        Self {
            paths,
            headers,
            meters: Vec::new(),
            current: None,
            header: None,
            failure: None,
            n_rows: 0,
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

    /// The header of the file that was opened last.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_deref()
    }

    /// Rows handed out.
    pub fn n_rows(&self) -> u64 {
        self.n_rows
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
                let current = Current::open(path, meter.clone(), self.headers)?;
                self.n_lines += current.next_line - 1;
                self.header = current.header.as_ref().map(|(header, _)| header.clone());
                self.current = Some(current);
                self.meters.push(meter);
                continue;
            };
            match current.next_rows()? {
                Some(piece) => {
                    let next_line = current.next_line;
                    let path = current.path.clone();
                    return Ok(Some(self.chunk(piece, path, next_line)));
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

    fn chunk(&mut self, piece: Piece, path: Arc<Path>, next_line: u64) -> Chunk {
        let first_index = self.n_rows;
        self.n_rows += piece.n_rows;
        self.n_lines += next_line - piece.first_line;
        Chunk {
            file: self.meters.len() - 1,
            path,
            first_line: piece.first_line,
            first_index,
            n_rows: piece.n_rows,
            bytes: piece.bytes,
            header: self.header.clone(),
        }
    }
}

impl Current {
    fn open(
        path: &Path,
        meter: Meter,
        headers: Option<HeaderReader<'_>>,
    ) -> Result<Self, DataError> {
        let source = open(path, meter)?;
        let mut current = Self {
            path: path.into(),
            source,
            rest: Vec::new(),
            next_line: 1,
            header: None,
        };
        if let Some(headers) = headers {
            current.read_header(headers)?;
        }
        Ok(current)
    }

    /// Takes the header from the start of the file; of an empty file there is none.
    fn read_header(&mut self, headers: HeaderReader<'_>) -> Result<(), DataError> {
        let mut bytes = self.read_until(|bytes| headers.end(bytes))?;
        // At the end of the file the rows are there too.
        if let Some(end) = headers.end(&bytes).filter(|&end| end < bytes.len()) {
            self.rest = bytes.split_off(end);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let header = headers.read(&self.path, &bytes)?;
        self.header = Some((Arc::new(header), headers.separator()));
        self.next_line += n_lines(&bytes);
        Ok(())
    }

    /// Whole rows; `None` at the end of the file.
    fn next_rows(&mut self) -> Result<Option<Piece>, DataError> {
        let separator = self.header.as_ref().map(|(_, separator)| *separator);
        let last_end = |bytes: &[u8]| match separator {
            None => memchr::memrchr(b'\n', bytes).map(|end| end + 1),
            Some(separator) => Some(whole_records(bytes, separator).0).filter(|&end| end > 0),
        };
        let bytes = self.read_until(last_end)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let n_lines = n_lines(&bytes);
        let n_rows = match separator {
            None => n_lines,
            Some(separator) => {
                let (end, n) = whole_records(&bytes, separator);
                n + u64::from(end < bytes.len())
            }
        };
        let first_line = self.next_line;
        self.next_line += n_lines;
        Ok(Some(Piece {
            bytes,
            first_line,
            n_rows,
        }))
    }

    /// Takes at least a chunk and at most what is left of the file, up to the end that `end` finds in it.
    fn read_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Result<Vec<u8>, DataError> {
        let mut bytes = std::mem::take(&mut self.rest);
        let mut wanted = CHUNK;
        loop {
            if self.fill(&mut bytes, wanted)? {
                return Ok(bytes);
            }
            if let Some(end) = end(&bytes) {
                self.rest = bytes.split_off(end);
                return Ok(bytes);
            }
            wanted = bytes.len() + CHUNK;
            if bytes.len() > LONGEST_LINE {
                let quotes = self.header.as_ref().map_or("", |_| " outside quotes");
                return Err(DataError::ColumnCount {
                    path: self.path.to_path_buf(),
                    line: self.next_line,
                    expected: 1,
                    found: 0,
                    missing: format!(": no line end{quotes} within {LONGEST_LINE} bytes"),
                });
            }
        }
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

/// Lines of whole lines, of which the last may have no end.
fn n_lines(bytes: &[u8]) -> u64 {
    let open_end = !bytes.is_empty() && bytes.last() != Some(&b'\n');
    memchr::memchr_iter(b'\n', bytes).count() as u64 + u64::from(open_end)
}
