//! Random rows, single and multi-valued, for the tests of packs and batches.

use std::path::Path;

use slimbed_data::Batch;
use slimbed_data::pack::{Arity, FieldSchema, PackWriter, Schema};
use slimbed_rng::Seed;

/// Columns of `n_dense` numbers and fields of tables with the given rows.
pub fn schema(n_dense: usize, fields: &[(u32, Arity)]) -> Schema {
    let field = |&(n_rows, arity)| FieldSchema { n_rows, arity };
    let fields = fields.iter().map(field).collect();
    Schema { n_dense, fields }
}

/// `n` rows: the first dense column counts them, bags hold 0 to 5 ids.
pub fn random(schema: &Schema, n: usize, seed: u64) -> Batch {
    let mut stream = Seed::new(seed).stream("rows", 0);
    let mut rows = Batch::empty(schema);
    rows.n = n;
    for i in 0..n {
        rows.labels.push(stream.below(2) as f32);
        rows.dense.push(i as f32);
        let others = (1..schema.n_dense).map(|_| stream.normal() as f32);
        rows.dense.extend(others);
        for (field, ids) in schema.fields.iter().zip(&mut rows.fields) {
            let n_ids = ids.offsets.as_ref().map_or(1, |_| stream.below(6));
            let id = |_| stream.below(field.n_rows.into()) as u32;
            ids.ids.extend((0..n_ids).map(id));
            if let Some(offsets) = &mut ids.offsets {
                offsets.push(ids.ids.len() as u32);
            }
        }
    }
    rows.dense.truncate(n * schema.n_dense);
    rows
}

/// Writes a pack, `piece` rows at a time.
pub fn write(path: &Path, schema: &Schema, rows: &Batch, piece: usize) {
    let mut writer = PackWriter::create(path, schema.clone()).unwrap();
    for from in (0..rows.n).step_by(piece) {
        let mut part = Batch::empty(schema);
        part.extend(rows, from..(from + piece).min(rows.n));
        writer.append(&part).unwrap();
    }
    let n_positives = rows.labels.iter().filter(|&&label| label == 1.0).count();
    assert_eq!(
        writer.finish().unwrap(),
        (rows.n as u64, n_positives as u64)
    );
}
