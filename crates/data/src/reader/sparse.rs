//! Lines of any number of features: libSVM and libFFM.

use super::cell::{category_value, feature, parse_dense, transform, whole};
use super::chunks::Chunk;
use super::label::labelled;
use super::row::Row;
use super::text::{Place, lines};
use super::{BadRow, MISSING, Rows};
use crate::pack::Arity;
use crate::{Address, DataError, OnMissing, Recipe, SparseRule, Target};

const UNKNOWN: &str = "an index or field of the recipe (`ignore` in the recipe leaves others out)";
const SECOND: &str =
    "one feature of this field in a line (kind = \"bag\" in the recipe takes several)";
const SECOND_NUMBER: &str = "one value of this dense feature in a line";
const FIELD: &str = "a feature of the form field:index:value, for example 3:17:1";

/// Parses lines of features.
pub struct SparseParser<'a> {
    recipe: &'a Recipe,
    rule: &'a SparseRule,
    /// The numbers of dense features that a line lacks.
    absent: Vec<f32>,
}

/// A row, and what its line has said so far.
struct Line {
    row: Row,
    has_dense: Vec<bool>,
    has_field: Vec<bool>,
}

/// What is wrong with a cell: what it is for, and what was expected.
type Wrong<'a> = (&'a str, &'static str);

impl<'a> SparseParser<'a> {
    pub fn new(recipe: &'a Recipe, rule: &'a SparseRule) -> Self {
        let absent = recipe.dense.iter().map(|dense| {
            let missing = dense.missing.unwrap_or_default();
            transform(missing, dense.transform).unwrap_or_default()
        });
        Self {
            recipe,
            rule,
            absent: absent.collect(),
        }
    }

    /// All good rows of a chunk, and what was wrong with the others; stops at the `most`-th bad row.
    pub fn parse(&self, chunk: &Chunk, most: u64) -> (Rows, Vec<BadRow>) {
        let mut line = Line {
            row: Row::of(self.recipe),
            has_dense: vec![false; self.recipe.dense.len()],
            has_field: vec![false; self.recipe.fields.len()],
        };
        // How many features a line has is not known before.
        let (mut rows, mut bad) = (line.row.empty(0, chunk.file), Vec::new());
        for (i, text) in lines(&chunk.bytes).enumerate() {
            let place = Place {
                path: &chunk.path,
                line: chunk.first_line + i as u64,
            };
            match self.parse_line(text, place, &mut line) {
                Ok(()) => line.row.append_to(&mut rows, chunk.first_index + i as u64),
                Err(error) => bad.push(error.into()),
            }
            if bad.len() as u64 >= most {
                break;
            }
        }
        (rows, bad)
    }

    fn parse_line(&self, text: &[u8], place: Place<'_>, line: &mut Line) -> Result<(), DataError> {
        line.clear(&self.absent);
        let cells = text.split(|byte| matches!(byte, b' ' | b'\t'));
        let mut cells = cells.filter(|cell| !cell.is_empty());
        let label = cells.next().unwrap_or_default();
        line.row.label = labelled(label, &self.rule.label)
            .map_err(|expected| place.cell_error(0, &self.recipe.label.name, expected, label))?;
        let mut n_features = 0;
        for cell in cells {
            n_features += 1;
            self.parse_feature(cell, line)
                .map_err(|(name, expected)| place.cell_error(n_features, name, expected, cell))?;
        }
        self.complete(place, line, n_features)
    }

    fn parse_feature(&self, cell: &[u8], line: &mut Line) -> Result<(), Wrong<'a>> {
        let bad = |expected| ("feature", expected);
        let (address, index, value) = match self.rule.address {
            Address::Index => {
                let (index, value) = feature(cell).map_err(bad)?;
                (index, index, value)
            }
            Address::Field => {
                let colon = memchr::memchr(b':', cell).ok_or(bad(FIELD))?;
                let (index, value) = feature(&cell[colon + 1..]).map_err(|_| bad(FIELD))?;
                let field = whole(&cell[..colon]).ok_or(bad(FIELD))?;
                (field, index, value)
            }
        };
        match self.target(address).ok_or(bad(UNKNOWN))? {
            Target::Ignored => Ok(()),
            Target::Field(f) => self.category(f, index, value, line),
            Target::Dense(i) => self.number(i, value, line),
            Target::DenseIndices { first, last, slot } if (first..=last).contains(&index) => {
                self.number(slot + (index - first) as usize, value, line)
            }
            Target::DenseIndices { .. } => Err(bad(UNKNOWN)),
        }
    }

    /// What an address means.
    fn target(&self, address: u64) -> Option<Target> {
        let spans = &self.rule.spans;
        let behind = spans.partition_point(|span| span.first <= address);
        let span = behind.checked_sub(1).map(|last| &spans[last]);
        match span.filter(|span| address <= span.last) {
            Some(span) => Some(span.target),
            None => self.rule.others,
        }
    }

    fn category(
        &self,
        f: usize,
        index: u64,
        value: &[u8],
        line: &mut Line,
    ) -> Result<(), Wrong<'a>> {
        let field = &self.recipe.fields[f];
        let wrong = |expected| (&*field.column.name, expected);
        category_value(value, self.rule.values).map_err(wrong)?;
        let is_second = std::mem::replace(&mut line.has_field[f], true);
        if is_second && field.arity() == Arity::Single {
            return Err(wrong(SECOND));
        }
        line.row.add(f, index);
        Ok(())
    }

    fn number(&self, i: usize, value: &[u8], line: &mut Line) -> Result<(), Wrong<'a>> {
        let dense = &self.recipe.dense[i];
        let wrong = |expected| (&*dense.column.name, expected);
        if std::mem::replace(&mut line.has_dense[i], true) {
            return Err(wrong(SECOND_NUMBER));
        }
        line.row.dense[i] = parse_dense(value, dense.transform).map_err(wrong)?;
        Ok(())
    }

    /// Fills in what the line does not say.
    fn complete(
        &self,
        place: Place<'_>,
        line: &mut Line,
        n_features: usize,
    ) -> Result<(), DataError> {
        for (f, field) in self.recipe.fields.iter().enumerate() {
            match (line.has_field[f], field.arity(), field.missing) {
                (true, ..) | (false, Arity::Multi, OnMissing::Refuse) => {}
                (false, _, OnMissing::Category) => line.row.add(f, MISSING),
                (false, Arity::Single, OnMissing::Refuse) => {
                    return Err(DataError::NoFeature {
                        path: place.path.to_owned(),
                        line: place.line,
                        field: field.column.name.clone(),
                        n_features,
                    });
                }
            }
        }
        Ok(())
    }
}

impl Line {
    fn clear(&mut self, absent: &[f32]) {
        self.row.clear_bags();
        self.row.keys.fill(0);
        self.row.dense.copy_from_slice(absent);
        self.has_dense.fill(false);
        self.has_field.fill(false);
    }
}
