//! Our side of a measurement: the scorer on samples that are in memory.

use std::path::Path;
use std::time::{Duration, Instant};

use slimbed_benches::{KAGGLE_LAYERS, MatrixVectorFloor};
use slimbed_compact::{Artefact, Bags};
use slimbed_score::{Batch, LookupScratch, ScoreError, Scorer, Tables};

use super::super::report::median;
use super::super::{data, workload};
use super::workload::{Floor, ScoreAnswer, ScoreWorkload};

/// Slices of the time; the parts take turns in them, so that all see the same machine.
const SLICES: u32 = 20;

/// Does what the workload says and prints the answer.
///
/// # Errors
/// When a file cannot be read, or scoring fails.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let workload: ScoreWorkload = workload::read(path)?;
    println!("{}", serde_json::to_string(&measure(&workload)?)?);
    Ok(())
}

fn measure(workload: &ScoreWorkload) -> anyhow::Result<ScoreAnswer> {
    let batches = data::read(workload.samples())?;
    let batches: Vec<_> = batches.iter().map(|b| (b, bags(b))).collect();
    let artefact = Artefact::load(&workload.artefact)?;
    let scorer = Scorer::new(&artefact)?;
    let mut out = vec![0.0; workload.batch];
    let mut logits = Vec::new();
    for (batch, bags) in &batches[..workload.n_checked] {
        scorer.logits(&scored(batch, bags), &mut out)?;
        logits.extend_from_slice(&out);
    }
    let score = |i: usize| {
        let (batch, bags) = &batches[i % batches.len()];
        scorer.logits(&scored(batch, bags), &mut out)
    };
    let tables = Tables::new(&artefact, scorer.spec())?;
    let width = workload.model.n_fields * workload.model.dim;
    let mut embeddings = vec![0.0; workload.batch * width];
    let mut scratch = LookupScratch::default();
    let lookup = |i: usize| {
        let (batch, bags) = &batches[i % batches.len()];
        tables.lookup(&scored(batch, bags), &mut embeddings, &mut scratch)
    };
    let (batch_us, floor) = if workload.batch == 1 {
        let (batch_us, floor) = with_floor(workload, score, lookup)?;
        (batch_us, Some(floor))
    } else {
        (alone(workload, score)?, None)
    };
    Ok(ScoreAnswer {
        batch_us,
        logits,
        floor,
        threads: rayon::current_num_threads(),
    })
}

fn bags(batch: &slimbed_data::Batch) -> Vec<Bags<'_>> {
    let fields = batch.fields.iter();
    fields.map(|field| Bags::single(&field.ids)).collect()
}

fn scored<'a>(batch: &'a slimbed_data::Batch, fields: &'a [Bags<'a>]) -> Batch<'a> {
    Batch {
        n: batch.n,
        dense: &batch.dense,
        fields,
    }
}

/// Microseconds for a batch.
fn alone(
    workload: &ScoreWorkload,
    mut score: impl FnMut(usize) -> Result<(), ScoreError>,
) -> anyhow::Result<f64> {
    let mut clock = Clock::default();
    clock.slice(workload.warm_up_seconds, &mut score)?;
    let seconds = workload.seconds / f64::from(SLICES);
    let slices = (0..SLICES).map(|_| clock.slice(seconds, &mut score));
    Ok(median(slices.collect::<Result<_, _>>()?))
}

/// The same, in turns with the least that a sample needs.
fn with_floor(
    workload: &ScoreWorkload,
    mut score: impl FnMut(usize) -> Result<(), ScoreError>,
    mut lookup: impl FnMut(usize) -> Result<(), ScoreError>,
) -> anyhow::Result<(f64, Floor)> {
    let mut products = MatrixVectorFloor::new(&KAGGLE_LAYERS)?;
    let mut multiply = |_| {
        std::hint::black_box(products.run());
        Ok(())
    };
    let mut clocks = [(); 3].map(|()| Clock::default());
    let [scores, multiplies, lookups] = &mut clocks;
    let third = 1.0 / 3.0;
    scores.slice(workload.warm_up_seconds, &mut score)?;
    let seconds = third * workload.seconds / f64::from(SLICES);
    let mut found = [(); 3].map(|()| Vec::new());
    for _ in 0..SLICES {
        // The first calls of a slice find the cache as the slice before left it.
        for (all, us) in found.iter_mut().zip([
            scores.slice(seconds, &mut score)?,
            multiplies.slice(seconds, &mut multiply)?,
            lookups.slice(seconds, &mut lookup)?,
        ]) {
            all.push(us);
        }
    }
    let [batch_us, products_us, lookups_us] = found.map(median);
    let floor = Floor {
        products_us,
        lookups_us,
    };
    Ok((batch_us, floor))
}

/// Counts calls, so that each slice goes on with the batches where the last one stopped.
#[derive(Default)]
struct Clock {
    n_calls: usize,
}

impl Clock {
    /// Calls `work` for so many seconds; microseconds for a call.
    fn slice(
        &mut self,
        seconds: f64,
        work: &mut impl FnMut(usize) -> Result<(), ScoreError>,
    ) -> Result<f64, ScoreError> {
        let (first, start) = (self.n_calls, Instant::now());
        let time = Duration::from_secs_f64(seconds);
        loop {
            // A look at the clock takes a part of a microsecond: one for several calls.
            for _ in 0..16 {
                work(self.n_calls)?;
                self.n_calls += 1;
            }
            if start.elapsed() >= time {
                let n = (self.n_calls - first) as f64;
                return Ok(start.elapsed().as_secs_f64() * 1e6 / n);
            }
        }
    }
}
