//! What cannot be resumed is refused with the reason.

use std::fs;
use std::path::Path;

use candle_core::Device;
use slimbed_train::{SavedRun, Standing, TrainError, resume};

use crate::world::{World, config};

/// A run of which only the report is missing, after `damage` has been done to its folder.
fn error_after(world: &World, damage: impl Fn(&Path)) -> String {
    let name = "run";
    let saved = world.finished(name, &config());
    let folder = saved.dir().path().to_owned();
    fs::remove_file(saved.dir().report()).unwrap();
    damage(&folder);
    let resumed = SavedRun::open(&folder).and_then(|saved| {
        saved.standing()?;
        resume(&saved, &world.dataset, &Device::Cpu)
    });
    fs::remove_dir_all(folder).unwrap();
    resumed.unwrap_err().to_string()
}

fn check(world: &World, expected: &[&str], damage: impl Fn(&Path)) {
    let error = error_after(world, damage);
    for part in expected {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
}

fn edit(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn replace(path: &Path, from: &str, to: &str) {
    let bytes = fs::read(path).unwrap();
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("no {from} in {}", path.display()));
    let new = [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat();
    fs::write(path, new).unwrap();
}

#[test]
fn a_checkpoint_that_is_missing() {
    let world = World::new();
    for name in ["last", "best"] {
        let file = format!("ckpt/{name}.safetensors");
        let damage = |run: &Path| fs::remove_file(run.join(&file)).unwrap();
        check(&world, &[&file, "is missing"], damage);
    }
}

#[test]
fn a_checkpoint_that_is_damaged() {
    let world = World::new();
    for name in ["last", "best"] {
        let file = format!("ckpt/{name}.safetensors");
        let path = |run: &Path| run.join(&file);
        for length in [0, 5, 200] {
            check(&world, &["checkpoint", &file], |run| {
                edit(&path(run), |bytes| bytes.truncate(length));
            });
        }
        check(&world, &["checkpoint", &file], |run| {
            edit(&path(run), |bytes| bytes.truncate(bytes.len() - 1));
        });
    }
    check(&world, &["best.safetensors", "checksum"], |run| {
        edit(&run.join("ckpt/best.safetensors"), |bytes| {
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
        });
    });
    // Inside the header's JSON, quotes are escaped.
    check(&world, &["best.safetensors", "checksum"], |run| {
        let (from, to) = (r#"n_samples\":"#, r#"n_samples\":9"#);
        let path = run.join("ckpt/best.safetensors");
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let digits = text.split(from).nth(1).unwrap();
        let digit = &digits[..1];
        replace(&path, &format!("{from}{digit}"), &to[..to.len()]);
    });
}

#[test]
fn a_checkpoint_of_another_version() {
    let world = World::new();
    check(
        &world,
        &["last.safetensors", "version 2", "found 1"],
        |run| {
            replace(
                &run.join("ckpt/last.safetensors"),
                r#"format_version\":2"#,
                r#"format_version\":1"#,
            );
        },
    );
}

#[test]
fn settings_that_were_changed_meanwhile() {
    let world = World::new();
    let expected = ["last.safetensors", "other settings"];
    check(&world, &expected, |run| {
        let path = run.join("config.resolved.toml");
        replace(&path, "clip_norm = 1.0", "clip_norm = 2.0");
    });
    check(&world, &["last.safetensors", "expected seed 4"], |run| {
        replace(&run.join("run.json"), "\"seed\": 3", "\"seed\": 4");
    });
    check(&world, &["config.resolved.toml", "clip_nrom"], |run| {
        let path = run.join("config.resolved.toml");
        replace(&path, "clip_norm", "clip_nrom");
    });
}

#[test]
fn data_that_was_changed_meanwhile() {
    let world = World::new();
    let meta = world.dataset.path().join("meta.json");
    check(&world, &["data has changed", "meta.json"], |_| {
        edit(&meta, |bytes| bytes.push(b'\n'));
    });
}

#[test]
fn a_log_that_was_cut() {
    let world = World::new();
    check(&world, &["metrics.jsonl", "bytes"], |run| {
        edit(&run.join("metrics.jsonl"), |bytes| bytes.truncate(100));
    });
}

#[test]
fn what_is_no_run() {
    let world = World::new();
    let error = SavedRun::open(world.folder.path()).unwrap_err();
    assert!(error.to_string().contains("run.json"), "{error}");
    check(&world, &["run.json", "format_version 1"], |run| {
        replace(
            &run.join("run.json"),
            "\"format_version\": 1",
            "\"format_version\": 7",
        );
    });
    check(&world, &["run.json"], |run| {
        edit(&run.join("run.json"), |bytes| bytes.truncate(20));
    });
}

#[test]
fn a_run_that_another_process_works_on() {
    let world = World::new();
    let saved = world.finished("run", &config());
    fs::remove_file(saved.dir().report()).unwrap();
    let lock = saved.dir().lock().unwrap();
    let error = resume(&saved, &world.dataset, &Device::Cpu).unwrap_err();
    assert!(matches!(error, TrainError::RunFile { .. }), "{error}");
    drop(lock);
    resume(&saved, &world.dataset, &Device::Cpu).unwrap();
}

#[test]
fn a_finished_run_is_left_as_it_is() {
    let world = World::new();
    let saved = world.finished("run", &config());
    let Standing::Finished(report) = saved.standing().unwrap() else {
        panic!("not finished");
    };
    let before = fs::read_dir(saved.dir().path()).unwrap().count();
    let again = resume(&saved, &world.dataset, &Device::Cpu).unwrap();
    assert_eq!(again, *report);
    assert_eq!(
        fs::read_dir(saved.dir().path()).unwrap().count(),
        before,
        "nothing was added"
    );
    assert_eq!(saved.info().extra["bayes_auc"], 0.75);
}

#[test]
fn a_run_without_a_checkpoint_begins_anew() {
    let world = World::new();
    let saved = world.finished("run", &config());
    let folder = saved.dir().path();
    let log = fs::read(saved.dir().metrics()).unwrap();
    for part in ["ckpt", "export"] {
        fs::remove_dir_all(folder.join(part)).unwrap();
    }
    fs::remove_file(saved.dir().report()).unwrap();
    assert_eq!(saved.standing().unwrap(), Standing::New);
    resume(&saved, &world.dataset, &Device::Cpu).unwrap();
    assert!(log == fs::read(saved.dir().metrics()).unwrap());
}
