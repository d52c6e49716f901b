//! The tables of an artefact, one for each field of its network.

use std::ops::Range;

use slimbed_compact::{Artefact, LookupError, Output, Scratch, Table};

use crate::batch::{check_bags, part};
use crate::{Batch, ModelSpec, ScoreError};

/// An artefact's tables, in the order of its network's fields.
#[derive(Debug)]
pub struct Tables<'a> {
    names: Vec<String>,
    tables: Vec<Table<'a>>,
    dim: usize,
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
        let tables = Self {
            tables: artefact.tables()?,
            names: fields.iter().map(|field| field.name.clone()).collect(),
            dim: spec.shape().2,
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
        self.lookup_part(batch, 0..batch.n, out, scratch)
    }

    /// Values of a sample's embeddings.
    pub(crate) fn width(&self) -> usize {
        self.tables.len() * self.dim
    }

    /// Checks the number of fields, and that each has a bag for every sample.
    pub(crate) fn check(&self, batch: &Batch<'_>) -> Result<(), ScoreError> {
        if batch.fields.len() != self.tables.len() {
            return Err(ScoreError::FieldCount {
                expected: self.tables.len(),
                found: batch.fields.len(),
            });
        }
        let mut fields = batch.fields.iter().enumerate();
        fields.try_for_each(|(f, bags)| {
            check_bags(bags, batch.n).map_err(|source| self.error(f, source))
        })
    }

    /// As [`lookup`](Self::lookup) for some samples of a batch that has been checked; positions in errors
    /// are those among them.
    pub(crate) fn lookup_part(
        &self,
        batch: &Batch<'_>,
        samples: Range<usize>,
        out: &mut [f32],
        scratch: &mut LookupScratch,
    ) -> Result<(), ScoreError> {
        for (f, (table, bags)) in self.tables.iter().zip(batch.fields).enumerate() {
            let bags = part(bags, samples.clone(), &mut scratch.offsets);
            let out = Output {
                values: out,
                start: f * self.dim,
                stride: self.width(),
            };
            let looked_up = table.lookup(&bags, out, &mut scratch.scratch);
            looked_up.map_err(|source| self.error(f, source))?;
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
        let (_, n_fields, dim) = spec.shape();
        check_size("number of tables".into(), n_fields, self.tables.len())?;
        let mut tables = self.names.iter().zip(&self.tables);
        tables.try_for_each(|(name, table)| {
            check_size(format!("dim of table `{name}`"), dim, table.dim())
        })
    }

    fn error(&self, f: usize, source: LookupError) -> ScoreError {
        ScoreError::Lookup {
            field: self.names[f].clone(),
            source,
        }
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
