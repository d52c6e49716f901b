//! The fields of libFM lines.

use super::parse::{Layout, Source};
use super::raw::{RawRecipe, RawValues};
use super::{Column, FeatureValues, FieldColumn, FieldKind, Format, inputs, ranges};
use crate::DataError;

const FORMAT: &str = "libfm";

/// The label, and behind it one feature for each field in the order of the names.
pub fn layout(source: &Source<'_>, raw: &RawRecipe) -> Result<Layout, DataError> {
    refuse_columns(source, raw)?;
    let names = names(source, raw)?;
    let fields = names.into_iter().zip(1..).map(|(name, index)| FieldColumn {
        column: Column { name, index },
        kind: FieldKind::Feature,
    });
    let fields: Vec<_> = fields.collect();
    let values = raw.values.as_ref().map(|values| *values.get_ref());
    Ok(Layout {
        format: Format::Libfm(match values {
            None | Some(RawValues::One) => FeatureValues::One,
            Some(RawValues::Ignored) => FeatureValues::Ignored,
        }),
        files: inputs::parts(source, raw.files.as_ref())?,
        n_columns: 1 + fields.len(),
        label: Column {
            name: raw.label.name.clone().unwrap_or_else(|| "label".into()),
            index: 0,
        },
        dense: Vec::new(),
        fields,
    })
}

/// Places follow from the names, and every feature is a category.
fn refuse_columns(source: &Source<'_>, raw: &RawRecipe) -> Result<(), DataError> {
    source.refuse(&raw.n_columns, "n_columns", FORMAT)?;
    source.refuse(&raw.label.column, "column", FORMAT)?;
    source.refuse(&raw.label.positive, "positive", FORMAT)?;
    source.refuse(&raw.label.drop, "drop", FORMAT)?;
    for dense in &raw.dense {
        source.refuse(&Some(dense.names.clone()), "[[dense]]", FORMAT)?;
    }
    for field in &raw.fields {
        source.refuse(&field.columns, "columns", FORMAT)?;
        source.refuse(&field.kind, "kind", FORMAT)?;
    }
    Ok(())
}

fn names(source: &Source<'_>, raw: &RawRecipe) -> Result<Vec<String>, DataError> {
    let mut all: Vec<String> = Vec::new();
    for field in &raw.fields {
        let error = |message| source.error(Some(field.names.span()), message);
        for name in ranges::names(field.names.get_ref()).map_err(error)? {
            if all.contains(&name) {
                return Err(error(format!("the name `{name}` is used twice")));
            }
            all.push(name);
        }
    }
    Ok(all)
}
