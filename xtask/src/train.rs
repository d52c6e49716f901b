//! `cargo xtask train`: from raw data to a scored artefact.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use slimbed_rng::Seed;
use slimbed_train::{Report, RunRequest, resolve};

use crate::cli::Common;
use crate::device::DeviceArg;
use crate::output::{Output, human_bytes};
use crate::settings::{SetArgs, take_group};
use crate::source::{Source, SourceArgs};

const EXAMPLES: &str = "\
Examples:
  cargo xtask train                                   generate data, train, evaluate the saved file
  cargo xtask train --rows 2000000 --seed 3
  cargo xtask train --data datasets/criteo-kaggle.toml --input train.txt
  cargo xtask train --data prepared/mine --set train.epochs=2 --set model.dim=8
  cargo xtask train --data datasets/criteo-kaggle.toml --input day_0.gz day_1.gz --json

The run leaves runs/<name>/ with its settings, metrics.jsonl, TensorBoard events, the last and the \
best checkpoint, export/model.safetensors and report.json. Weights are selected on the validation \
split; the test split is scored once, with the reloaded file.

Settings (--set key=value, defaults in brackets; a recipe may have others):
  data.*                            keys of the recipe, for example data.min_count=10
  model.kind [dlrm]                 network
  model.dim [16]                    size of an embedding
  model.bottom [[512, 256, 64]]     hidden widths of the bottom MLP
  model.top [[512, 256]]            hidden widths of the top MLP
  model.self_interaction [false]    products of a vector with itself in the interaction
  model.dropout [0]                 rate behind the top MLP's hidden layers, 0 to 1
  train.epochs [1]                  passes over the training split
  train.batch_size [512]            samples of a step
  train.optimizer [adam]            dense parameters: sgd, adagrad, adam
  train.lr [0.001]                  learning rate of the dense parameters
  train.weight_decay [0]            decoupled decay of the dense parameters
  train.embedding_optimizer [row-wise-adagrad]   tables: sgd, adagrad, row-wise-adagrad, lazy-adam
  train.embedding_lr [0.02]         learning rate of the tables
  train.embedding_weight_decay [0]  decoupled decay of the tables, applied lazily
  train.embedding_init [uniform-by-rows]         or xavier, normal
  train.embedding_init_std [0.01]   standard deviation of normal
  train.schedule [constant]         or warmup-decay
  train.warmup_steps [0]            steps of linear warm-up
  train.clip_norm [0]               largest norm of all gradients; 0: off
  train.validations_per_epoch [5]   validations in an epoch, the last at its end
  train.validate_every [0]          steps between validations, in place of the number per epoch
  train.patience [3]                validations without a better AUC before stopping; 0: never
  train.log_every [50]              steps between two lines of the training loss
  train.shuffle_window [64]         blocks of 4,096 rows shuffled together";

/// Train a model, save it, and score the test split with the reloaded file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    device: DeviceArg,
    /// Folder of all runs.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Name of the run; a number is added when it is taken.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// On bad input or settings, a dead model, or when something cannot be written.
pub fn run(args: &TrainArgs, common: &Common, output: Output) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let mut pairs = args.set.tables()?;
    let recipe_layers = take_group(&mut pairs, "data")?;
    // Settings are checked before any data is read.
    resolve(&pairs)?;
    let seed = Seed::new(common.seed);
    let Source {
        dataset,
        recipe_settings,
        bayes_auc,
    } = args.source.open(seed, &recipe_layers)?;
    let config = resolve(&[&[recipe_settings], pairs.as_slice()].concat())?;
    let default_name = || {
        format!(
            "{}-{}-s{}",
            dataset.meta().name,
            config.model.kind.name(),
            seed.get()
        )
    };
    let request = RunRequest {
        dataset: &dataset,
        name: args.name.clone().unwrap_or_else(default_name),
        config,
        seed,
        device,
        root: args.runs.clone(),
    };
    let report = Trained {
        report: slimbed_train::run(&request)?,
        bayes_auc,
    };
    output.result(&report, report.table())
}

/// A run's report, and how good it could have been.
#[derive(Serialize)]
struct Trained {
    #[serde(flatten)]
    report: Report,
    /// The highest AUC any model can expect on the test split, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    bayes_auc: Option<f64>,
}

impl Trained {
    fn table(&self) -> String {
        let report = &self.report;
        let rows = [
            ("run", report.run.clone()),
            ("data", report.data.clone()),
            ("method", report.method.to_owned()),
            ("seed", report.seed.to_string()),
            (
                "steps",
                format!("{} (best at {})", report.n_steps, report.best_step),
            ),
            ("validation AUC", format!("{:.6}", report.val_auc)),
            ("test AUC", format!("{:.6}", report.test_auc)),
            ("test logloss", format!("{:.6}", report.test_logloss)),
            (
                "test normalised entropy",
                format!("{:.6}", report.test.normalised_entropy),
            ),
            (
                "test calibration",
                format!("{:.4}", report.test.calibration),
            ),
            ("artefact", report.artefact.display().to_string()),
            ("artefact size", human_bytes(report.artefact_bytes)),
            ("dense size", human_bytes(report.dense_bytes)),
            ("peak memory", human_bytes(report.peak_rss_bytes)),
            (
                "training speed",
                format!("{:.0} samples/s", report.train_samples_per_s),
            ),
            ("time", format!("{:.1} s", report.total_secs)),
        ];
        let mut rows = rows.to_vec();
        if let Some(bayes) = self.bayes_auc {
            rows.insert(7, ("best possible AUC", format!("{bayes:.6}")));
        }
        rows.iter()
            .map(|(name, value)| format!("{name:<24} {value}\n"))
            .collect()
    }
}
