//! The networks against the papers: parameters, inputs, refusals. Their numbers are tested against PyTorch in
//! `slimbed-train`.

use slimbed_fused::{FusedError, Network, Value};

use crate::{
    AutoIntConfig, DcnStructure, DcnV2Config, DeepFmConfig, FmConfig, LrConfig, WideDeepConfig,
};

fn params(network: &Network) -> Vec<(&str, Vec<usize>)> {
    let params = network.params().iter();
    params
        .map(|param| (param.name.as_str(), param.shape.clone()))
        .collect()
}

fn dcn(n_dense: usize, structure: DcnStructure) -> DcnV2Config {
    DcnV2Config {
        n_dense,
        n_fields: 4,
        dim: 5,
        cross_layers: 2,
        structure,
        hidden: vec![7, 6],
        dropout: 0.1,
    }
}

fn autoint(n_dense: usize, hidden: &[usize]) -> AutoIntConfig {
    AutoIntConfig {
        n_dense,
        n_fields: 4,
        dim: 5,
        layers: 2,
        heads: 3,
        head_dim: 2,
        hidden: hidden.to_vec(),
        dropout: 0.0,
    }
}

fn deep_fm(n_dense: usize) -> DeepFmConfig {
    DeepFmConfig {
        n_dense,
        n_fields: 4,
        dim: 5,
        hidden: vec![7],
        dropout: 0.0,
    }
}

fn wide_deep(n_dense: usize) -> WideDeepConfig {
    WideDeepConfig {
        n_dense,
        n_fields: 4,
        dim: 5,
        hidden: vec![7],
        dropout: 0.0,
    }
}

fn fm(n_dense: usize) -> FmConfig {
    FmConfig {
        n_dense,
        n_fields: 4,
        dim: 5,
    }
}

fn lr(n_dense: usize) -> LrConfig {
    LrConfig {
        n_dense,
        n_fields: 4,
    }
}

/// Every network with so many dense features.
fn all(n_dense: usize) -> Vec<Network> {
    let networks: Result<Vec<_>, FusedError> = [
        lr(n_dense).network(),
        fm(n_dense).network(),
        wide_deep(n_dense).network(),
        deep_fm(n_dense).network(),
        dcn(n_dense, DcnStructure::Stacked).network(),
        dcn(n_dense, DcnStructure::Parallel).network(),
        autoint(n_dense, &[]).network(),
        autoint(n_dense, &[8]).network(),
    ]
    .into_iter()
    .collect();
    networks.unwrap()
}

#[test]
fn parameters_are_those_of_the_formulas() {
    let linear = ("linear.weight", vec![1, 3]);
    let bias = ("bias", vec![1]);
    assert_eq!(
        params(&lr(3).network().unwrap()),
        [linear.clone(), bias.clone()]
    );
    assert_eq!(params(&fm(3).network().unwrap()), [linear.clone(), bias]);
    let deep = [
        linear,
        ("mlp.0.weight", vec![7, 23]),
        ("mlp.0.bias", vec![7]),
        ("mlp.1.weight", vec![1, 7]),
        ("mlp.1.bias", vec![1]),
    ];
    assert_eq!(params(&wide_deep(3).network().unwrap()), deep);
    assert_eq!(params(&deep_fm(3).network().unwrap()), deep);
    let parallel = dcn(3, DcnStructure::Parallel).network().unwrap();
    assert_eq!(
        params(&parallel),
        [
            ("cross.0.weight", vec![23, 23]),
            ("cross.0.bias", vec![23]),
            ("cross.1.weight", vec![23, 23]),
            ("cross.1.bias", vec![23]),
            ("mlp.0.weight", vec![7, 23]),
            ("mlp.0.bias", vec![7]),
            ("mlp.1.weight", vec![6, 7]),
            ("mlp.1.bias", vec![6]),
            ("logit.weight", vec![1, 29]),
            ("logit.bias", vec![1]),
        ]
    );
    assert_eq!(
        params(&autoint(3, &[]).network().unwrap()),
        [
            ("attention.0.weight", vec![24, 5]),
            ("attention.1.weight", vec![24, 6]),
            ("logit.weight", vec![1, 24]),
            ("logit.bias", vec![1]),
            ("linear.weight", vec![1, 3]),
        ]
    );
}

#[test]
fn without_dense_features_nothing_is_theirs() {
    for network in all(0) {
        assert_eq!(network.n_dense(), 0);
        let mut pieces = network.pieces().iter();
        assert!(pieces.all(|piece| !piece.reads(Value::DENSE)));
        assert!(
            network
                .params()
                .iter()
                .all(|param| param.name != "linear.weight")
        );
    }
    for network in all(3) {
        assert!(
            network
                .pieces()
                .iter()
                .any(|piece| piece.reads(Value::DENSE))
        );
    }
}

#[test]
fn first_order_weights_are_taken_by_those_that_have_them() {
    let takes: Vec<bool> = all(3).iter().map(Network::has_first_order).collect();
    assert_eq!(takes, [false, true, true, true, false, false, false, false]);
}

#[test]
fn sizes_of_zero_are_refused() {
    let refused = |network: Result<Network, FusedError>, what: &str| {
        let error = network.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused(
        LrConfig {
            n_fields: 0,
            ..lr(1)
        }
        .network(),
        "fields",
    );
    refused(FmConfig { dim: 0, ..fm(1) }.network(), "dim");
    let no_cross = DcnV2Config {
        cross_layers: 0,
        ..dcn(1, DcnStructure::Stacked)
    };
    refused(no_cross.network(), "cross layers");
    for (layers, heads, head_dim) in [(0, 1, 1), (1, 0, 1), (1, 1, 0)] {
        let config = AutoIntConfig {
            layers,
            heads,
            head_dim,
            ..autoint(1, &[])
        };
        refused(config.network(), "1 or more");
    }
    let dropout = DeepFmConfig {
        dropout: 1.0,
        ..deep_fm(1)
    };
    refused(dropout.network(), "[0, 1)");
}
