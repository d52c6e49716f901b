//! How fast files answer lookups.

use std::path::Path;
use std::time::{Duration, Instant};

use slimbed_compact::{Artefact, Output, Scratch, Table};
use slimbed_data::{Batch, BatchOptions, Dataset, Order, Split};
use slimbed_eval::LookupRates;

use crate::TrainError;
use crate::scoring::bags;

/// Samples of a batch, and batches of a pass at most.
const BATCH: usize = 2048;
const BATCHES: usize = 64;

/// The files take turns so often, this long each.
const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_millis(40);

/// Looks up the ids of the test split, up to 131,072 samples, in two mapped files on one thread; medians of 5
/// turns of 40 ms or one pass, after one pass to warm up.
///
/// # Errors
/// When a file is damaged, or the ids are no rows of its tables.
pub fn lookup_rates(files: [&Path; 2], dataset: &Dataset) -> Result<LookupRates, TrainError> {
    let options = BatchOptions {
        batch_size: BATCH,
        order: Order::Sequential,
        start_batch: 0,
        prefetch: 2,
    };
    let batches = dataset.batches(Split::Test, options)?.take(BATCHES);
    let batches: Vec<Batch> = batches.collect::<Result<_, _>>()?;
    let [before, after] = files.map(Artefact::open);
    let (before, after) = (before?, after?);
    let mut sides = [before.tables()?, after.tables()?].map(Side::new);
    for side in &mut sides {
        side.pass(&batches)?;
    }
    for _ in 0..ROUNDS {
        for side in &mut sides {
            side.turn(&batches)?;
        }
    }
    // Each id is looked up in every table of its field.
    let n_tables = sides[0].tables.len() / dataset.fields().len().max(1);
    let n_ids = batches.iter().flat_map(|batch| &batch.fields);
    let n_ids: usize = n_ids.map(|field| field.ids.len()).sum::<usize>() * n_tables;
    let [before, after] = sides.map(|side| n_ids as f64 / side.median());
    Ok(LookupRates {
        n_ids: n_ids as u64,
        per_s_before: before,
        per_s: after,
    })
}

/// The tables of one file.
struct Side<'a> {
    tables: Vec<Table<'a>>,
    out: Vec<f32>,
    scratch: Scratch,
    /// Seconds for a pass, of each turn.
    turns: Vec<f64>,
}

impl<'a> Side<'a> {
    fn new(tables: Vec<Table<'a>>) -> Self {
        let widest = tables.iter().map(Table::dim).max().unwrap_or(0);
        Self {
            tables,
            out: vec![0.0; BATCH * widest],
            scratch: Scratch::default(),
            turns: Vec::new(),
        }
    }

    fn pass(&mut self, batches: &[Batch]) -> Result<(), TrainError> {
        for batch in batches {
            let bags = bags(batch);
            // First-order weights are tables of the same ids behind the others.
            for (table, bags) in self.tables.iter().zip(bags.iter().cycle()) {
                let out = Output::rows(&mut self.out, table.dim());
                let looked_up = table.lookup(bags, out, &mut self.scratch);
                looked_up.map_err(|e| TrainError::DataShape {
                    what: "ids",
                    expected: "rows of the table".into(),
                    found: e.to_string(),
                })?;
                std::hint::black_box(&self.out);
            }
        }
        Ok(())
    }

    fn turn(&mut self, batches: &[Batch]) -> Result<(), TrainError> {
        let (start, mut n) = (Instant::now(), 0);
        while n == 0 || start.elapsed() < TURN {
            self.pass(batches)?;
            n += 1;
        }
        self.turns
            .push(start.elapsed().as_secs_f64() / f64::from(n));
        Ok(())
    }

    fn median(mut self) -> f64 {
        self.turns.sort_by(f64::total_cmp);
        self.turns[ROUNDS / 2]
    }
}
