//! Tables that are to be stored, one after the other.

use std::path::{Path, PathBuf};

use crate::{Artefact, ArtefactError, Bags, Output, Pooling, Scratch, Sharing, Table};

/// Name, shape and pooling of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceField {
    /// Name of the field.
    pub name: String,
    /// Rows of its table.
    pub n_rows: usize,
    /// Values of a row.
    pub dim: usize,
    /// How bags are pooled.
    pub pooling: Pooling,
}

/// Where exact rows come from, one table at a time, so that no more than one has to be in memory.
pub trait TableSource {
    /// The tables, in the order in which the model takes them.
    fn fields(&self) -> &[SourceField];

    /// The rows of table `f`, `[n_rows, dim]`; the same every time.
    ///
    /// # Errors
    /// When they cannot be read, or one holds a NaN or an infinity.
    fn rows(&self, f: usize) -> Result<Vec<f32>, ArtefactError>;
}

/// The tables of an artefact, decoded.
#[derive(Clone, Debug)]
pub struct StoredTables {
    path: PathBuf,
    fields: Vec<SourceField>,
}

/// Rows decoded at a time.
const ROWS: usize = 4096;

impl StoredTables {
    /// Looks at the tables of the artefact at `path`. It is opened again for each table, so that the memory of
    /// those that were read is given back.
    ///
    /// # Errors
    /// When it is damaged, or a table shares its rows or is projected: of such a table the rows that were
    /// trained cannot be told from what lookups give.
    pub fn open(path: &Path) -> Result<Self, ArtefactError> {
        let artefact = Artefact::open(path)?;
        let entries = artefact.manifest().fields.iter();
        let fields = entries.map(|entry| {
            if entry.sharing != Sharing::None || entry.projected {
                return Err(ArtefactError::Tensor {
                    path: path.to_owned(),
                    tensor: format!("table.{}", entry.name),
                    expected: "a row for every id, without projection".into(),
                    found: "shared rows or a projection, which cannot be stored anew".into(),
                });
            }
            Ok(SourceField {
                name: entry.name.clone(),
                n_rows: entry.n_rows as usize,
                dim: entry.dim as usize,
                pooling: entry.pooling,
            })
        });
        Ok(Self {
            path: path.to_owned(),
            fields: fields.collect::<Result<_, _>>()?,
        })
    }
}

impl StoredTables {
    /// The first `n` of them, for example the embeddings in front of first-order weights.
    #[must_use]
    pub fn first(mut self, n: usize) -> Self {
        self.fields.truncate(n);
        self
    }
}

impl TableSource for StoredTables {
    fn fields(&self) -> &[SourceField] {
        &self.fields
    }

    fn rows(&self, f: usize) -> Result<Vec<f32>, ArtefactError> {
        let artefact = Artefact::open(&self.path)?;
        let field = &self.fields[f];
        let rows =
            decode(&artefact.table(f)?, field.n_rows).map_err(|e| ArtefactError::Tensor {
                path: self.path.clone(),
                tensor: format!("table.{}", field.name),
                expected: format!("{} rows of {} values", field.n_rows, field.dim),
                found: e.to_string(),
            })?;
        check_finite(
            &self.path,
            &format!("table.{}", field.name),
            &rows,
            field.dim,
        )?;
        Ok(rows)
    }
}

fn decode(table: &Table<'_>, n_rows: usize) -> Result<Vec<f32>, crate::LookupError> {
    let dim = table.dim();
    let mut rows = vec![0.0; n_rows * dim];
    let (mut ids, mut scratch) = (Vec::new(), Scratch::default());
    for (i, rows) in rows.chunks_mut(ROWS * dim).enumerate() {
        let first = (i * ROWS) as u32;
        ids.clear();
        ids.extend(first..first + (rows.len() / dim) as u32);
        table.lookup(&Bags::single(&ids), Output::rows(rows, dim), &mut scratch)?;
    }
    Ok(rows)
}

/// Refuses NaN and infinities.
///
/// # Errors
/// Names file, tensor, row and column of the first.
pub(crate) fn check_finite(
    path: &Path,
    tensor: &str,
    values: &[f32],
    dim: usize,
) -> Result<(), ArtefactError> {
    let Some(i) = values.iter().position(|x| !x.is_finite()) else {
        return Ok(());
    };
    Err(ArtefactError::Tensor {
        path: path.to_owned(),
        tensor: tensor.to_owned(),
        expected: "finite values".into(),
        found: format!("{} in row {}, column {}", values[i], i / dim, i % dim),
    })
}
