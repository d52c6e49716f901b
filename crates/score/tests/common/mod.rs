//! Models of any size, and the logits that the network in training has for them.

use std::path::Path;

use slimbed_compact::{Bags, DenseTensor, Encoding, FieldTable, Pooling, Rows};
use slimbed_dlrm::DlrmConfig;
use slimbed_fused::{DenseRule, FusedNetwork, Inputs, Precision, WeightDecay};
use slimbed_rng::{Seed, Stream};
use slimbed_score::ModelSpec;

/// The sizes of a model; its last field has bags with weights, the others one id a sample.
#[derive(Clone, Debug)]
pub struct Case {
    pub n_dense: usize,
    pub n_fields: usize,
    pub dim: usize,
    pub bottom: Vec<usize>,
    pub top: Vec<usize>,
    pub self_interaction: bool,
    pub pooling: Pooling,
    pub seed: u64,
}

/// The ids of a field.
#[derive(Clone, Debug)]
pub struct Ids {
    pub ids: Vec<u32>,
    pub more: Option<(Vec<u32>, Vec<f32>)>,
}

impl Ids {
    pub fn bags(&self) -> Bags<'_> {
        let more = self.more.as_ref();
        Bags {
            ids: &self.ids,
            offsets: more.map(|(offsets, _)| offsets.as_slice()),
            weights: more.map(|(_, weights)| weights.as_slice()),
        }
    }

    /// The places of the ids of sample `b`.
    fn range(&self, b: usize) -> std::ops::Range<usize> {
        match &self.more {
            None => b..b + 1,
            Some((offsets, _)) => offsets[b] as usize..offsets[b + 1] as usize,
        }
    }

    /// Those of sample `b` alone.
    #[allow(
        dead_code,
        clippy::allow_attributes,
        reason = "not every test cuts batches"
    )]
    pub fn sample(&self, b: usize) -> Self {
        let range = self.range(b);
        let more = self.more.as_ref();
        Self {
            ids: self.ids[range.clone()].to_vec(),
            more: more.map(|(_, weights)| (vec![0, range.len() as u32], weights[range].to_vec())),
        }
    }
}

impl Case {
    /// The shape of the reference model for Criteo-Kaggle, with small tables.
    pub fn kaggle() -> Self {
        Self {
            n_dense: 13,
            n_fields: 26,
            dim: 16,
            bottom: vec![512, 256, 64],
            top: vec![512, 256],
            self_interaction: false,
            pooling: Pooling::Sum,
            seed: 1,
        }
    }

    pub fn model(&self) -> serde_json::Value {
        serde_json::to_value(self.spec()).unwrap()
    }

    fn spec(&self) -> ModelSpec {
        ModelSpec::Dlrm(DlrmConfig {
            n_dense: self.n_dense,
            n_fields: self.n_fields,
            dim: self.dim,
            bottom: self.bottom.clone(),
            top: self.top.clone(),
            self_interaction: self.self_interaction,
            dropout: 0.0,
        })
    }

    fn stream(&self, purpose: &str, index: usize) -> Stream {
        Seed::new(self.seed).stream(purpose, index as u64)
    }

    fn uniform(&self, purpose: &str, index: usize, n: usize) -> Vec<f32> {
        let mut values = vec![0.0; n];
        self.stream(purpose, index).fill_uniform(&mut values, 1.0);
        values
    }

    pub fn n_rows(&self, f: usize) -> usize {
        [3, 40, 700, 1][f % 4]
    }

    fn table(&self, f: usize) -> Vec<f32> {
        self.uniform("table", f, self.n_rows(f) * self.dim)
    }

    pub fn dense(&self, n: usize) -> Vec<f32> {
        self.uniform("dense", 0, n * self.n_dense)
    }

    pub fn ids(&self, n: usize) -> Vec<Ids> {
        let field = |f: usize| {
            let mut stream = self.stream("ids", f);
            let is_multi = f + 1 == self.n_fields;
            let lens = (0..n).map(|_| if is_multi { stream.below(4) as u32 } else { 1 });
            let lens: Vec<u32> = lens.collect();
            let offsets = std::iter::once(0).chain(lens.iter().scan(0, |end, len| {
                *end += len;
                Some(*end)
            }));
            let offsets: Vec<u32> = offsets.collect();
            let n_ids = offsets[n] as usize;
            let n_rows = self.n_rows(f) as u64;
            let ids = (0..n_ids).map(|_| stream.below(n_rows) as u32).collect();
            let weights = self.uniform("weights", f, n_ids);
            Ids {
                ids,
                more: is_multi.then_some((offsets, weights)),
            }
        };
        (0..self.n_fields).map(field).collect()
    }

    fn network(&self) -> FusedNetwork {
        let network = self.spec().network().unwrap();
        let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
        FusedNetwork::new(network, Seed::new(self.seed), rule, decay, Precision::F32).unwrap()
    }

    pub fn write(&self, path: &Path) {
        self.write_as(path, self.model());
    }

    /// Writes an artefact that says it has `model`.
    pub fn write_as(&self, path: &Path, model: serde_json::Value) {
        let names: Vec<String> = (0..self.n_fields).map(|f| format!("C{f}")).collect();
        let tables: Vec<Vec<f32>> = (0..self.n_fields).map(|f| self.table(f)).collect();
        let fields = names.iter().zip(&tables).map(|(name, table)| {
            let rows = Rows::new(table, self.dim).unwrap();
            FieldTable::new(name, rows, Encoding::EXACT_DENSE, self.pooling)
        });
        let weights = self.network().export();
        let dense = weights.iter().map(|tensor| DenseTensor {
            name: &tensor.name,
            shape: &tensor.shape,
            values: &tensor.values,
        });
        let (fields, dense): (Vec<_>, Vec<_>) = (fields.collect(), dense.collect());
        let training = serde_json::Value::Null;
        slimbed_compact::write(path, &fields, &dense, model, training).unwrap();
    }

    /// The logits of the network in training, with embeddings pooled by the definition.
    #[allow(
        dead_code,
        clippy::allow_attributes,
        reason = "not every test compares"
    )]
    pub fn logits(&self, dense: &[f32], ids: &[Ids], n: usize) -> Vec<f32> {
        let tables: Vec<Vec<f32>> = (0..self.n_fields).map(|f| self.table(f)).collect();
        let mut embeddings = Vec::new();
        for b in 0..n {
            for (table, ids) in tables.iter().zip(ids) {
                embeddings.extend(self.pooled(table, ids, b));
            }
        }
        self.logits_of(dense, &embeddings, n)
    }

    /// The logits of the network in training for these embeddings, `[n, fields, dim]`.
    #[allow(
        dead_code,
        clippy::allow_attributes,
        reason = "not every test compares"
    )]
    pub fn logits_of(&self, dense: &[f32], embeddings: &[f32], n: usize) -> Vec<f32> {
        let inputs = Inputs {
            n,
            dense,
            embeddings,
            first_order: &[],
        };
        let mut out = vec![f32::NAN; n];
        self.network().logits(inputs, &mut out).unwrap();
        out
    }

    fn pooled(&self, table: &[f32], ids: &Ids, b: usize) -> Vec<f32> {
        let mut sums = vec![0.0; self.dim];
        let range = ids.range(b);
        let scale = match self.pooling {
            Pooling::Sum => 1.0,
            Pooling::Mean => 1.0 / range.len().max(1) as f32,
        };
        for p in range {
            let weight = ids.more.as_ref().map_or(1.0, |(_, weights)| weights[p]);
            let row = &table[ids.ids[p] as usize * self.dim..][..self.dim];
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, x)| *sum += scale * weight * x);
        }
        sums
    }
}
