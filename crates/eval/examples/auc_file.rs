//! Times the exact AUC on raw files: `auc_file SCORES LABELS`, little-endian f32 scores and u8 labels.
//!
//! `benches/compare/auc.py --dump FOLDER` writes such files and times scikit-learn on them.

use std::time::Instant;

use anyhow::Context;

const N_RUNS: usize = 5;

fn main() -> anyhow::Result<()> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [scores, labels] = &paths[..] else {
        anyhow::bail!("usage: auc_file SCORES LABELS");
    };
    let bytes = std::fs::read(scores).with_context(|| format!("cannot read {scores}"))?;
    let scores: Vec<f32> = bytes.chunks_exact(4).map(le_f32).collect();
    let labels = std::fs::read(labels).with_context(|| format!("cannot read {labels}"))?;

    let mut times = [0.0; N_RUNS];
    let mut auc = 0.0;
    for time in &mut times {
        let start = Instant::now();
        auc = slimbed_eval::auc(&scores, &labels)?;
        *time = start.elapsed().as_secs_f64();
    }
    times.sort_by(f64::total_cmp);
    println!("auc {auc:.15}");
    println!(
        "median of {N_RUNS}: {:.4} s, fastest {:.4} s, {} samples, {} threads",
        times[N_RUNS / 2],
        times[0],
        scores.len(),
        rayon::current_num_threads()
    );
    Ok(())
}

fn le_f32(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}
