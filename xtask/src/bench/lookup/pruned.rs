//! `--pruned`: reduced tables and the dense one in turns, all of them ours.

use indicatif::ProgressBar;
use slimbed_compact::{Encoder, Encoding, Rows, RowsStored, Structure, TableStats, Values};

use super::agreement::Tolerance;
use super::cases::{Case, Plan, RowCount};
use super::report::{Both, CaseReport, Subject};
use super::sides::Reader;
use super::streams::{Places, Stream};
use super::tables::{Reduction, Stored};
use super::{Bench, Preference, report_case};

/// Which reductions, and how they are stored.
#[derive(Clone, Debug)]
pub struct Reductions {
    /// What is left of the tables.
    pub all: Vec<Reduction>,
    /// See [`Reduction::apply`].
    pub power: f64,
    /// What the encoder goes for.
    pub prefer: Preference,
    /// Instead of the encoder's choice.
    pub structures: Vec<(RowsStored, Structure)>,
}

impl Reductions {
    /// Measures all cases of `plan` with all reductions.
    ///
    /// # Errors
    /// When a reduced table gives other vectors than the dense one, or the file system refuses.
    pub fn run(&self, plan: &Plan, bench: &Bench, bar: &ProgressBar) -> anyhow::Result<()> {
        for &n_rows in &plan.rows {
            let places = bench.places(n_rows);
            let streams = bench.streams(plan, &places);
            for &dim in &plan.dims {
                for &reduction in &self.all {
                    let table = self.table(reduction, &places, dim, bench)?;
                    for &values in &plan.values {
                        self.values(&table, values, &streams, bench, bar)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn table(
        &self,
        reduction: Reduction,
        places: &Places,
        dim: usize,
        bench: &Bench,
    ) -> anyhow::Result<Reduced> {
        let values = reduction.apply(places, dim, self.power, bench.seed);
        let rows = Rows::new(&values, dim)?;
        let dense = Stored::new(
            bench.folder.path(),
            rows,
            Encoding::EXACT_DENSE,
            bench.pages,
        )?;
        Ok(Reduced {
            reduction,
            values,
            dim,
            dense,
        })
    }

    fn values(
        &self,
        table: &Reduced,
        values: Values,
        streams: &[Stream],
        bench: &Bench,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let rows = Rows::new(&table.values, table.dim)?;
        for encoding in self.encodings(rows, values) {
            let stored = Stored::new(bench.folder.path(), rows, encoding, bench.pages)?;
            for stream in streams {
                let case = Case {
                    rows: RowCount(rows_of(table)),
                    dim: table.dim,
                    bag: stream.bag,
                    ids: stream.kind,
                    values,
                };
                bar.set_message(format!("{case} {}", table.reduction));
                let report = table.measure(&stored, case, stream, bench)?;
                report_case(bar, bench.output, &report)?;
            }
        }
        Ok(())
    }

    fn encodings(&self, rows: Rows<'_>, values: Values) -> Vec<Encoding> {
        let chosen = self.structures.iter().map(|&(rows, structure)| Encoding {
            rows,
            structure,
            values,
            n_head: 0,
        });
        let chosen: Vec<_> = chosen.collect();
        if !chosen.is_empty() {
            return chosen;
        }
        let encoder = Encoder {
            values,
            prefer: self.prefer.into(),
        };
        vec![encoder.choose(&TableStats::of(rows)).taken.encoding]
    }
}

/// A reduced table and its dense form.
struct Reduced {
    reduction: Reduction,
    values: Vec<f32>,
    dim: usize,
    dense: Stored,
}

fn rows_of(table: &Reduced) -> usize {
    table.values.len() / table.dim
}

impl Reduced {
    fn measure(
        &self,
        stored: &Stored,
        case: Case,
        stream: &Stream,
        bench: &Bench,
    ) -> anyhow::Result<CaseReport> {
        let mut ours = Reader::new(stored.table()?, stream, bench.n_threads);
        let mut theirs = Reader::new(self.dense.table()?, stream, bench.n_threads);
        let tolerance = Tolerance::new(case.values, stream.bag);
        let (difference, rounds) = bench.effort.compare(&mut ours, &mut theirs, tolerance)?;
        let subject = Subject {
            case: format!("{case} {}", self.reduction),
            against: "our dense f32".into(),
            order: bench.order,
            threads: bench.n_threads,
            form: Both {
                ours: stored.encoding.name(),
                theirs: self.dense.encoding.name(),
            },
            bytes: Both {
                ours: stored.n_bytes(),
                theirs: self.dense.n_bytes(),
            },
            pages: Both {
                ours: stored.pages(),
                theirs: self.dense.pages(),
            },
        };
        Ok(CaseReport::new(subject, difference, rounds))
    }
}
