//! Every base model: the scorer against the network in training, and artefacts whose tables do not suit.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::path::Path;

use slimbed_base_models::{
    AutoIntConfig, DcnStructure, DcnV2Config, DeepFmConfig, FmConfig, LrConfig, WideDeepConfig,
};
use slimbed_compact::{Artefact, Bags, DenseTensor, Encoding, FieldTable, Pooling, Rows};
use slimbed_fused::{DenseRule, FusedNetwork, Inputs, Precision, WeightDecay};
use slimbed_rng::Seed;
use slimbed_score::{Batch, ModelSpec, Scorer, first_order_name};

const SEED: Seed = Seed::new(3);
const N_FIELDS: usize = 5;
const DIM: usize = 6;

/// Every model, with and without dense features.
fn specs() -> Vec<ModelSpec> {
    [0, 4].into_iter().flat_map(specs_with).collect()
}

fn specs_with(n_dense: usize) -> Vec<ModelSpec> {
    let (n_fields, dim, dropout) = (N_FIELDS, DIM, 0.5);
    let hidden = vec![9, 7];
    let dcn = |structure| DcnV2Config {
        n_dense,
        n_fields,
        dim,
        cross_layers: 2,
        structure,
        hidden: vec![8],
        dropout,
    };
    let autoint = |hidden: &[usize]| AutoIntConfig {
        n_dense,
        n_fields,
        dim,
        layers: 2,
        heads: 2,
        head_dim: 5,
        hidden: hidden.to_vec(),
        dropout,
    };
    vec![
        ModelSpec::Lr(LrConfig { n_dense, n_fields }),
        ModelSpec::Fm(FmConfig {
            n_dense,
            n_fields,
            dim,
        }),
        ModelSpec::DeepFm(DeepFmConfig {
            n_dense,
            n_fields,
            dim,
            hidden: hidden.clone(),
            dropout,
        }),
        ModelSpec::WideDeep(WideDeepConfig {
            n_dense,
            n_fields,
            dim,
            hidden,
            dropout,
        }),
        ModelSpec::DcnV2(dcn(DcnStructure::Stacked)),
        ModelSpec::DcnV2(dcn(DcnStructure::Parallel)),
        ModelSpec::AutoInt(autoint(&[])),
        ModelSpec::AutoInt(autoint(&[11])),
    ]
}

fn random(purpose: &str, index: usize, n: usize) -> Vec<f32> {
    let mut values = vec![0.0; n];
    let mut stream = SEED.stream(purpose, index as u64);
    stream.fill_uniform(&mut values, 1.0);
    values
}

fn n_rows(f: usize) -> usize {
    [3, 40, 700, 1, 9][f]
}

/// Rows of the tables, first-order weights behind the embeddings.
fn tables(spec: &ModelSpec) -> Vec<(String, usize, Vec<f32>)> {
    let (_, n_fields, dim) = spec.shape();
    let table = |f: usize| (format!("C{f}"), dim, random("table", f, n_rows(f) * dim));
    let weights = |f: usize| {
        let name = first_order_name(&format!("C{f}"));
        (name, 1, random("weights", f, n_rows(f)))
    };
    let n_weights = if spec.has_first_order() { n_fields } else { 0 };
    let embeddings = (0..n_fields).map(table);
    embeddings.chain((0..n_weights).map(weights)).collect()
}

fn network(spec: &ModelSpec) -> FusedNetwork {
    let (rule, decay) = (DenseRule::Sgd, WeightDecay::None);
    let network = spec.network().unwrap();
    let mut network = FusedNetwork::new(network, SEED, rule, decay, Precision::F32).unwrap();
    // Parameters that start at 0 would hide what they belong to.
    let mut params = network.export();
    for (i, tensor) in params.iter_mut().enumerate() {
        tensor.values = random("params", i, tensor.values.len());
        tensor.values.iter_mut().for_each(|x| *x *= 0.5);
    }
    network.import(&params).unwrap();
    network
}

fn write(path: &Path, spec: &ModelSpec, tables: &[(String, usize, Vec<f32>)]) {
    let fields = tables.iter().map(|(name, dim, values)| {
        let rows = Rows::new(values, *dim).unwrap();
        FieldTable::new(name, rows, Encoding::EXACT_DENSE, Pooling::Sum)
    });
    let weights = network(spec).export();
    let dense = weights.iter().map(|tensor| DenseTensor {
        name: &tensor.name,
        shape: &tensor.shape,
        values: &tensor.values,
    });
    let (fields, dense): (Vec<_>, Vec<_>) = (fields.collect(), dense.collect());
    let model = serde_json::to_value(spec).unwrap();
    slimbed_compact::write(path, &fields, &dense, model, serde_json::Value::Null).unwrap();
}

/// Ids of `n` samples; the last field has bags of 0 to 2.
fn ids(n: usize) -> Vec<(Vec<u32>, Option<Vec<u32>>)> {
    let draw = |f: usize, n: usize| {
        let mut stream = SEED.stream("ids", f as u64);
        (0..n)
            .map(|_| stream.below(n_rows(f) as u64) as u32)
            .collect::<Vec<_>>()
    };
    let mut ids: Vec<_> = (0..N_FIELDS - 1).map(|f| (draw(f, n), None)).collect();
    let offsets: Vec<u32> = (0..=n)
        .map(|b| (0..b).map(|b| b as u32 % 3).sum())
        .collect();
    let last = N_FIELDS - 1;
    ids.push((draw(last, offsets[n] as usize), Some(offsets)));
    ids
}

/// Sums of the rows of each bag, `[n, fields, dim]`.
fn pooled(
    tables: &[(String, usize, Vec<f32>)],
    ids: &[(Vec<u32>, Option<Vec<u32>>)],
    n: usize,
) -> Vec<f32> {
    let mut out = Vec::new();
    for b in 0..n {
        for ((_, dim, values), (ids, offsets)) in tables.iter().zip(ids) {
            let bag = match offsets {
                Some(offsets) => &ids[offsets[b] as usize..offsets[b + 1] as usize],
                None => &ids[b..=b],
            };
            let column = |d: usize| bag.iter().map(|&id| values[id as usize * dim + d]).sum();
            out.extend((0..*dim).map(column).collect::<Vec<f32>>());
        }
    }
    out
}

#[test]
fn every_model_scores_like_its_network_in_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for spec in specs() {
        let tables = tables(&spec);
        write(&path, &spec, &tables);
        let artefact = Artefact::open(&path).unwrap();
        let scorer = Scorer::new(&artefact).unwrap();
        for n in [0, 1, 2, 64, 65, 200] {
            let (n_dense, ..) = spec.shape();
            let (dense, ids) = (random("dense", 0, n * n_dense), ids(n));
            let fields: Vec<Bags<'_>> = ids
                .iter()
                .map(|(ids, offsets)| Bags {
                    offsets: offsets.as_deref(),
                    ..Bags::single(ids)
                })
                .collect();
            let batch = Batch {
                n,
                dense: &dense,
                fields: &fields,
            };
            let (mut found, mut expected) = (vec![f32::NAN; n], vec![f32::NAN; n]);
            scorer.logits(&batch, &mut found).unwrap();
            let (embeddings, weights) = tables.split_at(N_FIELDS);
            let inputs = Inputs {
                n,
                dense: &dense,
                embeddings: &pooled(embeddings, &ids, n),
                first_order: &pooled(weights, &ids, n),
            };
            network(&spec).logits(inputs, &mut expected).unwrap();
            for (found, expected) in found.iter().zip(&expected) {
                let error = (found - expected).abs();
                let least = 1e-5 * expected.abs().max(1.0);
                assert!(error <= least, "{spec:?}: {found} for {expected}");
            }
        }
    }
}

#[test]
fn a_description_is_read_back() {
    for spec in specs() {
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(serde_json::from_value::<ModelSpec>(json).unwrap(), spec);
    }
    let kinds = specs_with(1).into_iter().map(|spec| {
        let json = serde_json::to_value(&spec).unwrap();
        json["kind"].as_str().unwrap().to_owned()
    });
    let expected = [
        "lr",
        "fm",
        "deepfm",
        "wide-deep",
        "dcn-v2",
        "dcn-v2",
        "autoint",
        "autoint",
    ];
    assert_eq!(kinds.collect::<Vec<_>>(), expected);
}

#[test]
fn tables_that_do_not_suit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let spec = &specs()[1];
    let whole = tables(spec);
    let refused = |tables: &[(String, usize, Vec<f32>)]| {
        write(&path, spec, tables);
        let artefact = Artefact::open(&path).unwrap();
        Scorer::new(&artefact).unwrap_err().to_string()
    };
    assert_eq!(
        refused(&whole[..N_FIELDS]),
        "number of tables: the network expects 10, found 5"
    );
    let mut wide = whole.clone();
    wide[7].1 = 2;
    assert_eq!(
        refused(&wide),
        "dim of table `C2.first-order`: the network expects 1, found 2"
    );
    let mut short = whole.clone();
    short[6].2.pop();
    assert_eq!(
        refused(&short),
        "number of rows of table `C1.first-order`: the network expects 40, found 39"
    );
}
