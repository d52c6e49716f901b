//! The published data where they are at hand: `SLIMBED_DATA` names a folder with `frappe`, `ml-1m`,
//! `ml-100k` and `avazu`.

use std::path::{Path, PathBuf};

use slimbed_data::{Recipe, Split};

use crate::folder::Prepared;

fn prepared(recipe: &str, folder: &str) -> Option<Prepared> {
    let Some(data) = std::env::var_os("SLIMBED_DATA") else {
        println!("skipped: SLIMBED_DATA is not set");
        return None;
    };
    let prepared = Prepared::new(&load(recipe), &[Path::new(&data).join(folder)], 0).unwrap();
    assert_eq!(prepared.report.meta.n_bad_rows, 0);
    println!(
        "{recipe}: {:?}, {:?}",
        prepared.report.meta.splits,
        prepared.tables()
    );
    println!("{recipe}: {:.2} s", prepared.report.secs);
    Some(prepared)
}

fn load(recipe: &str) -> Recipe {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    Recipe::load(&folder.join(recipe)).unwrap()
}

#[test]
fn frappe_has_its_published_split() {
    let Some(prepared) = prepared("frappe.toml", "frappe") else {
        return;
    };
    assert_eq!(prepared.n_rows(), [202_027, 57_722, 28_860]);
    assert_eq!(prepared.totals(), (288_609, 96_203));
    assert_eq!(prepared.tables().len(), 10);
    // At most the indices of all files and a row 0 for each field.
    assert!(prepared.tables().iter().sum::<u32>() <= 5_382 + 10);
}

#[test]
fn movielens_1m_has_all_its_ratings() {
    let Some(prepared) = prepared("movielens-1m.toml", "ml-1m") else {
        return;
    };
    assert_eq!(prepared.totals(), (1_000_209, 575_281));
    let tables = prepared.tables();
    assert!((6_000..=6_041).contains(&tables[0]) && (3_600..=3_707).contains(&tables[1]));
    assert_eq!([tables[2], tables[3], tables[4], tables[7]], [3, 8, 22, 19]);
    let shares = prepared.n_rows().map(|n| n as f64 / 1_000_209.0);
    assert!((shares[0] - 0.8).abs() < 0.002 && (shares[1] - 0.1).abs() < 0.002);
}

#[test]
fn peps_movielens_lacks_the_ratings_of_3() {
    let Some(prepared) = prepared("movielens-1m-pep-no-time.toml", "ml-1m") else {
        return;
    };
    assert_eq!(prepared.totals(), (739_012, 575_281));
    assert_eq!(prepared.tables()[..3], [3, 8, 22]);
}

#[test]
fn peps_own_recipe_asks_for_times() {
    let recipe = load("movielens-1m-pep.toml");
    assert_eq!(
        (recipe.fields.len(), &*recipe.fields[0].column.name),
        (7, "timestamp")
    );
    let Some(data) = std::env::var_os("SLIMBED_DATA") else {
        println!("skipped: SLIMBED_DATA is not set");
        return;
    };
    let inputs: [PathBuf; 1] = [Path::new(&data).join("ml-1m")];
    if recipe.input_files(&inputs).is_err() {
        println!("skipped: no ratings.dat with times");
        return;
    }
    assert_eq!(
        Prepared::new(&recipe, &inputs, 0).unwrap().totals().0,
        739_012
    );
}

#[test]
fn times_of_movielens_100k_become_buckets() {
    let Some(data) = std::env::var_os("SLIMBED_DATA") else {
        println!("skipped: SLIMBED_DATA is not set");
        return;
    };
    let text = load("movielens-100k.toml")
        .source()
        .replace("\"user, item, gender", "\"timestamp, gender");
    let text = text.replace("positive = 4", "positive = 4\ndrop = [3]");
    let recipe = Recipe::parse(&text, "pep-100k.toml".as_ref()).unwrap();
    let prepared = Prepared::new(&recipe, &[Path::new(&data).join("ml-100k")], 0).unwrap();
    assert_eq!(prepared.totals(), (100_000 - 27_145, 55_375));
    // 215 days are fewer than 2^24.2 seconds, and floor(ln(v)²) reaches 280.
    let n_buckets = prepared.tables()[0];
    println!("{n_buckets} rows for buckets of time");
    assert!((20..=283).contains(&n_buckets));
}

#[test]
fn movielens_100k_is_split_by_time() {
    let Some(prepared) = prepared("movielens-100k.toml", "ml-100k") else {
        return;
    };
    assert_eq!(prepared.totals(), (100_000, 55_375));
    // No second is parted, so a split may begin a little early.
    for (found, expected) in prepared.n_rows().into_iter().zip([80_000, 10_000, 10_000]) {
        assert!(found.abs_diff(expected) < 100, "{found}");
    }
    // Genre and gender are few, and the newest users are unknown to the training split.
    assert_eq!(prepared.tables()[2], 3);
    assert!(prepared.ids(Split::Test, 0).contains(&0));
}

#[test]
fn the_head_of_avazu_is_read() {
    let file = "avazu/avazu_train_head8999.csv";
    let Some(prepared) = prepared("avazu.toml", file) else {
        return;
    };
    assert_eq!(prepared.totals().0, 8_999);
    let names: Vec<_> = prepared.dataset().fields().iter().collect();
    assert_eq!(
        (names.len(), &*names[0].name, &*names[1].name),
        (23, "hour", "weekday")
    );
    // One hour of one day, and seven kinds of C1.
    let tables = prepared.tables();
    assert_eq!(tables[..2], [2, 2]);
    assert!((4..=8).contains(&tables[2]) && tables[5] > 100);
    let rate = prepared.totals().1 as f64 / prepared.totals().0 as f64;
    assert!((rate - 0.174).abs() < 0.001, "{rate}");
}
