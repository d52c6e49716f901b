//! From TOML to a checked [`Recipe`].

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::raw::{
    RawDense, RawField, RawFormat, RawKind, RawLabel, RawPart, RawRecipe, RawSplit, RawSplitKind,
    RawTransform,
};
use super::{Column, DenseColumn, FieldColumn, FieldKind, Recipe, SplitRule, Transform, ranges};
use crate::{DataError, Split};

/// A line of more columns is a mistake in the recipe.
const MOST_COLUMNS: usize = 1 << 20;

/// Text and path of a recipe, for messages with a line.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn error(&self, span: Option<Range<usize>>, message: String) -> DataError {
        let start = span.map_or(0, |span| span.start.min(self.text.len()));
        let line = 1 + self.text.as_bytes()[..start]
            .iter()
            .filter(|&&b| b == b'\n')
            .count();
        DataError::Recipe {
            path: self.path.to_owned(),
            line,
            message,
        }
    }
}

pub fn parse(text: &str, path: &Path) -> Result<Recipe, DataError> {
    let source = Source { text, path };
    let raw: RawRecipe =
        toml::from_str(text).map_err(|e| source.error(e.span(), explain(e.message())))?;
    if raw.n_columns > MOST_COLUMNS {
        let message = format!(
            "expected `n_columns` from 1 to {MOST_COLUMNS}, found {}",
            raw.n_columns
        );
        return Err(source.error(None, message));
    }
    let name = name(&source, raw.name)?;
    let split = split(&source, &raw.split)?;
    let mut columns = Columns {
        source: &source,
        n_columns: raw.n_columns,
        seen: HashMap::new(),
    };
    let label = columns.label(&raw.label)?;
    let dense = dense(&mut columns, &raw.dense)?;
    let fields = fields(&mut columns, &raw.fields)?;
    if fields.is_empty() {
        return Err(source.error(None, "expected at least one field under [[fields]]".into()));
    }
    let RawFormat::Tsv = raw.format;
    Ok(Recipe {
        name,
        description: raw.description,
        n_columns: raw.n_columns,
        min_count: raw.min_count,
        label,
        dense,
        fields,
        split,
        defaults_model: raw.model,
        defaults_train: raw.train,
        source: text.to_owned(),
    })
}

/// A name that can be that of a folder on any system.
fn name(source: &Source<'_>, raw: Spanned<String>) -> Result<String, DataError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = raw.get_ref();
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_plain) {
        return Ok(raw.into_inner());
    }
    let message = format!(
        "expected a `name` of letters, digits, `-`, `_` and `.` after a letter or digit, found `{name}`"
    );
    Err(source.error(Some(raw.span()), message))
}

fn dense(columns: &mut Columns<'_>, raw: &[RawDense]) -> Result<Vec<DenseColumn>, DataError> {
    let mut all = Vec::new();
    for group in raw {
        let transform = match group.transform {
            RawTransform::Log1p => Transform::Log1p,
            RawTransform::Identity => Transform::Identity,
        };
        let group = columns.group(&group.columns, &group.names)?;
        all.extend(
            group
                .into_iter()
                .map(|column| DenseColumn { column, transform }),
        );
    }
    Ok(all)
}

fn fields(columns: &mut Columns<'_>, raw: &[RawField]) -> Result<Vec<FieldColumn>, DataError> {
    let mut all = Vec::new();
    for group in raw {
        let kind = match group.kind {
            RawKind::Hex => FieldKind::Hex,
            RawKind::Bucket => FieldKind::Bucket,
        };
        let group = columns.group(&group.columns, &group.names)?;
        all.extend(group.into_iter().map(|column| FieldColumn { column, kind }));
    }
    Ok(all)
}

/// Gives out columns, each place and each name once.
struct Columns<'a> {
    source: &'a Source<'a>,
    n_columns: usize,
    /// What each place and each name has been used for.
    seen: HashMap<String, String>,
}

impl Columns<'_> {
    fn label(&mut self, raw: &RawLabel) -> Result<Column, DataError> {
        self.take(*raw.column.get_ref(), raw.name.clone(), raw.column.span())
    }

    fn group(
        &mut self,
        columns: &Spanned<String>,
        names: &Spanned<String>,
    ) -> Result<Vec<Column>, DataError> {
        let numbers = ranges::numbers(columns.get_ref())
            .map_err(|message| self.source.error(Some(columns.span()), message))?;
        let all = ranges::names(names.get_ref())
            .map_err(|message| self.source.error(Some(names.span()), message))?;
        if numbers.len() != all.len() {
            let message = format!("{} columns but {} names", numbers.len(), all.len());
            return Err(self.source.error(Some(names.span()), message));
        }
        let pairs = numbers.into_iter().zip(all);
        pairs
            .map(|(number, name)| self.take(number, name, columns.span()))
            .collect()
    }

    fn take(
        &mut self,
        number: usize,
        name: String,
        span: Range<usize>,
    ) -> Result<Column, DataError> {
        if number == 0 || number > self.n_columns {
            let message = format!(
                "`{name}`: expected a column from 1 to {}, found {number}",
                self.n_columns
            );
            return Err(self.source.error(Some(span), message));
        }
        for key in [format!("column {number}"), format!("the name `{name}`")] {
            let usage = format!("`{name}` (column {number})");
            if let Some(before) = self.seen.insert(key.clone(), usage.clone()) {
                let message = format!("{key} is used twice: by {before} and by {usage}");
                return Err(self.source.error(Some(span), message));
            }
        }
        Ok(Column {
            name,
            index: number - 1,
        })
    }
}

fn split(source: &Source<'_>, raw: &Spanned<RawSplit>) -> Result<SplitRule, DataError> {
    let error = |message: &str| Err(source.error(Some(raw.span()), message.to_owned()));
    let split = raw.get_ref();
    let shares = &split.shares;
    let all = [shares.train, shares.validation, shares.test];
    if !all.iter().all(|&share| share > 0.0 && share.is_finite()) {
        return error("expected positive shares for train, validation and test");
    }
    match (split.kind, split.order) {
        (RawSplitKind::Random, None) => Ok(SplitRule::Random { shares: all }),
        (RawSplitKind::Random, Some(_)) => error("`order` belongs to kind = \"file-order\""),
        (RawSplitKind::FileOrder, None) => error(
            "kind = \"file-order\" needs `order`, for example [\"train\", \"validation\", \"test\"]",
        ),
        (RawSplitKind::FileOrder, Some(order)) => {
            let parts = order.map(|part| match part {
                RawPart::Train => (Split::Train, shares.train),
                RawPart::Validation => (Split::Validation, shares.validation),
                RawPart::Test => (Split::Test, shares.test),
            });
            let distinct = Split::ALL
                .iter()
                .all(|s| parts.iter().any(|(split, _)| split == s));
            if !distinct {
                return error("expected train, validation and test once each in `order`");
            }
            Ok(SplitRule::FileOrder { parts })
        }
    }
}

/// serde's message, with the known name most like an unknown one.
fn explain(message: &str) -> String {
    let first = message.lines().next().unwrap_or(message);
    let mut quoted = first.split('`').skip(1).step_by(2);
    let is_unknown = first.starts_with("unknown field") || first.starts_with("unknown variant");
    let Some(given) = quoted.next().filter(|_| is_unknown) else {
        return first.to_owned();
    };
    let scored = quoted.map(|name| (strsim::jaro_winkler(given, name), name));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, name)) if score > 0.7 => format!("{first}; did you mean `{name}`?"),
        _ => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "toy"
format = "tsv"
n_columns = 6
[label]
column = 1
[[dense]]
columns = "2-3"
names = "I1-I2"
transform = "log1p"
[[fields]]
columns = "4, 6"
names = "C1, C2"
kind = "hex"
[split]
kind = "random"
shares = { train = 8, validation = 1, test = 1 }
[train]
lr = 0.5
"#;

    fn error(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        parse(&GOOD.replacen(from, to, 1), "toy.toml".as_ref())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_good_recipe_is_understood() {
        let recipe = parse(GOOD, "toy.toml".as_ref()).unwrap();
        assert_eq!(
            (recipe.dense.len(), recipe.fields.len(), recipe.min_count),
            (2, 2, 1)
        );
        assert_eq!(
            recipe.fields[1].column,
            Column {
                name: "C2".into(),
                index: 5
            }
        );
        assert_eq!(
            recipe.split,
            SplitRule::Random {
                shares: [8.0, 1.0, 1.0]
            }
        );
        assert_eq!(recipe.defaults_train["lr"].as_float(), Some(0.5));
        assert_eq!(recipe.name_of(4), "unused");
    }

    #[test]
    fn mistakes_are_named_with_file_and_line() {
        let cases = [
            (
                "transform = \"log1p\"",
                "tranform = \"log1p\"",
                "did you mean `transform`?",
            ),
            (
                "n_columns = 6",
                "n_columns = 6\nmin_cuont = 2",
                "did you mean `min_count`?",
            ),
            ("kind = \"hex\"", "kind = \"hexx\"", "did you mean `hex`?"),
            (
                "\"4, 6\"",
                "\"4, 3\"",
                "column 3 is used twice: by `I2` (column 3) and by `C2`",
            ),
            ("\"C1, C2\"", "\"C1, C1\"", "the name `C1` is used twice"),
            ("\"C1, C2\"", "\"C1-C3\"", "2 columns but 3 names"),
            (
                "\"4, 6\"",
                "\"4, 7\"",
                "expected a column from 1 to 6, found 7",
            ),
            ("\"4, 6\"", "\"4, x\"", "expected columns like"),
            ("train = 8", "train = 0", "expected positive shares"),
            (
                "kind = \"random\"",
                "kind = \"file-order\"",
                "needs `order`",
            ),
            ("format = \"tsv\"", "format = \"csv\"", "unknown variant"),
            ("name = \"toy\"", "", "missing field `name`"),
            ("\"toy\"", "\"../toy\"", "found `../toy`"),
            (
                "n_columns = 6",
                "n_columns = 9_000_000_000_000",
                "expected `n_columns` from 1",
            ),
            ("[split]", "[split", "toy.toml:"),
        ];
        for (from, to, expected) in cases {
            let error = error(from, to);
            assert!(
                error.contains(expected) && error.contains("toy.toml:"),
                "{error}"
            );
        }
        assert!(error("\"4, 6\"", "\"4, 3\"").starts_with("toy.toml:12:"));
    }

    #[test]
    fn file_order_needs_every_part_once() {
        let order = |parts: &str| {
            let kind = format!("kind = \"file-order\"\norder = {parts}");
            parse(
                &GOOD.replace("kind = \"random\"", &kind),
                "toy.toml".as_ref(),
            )
        };
        let good = order("[\"train\", \"test\", \"validation\"]").unwrap();
        let parts = [
            (Split::Train, 8.0),
            (Split::Test, 1.0),
            (Split::Validation, 1.0),
        ];
        assert_eq!(good.split, SplitRule::FileOrder { parts });
        let bad = order("[\"train\", \"test\", \"test\"]")
            .unwrap_err()
            .to_string();
        assert!(bad.contains("once each"), "{bad}");
    }
}
