//! Writes rows as Criteo TSV lines.

use std::io::Write;
use std::sync::mpsc::sync_channel;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bayes::{BayesReport, BayesSums, Outcome};
use super::{Row, SynthError, SynthModel, SynthSpec};

const CHUNK_ROWS: u64 = 1 << 12;
const CHUNKS_PER_BLOCK: u64 = 8;
const BLOCK_ROWS: u64 = CHUNK_ROWS * CHUNKS_PER_BLOCK;

/// What a file holds and the best scores possible on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SynthReport {
    /// The seed of the model.
    pub seed: u64,
    /// The specification of the model.
    pub spec: SynthSpec,
    /// The scores of the true probability on all rows written.
    pub bayes: BayesReport,
}

/// Writes rows `0..n_rows`, one line each, and returns the best scores possible on them.
///
/// A line is the label, the dense columns and the tokens in 8 lower-case hexadecimal digits, separated
/// by tabs, an empty cell being nothing. Lines are made by the threads of the current rayon pool while
/// this thread writes those before them; the bytes do not depend on their number. `progress` is told
/// how many rows are written.
///
/// # Errors
/// [`SynthError::Write`] when `out` fails.
pub fn write_tsv(
    model: &SynthModel,
    n_rows: u64,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<SynthReport, SynthError> {
    let mut sums = BayesSums::new();
    let mut next = make_block(model, 0, n_rows);
    let mut start = 0;
    while start < n_rows {
        let end = n_rows.min(start + BLOCK_ROWS);
        let (sender, receiver) = sync_channel(1);
        let block = std::mem::take(&mut next);
        rayon::in_place_scope(|scope| {
            scope.spawn(move |_| drop(sender.send(make_block(model, end, n_rows))));
            write_block(&block, out, &mut sums)
        })
        .map_err(|source| SynthError::Write { row: start, source })?;
        next = receiver.into_iter().flatten().collect();
        start = end;
        progress(start);
    }
    let flushed = out.flush();
    flushed.map_err(|source| SynthError::Write {
        row: n_rows,
        source,
    })?;
    Ok(SynthReport {
        seed: model.seed().get(),
        spec: model.spec().clone(),
        bayes: sums.report(),
    })
}

/// Lines and what the report needs of them.
type Chunk = (Vec<u8>, Vec<Outcome>);

/// The chunks of the block that begins at row `start`, none at the end.
fn make_block(model: &SynthModel, start: u64, n_rows: u64) -> Vec<Chunk> {
    let end = n_rows.min(start + BLOCK_ROWS);
    let n_chunks = (end - start).div_ceil(CHUNK_ROWS);
    let chunk = |c: u64| {
        let first = start + c * CHUNK_ROWS;
        let rows = first..end.min(first + CHUNK_ROWS);
        let (mut bytes, mut outcomes) = (Vec::new(), Vec::new());
        model.for_rows(rows, &mut Row::default(), |row| {
            push_line(row, &mut bytes);
            outcomes.push(Outcome::of(row));
        });
        (bytes, outcomes)
    };
    (0..n_chunks).into_par_iter().map(chunk).collect()
}

fn write_block(
    block: &[Chunk],
    out: &mut dyn Write,
    sums: &mut BayesSums,
) -> Result<(), std::io::Error> {
    for (bytes, outcomes) in block {
        out.write_all(bytes)?;
        sums.add(outcomes);
    }
    Ok(())
}

fn push_line(row: &Row, bytes: &mut Vec<u8>) {
    bytes.push(b'0' + row.label);
    for cell in &row.dense {
        bytes.push(b'\t');
        cell.iter().for_each(|value| push_integer(*value, bytes));
    }
    for cell in &row.ids {
        bytes.push(b'\t');
        cell.iter().for_each(|token| push_hex(*token, bytes));
    }
    bytes.push(b'\n');
}

fn push_integer(value: i32, bytes: &mut Vec<u8>) {
    if value < 0 {
        bytes.push(b'-');
    }
    let (mut digits, mut start, mut rest) = ([0; 10], 10, value.unsigned_abs());
    while rest > 0 || start == 10 {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    bytes.extend_from_slice(&digits[start..]);
}

fn push_hex(token: u32, bytes: &mut Vec<u8>) {
    let digit = |i: usize| b"0123456789abcdef"[(token >> (28 - 4 * i)) as usize & 15];
    bytes.extend_from_slice(&std::array::from_fn::<u8, 8, _>(digit));
}

#[cfg(test)]
mod tests {
    use super::*;
    use slimbed_rng::Seed;

    fn small() -> SynthModel {
        SynthModel::new(SynthSpec::small(), Seed::new(2)).unwrap()
    }

    fn written(n_rows: u64, n_threads: usize) -> (Vec<u8>, SynthReport, Vec<u64>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads);
        pool.build().unwrap().install(|| {
            let (mut bytes, mut steps) = (Vec::new(), Vec::new());
            let report = write_tsv(&small(), n_rows, &mut bytes, &mut |n| steps.push(n)).unwrap();
            (bytes, report, steps)
        })
    }

    #[test]
    fn integers_and_tokens_print_like_format() {
        for value in [0, 7, 10, -1, -2, 123_456, i32::MAX, i32::MIN] {
            let mut bytes = Vec::new();
            push_integer(value, &mut bytes);
            assert_eq!(bytes, value.to_string().into_bytes());
        }
        for token in [0, 0x68fd_1e64, u32::MAX] {
            let mut bytes = Vec::new();
            push_hex(token, &mut bytes);
            assert_eq!(bytes, format!("{token:08x}").into_bytes());
        }
    }

    #[test]
    fn a_line_has_the_form_of_criteo() {
        let row = Row {
            label: 1,
            dense: vec![Some(-2), None, Some(30)],
            ids: vec![Some(0xa), None],
            ..Row::default()
        };
        let mut bytes = Vec::new();
        push_line(&row, &mut bytes);
        assert_eq!(bytes, b"1\t-2\t\t30\t0000000a\t\n");
    }

    #[test]
    fn bytes_and_report_do_not_depend_on_the_threads() {
        let n = BLOCK_ROWS + CHUNK_ROWS + 5;
        let one = written(n, 1);
        assert_eq!(one, written(n, 3));
        assert_eq!(one.2, [BLOCK_ROWS, n]);
        assert_eq!(one.1.bayes, small().bayes(0..n));
    }

    #[test]
    fn each_line_is_its_row() {
        let (bytes, report, _) = written(9000, 2);
        let lines: Vec<_> = bytes.split_inclusive(|b| *b == b'\n').collect();
        assert_eq!((lines.len(), report.bayes.n_rows), (9000, 9000));
        let (model, mut row) = (small(), Row::default());
        for i in [8999, 0, 4095, 4096, 123] {
            model.row(i, &mut row);
            let mut line = Vec::new();
            push_line(&row, &mut line);
            assert_eq!(lines[i as usize], line);
        }
    }

    #[test]
    fn a_short_file_begins_a_long_one() {
        let (short, long) = (written(100, 2).0, written(5000, 2).0);
        assert_eq!(short, long[..short.len()]);
        assert!(written(0, 1).0.is_empty());
    }

    #[test]
    fn the_report_survives_json() {
        let report = written(100, 1).1;
        let text = serde_json::to_string(&report).unwrap();
        let back: SynthReport = serde_json::from_str(&text).unwrap();
        assert_eq!((back.seed, &back.spec), (report.seed, &report.spec));
        // The reader of floating point numbers may be off by one in the last place.
        let error = back.bayes.auc.unwrap() - report.bayes.auc.unwrap();
        assert!(error.abs() < 1e-12, "{error}");
    }

    #[test]
    fn a_full_disk_is_reported_with_the_row() {
        struct Full(u64);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                if self.0 == 0 {
                    return Err(std::io::ErrorKind::StorageFull.into());
                }
                self.0 -= 1;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut out = Full(CHUNKS_PER_BLOCK + 1);
        let error = write_tsv(&small(), 3 * BLOCK_ROWS, &mut out, &mut |_| {}).unwrap_err();
        let expected = format!("cannot write the rows from row {BLOCK_ROWS}");
        assert_eq!(error.to_string(), expected);
    }
}
