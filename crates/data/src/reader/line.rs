//! One line of tab-separated text.

use std::path::Path;

use super::Rows;
use super::cell::{hex8_cell, integer_cell, parse_dense, parse_key, parse_label, transformed};
use super::chunks::Chunk;
use crate::{DataError, FieldKind, Recipe, Transform};

/// What a column is to a row.
#[derive(Clone, Copy)]
enum Role {
    Unused,
    Label,
    Dense(usize, Transform),
    Field(usize, FieldKind),
}

/// Parses lines as a recipe says.
pub struct LineParser<'a> {
    recipe: &'a Recipe,
    roles: Vec<Role>,
}

/// Where a line stands, for messages.
struct Place<'a> {
    path: &'a Path,
    line: u64,
}

impl<'a> LineParser<'a> {
    pub fn new(recipe: &'a Recipe) -> Self {
        let mut roles = vec![Role::Unused; recipe.n_columns];
        roles[recipe.label.index] = Role::Label;
        for (i, dense) in recipe.dense.iter().enumerate() {
            roles[dense.column.index] = Role::Dense(i, dense.transform);
        }
        for (i, field) in recipe.fields.iter().enumerate() {
            roles[field.column.index] = Role::Field(i, field.kind);
        }
        Self { recipe, roles }
    }

    /// All good rows of a chunk, and what was wrong with the others; stops at the `most`-th bad row.
    pub fn parse(&self, chunk: &Chunk, most: u64) -> (Rows, Vec<DataError>) {
        let (mut rows, mut errors) = (self.empty(chunk), Vec::new());
        let mut label = 0;
        let mut dense = vec![0.0; self.recipe.dense.len()];
        let mut keys = vec![0; self.recipe.fields.len()];
        for (i, text) in lines(&chunk.bytes).enumerate() {
            let place = Place {
                path: &chunk.path,
                line: chunk.first_line + i as u64,
            };
            match self.parse_line(text, &place, &mut label, &mut dense, &mut keys) {
                Ok(()) => {
                    rows.lines.push(chunk.first_index + i as u64);
                    rows.labels.push(label);
                    rows.dense.extend_from_slice(&dense);
                    rows.keys.extend_from_slice(&keys);
                }
                Err(error) => errors.push(error),
            }
            if errors.len() as u64 >= most {
                break;
            }
        }
        (rows, errors)
    }

    /// No rows, with room for those of a chunk.
    fn empty(&self, chunk: &Chunk) -> Rows {
        // A good line takes a byte for each column, so that a file of line ends reserves little.
        let n = (chunk.n_lines as usize).min(chunk.bytes.len() / self.recipe.n_columns + 1);
        Rows {
            lines: Vec::with_capacity(n),
            labels: Vec::with_capacity(n),
            dense: Vec::with_capacity(n * self.recipe.dense.len()),
            keys: Vec::with_capacity(n * self.recipe.fields.len()),
        }
    }

    fn parse_line(
        &self,
        text: &[u8],
        place: &Place<'_>,
        label: &mut u8,
        dense: &mut [f32],
        keys: &mut [u64],
    ) -> Result<(), DataError> {
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
            if let Role::Field(i, FieldKind::Hex) = *role
                && let Some((key, behind)) = hex8_cell(line)
            {
                (keys[i], rest) = (key.into(), behind);
                continue;
            }
            let end = memchr::memchr(b'\t', line);
            let cell = &line[..end.unwrap_or(line.len())];
            rest = end.map(|end| &line[end + 1..]);
            let error = |expected| self.bad_cell(text, place, column, expected, cell);
            match *role {
                Role::Unused => {}
                Role::Label => *label = parse_label(cell).map_err(error)?,
                Role::Dense(i, transform) => {
                    dense[i] = parse_dense(cell, transform).map_err(error)?
                }
                Role::Field(i, kind) => keys[i] = parse_key(cell, kind).map_err(error)?,
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
        place: &Place<'_>,
        column: usize,
        expected: &'static str,
        cell: &[u8],
    ) -> DataError {
        if n_columns(text) == self.recipe.n_columns {
            self.cell_error(place, column, expected, cell)
        } else {
            self.column_count(text, place)
        }
    }

    fn column_count(&self, text: &[u8], place: &Place<'_>) -> DataError {
        let found = n_columns(text);
        let expected = self.recipe.n_columns;
        let missing = if found < expected {
            format!(
                "; column {} (`{}`) is missing",
                found + 1,
                self.recipe.name_of(found)
            )
        } else {
            String::new()
        };
        let path = place.path.to_owned();
        DataError::ColumnCount {
            path,
            line: place.line,
            expected,
            found,
            missing,
        }
    }

    fn cell_error(
        &self,
        place: &Place<'_>,
        column: usize,
        expected: &'static str,
        cell: &[u8],
    ) -> DataError {
        DataError::Cell {
            path: place.path.to_owned(),
            line: place.line,
            column: column + 1,
            name: self.recipe.name_of(column).to_owned(),
            expected,
            found: shortened(cell),
        }
    }
}

/// The lines of a chunk without `\n` and `\r\n`.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut rest = (!bytes.is_empty()).then_some(body);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = memchr::memchr(b'\n', text);
        rest = end.map(|end| &text[end + 1..]);
        let line = &text[..end.unwrap_or(text.len())];
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

fn n_columns(text: &[u8]) -> usize {
    1 + memchr::memchr_iter(b'\t', text).count()
}

fn shortened(cell: &[u8]) -> String {
    const LONGEST: usize = 40;
    let text = String::from_utf8_lossy(cell);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_every_way() {
        let split = |text: &'static str| lines(text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(split("a\nb\n"), [b"a", b"b"]);
        assert_eq!(split("a\r\nb"), [b"a", b"b"]);
        assert_eq!(split("\n\n"), [b"", b""]);
        assert_eq!(split("\n"), [b""]);
    }

    #[test]
    fn long_cells_are_shortened() {
        assert_eq!(shortened(&[b'x'; 100]).chars().count(), 41);
    }
}
