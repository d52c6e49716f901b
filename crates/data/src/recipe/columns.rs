//! The columns of tab-separated lines.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;

use super::parse::{Layout, Source};
use super::raw::{RawDense, RawField, RawKind, RawLabel, RawRecipe, RawTransform};
use super::{Column, DenseColumn, FieldColumn, FieldKind, Format, Transform, inputs, ranges};
use crate::DataError;

/// A line of more columns is a mistake in the recipe.
const MOST_COLUMNS: usize = 1 << 20;

/// The columns that a recipe names by their places.
pub fn layout(source: &Source<'_>, raw: &RawRecipe) -> Result<Layout, DataError> {
    source.refuse(&raw.values, "values", "tsv")?;
    source.refuse(&raw.label.positive, "positive", "tsv")?;
    source.refuse(&raw.label.drop, "drop", "tsv")?;
    let n_columns = raw.n_columns.as_ref().map(|n| *n.get_ref());
    let n_columns = n_columns.ok_or_else(|| missing(source, "n_columns"))?;
    if n_columns > MOST_COLUMNS {
        let message = format!("expected `n_columns` from 1 to {MOST_COLUMNS}, found {n_columns}");
        return Err(source.error(raw.n_columns.as_ref().map(Spanned::span), message));
    }
    let mut columns = Columns {
        source,
        n_columns,
        seen: HashMap::new(),
    };
    Ok(Layout {
        format: Format::Tsv,
        files: inputs::parts(source, raw.files.as_ref())?,
        n_columns,
        label: columns.label(&raw.label)?,
        dense: dense(&mut columns, &raw.dense)?,
        fields: fields(&mut columns, &raw.fields)?,
    })
}

fn missing(source: &Source<'_>, key: &str) -> DataError {
    source.error(None, format!("missing field `{key}`"))
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
        let kind = kind(columns.source, group)?;
        let numbers = group.columns.as_ref();
        let numbers = numbers.ok_or_else(|| missing_in(columns.source, group, "columns"))?;
        let group = columns.group(numbers, &group.names)?;
        all.extend(group.into_iter().map(|column| FieldColumn { column, kind }));
    }
    Ok(all)
}

fn kind(source: &Source<'_>, group: &RawField) -> Result<FieldKind, DataError> {
    let Some(kind) = &group.kind else {
        return Err(missing_in(source, group, "kind"));
    };
    match kind.get_ref() {
        RawKind::Hex => Ok(FieldKind::Hex),
        RawKind::Bucket => Ok(FieldKind::Bucket),
        RawKind::Bag => {
            let message = "kind = \"bag\" belongs to the genres of MovieLens";
            Err(source.error(Some(kind.span()), message.into()))
        }
    }
}

fn missing_in(source: &Source<'_>, group: &RawField, key: &str) -> DataError {
    source.error(Some(group.names.span()), format!("missing field `{key}`"))
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
        let column = raw.column.as_ref();
        let column = column.ok_or_else(|| missing(self.source, "column` under `[label]"))?;
        let name = raw.name.clone().unwrap_or_else(|| "label".into());
        self.take(*column.get_ref(), name, column.span())
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
