//! Files with a header: cells between separators, quoted as RFC 4180 describes.
//!
//! The cells are cut here rather than by the `csv` crate, which reads blank lines as nothing and stray
//! quotes as text, and tells the line of a record but not that of a cell.

mod cut;
mod header;

use std::path::Path;

use super::cell::{parse_cell, parse_dense, transform};
use super::chunks::Chunk;
use super::label::labelled;
use super::row::Row;
use super::text::Place;
use super::{BadRow, MISSING, Rows};
use crate::{CsvRule, DataError, DenseColumn, FieldColumn, FieldKind, OnMissing, Recipe};
pub use cut::whole_records;
use cut::{Cell, Cutter, Record};
pub use header::{Header, HeaderReader};

const NO_NUMBER: &str = "a number (`missing` in the recipe says what an empty cell is)";
const NO_CATEGORY: &str =
    "a category (`missing = \"category\"` in the recipe makes one of empty cells)";

/// Parses records.
pub struct CsvParser<'a> {
    recipe: &'a Recipe,
    rule: &'a CsvRule,
}

/// A record cut into cells, and where it stands.
struct Cells<'a> {
    path: &'a Path,
    header: &'a Header,
    all: Vec<Cell<'a>>,
}

/// A place in the list of used columns, and what was expected there.
type Wrong = (usize, &'static str);

impl<'a> CsvParser<'a> {
    pub fn new(recipe: &'a Recipe, rule: &'a CsvRule) -> Self {
        Self { recipe, rule }
    }

    /// All good rows of a chunk, and what was wrong with the others; stops at the `most`-th bad row.
    pub fn parse(&self, chunk: &Chunk, most: u64) -> (Rows, Vec<BadRow>) {
        let header = chunk.header.as_deref();
        let mut cells = Cells {
            path: &chunk.path,
            header: header.expect("a chunk of a file with a header has it"),
            all: Vec::new(),
        };
        let mut row = Row::of(self.recipe);
        // A good record takes a byte for each cell, so that a file of line ends reserves little.
        let n = (chunk.n_rows as usize).min(chunk.bytes.len() / cells.header.names.len() + 1);
        let (mut rows, mut bad) = (row.empty(n, chunk.file), Vec::new());
        let mut cutter = Cutter::new(&chunk.bytes, chunk.first_line, self.rule.separator);
        let (mut index, mut room) = (chunk.first_index, Vec::new());
        while let Some(record) = cutter.record(&mut cells.all) {
            match self.parse_record(&cells, &record, &mut row, &mut room) {
                Ok(()) => row.append_to(&mut rows, index),
                Err(error) => bad.push(BadRow {
                    error,
                    n_lines: record.n_lines,
                }),
            }
            index += 1;
            if bad.len() as u64 >= most {
                break;
            }
        }
        (rows, bad)
    }

    fn parse_record(
        &self,
        cells: &Cells<'_>,
        record: &Record,
        row: &mut Row,
        room: &mut Vec<u8>,
    ) -> Result<(), DataError> {
        if let Some(fault) = record.fault {
            return Err(cells.error(fault.column, None, fault.expected));
        }
        if cells.all.len() != cells.header.names.len() {
            return Err(cells.count(record.line));
        }
        row.clear_bags();
        let label = &self.recipe.label;
        let cell = cells.used(label.index).unquoted(room);
        row.label = labelled(cell, &self.rule.label)
            .map_err(|expected| cells.error_of((label.index, expected), &label.name))?;
        for (i, dense) in self.recipe.dense.iter().enumerate() {
            let cell = cells.used(dense.column.index).unquoted(room);
            row.dense[i] = self.number(cell, dense).map_err(|expected| {
                cells.error_of((dense.column.index, expected), &dense.column.name)
            })?;
        }
        for (f, field) in self.recipe.fields.iter().enumerate() {
            let cell = cells.used(field.column.index).unquoted(room);
            self.categories(cell, field, f, row).map_err(|expected| {
                cells.error_of((field.column.index, expected), &field.column.name)
            })?;
        }
        Ok(())
    }

    fn is_missing(&self, cell: &[u8]) -> bool {
        cell.is_empty() || self.rule.missing.iter().any(|text| text.as_bytes() == cell)
    }

    fn number(&self, cell: &[u8], dense: &DenseColumn) -> Result<f32, &'static str> {
        if !self.is_missing(cell) {
            return parse_dense(cell, dense.transform);
        }
        transform(dense.missing.ok_or(NO_NUMBER)?, dense.transform)
    }

    fn categories(
        &self,
        cell: &[u8],
        field: &FieldColumn,
        f: usize,
        row: &mut Row,
    ) -> Result<(), &'static str> {
        let is_missing = self.is_missing(cell);
        match (field.kind, field.missing) {
            (FieldKind::Cell(_) | FieldKind::Bag(..), OnMissing::Category) if is_missing => {
                row.add(f, MISSING);
            }
            (FieldKind::Cell(_), OnMissing::Refuse) if is_missing => return Err(NO_CATEGORY),
            (FieldKind::Cell(kind), _) => row.add(f, parse_cell(cell, kind)?),
            (FieldKind::Bag(kind, separator), _) => {
                row.keys[f] = 0;
                if is_missing {
                    return Ok(());
                }
                for part in cell.split(|&byte| byte == separator) {
                    if part.is_empty() {
                        return Err("a category between any two separators");
                    }
                    row.add(f, parse_cell(part, kind)?);
                }
            }
            // Other readers'.
            (FieldKind::Feature | FieldKind::FeatureBag | FieldKind::Attribute(_), _) => {}
        }
        Ok(())
    }
}

impl Cells<'_> {
    /// The cell of a used column.
    fn used(&self, used: usize) -> &Cell<'_> {
        &self.all[self.header.places[used]]
    }

    /// The error of a used column's cell, of which `name` is made.
    fn error_of(&self, (used, expected): Wrong, name: &str) -> DataError {
        self.error(self.header.places[used], Some(name), expected)
    }

    fn error(&self, column: usize, made: Option<&str>, expected: &'static str) -> DataError {
        let names = &self.header.names;
        let header = names.get(column).map_or("beyond the header", |name| name);
        let cell = &self.all[column];
        let place = self.place(cell.line);
        let found = cell.unquoted(&mut Vec::new()).to_vec();
        match made.filter(|made| *made != header) {
            Some(made) => {
                let name = format!("{header}`, for `{made}");
                place.cell_error(column, &name, expected, &found)
            }
            None => place.cell_error(column, header, expected, &found),
        }
    }

    fn count(&self, line: u64) -> DataError {
        let (names, found) = (&self.header.names, self.all.len());
        let missing = names.get(found).map(|name| [name, ""]);
        self.place(line).column_count(names.len(), found, missing)
    }

    fn place(&self, line: u64) -> Place<'_> {
        Place {
            path: self.path,
            line,
        }
    }
}
