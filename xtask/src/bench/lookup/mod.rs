//! `cargo xtask bench lookup`: our lookups and others in turns.

mod against;
mod agreement;
mod cases;
mod pages;
mod pruned;
mod report;
mod sides;
mod streams;
mod tables;
mod torch;

use std::env;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use slimbed_compact::{Isa, Prefer, RowsStored, Structure, Values};
use slimbed_files::IoContext;
use slimbed_rng::Seed;
use slimbed_train::Environment;
use tempfile::TempDir;

use super::train::{positive, progress_bar};
use crate::cli::Common;
use crate::output::Output;
use cases::{Choice, Order, Plan};
use pruned::Reductions;
use report::CaseReport;
use sides::Effort;
use streams::{Places, Stream};
use tables::{PageSize, Reduction};
use torch::Torch;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench lookup --against torch                  128 cases, about half an hour
  cargo xtask bench lookup --against torch --rows 10M --dim 16,64
  cargo xtask bench lookup --against torch --rows 10M --dim 64 --threads 2 --python .venv/bin/python
  cargo xtask bench lookup --pruned
  cargo xtask --json bench lookup --pruned=99 --dim 64 --stream zipf --structure bitmap,present+bitmap

Both sides look up the same ids in the same table, batches of --batch bags one after the other, and sum the \
rows of each bag. A stream has 4.2 million ids (64 batches at least; less for a table of few rows). Zipf ids \
have exponent 1.05; the rows stand in the order of frequency or scattered (--order). Values are in [-1, 1) and follow from row and \
column. One thread unless --threads says more; then our batch is cut into as many parts.

--against torch: theirs is benches/compare/lookup.py: nn.EmbeddingBag(mode=\"sum\") for f32 and f16, and \
torch.ops.quantized.embedding_bag_byte_rowwise_offsets and embedding_bag_4bit_rowwise_offsets for int8 and \
int4, in inference mode. The ids' type and the form of the offsets are those that PyTorch is fastest with: \
all are tried before each case. Ours is a dense table in the encoding that --prefer speed takes.

--pruned: theirs is our own read of the dense f32 table. Ours is the same table, stored as the encoder \
chooses (or as --structure says). Rows have sizes by access frequency: that of rank k of n keeps \
round(d · min(1, c · (k / n)^-POWER)) values, where c is what leaves the share asked for, so that the most \
frequent rows are whole and, at high shares, the rarest empty. The places of the values are drawn at random \
(`prefix`: the first ones, a quarter of all).

The sides take turns, the order changes every round; before its time is taken a side goes through the stream \
once. The ratio is the median over the rounds, above 1 when ours is faster. In the text times are for one \
row, in JSON speeds are rows per second. page_kb is what backs the tables' memory as the system tells: ours \
has huge pages unless --pages small (then the file is mapped), PyTorch's has small ones unless \
--their-pages huge. Before anything is timed the results of both sides are compared: floats to 1e-6 for each \
row (f16: and the rounding of PyTorch's result), integers within both sides' half steps.

Files of the tables' size go to the system's folder for such (TMPDIR) and are removed as soon as they are \
loaded. A table of 10M x 64 f32 takes 8 GB while it is made. Run it on a machine that does nothing else.";

const DEFAULT_REDUCTIONS: &str = "95,99,prefix";

/// Speed of lookups beside another program, or of reduced tables beside the dense one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LookupArgs {
    /// The other program.
    #[arg(
        long,
        value_name = "PROGRAM",
        required_unless_present = "pruned",
        conflicts_with = "pruned"
    )]
    against: Option<Against>,
    /// Compare reduced tables with the dense one instead: percent pruned, or `prefix`.
    #[arg(long, value_name = "PERCENT,…", num_args = 0..=1, require_equals = true,
        value_delimiter = ',', default_missing_value = DEFAULT_REDUCTIONS)]
    pruned: Vec<Reduction>,
    /// Measurements of each side in each case.
    #[arg(long, value_name = "N", default_value = "5")]
    rounds: NonZeroUsize,
    /// Seconds of one measurement, after one pass through the stream.
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = positive)]
    seconds: f64,
    /// Pages of our tables.
    #[arg(long, value_name = "SIZE", default_value = "huge")]
    pages: PageSize,
    /// Pages of PyTorch's tables: small ones are what it takes by default.
    #[arg(long, value_name = "SIZE", default_value = "small")]
    their_pages: PageSize,
    /// Which row the id of which rank has [without it: scattered; with --pruned ranked].
    #[arg(long, value_name = "ORDER")]
    order: Option<Order>,
    /// The Python that has PyTorch.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// With --pruned: what the encoder goes for.
    #[arg(long, value_name = "WHAT", default_value = "speed")]
    prefer: Preference,
    /// With --pruned: structures instead of the encoder's choice, like bitmap,present+positions.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = structure)]
    structure: Vec<(RowsStored, Structure)>,
    /// With --pruned: how fast the sizes of rows fall with their rank; 1.05 as fast as their lookups.
    #[arg(long, value_name = "POWER", default_value = "1.05", value_parser = power)]
    power: f64,
    #[command(flatten)]
    choice: Choice,
}

/// The programs to compare with.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Against {
    /// PyTorch on the CPU.
    Torch,
}

/// What an encoder goes for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Preference {
    /// The fastest of at most 1.5 times the bound.
    Speed,
    /// The smallest.
    Size,
}

impl From<Preference> for Prefer {
    fn from(preference: Preference) -> Self {
        match preference {
            Preference::Speed => Self::Speed,
            Preference::Size => Self::Size,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When there is no PyTorch, a side fails, or the results of both differ.
pub fn run(args: &LookupArgs, common: &Common, output: Output) -> anyhow::Result<()> {
    let bench = Bench {
        effort: Effort {
            n_rounds: args.rounds.get(),
            seconds: args.seconds,
        },
        seed: Seed::new(common.seed),
        n_threads: common.threads.map_or(1, NonZeroUsize::get),
        pages: args.pages,
        order: args.order.unwrap_or(match args.against {
            Some(Against::Torch) => Order::Scattered,
            None => Order::Ranked,
        }),
        folder: tempfile::tempdir().at("create a folder in", &env::temp_dir())?,
        output,
    };
    match args.against {
        Some(Against::Torch) => against_torch(args, &bench),
        None => reduced(args, &bench),
    }
}

fn against_torch(args: &LookupArgs, bench: &Bench) -> anyhow::Result<()> {
    let plan = args
        .choice
        .or(&[1_000_000, 10_000_000], &[8, 16, 32, 64], &Values::ALL);
    let mut torch = Torch::start(&args.python, bench.n_threads, args.their_pages)?;
    let bar = bench.begin(plan.n_tables() * plan.n_streams(), &torch.version)?;
    against::run(&plan, &mut torch, bench, &bar)?;
    bar.finish_and_clear();
    Ok(())
}

fn reduced(args: &LookupArgs, bench: &Bench) -> anyhow::Result<()> {
    let plan = args.choice.or(&[10_000_000], &[16, 64], &[Values::F32]);
    let reductions = Reductions {
        all: args.pruned.clone(),
        power: args.power,
        prefer: args.prefer,
        structures: args.structure.clone(),
    };
    let n_forms = reductions.all.len() * args.structure.len().max(1);
    let n_cases = plan.n_tables() * plan.n_streams() * n_forms;
    let bar = bench.begin(n_cases, "our own read of the dense f32 table")?;
    reductions.run(&plan, bench, &bar)?;
    bar.finish_and_clear();
    Ok(())
}

/// What all cases share.
#[derive(Debug)]
struct Bench {
    effort: Effort,
    seed: Seed,
    n_threads: usize,
    pages: PageSize,
    order: Order,
    /// Where tables are written before they are opened.
    folder: TempDir,
    output: Output,
}

impl Bench {
    /// Says what is measured, and how.
    fn begin(&self, n_cases: usize, against: &str) -> anyhow::Result<ProgressBar> {
        let (cpu, isa) = (Environment::collect().cpu, Isa::best());
        let Effort { n_rounds, seconds } = self.effort;
        let (n_threads, order) = (self.n_threads, self.order);
        self.output.line(format!(
            "{cpu}, {isa:?}, {order:?} rows, threads: {n_threads}, {n_rounds} rounds of {seconds} s, against {against}"
        ))?;
        if self.output == Output::Text {
            self.output.line(CaseReport::header())?;
        }
        Ok(progress_bar(n_cases as u64))
    }

    fn places(&self, n_rows: usize) -> Places {
        Places::new(self.order, n_rows, self.seed)
    }

    /// All streams of ids for a table.
    fn streams(&self, plan: &Plan, places: &Places) -> Vec<Stream> {
        let bags = plan.bags.iter();
        let kinds = bags.flat_map(|&bag| plan.ids.iter().map(move |&kind| (bag, kind)));
        kinds
            .map(|(bag, kind)| Stream::draw(kind, bag, plan.batch, places, self.seed))
            .collect()
    }
}

fn report_case(bar: &ProgressBar, output: Output, report: &CaseReport) -> anyhow::Result<()> {
    bar.inc(1);
    bar.suspend(|| output.result(report, report))
}

fn power(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(power) if (0.01..=10.0).contains(&power) => Ok(power),
        _ => Err("expected 0.01 to 10".into()),
    }
}

/// A structure, for example `bitmap` or `present+bitmap`.
fn structure(text: &str) -> Result<(RowsStored, Structure), String> {
    let (rows, name) = match text.strip_prefix("present+") {
        Some(name) => (RowsStored::Present, name),
        None => (RowsStored::All, text),
    };
    let found = Structure::ALL.into_iter().find(|s| s.name() == name);
    let names = || Structure::ALL.map(Structure::name).join(", ");
    found
        .map(|structure| (rows, structure))
        .ok_or_else(|| format!("expected one of {}, with or without `present+`", names()))
}
