//! What is written as CSV, quoted in any way, is read back.

use proptest::prelude::*;
use slimbed_data::{MISSING, Recipe, RowReader, Rows};
use xxhash_rust::xxh3::xxh3_64;

use crate::folder::written;

const RECIPE: &str = r#"
name = "toy"
format = "csv"
ignore = "any \"thing\", other"
[label]
column = "l"
[[dense]]
names = "x"
transform = "identity"
missing = 7
[[fields]]
names = "text"
kind = "text"
missing = "category"
[[fields]]
names = "bag"
kind = "text"
separator = "|"
[split]
kind = "random"
shares = { train = 1, validation = 1, test = 1 }
"#;

#[derive(Clone, Debug)]
struct Record {
    label: u8,
    x: Option<f32>,
    text: String,
    bag: Vec<String>,
    other: String,
    /// Which cells are quoted though they need not be.
    quoted: u8,
}

fn text() -> impl Strategy<Value = String> {
    // Everything that quoting is about, and a letter of two bytes.
    let part = prop::sample::select(vec!["a", "é", ",", "\"", "\n", "\r\n", " ", ";"]);
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

fn record() -> impl Strategy<Value = Record> {
    let bag = prop::collection::vec(text().prop_map(|text| text + "b"), 0..4);
    let cells = (
        0u8..2,
        any::<Option<f32>>(),
        text(),
        bag,
        text(),
        any::<u8>(),
    );
    cells.prop_map(|(label, x, text, bag, other, quoted)| Record {
        label,
        x: x.filter(|x| x.is_finite()),
        text,
        bag,
        other,
        quoted,
    })
}

fn cell(text: &str, is_quoted: bool) -> String {
    if is_quoted || text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn line(cells: &[String], quoted: u8) -> String {
    let cells = cells.iter().enumerate();
    let cells: Vec<_> = cells
        .map(|(i, text)| cell(text, quoted >> i & 1 == 1))
        .collect();
    cells.join(",")
}

fn written_record(record: &Record) -> String {
    let x = record.x.map_or_else(String::new, |x| x.to_string());
    let bag = record.bag.join("|");
    let cells = [
        record.text.clone(),
        record.label.to_string(),
        x,
        record.other.clone(),
        bag,
    ];
    line(&cells, record.quoted)
}

fn key(text: &str) -> u64 {
    match text {
        "" => MISSING,
        text => xxh3_64(text.as_bytes()) >> 1,
    }
}

fn expected(records: &[Record]) -> Rows {
    let keys = records.iter().map(|r| [key(&r.text), r.bag.len() as u64]);
    let bag = records.iter().flat_map(|r| &r.bag).map(|text| key(text));
    Rows {
        lines: (0..records.len() as u64).collect(),
        labels: records.iter().map(|r| r.label).collect(),
        dense: records.iter().map(|r| r.x.unwrap_or(7.0)).collect(),
        keys: keys.flatten().collect(),
        bags: vec![bag.collect()],
        ..Rows::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_table(
        records in prop::collection::vec(record(), 1..40),
        ends in prop::sample::select(vec!["\n", "\r\n"]),
        has_last_end in any::<bool>(),
        quoted in any::<u8>(),
    ) {
        let names = ["text", "l", "x", "any \"thing\"", "bag"].map(str::to_owned);
        let mut lines = vec![line(&names, quoted)];
        lines.extend(records.iter().map(written_record));
        let mut file = lines.join(ends);
        if has_last_end {
            file += ends;
        }
        let recipe = Recipe::parse(RECIPE, "toy.toml".as_ref()).unwrap();
        let (_folder, paths) = written(&[("a.csv", file.into_bytes())]);
        let mut reader = RowReader::open(&recipe, &paths, 0).unwrap();
        let group = reader.next_group().unwrap().unwrap();
        prop_assert_eq!(&group[..], &[expected(&records)]);
        prop_assert!(reader.next_group().unwrap().is_none());
    }
}
