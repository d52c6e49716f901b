//! Fuzzes the opener of artefacts, and lookups in whatever opens; `run.sh` builds and runs it.
//!
//! An input is a whole file. Half of the mutations are libFuzzer's own, on bytes; the other half take the file
//! apart, break something in it and put it together again, see `damage`.
#![no_main]

#[path = "../../tests/damage/mod.rs"]
mod damage;
#[path = "../../tests/drive/mod.rs"]
mod drive;
#[path = "../../tests/parts/mod.rs"]
mod parts;

use std::cell::OnceCell;
use std::path::Path;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use parts::Parts;
use slimbed_compact::{Artefact, ArtefactError};
use slimbed_rng::Seed;
use tempfile::{NamedTempFile, TempPath};

thread_local! {
    static FILE: OnceCell<TempPath> = const { OnceCell::new() };
}

/// A place for one file after the other.
fn with_path<T>(visit: impl FnOnce(&Path) -> T) -> T {
    FILE.with(|file| {
        let path = file.get_or_init(|| {
            let file = NamedTempFile::new().expect("a temporary file");
            file.into_temp_path()
        });
        visit(path)
    })
}

fn opens(parts: &Parts) -> Result<(), ArtefactError> {
    with_path(|path| {
        drive::put(path, &parts.file());
        Artefact::open(path).map(drop)
    })
}

fuzz_target!(|input: &[u8]| {
    let _ = with_path(|path| drive::survive(path, input));
});

fuzz_mutator!(
    |input: &mut [u8], size: usize, max_size: usize, seed: u32| {
        let mut random = Seed::new(seed.into()).stream("fuzz", 0);
        let parts = Parts::read(&input[..size]).filter(|_| random.below(4) > 0);
        let Some(mut parts) = parts else {
            return fuzzer_mutate(input, size, max_size);
        };
        for _ in 0..=random.below(3) {
            damage::damage(&mut parts, &mut random);
        }
        if random.below(2) == 0 {
            damage::mend(&mut parts, opens);
        }
        let file = parts.file();
        if file.len() > max_size {
            return fuzzer_mutate(input, size, max_size);
        }
        input[..file.len()].copy_from_slice(&file);
        file.len()
    }
);
