//! One line of cells between tabs, or of libFM features between spaces.

use super::cell::{
    hex8_cell, integer_cell, parse_bucket, parse_dense, parse_feature, parse_hex, transformed,
};
use super::chunks::Chunk;
use super::label::{parse_label, parse_signed_label};
use super::row::Row;
use super::text::{Place, lines};
use super::{BadRow, Rows};
use crate::{CellKind, DataError, FeatureValues, FieldKind, Format, Recipe, Transform};

/// What a column is to a row.
#[derive(Clone, Copy)]
enum Role {
    Unused,
    Label,
    SignedLabel,
    Dense(usize, Transform),
    Hex(usize),
    Bucket(usize),
    Feature(usize, FeatureValues),
}

/// Parses lines as a recipe says.
pub struct LineParser<'a> {
    recipe: &'a Recipe,
    roles: Vec<Role>,
    separator: u8,
}

impl<'a> LineParser<'a> {
    pub fn new(recipe: &'a Recipe) -> Self {
        let (separator, label, values) = match recipe.format {
            Format::Libfm(values) => (b' ', Role::SignedLabel, values),
            _ => (b'\t', Role::Label, FeatureValues::One),
        };
        let mut roles = vec![Role::Unused; recipe.n_columns];
        roles[recipe.label.index] = label;
        for (i, dense) in recipe.dense.iter().enumerate() {
            roles[dense.column.index] = Role::Dense(i, dense.transform);
        }
        for (i, field) in recipe.fields.iter().enumerate() {
            roles[field.column.index] = match field.kind {
                FieldKind::Cell(CellKind::Hex) => Role::Hex(i),
                FieldKind::Cell(CellKind::Bucket) => Role::Bucket(i),
                FieldKind::Feature => Role::Feature(i, values),
                // Other readers'.
                _ => Role::Unused,
            };
        }
        Self {
            recipe,
            roles,
            separator,
        }
    }

    /// All good rows of a chunk, and what was wrong with the others; stops at the `most`-th bad row.
    pub fn parse(&self, chunk: &Chunk, most: u64) -> (Rows, Vec<BadRow>) {
        let mut row = Row::of(self.recipe);
        // A good line takes a byte for each column, so that a file of line ends reserves little.
        let n = (chunk.n_rows as usize).min(chunk.bytes.len() / self.recipe.n_columns + 1);
        let (mut rows, mut bad) = (row.empty(n, chunk.file), Vec::new());
        for (i, text) in lines(&chunk.bytes).enumerate() {
            let place = Place {
                path: &chunk.path,
                line: chunk.first_line + i as u64,
            };
            // Some writers of libFM end every line with a space.
            let text = match self.separator {
                b' ' => text.trim_ascii_end(),
                _ => text,
            };
            match self.parse_line(text, place, &mut row) {
                Ok(()) => row.append_to(&mut rows, chunk.first_index + i as u64),
                Err(error) => bad.push(error.into()),
            }
            if bad.len() as u64 >= most {
                break;
            }
        }
        (rows, bad)
    }

    fn parse_line(&self, text: &[u8], place: Place<'_>, row: &mut Row) -> Result<(), DataError> {
        let Row {
            label, dense, keys, ..
        } = row;
        let mut rest = Some(text);
        for (column, role) in self.roles.iter().enumerate() {
            let Some(line) = rest else {
                return Err(self.column_count(text, place));
            };
            if let Role::Dense(i, transform) = *role
                && let Some((integer, behind)) = integer_cell(line)
            {
                (dense[i], rest) = (transformed(integer, transform), behind);
                continue;
            }
            if let Role::Hex(i) = *role
                && let Some((key, behind)) = hex8_cell(line)
            {
                (keys[i], rest) = (key.into(), behind);
                continue;
            }
            let end = memchr::memchr(self.separator, line);
            let cell = &line[..end.unwrap_or(line.len())];
            rest = end.map(|end| &line[end + 1..]);
            let error = |expected| self.bad_cell(text, place, column, expected, cell);
            match *role {
                Role::Unused => {}
                Role::Label => *label = parse_label(cell).map_err(error)?,
                Role::SignedLabel => *label = parse_signed_label(cell).map_err(error)?,
                Role::Feature(i, values) => keys[i] = parse_feature(cell, values).map_err(error)?,
                Role::Dense(i, transform) => {
                    dense[i] = parse_dense(cell, transform).map_err(error)?
                }
                Role::Hex(i) => keys[i] = parse_hex(cell).map_err(error)?,
                Role::Bucket(i) => keys[i] = parse_bucket(cell).map_err(error)?,
            }
        }
        if rest.is_some() {
            Err(self.column_count(text, place))
        } else {
            Ok(())
        }
    }

    /// The error of a cell; in a line with other columns than the recipe's, that is the cause.
    fn bad_cell(
        &self,
        text: &[u8],
        place: Place<'_>,
        column: usize,
        expected: &'static str,
        cell: &[u8],
    ) -> DataError {
        if self.n_columns(text) == self.recipe.n_columns {
            place.cell_error(column, self.recipe.name_of(column), expected, cell)
        } else {
            self.column_count(text, place)
        }
    }

    fn column_count(&self, text: &[u8], place: Place<'_>) -> DataError {
        let (found, expected) = (self.n_columns(text), self.recipe.n_columns);
        let missing = (found < expected).then(|| [self.recipe.name_of(found), ""]);
        place.column_count(expected, found, missing)
    }

    fn n_columns(&self, text: &[u8]) -> usize {
        1 + memchr::memchr_iter(self.separator, text).count()
    }
}
