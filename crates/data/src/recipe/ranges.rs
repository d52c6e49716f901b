//! `2-14` and `I1-I13`: many columns on one line of a recipe.

/// The numbers of `"2-14"`, `"3"` or `"2-4, 7"`.
pub fn numbers(text: &str) -> Result<Vec<usize>, String> {
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let parse = |n: &str| n.trim().parse::<usize>().ok().filter(|&n| n > 0);
        match (parse(first), parse(last)) {
            (Some(first), Some(last)) if first <= last && last - first < 1 << 20 => {
                all.extend(first..=last);
            }
            _ => {
                return Err(format!(
                    "expected columns like `2-14` or `3`, found `{part}`"
                ));
            }
        }
    }
    Ok(all)
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
    (prefix == same && from <= to && to - from < 1 << 20)
        .then(|| (from..=to).map(|n| format!("{prefix}{n}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_spelt_out() {
        assert_eq!(numbers("2-4, 7").unwrap(), [2, 3, 4, 7]);
        assert_eq!(names("I1-I3,price").unwrap(), ["I1", "I2", "I3", "price"]);
        assert_eq!(names("pre-tax").unwrap(), ["pre-tax"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "0", "4-2", "a-b", "1-99999999999"] {
            assert!(numbers(text).is_err(), "{text}");
        }
        assert!(names("a,,b").is_err());
    }
}
