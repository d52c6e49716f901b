//! The fields of libFM lines.

use super::parse::{Layout, Source};
use super::raw::{RawRecipe, RawValues};
use super::{Column, FeatureValues, FieldColumn, FieldKind, Format, OnMissing, inputs};
use crate::DataError;

/// The label, and behind it one feature for each field in the order of the names.
pub fn layout(source: &Source<'_>, raw: &RawRecipe) -> Result<Layout, DataError> {
    // Places follow from the names, and every feature is a category.
    source.allow(raw, "libfm", &["values"])?;
    let names = names(source, raw)?;
    let fields = names.into_iter().zip(1..).map(|(name, index)| FieldColumn {
        column: Column { name, index },
        kind: FieldKind::Feature,
        missing: OnMissing::Refuse,
    });
    let fields: Vec<_> = fields.collect();
    Ok(Layout {
        format: Format::Libfm(values(raw)),
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

/// What the values of categories have to be.
pub fn values(raw: &RawRecipe) -> FeatureValues {
    match raw.values.as_ref().map(|values| *values.get_ref()) {
        None | Some(RawValues::One) => FeatureValues::One,
        Some(RawValues::Ignored) => FeatureValues::Ignored,
    }
}

fn names(source: &Source<'_>, raw: &RawRecipe) -> Result<Vec<String>, DataError> {
    let mut all: Vec<String> = Vec::new();
    for field in &raw.fields {
        for name in source.names(&field.names)? {
            if all.contains(&name) {
                let message = format!("the name `{name}` is used twice");
                return Err(source.error(Some(field.names.span()), message));
            }
            all.push(name);
        }
    }
    Ok(all)
}
