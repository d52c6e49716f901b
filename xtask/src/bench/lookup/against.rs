//! `--against torch`: our tables and PyTorch's in turns.

use indicatif::ProgressBar;
use slimbed_compact::{Encoder, Prefer, Rows, TableStats, Values};

use super::agreement::Tolerance;
use super::cases::{Case, Plan, RowCount};
use super::report::{Both, CaseReport, Subject};
use super::sides::Reader;
use super::streams::Stream;
use super::tables::{Stored, full};
use super::torch::{Held, Torch};
use super::{Bench, report_case};

/// Measures all cases of `plan`.
///
/// # Errors
/// When the sides look up different vectors, or one fails.
pub fn run(plan: &Plan, torch: &mut Torch, bench: &Bench, bar: &ProgressBar) -> anyhow::Result<()> {
    for &n_rows in &plan.rows {
        let streams = bench.streams(plan, &bench.places(n_rows));
        for &dim in &plan.dims {
            for &values in &plan.values {
                bar.set_message(format!("a table of {n_rows} x {dim} {}", values.name()));
                let pair = Pair {
                    ours: ours(n_rows, dim, values, bench)?,
                    theirs: torch.hold(n_rows, dim, values)?,
                };
                for stream in &streams {
                    let case = Case {
                        rows: RowCount(n_rows),
                        dim,
                        bag: stream.bag,
                        ids: stream.kind,
                        values,
                    };
                    bar.set_message(case.to_string());
                    let report = pair.measure(case, stream, torch, bench)?;
                    report_case(bar, bench.output, &report)?;
                }
            }
        }
    }
    Ok(())
}

fn ours(n_rows: usize, dim: usize, values: Values, bench: &Bench) -> anyhow::Result<Stored> {
    let all = full(n_rows, dim);
    let rows = Rows::new(&all, dim)?;
    let encoder = Encoder {
        values,
        prefer: Prefer::Speed,
    };
    let encoding = encoder.choose(&TableStats::of(rows)).taken.encoding;
    Stored::new(bench.folder.path(), rows, encoding, bench.pages)
}

/// The same table on both sides.
struct Pair {
    ours: Stored,
    theirs: Held,
}

impl Pair {
    fn measure(
        &self,
        case: Case,
        stream: &Stream,
        torch: &mut Torch,
        bench: &Bench,
    ) -> anyhow::Result<CaseReport> {
        let form = torch.take(stream)?;
        let mut ours = Reader::new(self.ours.table()?, stream, bench.n_threads);
        let tolerance = Tolerance::new(case.values, stream.bag);
        let (difference, rounds) = bench.effort.compare(&mut ours, torch, tolerance)?;
        let subject = Subject {
            case: case.to_string(),
            against: torch.version.clone(),
            order: bench.order,
            threads: bench.n_threads,
            form: Both {
                ours: self.ours.encoding.name(),
                theirs: form,
            },
            bytes: Both {
                ours: self.ours.n_bytes(),
                theirs: self.theirs.n_bytes,
            },
            pages: Both {
                ours: self.ours.pages(),
                theirs: torch.pages(&self.theirs),
            },
        };
        Ok(CaseReport::new(subject, difference, rounds))
    }
}
