//! Labels.

use super::cell::parse_number;
use crate::LabelRule;

/// The label `0` or `1`, or what was expected.
pub fn parse_label(cell: &[u8]) -> Result<u8, &'static str> {
    match cell {
        b"0" => Ok(0),
        b"1" => Ok(1),
        _ => Err("a label, 0 or 1"),
    }
}

/// The label of libFM: `1`, or `-1` or `0` for the other class.
pub fn parse_signed_label(cell: &[u8]) -> Result<u8, &'static str> {
    match cell {
        b"0" | b"-1" => Ok(0),
        b"1" | b"+1" => Ok(1),
        _ => Err("a label, 1, 0 or -1"),
    }
}

/// The label that a rule makes of a cell.
pub fn labelled(cell: &[u8], rule: &LabelRule) -> Result<u8, &'static str> {
    match rule {
        LabelRule::Binary => parse_label(cell),
        LabelRule::Signed => parse_signed_label(cell),
        LabelRule::Above(bound) => number(cell).map(|number| u8::from(number > *bound)),
        LabelRule::AtLeast(bound) => number(cell).map(|number| u8::from(number >= *bound)),
        LabelRule::Cells([negative, positive]) => {
            let has = |cells: &[String]| cells.iter().any(|text| text.as_bytes() == cell);
            match (has(negative), has(positive)) {
                (true, _) => Ok(0),
                (_, true) => Ok(1),
                _ => Err("a cell that `positive` or `negative` in the recipe lists"),
            }
        }
    }
}

fn number(cell: &[u8]) -> Result<f64, &'static str> {
    const EXPECTED: &str = "a number, which the label is made of";
    match cell {
        [] => Err(EXPECTED),
        cell => parse_number(cell).map_err(|_| EXPECTED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_libfm_have_two_forms() {
        let labels = [&b"1"[..], b"+1", b"0", b"-1"].map(parse_signed_label);
        assert_eq!(labels, [Ok(1), Ok(1), Ok(0), Ok(0)]);
        assert!(parse_signed_label(b"2").is_err() && parse_signed_label(b"").is_err());
    }

    #[test]
    fn bounds_and_lists_make_labels() {
        let labels = |rule: &LabelRule, cells: [&str; 4]| {
            cells.map(|cell| labelled(cell.as_bytes(), rule).ok())
        };
        let cells = ["3", "3.5", "", "x"];
        let above = labels(&LabelRule::Above(3.0), cells);
        assert_eq!(above, [Some(0), Some(1), None, None]);
        let at_least = labels(&LabelRule::AtLeast(3.0), cells);
        assert_eq!(at_least, [Some(1), Some(1), None, None]);
        let listed = [vec!["no".into(), String::new()], vec!["yes".into()]];
        let listed = labels(&LabelRule::Cells(listed), ["no", "yes", "", "No"]);
        assert_eq!(listed, [Some(0), Some(1), Some(0), None]);
    }
}
