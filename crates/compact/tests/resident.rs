//! A mapped artefact takes no more memory than its file: measured in a process of its own, on Linux.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

use std::path::Path;
use std::process::Command;

use serde_json::json;
use slimbed_compact::{
    Artefact, Bags, Encoding, FieldTable, Output, Pooling, Rows, Scratch, Structure, write,
};
use slimbed_rng::Seed;

/// Names the file in the process that measures itself.
const FILE: &str = "SLIMBED_RESIDENT_FILE";

const DIM: usize = 32;
const BATCH: usize = 2048;
const N_LOOKUPS: usize = 1_000_000;

/// A dense table of 96 MB and a bitmap of about 110 MB.
fn write_file(path: &Path) {
    let mut random = Seed::new(1).stream("resident", 0);
    let dense: Vec<f32> = (0..750_000 * DIM).map(|i| i as f32).collect();
    let mut sparse = vec![0.0; 1_500_000 * DIM];
    for x in &mut sparse {
        *x = if random.word().is_multiple_of(2) {
            1.0
        } else {
            0.0
        };
    }
    let bitmap = Encoding {
        structure: Structure::Bitmap,
        ..Encoding::EXACT_DENSE
    };
    let tables = [
        ("dense", &dense, Encoding::EXACT_DENSE),
        ("bitmap", &sparse, bitmap),
    ];
    let fields = tables.map(|(name, values, encoding)| {
        FieldTable::new(
            name,
            Rows::new(values, DIM).unwrap(),
            encoding,
            Pooling::Sum,
        )
    });
    write(path, &fields, &[], json!({}), json!({})).unwrap();
}

/// Half a million random ids of each table.
fn look_up(artefact: &Artefact) {
    let (mut out, mut scratch) = (vec![0.0; BATCH * DIM], Scratch::default());
    for table in artefact.tables().unwrap() {
        let mut random = Seed::new(2).stream("ids", 0);
        for _ in 0..N_LOOKUPS / 2 / BATCH + 1 {
            let ids: Vec<u32> = (0..BATCH)
                .map(|_| random.below(table.n_rows()) as u32)
                .collect();
            let out = Output::rows(&mut out, DIM);
            table
                .lookup(&Bags::single(&ids), out, &mut scratch)
                .unwrap();
        }
    }
}

/// Resident bytes of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes: u64 = line
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    kilobytes * 1024
}

#[test]
fn a_mapped_artefact_takes_its_file_and_no_more() {
    if cfg!(not(target_os = "linux")) {
        println!("skipped: resident memory is read from /proc");
        return;
    }
    if let Some(path) = std::env::var_os(FILE) {
        let artefact = Artefact::open(Path::new(&path)).unwrap();
        look_up(&artefact);
        println!("resident {}", resident_bytes());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.safetensors");
    write_file(&path);
    let file = std::fs::metadata(&path).unwrap().len();
    // The same test in a fresh process, which has written nothing.
    let program = std::env::current_exe().unwrap();
    let done = Command::new(program)
        .args([
            "--nocapture",
            "--exact",
            "a_mapped_artefact_takes_its_file_and_no_more",
        ])
        .env(FILE, &path)
        .output()
        .unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    let resident = text.lines().find_map(|line| line.split("resident ").nth(1));
    let resident: u64 = resident.expect(&text).parse().unwrap();
    println!("file {file}, resident {resident}");
    assert!(file > 190_000_000, "{file}");
    assert!(
        resident <= file + file / 10 + 20_000_000,
        "{resident} for {file}"
    );
    // Else nothing was looked up.
    assert!(resident > file / 2, "{resident} for {file}");
}
