//! Which crate may use which.
//!
//! The arrows of `docs/architecture.md` as a table, checked against the manifests, so that an edge
//! against the design fails before anything is compiled. What comes in through third parties is
//! checked on cargo's resolved graph.

use std::path::Path;

use toml::{Table, Value};

use super::graph::Graph;
use super::manifests::{Dependency, Kind, Manifests, Member, layer_name};

const THIS_FILE: &str = "xtask/src/validate/layers.rs";
const CANDLE_PIN: &str = "=0.11.1";

/// What one crate may use.
struct Layer {
    name: &'static str,
    may_use: May,
    /// What its tests may use besides.
    tests_may_use: &'static [&'static str],
}

/// A set of crates.
enum May {
    Only(&'static [&'static str]),
    UseAll,
}

const METHODS_MAY_USE: May = May::Only(&["compact", "embedding", "fused", "nn", "rng"]);

/// From the bottom up. A new crate gets a line here; the design decides what the line says.
const LAYERS: &[Layer] = &[
    layer("rng", May::Only(&[]), &[]),
    layer("files", May::Only(&[]), &[]),
    layer("testkit", May::Only(&[]), &[]),
    layer("eval", May::Only(&[]), &["rng"]),
    layer("data", May::Only(&["files", "rng"]), &["eval"]),
    layer("compact", May::Only(&["files"]), &["rng"]),
    layer("embedding", May::Only(&["rng"]), &["testkit"]),
    layer("fused", May::Only(&["rng"]), &[]),
    layer("nn", May::Only(&["fused", "rng"]), &[]),
    layer("dlrm", May::Only(&["fused"]), &[]),
    layer("base-models", May::Only(&["fused"]), &[]),
    layer("score", SCORE_MAY_USE, &["rng", "testkit"]),
    layer("amtl", METHODS_MAY_USE, &["testkit"]),
    layer("pep", METHODS_MAY_USE, &["testkit"]),
    layer("mlet", METHODS_MAY_USE, &["testkit"]),
    layer("baselines", BASELINES_MAY_USE, &["testkit"]),
    layer("train", TRAIN_MAY_USE, &["testkit"]),
    layer("xtask", May::UseAll, &[]),
    layer("benches", May::UseAll, &[]),
];

/// Mixed dimensions are MLET's product with the narrow side in the table.
const BASELINES_MAY_USE: May = May::Only(&["compact", "embedding", "fused", "mlet", "rng"]);

const SCORE_MAY_USE: May = May::Only(&["base-models", "compact", "dlrm", "fused"]);

const TRAIN_MAY_USE: May = May::Only(&[
    "amtl",
    "base-models",
    "baselines",
    "compact",
    "data",
    "dlrm",
    "embedding",
    "eval",
    "files",
    "fused",
    "mlet",
    "nn",
    "pep",
    "rng",
    "score",
]);

/// Whoever loads data or scores with a finished table compiles no tensor library.
const FREE_OF_CANDLE: &[&str] = &[
    "base-models",
    "compact",
    "data",
    "dlrm",
    "embedding",
    "eval",
    "files",
    "fused",
    "rng",
    "score",
    "testkit",
];

const fn layer(name: &'static str, may_use: May, tests_may_use: &'static [&'static str]) -> Layer {
    Layer {
        name,
        may_use,
        tests_may_use,
    }
}

/// Checks the workspace below `root`; one sentence for each breach.
///
/// # Errors
/// When the manifests or cargo's graph cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let manifests = Manifests::read(root)?;
    let mut findings = check_pins(&manifests.root);
    for member in &manifests.members {
        findings.extend(check_inheritance(member));
        findings.extend(check_edges(member));
    }
    // Cargo refuses a graph with a cycle, and the edge that makes one is named already.
    if findings.is_empty() {
        findings = check_candle(&Graph::load(root)?);
    }
    Ok(findings)
}

fn check_pins(root: &Table) -> Vec<String> {
    let pinned = |package: &&str| {
        let line = &root["workspace"]["dependencies"].get(*package);
        let version = line.map(|line| line.get("version").unwrap_or(line));
        version.is_none_or(|v| v.as_str() == Some(CANDLE_PIN))
    };
    ["candle-core", "candle-nn"]
        .into_iter()
        .filter(|package| !pinned(package))
        .map(|p| format!("Cargo.toml: `{p}` must be pinned to \"{CANDLE_PIN}\": patch releases of candle have removed features"))
        .collect()
}

/// Versions, edition and lints stand in the root manifest only.
fn check_inheritance(member: &Member) -> Vec<String> {
    let path = member.path.display();
    let mut findings = Vec::new();
    for keys in [
        ["lints", "workspace"],
        ["package", "edition"],
        ["package", "rust-version"],
    ] {
        if !is_inherited(&member.manifest, keys) {
            let [table, key] = keys;
            findings.push(format!(
                "{path}: [{table}] must take `{key}` from the workspace"
            ));
        }
    }
    for dependency in member.dependencies.iter().filter(|d| !comes_from_root(d)) {
        let package = &dependency.package;
        findings.push(format!(
            "{path}: `{package}` must be `{package}.workspace = true`: versions and paths stand in the root manifest only"
        ));
    }
    findings
}

fn is_inherited(manifest: &Table, [table, key]: [&str; 2]) -> bool {
    let value = manifest.get(table).and_then(|t| t.get(key));
    let inherited = value.map(|v| v.get("workspace").unwrap_or(v));
    inherited.and_then(Value::as_bool) == Some(true)
}

fn comes_from_root(dependency: &Dependency) -> bool {
    let says = |key| dependency.value.get(key);
    says("workspace").and_then(Value::as_bool) == Some(true)
        && ["version", "path", "git"]
            .iter()
            .all(|key| says(key).is_none())
}

fn check_edges(member: &Member) -> Vec<String> {
    let (name, path) = (&member.layer, member.path.display());
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
        return vec![format!(
            "{path}: crate `{name}` has no layer: add a line to LAYERS in {THIS_FILE} that says what it may use"
        )];
    };
    let mut findings = Vec::new();
    for dependency in member.dependencies.iter().filter(|d| is_ours(&d.package)) {
        let to = layer_name(&dependency.package);
        if !layer.allows(to, dependency.kind) {
            let rule = layer.rule(dependency.kind);
            findings.push(format!(
                "{path}: edge {name} -> {to} is against the design: {rule} (LAYERS in {THIS_FILE})"
            ));
        }
    }
    findings
}

fn is_ours(package: &str) -> bool {
    package.starts_with("slimbed-") || package == "xtask"
}

impl Layer {
    fn allows(&self, to: &str, kind: Kind) -> bool {
        let library = match self.may_use {
            May::Only(names) => names.contains(&to),
            May::UseAll => true,
        };
        library || kind == Kind::Tests && self.tests_may_use.contains(&to)
    }

    fn rule(&self, kind: Kind) -> String {
        let May::Only(names) = self.may_use else {
            return format!("`{}` may use every crate", self.name);
        };
        let list = |names: &[&str]| match names {
            [] => "no crate of the workspace".to_owned(),
            names => names.join(", "),
        };
        match kind {
            Kind::Library => format!("`{}` may use {}", self.name, list(names)),
            Kind::Tests => {
                let all = [names, self.tests_may_use].concat();
                format!("the tests of `{}` may use {}", self.name, list(&all))
            }
        }
    }
}

fn check_candle(graph: &Graph) -> Vec<String> {
    let mut findings = Vec::new();
    for name in FREE_OF_CANDLE {
        let from = format!("slimbed-{name}");
        if let Some(path) = graph.path_to(&from, |package| package.starts_with("candle")) {
            findings.push(format!(
                "crate `{name}` must stay free of candle, but it reaches it: {} (FREE_OF_CANDLE in {THIS_FILE})",
                path.join(" -> ")
            ));
        }
    }
    findings
}
