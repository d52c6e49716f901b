//! How fast raw files are parsed and prepared, and how much memory that takes.
//!
//! `cargo run --release -p slimbed-data --example prepare_speed -- RECIPE FILE...`
//! prints rows and bytes per second of the parse pass alone and of the whole preparation.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use slimbed_data::{PrepareOptions, Recipe, RowReader, prepare};
use slimbed_rng::Seed;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let recipe = arguments.next().ok_or("expected RECIPE FILE...")?;
    let recipe = Recipe::load(&recipe)?;
    let files: Vec<PathBuf> = arguments.collect();
    println!("{} threads", rayon::current_num_threads());
    let started = Instant::now();
    let (n_rows, n_bytes) = parse(&recipe, &files)?;
    report("parse", n_rows, n_bytes, started.elapsed().as_secs_f64());
    let folder = tempfile::tempdir()?;
    let secs = prepare_into(&recipe, &files, &folder.path().join("out"))?;
    report("prepare", n_rows, n_bytes, secs);
    if let Some(peak) = peak_memory() {
        println!("peak memory {peak}");
    }
    Ok(())
}

/// Rows and bytes of all files.
fn parse(recipe: &Recipe, files: &[PathBuf]) -> Result<(u64, u64), Box<dyn Error>> {
    let mut reader = RowReader::open(recipe, files, 0)?;
    let mut n_rows = 0;
    while let Some(group) = reader.next_group()? {
        n_rows += group
            .iter()
            .map(|rows| rows.lines.len() as u64)
            .sum::<u64>();
    }
    Ok((n_rows, reader.progress().bytes))
}

fn prepare_into(recipe: &Recipe, files: &[PathBuf], out: &Path) -> Result<f64, Box<dyn Error>> {
    let options = PrepareOptions {
        seed: Seed::new(1),
        max_bad_rows: 0,
    };
    let started = Instant::now();
    prepare(recipe, files, out, &options, &|_| {})?;
    Ok(started.elapsed().as_secs_f64())
}

fn report(what: &str, n_rows: u64, n_bytes: u64, secs: f64) {
    let (rows, megabytes) = (n_rows as f64 / secs, n_bytes as f64 / secs / 1e6);
    println!("{what}: {n_rows} rows in {secs:.2} s, {rows:.0} rows/s, {megabytes:.0} MB/s");
}

/// The largest resident size so far, where Linux tells it.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().to_owned())
}
