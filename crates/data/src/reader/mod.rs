//! From raw files to rows: streaming, in parallel, in order, with bounded memory.
//!
//! [`RowReader`] reads groups of chunks of about 4 MB, cut at line ends. While rayon parses one group
//! the next is read and decompressed. Groups come out in the order of the input, whatever the number of
//! threads.

mod calendar;
mod cell;
mod chunks;
mod csv;
mod label;
mod line;
mod movielens;
mod open;
mod row;
mod sparse;
mod text;

use std::path::PathBuf;

use rayon::prelude::*;

use crate::{DataError, Format, Recipe};
use chunks::{Chunk, Chunks};
use csv::CsvParser;
use line::LineParser;
use movielens::RatingParser;
use sparse::SparseParser;

/// The key of an empty categorical cell; no hexadecimal number and no bucket has it.
pub const MISSING: u64 = 1 << 63;

/// Parsed rows, column types already applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Number of each row over all files, from 0, which is that of its line where every line is a row; bad
    /// rows leave gaps.
    pub lines: Vec<u64>,
    /// 0 or 1.
    pub labels: Vec<u8>,
    /// `[n, n_dense]`, transformed.
    pub dense: Vec<f32>,
    /// `[n, n_fields]`: what identifies a category before it has an id; of a multi-valued field, how many
    /// categories the row has.
    pub keys: Vec<u64>,
    /// One entry for each multi-valued field: what identifies the categories of all rows, row after row.
    pub bags: Vec<Vec<u64>>,
    /// Which of the files they are from, from 0.
    pub file: usize,
    /// `[n]`: seconds since 1970 where the recipe needs them, else empty.
    pub times: Vec<i64>,
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
    parser: Parser<'a>,
    chunks: Chunks<'a>,
    /// Files read whole before the first row.
    tables: Vec<Chunks<'static>>,
    next: Option<Result<Vec<Chunk>, DataError>>,
    bad: BadRows,
    recipe: &'a Recipe,
}

/// Parses the lines of a format.
enum Parser<'a> {
    Line(LineParser<'a>),
    Csv(CsvParser<'a>),
    Sparse(SparseParser<'a>),
    Rating(Box<RatingParser<'a>>),
}

impl Parser<'_> {
    fn parse(&self, chunk: &Chunk, most: u64) -> (Rows, Vec<BadRow>) {
        match self {
            Self::Line(parser) => parser.parse(chunk, most),
            Self::Csv(parser) => parser.parse(chunk, most),
            Self::Sparse(parser) => parser.parse(chunk, most),
            Self::Rating(parser) => parser.parse(chunk, most),
        }
    }
}

/// A row that cannot be read.
struct BadRow {
    error: DataError,
    /// Lines it takes, which all count: a stray quote may hide the rows behind it in a cell.
    n_lines: u64,
}

impl From<DataError> for BadRow {
    fn from(error: DataError) -> Self {
        Self { error, n_lines: 1 }
    }
}

/// Rows that were skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BadRows {
    limit: u64,
    /// How many, each of their lines counted.
    pub n: u64,
    /// What was wrong with the first few.
    pub examples: Vec<String>,
}

/// Messages of bad rows that are kept.
const N_EXAMPLES: usize = 5;

impl<'a> RowReader<'a> {
    /// Opens the first of the files that `recipe` makes of `inputs`, and reads those that describe
    /// users and movies; up to `max_bad_rows` rows may be bad.
    ///
    /// # Errors
    /// When a file is not there, and on bad rows beyond the limit.
    pub fn open(
        recipe: &'a Recipe,
        inputs: &[PathBuf],
        max_bad_rows: u64,
    ) -> Result<Self, DataError> {
        let mut first = 0;
        if recipe.has_time_field() {
            first = i64::MAX;
            let mut reader = Self::open_since(recipe, inputs, max_bad_rows, 0)?;
            while let Some(group) = reader.next_group()? {
                let times = group.iter().flat_map(|rows| &rows.times);
                first = times.fold(first, |first, &time| first.min(time));
            }
        }
        Self::open_since(recipe, inputs, max_bad_rows, first)
    }

    /// As [`open`](Self::open), where the first rating is known to be at the second `first`.
    pub(crate) fn open_since(
        recipe: &'a Recipe,
        inputs: &[PathBuf],
        max_bad_rows: u64,
        first: i64,
    ) -> Result<Self, DataError> {
        let mut files = recipe.input_files(inputs)?;
        let mut bad = BadRows {
            limit: max_bad_rows,
            ..BadRows::default()
        };
        let (parser, tables) = match &recipe.format {
            Format::MovieLens(edition, rule) => {
                let mut parser = RatingParser::new(recipe, *edition, rule, first);
                // The first file holds the ratings.
                let tables = parser.read_tables(&files.split_off(1), &mut bad)?;
                (Parser::Rating(Box::new(parser)), tables)
            }
            Format::Csv(rule) => (Parser::Csv(CsvParser::new(recipe, rule)), Vec::new()),
            Format::Sparse(rule) => (Parser::Sparse(SparseParser::new(recipe, rule)), Vec::new()),
            _ => (Parser::Line(LineParser::new(recipe)), Vec::new()),
        };
        let mut chunks = Chunks::of(recipe, files);
        let next = chunks.next_group(group_size()).transpose();
        let mut reader = Self {
            parser,
            chunks,
            tables,
            next,
            bad,
            recipe,
        };
        reader.look_at_first_line();
        Ok(reader)
    }

    /// Ratings have their times in a fourth column, or no times at all.
    fn look_at_first_line(&mut self) {
        if let (Parser::Rating(parser), Some(Ok(group))) = (&mut self.parser, &self.next)
            && let Some(chunk) = group.first()
        {
            parser.look_at(chunk);
        }
    }

    /// The next rows in order, one entry a chunk; `None` at the end.
    ///
    /// # Errors
    /// The first bad row beyond the limit, or a file that cannot be read.
    pub fn next_group(&mut self) -> Result<Option<Vec<Rows>>, DataError> {
        let Some(group) = self.next.take().transpose()? else {
            return Ok(None);
        };
        let (chunks, parser) = (&mut self.chunks, &self.parser);
        // One more than may still be skipped ends the reading: no chunk needs to tell of others.
        let most = self.bad.limit.saturating_sub(self.bad.n).saturating_add(1);
        let (next, parsed) = rayon::join(
            || chunks.next_group(group_size()).transpose(),
            || {
                group
                    .par_iter()
                    .map(|chunk| parser.parse(chunk, most))
                    .collect::<Vec<_>>()
            },
        );
        self.next = next;
        let mut all = Vec::with_capacity(parsed.len());
        for (rows, bad) in parsed {
            bad.into_iter().try_for_each(|row| self.bad.skip(row))?;
            all.push(rows);
        }
        Ok(Some(all))
    }

    /// How far the reader is.
    pub fn progress(&self) -> ReadProgress {
        let at = self.chunks.progress();
        let tables = self.tables.iter().map(|table| table.progress().bytes);
        ReadProgress {
            bytes: at.bytes + tables.sum::<u64>(),
            ..at
        }
    }

    /// The column of the label, from 1; of the last file where headers say it.
    pub fn label_column(&self) -> usize {
        let index = self.recipe.label.index;
        let header = self.chunks.header();
        1 + header.map_or(index, |header| header.places[index])
    }

    /// The rows skipped so far.
    pub fn bad_rows(&self) -> &BadRows {
        &self.bad
    }

    /// xxh3-64 and size of each file, as stored on disk; complete once the reader is at the end.
    pub fn checksums(&self) -> Vec<(PathBuf, u64, u64)> {
        let tables = self.tables.iter().flat_map(Chunks::checksums);
        self.chunks.checksums().into_iter().chain(tables).collect()
    }
}

/// Chunks that are parsed together.
fn group_size() -> usize {
    rayon::current_num_threads() * 2
}

/// Rows of all files, good and bad; `progress` is told after each chunk.
pub(crate) fn count_rows(
    recipe: &Recipe,
    paths: &[PathBuf],
    mut progress: impl FnMut(ReadProgress),
) -> Result<u64, DataError> {
    let mut chunks = Chunks::of(recipe, paths.to_vec());
    while chunks.next_group(1)?.is_some() {
        progress(chunks.progress());
    }
    Ok(chunks.n_rows())
}

impl BadRows {
    fn skip(&mut self, BadRow { error, n_lines }: BadRow) -> Result<(), DataError> {
        self.n += n_lines;
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
