//! `--set key=value`: settings over files and defaults.

use std::path::{Path, PathBuf};

use clap::Args;
use slimbed_data::{DataError, Recipe};
use slimbed_files::IoContext;
use slimbed_train::parse_pair;
use toml::{Table, Value};

use crate::failure::BadInput;

/// The flag.
#[derive(Clone, Debug, Default, Args)]
pub struct SetArgs {
    /// A setting; the value is TOML, and what is no TOML is a string. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pairs: Vec<String>,
}

impl SetArgs {
    /// The pairs as tables, in order.
    ///
    /// # Errors
    /// When a pair has no `=`.
    pub fn tables(&self) -> anyhow::Result<Vec<Table>> {
        let tables = self.pairs.iter().map(|pair| parse_pair(pair));
        Ok(tables.collect::<Result<_, _>>()?)
    }
}

/// Puts `layers` over `table`, key by key; later ones win.
pub fn overlay(table: &mut Table, layers: &[Table]) {
    for (key, value) in layers.iter().flatten() {
        match (table.get_mut(key), value) {
            (Some(Value::Table(inner)), Value::Table(layer)) => {
                overlay(inner, std::slice::from_ref(layer));
            }
            _ => {
                table.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Reads the recipe at `path`, with `layers` over it.
///
/// # Errors
/// Names the line of the recipe; with layers, the line of the recipe they make.
pub fn load_recipe(path: &Path, layers: &[Table]) -> anyhow::Result<Recipe> {
    if layers.is_empty() {
        return Ok(Recipe::load(path)?);
    }
    let text = std::fs::read_to_string(path).at("read recipe", path)?;
    Ok(recipe_with(&text, path, layers)?)
}

/// Reads a recipe from its text, with `layers` over it.
///
/// # Errors
/// As [`load_recipe`].
pub fn recipe_with(text: &str, path: &Path, layers: &[Table]) -> Result<Recipe, DataError> {
    if layers.is_empty() {
        return Recipe::parse(text, path);
    }
    // A text that is no TOML at all is reported with its own line.
    let Ok(mut table) = text.parse::<Table>() else {
        return Recipe::parse(text, path);
    };
    overlay(&mut table, layers);
    let path = PathBuf::from(format!("{} with --set", path.display()));
    Recipe::parse(&table.to_string(), &path)
}

/// Takes the group `name` out of every layer.
///
/// # Errors
/// When it is given a value of its own.
pub fn take_group(layers: &mut [Table], name: &str) -> Result<Vec<Table>, BadInput> {
    let groups = layers.iter_mut().filter_map(|layer| layer.remove(name));
    groups
        .map(|group| match group {
            Value::Table(group) => Ok(group),
            other => Err(BadInput(format!(
                "setting `{name}`: expected a group of settings, found {other}"
            ))),
        })
        .collect()
}
