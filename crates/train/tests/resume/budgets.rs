//! Files fit their budget, whatever the method.

use slimbed_train::{Config, MethodKind, ModelKind, Report};

use crate::methods::{of_method, report};
use crate::world::World;

/// The least share of a budget that a method's file takes; `None`: it reduces nothing.
///
/// Where single values or rows go, 0.95; dims and divisors go in steps.
fn reach(method: MethodKind) -> Option<f64> {
    match method {
        MethodKind::Pep
        | MethodKind::MletPep
        | MethodKind::Magnitude
        | MethodKind::Amtl
        | MethodKind::Deeplight
        | MethodKind::Autoemb
        | MethodKind::Hash
        | MethodKind::Cutoff => Some(0.95),
        MethodKind::Qr | MethodKind::MixedDim | MethodKind::Uniform | MethodKind::Mlet => Some(0.7),
        MethodKind::None => None,
    }
}

/// Every method that reduces, and the share of a budget that it reaches.
fn reducing() -> impl Iterator<Item = (MethodKind, f64)> {
    let all = MethodKind::ALL.into_iter();
    all.filter_map(|method| Some((method, reach(method)?)))
}

/// A model without first-order weights, which no method reduces, and one with them.
const MODELS: [ModelKind; 2] = [ModelKind::Dlrm, ModelKind::DeepFm];

/// Wide enough for half of it to be enough.
fn wide(method: MethodKind) -> Config {
    let mut config = of_method(method);
    config.model.dim = 8;
    (config.hash.threshold, config.qr.threshold) = (4, 4);
    config
}

fn with_budget(world: &World, model: ModelKind, method: MethodKind, budget: u64) -> Report {
    let mut config = wide(method);
    config.model.kind = model;
    config.method.budget = budget;
    let name = format!("{}-{}", model.name(), method.name());
    let run = world.finished(&name, &config);
    let bytes = std::fs::metadata(run.dir().artefact()).unwrap().len();
    let report = report(&run);
    assert_eq!(bytes, report.card.bytes, "{method:?}");
    report
}

#[test]
fn files_fit_their_budget() {
    let world = World::new();
    for model in MODELS {
        let mut config = wide(MethodKind::None);
        config.model.kind = model;
        let plain = report(&world.finished(model.name(), &config)).card;
        let n_rows = world.dataset.fields().iter();
        let n_rows: u64 = n_rows.map(|field| u64::from(field.n_rows)).sum();
        // Half of the rows of 8 values.
        let budget = plain.bytes - 16 * n_rows;
        for (method, reach) in reducing() {
            let bytes = with_budget(&world, model, method, budget).card.bytes;
            let pair = format!("{} x {}", model.name(), method.name());
            assert!(bytes <= budget, "{pair}: {bytes} of {budget}");
            let least = reach * budget as f64;
            assert!(bytes as f64 >= least, "{pair}: {bytes} of {budget}");
        }
    }
}

#[test]
fn tables_fit_their_ratio() {
    let world = World::new();
    let plain = report(&world.finished("plain", &wide(MethodKind::None)));
    for method in [
        MethodKind::Magnitude,
        MethodKind::Hash,
        MethodKind::Qr,
        MethodKind::Uniform,
    ] {
        let mut config = wide(method);
        config.method.ratio = 2.0;
        let tables = report(&world.finished(method.name(), &config)).card.parts;
        let most = plain.card.parts.tables as f64 / 2.0;
        assert!(tables.tables as f64 <= most, "{method:?}: {tables:?}");
    }
}

#[test]
fn impossible_budgets_name_the_smallest() {
    let world = World::new();
    let pairs = MODELS
        .into_iter()
        .flat_map(|model| reducing().map(move |(method, _)| (model, method)));
    for (model, method) in pairs {
        let pair = format!("{} x {}", model.name(), method.name());
        let mut config = of_method(method);
        config.model.kind = model;
        config.method.budget = 10;
        let error = slimbed_train::run(&world.request("tiny", &config)).unwrap_err();
        let error = error.to_string();
        let start = "expected a budget of at least ";
        assert!(error.starts_with(start), "{pair}: {error}");
        assert!(
            error.ends_with("bytes for the shipped file, found 10"),
            "{pair}: {error}"
        );
        let smallest = error[start.len()..].split(' ').next().unwrap();
        let smallest: u64 = smallest.parse().unwrap();
        assert!(smallest > 1000, "{pair}: {error}");
    }
    let mut config = of_method(MethodKind::Hash);
    config.method.keep = 1e-6;
    let error = slimbed_train::run(&world.request("few", &config)).unwrap_err();
    assert!(error.to_string().contains("values, found"), "{error}");
    config.method.budget = 100_000;
    config.export.max_auc_drop = 0.1;
    assert!(
        config.check().is_err(),
        "bytes of types selected later are not known"
    );
}
