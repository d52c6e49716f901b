//! The two sides of a comparison, in turns.

use std::time::Instant;

use anyhow::Context;
use rayon::prelude::*;
use slimbed_compact::{LookupError, Output, Scratch, Table};

use super::agreement::{Difference, Tolerance};
use super::report::Round;
use super::streams::Stream;

/// Batches whose results are compared before anything is timed.
pub const COMPARED: usize = 4;

/// Somebody who has a table and a stream of ids.
pub trait Side {
    /// The pooled vectors of the first [`COMPARED`] batches.
    fn results(&mut self) -> anyhow::Result<Vec<f32>>;

    /// Goes through the stream once without a clock, then again and again until `seconds` are over; returns
    /// rows looked up per second.
    fn rows_per_s(&mut self, seconds: f64) -> anyhow::Result<f64>;
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Measurements of each side.
    pub n_rounds: usize,
    /// Seconds of one.
    pub seconds: f64,
}

impl Effort {
    /// Compares what both sides look up, then times them in turns.
    ///
    /// # Errors
    /// When they differ by more than `tolerance`, or one fails.
    pub fn compare(
        &self,
        ours: &mut dyn Side,
        theirs: &mut dyn Side,
        tolerance: Tolerance,
    ) -> anyhow::Result<(Difference, Vec<Round>)> {
        let difference = tolerance
            .check(&ours.results()?, &theirs.results()?)
            .context("the sides do not look up the same")?;
        let round = |i: usize| {
            // Whoever goes first may find the machine cooler: the order changes.
            let (ours, theirs) = if i.is_multiple_of(2) {
                let ours = ours.rows_per_s(self.seconds)?;
                (ours, theirs.rows_per_s(self.seconds)?)
            } else {
                let theirs = theirs.rows_per_s(self.seconds)?;
                (ours.rows_per_s(self.seconds)?, theirs)
            };
            anyhow::Ok(Round::new(ours, theirs))
        };
        let rounds = (0..self.n_rounds).map(round).collect::<Result<_, _>>()?;
        Ok((difference, rounds))
    }
}

/// Our lookups.
#[derive(Debug)]
pub struct Reader<'a> {
    table: Table<'a>,
    stream: &'a Stream,
    /// The vectors of a batch.
    out: Vec<f32>,
    /// One for each thread: a batch is cut into as many parts.
    scratch: Vec<Scratch>,
}

impl<'a> Reader<'a> {
    /// Reads `table` with `n_threads`, which rayon's pool has.
    pub fn new(table: Table<'a>, stream: &'a Stream, n_threads: usize) -> Self {
        let out = vec![0.0; stream.batch * table.dim()];
        let scratch = vec![Scratch::default(); n_threads];
        Self {
            table,
            stream,
            out,
            scratch,
        }
    }

    fn pass(&mut self) -> Result<(), LookupError> {
        let stream = self.stream;
        stream.batches().try_for_each(|ids| self.look_up(ids))
    }

    fn look_up(&mut self, ids: &[u32]) -> Result<(), LookupError> {
        let (table, stream, dim) = (&self.table, self.stream, self.table.dim());
        let part = |scratch: &mut Scratch, ids: &[u32], out: &mut [f32]| {
            table.lookup(&stream.bags(ids), Output::rows(out, dim), scratch)
        };
        if let [scratch] = self.scratch.as_mut_slice() {
            return part(scratch, ids, &mut self.out);
        }
        let n_bags = stream.batch.div_ceil(self.scratch.len());
        let ids = ids.par_chunks(n_bags * stream.bag);
        let out = self.out.par_chunks_mut(n_bags * dim);
        let parts = self.scratch.par_iter_mut().zip(ids.zip(out));
        parts.try_for_each(|(scratch, (ids, out))| part(scratch, ids, out))
    }

    fn time(&mut self, seconds: f64) -> Result<f64, LookupError> {
        self.pass()?;
        let (mut n_passes, start) = (0, Instant::now());
        loop {
            self.pass()?;
            n_passes += 1;
            let elapsed = start.elapsed().as_secs_f64();
            if elapsed >= seconds {
                return Ok((n_passes * self.stream.n_ids()) as f64 / elapsed);
            }
        }
    }
}

impl Side for Reader<'_> {
    fn results(&mut self) -> anyhow::Result<Vec<f32>> {
        let mut results = Vec::new();
        for ids in self.stream.batches().take(COMPARED) {
            self.look_up(ids)?;
            results.extend_from_slice(&self.out);
        }
        Ok(results)
    }

    fn rows_per_s(&mut self, seconds: f64) -> anyhow::Result<f64> {
        if self.scratch.len() == 1 {
            return Ok(self.time(seconds)?);
        }
        // From a thread of the pool: one outside would wait for the pool at every batch.
        Ok(rayon::scope(|_| self.time(seconds))?)
    }
}
