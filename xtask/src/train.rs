//! `cargo xtask train`: from raw data to a scored artefact.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use slimbed_data::Dataset;
use slimbed_rng::Seed;
use slimbed_train::{MethodKind, Report, RunRequest, SavedRun, Standing, parse_pair, resolve};

use crate::card;
use crate::cli::Common;
use crate::device::DeviceArg;
use crate::failure::BadInput;
use crate::output::{Output, human_bytes};
use crate::reduction::{ReductionArgs, comparison, phases_table};
use crate::settings::{SetArgs, take_group};
use crate::source::{Source, SourceArgs};

const EXAMPLES: &str = "\
Examples:
  cargo xtask train                     generate data, and compare plain, PEP, AMTL and MLET tables on it
  cargo xtask train --method none                     plain tables only
  cargo xtask train --method pep --ratio 50           tables of at most a fiftieth of their dense bytes
  cargo xtask train --method pep,magnitude --budget 5MB
  cargo xtask train --method mlet --set mlet.inner_dim=64 --set model.dim=8
  cargo xtask train --method hash,qr,mixed-dim,cutoff,uniform --ratio 10
  cargo xtask train --model deepfm --method none      another network: lr, fm, wide-deep, dcn-v2, autoint
  cargo xtask train --rows 2000000 --seed 3
  cargo xtask train --data datasets/criteo-kaggle.toml --input train.txt
  cargo xtask train --data prepared/mine --set train.epochs=2 --set model.dim=8
  cargo xtask train --data datasets/criteo-kaggle.toml --input day_0.gz day_1.gz --json
  cargo xtask train --precision bf16 --set train.batch_size=2048
  cargo xtask train --set export.values=int4 --set export.prefer=size
  cargo xtask train --set export.max_auc_drop=0.0005
  cargo xtask train --resume runs/synthetic-dlrm-s1    go on with a run that was stopped

The run leaves runs/<name>/ with its settings, metrics.jsonl, TensorBoard events, the last and the \
best checkpoint, export/model.safetensors and report.json. Weights are selected on the validation \
split; the test split is scored once, with the reloaded file.

The tables are shipped as export.* says. The proof card at the end shows the bytes of the file, the memory it \
takes, and what both it and the exact rows score and answer: each was written, closed and opened again.

A run that was stopped, in whatever way, goes on with --resume from its last checkpoint, with its own \
settings, seed and data, and ends with the bits it would have ended with had it never stopped.

Settings (--set key=value, defaults in brackets; a recipe may have others):
  data.*                            keys of the recipe, for example data.min_count=10
  model.kind [dlrm]                 network: lr, fm, deepfm, wide-deep, dcn-v2, autoint, dlrm
  model.dim [16]                    size of an embedding; lr always has 1
  model.bottom [[512, 256, 64]]     dlrm: hidden widths of the bottom MLP
  model.top [[512, 256]]            hidden widths of the top MLP, or the only one; lr and fm have none; []: autoint
                                    without
  model.self_interaction [false]    dlrm: products of a vector with itself in the interaction
  model.dropout [0]                 rate behind that MLP's hidden layers, 0 to 1
  model.cross_layers [3]            dcn-v2: number of cross layers, with full matrices
  model.cross_structure [stacked]   dcn-v2: the MLP behind the cross layers, or parallel: beside them
  model.attention_layers [3]        autoint: number of interacting layers
  model.attention_heads [2]         autoint: heads of each
  model.attention_dim [32]          autoint: size of a query, a key and a value of a head
  train.epochs [1]                  passes over the training split
  train.batch_size [512]            samples of a step
  train.engine [auto]               who computes the network: auto, fused (CPU), graph
  train.precision [f32]             operands of its products: f32, bf16 (needs AVX-512 BF16)
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
  train.checkpoint_every [0]        steps between checkpoints besides those at validations; 0: none
  train.patience [3]                validations without a better AUC before stopping; 0: never
  train.log_every [50]              steps between two lines of the training loss
  train.shuffle_window [64]         blocks of 4,096 rows shuffled together
  method.name [none]                reduction: none, amtl, pep, mlet, mlet-pep, magnitude, deeplight, autoemb,
                                    uniform, hash, qr, mixed-dim, cutoff
  method.keep [0]                   share of the plain tables' values that is kept; 0: from the next two, or 0.1
                                    where a method has to know
  method.budget [0]                 bytes of the shipped file, weights and header included; 0: not set
  method.ratio [0]                  dense bytes of the tables over their bytes in the file; 0: not set
  method.retrain [auto]             what the last phase starts from: initial, trained, fresh; auto is initial
                                    after PEP's search, trained after magnitude pruning
  method.search_epochs [0]          epochs of the phase before; 0: as train.epochs
  method.check_every [0]            steps between two counts in PEP's search; 0: a hundredth of it
  method.also_keep [[]]             further shares whose masks PEP's search saves
  method.search []                  folder of a run whose search is taken
  method.warm_start []              artefact of exact rows to start from
  amtl.*, pep.*, mlet.*             see docs/methods
  hash.threshold [200]              fields of at most so many ids keep a row for each
  hash.seed [0]                     chooses the hash function
  qr.divisor [0]                    ids that share a quotient; 1: off; 0: the smallest that meets the target
  qr.combine [product]              of quotient and remainder: product, sum, concat
  qr.threshold [200]                fields of at most so many ids keep a row for each
  mixed_dim.alpha [0.3]             rows of a field of n ids have a dim of about n^-alpha times a factor, which is
                                    that of the target, or gives the smallest field the full dim
  mixed_dim.optimizer [adagrad]     of the matrices behind narrow rows: sgd, adagrad, adam
  mixed_dim.lr [0]                  their learning rate; 0: that of the tables
  cutoff.min_count [0]              occurrences from which on an id keeps a row; 0: as the target says
  deeplight.decay [0.99]            D of the sparsity S(1 - D^(t/omega)) after t steps
  deeplight.omega [0]               in steps; 0: half of the steps see the full sparsity
  deeplight.every [0]               steps between two prunings; 0: a hundredth of the training
  autoemb.sizes [[]]                candidate sizes, rising to the dim; none: an eighth, a quarter, a half, all
  autoemb.hidden [16]               hidden units of the controller
  autoemb.lr [0.001]                learning rate of the controller
  export.values [int8]              tables in the shipped file: f32, f16, int8, int4
  export.prefer [speed]             its encoding: speed (the fastest of at most 1.5 times the bound), size
  export.max_auc_drop [0]           in place of values: the smallest per field that lose at most this much
                                    validation AUC; 0: off
  export.keep_exact [false]         keep the exact rows as export/exact.safetensors";

/// Under this name a run remembers the highest AUC that can be expected.
const BAYES_AUC: &str = "bayes_auc";

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
    /// Operands of the network's products: f32, or bf16 with f32 sums and weights (needs a processor with
    /// AVX-512 BF16); short for --set train.precision=TYPE.
    #[arg(long, value_name = "TYPE")]
    precision: Option<String>,
    /// Network: lr, fm, deepfm, wide-deep, dcn-v2, autoint or dlrm (the default); short for
    /// --set model.kind=NAME.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    #[command(flatten)]
    reduction: ReductionArgs,
    /// Folder of all runs.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Name of the run; a number is added when it is taken.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Go on with the run in this folder; everything else is known from there.
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = [
            "data", "input", "rows", "max_bad_rows", "cache", "pairs", "device", "precision", "model",
            "runs", "name", "methods", "budget", "ratio",
        ]
    )]
    resume: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// On bad input or settings, a dead model, or when something cannot be written.
pub fn run(args: &TrainArgs, common: &Common, output: Output) -> anyhow::Result<()> {
    if let Some(folder) = &args.resume {
        return resume(folder, output);
    }
    let device = args.device.open()?;
    let mut pairs = args.set.tables()?;
    if let Some(precision) = &args.precision {
        pairs.push(parse_pair(&format!("train.precision={precision}"))?);
    }
    if let Some(model) = &args.model {
        pairs.push(parse_pair(&format!("model.kind={model}"))?);
    }
    pairs.extend(args.reduction.tables());
    let recipe_layers = take_group(&mut pairs, "data")?;
    let chosen = args.reduction.chosen(args.source.is_generated(), &pairs);
    // Settings are checked before any data is read.
    let dim = resolve(&pairs)?.model.dim;
    for (_, layer) in chosen.layers(dim) {
        resolve(&[pairs.as_slice(), &[layer]].concat())?;
    }
    let seed = Seed::new(common.seed);
    let Source {
        dataset,
        recipe_settings,
        bayes_auc,
    } = args.source.open(seed, &recipe_layers)?;
    let base = [&[recipe_settings], pairs.as_slice()].concat();
    let methods = chosen.layers(resolve(&base)?.model.dim);
    let mut all = Vec::new();
    for (method, layer) in &methods {
        let method = *method;
        let config = resolve(&[base.as_slice(), std::slice::from_ref(layer)].concat())?;
        let (data, model) = (&dataset.meta().name, config.model.kind.name());
        let name = match &args.name {
            None => run_name(data, model, method, seed),
            Some(name) if methods.len() > 1 => format!("{name}-{}", method.name()),
            Some(name) => name.clone(),
        };
        let request = RunRequest {
            dataset: &dataset,
            name,
            config,
            seed,
            device: device.clone(),
            root: args.runs.clone(),
            extra: bayes_auc
                .map(|auc| (BAYES_AUC.to_owned(), Value::from(auc)))
                .into_iter()
                .collect(),
        };
        let trained = Trained::new(slimbed_train::run(&request)?, &request.extra);
        output.result(&trained, trained.table())?;
        all.push(trained.report);
    }
    if all.len() > 1 {
        output.line(comparison(&all))?;
    }
    Ok(())
}

/// The name of a run that was given none.
fn run_name(data: &str, model: &str, method: MethodKind, seed: Seed) -> String {
    match method {
        MethodKind::None => format!("{data}-{model}-s{}", seed.get()),
        _ => format!("{data}-{model}-{}-s{}", method.name(), seed.get()),
    }
}

/// Goes on with the run in `folder`, with what the folder says of it.
fn resume(folder: &Path, output: Output) -> anyhow::Result<()> {
    if is_seed_given() {
        let message = "--seed cannot be used with --resume: a run keeps its seed";
        return Err(BadInput(message.into()).into());
    }
    let saved = SavedRun::open(folder)?;
    let info = saved.info();
    let standing = saved.standing()?;
    eprintln!("note: {} {}", folder.display(), describe(&standing));
    let report = match standing {
        Standing::Finished(report) => *report,
        _ => {
            let device = DeviceArg::named(&info.device).open()?;
            let dataset = Dataset::open(&info.data_dir)
                .with_context(|| format!("cannot open the data of {}", folder.display()))?;
            slimbed_train::resume(&saved, &dataset, &device)?
        }
    };
    let trained = Trained::new(report, &info.extra);
    output.result(&trained, trained.table())
}

fn describe(standing: &Standing) -> String {
    match standing {
        Standing::New => "has no checkpoint yet and begins anew".into(),
        Standing::Training(at) => {
            let (step, epoch, batch) = (at.step, at.epoch, at.batch);
            format!("goes on behind step {step} (epoch {epoch}, batch {batch})")
        }
        Standing::Trained => "has been trained and goes on to its evaluation".into(),
        Standing::Finished(_) => "is finished; this is its report".into(),
    }
}

/// The flag has a default and may stand before the command's name, so that it is looked for by hand.
fn is_seed_given() -> bool {
    std::env::args_os()
        .any(|argument| argument == "--seed" || argument.to_string_lossy().starts_with("--seed="))
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
    fn new(report: Report, extra: &Map<String, Value>) -> Self {
        let bayes_auc = extra.get(BAYES_AUC).and_then(Value::as_f64);
        Self { report, bayes_auc }
    }

    fn table(&self) -> String {
        let report = &self.report;
        let rows = [
            ("run", report.run.clone()),
            ("data", report.data.clone()),
            ("method", report.method.clone()),
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
        let rows = rows.iter();
        let rows: String = rows
            .map(|(name, value)| format!("{name:<24} {value}\n"))
            .collect();
        let phases = phases_table(&report.phases);
        format!("{rows}\n{phases}{}", card::table(&report.card))
    }
}
