//! The fused network on its own: bits, cuts, finite differences, errors.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use slimbed_fused::{
    Activation, DenseRule, Forward, FusedNetwork, Inputs, LinearInit, Mode, NamedTensor, Network,
    Precision, SelfInteraction, Value, WeightDecay,
};
use slimbed_rng::Seed;

const SEED: Seed = Seed::new(7);

fn network(dropout: f32) -> Network {
    let mut network = Network::builder(5, 3, 4).unwrap();
    let (init, relu) = (LinearInit::Dlrm, Activation::Relu);
    let x = network
        .mlp("bottom", Value::DENSE, &[9, 4], init, relu, 0.0)
        .unwrap();
    let z = network
        .dot_interaction(x, SelfInteraction::Exclude)
        .unwrap();
    let logit = network
        .mlp("top", z, &[8, 1], init, Activation::None, dropout)
        .unwrap();
    network.finish(logit).unwrap()
}

fn fused(dropout: f32) -> FusedNetwork {
    let decay = WeightDecay::None;
    FusedNetwork::new(
        network(dropout),
        SEED,
        DenseRule::ADAM,
        decay,
        Precision::F32,
    )
    .unwrap()
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
    labels: Vec<f32>,
}

impl Batch {
    fn new(n: usize) -> Self {
        Self {
            n,
            dense: random("dense", n * 5),
            embeddings: random("embeddings", n * 12),
            labels: (0..n).map(|i| f32::from(i % 3 == 0)).collect(),
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            n: self.n,
            dense: &self.dense,
            embeddings: &self.embeddings,
            first_order: &[],
        }
    }

    fn loss(&self, fused: &mut FusedNetwork, gradient: &mut [f32]) -> f64 {
        let mode = Mode::Train {
            seed: SEED,
            step: 0,
        };
        fused
            .loss(self.inputs(), &self.labels, mode, gradient)
            .unwrap()
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let (mut fused, batch) = (fused(0.5), Batch::new(1500));
            let mut gradient = vec![0.0; batch.embeddings.len()];
            for _ in 0..3 {
                batch.loss(&mut fused, &mut gradient);
                fused.step(0.01, 1.0);
            }
            (fused.export(), gradient)
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn a_sample_scores_the_same_alone_and_in_any_batch() {
    let (mut fused, batch) = (fused(0.0), Batch::new(700));
    let mut together = vec![0.0; 700];
    fused.logits(batch.inputs(), &mut together).unwrap();
    for b in [0, 255, 256, 699] {
        let one = Inputs {
            n: 1,
            dense: &batch.dense[b * 5..][..5],
            embeddings: &batch.embeddings[b * 12..][..12],
            first_order: &[],
        };
        let mut alone = [0.0];
        fused.logits(one, &mut alone).unwrap();
        assert!((alone[0] - together[b]).abs() <= 1e-6 * together[b].abs().max(1.0));
    }
}

#[test]
fn forward_alone_gives_the_logits_of_the_network_in_training() {
    let (mut fused, batch) = (fused(0.5), Batch::new(700));
    let forward = Forward::new(network(0.5), &fused.export()).unwrap();
    let mut scratch = forward.scratch();
    let (mut expected, mut found) = (vec![0.0; 700], vec![0.0; 700]);
    for n in [700, 1, 2, 3, 4, 0, 15, 64] {
        let inputs = Inputs {
            n,
            dense: &batch.dense[..n * 5],
            embeddings: &batch.embeddings[..n * 12],
            first_order: &[],
        };
        fused.logits(inputs, &mut expected[..n]).unwrap();
        forward
            .logits(inputs, &mut scratch, &mut found[..n])
            .unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0));
        }
        if slimbed_fused::bf16_is_available() {
            assert_eq!(found, expected, "the same kernels");
        }
    }
}

#[test]
fn forward_asks_for_every_parameter() {
    let mut tensors = fused(0.0).export();
    tensors.retain(|tensor| tensor.name != "top.1.bias");
    let error = Forward::new(network(0.0), &tensors).unwrap_err();
    assert!(error.to_string().contains("`top.1.bias`"), "{error}");
}

#[test]
fn gradients_are_finite_differences() {
    let (mut fused, batch) = (fused(0.0), Batch::new(20));
    let mut d_embeddings = vec![0.0; batch.embeddings.len()];
    batch.loss(&mut fused, &mut d_embeddings);
    let (start, gradients) = (fused.export(), fused.gradients());
    let mut ignored = d_embeddings.clone();
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
                batch.loss(&mut fused, &mut ignored)
            };
            let numeric = (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3;
            close(numeric, gradients[t].values[j], &tensor.name);
        }
    }
    fused.import(&start).unwrap();
    for (j, &gradient) in d_embeddings.iter().enumerate() {
        let mut loss_at = |shift: f32| {
            let mut moved = Batch::new(20);
            moved.embeddings[j] += shift;
            moved.loss(&mut fused, &mut ignored)
        };
        let numeric = (loss_at(2e-3) - loss_at(-2e-3)) / 4e-3;
        close(numeric, gradient, "embeddings");
    }
}

#[test]
fn a_restored_network_goes_on_bit_for_bit() {
    let (mut whole, batch) = (fused(0.2), Batch::new(90));
    let mut gradient = vec![0.0; batch.embeddings.len()];
    let mut steps = |fused: &mut FusedNetwork, n: usize| {
        for _ in 0..n {
            batch.loss(fused, &mut gradient);
            fused.step(0.01, 1.0);
        }
    };
    steps(&mut whole, 3);
    let mut resumed = fused(0.2);
    resumed.import(&whole.export()).unwrap();
    resumed.import_optimizer(&whole.export_optimizer()).unwrap();
    steps(&mut whole, 3);
    steps(&mut resumed, 3);
    assert_eq!(whole.export(), resumed.export());
    assert_eq!(whole.export_optimizer(), resumed.export_optimizer());
}

#[test]
fn wrong_lengths_are_errors_that_say_so() {
    let (mut fused, mut batch) = (fused(0.0), Batch::new(4));
    batch.dense.pop();
    let error = fused
        .logits(batch.inputs(), &mut [0.0; 4])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("dense features: expected 20 values, found 19"),
        "{error}"
    );
    let saved = fused.export();
    let error = fused.import(&saved[1..]).unwrap_err().to_string();
    assert!(
        error.contains("bottom.0.weight") && error.contains("nothing"),
        "{error}"
    );
}

#[test]
fn bad_networks_are_refused() {
    let init = LinearInit::Xavier;
    let mut network = Network::builder(3, 2, 4).unwrap();
    let relu = Activation::Relu;
    let x = network.linear("a", Value::DENSE, 5, init, relu).unwrap();
    let own = SelfInteraction::Exclude;
    assert!(network.dot_interaction(x, own).is_err(), "5 is not 4 wide");
    assert!(network.linear("a", x, 1, init, relu).is_err(), "name taken");
    let one = network.linear("b", x, 1, init, relu).unwrap();
    let error = network.finish(one).unwrap_err().to_string();
    assert!(
        error.contains("nothing reads"),
        "the embeddings are idle: {error}"
    );
    for widths in [&[][..], &[3, 0]] {
        let mut network = Network::builder(3, 2, 4).unwrap();
        let mlp = network.mlp("m", Value::EMBEDDINGS, widths, init, relu, 0.0);
        assert!(mlp.is_err(), "{widths:?}");
    }
    let mut network = Network::builder(3, 2, 4).unwrap();
    let mlp = network.mlp("m", Value::EMBEDDINGS, &[1], init, relu, 1.0);
    assert!(mlp.unwrap_err().to_string().contains("[0, 1)"));
}
