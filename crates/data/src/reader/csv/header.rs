//! The first record of a file, and which of its columns a recipe uses.

use std::collections::HashMap;
use std::path::Path;

use super::cut::{Cutter, whole_records};
use crate::reader::text::{lossy, shortened};
use crate::{CsvRule, DataError, Ignored, Recipe};

/// Spreadsheets put a mark of UTF-8 before the first name.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The columns of one file.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Their names in the order of the file.
    pub names: Vec<String>,
    /// Where each of [`CsvRule::columns`] stands, from 0.
    pub places: Vec<usize>,
}

/// Reads headers as a recipe says.
#[derive(Clone, Copy)]
pub struct HeaderReader<'a> {
    recipe: &'a Recipe,
    rule: &'a CsvRule,
}

impl<'a> HeaderReader<'a> {
    pub fn new(recipe: &'a Recipe, rule: &'a CsvRule) -> Self {
        Self { recipe, rule }
    }

    pub fn separator(&self) -> u8 {
        self.rule.separator
    }

    /// Where the header ends in the first bytes of a file; `None` when it goes on behind them.
    pub fn end(&self, bytes: &[u8]) -> Option<usize> {
        let text = bytes.strip_prefix(MARK).unwrap_or(bytes);
        let (whole, _) = whole_records(text, self.rule.separator);
        let mut cutter = Cutter::new(&text[..whole], 1, self.rule.separator);
        cutter.record(&mut Vec::new())?;
        Some(bytes.len() - text.len() + whole - cutter.rest().len())
    }

    /// The columns of the header `bytes`.
    ///
    /// # Errors
    /// On stray quotes, on names that come twice or that the recipe does not know, and on a column of the
    /// recipe that is not there.
    pub fn read(&self, path: &Path, bytes: &[u8]) -> Result<Header, DataError> {
        let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
        let (mut cells, mut room) = (Vec::new(), Vec::new());
        let mut cutter = Cutter::new(bytes, 1, self.rule.separator);
        let record = cutter.record(&mut cells);
        let texts = cells.iter().map(|cell| lossy(cell.unquoted(&mut room)));
        let names: Vec<String> = texts.collect();
        let error = |column: usize, expected: String| DataError::Header {
            path: path.to_owned(),
            line: cells.get(column).map_or(1, |cell| cell.line),
            column: column + 1,
            name: shortened(names[column].as_bytes()),
            expected,
        };
        if let Some(fault) = record.and_then(|record| record.fault) {
            return Err(error(fault.column, fault.expected.into()));
        }
        let place_of = self
            .places(&names)
            .map_err(|(column, expected)| error(column, expected))?;
        let used = self.rule.columns.iter().enumerate();
        let places = used.map(|(used, name)| {
            let place = place_of.get(name.as_str()).copied();
            place.ok_or_else(|| self.lacks(path, used, &names))
        });
        let places = places.collect::<Result<_, _>>()?;
        Ok(Header { names, places })
    }

    /// The places of all names, or a column that is wrong and what was expected of it.
    fn places<'n>(&self, names: &'n [String]) -> Result<HashMap<&'n str, usize>, (usize, String)> {
        let mut places = HashMap::new();
        for (place, name) in names.iter().enumerate() {
            if let Some(before) = places.insert(name.as_str(), place) {
                let expected = format!("a name that column {} does not have", before + 1);
                return Err((place, expected));
            }
            if !self.knows(name) {
                let expected = "a column of the recipe (`ignore` in the recipe leaves others out)";
                return Err((place, expected.into()));
            }
        }
        Ok(places)
    }

    fn knows(&self, name: &String) -> bool {
        self.rule.columns.contains(name)
            || match &self.rule.ignored {
                Ignored::All => true,
                Ignored::Named(names) => names.contains(name),
            }
    }

    fn lacks(&self, path: &Path, used: usize, names: &[String]) -> DataError {
        let name = &self.rule.columns[used];
        let scored = names
            .iter()
            .map(|other| (strsim::jaro_winkler(name, other), other));
        let nearest = scored.max_by(|a, b| a.0.total_cmp(&b.0));
        let like = nearest.filter(|(score, _)| *score > 0.7);
        let found = like.map_or_else(String::new, |(_, other)| {
            format!("; the nearest is `{}`", shortened(other.as_bytes()))
        });
        DataError::NoColumn {
            path: path.to_owned(),
            column: name.clone(),
            used_for: self.recipe.name_of(used).to_owned(),
            n_columns: names.len(),
            nearest: found,
        }
    }
}
