//! libSVM and libFFM, from small files.

use proptest::prelude::*;
use slimbed_data::{MISSING, Recipe, RowReader, Rows, Split};

use crate::folder::{gzip, outputs, prepare_folder, refused, written};

const FFM: &str = r#"
name = "toy"
format = "libffm"
ignore = "9"
[files]
train = ["train.ffm"]
validation = ["validation.ffm"]
test = ["test.ffm"]
[label]
[[dense]]
numbers = "0"
names = "age"
transform = "identity"
missing = 5
[[dense]]
numbers = "1"
indices = "10-11"
names = "x, y"
transform = "log1p"
[[fields]]
numbers = "2"
names = "user"
[[fields]]
numbers = "3"
names = "app"
missing = "category"
[[fields]]
numbers = "4"
names = "tags"
kind = "bag"
[split]
kind = "files"
"#;

const TRAIN: &str =
    "1 0:0:2.5 1:11:1 2:7:1 3:8:1 4:1:1 4:2:1\n-1 2:7:1 9:1:0.5 4:1:1\n1 1:10:0 2:6:1 3:8:1\n";
const OTHER: &str = "0 2:1:1\n1 2:7:1 0:3:-1\n";

/// The same, by indices: 0 to 99 are the user, from 100 the app, and what is left are tags.
const SVM: &str = r#"
name = "toy"
format = "libsvm"
values = "ignored"
ignore = "500-599"
[files]
train = ["train.ffm"]
validation = ["validation.ffm"]
test = ["test.ffm"]
[label]
positive = ">= 2"
[[dense]]
indices = "400-401"
names = "x, y"
transform = "identity"
[[fields]]
indices = "0-99, 100-199"
names = "user, app"
missing = "category"
[[fields]]
names = "tags"
kind = "bag"
[split]
kind = "files"
"#;

const SVM_TRAIN: &str =
    "5 7:1 108:1 201:1 202:3 401:0.25\n1.5\t7:1  201:1 555:9 \n2 6:1 108:1 400:-1\n";
const SVM_OTHER: &str = "0 1:1\n3 7:1\n";

fn files(train: &str, validation: &str, test: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("train.ffm", train.into()),
        ("validation.ffm", validation.into()),
        ("test.ffm", test.into()),
    ]
}

#[test]
fn features_go_to_their_fields() {
    let ffm = prepare_folder(FFM, &files(TRAIN, OTHER, OTHER), 0).unwrap();
    let svm = prepare_folder(SVM, &files(SVM_TRAIN, SVM_OTHER, SVM_OTHER), 0).unwrap();
    let ln2 = std::f32::consts::LN_2;
    let dense = [
        vec![2.5, 0.0, ln2, 5.0, 0.0, 0.0, 5.0, 0.0, 0.0],
        vec![0.0, 0.25, 0.0, 0.0, -1.0, 0.0],
    ];
    for (prepared, dense) in [&ffm, &svm].into_iter().zip(dense) {
        let train = &prepared.batches_of(Split::Train)[0];
        assert_eq!(train.labels, [1.0, 0.0, 1.0]);
        assert_eq!(train.dense, dense);
        assert_eq!(
            (&train.fields[0].ids, &train.fields[1].ids),
            (&vec![1, 1, 2], &vec![1, 2, 1])
        );
        assert_eq!(train.fields[2].ids, [1, 2, 1]);
        assert_eq!(train.fields[2].offsets, Some(vec![0, 2, 3, 3]));
        let test = &prepared.batches_of(Split::Test)[0];
        assert_eq!(
            (&*test.fields[0].ids, &*test.fields[1].ids),
            (&[0, 1][..], &[2, 2][..])
        );
        assert_eq!(test.fields[2].offsets, Some(vec![0, 0, 0]));
    }
    assert_eq!(ffm.batches_of(Split::Test)[0].dense[3], -1.0);
}

#[test]
fn bad_lines_are_named_counted_and_skipped_up_to_the_limit() {
    let ffm = [
        (
            "2 2:7:1",
            "column 1 (`label`): expected a label, 1, 0 or -1, found `2`",
        ),
        (
            "",
            "column 1 (`label`): expected a label, 1, 0 or -1, found ``",
        ),
        (
            "1 2:7",
            "column 2 (`feature`): expected a feature of the form field:index:value",
        ),
        (
            "1 2:7:",
            "expected a feature of the form field:index:value, for example 3:17:1",
        ),
        (
            "1 x:7:1",
            "expected a feature of the form field:index:value",
        ),
        (
            "1 2:7:1 8:7:1",
            "column 3 (`feature`): expected an index or field of the recipe",
        ),
        (
            "1 2:7:1 1:12:1",
            "column 3 (`feature`): expected an index or field of the recipe",
        ),
        (
            "1 2:7:1 2:8:1",
            "column 3 (`user`): expected one feature of this field in a line",
        ),
        (
            "1 2:7:1 0:1:1 0:2:1",
            "column 4 (`age`): expected one value of this dense feature",
        ),
        (
            "1 2:7:0.5",
            "column 2 (`user`): expected a feature of value 1",
        ),
        (
            "1 2:7:1 0:0:x",
            "column 3 (`age`): expected a number, found `0:0:x`",
        ),
        (
            "1 3:8:1 4:4:1",
            "field `user`: expected a feature of it (`missing = \"category\"`",
        ),
    ];
    let svm = [
        (
            "x 7:1",
            "column 1 (`label`): expected a number, which the label is made of, found `x`",
        ),
        (
            "1 7",
            "column 2 (`feature`): expected a feature of the form index:value",
        ),
        (
            "1 qid:3 7:1",
            "column 2 (`feature`): expected a feature whose index is a whole number",
        ),
        (
            "1 7:1 6:1",
            "column 3 (`user`): expected one feature of this field",
        ),
        (
            "1 400:1e60",
            "column 2 (`x`): expected a number that 32 bits can hold",
        ),
    ];
    let all = ffm.map(|case| (case, FFM, TRAIN, OTHER)).into_iter();
    let svm = svm.map(|case| (case, SVM, SVM_TRAIN, SVM_OTHER));
    for ((line, expected), recipe, train, other) in all.chain(svm) {
        let (first, rest) = other.split_once('\n').unwrap();
        let files = files(train, &format!("{first}\n{line}\n{rest}"), other);
        refused(recipe, &files, 0, &["validation.ffm:2: ", expected]);
        let prepared = prepare_folder(recipe, &files, 1).unwrap();
        let meta = &prepared.report.meta;
        assert_eq!((meta.n_bad_rows, prepared.n_rows()), (1, [3, 2, 2]));
        assert!(
            prepared.report.bad_row_examples[0].contains(expected),
            "{line}"
        );
    }
}

#[test]
fn mistakes_in_recipes_are_named() {
    let ffm = [
        (
            "numbers = \"3\"",
            "numbers = \"2\"",
            "2 is used twice: by `user` and by `app`",
        ),
        ("ignore = \"9\"", "ignore = \"4-9\"", "4 is used twice"),
        (
            "numbers = \"3\"",
            "indices = \"3\"",
            "`indices` does not belong to format = \"libffm\"",
        ),
        ("numbers = \"3\"\n", "", "missing field `numbers`"),
        (
            "numbers = \"3\"",
            "numbers = \"3-4\"",
            "2 ranges but 1 names",
        ),
        (
            "indices = \"10-11\"",
            "indices = \"10, 12\"",
            "expected one range as `indices`",
        ),
        (
            "numbers = \"1\"",
            "numbers = \"1-2\"",
            "expected one field beside `indices`",
        ),
        (
            "names = \"app\"",
            "names = \"user\"",
            "the name `user` is used twice",
        ),
        (
            "kind = \"bag\"",
            "kind = \"hex\"",
            "expected kind = \"bag\", or none",
        ),
        (
            "ignore = \"9\"",
            "separator = \",\"",
            "`separator` does not belong",
        ),
    ];
    let svm = [
        (
            "names = \"tags\"",
            "names = \"tags, more\"",
            "format = \"libfm\" reads fields by their places",
        ),
        (
            "ignore = \"500-599\"",
            "ignore = \"*\"",
            "a field without `indices` has all that are left",
        ),
        (
            "indices = \"0-99, 100-199\"\nnames = \"user, app\"",
            "names = \"user\"",
            "expected `indices`: another",
        ),
        (
            "100-199",
            "99-199",
            "99 is used twice: by `user` and by `app`",
        ),
        ("\">= 2\"", "2", "with its comparison"),
    ];
    let all = ffm
        .map(|case| (case, FFM))
        .into_iter()
        .chain(svm.map(|case| (case, SVM)));
    for ((from, to, expected), recipe) in all {
        assert!(recipe.contains(from), "{from}");
        refused(
            &recipe.replacen(from, to, 1),
            &[],
            0,
            &["toy.toml:", expected],
        );
    }
}

/// The recipe of libFFM for files given by name.
fn open_recipe() -> String {
    let (head, rest) = FFM.split_once("[files]").unwrap();
    let (_, rest) = rest.split_once("[label]").unwrap();
    let shares = "shares = { train = 2, validation = 1, test = 1 }";
    format!("{head}[label]{rest}")
        .replace("kind = \"files\"", &format!("kind = \"random\"\n{shares}"))
}

#[test]
fn the_form_of_the_input_and_the_threads_do_not_matter() {
    let line = |i: u64| {
        let hash = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let tags: String = (0..hash % 9)
            .map(|k| format!(" 4:{}:1", hash % (k + 50)))
            .collect();
        format!(
            "{} 0:0:{} 2:{}:1{tags} 9:1:1\n",
            hash % 2,
            hash % 77,
            hash % 5000
        )
    };
    let text: Vec<u8> = (0..150_000).map(line).collect::<String>().into_bytes();
    assert!(text.len() > 5 << 20);
    let recipe = open_recipe();
    let plain = [("a.ffm", text.clone())];
    let expected = outputs(&recipe, &plain, 1);
    assert!(expected == outputs(&recipe, &plain, 3));
    assert!(expected == outputs(&recipe, &[("a.ffm.gz", gzip(&text))], 2));
    let zstd = zstd::encode_all(&text[..], 1).unwrap();
    assert!(expected == outputs(&recipe, &[("a.ffm.zst", zstd)], 2));
}

#[derive(Clone, Debug)]
struct Line {
    label: bool,
    age: Option<i16>,
    user: u64,
    app: Option<u64>,
    tags: Vec<u64>,
}

fn line() -> impl Strategy<Value = Line> {
    let tags = prop::collection::vec(0u64..1 << 59, 0..5);
    let parts = (
        any::<bool>(),
        any::<Option<i16>>(),
        0u64..1000,
        prop::option::of(0u64..9),
        tags,
    );
    parts.prop_map(|(label, age, user, app, tags)| Line {
        label,
        age,
        user,
        app,
        tags,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is written as libFFM is read back, in whatever order features stand.
    #[test]
    fn a_round_trip(lines in prop::collection::vec((line(), any::<usize>()), 1..50)) {
        let written_line = |(line, turn): &(Line, usize)| {
            let mut features: Vec<_> = line.tags.iter().map(|tag| format!("4:{tag}:1")).collect();
            features.push(format!("2:{}:1", line.user));
            features.extend(line.age.map(|age| format!("0:0:{age}")));
            features.extend(line.app.map(|app| format!("3:{app}:1.0")));
            // Tags keep their order around the turn when it is before them all.
            let at = line.tags.len() + turn % (features.len() - line.tags.len());
            features.rotate_left(at);
            format!("{} {}\n", if line.label { 1 } else { -1 }, features.join(" "))
        };
        let text: String = lines.iter().map(written_line).collect();
        let lines: Vec<_> = lines.into_iter().map(|(line, _)| line).collect();
        let recipe = Recipe::parse(&open_recipe(), "toy.toml".as_ref()).unwrap();
        let (_folder, paths) = written(&[("a.ffm", text.into_bytes())]);
        let mut reader = RowReader::open(&recipe, &paths, 0).unwrap();
        let group = reader.next_group().unwrap().unwrap();
        let keys = lines.iter().map(|l| [l.user, l.app.unwrap_or(MISSING), l.tags.len() as u64]);
        let dense = lines.iter().map(|l| [l.age.map_or(5.0, f32::from), 0.0, 0.0]);
        let expected = Rows {
            lines: (0..lines.len() as u64).collect(),
            labels: lines.iter().map(|l| u8::from(l.label)).collect(),
            dense: dense.flatten().collect(),
            keys: keys.flatten().collect(),
            bags: vec![lines.iter().flat_map(|l| l.tags.clone()).collect()],
            ..Rows::default()
        };
        prop_assert_eq!(&group[..], &[expected]);
    }
}
