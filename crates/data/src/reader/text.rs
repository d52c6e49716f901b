//! Lines, and how they are told of in messages.

use std::path::Path;

/// Where a line stands, for messages.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub path: &'a Path,
    /// From 1.
    pub line: u64,
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

/// The start of a cell, in UTF-8 or else in Latin-1.
pub fn shortened(cell: &[u8]) -> String {
    const LONGEST: usize = 40;
    let latin1 = || cell.iter().map(|&byte| char::from(byte)).collect();
    let text = String::from_utf8(cell.to_vec()).unwrap_or_else(|_| latin1());
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
