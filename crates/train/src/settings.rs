//! Layers of settings: defaults, then the recipe, then `key=value` pairs.

use toml::{Table, Value};

use crate::{Config, ModelKind, TrainError};

/// Puts `layers` over the defaults, later ones winning, and checks the result.
///
/// # Errors
/// Names the first key that does not exist (with a suggestion) or whose value cannot work.
pub fn resolve(layers: &[Table]) -> Result<Config, TrainError> {
    let mut merged = defaults();
    for layer in layers {
        merge(&mut merged, layer, "")?;
    }
    let mut config = Config::deserialize_from(merged)?;
    if config.model.kind == ModelKind::Lr {
        // The embedding of an id is its weight.
        config.model.dim = 1;
    }
    config.check()?;
    Ok(config)
}

/// Reads one `--set` pair: `train.lr=0.01`, `model.top=[64, 32]`, `train.optimizer=adam`.
///
/// The value is TOML; what is no TOML is taken as a string.
///
/// # Errors
/// When there is no `=`.
pub fn parse_pair(pair: &str) -> Result<Table, TrainError> {
    let Some((key, value)) = pair.split_once('=') else {
        return Err(setting(pair, "key=value", "no `=`", ""));
    };
    let (key, value) = (key.trim(), value.trim());
    let value = format!("value = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or(key);
    let mut table = Table::from_iter([(last.to_owned(), value)]);
    for part in parts.into_iter().rev() {
        table = Table::from_iter([(part.to_owned(), Value::Table(table))]);
    }
    Ok(table)
}

fn defaults() -> Table {
    Table::try_from(Config::default()).expect("the defaults are plain TOML")
}

/// The group whose keys are the names of fields.
const OPEN_GROUP: &str = "mlet.fields.";

fn merge(target: &mut Table, layer: &Table, prefix: &str) -> Result<(), TrainError> {
    for (key, value) in layer {
        let full = format!("{prefix}{key}");
        if prefix == OPEN_GROUP {
            target.insert(key.clone(), value.clone());
            continue;
        }
        let Some(slot) = target.get_mut(key) else {
            let keys = target.keys().map(String::as_str).collect::<Vec<_>>();
            return Err(setting(
                &full,
                &format!("one of {}", keys.join(", ")),
                key,
                nearest(key, &keys),
            ));
        };
        match (slot, value) {
            (Value::Table(inner), Value::Table(layer)) => merge(inner, layer, &format!("{full}."))?,
            (Value::Table(_), other) => {
                return Err(setting(
                    &full,
                    "a group of settings",
                    &other.to_string(),
                    "",
                ));
            }
            // `lr = 1` means 1.0.
            (slot @ Value::Float(_), &Value::Integer(n)) => *slot = Value::Float(n as f64),
            (slot, value) => *slot = value.clone(),
        }
    }
    Ok(())
}

/// The key most like `key`, or nothing when none is.
fn nearest<'a>(key: &str, keys: &[&'a str]) -> &'a str {
    let scored = keys.iter().map(|k| (strsim::jaro_winkler(key, k), *k));
    scored
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.7)
        .map_or("", |(_, key)| key)
}

impl Config {
    fn deserialize_from(table: Table) -> Result<Self, TrainError> {
        // Section by section and key by key, so that an error names the key.
        let mut known = defaults();
        for (section, value) in &table {
            let Value::Table(values) = value else {
                continue;
            };
            for (key, value) in values {
                let Some(Value::Table(target)) = known.get_mut(section) else {
                    continue;
                };
                target.insert(key.clone(), value.clone());
                if let Err(error) = Self::try_from_table(&known) {
                    let full = format!("{section}.{key}");
                    return Err(setting(&full, &expectation(&error), &value.to_string(), ""));
                }
            }
        }
        Self::try_from_table(&known).map_err(|e| setting("settings", &expectation(&e), "", ""))
    }

    fn try_from_table(table: &Table) -> Result<Self, toml::de::Error> {
        table.clone().try_into()
    }
}

/// The first line of serde's message: what it expected.
fn expectation(error: &toml::de::Error) -> String {
    let message = error.message();
    let expected = message
        .rsplit_once("expected ")
        .map_or(message, |(_, expected)| expected);
    expected.lines().next().unwrap_or_default().to_owned()
}

fn setting(key: &str, expected: &str, found: &str, suggestion: &str) -> TrainError {
    let hint = match suggestion {
        "" => String::new(),
        key => format!("; did you mean `{key}`?"),
    };
    TrainError::Setting {
        key: key.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
        hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DenseOptimizerKind;

    fn resolved(pairs: &[&str]) -> Result<Config, String> {
        let layers: Result<Vec<_>, _> = pairs.iter().map(|pair| parse_pair(pair)).collect();
        layers
            .and_then(|layers| resolve(&layers))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn later_layers_win() {
        let config = resolved(&[
            "train.lr=0.5",
            "model.top=[8, 4]",
            "train.optimizer=sgd",
            "train.lr=1",
            "model.kind=dlrm",
        ]);
        let config = config.unwrap();
        assert_eq!(
            (config.train.lr, config.train.optimizer),
            (1.0, DenseOptimizerKind::Sgd)
        );
        assert_eq!(
            (config.model.top, config.model.kind),
            (vec![8, 4], ModelKind::Dlrm)
        );
    }

    #[test]
    fn every_model_has_its_name() {
        for kind in ModelKind::ALL {
            let config = resolved(&[&format!("model.kind={}", kind.name())]).unwrap();
            assert_eq!(config.model.kind, kind);
            assert_eq!(config.model.dim == 1, kind == ModelKind::Lr, "{kind:?}");
        }
    }

    #[test]
    fn no_layers_give_the_defaults() {
        assert_eq!(resolve(&[]).unwrap(), Config::default());
    }

    #[test]
    fn bad_settings_are_named() {
        let cases = [
            ("train.optimiser=adam", "`train.optimiser`: expected one of"),
            ("train.optimiser=adam", "did you mean `optimizer`?"),
            ("trian.lr=1", "did you mean `train`?"),
            ("train.lr=fast", "`train.lr`: expected"),
            (
                "train.lr=-1",
                "`train.lr`: expected a positive number, found -1",
            ),
            ("train.optimizer=lion", "`train.optimizer`: expected"),
            ("model.dropout=1", "[0, 1)"),
            ("model.kind=gru", "`model.kind`: expected"),
            (
                "model.cross_layers=0",
                "`model.cross_layers`: expected at least 1",
            ),
            ("train.batch_size=0", "at least 1"),
            ("train=3", "`train`: expected a group of settings"),
            ("lr", "expected key=value"),
        ];
        for (pair, message) in cases {
            let error = resolved(&[pair]).unwrap_err();
            assert!(error.contains(message), "{pair}: {error}");
        }
    }
}
