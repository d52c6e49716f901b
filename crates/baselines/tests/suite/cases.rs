//! Layers and batches to test with.

use slimbed_baselines::{
    Combining, CutoffSettings, HashSettings, MixedDimSettings, Plan, QrSettings, SharedEmbedding,
};
use slimbed_embedding::{
    Bags, EmbeddingLayer, FieldSpec, IdBatch, Pooling, RowInit, RowSettings, SparseRule, StepSize,
};
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
        field("mean", 31, Pooling::Mean),
        field("few", 3, Pooling::Sum),
    ]
}

pub fn n_rows() -> Vec<usize> {
    fields().iter().map(|field| field.n_rows).collect()
}

pub fn rows(rule: SparseRule) -> RowSettings {
    RowSettings {
        dim: DIM,
        init: RowInit::Normal { std: 0.5 },
        seed: Seed::new(3),
        rule,
        weight_decay: 0.0,
    }
}

/// Ids that are seen less and less.
pub fn counts() -> Vec<Vec<u64>> {
    let counts = |&n: &usize| (0..n as u64).map(|i| 1000 / (i + 1)).collect();
    n_rows().iter().map(counts).collect()
}

/// Plans of every kind of sharing, about a quarter of the plain tables.
pub fn shared_plans() -> Vec<(&'static str, Plan)> {
    let n = n_rows().iter().sum::<usize>() as u64 * DIM as u64 / 4;
    let qr = |combine| {
        let settings = QrSettings {
            combine,
            threshold: 10,
            divisor: 0,
        };
        settings.plan(&n_rows(), DIM, n)
    };
    let hash = HashSettings {
        threshold: 10,
        seed: 5,
    };
    let counts = counts();
    let counts: Vec<&[u64]> = counts.iter().map(Vec::as_slice).collect();
    vec![
        ("hash", hash.plan(&n_rows(), DIM, n)),
        ("product", qr(Combining::Product)),
        ("sum", qr(Combining::Sum)),
        ("concat", qr(Combining::Concat)),
        ("cutoff", CutoffSettings::default().plan(&counts, DIM, n)),
    ]
}

pub fn shared(plan: &Plan, rule: SparseRule) -> SharedEmbedding {
    SharedEmbedding::new(&fields(), plan, &rows(rule)).unwrap()
}

/// Every kind of small layer.
pub fn layers(rule: SparseRule) -> Vec<(&'static str, Box<dyn EmbeddingLayer>)> {
    let shared = shared_plans().into_iter().map(|(name, plan)| {
        let layer: Box<dyn EmbeddingLayer> = Box::new(shared(&plan, rule));
        (name, layer)
    });
    let mut all: Vec<_> = shared.collect();
    let settings = MixedDimSettings::default();
    let plan = settings.plan(&n_rows(), DIM, 800);
    let mixed = settings.layer(&fields(), &plan, &rows(rule)).unwrap();
    all.push(("mixed", Box::new(mixed)));
    all
}

/// The ids of a batch.
pub struct Batch {
    pub n: usize,
    pub fields: Vec<(Vec<u32>, Option<Vec<u32>>)>,
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

/// Forward and backward on that loss; returns the embeddings and the squared norm of the gradient.
pub fn backward(layer: &mut dyn EmbeddingLayer, batch: &Batch) -> (Vec<f32>, f64) {
    let embeddings = forward(layer, batch);
    let weights = weights(embeddings.len());
    let gradient = embeddings.iter().zip(&weights).map(|(e, c)| e + c);
    layer.backward(&gradient.collect::<Vec<_>>()).unwrap();
    let norm = layer.gradient_norm_squared().unwrap();
    (embeddings, norm)
}

/// One step on that loss.
pub fn train_step(layer: &mut dyn EmbeddingLayer, step: u64) -> (Vec<f32>, f64) {
    let seen = backward(layer, &Batch::random(N, step));
    let size = StepSize {
        scale: 0.5,
        ..StepSize::of(0.05)
    };
    layer.step(size).unwrap();
    seen
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
