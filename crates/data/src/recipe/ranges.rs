//! `2-14` and `I1-I13`: many columns on one line of a recipe.

/// Columns of a group.
const MOST: u64 = 1 << 20;

/// The numbers of `"2-14"`, `"3"` or `"2-4, 7"`, from `lowest` on.
pub fn numbers(text: &str, lowest: u64) -> Result<Vec<u64>, String> {
    let spans = spans(text, lowest)?;
    if let Some((first, last)) = spans.iter().find(|(first, last)| last - first >= MOST) {
        return Err(format!(
            "expected up to {MOST} numbers, found {first}-{last}"
        ));
    }
    Ok(spans
        .into_iter()
        .flat_map(|(first, last)| first..=last)
        .collect())
}

/// The first and last numbers of `"0-99, 100-399"`, from `lowest` on.
pub fn spans(text: &str, lowest: u64) -> Result<Vec<(u64, u64)>, String> {
    let parts = text.split(',').map(str::trim);
    let span = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parse = |n: &str| n.trim().parse::<u64>().ok().filter(|&n| n >= lowest);
        match (parse(first), parse(last)) {
            (Some(first), Some(last)) if first <= last => Ok((first, last)),
            _ => Err(format!(
                "expected columns like `2-14` or `3`, found `{part}`"
            )),
        }
    };
    parts.map(span).collect()
}

/// The names of `"I1-I13"`, `"price"` or `"a, b"`.
pub fn names(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part
            .split_once('-')
            .and_then(|(first, last)| series(first, last))
        {
            Some(series) => all.extend(series),
            None if part.is_empty() => return Err("expected a name, found nothing".into()),
            None => all.push(part.to_owned()),
        }
    }
    Ok(all)
}

/// `I1` to `I13`: the same prefix and two numbers in order.
fn series(first: &str, last: &str) -> Option<Vec<String>> {
    let split = |name: &str| {
        let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (prefix, number) = name.split_at(name.len() - digits);
        number
            .parse::<usize>()
            .ok()
            .map(|number| (prefix.to_owned(), number))
    };
    let ((prefix, from), (same, to)) = (split(first)?, split(last)?);
    (prefix == same && from <= to && ((to - from) as u64) < MOST)
        .then(|| (from..=to).map(|n| format!("{prefix}{n}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_spelt_out() {
        assert_eq!(numbers("2-4, 7", 1).unwrap(), [2, 3, 4, 7]);
        assert_eq!(spans("0-9, 12", 0).unwrap(), [(0, 9), (12, 12)]);
        assert_eq!(names("I1-I3,price").unwrap(), ["I1", "I2", "I3", "price"]);
        assert_eq!(names("pre-tax").unwrap(), ["pre-tax"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "0", "4-2", "a-b", "1-99999999999"] {
            assert!(numbers(text, 1).is_err(), "{text}");
        }
        assert!(names("a,,b").is_err());
    }
}
