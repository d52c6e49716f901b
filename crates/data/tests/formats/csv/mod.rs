//! Tables with a header, from small files.

mod bad;
mod round_trip;

use slimbed_data::{OOV, Split};

use crate::folder::{gzip, outputs, prepare_folder};

/// Label from a threshold, one number as it is and one scaled, a text, hour and weekday, and a list.
pub const RECIPE: &str = r#"
name = "toy"
format = "csv"
missing = ["NA"]
ignore = "comment"
[files]
train = ["train.csv"]
validation = ["validation.csv"]
test = ["test.csv"]
[label]
column = "rating"
positive = "> 3"
[[dense]]
names = "price"
transform = "identity"
missing = -1
[[dense]]
columns = "price"
names = "scaled"
transform = "identity"
scale = "min-max"
missing = 0
[[fields]]
names = "city"
kind = "text"
missing = "category"
[[fields]]
columns = "time, time"
names = "hour, again"
kind = "hour"
[[fields]]
columns = "time"
names = "day"
kind = "weekday"
[[fields]]
names = "genres"
kind = "text"
separator = "|"
[split]
kind = "files"
"#;

const HEADER: &str = "comment,time,price,genres,city,rating\n";
pub const TRAIN: &str = "x,14102100,10,a|b,\"New York, NY\",5\n\
    \"two\nlines\",14102101,NA,,\"the \"\"Hague\"\"\",3\n\
    x,14102201,30,b,NA,3.5\n\
    x,14102201,20,b|b|c,\"New York, NY\",1\n";
pub const OTHER: &str = "x,14102102,50,z|b,Paris,5\nx,14102100,10,a,\"the \"\"Hague\"\"\",0\n";

pub fn files(train: &str, validation: &str, test: &str) -> Vec<(&'static str, Vec<u8>)> {
    let with_header = |text: &str| [HEADER, text].concat().into_bytes();
    vec![
        ("train.csv", with_header(train)),
        ("validation.csv", with_header(validation)),
        ("test.csv", with_header(test)),
    ]
}

#[test]
fn a_small_table_is_what_it_says() {
    let prepared = prepare_folder(RECIPE, &files(TRAIN, OTHER, OTHER), 0).unwrap();
    assert_eq!(prepared.n_rows(), [4, 2, 2]);
    let [train] = &prepared.batches_of(Split::Train)[..] else {
        panic!("one batch");
    };
    assert_eq!(train.labels, [1.0, 0.0, 1.0, 0.0]);
    // A missing price is -1, and 0 for the feature that is scaled from 0..30 to 0..1.
    let third = 1.0 / 3.0;
    assert_eq!(
        train.dense,
        [
            10.0,
            third as f32,
            -1.0,
            0.0,
            30.0,
            1.0,
            20.0,
            (2.0 * third) as f32
        ]
    );
    // The most frequent category is 1, then they go by key, so of equal counts only the set is known.
    let ids: Vec<_> = train.fields.iter().map(|field| &field.ids).collect();
    assert_eq!((ids[0][0], ids[0][3]), (1, 1));
    assert_eq!(ids[0][1] + ids[0][2], 2 + 3);
    assert_eq!((ids[1], ids[1]), (&vec![2, 1, 1, 1], ids[2]));
    assert_eq!(ids[3], &vec![1, 1, 2, 2]);
    let genres = &train.fields[4];
    assert_eq!(genres.offsets, Some(vec![0, 2, 2, 3, 6]));
    assert_eq!([1, 2, 3, 4].map(|i| genres.ids[i]), [1, 1, 1, 1]);
    assert_eq!(genres.ids[0] + genres.ids[5], 2 + 3);
    // What training did not see is row 0, and scaling is that of the training split.
    let [test] = &prepared.batches_of(Split::Test)[..] else {
        panic!("one batch");
    };
    assert_eq!(test.fields[4].ids[..2], [OOV, 1]);
    assert_eq!((test.fields[0].ids[0], test.fields[1].ids[0]), (OOV, OOV));
    assert_eq!(test.fields[0].ids[1], ids[0][1]);
    assert_eq!(test.dense[1], (5.0 * third) as f32);
    let scale = &prepared.report.meta.scales[0];
    assert_eq!((&*scale.name, scale.subtract), ("scaled", 0.0));
    assert_eq!(scale.multiply, 1.0 / 30.0);
}

#[test]
fn each_file_has_its_own_header() {
    let prepared = prepare_folder(RECIPE, &files(TRAIN, OTHER, OTHER), 0).unwrap();
    let mut other = files(TRAIN, OTHER, OTHER);
    other[2].1 = "\u{feff}\"rating\",price,\"comment\",city,genres,time\r\n\
        5,50,x,Paris,z|b,14102102\r\n0,10,,\"the \"\"Hague\"\"\",a,14102100"
        .into();
    let other = prepare_folder(RECIPE, &other, 0).unwrap();
    assert_eq!(prepared.batches(), other.batches());
}

#[test]
fn tabs_and_words_are_read_too() {
    let recipe = RECIPE
        .replace(
            "missing = [\"NA\"]",
            "separator = \"\\t\"\nmissing = [\"NA\"]",
        )
        .replace(
            "positive = \"> 3\"",
            "positive = [\"5\", \"3.5\"]\nnegative = [\"3\", \"1\", \"0\"]",
        );
    let tabs = |(name, bytes): (_, Vec<u8>)| {
        let text = String::from_utf8(bytes).unwrap();
        (
            name,
            text.replace("New York, NY", "NY")
                .replace(',', "\t")
                .into_bytes(),
        )
    };
    let tabs: Vec<_> = files(TRAIN, OTHER, OTHER).into_iter().map(tabs).collect();
    let [a, b] = [
        prepare_folder(RECIPE, &files(TRAIN, OTHER, OTHER), 0).unwrap(),
        prepare_folder(&recipe, &tabs, 0).unwrap(),
    ];
    assert_eq!(a.totals(), b.totals());
    let dense = |prepared: &crate::folder::Prepared| prepared.batches()[0].dense.clone();
    assert_eq!(dense(&a), dense(&b));
    assert_eq!(a.tables(), b.tables());
}

/// A recipe for files given by name.
pub fn open_recipe(split: &str) -> String {
    let (head, rest) = RECIPE.split_once("[files]").unwrap();
    let (_, rest) = rest.split_once("[label]").unwrap();
    let (rest, _) = rest.split_once("[split]").unwrap();
    format!(
        "{head}[label]{rest}[split]\n{split}\nshares = {{ train = 2, validation = 1, test = 1 }}\n"
    )
}

/// More than two chunks of 4 MB; every third row has line ends and quotes within a cell.
fn large(end: &str) -> String {
    let row = |i: u32| {
        let hash = i.wrapping_mul(2_654_435_761) >> 12;
        let comment = match i % 3 {
            0 => format!("\"{}\n\"\",{i}\n\"", "y".repeat(300)),
            _ => "x".repeat(280),
        };
        let (hour, price, city) = (hash % 24, hash % 1000, hash % 777);
        let genres = ["", "a", "b|a", "c|c|b"][(hash % 4) as usize];
        format!(
            "{comment},141021{hour:02},{price},{genres},\"{city}\",{}{end}",
            i % 5
        )
    };
    (0..35_000).map(row).collect()
}

/// Names and bytes of input files.
type Files = Vec<(&'static str, Vec<u8>)>;

#[test]
fn the_form_of_the_input_and_the_threads_do_not_matter() {
    let text = [HEADER, &large("\n")].concat();
    let crlf = [HEADER.trim_end(), "\r\n", &large("\r\n")]
        .concat()
        .into_bytes();
    let (first, second) = text.split_at(text.len() / 2);
    // The second file begins behind the next row of one line that follows another.
    let cut = second.find("4\nxxx").unwrap() + 2;
    let first = [first, &second[..cut]].concat().into_bytes();
    let second = [HEADER, &second[cut..]].concat().into_bytes();
    let text = text.into_bytes();
    let zstd = zstd::encode_all(&text[..], 1).unwrap();
    let forms: [(&str, Files); 4] = [
        ("gzip", vec![("a.csv.gz", gzip(&text))]),
        ("zstd", vec![("a.csv.zst", zstd)]),
        ("CRLF", vec![("a.csv", crlf)]),
        ("two files", vec![("a.csv", first), ("b.csv", second)]),
    ];
    let order = "order = [\"train\", \"validation\", \"test\"]";
    for split in [
        "kind = \"random\"",
        &format!("kind = \"file-order\"\n{order}"),
    ] {
        let recipe = open_recipe(split);
        let plain = [("a.csv", text.clone())];
        let expected = outputs(&recipe, &plain, 1);
        assert!(expected == outputs(&recipe, &plain, 3), "threads");
        for (form, files) in &forms {
            assert!(expected == outputs(&recipe, files, 2), "{form}");
        }
    }
}
