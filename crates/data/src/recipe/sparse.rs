//! The fields of libSVM and libFFM lines, by their indices or field numbers.

use std::collections::HashSet;
use std::ops::Range;

use toml::Spanned;

use super::csv::on_missing;
use super::parse::{Layout, Source};
use super::raw::{RawDense, RawField, RawKind, RawRecipe};
use super::{
    Column, DenseColumn, FeatureValues, FieldColumn, FieldKind, Format, LabelRule, inputs, label,
    libfm, ranges,
};
use crate::DataError;

/// How lines of features are read.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRule {
    /// How a feature says where it belongs.
    pub address: Address,
    /// What the value of a category's feature has to be.
    pub values: FeatureValues,
    /// How the first cell becomes 0 or 1.
    pub label: LabelRule,
    /// What the addresses mean, in their order and without overlaps.
    pub spans: Vec<FeatureSpan>,
    /// What all other addresses mean; without it, one of them is an error.
    pub others: Option<Target>,
}

/// How a feature says where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// libSVM's `index:value`, by its index.
    Index,
    /// libFFM's `field:index:value`, by its field.
    Field,
}

/// Addresses of one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureSpan {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// What they mean.
    pub target: Target,
}

/// What a feature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The field of this place; the index is the category.
    Field(usize),
    /// The dense feature of this place; the value is its number.
    Dense(usize),
    /// By the index from `first` to `last`, the dense features from the place `slot` on.
    DenseIndices {
        /// The first index.
        first: u64,
        /// The last index.
        last: u64,
        /// The dense feature of the first index.
        slot: usize,
    },
    /// Nothing.
    Ignored,
}

/// The label, and what the addresses of a recipe mean.
pub fn layout(source: &Source<'_>, raw: &RawRecipe, address: Address) -> Result<Layout, DataError> {
    let mut spans = Spans::new(source, address);
    spans.allow(raw)?;
    let (dense, fields) = (spans.dense(&raw.dense)?, spans.fields(&raw.fields)?);
    spans.ignore(raw.ignore.as_ref())?;
    let rule = SparseRule {
        address,
        values: libfm::values(raw),
        label: label::rule(source, &raw.label, LabelRule::Signed)?,
        others: spans.others,
        spans: spans.sorted()?,
    };
    Ok(Layout {
        format: Format::Sparse(rule),
        files: inputs::parts(source, raw.files.as_ref())?,
        n_columns: 1 + dense.len() + fields.len(),
        label: Column {
            name: raw.label.name.clone().unwrap_or_else(|| "label".into()),
            index: 0,
        },
        dense,
        fields,
    })
}

/// First and last address of a field, none where it takes all that are left, and its name.
type NamedSpan = (Option<(u64, u64)>, String);

/// What has been given a meaning so far.
struct Spans<'a> {
    source: &'a Source<'a>,
    address: Address,
    /// Each with its name and place in the recipe.
    all: Vec<(FeatureSpan, String, Range<usize>)>,
    others: Option<Target>,
    names: HashSet<String>,
}

impl<'a> Spans<'a> {
    fn new(source: &'a Source<'a>, address: Address) -> Self {
        Self {
            source,
            address,
            all: Vec::new(),
            others: None,
            names: HashSet::new(),
        }
    }

    fn allow(&self, raw: &RawRecipe) -> Result<(), DataError> {
        const BOTH: [&str; 9] = [
            "values",
            "ignore",
            "label.positive",
            "label.negative",
            "[[dense]]",
            "dense.indices",
            "dense.missing",
            "fields.kind",
            "fields.missing",
        ];
        let (format, own): (_, &[&str]) = match self.address {
            Address::Index => ("libsvm", &["fields.indices"]),
            Address::Field => ("libffm", &["dense.numbers", "fields.numbers"]),
        };
        self.source.allow(raw, format, &[&BOTH, own].concat())
    }

    fn dense(&mut self, groups: &[RawDense]) -> Result<Vec<DenseColumn>, DataError> {
        let mut all = Vec::new();
        for group in groups {
            let addresses = match (self.address, &group.numbers, &group.indices) {
                (Address::Field, Some(number), Some(indices)) => {
                    self.within_a_field(number, indices, &group.names, all.len())?
                }
                (Address::Field, numbers, _) => {
                    let numbers = self.source.needed(numbers, "numbers", &group.names)?;
                    self.one_by_one(numbers, &group.names, all.len())?
                }
                (Address::Index, _, indices) => {
                    let indices = self.source.needed(indices, "indices", &group.names)?;
                    self.one_by_one(indices, &group.names, all.len())?
                }
            };
            // These formats leave zeros out.
            let dense = |column| DenseColumn::new(column, group, Some(0.0));
            all.extend(addresses.into_iter().map(dense));
        }
        Ok(all)
    }

    /// One dense feature for each address, from the place `slot` on.
    fn one_by_one(
        &mut self,
        listed: &Spanned<String>,
        names: &Spanned<String>,
        slot: usize,
    ) -> Result<Vec<Column>, DataError> {
        let pairs = self.numbered(listed, names)?.into_iter().zip(slot..);
        pairs
            .map(|((address, name), slot)| {
                let target = Target::Dense(slot);
                self.add((address, address), &name, target, listed.span());
                self.column(name, address, names)
            })
            .collect()
    }

    /// One dense feature for each index of one field.
    fn within_a_field(
        &mut self,
        number: &Spanned<String>,
        indices: &Spanned<String>,
        names: &Spanned<String>,
        slot: usize,
    ) -> Result<Vec<Column>, DataError> {
        let error = |message: &str| self.source.error(Some(number.span()), message.into());
        let address = number.get_ref().trim().parse::<u64>();
        let address = address.map_err(|_| error("expected one field beside `indices`"))?;
        let pairs = self.numbered(indices, names)?;
        let (first, last) = (pairs[0].0, pairs[pairs.len() - 1].0);
        let is_range = pairs.iter().map(|(index, _)| *index).eq(first..=last);
        if !is_range {
            return Err(error("expected one range as `indices` of a field"));
        }
        let target = Target::DenseIndices { first, last, slot };
        self.add((address, address), names.get_ref(), target, number.span());
        let columns = pairs.into_iter();
        columns
            .map(|(_, name)| self.column(name, address, names))
            .collect()
    }

    /// The numbers that a group lists, each with a name.
    fn numbered(
        &self,
        listed: &Spanned<String>,
        names: &Spanned<String>,
    ) -> Result<Vec<(u64, String)>, DataError> {
        let numbers = ranges::numbers(listed.get_ref(), 0)
            .map_err(|message| self.source.error(Some(listed.span()), message))?;
        self.source.pairs(numbers, "numbers", names)
    }

    fn fields(&mut self, groups: &[RawField]) -> Result<Vec<FieldColumn>, DataError> {
        let mut all = Vec::new();
        for group in groups {
            let kind = self.kind(group)?;
            let (key, listed) = match self.address {
                Address::Index => ("indices", &group.indices),
                Address::Field => ("numbers", &group.numbers),
            };
            let spans = match (listed, self.address) {
                (None, Address::Index) => vec![(None, self.only_name(group)?)],
                _ => self.listed(self.source.needed(listed, key, &group.names)?, group)?,
            };
            for (span, name) in spans {
                let column = self.field(all.len(), span, name, group)?;
                all.push(FieldColumn {
                    column,
                    kind,
                    missing: on_missing(group),
                });
            }
        }
        Ok(all)
    }

    /// The field `f` of a span, or of all addresses without another meaning.
    fn field(
        &mut self,
        f: usize,
        span: Option<(u64, u64)>,
        name: String,
        group: &RawField,
    ) -> Result<Column, DataError> {
        let target = Target::Field(f);
        match span {
            Some(span) => self.add(span, &name, target, group.names.span()),
            None if self.others.replace(target).is_some() => {
                let message = "expected `indices`: another field has all that are left";
                return Err(self.source.error(Some(group.names.span()), message.into()));
            }
            None => {}
        }
        self.column(name, span.map_or(0, |(first, _)| first), &group.names)
    }

    fn kind(&self, group: &RawField) -> Result<FieldKind, DataError> {
        match &group.kind {
            None => Ok(FieldKind::Feature),
            Some(kind) if matches!(kind.get_ref(), RawKind::Bag) => Ok(FieldKind::FeatureBag),
            Some(kind) => {
                let message = "expected kind = \"bag\", or none for one feature a line";
                Err(self.source.error(Some(kind.span()), message.into()))
            }
        }
    }

    /// The name of a field that takes all indices that are left.
    fn only_name(&self, group: &RawField) -> Result<String, DataError> {
        let mut names = self.source.names(&group.names)?;
        match (names.pop(), names.is_empty()) {
            (Some(name), true) => Ok(name),
            _ => {
                let message = "expected `indices`, a range for each name; format = \"libfm\" reads \
                               fields by their places";
                Err(self.source.error(Some(group.names.span()), message.into()))
            }
        }
    }

    /// Of libSVM a range for each name, of libFFM a field.
    fn listed(
        &self,
        listed: &Spanned<String>,
        group: &RawField,
    ) -> Result<Vec<NamedSpan>, DataError> {
        let spans = match self.address {
            Address::Index => ranges::spans(listed.get_ref(), 0),
            Address::Field => ranges::numbers(listed.get_ref(), 0)
                .map(|numbers| numbers.into_iter().map(|n| (n, n)).collect()),
        };
        let spans = spans.map_err(|message| self.source.error(Some(listed.span()), message))?;
        let spans = spans.into_iter().map(Some).collect();
        self.source.pairs(spans, "ranges", &group.names)
    }

    fn ignore(&mut self, listed: Option<&Spanned<String>>) -> Result<(), DataError> {
        let Some(listed) = listed else {
            return Ok(());
        };
        let error = |message| self.source.error(Some(listed.span()), message);
        if listed.get_ref() == "*" {
            return match self.others.replace(Target::Ignored) {
                None => Ok(()),
                Some(_) => Err(error(
                    "a field without `indices` has all that are left".into(),
                )),
            };
        }
        for span in ranges::spans(listed.get_ref(), 0).map_err(error)? {
            self.add(span, "ignore", Target::Ignored, listed.span());
        }
        Ok(())
    }

    fn add(&mut self, (first, last): (u64, u64), name: &str, target: Target, place: Range<usize>) {
        let span = FeatureSpan {
            first,
            last,
            target,
        };
        self.all.push((span, name.to_owned(), place));
    }

    fn column(
        &mut self,
        name: String,
        address: u64,
        names: &Spanned<String>,
    ) -> Result<Column, DataError> {
        if !self.names.insert(name.clone()) {
            let message = format!("the name `{name}` is used twice");
            return Err(self.source.error(Some(names.span()), message));
        }
        let index = address as usize;
        Ok(Column { name, index })
    }

    /// The spans in order, when none overlaps another.
    fn sorted(mut self) -> Result<Vec<FeatureSpan>, DataError> {
        self.all.sort_by_key(|(span, ..)| span.first);
        for pair in self.all.windows(2) {
            let [(a, a_name, _), (b, b_name, place)] = pair else {
                continue;
            };
            if b.first <= a.last {
                let message = format!("{} is used twice: by `{a_name}` and by `{b_name}`", b.first);
                return Err(self.source.error(Some(place.clone()), message));
            }
        }
        Ok(self.all.into_iter().map(|(span, ..)| span).collect())
    }
}
