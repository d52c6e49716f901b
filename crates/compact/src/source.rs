//! Tables that are to be stored, one after the other.

use std::path::{Path, PathBuf};

use crate::{Artefact, ArtefactError, Bags, Output, PartEntry, Pooling, Scratch, Sharing, Table};

/// Name, shape and pooling of a field's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceField {
    /// Name of the field.
    pub name: String,
    /// Ids of the field.
    pub n_rows: usize,
    /// Values of a pooled vector.
    pub dim: usize,
    /// How bags are pooled.
    pub pooling: Pooling,
    /// How ids become rows.
    pub sharing: Sharing,
    /// What is stored: one part, or two for quotient and remainder.
    pub parts: Vec<PartShape>,
    /// Whether pooled rows are multiplied with a matrix.
    pub is_projected: bool,
}

/// Shape of rows that are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartShape {
    /// Rows of the part.
    pub n_rows: usize,
    /// Values of a row.
    pub dim: usize,
}

impl SourceField {
    /// A table with a row of `dim` values for every id.
    pub fn own(name: String, n_rows: usize, dim: usize, pooling: Pooling) -> Self {
        Self {
            name,
            n_rows,
            dim,
            pooling,
            sharing: Sharing::None,
            parts: vec![PartShape { n_rows, dim }],
            is_projected: false,
        }
    }
}

/// Where exact rows come from, one part of a table at a time, so that no more than one table has to be in memory.
pub trait TableSource {
    /// The tables, in the order in which the model takes them.
    fn fields(&self) -> &[SourceField];

    /// The rows of part `i` of table `f`, `[n_rows, dim]` of the part; the same every time.
    ///
    /// # Errors
    /// When they cannot be read, or one holds a NaN or an infinity.
    fn part(&self, f: usize, i: usize) -> Result<Vec<f32>, ArtefactError>;

    /// The matrix `[width, dim]` behind table `f`, row by row, where it is projected.
    ///
    /// # Errors
    /// When it cannot be read.
    fn projection(&self, _f: usize) -> Result<Option<Vec<f32>>, ArtefactError> {
        Ok(None)
    }
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
    /// When it is damaged.
    pub fn open(path: &Path) -> Result<Self, ArtefactError> {
        let artefact = Artefact::open(path)?;
        let entries = artefact.manifest().fields.iter();
        let fields = entries.map(|entry| SourceField {
            name: entry.name.clone(),
            n_rows: entry.n_rows as usize,
            dim: entry.dim as usize,
            pooling: entry.pooling,
            sharing: entry.sharing,
            parts: entry.parts.iter().map(part_shape).collect(),
            is_projected: entry.projected,
        });
        Ok(Self {
            path: path.to_owned(),
            fields: fields.collect(),
        })
    }

    /// What lookups give for every id of table `f`, `[n_rows, dim]`.
    ///
    /// # Errors
    /// When they cannot be read, or one holds a NaN or an infinity.
    pub fn rows(&self, f: usize) -> Result<Vec<f32>, ArtefactError> {
        let artefact = Artefact::open(&self.path)?;
        self.decode(f, &artefact.table(f)?)
    }

    fn decode(&self, f: usize, table: &Table<'_>) -> Result<Vec<f32>, ArtefactError> {
        let name = format!("table.{}", self.fields[f].name);
        let rows = decode(table).map_err(|e| ArtefactError::Tensor {
            path: self.path.clone(),
            tensor: name.clone(),
            expected: format!("{} rows of {} values", table.n_rows(), table.dim()),
            found: e.to_string(),
        })?;
        check_finite(&self.path, &name, &rows, table.dim())?;
        Ok(rows)
    }
}

fn part_shape(part: &PartEntry) -> PartShape {
    PartShape {
        n_rows: part.n_rows as usize,
        dim: part.dim as usize,
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

    fn part(&self, f: usize, i: usize) -> Result<Vec<f32>, ArtefactError> {
        let artefact = Artefact::open(&self.path)?;
        match artefact.table(f)?.part(i) {
            Some(part) => self.decode(f, &part),
            None => Err(ArtefactError::Tensor {
                path: self.path.clone(),
                tensor: format!("table.{}", self.fields[f].name),
                expected: format!("part {i}"),
                found: format!("{} parts", self.fields[f].parts.len()),
            }),
        }
    }

    fn projection(&self, f: usize) -> Result<Option<Vec<f32>>, ArtefactError> {
        let artefact = Artefact::open(&self.path)?;
        Ok(artefact.table(f)?.projection.map(<[f32]>::to_vec))
    }
}

fn decode(table: &Table<'_>) -> Result<Vec<f32>, crate::LookupError> {
    let dim = table.dim();
    let mut rows = vec![0.0; table.n_rows() as usize * dim];
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
