//! Where a command's data comes from: a prepared folder, a recipe with files, or the generator.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context;
use clap::Args;
use slimbed_data::synth::{SynthModel, SynthSpec};
use slimbed_data::{Dataset, PrepareOptions, Recipe, Split};
use slimbed_rng::Seed;
use toml::{Table, Value};

use crate::data::prepare::prepare_shown;
use crate::data::synth::{path_of_report, write_files};
use crate::failure::BadInput;
use crate::settings::{load_recipe, recipe_with};

/// The recipe of the generator's data, so that the command works from any folder.
const SYNTHETIC_RECIPE: &str = include_str!("../../datasets/synthetic.toml");

/// Rows whose splits are drawn at a time.
const BLOCK: u64 = 1 << 16;

/// Flags that say which data to use.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// A recipe (TOML) that describes --input, or a folder made by `data prepare`. Without it, data is
    /// generated.
    #[arg(long, value_name = "RECIPE|DIR")]
    data: Option<PathBuf>,
    /// Raw files for the recipe, in order, or the one folder of a recipe that names its files; .gz and
    /// .zst are read as they are.
    #[arg(long, value_name = "FILE|DIR", num_args = 1.., requires = "data")]
    input: Vec<PathBuf>,
    /// Rows to generate when no data is given.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 600_000,
        conflicts_with = "data"
    )]
    rows: u64,
    /// Skip and count up to N malformed rows; one more is an error.
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_bad_rows: u64,
    /// Folder that keeps generated and prepared data for the next run.
    #[arg(long, value_name = "DIR", default_value = "prepared")]
    cache: PathBuf,
}

/// Prepared data and what is known of it.
pub struct Source {
    /// The data.
    pub dataset: Dataset,
    /// The recipe's `[model]` and `[train]` tables.
    pub recipe_settings: Table,
    /// The highest AUC any model can expect on the test split; known for generated data only.
    pub bayes_auc: Option<f64>,
}

impl SourceArgs {
    /// Whether data is generated because none was given.
    pub fn is_generated(&self) -> bool {
        self.data.is_none()
    }

    /// Opens the data, preparing or generating it first where that has not been done; `recipe_layers` are
    /// put over the recipe.
    ///
    /// # Errors
    /// On bad recipes and bad input; nothing half-written is left.
    pub fn open(&self, seed: Seed, recipe_layers: &[Table]) -> anyhow::Result<Source> {
        match &self.data {
            None => self.generated(seed, recipe_layers),
            Some(path) if path.is_dir() && !recipe_layers.is_empty() => {
                let message = format!(
                    "--set data.*: {} is prepared already; give a recipe and --input",
                    path.display()
                );
                Err(BadInput(message).into())
            }
            Some(path) if path.is_dir() => open_prepared(path),
            Some(path) if self.input.is_empty() => {
                let message = format!(
                    "--input FILE is needed beside the recipe {}",
                    path.display()
                );
                Err(BadInput(message).into())
            }
            Some(path) => self.prepared(&load_recipe(path, recipe_layers)?, &self.input, seed),
        }
    }

    fn generated(&self, seed: Seed, recipe_layers: &[Table]) -> anyhow::Result<Source> {
        let path = Path::new("datasets/synthetic.toml");
        let recipe = recipe_with(SYNTHETIC_RECIPE, path, recipe_layers)?;
        let model = SynthModel::new(SynthSpec::criteo_like(), seed)?;
        let spec = serde_json::to_string(model.spec())?;
        let name = format!(
            "synthetic-{}-s{}-{}.tsv",
            self.rows,
            seed.get(),
            digest(&spec)
        );
        let file = self.cache.join(name);
        if !path_of_report(&file).exists() {
            write_files(&model, self.rows, &file)?;
        }
        let source = self.prepared(&recipe, &[file], seed)?;
        let bayes_auc = bayes_auc_of_test_split(&model, &recipe, self.rows, seed);
        Ok(Source {
            bayes_auc,
            ..source
        })
    }

    /// Prepares into the cache under a name that changes with the recipe, the files and the seed.
    fn prepared(&self, recipe: &Recipe, input: &[PathBuf], seed: Seed) -> anyhow::Result<Source> {
        let key = cache_key(recipe, input, seed, self.max_bad_rows)?;
        let folder = self.cache.join(format!("{}-{key}", recipe.name));
        if !folder.exists() {
            let options = PrepareOptions {
                seed,
                max_bad_rows: self.max_bad_rows,
            };
            prepare_shown(recipe, input, &folder, &options)?;
        }
        open_prepared(&folder)
    }
}

fn open_prepared(folder: &Path) -> anyhow::Result<Source> {
    let dataset = Dataset::open(folder)?;
    let recipe = Recipe::parse(&dataset.meta().recipe, &folder.join("meta.json"))?;
    let sections = [
        ("model", recipe.defaults_model),
        ("train", recipe.defaults_train),
    ];
    let sections = sections.into_iter().filter(|(_, table)| !table.is_empty());
    let recipe_settings = sections
        .map(|(name, table)| (name.to_owned(), Value::Table(table)))
        .collect();
    Ok(Source {
        dataset,
        recipe_settings,
        bayes_auc: None,
    })
}

fn bayes_auc_of_test_split(
    model: &SynthModel,
    recipe: &Recipe,
    n_rows: u64,
    seed: Seed,
) -> Option<f64> {
    let splitter = slimbed_data::Splitter::new(&recipe.split, seed, n_rows)?;
    let blocks = (0..n_rows).step_by(BLOCK as usize);
    let test = blocks.flat_map(|first| {
        let rows = first..(first + BLOCK).min(n_rows);
        let pairs = rows.clone().zip(splitter.splits(rows));
        pairs
            .filter(|(_, split)| *split == Split::Test)
            .map(|(row, _)| row)
    });
    model.bayes(test).auc
}

fn cache_key(
    recipe: &Recipe,
    input: &[PathBuf],
    seed: Seed,
    max_bad_rows: u64,
) -> anyhow::Result<String> {
    let mut text = format!("{}\n{}\n{max_bad_rows}\n", recipe.source(), seed.get());
    for path in &recipe.input_files(input)? {
        let describe = || format!("cannot open {}", path.display());
        let file = fs::metadata(path)
            .map_err(|e| BadInput(e.to_string()))
            .with_context(describe)?;
        let modified = file
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        text += &format!("{}\n{}\n{modified:?}\n", path.display(), file.len());
    }
    Ok(digest(&text))
}

fn digest(text: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
}
