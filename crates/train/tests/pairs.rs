//! Every model with every method and baseline: trained, shipped, reopened, scored.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

#[path = "resume/world.rs"]
#[expect(
    dead_code,
    reason = "of what the tests of resuming share, not all is needed"
)]
mod world;

use std::error::Error;
use std::path::Path;
use std::thread;

use candle_core::Device;
use slimbed_compact::{Artefact, StoredTables, TableSource, Values};
use slimbed_data::{Dataset, Split};
use slimbed_train::{
    Config, ExportConfig, MethodKind, ModelKind, SavedRun, Scores, ShipRequest, best_learner,
    part_bytes, run, score, score_artefact, ship,
};

use world::World;

type Checked = Result<(), Box<dyn Error>>;

/// Half a step of an int8 is at most 1/255 of the largest value of those that share its scale; scale and bias are
/// rounded to f16 besides.
const INT8: f32 = 1.0 / 128.0;

/// Rows that share a scale where rows keep few values.
const BLOCK: usize = 128;

/// An epoch of about 50 steps with 0.4 of the values; fast enough to be past the click rate at its end.
fn config(model: ModelKind, method: MethodKind) -> Config {
    let mut config = world::config();
    config.model.kind = model;
    if model == ModelKind::Lr {
        config.model.dim = 1;
    }
    (config.model.cross_layers, config.model.attention_layers) = (1, 2);
    config.model.attention_dim = 3;
    config.method.name = method;
    config.method.keep = 0.4;
    // So few ids that their own thresholds would leave every table as it is.
    (config.hash.threshold, config.qr.threshold) = (4, 4);
    config.train.epochs = 1;
    config.train.batch_size = 26;
    config.train.lr = 0.01;
    config.train.weight_decay = 0.0;
    config.train.embedding_lr = 0.04;
    config.train.validate_every = 1000;
    config.train.checkpoint_every = 0;
    config.export.values = Values::F32;
    config
}

/// What the error says where rows of one value cannot become fewer values; `None`: they can, or are larger.
fn refusal(model: ModelKind, method: MethodKind) -> Option<&'static str> {
    if model != ModelKind::Lr {
        return None;
    }
    match method {
        MethodKind::Amtl => Some("the smallest size of every row, or amtl.zero_size=allowed"),
        MethodKind::Autoemb => Some("the smallest size of every row, found"),
        MethodKind::Uniform | MethodKind::Mlet | MethodKind::MixedDim => {
            Some("expected a budget of at least")
        }
        MethodKind::None
        | MethodKind::Pep
        | MethodKind::MletPep
        | MethodKind::Magnitude
        | MethodKind::Deeplight
        | MethodKind::Hash
        | MethodKind::Qr
        | MethodKind::Cutoff => None,
    }
}

/// Scores of a file that is opened for it.
fn shipped(path: &Path, dataset: &Dataset) -> Result<Scores, Box<dyn Error>> {
    Ok(score_artefact(
        path,
        dataset,
        Split::Test,
        &Device::Cpu,
        &|_| {},
    )?)
}

fn largest(logits: &[f32]) -> f32 {
    logits.iter().fold(1.0, |most: f32, z| most.max(z.abs()))
}

fn distance(a: &Scores, b: &Scores) -> f32 {
    assert_eq!(a.labels, b.labels);
    let pairs = a.logits.iter().zip(&b.logits);
    pairs.fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()))
}

fn same(what: &str, expected: &Scores, found: &Scores) -> Checked {
    let (distance, bound) = (distance(expected, found), 1e-6 * largest(&expected.logits));
    if distance <= bound {
        return Ok(());
    }
    Err(format!("{what}: logits differ by {distance:e}, expected at most {bound:e}").into())
}

/// Ships the tables at `from` with these values.
fn ship_as(values: Values, from: &Path, to: &Path) -> Checked {
    let source = StoredTables::open(from)?;
    let settings = ExportConfig {
        values,
        ..ExportConfig::default()
    };
    let request = ShipRequest {
        before: from,
        source: &source,
        settings: &settings,
        dataset: None,
    };
    ship(&request, to, serde_json::Value::Null)?;
    Ok(())
}

/// Every stored row is as near to the exact one as its integers can be.
fn rows_are_near(exact: &Path, found: &Path) -> Checked {
    let [exact, found] = [exact, found].map(StoredTables::open);
    let (exact, found) = (exact?, found?);
    for (f, field) in exact.fields().iter().enumerate() {
        for (i, part) in field.parts.iter().enumerate() {
            let (a, b) = (exact.part(f, i)?, found.part(f, i)?);
            let blocks = a.chunks(BLOCK * part.dim).zip(b.chunks(BLOCK * part.dim));
            for (block, (a, b)) in blocks.enumerate() {
                let bound = INT8 * a.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
                if let Some((a, b)) = a.iter().zip(b).find(|(a, b)| (*a - *b).abs() > bound) {
                    let name = &field.name;
                    return Err(format!("{name}, block {block}: {a} as int8 {b}").into());
                }
            }
        }
    }
    Ok(())
}

/// The int8 file scores what its decoded rows score, and these are the exact rows but for their rounding.
fn quantised(world: &World, exact: &Path, expected: &Scores) -> Checked {
    let [int8, decoded] = ["int8", "decoded"].map(|name| exact.with_file_name(name));
    ship_as(Values::Int8, exact, &int8)?;
    let scores = shipped(&int8, &world.dataset)?;
    rows_are_near(exact, &int8)?;
    ship_as(Values::F32, &int8, &decoded)?;
    same("int8", &shipped(&decoded, &world.dataset)?, &scores)?;
    let (distance, bound) = (
        distance(expected, &scores),
        0.05 * largest(&expected.logits),
    );
    if distance > bound {
        return Err(format!("int8: logits are off by {distance}, expected {bound}").into());
    }
    let [before, after] = [exact, &int8].map(Artefact::open);
    let [before, after] = [before?, after?].map(|artefact| part_bytes(&artefact).tables);
    if after >= before {
        return Err(format!("int8: {after} bytes of tables, as f32 {before}").into());
    }
    Ok(())
}

fn check(world: &World, model: ModelKind, method: MethodKind) -> Checked {
    let mut config = config(model, method);
    let name = format!("{}-{}", model.name(), method.name());
    if let Some(refusal) = refusal(model, method) {
        match run(&world.request(&name, &config)) {
            Err(error) if error.to_string().contains(refusal) => config.method.keep = 0.0,
            Err(error) => return Err(format!("{error}, expected `{refusal}`").into()),
            Ok(_) => return Err(format!("expected the error `{refusal}`").into()),
        }
    }
    let report = run(&world.request(&name, &config))?;
    let trained = SavedRun::open(&world.folder.path().join("runs").join(&report.run))?;
    if !(45..=55).contains(&report.n_steps) {
        return Err(format!("{} steps", report.n_steps).into());
    }
    let mut learner = best_learner(&trained, &world.dataset, &Device::Cpu)?;
    let live = score(&mut learner, &world.dataset, Split::Test, &|_| {})?;
    let spread = live
        .logits
        .iter()
        .fold(0.0, |most: f32, z| most.max((z - live.logits[0]).abs()));
    if spread < 0.01 {
        return Err(format!("all samples have the same score: {spread}").into());
    }
    let exact = shipped(&report.artefact, &world.dataset)?;
    same("f32", &live, &exact)?;
    quantised(world, &report.artefact, &exact)
}

/// What fails of a model with each method.
fn failures(world: &World, model: ModelKind) -> Vec<String> {
    let all = MethodKind::ALL.into_iter();
    let failed = all.filter_map(|method| {
        let error = check(world, model, method).err()?;
        Some(format!("{} x {}: {error}", model.name(), method.name()))
    });
    failed.collect()
}

#[test]
fn every_pair_scores_from_its_file_what_it_scored_in_training() {
    let world = World::new();
    let failed: Vec<String> = thread::scope(|scope| {
        let world = &world;
        let models = ModelKind::ALL.map(|model| scope.spawn(move || failures(world, model)));
        models.map(|model| model.join().unwrap()).concat()
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
