//! One line of tab-separated text.

use std::path::Path;

use super::chunks::Chunk;
use super::{MISSING, Rows};
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

    /// All good rows of a chunk, and what was wrong with the others.
    pub fn parse(&self, chunk: &Chunk) -> (Rows, Vec<DataError>) {
        let (mut rows, mut errors) = (Rows::default(), Vec::new());
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
        }
        (rows, errors)
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

fn parse_label(cell: &[u8]) -> Result<u8, &'static str> {
    match cell {
        b"0" => Ok(0),
        b"1" => Ok(1),
        _ => Err("a label, 0 or 1"),
    }
}

fn parse_dense(cell: &[u8], transform: Transform) -> Result<f32, &'static str> {
    let value = if cell.is_empty() {
        0.0
    } else {
        parse_number(cell)?
    };
    let value = match transform {
        Transform::Log1p => value.max(0.0).ln_1p(),
        Transform::Identity => value,
    };
    let value = value as f32;
    if value.is_finite() {
        Ok(value)
    } else {
        Err("a number that 32 bits can hold")
    }
}

fn parse_number(cell: &[u8]) -> Result<f64, &'static str> {
    const EXPECTED: &str = "a number";
    if let Some(integer) = small_integer(cell) {
        return Ok(f64::from(integer));
    }
    let text = std::str::from_utf8(cell).map_err(|_| EXPECTED)?;
    text.parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
        .ok_or(EXPECTED)
}

/// The value of up to 9 digits with or without a minus sign: most cells of most files.
fn small_integer(cell: &[u8]) -> Option<i32> {
    let digits = cell.strip_prefix(b"-").unwrap_or(cell);
    if digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0, |value, &digit| value * 10 + i32::from(digit - b'0'));
    Some(if digits.len() < cell.len() {
        -value
    } else {
        value
    })
}

fn parse_key(cell: &[u8], kind: FieldKind) -> Result<u64, &'static str> {
    if cell.is_empty() {
        return Ok(MISSING);
    }
    match kind {
        FieldKind::Hex => parse_hex(cell).map(u64::from),
        FieldKind::Bucket => Ok(bucket(parse_number(cell)?) as u64),
    }
}

fn parse_hex(cell: &[u8]) -> Result<u32, &'static str> {
    if cell.len() > 8 {
        return Err("a category of up to 8 hexadecimal digits (32 bits)");
    }
    cell.iter().try_fold(0u32, |value, &digit| {
        let digit = char::from(digit).to_digit(16);
        Ok(value << 4 | digit.ok_or("a category of hexadecimal digits")?)
    })
}

/// PEP's bucket of a number.
fn bucket(value: f64) -> i64 {
    if value > 2.0 {
        value.ln().powi(2).floor() as i64
    } else {
        // The smallest integer is the key of an empty cell.
        ((value.floor() - 2.0) as i64).max(i64::MIN + 1)
    }
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
    fn numbers_and_keys() {
        assert_eq!(parse_dense(b"", Transform::Log1p), Ok(0.0));
        assert_eq!(parse_dense(b"-3", Transform::Log1p), Ok(0.0));
        assert_eq!(
            parse_dense(b"1", Transform::Log1p),
            Ok(std::f32::consts::LN_2)
        );
        assert_eq!(parse_dense(b"-2.5e1", Transform::Identity), Ok(-25.0));
        assert_eq!(
            parse_dense(b"12345678901", Transform::Identity),
            Ok(12_345_678_901.0)
        );
        for bad in [
            &b"x"[..],
            b"1x",
            b"nan",
            b"inf",
            b"-",
            b"\xff",
            b" 1",
            b"1e39",
        ] {
            assert!(parse_dense(bad, Transform::Identity).is_err());
        }
        assert_eq!(parse_hex(b"ff0000Ab"), Ok(0xff00_00ab));
        assert!(parse_hex(b"12g4").is_err() && parse_hex(b"123456789").is_err());
        assert_eq!(parse_key(b"", FieldKind::Hex), Ok(MISSING));
        assert_eq!(parse_key(b"0", FieldKind::Hex), Ok(0));
    }

    #[test]
    fn buckets_are_peps() {
        let cases = [
            (3.0, 1),
            (100.0, 21),
            (2.0, 0),
            (1.0, -1),
            (0.0, -2),
            (-2.0, -4),
            (-1e300, i64::MIN + 1),
        ];
        for (value, expected) in cases {
            assert_eq!(bucket(value), expected, "{value}");
        }
    }

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
