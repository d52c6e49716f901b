//! Dense optimisers against PyTorch (`fixtures/make_optim.py`) and their saved state.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use serde_json::Value;
use slimbed_nn::{DenseOptimizer, DenseRule, Init, NamedTensor, Params, WeightDecay};
use slimbed_rng::Seed;

const W: [f32; 6] = [0.5, -1.0, 2.0, 0.25, 0.0, -0.75];
const B: [f32; 2] = [0.1, -0.2];

fn params() -> Params {
    let mut params = Params::new(&Device::Cpu, Seed::new(0));
    params.add("w", &[2, 3], Init::Zeros).unwrap();
    params.add("b", &[2], Init::Zeros).unwrap();
    let named = |name: &str, shape: &[usize], values: &[f32]| NamedTensor {
        name: name.into(),
        shape: shape.to_vec(),
        values: values.to_vec(),
    };
    params
        .import(&[named("w", &[2, 3], &W), named("b", &[2], &B)])
        .unwrap();
    params
}

/// Gradients of `Σ p·g(step)`: exactly the script's `g`.
fn gradients(params: &Params, step: usize) -> GradStore {
    let mut loss = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu).unwrap();
    for (_, var) in params.iter() {
        let g: Vec<f32> = (0..var.elem_count())
            .map(|i| (i as f32 * 0.3 - 0.4 * step as f32).sin())
            .collect();
        let g = Tensor::from_vec(g, var.dims(), &Device::Cpu).unwrap();
        loss = (loss + (var.as_tensor() * g).unwrap().sum_all().unwrap()).unwrap();
    }
    loss.backward().unwrap()
}

fn values(params: &Params, name: &str) -> Vec<f32> {
    params
        .export()
        .unwrap()
        .into_iter()
        .find(|t| t.name == name)
        .unwrap()
        .values
}

fn cases() -> Vec<(&'static str, DenseRule, WeightDecay)> {
    let coupled = WeightDecay::Coupled { lambda: 0.1 };
    vec![
        ("sgd", DenseRule::Sgd, WeightDecay::None),
        ("sgd coupled", DenseRule::Sgd, coupled),
        ("adagrad", DenseRule::ADAGRAD, WeightDecay::None),
        ("adam", DenseRule::ADAM, WeightDecay::None),
        ("adam coupled", DenseRule::ADAM, coupled),
        (
            "adam decoupled",
            DenseRule::ADAM,
            WeightDecay::Decoupled { lambda: 0.1 },
        ),
    ]
}

#[test]
fn five_steps_agree_with_pytorch() {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/optim.json")).unwrap();
    let lr = fixture["lr"].as_f64().unwrap();
    for (name, rule, decay) in cases() {
        let params = params();
        let mut optimizer = DenseOptimizer::new(&params, rule, decay).unwrap();
        for step in 0..5 {
            optimizer
                .step(&params, &gradients(&params, step), lr, 1.0)
                .unwrap();
        }
        for tensor in ["w", "b"] {
            let expected = fixture["cases"][name][tensor].as_array().unwrap();
            for (found, expected) in values(&params, tensor).iter().zip(expected) {
                let expected = expected.as_f64().unwrap() as f32;
                assert!(
                    (found - expected).abs() < 1e-6,
                    "{name} {tensor}: {found} != {expected}"
                );
            }
        }
    }
}

#[test]
fn a_restored_optimizer_goes_on_bit_for_bit() {
    for (name, rule, decay) in cases() {
        let whole = params();
        let mut optimizer = DenseOptimizer::new(&whole, rule, decay).unwrap();
        let mut halfway = None;
        for step in 0..6 {
            if step == 3 {
                halfway = Some((whole.export().unwrap(), optimizer.export(&whole).unwrap()));
            }
            optimizer
                .step(&whole, &gradients(&whole, step), 0.05, 1.0)
                .unwrap();
        }
        let (saved_params, saved_state) = halfway.unwrap();
        let resumed = params();
        resumed.import(&saved_params).unwrap();
        let mut optimizer = DenseOptimizer::new(&resumed, rule, decay).unwrap();
        optimizer.import(&resumed, &saved_state).unwrap();
        for step in 3..6 {
            optimizer
                .step(&resumed, &gradients(&resumed, step), 0.05, 1.0)
                .unwrap();
        }
        assert_eq!(whole.export().unwrap(), resumed.export().unwrap(), "{name}");
    }
}

#[test]
fn a_parameter_without_gradient_is_named() {
    let params = params();
    let (_, first) = params.iter().next().unwrap();
    let grads = first.sum_all().unwrap().backward().unwrap();
    let mut optimizer = DenseOptimizer::new(&params, DenseRule::Sgd, WeightDecay::None).unwrap();
    let error = optimizer.step(&params, &grads, 0.1, 1.0).unwrap_err();
    assert_eq!(error.to_string(), "parameter `b` received no gradient");
    assert_eq!(values(&params, "w"), W);
}

#[test]
fn clipping_scales_the_gradient() {
    let params = params();
    let grads = gradients(&params, 0);
    let norm = slimbed_nn::gradient_norm_squared(&params, &grads)
        .unwrap()
        .sqrt();
    let expected: f64 = [6usize, 2]
        .iter()
        .flat_map(|&n| (0..n).map(|i| f64::from((i as f32 * 0.3).sin()).powi(2)))
        .sum::<f64>()
        .sqrt();
    assert!((norm - expected).abs() < 1e-6);
    let mut optimizer = DenseOptimizer::new(&params, DenseRule::Sgd, WeightDecay::None).unwrap();
    optimizer.step(&params, &grads, 1.0, 0.5).unwrap();
    let moved = W[1] - values(&params, "w")[1];
    assert!((moved - 0.5 * 0.3f32.sin()).abs() < 1e-6);
}
