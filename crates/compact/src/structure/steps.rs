//! Rows in order of falling length: the first `t` values of each, `t` the same from one row to another.
//!
//! Tables in order of frequency whose prefixes were learned are mostly so. A row that is shorter than one
//! behind it is stored as long as that, with zeros, and so is one whose record would cross cache lines; then
//! lengths are merged upwards until 16 are left. So 16 pairs of words are the whole index: they stay in
//! registers or next to them, and a row is found with one comparison of 16 numbers, a multiplication and no
//! branch.
//!
//! The rows of each step begin at a multiple of 64 bytes. Behind the last one are 64 bytes, where scale and
//! bias of a row that keeps nothing can be read.

use safetensors::tensor::Dtype;

use super::lines::LINE;
use super::{Buffer, Data, Form, Marks, Record, Records, Storage, StoredRow, Tensors, straddles};
use crate::encode::Falling;
use crate::error::FormError;
use crate::lookup::{LANES, Ladder, Lanes, MOST_IN_LINE};
use crate::rows::{Rows, prefix_len};
use crate::values::Values;

const INDEX: &str = ".index";
/// Most steps: what one register holds.
const MOST: usize = LANES;
/// Words of a step in the index: its first row, and the number of values its rows keep.
const WORDS: usize = 2;

/// Rows of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    kept: usize,
    n_rows: usize,
}

impl Span {
    /// Bytes of its rows and what is behind them.
    fn n_bytes(&self, values: Values) -> usize {
        (self.n_rows * values.record_bytes(self.kept)).next_multiple_of(LINE)
    }
}

/// Lengths whose records cross no lines, if they can be had within `dim`, and how many rows have them.
fn lined(falling: &Falling, values: Values, dim: usize) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for &(length, n_rows) in falling.lengths() {
        let mut longer = length..=dim;
        let kept = longer.find(|&t| !straddles(values.record_bytes(t)));
        let kept = kept.unwrap_or(length);
        match spans.last_mut().filter(|last| last.kept == kept) {
            Some(last) => last.n_rows += n_rows,
            None => spans.push(Span { kept, n_rows }),
        }
    }
    spans
}

/// At most 16 lengths: those whose rows are cheapest to make longer are merged with the length before.
fn spans(falling: &Falling, values: Values, dim: usize) -> Vec<Span> {
    let mut spans = lined(falling, values, dim);
    let cost = |pair: &[Span]| {
        let more = values.record_bytes(pair[0].kept) - values.record_bytes(pair[1].kept);
        more * pair[1].n_rows
    };
    while spans.len() > MOST {
        let costs = spans.windows(2).map(cost).enumerate();
        let Some((upper, _)) = costs.min_by_key(|(_, cost)| *cost) else {
            break;
        };
        spans[upper].n_rows += spans.remove(upper + 1).n_rows;
    }
    if spans.is_empty() {
        spans.push(Span { kept: 0, n_rows: 0 });
    }
    spans
}

/// Bytes of index and payload for rows of these lengths.
pub fn n_bytes(falling: &Falling, values: Values, dim: usize) -> usize {
    let spans = spans(falling, values, dim);
    let records: usize = spans.iter().map(|span| span.n_bytes(values)).sum();
    spans.len() * WORDS * size_of::<u32>() + records + LINE
}

/// Index and payload.
pub fn encode<'a>(rows: Rows<'_>, form: Form) -> Vec<Buffer<'a>> {
    let falling = Falling::of(rows.iter().map(prefix_len));
    let spans = spans(&falling, form.values, form.dim);
    let mut index = Vec::with_capacity(spans.len() * WORDS);
    let (mut payload, mut scaled, mut first) = (Vec::new(), Vec::new(), 0);
    for span in &spans {
        index.extend([first as u32, span.kept as u32]);
        for row in rows.iter().skip(first).take(span.n_rows) {
            let kept = form.in_units(&row[..span.kept], &mut scaled);
            form.values.write_record(kept, &mut payload);
        }
        payload.resize(payload.len().next_multiple_of(LINE), 0);
        first += span.n_rows;
    }
    payload.resize(payload.len() + LINE, 0);
    vec![
        Buffer::new(INDEX, &[spans.len(), WORDS], Data::U32(index)),
        Buffer::new("", &[payload.len()], Data::U8(payload)),
    ]
}

/// Rows in order of falling length, opened.
#[derive(Clone, Copy, Debug)]
pub struct Steps<'a> {
    payload: &'a [u8],
    ladder: Ladder,
    straddles: bool,
    lined: bool,
}

impl<'a> Steps<'a> {
    pub fn open(
        tensors: &Tensors<'_, 'a>,
        n_rows: usize,
        values: Values,
        dim: usize,
    ) -> Result<Self, FormError> {
        let index: &[u32] = tensors.words(INDEX, Dtype::U32, &[None, Some(WORDS)])?;
        let index = index.as_chunks::<WORDS>().0;
        check(index, n_rows, dim)?;
        let mut ladder = Ladder::default();
        let (mut end, mut crosses) = (0, false);
        for (s, &[first, kept]) in index.iter().enumerate() {
            let behind = index.get(s + 1).map_or(n_rows, |next| next[0] as usize);
            let row_bytes = values.record_bytes(kept as usize);
            ladder.put(s, (first, end), row_bytes, kept);
            let span = Span {
                kept: kept as usize,
                n_rows: behind - first as usize,
            };
            end += span.n_bytes(values);
            crosses |= straddles(row_bytes);
        }
        // Their words have to be numbers of 32 bits.
        let few = u32::try_from(end / size_of::<u32>()).is_ok();
        let lined = values == Values::F32 && dim <= 64 && !crosses && few;
        debug_assert!(!lined || dim > LANES || index.len() <= MOST_IN_LINE);
        Ok(Self {
            payload: tensors.bytes("", Dtype::U8, &[Some(end + LINE)])?,
            ladder,
            straddles: crosses,
            lined,
        })
    }
}

/// The first step begins with row 0, the others later and later; rows get shorter and shorter.
fn check(index: &[[u32; WORDS]], n_rows: usize, dim: usize) -> Result<(), FormError> {
    let error = |expected: String, found: String| Err(FormError::new(INDEX, expected, found));
    let Some(&[first, longest]) = index.first().filter(|_| index.len() <= MOST) else {
        return error(format!("1 to {MOST} steps"), index.len().to_string());
    };
    if first != 0 || longest as usize > dim {
        let expected = format!("a step of at most {dim} values from row 0 on");
        return error(expected, format!("{:?}", index[0]));
    }
    let in_order = |pair: &&[[u32; WORDS]]| {
        let ([a, longer], [b, shorter]) = (pair[0], pair[1]);
        a < b && (b as usize) < n_rows && shorter < longer
    };
    match index.windows(2).find(|pair| !in_order(pair)) {
        Some(pair) => error(
            format!("rising first rows below {n_rows} of falling lengths"),
            format!("{pair:?}"),
        ),
        None => Ok(()),
    }
}

// SAFETY: `open` has seen that the payload has room for the rows of every step, from a multiple of 64 bytes
// on, and 64 bytes behind them. A row is one of the last step that begins at it or before. A row that keeps
// nothing is where its step begins, at most at those 64 bytes. The payload is a number of whole lines; unless
// a step straddles, records are in one or begin one.
unsafe impl Storage for Steps<'_> {
    const MARKS: Marks = Marks::None;
    const INDIRECT: bool = false;
    const COSTLY: bool = true;
    const LINED: bool = true;

    #[inline(always)]
    fn base(&self) -> *const u8 {
        self.payload.as_ptr()
    }

    #[inline(always)]
    fn straddles(&self) -> bool {
        self.straddles
    }

    #[inline(always)]
    fn prefetch_index(&self, _: u32) {}

    #[inline(always)]
    unsafe fn locate<L: Lanes>(&self, row: u32) -> Record {
        let found = self.ladder.find(row);
        let at = self.payload.as_ptr().wrapping_add(found.start as usize);
        Record::kept(at, found.kept)
    }

    #[inline(always)]
    fn lined(&self) -> bool {
        self.lined
    }

    #[inline(always)]
    unsafe fn locate_block<L: Lanes, const ONE_LINE: bool>(
        &self,
        rows: &[u32; LANES],
        records: &mut Records,
        first: usize,
    ) {
        // SAFETY: said by the caller; rows in one line each have `MOST_IN_LINE` lengths, which falls from step to step.
        unsafe {
            if ONE_LINE {
                L::find_lines(&self.ladder, rows, records, first);
            } else {
                L::find_steps(&self.ladder, rows, records, first);
            }
        }
    }

    fn row(&self, row: u32) -> StoredRow<'_> {
        let s = self.ladder.step(row);
        let start = self.ladder.start(s, row) as usize;
        StoredRow {
            marks: (Marks::None, &[]),
            kept: self.ladder.kept[s] as usize,
            values: &self.payload[start..][..self.ladder.row_bytes[s] as usize],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(kept: usize, n_rows: usize) -> Span {
        Span { kept, n_rows }
    }

    #[test]
    fn lengths_are_raised_until_their_records_cross_no_line() {
        let falling = Falling::of((0..=20).rev());
        let expected = [
            (20, 1),
            (19, 1),
            (18, 1),
            (17, 1),
            (16, 8),
            (8, 4),
            (4, 2),
            (2, 1),
            (1, 1),
            (0, 1),
        ];
        let expected = expected.map(|(kept, n_rows)| span(kept, n_rows));
        assert_eq!(lined(&falling, Values::F32, 20), expected);
        // Scale and bias are 4 bytes of each record.
        let expected = [(12, 8), (4, 4), (0, 1)].map(|(kept, n_rows)| span(kept, n_rows));
        assert_eq!(
            lined(&Falling::of((0..=12).rev()), Values::Int8, 64),
            expected
        );
    }

    #[test]
    fn rows_in_one_line_have_few_lengths() {
        let in_line = (0..=LINE).filter(|&t| {
            let row_bytes = Values::F32.record_bytes(t);
            row_bytes <= LINE && !straddles(row_bytes)
        });
        assert_eq!(in_line.count(), MOST_IN_LINE);
    }

    #[test]
    fn the_cheapest_lengths_are_merged_upwards() {
        // 17 lengths of 1 to 17 lines: the 3 rows of 4 lines become longer.
        let lengths = (1..=17)
            .rev()
            .flat_map(|t| vec![16 * t; if t == 4 { 3 } else { 10 }]);
        let merged = spans(&Falling::of(lengths), Values::F32, 16 * 17);
        assert_eq!(merged.len(), MOST);
        assert!(merged.contains(&span(80, 13)) && merged.contains(&span(48, 10)));
        assert_eq!(spans(&Falling::default(), Values::Int8, 9), [span(0, 0)]);
    }

    #[test]
    fn sizes_are_those_worked_by_hand() {
        // 3 rows of 8 values and 40 of 1: 96 and 160 bytes on whole lines, two steps, a line behind.
        let falling = Falling::of([vec![5; 3], vec![1; 40]].concat().into_iter());
        assert_eq!(n_bytes(&falling, Values::F32, 9), 128 + 192 + 16 + 64);
        // All 43 of 8 values: 8 bytes each.
        assert_eq!(n_bytes(&falling, Values::Int4, 9), 384 + 8 + 64);
    }

    #[test]
    fn steps_that_are_no_steps_are_refused() {
        let refused = |index: &[[u32; WORDS]], expected: &str| {
            let error = check(index, 100, 8).expect_err("no steps");
            assert!(error.expected.contains(expected), "{}", error.expected);
        };
        check(&[[0, 8], [5, 3], [99, 0]], 100, 8).expect("steps");
        refused(&[], "1 to 16 steps");
        refused(&[[0, 1]; 17], "1 to 16 steps");
        refused(&[[1, 8]], "from row 0");
        refused(&[[0, 9]], "at most 8 values");
        refused(&[[0, 8], [100, 3]], "below 100");
        refused(&[[0, 8], [7, 5], [7, 3]], "rising");
        refused(&[[0, 8], [7, 8]], "falling");
    }
}
