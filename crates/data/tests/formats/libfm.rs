//! libFM in three files, from small files.

use std::path::PathBuf;

use proptest::prelude::*;
use slimbed_data::{OOV, Recipe, Split};

use crate::folder::{Prepared, prepare_folder, refused};

const RECIPE: &str = r#"
name = "toy"
format = "libfm"
[files]
train = ["train.libfm", "other.libfm"]
validation = ["validation.libfm"]
test = ["test.libfm"]
[label]
[[fields]]
names = "user, app"
[split]
kind = "files"
"#;

fn files(train: &str, validation: &str, test: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("train.libfm", train.into()),
        ("validation.libfm", validation.into()),
        ("test.libfm", test.into()),
    ]
}

const TRAIN: &str = "1 0:1 5:1\n-1 1:1 5:1\n1 1:1 7:1\n";
const OTHER: &str = "-1 1:1 9:1\n1 2:1 7:1\n";

#[test]
fn each_file_is_a_split_and_the_vocabulary_is_that_of_training() {
    let prepared = prepare_folder(RECIPE, &files(TRAIN, OTHER, OTHER), 0).unwrap();
    assert_eq!(
        (prepared.n_rows(), prepared.tables()),
        ([3, 2, 2], vec![3, 3])
    );
    assert_eq!(prepared.totals(), (7, 4));
    let ids = |split| [0, 1].map(|field| prepared.ids(split, field));
    // The most frequent index of a field is 1, then they go by index.
    assert_eq!(ids(Split::Train), [vec![2, 1, 1], vec![1, 1, 2]]);
    assert_eq!(ids(Split::Test), [vec![1, OOV], vec![OOV, 2]]);
    assert_eq!(prepared.batches_of(Split::Train)[0].labels, [1.0, 0.0, 1.0]);
    assert_eq!(prepared.dataset().n_dense(), 0);
}

#[test]
fn labels_of_both_forms_and_open_ends_are_read() {
    let zeros = |text: &str| text.replace("-1 ", "0 ").replace('\n', " \r\n");
    let [a, b] = [
        files(TRAIN, OTHER, OTHER),
        files(&zeros(TRAIN), &zeros(OTHER), OTHER.trim_end()),
    ]
    .map(|files| prepare_folder(RECIPE, &files, 0).unwrap());
    assert_eq!(a.batches(), b.batches());
}

#[test]
fn bad_lines_are_named() {
    let cases = [
        (
            "1 0:1",
            "validation.libfm:2: expected 3 columns, found 2; column 3 (`app`) is missing",
        ),
        (
            "1 0:1 5:1 6:1",
            "validation.libfm:2: expected 3 columns, found 4",
        ),
        (
            "1  0:1 5:1",
            "validation.libfm:2: expected 3 columns, found 4",
        ),
        (
            "2 0:1 5:1",
            "validation.libfm:2: column 1 (`label`): expected a label, 1, 0 or -1, found `2`",
        ),
        (
            "1 0:1 5:0.5",
            "validation.libfm:2: column 3 (`app`): expected a feature of value 1",
        ),
        (
            "1 0 5:1",
            "column 2 (`user`): expected a feature of the form index:value, for example 17:1",
        ),
        (
            "1 -3:1 5:1",
            "column 2 (`user`): expected a feature whose index is a whole number",
        ),
        ("", "validation.libfm:2: expected 3 columns, found 1"),
    ];
    for (line, expected) in cases {
        let (first, rest) = OTHER.split_once('\n').unwrap();
        let files = files(TRAIN, &format!("{first}\n{line}\n{rest}"), OTHER);
        refused(RECIPE, &files, 0, &[expected]);
        let prepared = prepare_folder(RECIPE, &files, 1).unwrap();
        assert_eq!(
            (prepared.report.meta.n_bad_rows, prepared.n_rows()),
            (1, [3, 2, 2])
        );
        assert!(prepared.report.bad_row_examples[0].contains(expected));
    }
}

#[test]
fn other_values_are_read_where_the_recipe_says_so() {
    let files = files(&TRAIN.replace("5:1", "5:0.25"), OTHER, OTHER);
    refused(
        RECIPE,
        &files,
        0,
        &["train.libfm:1: column 3 (`app`)", "found `5:0.25`"],
    );
    let recipe = RECIPE.replace("[files]", "values = \"ignored\"\n[files]");
    assert_eq!(prepare_folder(&recipe, &files, 0).unwrap().tables(), [3, 3]);
}

#[test]
fn a_missing_file_says_which_were_looked_for() {
    let mut all = files(TRAIN, OTHER, OTHER);
    all[0].0 = "trian.libfm";
    refused(
        RECIPE,
        &all,
        0,
        &["expected `train.libfm` or `other.libfm` as `train`"],
    );
    all[0].0 = "other.libfm";
    assert!(prepare_folder(RECIPE, &all, 0).is_ok());
    let recipe = Recipe::parse(RECIPE, "toy.toml".as_ref()).unwrap();
    let inputs = ["a.libfm", "b.libfm"].map(PathBuf::from);
    let error = Prepared::new(&recipe, &inputs, 0)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("expected one folder as input, which holds `train.libfm` or"),
        "{error}"
    );
    assert!(error.contains("found `a.libfm`, `b.libfm`"), "{error}");
}

#[test]
fn mistakes_in_recipes_are_named() {
    let cases = [
        (
            "names = \"user, app\"",
            "names = \"user, user\"",
            "toy.toml:10: the name `user` is used",
        ),
        (
            "kind = \"files\"",
            "kind = \"random\"",
            "need kind = \"files\"",
        ),
        (
            "test = [\"test.libfm\"]",
            "",
            "expected `train`, `validation` and `test` under [files]",
        ),
        (
            "[\"test.libfm\"]",
            "[]",
            "expected names of files without folders for `test`",
        ),
        (
            "\"test.libfm\"",
            "\"../test.libfm\"",
            "expected names of files without folders",
        ),
        (
            "[label]",
            "[label]\ncolumn = 1",
            "`column` does not belong to format = \"libfm\"",
        ),
        (
            "[files]",
            "n_columns = 3\n[files]",
            "`n_columns` does not belong to format",
        ),
        (
            "kind = \"files\"",
            "kind = \"file\"",
            "did you mean `files`?",
        ),
        (
            "\"libfm\"",
            "\"movielens-1m\"",
            "`train`, `validation` and `test` do not belong",
        ),
        ("\"libfm\"", "\"tsv\"", "missing field `n_columns`"),
    ];
    for (from, to, expected) in cases {
        assert!(RECIPE.contains(from), "{from}");
        refused(
            &RECIPE.replacen(from, to, 1),
            &[],
            0,
            &["toy.toml:", expected],
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What is written as libFM is read back: the same id for the same index, another for another.
    #[test]
    fn a_round_trip(rows in prop::collection::vec((any::<bool>(), 0u32..30, 30u32..300), 2..80)) {
        let mut rows = rows;
        rows[0].0 = true;
        rows[1].0 = false;
        let line = |&(label, user, app): &(bool, u32, u32)| {
            format!("{} {user}:1 {app}:1\n", if label { 1 } else { -1 })
        };
        let text: String = rows.iter().map(line).collect();
        let prepared = prepare_folder(RECIPE, &files(&text, OTHER, &text), 0).unwrap();
        for split in [Split::Train, Split::Test] {
            let ids = [0, 1].map(|field| prepared.ids(split, field));
            let labels: Vec<_> = rows.iter().map(|row| f32::from(u8::from(row.0))).collect();
            prop_assert_eq!(&prepared.batches_of(split)[0].labels, &labels);
            for (i, a) in rows.iter().enumerate() {
                prop_assert!(ids[0][i] != OOV && ids[1][i] != OOV);
                for (j, b) in rows[..i].iter().enumerate() {
                    prop_assert_eq!(a.1 == b.1, ids[0][i] == ids[0][j]);
                    prop_assert_eq!(a.2 == b.2, ids[1][i] == ids[1][j]);
                }
            }
        }
    }
}
