//! Layers, batches and saved states for the tests.

use slimbed_embedding::{
    Bags, EmbeddingError, EmbeddingLayer, FieldSpec, IdBatch, Pooling, RowInit, RowSettings,
    SavedState, SparseRule, StateTensor, StateValues, StepSize, TrainedRows,
};
use slimbed_pep::{Granularity, Mode, PepEmbedding, PepSettings};
use slimbed_rng::Seed;

pub const ALL: [Granularity; 6] = [
    Granularity::Global,
    Granularity::Dimension,
    Granularity::Id,
    Granularity::IdDimension,
    Granularity::Field,
    Granularity::FieldDimension,
];

pub const N_ROWS: [usize; 3] = [50, 6, 300];
pub const DIM: usize = 5;

/// Ids of one field, and offsets where it is multi-valued.
pub type Ids = (Vec<u32>, Option<Vec<u32>>);

/// Three fields: one id a sample, then bags by their sum, then bags by their mean.
pub fn rows(rule: SparseRule, weight_decay: f32) -> TrainedRows {
    rows_of(&N_ROWS, DIM, rule, weight_decay)
}

pub fn rows_of(n_rows: &[usize], dim: usize, rule: SparseRule, weight_decay: f32) -> TrainedRows {
    let field = |(f, &n_rows): (usize, &usize)| FieldSpec {
        name: format!("C{f}"),
        n_rows,
        pooling: [Pooling::Sum, Pooling::Mean][f / 2 % 2],
    };
    let fields: Vec<_> = n_rows.iter().enumerate().map(field).collect();
    let settings = RowSettings {
        dim,
        init: RowInit::Normal { std: 0.3 },
        seed: Seed::new(5),
        rule,
        weight_decay,
    };
    TrainedRows::new(&fields, &settings).unwrap()
}

/// Settings whose thresholds matter at once.
pub fn busy(granularity: Granularity, mode: Mode) -> PepSettings {
    PepSettings {
        granularity,
        mode,
        start: -2.0,
        threshold_lr: 0.03,
        threshold_weight_decay: 0.01,
        ..PepSettings::default()
    }
}

pub fn layer(settings: &PepSettings) -> PepEmbedding {
    PepEmbedding::new(rows(SparseRule::LAZY_ADAM, 0.0), settings).unwrap()
}

/// `n` samples of [`N_ROWS`]; bags have 0 to 3 ids, the first none.
pub fn ids(step: u64, n: usize) -> Vec<Ids> {
    let field = |(f, &n_rows): (usize, &usize)| {
        let mut stream = Seed::new(step).stream("test/ids", f as u64);
        let sizes: Vec<_> = (0..n).map(|b| b.min(1) as u64 * stream.below(4)).collect();
        let n_ids = if f == 0 { n as u64 } else { sizes.iter().sum() };
        let ids = (0..n_ids).map(|_| stream.below(n_rows as u64) as u32);
        let ids = ids.collect();
        let mut end = 0;
        let ends = sizes.iter().map(|&size| {
            end += size as u32;
            end
        });
        let offsets = std::iter::once(0).chain(ends).collect();
        (ids, (f > 0).then_some(offsets))
    };
    N_ROWS.iter().enumerate().map(field).collect()
}

pub fn batch(ids: &[Ids]) -> IdBatch<'_> {
    let fields = ids.iter().map(|(ids, offsets)| Bags {
        ids,
        offsets: offsets.as_deref(),
    });
    let first = &ids[0];
    IdBatch {
        n: first.1.as_ref().map_or(first.0.len(), |o| o.len() - 1),
        fields: fields.collect(),
    }
}

/// Fixed numbers around 0.
pub fn noise(seed: u64, n: usize, size: f32) -> Vec<f32> {
    let mut values = vec![0.0; n];
    Seed::new(seed)
        .stream("test/noise", 0)
        .fill_normal(&mut values, size);
    values
}

pub fn forward(layer: &mut dyn EmbeddingLayer, ids: &[Ids]) -> Vec<f32> {
    let batch = batch(ids);
    let mut out = vec![f32::NAN; batch.n * layer.n_fields() * layer.dim()];
    layer.forward(&batch, &mut out).unwrap();
    out
}

/// Steps `steps` with random batches of 40 and gradients; the bits of all embeddings and norms.
pub fn train(layer: &mut dyn EmbeddingLayer, steps: std::ops::Range<u64>) -> Vec<u64> {
    let mut bits = Vec::new();
    for step in steps {
        let out = forward(layer, &ids(step, 40));
        layer.backward(&noise(step, out.len(), 0.1)).unwrap();
        bits.extend(out.iter().map(|x| u64::from(x.to_bits())));
        bits.push(layer.gradient_norm_squared().unwrap().to_bits());
        let size = StepSize {
            lr: 0.05,
            factor: 0.75,
            scale: 0.5,
        };
        layer.step(size).unwrap();
    }
    bits
}

/// The bits of all rows as scoring sees them.
pub fn row_bits(layer: &mut dyn EmbeddingLayer) -> Vec<Vec<u32>> {
    layer.settle();
    let field = |f| {
        let mut rows = vec![f32::NAN; layer.n_rows(f) * layer.dim()];
        layer.write_rows(f, 0, &mut rows);
        rows.into_iter().map(f32::to_bits).collect()
    };
    (0..layer.n_fields()).map(field).collect()
}

/// A state that outlives its layer.
pub struct Saved(pub Vec<(String, usize, usize, Values)>);

#[derive(Clone, PartialEq, Debug)]
pub enum Values {
    F32(Vec<f32>),
    U32(Vec<u32>),
}

impl Saved {
    pub fn of(layer: &dyn EmbeddingLayer) -> Self {
        let own = |tensor: StateTensor<'_>| {
            let values = match tensor.values {
                StateValues::F32(values) => Values::F32(values.to_vec()),
                StateValues::U32(values) => Values::U32(values.to_vec()),
            };
            (tensor.name, tensor.n_rows, tensor.dim, values)
        };
        Self(layer.state().into_iter().map(own).collect())
    }

    pub fn tensors(&self) -> Vec<StateTensor<'_>> {
        let tensors = self.0.iter().map(|tensor| StateTensor {
            name: tensor.0.clone(),
            n_rows: tensor.1,
            dim: tensor.2,
            values: match &tensor.3 {
                Values::F32(values) => StateValues::F32(values),
                Values::U32(values) => StateValues::U32(values),
            },
        });
        tensors.collect()
    }

    /// The floats of the tensor called `name`.
    pub fn floats(&mut self, name: &str) -> &mut Vec<f32> {
        let tensor = self.0.iter_mut().find(|tensor| tensor.0 == name);
        match &mut tensor.unwrap().3 {
            Values::F32(values) => values,
            Values::U32(_) => panic!("{name} has words"),
        }
    }

    pub fn restore(&self, layer: &mut dyn EmbeddingLayer) -> Result<(), EmbeddingError> {
        let tensors = self.tensors();
        let saved: &dyn SavedState = &tensors;
        layer.restore(saved)
    }
}
