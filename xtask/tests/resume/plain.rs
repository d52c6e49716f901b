//! Runs with plain tables: many kills, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use slimbed_rng::Seed;

use crate::kills::{Kills, Moment};
use crate::world::{World, finish, xtask};

const N_ROUNDS: u64 = 20;

/// The first kills are spread over the whole run, the later ones are anywhere.
fn round(world: &World, number: u64) -> Kills {
    let mut stream = Seed::new(11).stream("resume/kills", number);
    let share = (number as f64 + stream.uniform_f64()) / N_ROUNDS as f64;
    let moment = Moment::at(share, number, world);
    world.round(number, moment, &mut stream)
}

#[test]
fn twenty_of_twenty_killed_runs_end_with_the_bits_of_one_that_was_not() {
    let world = World::new("none", &[]);
    let next = AtomicU64::new(0);
    let rounds = || {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)));
        let numbers = numbers.take_while(|&number| number < N_ROUNDS);
        numbers.map(|n| round(&world, n)).collect::<Vec<_>>()
    };
    // Two at a time: a process waits for the disk most of the time.
    let kills: Vec<Kills> = thread::scope(|scope| {
        let workers = [scope.spawn(rounds), scope.spawn(rounds)];
        let done = workers.map(|worker| worker.join().unwrap());
        done.into_iter().flatten().collect()
    });
    let mut sum = Kills::default();
    kills.iter().for_each(|kills| sum.add(kills));
    let n_hit = kills.iter().filter(|kills| kills.hits() > 0).count() as u64;
    eprintln!(
        "{n_hit} of {N_ROUNDS} runs were killed on their way, all came to the same end: {sum:?}"
    );
    assert_eq!(kills.len() as u64, N_ROUNDS);
    assert!(n_hit >= N_ROUNDS / 2, "too few kills: {kills:?}");
}

/// Expects exit code 2 and all of `expected` in the message.
fn check_refused(folder: &Path, arguments: &[&str], expected: &[&str]) {
    let output = xtask(folder, arguments).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    for part in expected {
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn what_cannot_be_resumed_is_refused_and_what_is_finished_is_shown() {
    let world = World::new("none", &[]);
    let (folder, run) = (world.folder.path(), world.reference());
    let log = fs::metadata(run.join("metrics.jsonl")).unwrap();
    // The whole report is the same: nothing was done again.
    assert_eq!(finish(world.resume("reference", 1)), world.report);
    let untouched = fs::metadata(run.join("metrics.jsonl")).unwrap();
    assert_eq!(untouched.modified().unwrap(), log.modified().unwrap());

    let resume = ["train", "--resume", "runs/reference"];
    for flags in [
        &["--set", "train.lr=1"][..],
        &["--data", "prepared"],
        &["--rows", "100"],
        &["--name", "x"],
        &["--device", "cpu"],
        &["--seed", "3"],
        &["--seed=3"],
    ] {
        let flag = flags[0].trim_end_matches("=3");
        let arguments = [&resume, flags].concat();
        check_refused(
            folder,
            &arguments,
            &["--resume", flag, "cannot be used with"],
        );
    }
    check_refused(
        folder,
        &["--seed", "3", "train", "--resume", "runs/reference"],
        &["--seed cannot be used with --resume"],
    );
    check_refused(folder, &["train", "--resume", "runs"], &["run.json"]);
    check_refused(folder, &["train", "--resume", "nowhere"], &["run.json"]);

    fs::remove_file(run.join("report.json")).unwrap();
    let data = PathBuf::from(world.report["data_dir"].as_str().unwrap());
    let (data, away) = (folder.join(data), folder.join("away"));
    fs::rename(&data, &away).unwrap();
    check_refused(folder, &resume, &["cannot open the data", "meta.json"]);
    fs::rename(&away, &data).unwrap();
    let last = run.join("ckpt/last.safetensors");
    fs::write(&last, &fs::read(&last).unwrap()[..1000]).unwrap();
    check_refused(folder, &resume, &["last.safetensors"]);
}
