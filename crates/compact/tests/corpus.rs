//! The fuzz target's inputs once more, with every test run.

mod drive;

use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpus_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("t.safetensors");
    let (mut n_inputs, mut n_opened) = (0, 0);
    for entry in fs::read_dir(corpus).expect("a readable corpus") {
        let input = fs::read(entry.expect("a readable corpus").path()).unwrap();
        n_inputs += 1;
        n_opened += usize::from(drive::survive(&path, &input).is_ok());
    }
    assert!(
        n_opened >= 20 && n_opened < n_inputs,
        "{n_opened} of {n_inputs} open"
    );
}
