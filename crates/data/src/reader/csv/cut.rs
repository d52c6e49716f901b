//! Records and cells as RFC 4180 describes them.
//!
//! A quote opens a quoted cell where it is the cell's first byte. Within, two quotes are one, and separators
//! and line ends are text. Whatever else has a quote is a fault of its record. A record ends at a line end
//! outside quotes, faults or not, so that one bad record does not spoil the next, and so that whoever cuts
//! chunks sees the same records as whoever parses them.

use memchr::{memchr, memchr_iter, memchr2, memrchr};

/// One cell of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell<'a> {
    /// What is between its quotes, or all of it.
    pub text: &'a [u8],
    /// The line on which it begins.
    pub line: u64,
    /// Whether quotes within are doubled.
    quotes: Quotes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quotes {
    None,
    Doubled,
}

/// A quote where none may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The cell, from 0.
    pub column: usize,
    /// What was expected.
    pub expected: &'static str,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The line on which it begins.
    pub line: u64,
    /// Lines that it takes.
    pub n_lines: u64,
    /// The first fault.
    pub fault: Option<Fault>,
}

/// Cuts bytes that begin and end with whole records.
pub struct Cutter<'a> {
    rest: &'a [u8],
    line: u64,
    separator: u8,
}

/// A cell, what is wrong with it, and whether the record goes on.
type Cut<'a> = (Cell<'a>, Option<&'static str>, Behind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    Cell,
    Record,
}

const STRAY: &str = "no quote within a cell that does not begin with one";
const BEHIND: &str = "a separator or line end behind the closing quote";
const OPEN: &str = "a closing quote before the end of the file";

impl<'a> Cell<'a> {
    /// The cell's text; `room` is used where doubled quotes have to become single ones.
    pub fn unquoted<'r>(&self, room: &'r mut Vec<u8>) -> &'r [u8]
    where
        'a: 'r,
    {
        if self.quotes == Quotes::None {
            return self.text;
        }
        room.clear();
        let mut is_second = false;
        room.extend(self.text.iter().filter(|&&byte| {
            is_second = byte == b'"' && !is_second;
            byte != b'"' || is_second
        }));
        room
    }
}

impl<'a> Cutter<'a> {
    /// `line` is the number of the first line of `bytes`.
    pub fn new(bytes: &'a [u8], line: u64, separator: u8) -> Self {
        Self {
            rest: bytes,
            line,
            separator,
        }
    }

    /// Cuts the next record into `cells`; `None` at the end.
    pub fn record(&mut self, cells: &mut Vec<Cell<'a>>) -> Option<Record> {
        cells.clear();
        if self.rest.is_empty() {
            return None;
        }
        let (line, mut fault) = (self.line, None);
        loop {
            let (cell, problem, behind) = self.cell();
            let column = cells.len();
            fault = fault.or(problem.map(|expected| Fault { column, expected }));
            cells.push(cell);
            if behind == Behind::Record {
                break;
            }
        }
        self.line += 1;
        let n_lines = self.line - line;
        Some(Record {
            line,
            n_lines,
            fault,
        })
    }

    /// What has not been cut yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn cell(&mut self) -> Cut<'a> {
        match self.rest.strip_prefix(b"\"") {
            Some(behind) => self.quoted(behind),
            None => {
                let (text, behind) = self.plain();
                let problem = memchr(b'"', text).map(|_| STRAY);
                (self.made(text, Quotes::None), problem, behind)
            }
        }
    }

    fn made(&self, text: &'a [u8], quotes: Quotes) -> Cell<'a> {
        Cell {
            text,
            line: self.line,
            quotes,
        }
    }

    /// Takes what stands before the next separator or line end.
    fn plain(&mut self) -> (&'a [u8], Behind) {
        let end = memchr2(self.separator, b'\n', self.rest).unwrap_or(self.rest.len());
        let (text, ended) = self.rest.split_at(end);
        self.rest = ended.get(1..).unwrap_or_default();
        if ended.first() == Some(&self.separator) {
            return (text, Behind::Cell);
        }
        (text.strip_suffix(b"\r").unwrap_or(text), Behind::Record)
    }

    /// Takes a cell whose opening quote stands before `inner`.
    fn quoted(&mut self, inner: &'a [u8]) -> Cut<'a> {
        let Some(end) = closing(inner) else {
            let cell = self.made(inner, Quotes::Doubled);
            let body = inner.strip_suffix(b"\n").unwrap_or(inner);
            self.line += memchr_iter(b'\n', body).count() as u64;
            self.rest = &[];
            return (cell, Some(OPEN), Behind::Record);
        };
        let text = &inner[..end];
        let quotes = match memchr(b'"', text) {
            None => Quotes::None,
            Some(_) => Quotes::Doubled,
        };
        let cell = self.made(text, quotes);
        self.line += memchr_iter(b'\n', text).count() as u64;
        self.rest = &inner[end + 1..];
        let (more, behind) = self.plain();
        (cell, (!more.is_empty()).then_some(BEHIND), behind)
    }
}

/// The quote that closes a quoted cell: the first that is not doubled.
fn closing(inner: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let quote = from + memchr(b'"', &inner[from..])?;
        if inner.get(quote + 1) != Some(&b'"') {
            return Some(quote);
        }
        from = quote + 2;
    }
}

/// Where the last record that ends within `bytes` does, and how many records that is.
pub fn whole_records(bytes: &[u8], separator: u8) -> (usize, u64) {
    let (mut at, mut end, mut n) = (0, 0, 0);
    loop {
        let open = opening(bytes, at, separator);
        let plain = &bytes[at..open.unwrap_or(bytes.len())];
        if let Some(last) = memrchr(b'\n', plain) {
            end = at + last + 1;
            n += memchr_iter(b'\n', plain).count() as u64;
        }
        let inner = open.map(|open| open + 1);
        match inner.and_then(|inner| Some(inner + closing(&bytes[inner..])?)) {
            Some(close) => at = close + 1,
            None => return (end, n),
        }
    }
}

/// The next quote from `at` on, outside quotes, that is the first byte of a cell.
fn opening(bytes: &[u8], at: usize, separator: u8) -> Option<usize> {
    let mut quotes = memchr_iter(b'"', &bytes[at..]).map(|quote| at + quote);
    quotes.find(|&quote| {
        let before = quote.checked_sub(1).map(|before| bytes[before]);
        before.is_none_or(|before| before == separator || before == b'\n')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of the cells, number of lines and column of the fault of each record.
    fn cut(text: &str) -> Vec<(Vec<String>, u64, Option<usize>)> {
        let mut cutter = Cutter::new(text.as_bytes(), 1, b',');
        let (mut all, mut cells, mut room) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(record) = cutter.record(&mut cells) {
            let mut text =
                |cell: &Cell<'_>| String::from_utf8(cell.unquoted(&mut room).to_vec()).unwrap();
            let texts = cells.iter().map(&mut text).collect();
            let fault = record.fault.map(|fault| fault.column);
            all.push((texts, record.n_lines, fault));
        }
        all
    }

    fn good(cells: &[&str], n_lines: u64) -> (Vec<String>, u64, Option<usize>) {
        let texts = cells.iter().map(|cell| (*cell).to_owned()).collect();
        (texts, n_lines, None)
    }

    #[test]
    fn cells_are_those_of_the_rfc() {
        assert_eq!(cut("a,b\r\n\n"), [good(&["a", "b"], 1), good(&[""], 1)]);
        assert_eq!(cut("a,"), [good(&["a", ""], 1)]);
        let quoted = "\"a,\n\"\"b\"\"\",\"\"\r\n\"\"\"\",c";
        let expected = [good(&["a,\n\"b\"", ""], 2), good(&["\"", "c"], 1)];
        assert_eq!(cut(quoted), expected);
        assert_eq!(cut("\"a\r\nb\"\n"), [good(&["a\r\nb"], 2)]);
    }

    #[test]
    fn faults_spoil_one_record() {
        let faults = |text| cut(text).into_iter().map(|cut| cut.2).collect::<Vec<_>>();
        assert_eq!(faults("a,b\"c\nd,e\n"), [Some(1), None]);
        assert_eq!(faults("\"a\"b,c\nd,e\n"), [Some(0), None]);
        assert_eq!(faults("\"a\" ,\"c\"\nd,e\n"), [Some(0), None]);
        assert_eq!(cut("a,\"b\nc,d\n")[0].1, 2);
        assert_eq!(faults("a,\"b\nc,d\n"), [Some(1)]);
    }

    #[test]
    fn lines_are_counted_within_cells() {
        let mut cutter = Cutter::new(b"\"a\n\",b\nc\n", 5, b',');
        let mut cells = Vec::new();
        let record = cutter.record(&mut cells).unwrap();
        assert_eq!((record.line, record.n_lines), (5, 2));
        assert_eq!((cells[0].line, cells[1].line), (5, 6));
        assert_eq!(cutter.record(&mut cells).unwrap().line, 7);
        assert!(cutter.rest().is_empty() && cutter.record(&mut cells).is_none());
    }

    #[test]
    fn chunks_end_where_records_do() {
        let alphabet = ["a", ",", "\"", "\n", "\r\n", "\"\""];
        // All texts of six parts.
        for code in 0..alphabet.len().pow(6) {
            let parts = (0..6).map(|i| alphabet[code / alphabet.len().pow(i) % alphabet.len()]);
            let text: String = parts.collect();
            let (end, n) = whole_records(text.as_bytes(), b',');
            let whole = cut(&text[..end]);
            assert_eq!(whole.len() as u64, n, "{text:?}");
            // What is cut at once is what is cut in two parts.
            let rest = cut(&text[end..]);
            assert_eq!([whole, rest].concat(), cut(&text), "{text:?}");
        }
    }
}
