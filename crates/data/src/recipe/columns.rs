//! The columns of tab-separated lines.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;

use super::parse::{Layout, Source};
use super::raw::{RawColumn, RawDense, RawField, RawKind, RawLabel, RawRecipe};
use super::{
    CellKind, Column, DenseColumn, FieldColumn, FieldKind, Format, OnMissing, inputs, ranges,
};
use crate::DataError;

/// A line of more columns is a mistake in the recipe.
const MOST_COLUMNS: usize = 1 << 20;

const KEYS: [&str; 6] = [
    "n_columns",
    "label.column",
    "[[dense]]",
    "dense.columns",
    "fields.columns",
    "fields.kind",
];

/// The columns that a recipe names by their places.
pub fn layout(source: &Source<'_>, raw: &RawRecipe) -> Result<Layout, DataError> {
    source.allow(raw, "tsv", &KEYS)?;
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
        let numbers = columns
            .source
            .needed(&group.columns, "columns", &group.names)?;
        let of_group = columns.group(numbers, &group.names)?;
        // An empty cell is 0.
        let dense = |column| DenseColumn::new(column, group, Some(0.0));
        all.extend(of_group.into_iter().map(dense));
    }
    Ok(all)
}

fn fields(columns: &mut Columns<'_>, raw: &[RawField]) -> Result<Vec<FieldColumn>, DataError> {
    let mut all = Vec::new();
    for group in raw {
        let kind = kind(columns.source, group)?;
        let numbers = columns
            .source
            .needed(&group.columns, "columns", &group.names)?;
        let group = columns.group(numbers, &group.names)?;
        all.extend(group.into_iter().map(|column| FieldColumn {
            column,
            kind,
            missing: OnMissing::Category,
        }));
    }
    Ok(all)
}

fn kind(source: &Source<'_>, group: &RawField) -> Result<FieldKind, DataError> {
    let kind = source.needed(&group.kind, "kind", &group.names)?;
    let error = |message: &str| Err(source.error(Some(kind.span()), message.into()));
    match kind.get_ref() {
        RawKind::Hex => Ok(FieldKind::Cell(CellKind::Hex)),
        RawKind::Bucket => Ok(FieldKind::Cell(CellKind::Bucket)),
        RawKind::Bag => error("kind = \"bag\" belongs to the genres of MovieLens"),
        _ => error("expected kind = \"hex\" or \"bucket\"; format = \"csv\" has others"),
    }
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
        match *column.get_ref() {
            RawColumn::Number(number) => self.take(number, name, column.span()),
            RawColumn::Name(_) => {
                let message = "expected the number of a column: format = \"tsv\" has no header";
                Err(self.source.error(Some(column.span()), message.into()))
            }
        }
    }

    fn group(
        &mut self,
        columns: &Spanned<String>,
        names: &Spanned<String>,
    ) -> Result<Vec<Column>, DataError> {
        let numbers = ranges::numbers(columns.get_ref(), 1)
            .map_err(|message| self.source.error(Some(columns.span()), message))?;
        let pairs = self.source.pairs(numbers, "columns", names)?.into_iter();
        pairs
            .map(|(number, name)| self.take(number as usize, name, columns.span()))
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
