//! Networks of every piece: finite differences, threads, chunks, scoring, refusals.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use slimbed_fused::{
    Activation, DenseRule, Forward, FusedNetwork, Init, Inputs, LinearInit, Mode, NamedTensor,
    Network, Precision, Value, WeightDecay,
};
use slimbed_rng::Seed;

const SEED: Seed = Seed::new(7);
const N_DENSE: usize = 3;
const N_FIELDS: usize = 4;
const DIM: usize = 5;

/// Everything at once: a value that many pieces read, and pieces that read one value twice.
fn network(dropout: f32) -> Network {
    let mut network = Network::builder(N_DENSE, N_FIELDS, DIM).unwrap();
    let (init, none, relu) = (LinearInit::Xavier, Activation::None, Activation::Relu);
    let weights = network.first_order();
    let small = Init::Uniform { bound: 0.5 };
    let linear = network
        .projection("linear", Value::DENSE, 1, 1, small)
        .unwrap();
    let second = network.second_order(Value::EMBEDDINGS, N_FIELDS).unwrap();
    let x0 = network.concat(&[Value::DENSE, Value::EMBEDDINGS]).unwrap();
    let crossed = network.cross_layers("cross", x0, 2, init).unwrap();
    let first = network
        .attention("attention.0", Value::EMBEDDINGS, N_FIELDS, 2, 3)
        .unwrap();
    let attended = network
        .attention("attention.1", first, N_FIELDS, 1, 4)
        .unwrap();
    let both = network.concat(&[crossed, attended, attended]).unwrap();
    let deep = network
        .mlp("mlp", both, &[9, 7], init, relu, dropout)
        .unwrap();
    let top = network.linear("top", deep, 1, init, none).unwrap();
    let terms = [weights, linear, second, top, second];
    let logit = network.sum_with_bias("bias", &terms).unwrap();
    network.finish(logit).unwrap()
}

fn fused(dropout: f32) -> FusedNetwork {
    let (rule, decay) = (DenseRule::ADAM, WeightDecay::None);
    FusedNetwork::new(network(dropout), SEED, rule, decay, Precision::F32).unwrap()
}

fn random(purpose: &str, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    SEED.stream(purpose, 0).fill_uniform(&mut values, 1.0);
    values
}

struct Batch {
    n: usize,
    dense: Vec<f32>,
    embeddings: Vec<f32>,
    first_order: Vec<f32>,
    labels: Vec<f32>,
}

/// The gradients of a batch's inputs.
type Gradients = [Vec<f32>; 2];

impl Batch {
    fn new(n: usize) -> Self {
        Self {
            n,
            dense: random("dense", n * N_DENSE),
            embeddings: random("embeddings", n * N_FIELDS * DIM),
            first_order: random("first-order", n * N_FIELDS),
            labels: (0..n).map(|i| f32::from(i % 3 == 0)).collect(),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            n: self.n,
            dense: &self.dense,
            embeddings: &self.embeddings,
            first_order: &self.first_order,
        }
    }

    /// The first `n` samples.
    fn first(&self, n: usize) -> Inputs<'_> {
        Inputs {
            n,
            dense: &self.dense[..n * N_DENSE],
            embeddings: &self.embeddings[..n * N_FIELDS * DIM],
            first_order: &self.first_order[..n * N_FIELDS],
        }
    }

    fn loss(&self, fused: &mut FusedNetwork) -> (f64, Gradients) {
        let mode = Mode::Train {
            seed: SEED,
            step: 0,
        };
        let mut embeddings = vec![9.0; self.embeddings.len()];
        let loss = fused
            .loss(self.inputs(), &self.labels, mode, &mut embeddings)
            .unwrap();
        let mut first_order = vec![9.0; self.first_order.len()];
        fused.first_order_gradient(&mut first_order).unwrap();
        (loss, [embeddings, first_order])
    }
}

#[test]
fn gradients_are_finite_differences() {
    let (mut fused, batch) = (fused(0.0), Batch::new(12));
    let (_, [d_embeddings, d_first_order]) = batch.loss(&mut fused);
    let (start, gradients) = (fused.export(), fused.gradients());
    let close = |numeric: f64, analytic: f32, what: &str| {
        let difference = (numeric - f64::from(analytic)).abs();
        assert!(difference < 2e-3, "{what}: {numeric} != {analytic}");
    };
    for (t, tensor) in start.iter().enumerate() {
        for j in 0..tensor.values.len() {
            let mut loss_at = |shift: f32| {
                let mut moved: Vec<NamedTensor> = start.clone();
                moved[t].values[j] += shift;
                fused.import(&moved).unwrap();
                batch.loss(&mut fused).0
            };
            let numeric = (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3;
            close(numeric, gradients[t].values[j], &tensor.name);
        }
    }
    fused.import(&start).unwrap();
    let mut numeric = |moved: &dyn Fn(&mut Batch, f32)| {
        let mut loss_at = |shift: f32| {
            let mut batch = Batch::new(12);
            moved(&mut batch, shift);
            batch.loss(&mut fused).0
        };
        (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3
    };
    for (j, &gradient) in d_embeddings.iter().enumerate() {
        let numeric = numeric(&|batch, shift| batch.embeddings[j] += shift);
        close(numeric, gradient, "embeddings");
    }
    for (j, &gradient) in d_first_order.iter().enumerate() {
        let numeric = numeric(&|batch, shift| batch.first_order[j] += shift);
        close(numeric, gradient, "first-order weights");
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let (mut fused, batch) = (fused(0.5), Batch::new(900));
            let mut gradients = Vec::new();
            for _ in 0..3 {
                gradients.push(batch.loss(&mut fused));
                fused.step(0.01, 1.0);
            }
            (fused.export(), gradients)
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_sample_scores_the_same_alone_in_a_batch_and_without_training() {
    let (mut fused, batch) = (fused(0.5), Batch::new(700));
    let mut together = vec![0.0; 700];
    fused.logits(batch.inputs(), &mut together).unwrap();
    let forward = Forward::new(network(0.5), &fused.export()).unwrap();
    let mut scratch = forward.scratch();
    for n in [700, 1, 2, 0, 300, 64] {
        let (mut alone, mut scored) = (vec![0.0; n], vec![0.0; n]);
        fused.logits(batch.first(n), &mut alone).unwrap();
        forward
            .logits(batch.first(n), &mut scratch, &mut scored)
            .unwrap();
        for ((alone, scored), together) in alone.iter().zip(&scored).zip(&together) {
            assert!((alone - together).abs() <= 2e-6 * together.abs().max(1.0));
            assert!((scored - together).abs() <= 2e-6 * together.abs().max(1.0));
        }
    }
}

#[test]
fn a_loss_after_scoring_has_its_own_gradients() {
    let (mut fused, batch) = (fused(0.0), Batch::new(100));
    let large = Batch::new(700);
    let (_, [_, expected]) = batch.loss(&mut fused);
    fused.logits(large.inputs(), &mut [0.0; 700]).unwrap();
    assert_eq!(batch.loss(&mut fused).1[1], expected);
    let error = fused.first_order_gradient(&mut [0.0; 3]).unwrap_err();
    assert!(error.to_string().contains("expected 400 values, found 3"));
}

#[test]
fn missing_first_order_weights_are_an_error() {
    let (mut fused, batch) = (fused(0.0), Batch::new(4));
    let inputs = Inputs {
        first_order: &[],
        ..batch.inputs()
    };
    let error = fused.logits(inputs, &mut [0.0; 4]).unwrap_err().to_string();
    assert!(
        error.contains("first-order weights: expected 16 values, found 0"),
        "{error}"
    );
}

#[test]
fn bad_pieces_are_refused() {
    let builder = || Network::builder(0, 4, 5).unwrap();
    let mut network = builder();
    assert!(network.concat(&[]).is_err(), "nothing");
    assert!(network.sum(&[Value::DENSE]).is_err(), "no dense features");
    assert!(
        network.second_order(Value::EMBEDDINGS, 3).is_err(),
        "20 / 3"
    );
    assert!(network.attention("a", Value::EMBEDDINGS, 4, 0, 2).is_err());
    let mut network = builder();
    network.first_order();
    let logit = network.sum(&[Value::EMBEDDINGS]).unwrap();
    let error = network.finish(logit).unwrap_err().to_string();
    assert!(error.contains("value 2 that nothing reads"), "{error}");
    let mut network = builder();
    network.sum_with_bias("b", &[Value::EMBEDDINGS]).unwrap();
    assert!(network.sum_with_bias("b", &[Value::EMBEDDINGS]).is_err());
}
