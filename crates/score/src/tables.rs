//! The tables of an artefact: one for each field of its network, or two where ids have first-order weights.

use std::ops::Range;

use slimbed_compact::{Artefact, LookupError, Output, Scratch, Table};

use crate::batch::{check_bags, part};
use crate::{Batch, ModelSpec, ScoreError};

/// An artefact's tables, in the order of its network's fields: those of the embeddings, then, where there are
/// any, those of the first-order weights.
#[derive(Debug)]
pub struct Tables<'a> {
    names: Vec<String>,
    tables: Vec<Table<'a>>,
    n_fields: usize,
    dim: usize,
}

/// Ids of a bag whose rows are asked for in front of all lookups.
const MOST_IDS: usize = 8;

/// What is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Embeddings,
    FirstOrder,
}

/// Memory of one thread for lookups; grown to the largest batch it has seen.
#[derive(Debug, Default)]
pub struct LookupScratch {
    offsets: Vec<u32>,
    scratch: Scratch,
}

impl<'a> Tables<'a> {
    /// Borrows the tables.
    ///
    /// # Errors
    /// When they do not suit the network.
    pub fn new(artefact: &'a Artefact, spec: &ModelSpec) -> Result<Self, ScoreError> {
        let fields = &artefact.manifest().fields;
        let (_, n_fields, dim) = spec.shape();
        let tables = Self {
            tables: artefact.tables()?,
            names: fields.iter().map(|field| field.name.clone()).collect(),
            n_fields,
            dim,
        };
        tables.check_shape(spec)?;
        Ok(tables)
    }

    /// Writes the pooled embeddings of a batch, `[n, fields, dim]`, on the calling thread.
    ///
    /// # Errors
    /// When a length does not fit or an id is no row of its table: names the field and the position.
    pub fn lookup(
        &self,
        batch: &Batch<'_>,
        out: &mut [f32],
        scratch: &mut LookupScratch,
    ) -> Result<(), ScoreError> {
        self.check(batch)?;
        self.lookup_part(Kind::Embeddings, batch, 0..batch.n, out, scratch)
    }

    /// Writes the first-order weights of a batch, `[n, fields]`, on the calling thread; nothing where there are
    /// none.
    ///
    /// # Errors
    /// As [`lookup`](Self::lookup).
    pub fn lookup_first_order(
        &self,
        batch: &Batch<'_>,
        out: &mut [f32],
        scratch: &mut LookupScratch,
    ) -> Result<(), ScoreError> {
        self.check(batch)?;
        self.lookup_part(Kind::FirstOrder, batch, 0..batch.n, out, scratch)
    }

    /// Values that are looked up for a sample.
    pub(crate) fn width(&self, kind: Kind) -> usize {
        let tables = &self.tables[self.range(kind)];
        tables.iter().map(Table::dim).sum()
    }

    /// The tables of one kind.
    fn range(&self, kind: Kind) -> Range<usize> {
        match kind {
            Kind::Embeddings => 0..self.n_fields,
            Kind::FirstOrder => self.n_fields..self.tables.len(),
        }
    }

    /// Checks the number of fields, and that each has a bag for every sample.
    pub(crate) fn check(&self, batch: &Batch<'_>) -> Result<(), ScoreError> {
        if batch.fields.len() != self.n_fields {
            return Err(ScoreError::FieldCount {
                expected: self.n_fields,
                found: batch.fields.len(),
            });
        }
        let mut fields = batch.fields.iter().enumerate();
        fields.try_for_each(|(f, bags)| {
            check_bags(bags, batch.n).map_err(|source| self.error(f, source))
        })
    }

    /// Looks up some samples of a batch that has been checked; positions in errors are those among them.
    pub(crate) fn lookup_part(
        &self,
        kind: Kind,
        batch: &Batch<'_>,
        samples: Range<usize>,
        out: &mut [f32],
        scratch: &mut LookupScratch,
    ) -> Result<(), ScoreError> {
        let (stride, mut start) = (self.width(kind), 0);
        let tables = &self.tables[self.range(kind)];
        if samples.len() == 1 {
            prefetch(tables, batch, samples.start);
        }
        for (f, (table, bags)) in tables.iter().zip(batch.fields).enumerate() {
            let bags = part(bags, samples.clone(), &mut scratch.offsets);
            let out = Output {
                values: out,
                start,
                stride,
            };
            let looked_up = table.lookup(&bags, out, &mut scratch.scratch);
            looked_up.map_err(|source| self.error(f, source))?;
            start += table.dim();
        }
        Ok(())
    }

    /// The first id of the batch, field by field, that is no row of its table.
    pub(crate) fn first_bad_id(&self, batch: &Batch<'_>) -> Option<ScoreError> {
        let mut fields = batch.fields.iter().zip(&self.tables).enumerate();
        fields.find_map(|(f, (bags, table))| {
            let n_rows = table.n_rows();
            let position = bags.ids.iter().position(|&id| u64::from(id) >= n_rows)?;
            let source = LookupError::Id {
                position,
                id: bags.ids[position],
                n_rows,
            };
            Some(self.error(f, source))
        })
    }

    fn check_shape(&self, spec: &ModelSpec) -> Result<(), ScoreError> {
        let n_kinds = if spec.has_first_order() { 2 } else { 1 };
        let expected = n_kinds * self.n_fields;
        check_size("number of tables".into(), expected, self.tables.len())?;
        for (f, (name, table)) in self.names.iter().zip(&self.tables).enumerate() {
            let dim = if f < self.n_fields { self.dim } else { 1 };
            check_size(format!("dim of table `{name}`"), dim, table.dim())?;
            if f >= self.n_fields {
                let rows = |f: usize| self.tables[f].n_rows() as usize;
                let what = format!("number of rows of table `{name}`");
                check_size(what, rows(f - self.n_fields), rows(f))?;
            }
        }
        Ok(())
    }

    fn error(&self, f: usize, source: LookupError) -> ScoreError {
        ScoreError::Lookup {
            field: self.names[f].clone(),
            source,
        }
    }
}

/// Asks for the rows of one sample in all tables, so that it waits for memory once and not once a table.
fn prefetch(tables: &[Table<'_>], batch: &Batch<'_>, sample: usize) {
    for (table, bags) in tables.iter().zip(batch.fields) {
        // Offsets that do not fit are the lookup's to refuse.
        let ids = bags.ids.get(bags.range(sample)).unwrap_or_default();
        ids.iter().take(MOST_IDS).for_each(|&id| table.prefetch(id));
    }
}

fn check_size(what: String, expected: usize, found: usize) -> Result<(), ScoreError> {
    if expected == found {
        return Ok(());
    }
    Err(ScoreError::Tables {
        what,
        expected,
        found,
    })
}
