//! `cargo xtask sweep`: methods and baselines over several seeds, in one table.

mod table;
mod variants;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use slimbed_eval::MetricError;
use slimbed_rng::Seed;
use slimbed_train::{
    Config, Report, RunRequest, SavedRun, TrainError, parse_pair, resolve, with_fitted_dim,
};

use crate::device::DeviceArg;
use crate::failure::BadInput;
use crate::output::Output;
use crate::settings::{SetArgs, take_group};
use crate::source::{Source, SourceArgs};
use table::{Line, Trained};
use variants::Variant;

const EXAMPLES: &str = "\
Examples:
  cargo xtask sweep --data datasets/criteo-kaggle.toml --input criteo_head80k.txt --seeds 1-3
  cargo xtask sweep --data datasets/frappe.toml --input frappe --variants plain,pep-95,magnitude-95
  cargo xtask sweep --data datasets/frappe.toml --input frappe --at 25,10,5,1
  cargo xtask sweep --rows 200000 --seeds 1-5 --json

Trains every variant with every seed, each in runs of its own below --runs, and prints a Markdown table: test AUC \
and logloss of the reloaded file (mean and standard deviation over the seeds), bytes of the file, training time of \
all phases. Runs that are finished are not trained again, and one that was stopped goes on: the same command \
completes a sweep.

With --at every method and baseline is trained at the same bytes instead, in per cent of the tables' dense ones; a \
size that a method cannot reach is a line that says so.

Variants: plain; dim-2th, dim-4th, dim-8th (smaller uniform dim); magnitude-80, -95, -99 and pep-80, -95, -99 (per \
cent of the values removed); amtl (no size penalty), amtl-40 (aims at 40 % of the values); mlet-2th, mlet-4th, \
mlet-8th (trained at four times the plain dim). With --json each is an object on a line.";

/// Train methods and baselines over several seeds, and print one table.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SweepArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    set: SetArgs,
    #[command(flatten)]
    device: DeviceArg,
    /// Seeds: `1,2,3` or `1-3`.
    #[arg(long, value_name = "LIST", default_value = "1-3", value_parser = parse_seeds)]
    seeds: Seeds,
    /// Variants to train; all of them by default.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    variants: Vec<String>,
    /// Train every method and baseline with tables of so many per cent of their dense bytes.
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', value_parser = parse_percent)]
    at: Vec<f64>,
    /// Folder of the sweep's runs.
    #[arg(long, value_name = "DIR", default_value = "runs/sweep")]
    runs: PathBuf,
}

/// Seeds of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seeds(Vec<u64>);

/// Runs the command.
///
/// # Errors
/// On bad input or settings, a dead model, or when something cannot be written.
pub fn run(args: &SweepArgs, output: Output) -> anyhow::Result<()> {
    let mut pairs = args.set.tables()?;
    let recipe_layers = take_group(&mut pairs, "data")?;
    let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
    let mut names = Vec::new();
    for &seed in &args.seeds.0 {
        let source = args.source.open(Seed::new(seed), &recipe_layers)?;
        let base = resolve(
            &[
                std::slice::from_ref(&source.recipe_settings),
                pairs.as_slice(),
            ]
            .concat(),
        )?;
        let variants = chosen(args, &base)?;
        outcomes.resize_with(variants.len(), Vec::new);
        for (variant, outcomes) in variants.iter().zip(&mut outcomes) {
            eprintln!("note: {} with seed {seed}", variant.name);
            outcomes.push(outcome(train(args, &source, &pairs, variant, seed))?);
        }
        names = variants.into_iter().map(|variant| variant.name).collect();
    }
    let lines = names.into_iter().zip(outcomes);
    let lines: Vec<Line> = lines
        .map(|(name, outcomes)| line(name, &args.seeds.0, outcomes))
        .collect::<Result<_, _>>()?;
    for line in lines.iter().filter(|_| output == Output::Json) {
        output.result(line, "")?;
    }
    Ok(output.line(table::markdown(&lines))?)
}

/// What became of a run: its report, or why it cannot be had.
type Outcome = Result<Report, String>;

/// Takes a size that a method cannot reach for a result; other errors stay errors.
fn outcome(trained: anyhow::Result<Report>) -> anyhow::Result<Outcome> {
    match trained {
        Ok(report) => Ok(Ok(report)),
        Err(error) => match error.downcast_ref::<TrainError>() {
            Some(refused @ (TrainError::Budget { .. } | TrainError::Setting { .. })) => {
                eprintln!("note: {refused}");
                Ok(Err(refused.to_string()))
            }
            _ => Err(error),
        },
    }
}

/// The line of a variant, refused if it was with any seed.
fn line(variant: String, seeds: &[u64], outcomes: Vec<Outcome>) -> Result<Line, MetricError> {
    let reports: Result<Vec<Report>, String> = outcomes.into_iter().collect();
    Ok(match reports {
        Ok(reports) => Line::Trained(Box::new(Trained::new(variant, seeds, &reports)?)),
        Err(refused) => Line::Refused { variant, refused },
    })
}

/// The variants that were asked for.
fn chosen(args: &SweepArgs, base: &Config) -> Result<Vec<Variant>, BadInput> {
    let names = &args.variants;
    let all = if args.at.is_empty() {
        variants::all(base.model.dim)
    } else {
        variants::at(&args.at)
    };
    if let Some(unknown) = names
        .iter()
        .find(|name| all.iter().all(|v| v.name != **name))
    {
        let known: Vec<_> = all.iter().map(|variant| variant.name.as_str()).collect();
        let message = format!(
            "--variants: expected some of {}, found {unknown}",
            known.join(", ")
        );
        return Err(BadInput(message));
    }
    let is_chosen = |variant: &Variant| names.is_empty() || names.contains(&variant.name);
    Ok(all.into_iter().filter(is_chosen).collect())
}

/// Trains a variant, or goes on with it, or reads its report.
fn train(
    args: &SweepArgs,
    source: &Source,
    pairs: &[toml::Table],
    variant: &Variant,
    seed: u64,
) -> anyhow::Result<Report> {
    let device = args.device.open()?;
    let data = &source.dataset.meta().name;
    let run_of = |name: &str| format!("{data}-{name}-s{seed}");
    let name = run_of(&variant.name);
    let mut layers = vec![source.recipe_settings.clone()];
    layers.extend_from_slice(pairs);
    for pair in &variant.pairs {
        layers.push(parse_pair(pair)?);
    }
    if let Some(search) = variant
        .search_of
        .as_ref()
        .map(|other| args.runs.join(run_of(other)))
        && search.join("search/phase.json").is_file()
    {
        layers.push(parse_pair(&format!("method.search={}", search.display()))?);
    }
    let config = resolve(&layers)?;
    let folder = args.runs.join(&name);
    if folder.exists() {
        let config = with_fitted_dim(&source.dataset, &config, Seed::new(seed))?;
        return resumed(&folder, &config, source, &device);
    }
    let request = RunRequest {
        dataset: &source.dataset,
        config,
        seed: Seed::new(seed),
        device,
        root: args.runs.clone(),
        name,
        extra: serde_json::Map::new(),
    };
    Ok(slimbed_train::run(&request)?)
}

/// Completes a run of an earlier sweep.
fn resumed(
    folder: &Path,
    config: &Config,
    source: &Source,
    device: &candle_core::Device,
) -> anyhow::Result<Report> {
    let saved = SavedRun::open(folder)?;
    if saved.config() != config {
        let message = format!(
            "{} was trained with other settings; give another --runs, or remove it",
            folder.display()
        );
        return Err(BadInput(message).into());
    }
    slimbed_train::resume(&saved, &source.dataset, device)
        .with_context(|| format!("cannot go on with {}", folder.display()))
}

fn parse_percent(text: &str) -> Result<f64, String> {
    let percent: Option<f64> = text.trim().parse().ok();
    percent
        .filter(|percent| *percent > 0.0 && *percent <= 100.0)
        .ok_or_else(|| "expected per cent above 0 and at most 100, like 25,10,5,1".to_owned())
}

fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let expected = || "expected seeds like 1,2,3 or 1-3".to_owned();
    let mut seeds = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: u64 = first.trim().parse().map_err(|_| expected())?;
        let last: u64 = last.trim().parse().map_err(|_| expected())?;
        if first > last || last - first >= 1000 {
            return Err(expected());
        }
        seeds.extend(first..=last);
    }
    Ok(Seeds(seeds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_lists_and_ranges() {
        assert_eq!(parse_seeds("1-3,7").unwrap().0, [1, 2, 3, 7]);
        for bad in ["", "3-1", "a", "1-"] {
            assert!(parse_seeds(bad).is_err(), "{bad}");
        }
    }
}
