//! Which reduction methods a command trains, and how they compare.

use clap::Args;
use slimbed_train::{MethodKind, PhaseRecord, Report};
use toml::{Table, Value};

use crate::output::human_bytes;

/// The flags.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Reduction")]
pub struct ReductionArgs {
    /// Reduction methods, trained one after the other and compared: none, amtl, pep, mlet, mlet-pep, magnitude,
    /// deeplight, autoemb, uniform, hash, qr, mixed-dim, cutoff.
    /// On generated data the default is none,pep,amtl,mlet, PEP with a tenth of the values, AMTL aiming at 40 % of
    /// them and MLET at a quarter of the dim; on other data it is none.
    #[arg(long = "method", value_name = "NAME", value_delimiter = ',', value_parser = parse_method)]
    methods: Vec<MethodKind>,
    /// Bytes that the shipped file may take, for example 5MB; short for --set method.budget=BYTES.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, conflicts_with = "ratio")]
    budget: Option<u64>,
    /// Dense bytes of the tables over the bytes they may take in the file; short for --set method.ratio=N.
    #[arg(long, value_name = "N")]
    ratio: Option<f64>,
}

/// What is compared where nothing was asked for.
const COMPARED: [MethodKind; 4] = [
    MethodKind::None,
    MethodKind::Pep,
    MethodKind::Amtl,
    MethodKind::Mlet,
];

impl ReductionArgs {
    /// Budget and ratio as settings.
    pub fn tables(&self) -> Vec<Table> {
        let budget = self.budget.map(|n| ("budget", Value::Integer(n as i64)));
        let ratio = self.ratio.map(|x| ("ratio", Value::Float(x)));
        budget
            .into_iter()
            .chain(ratio)
            .map(|(key, value)| method_setting(key, value))
            .collect()
    }

    /// The methods asked for, with the flag or in `settings`.
    pub fn chosen(&self, is_generated: bool, settings: &[Table]) -> Chosen {
        if !self.methods.is_empty() {
            return Chosen::Methods(self.methods.clone());
        }
        let mut named = settings
            .iter()
            .filter_map(|layer| layer.get("method")?.get("name")?.as_str());
        match named.next_back().and_then(|name| parse_method(name).ok()) {
            Some(method) => Chosen::Methods(vec![method]),
            None if is_generated => Chosen::Tour,
            None => Chosen::Methods(vec![MethodKind::None]),
        }
    }
}

/// What a command trains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// These methods, as the settings say.
    Methods(Vec<MethodKind>),
    /// Plain tables and each of the papers' methods, small: what a newcomer sees.
    Tour,
}

impl Chosen {
    /// The methods, each with its settings; `dim` is that of plain tables.
    pub fn layers(&self, dim: usize) -> Vec<(MethodKind, Table)> {
        let layers = |methods: &[MethodKind], layer: &dyn Fn(MethodKind) -> Table| {
            let layers = methods.iter().map(|&method| (method, layer(method)));
            layers.collect()
        };
        match self {
            Self::Methods(methods) => layers(methods, &method_layer),
            Self::Tour => layers(&COMPARED, &|method| tour_layer(method, dim)),
        }
    }
}

/// The settings of a method on the tour: PEP and AMTL with their share of the values, MLET at a quarter of the dim.
fn tour_layer(method: MethodKind, dim: usize) -> Table {
    let quarter = dim.div_ceil(4) as i64;
    let mut pairs = vec![("method", "name", Value::String(method.name().into()))];
    pairs.extend(match method {
        MethodKind::Pep => vec![("method", "keep", Value::Float(0.1))],
        MethodKind::Amtl => vec![("method", "keep", Value::Float(0.4))],
        MethodKind::Mlet => vec![
            ("model", "dim", Value::Integer(quarter)),
            ("mlet", "inner_dim", Value::Integer(4 * dim as i64)),
        ],
        _ => Vec::new(),
    });
    let mut layer = Table::new();
    for (group, key, value) in pairs {
        let group = layer
            .entry(group)
            .or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(group) = group {
            group.insert(key.into(), value);
        }
    }
    layer
}

/// The setting that chooses a method.
fn method_layer(method: MethodKind) -> Table {
    method_setting("name", Value::String(method.name().into()))
}

fn method_setting(key: &str, value: Value) -> Table {
    let group = Table::from_iter([(key.to_owned(), value)]);
    Table::from_iter([("method".to_owned(), Value::Table(group))])
}

fn parse_method(name: &str) -> Result<MethodKind, String> {
    let all = MethodKind::ALL;
    let found = all.into_iter().find(|method| method.name() == name);
    found.ok_or_else(|| format!("expected one of {}", all.map(MethodKind::name).join(", ")))
}

/// `5MB`, `1.5GB`, `20kB`, `4096`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[number.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        _ => return Err("expected bytes, for example 4096, 20kB, 5MB or 1.5GB".into()),
    };
    match number.trim().parse::<f64>() {
        Ok(n) if n * factor >= 1.0 && n.is_finite() => Ok((n * factor) as u64),
        _ => Err("expected a positive number of bytes, for example 5MB".into()),
    }
}

/// The runs side by side; ratios are to the dense bytes of the largest.
pub fn comparison(reports: &[Report]) -> String {
    let dense = reports.iter().map(|report| report.dense_bytes).max();
    let dense = dense.unwrap_or_default();
    let header = format!(
        "{:<10} {:>10} {:>7} {:>10} {:>10} {:>10} {:>9}\n",
        "method", "file", "ratio", "val AUC", "test AUC", "logloss", "training"
    );
    let line = |report: &Report| {
        format!(
            "{:<10} {:>10} {:>7.2} {:>10.6} {:>10.6} {:>10.6} {:>7.1} s\n",
            report.method,
            human_bytes(report.artefact_bytes),
            dense as f64 / report.artefact_bytes as f64,
            report.val_auc,
            report.test_auc,
            report.test_logloss,
            report.train_secs,
        )
    };
    header + &reports.iter().map(line).collect::<String>()
}

/// The ledger of a run of several phases; nothing for one.
pub fn phases_table(phases: &[PhaseRecord]) -> String {
    if phases.len() < 2 {
        return String::new();
    }
    let header = format!(
        "{:<10} {:>8} {:>9} {:>10} {:>12} {:>12} {:>10}\n",
        "phase", "steps", "training", "val AUC", "trained", "kept", "as f32"
    );
    let line = |phase: &PhaseRecord| {
        format!(
            "{:<10} {:>8} {:>7.1} s {:>10.6} {:>12} {:>12} {:>10}\n",
            phase.phase,
            phase.n_steps,
            phase.train_secs,
            phase.val_auc,
            phase.n_trained,
            phase.n_kept,
            human_bytes(phase.bytes),
        )
    };
    header + &phases.iter().map(line).collect::<String>() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_units() {
        assert_eq!(parse_bytes("5MB"), Ok(5_000_000));
        assert_eq!(parse_bytes("1.5kB"), Ok(1500));
        assert_eq!(parse_bytes("4096"), Ok(4096));
        for bad in ["", "MB", "5TBs", "-1", "0"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_method_in_the_settings_is_the_one() {
        let args = ReductionArgs::default();
        let methods = |methods: &[MethodKind]| Chosen::Methods(methods.to_vec());
        assert_eq!(args.chosen(true, &[]), Chosen::Tour);
        assert_eq!(args.chosen(false, &[]), methods(&[MethodKind::None]));
        let set = [method_layer(MethodKind::Mlet)];
        assert_eq!(args.chosen(true, &set), methods(&[MethodKind::Mlet]));
    }
}
