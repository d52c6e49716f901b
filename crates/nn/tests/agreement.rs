//! The fused path against the same network composed from candle's ops.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use candle_core::Device;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use slimbed_fused::{
    Activation, DenseRule, FusedNetwork, Inputs, LinearInit, Mode, NamedTensor, Network, Precision,
    SelfInteraction, Value, WeightDecay,
};
use slimbed_nn::GraphNetwork;
use slimbed_rng::Seed;

const SEED: Seed = Seed::new(7);

/// Sizes of a DLRM-like network.
#[derive(Clone, Debug)]
struct Shape {
    n_dense: usize,
    n_fields: usize,
    dim: usize,
    bottom: usize,
    top: usize,
    own: SelfInteraction,
    dropout: f32,
}

impl Shape {
    fn network(&self) -> Network {
        let mut network = Network::builder(self.n_dense, self.n_fields, self.dim).unwrap();
        let init = LinearInit::Dlrm;
        let bottom = [self.bottom, self.dim];
        let relu = Activation::Relu;
        let x = network
            .mlp("bottom", Value::DENSE, &bottom, init, relu, 0.0)
            .unwrap();
        let z = network.dot_interaction(x, self.own).unwrap();
        let top = [self.top, self.bottom, 1];
        let logit = network
            .mlp("top", z, &top, init, Activation::None, self.dropout)
            .unwrap();
        network.finish(logit).unwrap()
    }

    fn batch(&self, n: usize) -> Batch {
        let random = |purpose: &str, n: usize| {
            let mut values = vec![0.0; n];
            SEED.stream(purpose, 0).fill_uniform(&mut values, 1.0);
            values
        };
        Batch {
            n,
            dense: random("dense", n * self.n_dense),
            embeddings: random("embeddings", n * self.n_fields * self.dim),
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
    labels: Vec<f32>,
}

impl Batch {
    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            n: self.n,
            dense: &self.dense,
            embeddings: &self.embeddings,
            first_order: &[],
        }
    }
}

/// Everything a pass gives: loss, logits, gradients.
struct Pass {
    loss: f64,
    logits: Vec<f32>,
    d_embeddings: Vec<f32>,
    gradients: Vec<NamedTensor>,
}

fn mode(step: u64) -> Mode {
    Mode::Train { seed: SEED, step }
}

fn fused(network: &Network, rule: DenseRule, decay: WeightDecay) -> FusedNetwork {
    FusedNetwork::new(network.clone(), SEED, rule, decay, Precision::F32).unwrap()
}

fn graph(network: &Network, rule: DenseRule, decay: WeightDecay) -> GraphNetwork {
    GraphNetwork::new(network.clone(), SEED, rule, decay, &Device::Cpu).unwrap()
}

fn fused_pass(network: &Network, batch: &Batch) -> Pass {
    let mut fused = fused(network, DenseRule::Sgd, WeightDecay::None);
    let (mut logits, mut d_embeddings) = (vec![0.0; batch.n], vec![9.0; batch.embeddings.len()]);
    fused.logits(batch.inputs(), &mut logits).unwrap();
    let loss = fused
        .loss(batch.inputs(), &batch.labels, mode(3), &mut d_embeddings)
        .unwrap();
    Pass {
        loss,
        logits,
        d_embeddings,
        gradients: fused.gradients(),
    }
}

fn graph_pass(network: &Network, batch: &Batch) -> Pass {
    let mut graph = graph(network, DenseRule::Sgd, WeightDecay::None);
    let (mut logits, mut d_embeddings) = (vec![0.0; batch.n], vec![9.0; batch.embeddings.len()]);
    graph.logits(batch.inputs(), &mut logits).unwrap();
    let loss = graph
        .loss(batch.inputs(), &batch.labels, mode(3), &mut d_embeddings)
        .unwrap();
    Pass {
        loss,
        logits,
        d_embeddings,
        gradients: graph.gradients().unwrap(),
    }
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
    let sizes = (1usize..15, 1usize..28, 1usize..34, 1usize..70, 1usize..140);
    (sizes, any::<bool>(), any::<bool>()).prop_map(|(sizes, own, drops)| Shape {
        n_dense: sizes.0,
        n_fields: sizes.1,
        dim: sizes.2,
        bottom: sizes.3,
        top: sizes.4,
        own: if own {
            SelfInteraction::Include
        } else {
            SelfInteraction::Exclude
        },
        dropout: if drops { 0.3 } else { 0.0 },
    })
}

proptest! {
    // Always the same cases: one in a thousand rounds to a little more than 1e-5.
    #![proptest_config(ProptestConfig { cases: 48, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]
    #[test]
    fn fused_equals_composed(
        shape in shapes(),
        n in prop_oneof![Just(1usize), 2usize..40, 60usize..200, Just(601)],
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
        for (fast, slow) in fast.gradients.iter().zip(&slow.gradients) {
            assert_eq!(&fast.name, &slow.name);
            close(&fast.name, &fast.values, &slow.values, least);
        }
    }
}

fn kaggle() -> Shape {
    Shape {
        n_dense: 13,
        n_fields: 26,
        dim: 16,
        bottom: 64,
        top: 96,
        own: SelfInteraction::Exclude,
        dropout: 0.0,
    }
}

#[test]
fn both_optimisers_walk_the_same_path() {
    let (network, batch) = (kaggle().network(), kaggle().batch(130));
    let decoupled = WeightDecay::Decoupled { lambda: 0.1 };
    let coupled = WeightDecay::Coupled { lambda: 0.1 };
    for (rule, decay) in [
        (DenseRule::Sgd, coupled),
        (DenseRule::ADAGRAD, WeightDecay::None),
        (DenseRule::ADAM, decoupled),
    ] {
        let (mut fast, mut slow) = (fused(&network, rule, decay), graph(&network, rule, decay));
        let mut gradient = vec![0.0; batch.embeddings.len()];
        for step in 0..4 {
            let (inputs, mode) = (batch.inputs(), mode(step));
            fast.loss(inputs, &batch.labels, mode, &mut gradient)
                .unwrap();
            slow.loss(inputs, &batch.labels, mode, &mut gradient)
                .unwrap();
            let norms = (
                fast.gradient_norm_squared(),
                slow.gradient_norm_squared().unwrap(),
            );
            assert!((norms.0 / norms.1 - 1.0).abs() < 1e-4, "{norms:?}");
            fast.step(1e-3, 0.5);
            slow.step(1e-3, 0.5).unwrap();
        }
        for (fast, slow) in fast.export().iter().zip(slow.params().export().unwrap()) {
            for (f, s) in fast.values.iter().zip(&slow.values) {
                // Adam divides by the root of tiny squares: a rounding there can turn a step around.
                assert!((f - s).abs() < 2e-5, "{rule:?} {}: {f} != {s}", slow.name);
            }
        }
        let saved = fast.export_optimizer();
        slow.import_optimizer(&saved).unwrap();
        assert_eq!(slow.export_optimizer().unwrap(), saved, "one form of state");
    }
}

#[test]
fn a_step_without_a_loss_is_an_error() {
    let mut slow = graph(&kaggle().network(), DenseRule::Sgd, WeightDecay::None);
    let error = slow.step(0.1, 1.0).unwrap_err();
    assert!(
        error.to_string().contains("compute a loss first"),
        "{error}"
    );
}
