//! Small data and small runs on it.

use std::fs;

use candle_core::Device;
use serde_json::Map;
use slimbed_data::synth::{SynthModel, SynthSpec, write_tsv};
use slimbed_data::{Dataset, PrepareOptions, Recipe, prepare};
use slimbed_rng::Seed;
use slimbed_train::{Config, DenseOptimizerKind, RunRequest, SavedRun, SparseOptimizerKind};
use tempfile::TempDir;

pub const SEED: Seed = Seed::new(3);

const RECIPE: &str = r#"name = "small"
format = "tsv"
n_columns = 11
[label]
column = 1
[[dense]]
columns = "2-5"
names = "I1-I4"
transform = "log1p"
[[fields]]
columns = "6-11"
names = "C1-C6"
kind = "hex"
[split]
kind = "random"
shares = { train = 8, validation = 1, test = 1 }
"#;

/// A folder with prepared data and room for runs.
pub struct World {
    pub folder: TempDir,
    pub dataset: Dataset,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rows = folder.path().join("rows.tsv");
        let model = SynthModel::new(SynthSpec::small(), SEED).unwrap();
        let mut file = fs::File::create(&rows).unwrap();
        write_tsv(&model, 1600, &mut file, &mut |_| {}).unwrap();
        let recipe = Recipe::parse(RECIPE, "small.toml".as_ref()).unwrap();
        let options = PrepareOptions {
            seed: SEED,
            max_bad_rows: 0,
        };
        let data = folder.path().join("data");
        prepare(&recipe, &[rows], &data, &options, &|_| {}).unwrap();
        let dataset = Dataset::open(&data).unwrap();
        Self { folder, dataset }
    }

    pub fn request(&self, name: &str, config: &Config) -> RunRequest<'_> {
        RunRequest {
            dataset: &self.dataset,
            config: config.clone(),
            seed: SEED,
            device: Device::Cpu,
            root: self.folder.path().join("runs"),
            name: name.into(),
            extra: Map::from_iter([("bayes_auc".into(), 0.75.into())]),
        }
    }

    /// A finished run.
    pub fn finished(&self, name: &str, config: &Config) -> SavedRun {
        let ended = slimbed_train::run(&self.request(name, config));
        ended.unwrap_or_else(|error| panic!("{name}: {error}"));
        SavedRun::open(&self.folder.path().join("runs").join(name)).unwrap()
    }
}

/// Two epochs of 21 steps with everything that has a state, and a checkpoint every fifth step.
pub fn config() -> Config {
    let mut config = Config::default();
    config.model.dim = 4;
    config.model.bottom = vec![8];
    config.model.top = vec![8];
    config.model.dropout = 0.2;
    let train = &mut config.train;
    train.epochs = 2;
    train.batch_size = 64;
    train.optimizer = DenseOptimizerKind::Adam;
    train.lr = 0.01;
    train.weight_decay = 0.01;
    train.embedding_optimizer = SparseOptimizerKind::LazyAdam;
    train.embedding_lr = 0.02;
    train.embedding_weight_decay = 0.1;
    train.clip_norm = 1.0;
    train.validate_every = 8;
    train.checkpoint_every = 5;
    train.log_every = 3;
    config
}
