//! From TOML to a checked [`Recipe`].

use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use super::raw::{RawDense, RawFormat, RawRecipe};
use super::{
    Address, Column, DenseColumn, Edition, FieldColumn, Format, NamedFile, Recipe, columns, csv,
    libfm, movielens, ranges, sparse, split,
};
use crate::DataError;

/// Text and path of a recipe, for messages with a line.
pub struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

/// What the format decides of a recipe.
pub struct Layout {
    pub format: Format,
    pub files: Vec<NamedFile>,
    pub n_columns: usize,
    pub label: Column,
    pub dense: Vec<DenseColumn>,
    pub fields: Vec<FieldColumn>,
}

impl Source<'_> {
    /// The error `message` at a place in the text, or at its first line.
    pub fn error(&self, span: Option<Range<usize>>, message: String) -> DataError {
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

    /// Fails when the recipe has a special key that is not among `known`, those of its format.
    pub fn allow(&self, raw: &RawRecipe, format: &str, known: &[&str]) -> Result<(), DataError> {
        let mut keys = raw.special_keys().into_iter();
        let Some((key, span)) = keys.find(|(key, _)| !known.contains(key)) else {
            return Ok(());
        };
        let key = key.rsplit('.').next().unwrap_or(key);
        let message = format!("`{key}` does not belong to format = \"{format}\"");
        Err(self.error(Some(span), message))
    }

    /// What `key` says, which the group of columns called `names` needs.
    pub fn needed<'r, T>(
        &self,
        value: &'r Option<T>,
        key: &str,
        names: &Spanned<String>,
    ) -> Result<&'r T, DataError> {
        let missing = || self.error(Some(names.span()), format!("missing field `{key}`"));
        value.as_ref().ok_or_else(missing)
    }

    /// The names that a group of columns gives.
    pub fn names(&self, names: &Spanned<String>) -> Result<Vec<String>, DataError> {
        let error = |message| self.error(Some(names.span()), message);
        ranges::names(names.get_ref()).map_err(error)
    }

    /// Pairs what a group of columns lists with its names.
    pub fn pairs<T>(
        &self,
        listed: Vec<T>,
        what: &str,
        names: &Spanned<String>,
    ) -> Result<Vec<(T, String)>, DataError> {
        let all = self.names(names)?;
        if listed.len() != all.len() {
            let message = format!("{} {what} but {} names", listed.len(), all.len());
            return Err(self.error(Some(names.span()), message));
        }
        Ok(listed.into_iter().zip(all).collect())
    }
}

pub fn parse(text: &str, path: &Path) -> Result<Recipe, DataError> {
    let source = Source { text, path };
    let raw: RawRecipe =
        toml::from_str(text).map_err(|e| source.error(e.span(), explain(e.message())))?;
    check_missing(&source, &raw.dense)?;
    let layout = match raw.format {
        RawFormat::Tsv => columns::layout(&source, &raw),
        RawFormat::Csv => csv::layout(&source, &raw),
        RawFormat::Libfm => libfm::layout(&source, &raw),
        RawFormat::Libsvm => sparse::layout(&source, &raw, Address::Index),
        RawFormat::Libffm => sparse::layout(&source, &raw, Address::Field),
        RawFormat::MovieLens1M => movielens::layout(&source, &raw, Edition::OneMillion),
        RawFormat::MovieLens100K => movielens::layout(&source, &raw, Edition::HundredThousand),
    }?;
    let split = split::rule(&source, &raw.split, &layout)?;
    if layout.fields.is_empty() {
        return Err(source.error(None, "expected at least one field under [[fields]]".into()));
    }
    Ok(Recipe {
        name: name(&source, raw.name)?,
        description: raw.description,
        format: layout.format,
        files: layout.files,
        n_columns: layout.n_columns,
        min_count: raw.min_count,
        label: layout.label,
        dense: layout.dense,
        fields: layout.fields,
        split,
        defaults_model: raw.model,
        defaults_train: raw.train,
        source: text.to_owned(),
    })
}

/// What takes the place of missing numbers has to be one itself, whatever its transform.
fn check_missing(source: &Source<'_>, dense: &[RawDense]) -> Result<(), DataError> {
    let is_number = |value: f64| value.abs() <= f64::from(f32::MAX);
    let mut given = dense.iter().filter_map(|group| group.missing.as_ref());
    match given.find(|missing| !is_number(*missing.get_ref())) {
        None => Ok(()),
        Some(missing) => {
            let message = "expected a number that 32 bits can hold as `missing`";
            Err(source.error(Some(missing.span()), message.into()))
        }
    }
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
    use crate::{Split, SplitRule};

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
            (
                "format = \"tsv\"",
                "format = \"csw\"",
                "did you mean `csv`?",
            ),
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
