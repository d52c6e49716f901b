//! How a recipe splits its rows.

use toml::Spanned;

use super::parse::{Layout, Source};
use super::raw::{RawPart, RawShares, RawSplit, RawSplitKind};
use super::{Format, SplitRule};
use crate::{DataError, Split};

/// The rule of `[split]`, when it suits the format and the files.
pub fn rule(
    source: &Source<'_>,
    raw: &Spanned<RawSplit>,
    layout: &Layout,
) -> Result<SplitRule, DataError> {
    suits(raw.get_ref().kind, layout)
        .and_then(|()| read(raw.get_ref()))
        .map_err(|message| source.error(Some(raw.span()), message.to_owned()))
}

fn suits(kind: RawSplitKind, layout: &Layout) -> Result<(), &'static str> {
    let is_movielens = matches!(layout.format, Format::MovieLens(..));
    let has_parts = !layout.files.is_empty() && !is_movielens;
    match kind {
        RawSplitKind::Files if !has_parts => {
            Err("kind = \"files\" needs `train`, `validation` and `test` under [files]")
        }
        RawSplitKind::Random | RawSplitKind::FileOrder if has_parts => {
            Err("`train`, `validation` and `test` under [files] need kind = \"files\"")
        }
        RawSplitKind::FileOrder if is_movielens => {
            Err("expected kind = \"random\" or \"time\": the files are sorted by user")
        }
        RawSplitKind::Time if !is_movielens => {
            Err("kind = \"time\" needs a MovieLens format: other lines have no time")
        }
        _ => Ok(()),
    }
}

fn read(split: &RawSplit) -> Result<SplitRule, &'static str> {
    if split.order.is_some() && !matches!(split.kind, RawSplitKind::FileOrder) {
        return Err("`order` belongs to kind = \"file-order\"");
    }
    match (split.kind, &split.shares) {
        (RawSplitKind::Files, None) => Ok(SplitRule::Files),
        (RawSplitKind::Files, Some(_)) => {
            Err("kind = \"files\" takes no `shares`: each file is a split")
        }
        (_, None) => Err("missing field `shares`"),
        (RawSplitKind::Random, Some(raw)) => Ok(SplitRule::Random {
            shares: shares(raw)?,
        }),
        (RawSplitKind::Time, Some(raw)) => Ok(SplitRule::Time {
            shares: shares(raw)?,
        }),
        (RawSplitKind::FileOrder, Some(raw)) => file_order(shares(raw)?, split.order),
    }
}

fn shares(raw: &RawShares) -> Result<[f64; 3], &'static str> {
    let all = [raw.train, raw.validation, raw.test];
    if all.iter().all(|&share| share > 0.0 && share.is_finite()) {
        Ok(all)
    } else {
        Err("expected positive shares for train, validation and test")
    }
}

fn file_order(
    [train, validation, test]: [f64; 3],
    order: Option<[RawPart; 3]>,
) -> Result<SplitRule, &'static str> {
    let order = order.ok_or(
        "kind = \"file-order\" needs `order`, for example [\"train\", \"validation\", \"test\"]",
    )?;
    let parts = order.map(|part| match part {
        RawPart::Train => (Split::Train, train),
        RawPart::Validation => (Split::Validation, validation),
        RawPart::Test => (Split::Test, test),
    });
    let is_there = |split: &Split| parts.iter().any(|(part, _)| part == split);
    if !Split::ALL.iter().all(is_there) {
        return Err("expected train, validation and test once each in `order`");
    }
    Ok(SplitRule::FileOrder { parts })
}
