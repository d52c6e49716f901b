//! Layers and batches to test with.

use slimbed_embedding::{
    Bags, EmbeddingLayer, FieldSpec, IdBatch, Pooling, RowInit, RowSettings, SparseRule, StepSize,
};
use slimbed_mlet::{MletEmbedding, MletSettings};
use slimbed_rng::Seed;

/// Dim of the model.
pub const DIM: usize = 4;

/// Samples of a batch.
pub const N: usize = 40;

/// A field of many rows, bags of two kinds, one field of few rows.
pub fn fields() -> Vec<FieldSpec> {
    let field = |name: &str, n_rows, pooling| FieldSpec {
        name: name.into(),
        n_rows,
        pooling,
    };
    vec![
        field("a", 500, Pooling::Sum),
        field("sum", 60, Pooling::Sum),
        field("mean", 30, Pooling::Mean),
        field("few", 3, Pooling::Sum),
    ]
}

pub fn rows(dim: usize, rule: SparseRule) -> RowSettings {
    RowSettings {
        dim,
        init: RowInit::Normal { std: 0.5 },
        seed: Seed::new(3),
        rule,
        weight_decay: 0.0,
    }
}

/// The layer of [`fields`] with settings as JSON.
pub fn layer(json: &str, rule: SparseRule) -> MletEmbedding {
    let settings: MletSettings = serde_json::from_str(json).unwrap();
    MletEmbedding::new(&fields(), &rows(DIM, rule), &settings).unwrap()
}

/// The ids of a batch.
pub struct Batch {
    n: usize,
    fields: Vec<(Vec<u32>, Option<Vec<u32>>)>,
}

impl Batch {
    /// Random ids of [`fields`], `n` samples; the bags of the second and third have 0 to 3 ids.
    pub fn random(n: usize, step: u64) -> Self {
        let mut stream = Seed::new(step).stream("test/batch", 0);
        let fields = fields().into_iter().enumerate().map(|(f, field)| {
            let mut offsets = vec![0];
            for _ in 0..n {
                let len = if f == 1 || f == 2 { stream.below(4) } else { 1 };
                offsets.push(offsets[offsets.len() - 1] + len as u32);
            }
            let n_ids = offsets[n];
            let ids = (0..n_ids).map(|_| stream.below(field.n_rows as u64) as u32);
            (ids.collect(), (f == 1 || f == 2).then_some(offsets))
        });
        Self {
            n,
            fields: fields.collect(),
        }
    }

    pub fn ids(&self) -> IdBatch<'_> {
        let fields = self.fields.iter().map(|(ids, offsets)| Bags {
            ids,
            offsets: offsets.as_deref(),
        });
        IdBatch {
            n: self.n,
            fields: fields.collect(),
        }
    }
}

/// One id a sample of a single field.
pub fn single(ids: &[u32]) -> IdBatch<'_> {
    IdBatch {
        n: ids.len(),
        fields: smallvec::smallvec![Bags { ids, offsets: None }],
    }
}

/// Embeddings of a batch in training.
pub fn forward(layer: &mut dyn EmbeddingLayer, batch: &Batch) -> Vec<f32> {
    let mut out = vec![f32::NAN; batch.n * layer.n_fields() * layer.dim()];
    layer.forward(&batch.ids(), &mut out).unwrap();
    out
}

/// Some weights of the embeddings: `L = Σ c·E + ½ Σ E²`.
pub fn weights(n: usize) -> Vec<f32> {
    let mut weights = vec![0.0; n];
    let mut stream = Seed::new(9).stream("test/weights", 0);
    stream.fill_normal(&mut weights, 1.0);
    weights
}

/// One step on that loss; returns the embeddings before it and the squared norm of the gradient.
pub fn train_step(layer: &mut dyn EmbeddingLayer, step: u64) -> (Vec<f32>, f64) {
    let batch = Batch::random(N, step);
    let embeddings = forward(layer, &batch);
    let weights = weights(embeddings.len());
    let gradient = embeddings.iter().zip(&weights).map(|(e, c)| e + c);
    layer.backward(&gradient.collect::<Vec<_>>()).unwrap();
    let norm = layer.gradient_norm_squared().unwrap();
    let size = StepSize {
        scale: 0.5,
        ..StepSize::of(0.05)
    };
    layer.step(size).unwrap();
    (embeddings, norm)
}

/// All rows as scoring sees them, field after field.
pub fn all_rows(layer: &dyn EmbeddingLayer) -> Vec<Vec<f32>> {
    let field = |f| {
        let mut out = vec![f32::NAN; layer.n_rows(f) * layer.dim()];
        layer.write_rows(f, 0, &mut out);
        out
    };
    (0..layer.n_fields()).map(field).collect()
}
