//! Every piece beside DLRM's: the fused path against the same network composed from candle's ops.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use candle_core::Device;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use slimbed_fused::{
    Activation, DenseRule, FusedNetwork, Inputs, LinearInit, Mode, NamedTensor, Network, Precision,
    Value, WeightDecay,
};
use slimbed_nn::GraphNetwork;
use slimbed_rng::Seed;

const SEED: Seed = Seed::new(7);

/// Sizes of a network with every piece; `n_dense` may be 0.
#[derive(Clone, Debug)]
struct Shape {
    n_dense: usize,
    n_fields: usize,
    dim: usize,
    hidden: usize,
    cross_layers: usize,
    heads: usize,
    head_dim: usize,
    dropout: f32,
}

impl Shape {
    fn network(&self) -> Network {
        let mut network = Network::builder(self.n_dense, self.n_fields, self.dim).unwrap();
        let init = LinearInit::Xavier;
        let mut terms = vec![network.first_order()];
        let mut x0 = Value::EMBEDDINGS;
        if self.n_dense > 0 {
            x0 = network.concat(&[Value::DENSE, x0]).unwrap();
            let (weight, _) = init.weight_and_bias(self.n_dense, 1);
            terms.push(
                network
                    .projection("linear", Value::DENSE, 1, 1, weight)
                    .unwrap(),
            );
        }
        terms.push(
            network
                .second_order(Value::EMBEDDINGS, self.n_fields)
                .unwrap(),
        );
        let crossed = network
            .cross_layers("cross", x0, self.cross_layers, init)
            .unwrap();
        let mut x = Value::EMBEDDINGS;
        for i in 0..2 {
            let name = format!("attention.{i}");
            x = network
                .attention(&name, x, self.n_fields, self.heads, self.head_dim)
                .unwrap();
        }
        let both = network.concat(&[crossed, x]).unwrap();
        let widths = [self.hidden, 1];
        let none = Activation::None;
        terms.push(
            network
                .mlp("mlp", both, &widths, init, none, self.dropout)
                .unwrap(),
        );
        let logit = network.sum_with_bias("bias", &terms).unwrap();
        network.finish(logit).unwrap()
    }

    fn batch(&self, n: usize) -> Batch {
        let random = |purpose: &str, n: usize| {
            let mut values = vec![0.0; n];
            SEED.stream(purpose, 0).fill_uniform(&mut values, 0.5);
            values
        };
        Batch {
            n,
            dense: random("dense", n * self.n_dense),
            embeddings: random("embeddings", n * self.n_fields * self.dim),
            first_order: random("first-order", n * self.n_fields),
            labels: random("labels", n)
                .iter()
                .map(|&y| f32::from(y > 0.0))
                .collect(),
        }
    }
}

struct Batch {
    n: usize,
    dense: Vec<f32>,
    embeddings: Vec<f32>,
    first_order: Vec<f32>,
    labels: Vec<f32>,
}

impl Batch {
    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            n: self.n,
            dense: &self.dense,
            embeddings: &self.embeddings,
            first_order: &self.first_order,
        }
    }
}

/// Everything a pass gives.
struct Pass {
    loss: f64,
    logits: Vec<f32>,
    d_embeddings: Vec<f32>,
    d_first_order: Vec<f32>,
    gradients: Vec<NamedTensor>,
}

impl Pass {
    fn empty(batch: &Batch) -> Self {
        Self {
            loss: 0.0,
            logits: vec![0.0; batch.n],
            d_embeddings: vec![9.0; batch.embeddings.len()],
            d_first_order: vec![9.0; batch.first_order.len()],
            gradients: Vec::new(),
        }
    }
}

const MODE: Mode = Mode::Train {
    seed: SEED,
    step: 3,
};

fn fused_pass(network: &Network, batch: &Batch) -> Pass {
    let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
    let fused = FusedNetwork::new(network.clone(), SEED, rule, decay, Precision::F32);
    let (mut fused, mut pass) = (fused.unwrap(), Pass::empty(batch));
    fused.logits(batch.inputs(), &mut pass.logits).unwrap();
    let (labels, out) = (&batch.labels, &mut pass.d_embeddings);
    pass.loss = fused.loss(batch.inputs(), labels, MODE, out).unwrap();
    fused.first_order_gradient(&mut pass.d_first_order).unwrap();
    pass.gradients = fused.gradients();
    pass
}

fn graph_pass(network: &Network, batch: &Batch) -> Pass {
    let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
    let graph = GraphNetwork::new(network.clone(), SEED, rule, decay, &Device::Cpu);
    let (mut graph, mut pass) = (graph.unwrap(), Pass::empty(batch));
    graph.logits(batch.inputs(), &mut pass.logits).unwrap();
    let (labels, out) = (&batch.labels, &mut pass.d_embeddings);
    pass.loss = graph.loss(batch.inputs(), labels, MODE, out).unwrap();
    graph.first_order_gradient(&mut pass.d_first_order).unwrap();
    pass.gradients = graph.gradients().unwrap();
    pass
}

/// Equal to 1e-5 of the largest entry, or of `least` where none is that large: single entries may be
/// differences of large terms.
fn close(what: &str, fast: &[f32], slow: &[f32], least: f32) {
    assert_eq!(fast.len(), slow.len(), "{what}");
    let largest = slow.iter().fold(least, |m, v| m.max(v.abs()));
    for (i, (f, s)) in fast.iter().zip(slow).enumerate() {
        assert!(
            (f - s).abs() <= 1e-5 * largest,
            "{what}[{i}]: {f} != {s} (largest {largest})"
        );
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    let widths = (0usize..6, 1usize..20, 1usize..20, 1usize..40);
    let layers = (1usize..4, 1usize..4, 1usize..20, any::<bool>());
    (widths, layers).prop_map(|(widths, layers)| Shape {
        n_dense: widths.0,
        n_fields: widths.1,
        dim: widths.2,
        hidden: widths.3,
        cross_layers: layers.0,
        heads: layers.1,
        head_dim: layers.2,
        dropout: if layers.3 { 0.3 } else { 0.0 },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]
    #[test]
    fn fused_equals_composed(
        shape in shapes(),
        n in prop_oneof![Just(1usize), 2usize..40, 60usize..200, Just(301)],
    ) {
        let (network, batch) = (shape.network(), shape.batch(n));
        let (fast, slow) = (fused_pass(&network, &batch), graph_pass(&network, &batch));
        prop_assert!((fast.loss - slow.loss).abs() <= 1e-5 * slow.loss.abs().max(1e-3));
        // A logit near 0 is a sum of terms that are not.
        close("logits", &fast.logits, &slow.logits, 0.1);
        // All entries of a small tensor may be sums over the batch that all but cancel.
        let values = slow.gradients.iter().flat_map(|tensor| &tensor.values);
        let least = 1e-3 * values.fold(1e-3f32, |m, v| m.max(v.abs()));
        close("embeddings", &fast.d_embeddings, &slow.d_embeddings, least);
        close("first-order weights", &fast.d_first_order, &slow.d_first_order, least);
        for (fast, slow) in fast.gradients.iter().zip(&slow.gradients) {
            assert_eq!(&fast.name, &slow.name);
            // The terms of a bias are |σ − y|, about ½ in the mean: they too may all but cancel.
            close(&fast.name, &fast.values, &slow.values, least.max(0.01));
        }
    }
}
