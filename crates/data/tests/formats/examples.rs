//! The example recipes of `datasets/`, on files that are written as they say.

use std::path::Path;

use slimbed_data::{Dataset, Recipe, Split};

use crate::folder::{Prepared, written};

/// 400 rows in one file, prepared with an example.
fn prepared(recipe: &str, head: &str, line: impl Fn(u64) -> String) -> Prepared {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    let recipe = Recipe::load(&folder.join(recipe)).unwrap();
    let lines: String = (0..400).map(line).collect();
    let (_folder, paths) = written(&[("rows", [head, &lines].concat().into_bytes())]);
    Prepared::new(&recipe, &paths, 0).unwrap()
}

fn names(dataset: &Dataset) -> (Vec<&str>, Vec<&str>) {
    let fields = dataset.fields().iter().map(|field| &*field.name);
    let dense = dataset.meta().dense.iter().map(String::as_str);
    (dense.collect(), fields.collect())
}

/// Mean of a dense feature over the training split.
fn mean(prepared: &Prepared, column: usize) -> f64 {
    let n_dense = prepared.dataset().n_dense();
    let batches = prepared.batches_of(Split::Train);
    let values = batches.iter().flat_map(|batch| batch.dense.chunks(n_dense));
    let values: Vec<_> = values.map(|row| f64::from(row[column])).collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_csv_example_reads_what_it_describes() {
    let head = "user,item,rating,price,length,time,genres,comment,note1,note2,note3\n";
    let csv = prepared("csv-example.toml", head, |i| {
        let price = if i % 7 == 0 {
            "NA".into()
        } else {
            (i % 90).to_string()
        };
        let (user, genres) = (i % 9, ["", "War", "War|Drama"][i as usize % 3]);
        format!(
            "u{user},,{},{price},{},141021{:02},{genres},\"a \"\"b\"\",\nc\",,,\n",
            1 + i % 5,
            i % 50,
            i % 24
        )
    });
    let (dense, fields) = names(csv.dataset());
    assert_eq!(dense, ["price", "minutes"]);
    assert_eq!(fields, ["user", "item", "hour", "weekday", "genres"]);
    // Row 0, and the users, the missing item, the hours, one day, the genres.
    assert_eq!(csv.tables(), [10, 2, 25, 2, 3]);
    assert!(mean(&csv, 0).abs() < 1e-6);
    assert_eq!(csv.totals(), (400, 160));
}

#[test]
fn the_libffm_example_reads_what_it_describes() {
    let ffm = prepared("libffm-example.toml", "", |i| {
        let tags: String = (0..i % 4).map(|k| format!(" 6:{k}:1")).collect();
        format!(
            "{} 0:0:{} 1:3:-2.5 2:11:{} 3:{}:1 4:5:1{tags} 8:1:0.5\n",
            i % 2,
            i % 31,
            i % 5,
            i % 9
        )
    });
    let (dense, fields) = names(ffm.dataset());
    assert_eq!(dense, ["I1", "I2", "age", "price", "stars"]);
    assert_eq!(fields, ["C1", "C2", "C3", "tags"]);
    assert_eq!(ffm.tables(), [10, 2, 2, 4]);
    assert!(mean(&ffm, 0).abs() < 1e-6 && mean(&ffm, 3) > 0.5 && mean(&ffm, 4) == 0.0);
}

#[test]
fn the_libsvm_example_reads_what_it_describes() {
    let svm = prepared("libsvm-example.toml", "", |i| {
        let tags: String = (0..i % 3).map(|k| format!(" {}:1", 1000 + k)).collect();
        let label = if i % 2 == 0 { "+1" } else { "-1" };
        format!("{label} 1:{} 3:0.5 {}:1 950:7{tags}\n", i % 31, 100 + i % 9)
    });
    let (dense, fields) = names(svm.dataset());
    assert_eq!(
        (dense, fields),
        (vec!["I1", "I2", "I3"], vec!["user", "item", "tags"])
    );
    assert_eq!(svm.tables(), [10, 2, 3]);
    // Scaled to 0..1 by the training split; a feature that never changes is 0.
    assert!((0.5..0.9).contains(&mean(&svm, 0)) && mean(&svm, 2) == 0.0);
}
