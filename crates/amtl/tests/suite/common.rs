//! Small layers and batches.

use slimbed_amtl::{AmtlEmbedding, AmtlSettings};
use slimbed_embedding::{
    Bags, EmbeddingLayer, FieldSpec, IdBatch, Pooling, RowInit, RowSettings, SparseRule,
    StateTensor, StateValues, TrainedRows,
};
use slimbed_rng::Seed;

pub const DIM: usize = 6;
pub const N_ROWS: [usize; 3] = [40, 700, 3];
pub const SEED: Seed = Seed::new(5);

/// Ids of a field and, where it is multi-valued, offsets.
pub type Ids = (Vec<u32>, Option<Vec<u32>>);

pub fn rows(rule: SparseRule) -> TrainedRows {
    let pooling = [Pooling::Sum, Pooling::Mean, Pooling::Sum];
    let spec = |f: usize| FieldSpec {
        name: format!("C{f}"),
        n_rows: N_ROWS[f],
        pooling: pooling[f],
    };
    let specs: Vec<_> = (0..N_ROWS.len()).map(spec).collect();
    rows_of(&specs, DIM, rule)
}

pub fn rows_of(specs: &[FieldSpec], dim: usize, rule: SparseRule) -> TrainedRows {
    let settings = RowSettings {
        dim,
        init: RowInit::Normal { std: 0.5 },
        seed: SEED,
        rule,
        weight_decay: 0.0,
    };
    TrainedRows::new(specs, &settings).unwrap()
}

/// Counts that fall with the row, as Zipf's law has it.
pub fn counts(n_rows: usize) -> Vec<u64> {
    (0..n_rows as u64).map(|row| 20_000 / (row + 1)).collect()
}

pub fn layer(settings: &AmtlSettings, rule: SparseRule) -> AmtlEmbedding {
    let counts = N_ROWS.map(counts);
    let counts: Vec<&[u64]> = counts.iter().map(Vec::as_slice).collect();
    AmtlEmbedding::new(rows(rule), &counts, settings, SEED).unwrap()
}

/// Field 1 has bags, the second of them empty.
pub fn ids(step: u64, n: usize) -> Vec<Ids> {
    let field = |f: usize| {
        let mut stream = Seed::new(step).stream("test/ids", f as u64);
        let offsets = (f == 1).then(|| {
            let mut end = 0;
            let len = |b: usize| if b == 1 { 0 } else { 1 + b as u32 % 3 };
            let ends = (0..n).map(|b| {
                end += len(b);
                end
            });
            std::iter::once(0).chain(ends).collect::<Vec<_>>()
        });
        let n_ids = offsets.as_ref().map_or(n, |offsets| offsets[n] as usize);
        let ids = (0..n_ids).map(|_| {
            let skewed = stream.uniform().powi(3);
            (skewed * N_ROWS[f] as f32) as u32
        });
        (ids.collect(), offsets)
    };
    (0..N_ROWS.len()).map(field).collect()
}

pub fn batch(ids: &[Ids], n: usize) -> IdBatch<'_> {
    let fields = ids.iter().map(|(ids, offsets)| Bags {
        ids,
        offsets: offsets.as_deref(),
    });
    IdBatch {
        n,
        fields: fields.collect(),
    }
}

/// A state that owns its values.
pub fn copy(layer: &dyn EmbeddingLayer) -> Kept {
    let tensor = |tensor: StateTensor<'_>| {
        let values = match tensor.values {
            StateValues::F32(values) => Values::F32(values.to_vec()),
            StateValues::U32(values) => Values::U32(values.to_vec()),
        };
        (tensor.name, tensor.n_rows, tensor.dim, values)
    };
    Kept(layer.state().into_iter().map(tensor).collect())
}

pub struct Kept(Vec<(String, usize, usize, Values)>);

enum Values {
    F32(Vec<f32>),
    U32(Vec<u32>),
}

impl Kept {
    pub fn restore(&self, layer: &mut dyn EmbeddingLayer) {
        layer.restore(&self.tensors()).unwrap();
    }

    pub fn tensors(&self) -> Vec<StateTensor<'_>> {
        self.0
            .iter()
            .map(|(name, n_rows, dim, values)| StateTensor {
                name: name.clone(),
                n_rows: *n_rows,
                dim: *dim,
                values: match values {
                    Values::F32(values) => StateValues::F32(values),
                    Values::U32(values) => StateValues::U32(values),
                },
            })
            .collect()
    }
}

/// Changes the float tensors of a layer's state.
pub fn change(layer: &mut dyn EmbeddingLayer, change: impl Fn(&str, &mut [f32])) {
    let mut saved = copy(layer);
    for (name, .., values) in &mut saved.0 {
        if let Values::F32(values) = values {
            change(name, values);
        }
    }
    saved.restore(layer);
}

/// Gives the branches weights under which rows have many sizes.
pub fn scatter(layer: &mut dyn EmbeddingLayer) {
    change(layer, |name, values| {
        if name == "amtl-weights" {
            let mut stream = SEED.stream("test/weights", 0);
            stream.fill_uniform(values, 1.0);
        }
    });
}
