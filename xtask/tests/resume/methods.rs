//! Runs in phases: kills in every phase.

use slimbed_rng::Seed;

use crate::kills::{Kills, Moment};
use crate::world::World;

/// Rounds of a method at least, and at most where a phase has not been hit by then.
const N_ROUNDS: u64 = 4;
const MAX_ROUNDS: u64 = 16;

/// Kills runs of a method until every one of its phases was hit.
fn check(method: &'static str, settings: &'static [&'static str], phases: &[&str]) {
    let world = World::new(method, settings);
    let mut stream = Seed::new(12).stream(method, 0);
    let mut kills = Kills::default();
    let mut n_rounds = 0;
    let is_missed = |kills: &Kills| phases.iter().any(|phase| kills.hits_in(phase) == 0);
    while n_rounds < N_ROUNDS || (n_rounds < MAX_ROUNDS && is_missed(&kills)) {
        let moment = Moment::at(stream.uniform_f64(), n_rounds, &world);
        kills.add(&world.round(n_rounds, moment, &mut stream));
        n_rounds += 1;
    }
    eprintln!("{method}: {n_rounds} killed runs came to the same end: {kills:?}");
    assert!(
        !is_missed(&kills),
        "{method}: a phase was never hit: {kills:?}"
    );
}

/// The second share is reached in the middle of the search, so that runs go on between the two.
#[test]
fn pep_is_killed_in_its_search_and_behind_it() {
    let settings = &[
        "method.keep=0.3",
        "method.also_keep=[0.7]",
        "method.check_every=3",
    ];
    check("pep", settings, &["search", "last"]);
}

#[test]
fn amtl_is_killed_while_it_learns_sizes_and_behind_it() {
    check("amtl", &["method.keep=0.4"], &["sizes", "last"]);
}

#[test]
fn mlet_is_killed_in_its_only_phase() {
    check("mlet", &["mlet.inner_dim=8"], &["last"]);
}
