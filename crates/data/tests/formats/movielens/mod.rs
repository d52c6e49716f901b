//! MovieLens in all its forms, from small files.

mod bad;

use slimbed_data::{OOV, Split};

use crate::folder::{Prepared, prepare_folder, refused};

const USERS: &str = "1::F::1::10::48067\n2::M::56::16::98107-2117\n";
/// Latin-1: `Misérables, Les`.
const MOVIES: &[u8] =
    b"10::Toy Story (1995)::Animation|Comedy\n11::Mis\xe9rables, Les (1995)::Drama\n\
    12::Two Friends (1986) ::Comedy|Animation\n";
const USERS_100K: &str = "1|24|F|writer|48067\n2|53|M|other|T8H1N\n";
const MOVIES_100K: &[u8] =
    b"10|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n\
    11|Mis\xe9rables, Les (1995)|4-Feb-1995||http://x|0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0\n\
    12|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n";

/// A recipe of the 1M edition.
fn recipe(fields: &str, label: &str, split: &str) -> String {
    format!(
        "name = \"toy\"\nformat = \"movielens-1m\"\n[files]\nratings = [\"ratings.dat\"]\n\
         users = [\"users.dat\"]\nmovies = [\"movies.dat\"]\n[label]\n{label}\n{fields}\n[split]\n\
         kind = \"{split}\"\nshares = {{ train = 3, validation = 1, test = 1 }}\n"
    )
}

fn fields(names: &str) -> String {
    format!("[[fields]]\nnames = \"{names}\"\n")
}

/// 60 ratings of 2 users and 3 movies, every rating equally often, one each 100 seconds.
fn ratings(with_times: bool, separator: &str) -> String {
    let line = |i: u64| {
        let (user, item, stars) = (1 + i / 5 % 2, 10 + i / 10 % 3, 1 + i % 5);
        let cells = [user, item, stars, 1_000_000_000 + 100 * i].map(|cell| cell.to_string());
        cells[..3 + usize::from(with_times)].join(separator) + "\n"
    };
    (0..60).map(line).collect()
}

fn files(ratings: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("ratings.dat", ratings.as_bytes().to_vec()),
        ("users.dat", USERS.into()),
        ("movies.dat", MOVIES.to_vec()),
    ]
}

fn prepared(fields: &str, label: &str, split: &str, ratings: &str) -> Prepared {
    prepare_folder(&recipe(fields, label, split), &files(ratings), 0).unwrap()
}

#[test]
fn the_label_is_a_setting() {
    let names = fields("user, item");
    let all = prepared(&names, "positive = 4", "random", &ratings(true, "::"));
    assert_eq!(all.totals(), (60, 24));
    let dropped = prepared(
        &names,
        "positive = 4\ndrop = [3]",
        "random",
        &ratings(true, "::"),
    );
    assert_eq!(
        (dropped.totals(), dropped.report.meta.n_bad_rows),
        ((48, 24), 0)
    );
    let best = prepared(&names, "positive = 5", "random", &ratings(true, "::"));
    assert_eq!(best.totals(), (60, 12));
}

#[test]
fn ratings_without_times_are_the_same_rows() {
    let names = fields("user, item, gender, age, occupation, zip, year, genres");
    let [with, without] =
        [true, false].map(|with| prepared(&names, "positive = 4", "random", &ratings(with, "::")));
    assert_eq!(with.batches(), without.batches());
}

#[test]
fn a_split_by_time_is_in_the_order_of_time() {
    let mut lines: Vec<_> = ratings(true, "::").lines().map(str::to_owned).collect();
    let expected = prepared(
        &fields("item"),
        "positive = 4",
        "time",
        &(lines.join("\n") + "\n"),
    );
    assert_eq!(expected.n_rows(), [36, 12, 12]);
    lines.reverse();
    let found = prepared(
        &fields("item"),
        "positive = 4",
        "time",
        &(lines.join("\n") + "\n"),
    );
    assert_eq!(found.n_rows(), [36, 12, 12]);
    let [mut a, mut b] = [expected, found].map(|prepared| prepared.ids(Split::Test, 0));
    a.sort_unstable();
    b.sort_unstable();
    assert_eq!(a, b);
}

#[test]
fn the_bucket_of_time_is_peps_since_the_first_rating() {
    let prepared = prepared(
        &fields("timestamp"),
        "positive = 4",
        "time",
        &ratings(true, "::"),
    );
    // Seconds 0, 100, 200, … 3500 of the training rows: floor(ln(v)²), and -2 for the first.
    let mut buckets: Vec<i64> = (1..36)
        .map(|i| (f64::from(100 * i)).ln().powi(2) as i64)
        .collect();
    buckets.push(-2);
    buckets.sort_unstable();
    buckets.dedup();
    assert_eq!(prepared.tables()[0] as usize, 1 + buckets.len());
}

#[test]
fn genres_are_a_combination_or_a_bag() {
    let names = fields("genres");
    let label = "positive = 4";
    let combined = prepared(&names, label, "random", &ratings(true, "::"));
    // Animation|Comedy and Comedy|Animation are one combination.
    assert_eq!(combined.tables()[0], 1 + 2);
    let bag = format!("{names}kind = \"bag\"\n");
    let bags = prepared(&bag, label, "random", &ratings(true, "::"));
    assert_eq!(bags.tables()[0], 1 + 3);
    for split in Split::ALL {
        for (single, batch) in combined
            .batches_of(split)
            .iter()
            .zip(bags.batches_of(split))
        {
            let offsets = batch.fields[0].offsets.clone().unwrap();
            let drama = combined_id_of_drama(&combined);
            for (i, &id) in single.fields[0].ids.iter().enumerate() {
                let expected = if id == drama { 1 } else { 2 };
                assert_eq!(offsets[i + 1] - offsets[i], expected);
            }
        }
    }
}

/// Drama is a third of the rows, so the rarer combination.
fn combined_id_of_drama(combined: &Prepared) -> u32 {
    let vocabulary = combined.dataset().vocabulary().unwrap();
    assert!(vocabulary.fields()[0].counts()[1] > vocabulary.fields()[0].counts()[2]);
    2
}

#[test]
fn the_100k_edition_is_read_too() {
    let recipe = recipe(
        &fields("user, item, timestamp, gender, age, occupation, zip, year, genres"),
        "positive = 4",
        "random",
    );
    let recipe = recipe
        .replace("movielens-1m", "movielens-100k")
        .replace("ratings.dat", "u.data")
        .replace("users.dat", "u.user")
        .replace("movies.dat", "u.item");
    let files = vec![
        ("u.data", ratings(true, "\t").into_bytes()),
        ("u.user", USERS_100K.into()),
        ("u.item", MOVIES_100K.to_vec()),
    ];
    let prepared = prepare_folder(&recipe, &files, 0).unwrap();
    assert_eq!(prepared.totals(), (60, 24));
    let rows = prepared.tables();
    // Row 0 and: 2 users, 3 movies, …, 2 genders, ages, occupations, codes; 1995 and no year; 3 genres.
    assert_eq!([&rows[..2], &rows[3..]].concat(), [3, 4, 3, 3, 3, 3, 3, 4]);
    let inputs: Vec<_> = prepared
        .report
        .meta
        .inputs
        .iter()
        .map(|i| &*i.file)
        .collect();
    assert_eq!(inputs, ["u.data", "u.user", "u.item"]);
    assert!(
        prepared
            .report
            .meta
            .inputs
            .iter()
            .all(|input| input.n_bytes > 0)
    );
}

#[test]
fn ids_of_other_splits_are_row_0() {
    // The newest ratings are of a movie that nobody rated before.
    let newest: String = (0..15)
        .map(|i| format!("2::12::{}::{}\n", 1 + i % 5, 2_000_000_000 + i))
        .collect();
    let old: String = ratings(true, "::")
        .lines()
        .filter(|line| !line.contains("::12::"))
        .map(|line| format!("{line}\n"))
        .collect();
    let prepared = prepared(&fields("item"), "positive = 4", "time", &(old + &newest));
    assert!(prepared.ids(Split::Test, 0).iter().all(|&id| id == OOV));
    assert_eq!(prepared.tables()[0], 3);
}

#[test]
fn files_are_found_by_any_name_and_asked_for() {
    let good = recipe(&fields("user, year"), "positive = 4", "random");
    let mut all = files(&ratings(true, "::"));
    let packed = zstd::encode_all(&all[0].1[..], 1).unwrap();
    all[0] = ("other.dat.zst", packed);
    refused(
        &good,
        &all,
        0,
        &["expected `ratings.dat` as `ratings`", "found none"],
    );
    let renamed = good.replace("[\"ratings.dat\"]", "[\"ratings.dat\", \"other.dat\"]");
    let prepared = prepare_folder(&renamed, &all, 0).unwrap();
    assert_eq!(prepared.report.meta.inputs[0].file, "other.dat.zst");
    // Without the users' file, nothing of users is known and nobody is missing.
    let only = good
        .replace("users = [\"users.dat\"]\n", "")
        .replace("user, year", "user, item");
    let known = ratings(true, "::");
    let line = |line: &str| match line.strip_prefix("2::") {
        Some(rest) => format!("7::{rest}\n"),
        None => format!("{line}\n"),
    };
    let unknown: String = known.lines().map(line).collect();
    let files = [files(&unknown).remove(0), files(&unknown).remove(2)];
    assert_eq!(prepare_folder(&only, &files, 0).unwrap().totals(), (60, 24));
}
