//! `cargo xtask compact`: stores the tables of a run, an artefact or somebody else's file anew.

mod names;
mod origin;
mod rank;
mod report;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use slimbed_compact::{
    Artefact, ArtefactError, DenseTensor, ForeignFile, Packed, Prefer, Pruned, Pruning,
    TableSource, Values, pack,
};
use slimbed_data::Dataset;
use slimbed_eval::ProofCard;
use slimbed_train::{ExportConfig, Selection, ShipRequest, byte_card, check_artefact, prove, ship};

use crate::failure::BadInput;
use crate::output::Output;
use names::Names;
use origin::Origin;
use rank::LowRank;
use report::CompactReport;

const EXAMPLES: &str = "\
Examples:
  cargo xtask compact runs/synthetic-dlrm-s1 --values int4 --out small.safetensors
  cargo xtask compact runs/synthetic-dlrm-s1 --max-auc-drop 0.0005 --prefer size --out small.safetensors
  cargo xtask compact model.safetensors --sparsity 0.9 --data prepared/criteo --out pruned.safetensors
  cargo xtask compact runs/wide --rank 4 --values f32 --out rank4.safetensors
  cargo xtask compact theirs.safetensors --names theirs.toml --threshold 0.001 --out small.safetensors
  cargo xtask compact theirs.safetensors --names theirs.toml --masks masks.safetensors --out small.safetensors

RUN: its exact rows are taken, from export/exact.safetensors where export.keep_exact left it, else from the best \
checkpoint (that needs its data, and for the time of the command room for the exact rows beside --out). FILE: the \
rows an artefact holds, decoded; integers are rounded again.

Values are dropped first: those of a magnitude below --threshold, or the --sparsity share of the smallest of all \
tables together (of each table with --each-field), or those that --masks drops: a safetensors file with a U8 or \
BOOL tensor [rows, dim] for each field, under its name, 0 where a value is dropped. Then the encoder stores what \
is left: for each field it shows the bytes of every encoding, the information in the table (zero-order entropy of \
the places, and the bits of the values) and what was taken.

--rank D cuts tables to their best approximation of rank D first (truncated SVD): rows of D values, and a matrix \
[D, dim] behind them that gives the model its vectors back. Tables that this would not make smaller stay as they \
are. It is MLET's control: train wide, cut afterwards.

A safetensors file that somebody else trained takes --names, a TOML file, in the order of the model:
  [[field]]
  name = \"C1\"
  tensor = \"emb_l.0.weight\"        [rows, dim], F32, F16 or BF16
  pooling = \"sum\"                  or mean; sum without it
  [[weight]]                       as many as are to be in the file, or none
  name = \"top.0.weight\"
  tensor = \"top_l.0.weight\"
Such a file has no model, so there are no metrics.

The proof card shows metrics of a run, and of an artefact with --data. The best types for --max-auc-drop are \
selected on the validation split; the test split is scored once with each file.";

/// Store the tables of a run or a file anew, and show what that saves and costs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompactArgs {
    /// A run's folder, an artefact, or with --names any safetensors file.
    #[arg(value_name = "RUN|FILE")]
    input: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The least exact type of values: f32, f16, int8 or int4.
    #[arg(long, value_name = "TYPE", default_value = "int8", value_parser = values)]
    values: Values,
    /// What the encoder goes for: speed (the fastest of at most 1.5 times the bound) or size.
    #[arg(long, value_name = "WHAT", default_value = "speed", value_parser = prefer)]
    prefer: Prefer,
    /// In place of --values: for each field the smallest type, so that the validation AUC loses at most X.
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = positive, conflicts_with = "values")]
    max_auc_drop: Option<f64>,
    /// Prepared data; by default that of the run.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    dropped: Dropped,
    /// Cut tables to this rank, with a small matrix behind them.
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["threshold", "sparsity", "masks"])]
    rank: Option<u32>,
    /// Names of the tables and weights of a file that somebody else wrote.
    #[arg(long, value_name = "TOML", conflicts_with_all = ["data", "max_auc_drop"])]
    names: Option<PathBuf>,
}

/// Which values are dropped.
#[derive(Debug, Args)]
struct Dropped {
    /// Drop values of a smaller magnitude.
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = positive, conflicts_with_all = ["sparsity", "masks"])]
    threshold: Option<f64>,
    /// Drop this share of all values, 0 to 1: the smallest of all tables together.
    #[arg(long, value_name = "S", allow_negative_numbers = true, value_parser = share, conflicts_with = "masks")]
    sparsity: Option<f64>,
    /// Take the share of --sparsity in each table.
    #[arg(long, requires = "sparsity")]
    each_field: bool,
    /// Drop what these masks drop.
    #[arg(long, value_name = "FILE")]
    masks: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the input or the data is missing, damaged, or does not suit the other, or the file cannot be written.
pub fn run(args: &CompactArgs, output: Output) -> anyhow::Result<()> {
    let others = [
        Some(&args.input),
        args.dropped.masks.as_ref(),
        args.names.as_ref(),
    ];
    others
        .into_iter()
        .flatten()
        .try_for_each(|input| refuse_to_replace(&args.out, input))?;
    let done = match &args.names {
        Some(names) => foreign(args, names)?,
        None => own(args)?,
    };
    let report = CompactReport::new(args, done)?;
    output.result(&report, report.table())
}

/// What a compaction has done.
struct Done {
    packed: Packed,
    selection: Option<Selection>,
    card: ProofCard,
}

/// Compacts a run or an artefact.
fn own(args: &CompactArgs) -> anyhow::Result<Done> {
    let origin = Origin::open(&args.input, args.data.as_deref(), &args.out)?;
    let artefact = open(origin.path())?;
    if let Some(data) = origin.dataset() {
        check_artefact(&artefact, data)?;
    } else if args.max_auc_drop.is_some() {
        let message = "--max-auc-drop: an artefact needs --data DIR to be measured on";
        return Err(BadInput(message.into()).into());
    }
    let training = record(args, artefact.manifest().training.clone());
    drop(artefact);
    let tables = origin.source()?;
    let source = args.reduced(&tables)?;
    let request = ShipRequest {
        before: origin.path(),
        source: &*source,
        settings: &args.settings(),
        dataset: origin.dataset(),
    };
    let shipped = ship(&request, &args.out, training)?;
    let card = card(&origin, &args.out, origin.dataset())?;
    Ok(Done {
        packed: shipped.packed,
        selection: shipped.selection,
        card,
    })
}

/// Opens an artefact; says what a file takes that is none.
fn open(path: &Path) -> anyhow::Result<Artefact> {
    Artefact::open(path).map_err(|error| match &error {
        ArtefactError::Metadata { found, .. } if found == "nothing" => {
            let message = format!("{error}; a file that somebody else wrote takes --names TOML");
            BadInput(message).into()
        }
        _ => error.into(),
    })
}

fn card(origin: &Origin, out: &Path, dataset: Option<&Dataset>) -> anyhow::Result<ProofCard> {
    Ok(match dataset {
        Some(data) => prove(origin.path(), out, data, &candle_core::Device::Cpu)?.card,
        None => byte_card(origin.n_bytes()?, out)?,
    })
}

/// Compacts a file that somebody else wrote.
fn foreign(args: &CompactArgs, names: &Path) -> anyhow::Result<Done> {
    let names = Names::load(names)?;
    let file = ForeignFile::open(&args.input)?;
    let tables = file.tables(&names.fields())?;
    let weights = names.weights(&file)?;
    let dense: Vec<_> = weights
        .iter()
        .map(|(name, shape, values)| DenseTensor {
            name,
            shape,
            values,
        })
        .collect();
    let n_left = file.names().iter().filter(|name| !names.has(name)).count();
    if n_left > 0 {
        let path = args.input.display();
        eprintln!("note: {n_left} tensors of {path} have no name in --names and are left out");
    }
    let source = args.reduced(&tables)?;
    let encoders = vec![args.settings().encoder(args.values); source.fields().len()];
    let training = record(args, Value::Null);
    let packed = pack(
        &args.out,
        &*source,
        &encoders,
        &dense,
        Value::Null,
        training,
    )?;
    Ok(Done {
        packed,
        selection: None,
        card: byte_card(file.n_bytes(), &args.out)?,
    })
}

impl CompactArgs {
    /// The tables without what is dropped of them, or cut to a rank.
    fn reduced<'s>(
        &self,
        tables: &'s dyn TableSource,
    ) -> anyhow::Result<Box<dyn TableSource + 's>> {
        let Some(rank) = self.rank else {
            return Ok(Box::new(Pruned::new(tables, self.dropped.pruning()?)?));
        };
        let cut = LowRank::new(tables, rank as usize);
        if cut.n_cut() == 0 {
            let message =
                format!("--rank: expected a rank that makes a table smaller, found {rank}");
            return Err(BadInput(message).into());
        }
        Ok(Box::new(cut))
    }

    fn settings(&self) -> ExportConfig {
        ExportConfig {
            values: self.values,
            prefer: self.prefer,
            max_auc_drop: self.max_auc_drop.unwrap_or(0.0),
            keep_exact: false,
        }
    }
}

impl Dropped {
    fn pruning(&self) -> anyhow::Result<Pruning> {
        Ok(match (self.threshold, self.sparsity, &self.masks) {
            (Some(threshold), ..) => Pruning::Below(threshold as f32),
            (_, Some(share), _) if self.each_field => Pruning::ShareOfEach(share),
            (_, Some(share), _) => Pruning::ShareOfAll(share),
            (.., Some(masks)) => Pruning::Masks(ForeignFile::open(masks)?),
            _ => Pruning::Nothing,
        })
    }

    /// What was dropped, for the file and the report.
    fn describe(&self) -> Value {
        let scope = if self.each_field {
            "each field"
        } else {
            "all fields"
        };
        match (self.threshold, self.sparsity, &self.masks) {
            (Some(threshold), ..) => json!({ "threshold": threshold, "scope": "all fields" }),
            (_, Some(share), _) => json!({ "sparsity": share, "scope": scope }),
            (.., Some(masks)) => json!({ "masks": masks }),
            _ => Value::Null,
        }
    }
}

/// How the file came to be: what its origin says, and what was done here.
fn record(args: &CompactArgs, training: Value) -> Value {
    json!({
        "from": training,
        "compact": {
            "values": args.values,
            "prefer": args.prefer,
            "max_auc_drop": args.max_auc_drop,
            "dropped": args.dropped.describe(),
            "rank": args.rank,
        },
    })
}

/// Refuses an output that is the input, or lies in the folder of the run that is the input.
fn refuse_to_replace(out: &Path, input: &Path) -> anyhow::Result<()> {
    let find = |path: &Path| {
        path.canonicalize()
            .map_err(|e| BadInput(format!("{}: {e}", path.display())))
    };
    let found = find(input).context("cannot open the input")?;
    // An output that does not exist yet replaces nothing.
    let Ok(target) = out.canonicalize() else {
        return Ok(());
    };
    if target != found && !(found.is_dir() && target.starts_with(&found)) {
        return Ok(());
    }
    let (out, input) = (out.display(), input.display());
    let message =
        format!("--out: {out} is the input {input} or a part of it; expected another file");
    Err(BadInput(message).into())
}

fn values(text: &str) -> Result<Values, String> {
    let found = Values::ALL.into_iter().find(|values| values.name() == text);
    found.ok_or_else(|| "expected f32, f16, int8 or int4".into())
}

fn prefer(text: &str) -> Result<Prefer, String> {
    match text {
        "speed" => Ok(Prefer::Speed),
        "size" => Ok(Prefer::Size),
        _ => Err("expected speed or size".into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(x) if x > 0.0 && f64::is_finite(x) => Ok(x),
        _ => Err("expected a positive number".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(x) if (0.0..=1.0).contains(&x) => Ok(x),
        _ => Err("expected a share, 0 to 1".into()),
    }
}
