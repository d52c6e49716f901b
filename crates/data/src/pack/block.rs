//! Rows to bytes and back.

use super::{Arity, FieldSchema, Schema};
use crate::batches::{Batch, FieldIds};

/// The bytes of a block.
pub fn encode(schema: &Schema, rows: &Batch) -> Vec<u8> {
    let mut bytes: Vec<u8> = rows.labels.iter().map(|&label| label as u8).collect();
    for column in 0..schema.n_dense {
        let values = rows.dense.iter().skip(column).step_by(schema.n_dense);
        bytes.extend(values.flat_map(|value| value.to_le_bytes()));
    }
    for (field, ids) in schema.fields.iter().zip(&rows.fields) {
        if field.arity == Arity::Multi {
            let offsets = ids.offsets.iter().flatten();
            bytes.extend(offsets.flat_map(|offset| offset.to_le_bytes()));
        }
        let n_bytes = field.id_bytes();
        bytes.extend(
            ids.ids
                .iter()
                .flat_map(|id| id.to_le_bytes().into_iter().take(n_bytes)),
        );
    }
    bytes
}

/// The rows of a block, or what is wrong with it.
pub fn decode(schema: &Schema, bytes: &[u8], n: usize) -> Result<Batch, String> {
    let mut cursor = Cursor(bytes);
    let labels = cursor.take(n)?.iter().map(|&label| match label {
        0 | 1 => Ok(f32::from(label)),
        other => Err(format!("label {other}")),
    });
    let labels = labels.collect::<Result<_, _>>()?;
    let dense = cursor.dense(schema.n_dense, n)?;
    let fields = schema.fields.iter().map(|&field| cursor.field(field, n));
    let fields = fields.collect::<Result<_, _>>()?;
    if !cursor.0.is_empty() {
        return Err(format!("{} bytes too many", cursor.0.len()));
    }
    Ok(Batch {
        n,
        dense,
        fields,
        labels,
    })
}

/// What is left of a block.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let missing = || format!("{} bytes where {n} were expected", self.0.len());
        let (taken, rest) = self.0.split_at_checked(n).ok_or_else(missing)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Columns to rows; nothing is allocated before the bytes are known to be there.
    fn dense(&mut self, n_dense: usize, n: usize) -> Result<Vec<f32>, String> {
        let n_bytes = n_dense
            .checked_mul(n * 4)
            .ok_or("a count beyond all memory")?;
        let columns = self.take(n_bytes)?.as_chunks::<4>().0;
        let mut dense = vec![0.0; n * n_dense];
        for (column, values) in columns.chunks_exact(n).enumerate() {
            let slots = dense.iter_mut().skip(column).step_by(n_dense);
            slots
                .zip(values)
                .for_each(|(slot, value)| *slot = f32::from_le_bytes(*value));
        }
        Ok(dense)
    }

    fn field(&mut self, field: FieldSchema, n: usize) -> Result<FieldIds, String> {
        let offsets = match field.arity {
            Arity::Single => None,
            Arity::Multi => Some(self.offsets(n)?),
        };
        let n_ids = offsets.as_ref().map_or(n, |offsets| offsets[n] as usize);
        let ids = self.ids(field, n_ids)?;
        match ids.iter().find(|&&id| id >= field.n_rows) {
            Some(id) => Err(format!("id {id} in a table of {} rows", field.n_rows)),
            None => Ok(FieldIds { ids, offsets }),
        }
    }

    fn offsets(&mut self, n: usize) -> Result<Vec<u32>, String> {
        let bytes = self.take((n + 1) * 4)?.as_chunks::<4>().0;
        let offsets: Vec<u32> = bytes.iter().map(|b| u32::from_le_bytes(*b)).collect();
        let rising = offsets[0] == 0 && offsets.windows(2).all(|pair| pair[0] <= pair[1]);
        if rising {
            Ok(offsets)
        } else {
            Err("offsets that do not rise from 0".into())
        }
    }

    fn ids(&mut self, field: FieldSchema, n: usize) -> Result<Vec<u32>, String> {
        let n_bytes = field.id_bytes();
        let bytes = self.take(n.checked_mul(n_bytes).ok_or("a count beyond all memory")?)?;
        Ok(match n_bytes {
            1 => bytes.iter().map(|&b| u32::from(b)).collect(),
            2 => bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| u32::from(u16::from_le_bytes(*b)))
                .collect(),
            _ => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| u32::from_le_bytes(*b))
                .collect(),
        })
    }
}
