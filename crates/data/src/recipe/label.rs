//! What has label 1 in files whose labels are not 0 and 1.

use super::parse::Source;
use super::raw::{RawLabel, RawPositive};
use crate::DataError;

/// How a cell becomes a label.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelRule {
    /// `0` or `1`.
    Binary,
    /// `1`, or `-1` or `0` for the other class.
    Signed,
    /// Numbers above a bound have label 1.
    Above(f64),
    /// Numbers from a bound on have label 1.
    AtLeast(f64),
    /// Cells that have label 0, and those that have label 1; no other is allowed.
    Cells([Vec<String>; 2]),
}

/// The rule of `[label]`; `default` when it gives none.
pub fn rule(
    source: &Source<'_>,
    raw: &RawLabel,
    default: LabelRule,
) -> Result<LabelRule, DataError> {
    let span = raw.positive.as_ref().map(toml::Spanned::span);
    let span = span.or_else(|| raw.negative.as_ref().map(toml::Spanned::span));
    let error = |message: &str| Err(source.error(span, message.into()));
    let negative = raw.negative.as_ref().map(toml::Spanned::get_ref);
    match (raw.positive.as_ref().map(toml::Spanned::get_ref), negative) {
        (None, None) => Ok(default),
        (Some(RawPositive::Bound(text)), None) => match bound(text) {
            Some(rule) => Ok(rule),
            None => error("expected a bound like \"> 3\" or \">= 4\""),
        },
        (Some(RawPositive::Rating(_)), None) => {
            error("expected a bound like \"> 3\" or \">= 4\", with its comparison")
        }
        (Some(RawPositive::Cells(positive)), Some(negative)) => {
            let is_negative = |cell| negative.contains(cell);
            if positive.is_empty() || negative.is_empty() || positive.iter().any(is_negative) {
                return error("expected different cells in `positive` and `negative`");
            }
            Ok(LabelRule::Cells([negative.clone(), positive.clone()]))
        }
        _ => error("expected lists of cells for both, `positive` and `negative`"),
    }
}

/// `> 3` or `>= 4`.
fn bound(text: &str) -> Option<LabelRule> {
    let behind = text.trim().strip_prefix('>')?;
    let (number, rule): (&str, fn(f64) -> LabelRule) = match behind.strip_prefix('=') {
        Some(number) => (number, LabelRule::AtLeast),
        None => (behind, LabelRule::Above),
    };
    let number = number.trim().parse::<f64>().ok();
    number.filter(|number| number.is_finite()).map(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_have_two_forms() {
        assert_eq!(bound("> 3"), Some(LabelRule::Above(3.0)));
        assert_eq!(bound(">=-0.5 "), Some(LabelRule::AtLeast(-0.5)));
        for bad in ["", "3", "< 3", ">", "=> 3", "> x", "> inf", "> nan"] {
            assert_eq!(bound(bad), None, "{bad}");
        }
    }
}
