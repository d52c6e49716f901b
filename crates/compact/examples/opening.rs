//! How long an artefact takes to open, for each kind of index.
//!
//! `cargo run --release -p slimbed-compact --example opening [MILLIONS OF ROWS]`
//!
//! Shape: one table of 16 million rows (1 GB as dense f32), dim 16, f32; pruned anywhere. The file is in
//! the system's cache; the shortest of 5 openings counts, one thread. Opening reads the indices and no values,
//! so its time grows with the rows of a table, not with its bytes: the last column is for a file of 1 GB.

use std::error::Error;
use std::time::Instant;

use serde_json::json;
use slimbed_compact::{
    Artefact, Encoding, FieldTable, Pooling, Rows, RowsStored, Structure, write,
};
use slimbed_rng::Seed;

const DIM: usize = 16;
const REPEATS: usize = 5;

/// Share of values that are kept, which rows are stored, and how.
const FORMS: [(f64, RowsStored, Structure); 8] = [
    (1.0, RowsStored::All, Structure::Dense),
    (1.0, RowsStored::All, Structure::DenseLines),
    (0.5, RowsStored::All, Structure::Bitmap),
    (0.05, RowsStored::All, Structure::Bitmap),
    (0.05, RowsStored::All, Structure::List),
    (0.05, RowsStored::All, Structure::Positions),
    (0.01, RowsStored::Present, Structure::List),
    (0.01, RowsStored::All, Structure::Positions),
];

fn main() -> Result<(), Box<dyn Error>> {
    let millions = std::env::args()
        .nth(1)
        .map_or(Ok(16), |n| n.parse::<usize>())?;
    println!("kept  form                      MB       ms    ms/GB");
    for form in FORMS {
        open(millions * 1_000_000, form)?;
    }
    Ok(())
}

fn open(
    n_rows: usize,
    (density, rows_stored, structure): (f64, RowsStored, Structure),
) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("t.safetensors");
    let values = values(n_rows * DIM, density);
    let encoding = Encoding {
        rows: rows_stored,
        structure,
        // Rows of 17 bytes and more are what lines are for.
        values: match structure {
            Structure::DenseLines => slimbed_compact::Values::Int8,
            _ => slimbed_compact::Values::F32,
        },
        n_head: 0,
    };
    let field = FieldTable::new("t", Rows::new(&values, DIM)?, encoding, Pooling::Sum);
    write(&path, &[field], &[], json!({}), json!({}))?;
    drop(values);
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        let start = Instant::now();
        let artefact = Artefact::open(&path)?;
        best = best.min(start.elapsed().as_secs_f64());
        drop(artefact);
    }
    let (bytes, name) = (path.metadata()?.len() as f64, encoding.name());
    let (ms, gigabytes) = (best * 1e3, bytes / 1e9);
    let per_gigabyte = ms / gigabytes;
    println!(
        "{density:<5} {name:<20} {:7.1} {ms:8.2} {per_gigabyte:8.1}",
        bytes / 1e6
    );
    Ok(())
}

fn values(n: usize, density: f64) -> Vec<f32> {
    let mut random = Seed::new(3).stream("opening", 0);
    let threshold = (density * 2.0_f64.powi(32)) as u64;
    let kept = (0..n).map(|_| f32::from(u8::from(u64::from(random.word()) < threshold)));
    kept.collect()
}
