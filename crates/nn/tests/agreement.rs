//! The fused path against the same network composed from candle's ops, and both against plain f64.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod reference;

use candle_core::Device;
use proptest::prelude::*;
use reference::{Gradients, Masks, Number, Plain, Sample};
use slimbed_fused::{
    Activation, DenseRule, FusedNetwork, Inputs, LinearInit, Mode, NamedTensor, Network, Precision,
    SelfInteraction, Value, WeightDecay,
};
use slimbed_nn::GraphNetwork;
use slimbed_rng::{Seed, Stream};

/// The step whose dropout is drawn.
const STEP: u64 = 3;

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
    /// Of parameters, inputs and dropout.
    seed: Seed,
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

    /// Random samples; a tenth of the bags are empty, which makes embeddings of zeros.
    ///
    /// A sample for which rounding would decide whether a ReLU lets its gradient through is drawn again:
    /// two right answers would differ by that gradient.
    fn batch(&self, network: &Network, n: usize) -> Batch {
        let (plain, masks) = (
            Plain::new(network, self.seed),
            Masks::new(network, n, self.seed, STEP),
        );
        let mut stream = self.seed.stream("test/batch", 0);
        let mut batch = Batch::default();
        while batch.labels.len() < n {
            let (dense, embeddings, label) = self.sample(&mut stream);
            if plain.is_smooth((&dense, &embeddings, label), &masks, batch.labels.len()) {
                batch.dense.extend(dense);
                batch.embeddings.extend(embeddings);
                batch.labels.push(label);
            }
        }
        batch
    }

    fn sample(&self, stream: &mut Stream) -> (Vec<f32>, Vec<f32>, f32) {
        let mut dense = vec![0.0; self.n_dense];
        let mut embeddings = vec![0.0; self.n_fields * self.dim];
        stream.fill_uniform(&mut dense, 1.0);
        stream.fill_uniform(&mut embeddings, 1.0);
        for bag in embeddings.chunks_exact_mut(self.dim) {
            if stream.uniform() < 0.1 {
                bag.fill(0.0);
            }
        }
        (dense, embeddings, stream.below(2) as f32)
    }
}

#[derive(Default)]
struct Batch {
    dense: Vec<f32>,
    embeddings: Vec<f32>,
    labels: Vec<f32>,
}

impl Batch {
    /// Room for logits and for the gradient of the embeddings; what is not written shows.
    fn outputs(&self) -> (Vec<f32>, Vec<f32>) {
        (
            vec![f32::NAN; self.labels.len()],
            vec![f32::NAN; self.embeddings.len()],
        )
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            n: self.labels.len(),
            dense: &self.dense,
            embeddings: &self.embeddings,
            first_order: &[],
        }
    }

    fn samples(&self, shape: &Shape) -> Vec<Sample<'_>> {
        let dense = self.dense.chunks_exact(shape.n_dense);
        let embeddings = self.embeddings.chunks_exact(shape.n_fields * shape.dim);
        let labels = self.labels.iter();
        let samples = dense.zip(embeddings).zip(labels);
        samples
            .map(|((dense, e), &label)| (dense, e, label))
            .collect()
    }
}

/// Everything a pass gives: loss, logits, gradients.
struct Pass {
    loss: f64,
    logits: Vec<f32>,
    d_embeddings: Vec<f32>,
    gradients: Vec<NamedTensor>,
}

fn fused(network: &Network, seed: Seed, rule: DenseRule, decay: WeightDecay) -> FusedNetwork {
    FusedNetwork::new(network.clone(), seed, rule, decay, Precision::F32).unwrap()
}

fn graph(network: &Network, seed: Seed, rule: DenseRule, decay: WeightDecay) -> GraphNetwork {
    GraphNetwork::new(network.clone(), seed, rule, decay, &Device::Cpu).unwrap()
}

fn fused_pass(network: &Network, seed: Seed, batch: &Batch) -> Pass {
    let mut fused = fused(network, seed, DenseRule::Sgd, WeightDecay::None);
    let (mut logits, mut d_embeddings) = batch.outputs();
    fused.logits(batch.inputs(), &mut logits).unwrap();
    let mode = Mode::Train { seed, step: STEP };
    let loss = fused.loss(batch.inputs(), &batch.labels, mode, &mut d_embeddings);
    Pass {
        loss: loss.unwrap(),
        logits,
        d_embeddings,
        gradients: fused.gradients(),
    }
}

fn graph_pass(network: &Network, seed: Seed, batch: &Batch) -> Pass {
    let mut graph = graph(network, seed, DenseRule::Sgd, WeightDecay::None);
    let (mut logits, mut d_embeddings) = batch.outputs();
    graph.logits(batch.inputs(), &mut logits).unwrap();
    let mode = Mode::Train { seed, step: STEP };
    let loss = graph.loss(batch.inputs(), &batch.labels, mode, &mut d_embeddings);
    Pass {
        loss: loss.unwrap(),
        logits,
        d_embeddings,
        gradients: graph.gradients().unwrap(),
    }
}

/// Expects a tensor of both paths and that in f64 to be equal to 1e-5 of the size of the terms that each
/// entry is made of.
fn same(what: &str, fast: &[f32], slow: &[f32], exact: &[Number]) -> Result<(), TestCaseError> {
    prop_assert_eq!(fast.len(), exact.len());
    prop_assert_eq!(slow.len(), exact.len());
    for (i, ((&fast, &slow), exact)) in fast.iter().zip(slow).zip(exact).enumerate() {
        let (fast, slow) = (f64::from(fast), f64::from(slow));
        let pairs = [(fast, exact.value), (slow, exact.value), (fast, slow)];
        prop_assert!(
            pairs
                .iter()
                .all(|(a, b)| (a - b).abs() <= exact.tolerance()),
            "{what}[{i}]: fused {fast}, composed {slow}, {exact:?}"
        );
    }
    Ok(())
}

fn shapes() -> impl Strategy<Value = Shape> {
    let sizes = (1usize..15, 1usize..28, 1usize..34, 1usize..70, 1usize..140);
    (sizes, any::<bool>(), any::<bool>(), any::<u64>()).prop_map(|(sizes, own, drops, seed)| {
        Shape {
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
            seed: Seed::new(seed),
        }
    })
}

fn check(shape: &Shape, n: usize) -> Result<(), TestCaseError> {
    let (network, seed) = (shape.network(), shape.seed);
    let batch = shape.batch(&network, n);
    let (fast, slow) = (
        fused_pass(&network, seed, &batch),
        graph_pass(&network, seed, &batch),
    );
    let (plain, samples) = (Plain::new(&network, seed), batch.samples(shape));
    let logits: Vec<_> = samples.iter().map(|&sample| plain.logit(sample)).collect();
    let masks = Masks::new(&network, n, seed, STEP);
    let Gradients {
        loss,
        embeddings,
        params,
    } = plain.gradients(&samples, &masks);
    let losses = [fast.loss, slow.loss].map(|loss| [loss as f32]);
    same("loss", &losses[0], &losses[1], &[loss])?;
    same("logits", &fast.logits, &slow.logits, &logits)?;
    let (d_fast, d_slow) = (&fast.d_embeddings, &slow.d_embeddings);
    same("embeddings", d_fast, d_slow, &embeddings)?;
    for ((fast, slow), exact) in fast.gradients.iter().zip(&slow.gradients).zip(&params) {
        prop_assert_eq!(&fast.name, &slow.name);
        same(&fast.name, &fast.values, &slow.values, exact)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn fused_equals_composed(
        shape in shapes(),
        n in prop_oneof![Just(1usize), 2usize..40, 60usize..200, Just(601)],
    ) {
        check(&shape, n)?;
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
        seed: Seed::new(7),
    }
}

#[test]
fn both_optimisers_walk_the_same_path() {
    let (shape, network) = (kaggle(), kaggle().network());
    let (seed, batch) = (shape.seed, shape.batch(&network, 130));
    let decoupled = WeightDecay::Decoupled { lambda: 0.1 };
    let coupled = WeightDecay::Coupled { lambda: 0.1 };
    for (rule, decay) in [
        (DenseRule::Sgd, coupled),
        (DenseRule::ADAGRAD, WeightDecay::None),
        (DenseRule::ADAM, decoupled),
    ] {
        let (mut fast, mut slow) = (
            fused(&network, seed, rule, decay),
            graph(&network, seed, rule, decay),
        );
        let mut gradient = vec![0.0; batch.embeddings.len()];
        for step in 0..4 {
            let (inputs, mode) = (batch.inputs(), Mode::Train { seed, step });
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
    let mut slow = graph(
        &kaggle().network(),
        kaggle().seed,
        DenseRule::Sgd,
        WeightDecay::None,
    );
    let error = slow.step(0.1, 1.0).unwrap_err();
    assert!(
        error.to_string().contains("compute a loss first"),
        "{error}"
    );
}
