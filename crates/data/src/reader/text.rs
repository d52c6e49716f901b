//! Lines, and how they are told of in messages.

use std::path::Path;

use crate::DataError;

/// Where a line stands, for messages.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub path: &'a Path,
    /// From 1.
    pub line: u64,
}

impl Place<'_> {
    /// The error of the cell `column` (from 0), which is called `name`.
    pub fn cell_error(
        self,
        column: usize,
        name: &str,
        expected: &'static str,
        cell: &[u8],
    ) -> DataError {
        DataError::Cell {
            path: self.path.to_owned(),
            line: self.line,
            column: column + 1,
            name: name.to_owned(),
            expected,
            found: shortened(cell),
        }
    }

    /// The error of a line of `found` columns; `missing` is the name of the first that is not there, and
    /// what may be added to it.
    pub fn column_count(
        self,
        expected: usize,
        found: usize,
        missing: Option<[&str; 2]>,
    ) -> DataError {
        let missing = missing.map_or_else(String::new, |[name, why]| {
            format!("; column {} (`{name}`) is missing{why}", found + 1)
        });
        DataError::ColumnCount {
            path: self.path.to_owned(),
            line: self.line,
            expected,
            found,
            missing,
        }
    }
}

/// The lines of a chunk without `\n` and `\r\n`.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
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

/// A text in UTF-8, or else in Latin-1.
pub fn lossy(text: &[u8]) -> String {
    let latin1 = || text.iter().map(|&byte| char::from(byte)).collect();
    String::from_utf8(text.to_vec()).unwrap_or_else(|_| latin1())
}

/// The start of a cell, in UTF-8 or else in Latin-1.
pub fn shortened(cell: &[u8]) -> String {
    const LONGEST: usize = 40;
    let text = lossy(cell);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
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

    #[test]
    fn cells_are_utf8_or_latin1() {
        assert_eq!(shortened("Misérables".as_bytes()), "Misérables");
        assert_eq!(shortened(b"Mis\xe9rables"), "Misérables");
    }
}
