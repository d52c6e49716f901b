//! The columns of files with a header, by their names.

use std::collections::HashSet;

use toml::Spanned;

use super::parse::{Layout, Source};
use super::raw::{RawColumn, RawField, RawKind, RawLabel, RawMissing, RawRecipe};
use super::{
    CellKind, Column, DenseColumn, FieldColumn, FieldKind, Format, LabelRule, OnMissing, inputs,
    label, ranges,
};
use crate::DataError;

const KEYS: [&str; 13] = [
    "separator",
    "missing",
    "ignore",
    "label.column",
    "label.positive",
    "label.negative",
    "[[dense]]",
    "dense.columns",
    "dense.missing",
    "fields.columns",
    "fields.kind",
    "fields.separator",
    "fields.missing",
];

/// How files with a header are read.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvRule {
    /// Between the cells of a record.
    pub separator: u8,
    /// Cells that count as missing beside the empty one.
    pub missing: Vec<String>,
    /// How the label's cell becomes 0 or 1.
    pub label: LabelRule,
    /// The header's names of the columns that are used, each once; the place of a recipe's column is its
    /// place here.
    pub columns: Vec<String>,
    /// The other columns that may be there.
    pub ignored: Ignored,
}

/// Columns that nothing is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Those of these names; any other is an error.
    Named(Vec<String>),
    /// All.
    All,
}

/// The columns that a recipe names as the header does.
pub fn layout(source: &Source<'_>, raw: &RawRecipe) -> Result<Layout, DataError> {
    source.allow(raw, "csv", &KEYS)?;
    let separator = raw.separator.as_ref();
    let separator = separator.map(|text| byte(source, text)).transpose()?;
    let mut columns = Columns {
        source,
        separator: separator.unwrap_or(b','),
        used: Vec::new(),
        names: HashSet::new(),
    };
    let label = columns.label(&raw.label)?;
    let (dense, fields) = (columns.dense(raw)?, columns.fields(raw)?);
    let rule = CsvRule {
        separator: columns.separator,
        missing: raw
            .missing
            .as_ref()
            .map_or_else(Vec::new, |cells| cells.get_ref().clone()),
        label: label::rule(source, &raw.label, LabelRule::Binary)?,
        ignored: ignored(source, raw, &columns.used)?,
        columns: columns.used,
    };
    Ok(Layout {
        files: inputs::parts(source, raw.files.as_ref())?,
        n_columns: rule.columns.len(),
        format: Format::Csv(rule),
        label,
        dense,
        fields,
    })
}

/// A separator: one character that no quoting needs.
fn byte(source: &Source<'_>, text: &Spanned<String>) -> Result<u8, DataError> {
    match text.get_ref().as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
        _ => {
            let message =
                "expected one ASCII character as `separator`, for example \",\" or \"\\t\"";
            Err(source.error(Some(text.span()), message.into()))
        }
    }
}

fn ignored(source: &Source<'_>, raw: &RawRecipe, used: &[String]) -> Result<Ignored, DataError> {
    let Some(listed) = &raw.ignore else {
        return Ok(Ignored::Named(Vec::new()));
    };
    if listed.get_ref() == "*" {
        return Ok(Ignored::All);
    }
    let names = source.names(listed)?;
    match names.iter().find(|name| used.contains(name)) {
        None => Ok(Ignored::Named(names)),
        Some(name) => {
            let message = format!("the column `{name}` is both used and ignored");
            Err(source.error(Some(listed.span()), message))
        }
    }
}

/// The header's columns that are used so far.
struct Columns<'a> {
    source: &'a Source<'a>,
    separator: u8,
    used: Vec<String>,
    /// What label, dense features and fields are called.
    names: HashSet<String>,
}

impl Columns<'_> {
    fn label(&mut self, raw: &RawLabel) -> Result<Column, DataError> {
        let error = |span, message: &str| Err(self.source.error(span, message.into()));
        let Some(column) = &raw.column else {
            return error(None, "missing field `column` under `[label]`");
        };
        let RawColumn::Name(header) = column.get_ref() else {
            return error(
                Some(column.span()),
                "expected the name of a column in the header",
            );
        };
        let name = raw.name.clone().unwrap_or_else(|| header.clone());
        self.names.insert(name.clone());
        self.used.push(header.clone());
        Ok(Column { name, index: 0 })
    }

    fn dense(&mut self, raw: &RawRecipe) -> Result<Vec<DenseColumn>, DataError> {
        let mut all = Vec::new();
        for group in &raw.dense {
            let columns = self.group(group.columns.as_ref(), &group.names)?;
            let dense = |column| DenseColumn::new(column, group, None);
            all.extend(columns.into_iter().map(dense));
        }
        Ok(all)
    }

    fn fields(&mut self, raw: &RawRecipe) -> Result<Vec<FieldColumn>, DataError> {
        let mut all = Vec::new();
        for group in &raw.fields {
            let kind = self.kind(group)?;
            let missing = on_missing(group);
            let columns = self.group(group.columns.as_ref(), &group.names)?;
            all.extend(columns.into_iter().map(|column| FieldColumn {
                column,
                kind,
                missing,
            }));
        }
        Ok(all)
    }

    fn kind(&self, group: &RawField) -> Result<FieldKind, DataError> {
        let kind = self.source.needed(&group.kind, "kind", &group.names)?;
        let error = |span, message: &str| Err(self.source.error(Some(span), message.into()));
        let cell = match kind.get_ref() {
            RawKind::Hex => CellKind::Hex,
            RawKind::Bucket => CellKind::Bucket,
            RawKind::Text => CellKind::Text,
            RawKind::Hour => CellKind::Hour,
            RawKind::Weekday => CellKind::Weekday,
            RawKind::Bag => {
                let message = "expected the kind of each category, and `separator` between them";
                return error(kind.span(), message);
            }
        };
        let Some(text) = &group.separator else {
            return Ok(FieldKind::Cell(cell));
        };
        let separator = byte(self.source, text)?;
        if separator == self.separator {
            let message = "expected another `separator` within a cell than between cells";
            return error(text.span(), message);
        }
        Ok(FieldKind::Bag(cell, separator))
    }

    /// The columns of a group, called as the header does unless it gives `columns`.
    fn group(
        &mut self,
        columns: Option<&Spanned<String>>,
        names: &Spanned<String>,
    ) -> Result<Vec<Column>, DataError> {
        let columns = columns.unwrap_or(names);
        let listed = ranges::names(columns.get_ref())
            .map_err(|message| self.source.error(Some(columns.span()), message))?;
        let pairs = self.source.pairs(listed, "columns", names)?.into_iter();
        pairs
            .map(|(header, name)| {
                self.take(header, name)
                    .map_err(|message| self.source.error(Some(columns.span()), message))
            })
            .collect()
    }

    /// A column may have several uses, but nobody may learn from the label.
    fn take(&mut self, header: String, name: String) -> Result<Column, String> {
        if header == self.used[0] {
            return Err(format!("the column `{header}` is that of the label"));
        }
        if !self.names.insert(name.clone()) {
            return Err(format!("the name `{name}` is used twice"));
        }
        let known = self.used.iter().position(|used| *used == header);
        let index = known.unwrap_or_else(|| {
            self.used.push(header);
            self.used.len() - 1
        });
        Ok(Column { name, index })
    }
}

/// What the fields of a group make of categories that are not there.
pub fn on_missing(group: &RawField) -> OnMissing {
    match group.missing.as_ref().map(|missing| *missing.get_ref()) {
        None | Some(RawMissing::Error) => OnMissing::Refuse,
        Some(RawMissing::Category) => OnMissing::Category,
    }
}
