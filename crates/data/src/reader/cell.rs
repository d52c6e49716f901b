//! One cell: a number or a category.

use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

use super::MISSING;
use super::calendar::{hour, weekday};
use crate::{CellKind, FeatureValues, Transform};

/// The index of a feature `index:value` whose value may be that of a category.
pub fn parse_feature(cell: &[u8], values: FeatureValues) -> Result<u64, &'static str> {
    let (index, value) = feature(cell)?;
    category_value(value, values)?;
    Ok(index)
}

/// The index and the value of a feature `index:value`.
pub fn feature(cell: &[u8]) -> Result<(u64, &[u8]), &'static str> {
    const EXPECTED: &str = "a feature of the form index:value, for example 17:1";
    let colon = memchr::memchr(b':', cell).ok_or(EXPECTED)?;
    let (index, value) = (&cell[..colon], &cell[colon + 1..]);
    let index = whole(index).ok_or("a feature whose index is a whole number of up to 18 digits")?;
    match value {
        [] => Err(EXPECTED),
        value => Ok((index, value)),
    }
}

/// Whether a value may be that of a category.
pub fn category_value(value: &[u8], values: FeatureValues) -> Result<(), &'static str> {
    let is_one = || value == b"1" || parse_number(value) == Ok(1.0);
    match values {
        FeatureValues::One if !is_one() => {
            Err("a feature of value 1 (values = \"ignored\" in the recipe reads others)")
        }
        _ => Ok(()),
    }
}

/// A number of 1 to 18 decimal digits.
pub fn whole(cell: &[u8]) -> Option<u64> {
    let is_whole = (1..=18).contains(&cell.len()) && cell.iter().all(u8::is_ascii_digit);
    let value = |value, digit: &u8| value * 10 + u64::from(digit - b'0');
    is_whole.then(|| cell.iter().fold(0, value))
}

/// A dense feature: a finite number, transformed; an empty cell is 0.
pub fn parse_dense(cell: &[u8], transform: Transform) -> Result<f32, &'static str> {
    let value = if cell.is_empty() {
        0.0
    } else {
        parse_number(cell)?
    };
    self::transform(value, transform)
}

/// A transformed number.
pub fn transform(value: f64, transform: Transform) -> Result<f32, &'static str> {
    let value = match transform {
        Transform::Log1p => log1p(value),
        Transform::LogSquared => log_squared(value) as f32,
        Transform::Identity => value as f32,
    };
    if value.is_finite() {
        Ok(value)
    } else {
        Err("a number that 32 bits can hold")
    }
}

/// What [`parse_dense`] gives for an integer, which always fits.
pub fn transformed(integer: i32, transform: Transform) -> f32 {
    /// `ln(1 + n)` of the small counts that most cells hold.
    static STORED: LazyLock<[f32; 1024]> =
        LazyLock::new(|| std::array::from_fn(|n| log1p(n as f64)));
    match (transform, usize::try_from(integer)) {
        (Transform::Identity, _) => integer as f32,
        (Transform::LogSquared, _) => log_squared(f64::from(integer)) as f32,
        (Transform::Log1p, Ok(n)) if n < STORED.len() => STORED[n],
        (Transform::Log1p, Ok(_)) => log1p(f64::from(integer)),
        (Transform::Log1p, Err(_)) => 0.0,
    }
}

/// `ln(1 + max(x, 0))`.
fn log1p(value: f64) -> f32 {
    value.max(0.0).ln_1p() as f32
}

/// `(ln x)²` for `x > 2`, else `x − 2`.
fn log_squared(value: f64) -> f64 {
    if value > 2.0 {
        value.ln().powi(2)
    } else {
        value - 2.0
    }
}

pub fn parse_number(cell: &[u8]) -> Result<f64, &'static str> {
    const EXPECTED: &str = "a number";
    if let Some((integer, None)) = integer_cell(cell) {
        return Ok(f64::from(integer));
    }
    let text = std::str::from_utf8(cell).map_err(|_| EXPECTED)?;
    text.parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
        .ok_or(EXPECTED)
}

/// The value of a cell of nothing or of up to 9 digits with or without a minus sign, and what is behind
/// it: the usual cell, so it is not worth a search for its end. Nothing counts as 0.
pub fn integer_cell(line: &[u8]) -> Option<(i32, Option<&[u8]>)> {
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    let (mut value, mut n) = (0, 0);
    let behind = loop {
        match digits.get(n) {
            None => break None,
            Some(b'\t') => break Some(&digits[n + 1..]),
            Some(digit @ b'0'..=b'9') if n < 9 => value = value * 10 + i32::from(digit - b'0'),
            Some(_) => return None,
        }
        n += 1;
    };
    match digits.len() == line.len() {
        true => Some((value, behind)),
        false if n == 0 => None,
        false => Some((-value, behind)),
    }
}

/// What identifies the category of a cell, which is not empty.
pub fn parse_cell(cell: &[u8], kind: CellKind) -> Result<u64, &'static str> {
    match kind {
        CellKind::Hex => parse_hex(cell),
        CellKind::Bucket => parse_bucket(cell),
        CellKind::Text => Ok(parse_text(cell)),
        CellKind::Hour => hour(cell),
        CellKind::Weekday => weekday(cell),
    }
}

/// What identifies a text: never [`MISSING`], which has the highest bit.
fn parse_text(cell: &[u8]) -> u64 {
    xxh3_64(cell) >> 1
}

/// What identifies a category of hexadecimal digits; no two categories of a field share a key.
pub fn parse_hex(cell: &[u8]) -> Result<u64, &'static str> {
    if cell.is_empty() {
        return Ok(MISSING);
    }
    if cell.len() > 8 {
        return Err("a category of up to 8 hexadecimal digits (32 bits)");
    }
    let value = hex_digits(cell).ok_or("a category of hexadecimal digits")?;
    Ok(value.into())
}

/// What identifies the bucket of a number.
pub fn parse_bucket(cell: &[u8]) -> Result<u64, &'static str> {
    if cell.is_empty() {
        return Ok(MISSING);
    }
    Ok(bucket(parse_number(cell)?) as u64)
}

/// The value of a cell of exactly 8 hexadecimal digits at the start of `line`, and what is behind it:
/// the usual cell, so it is not worth a search for its end.
pub fn hex8_cell(line: &[u8]) -> Option<(u32, Option<&[u8]>)> {
    let (cell, behind) = line.split_first_chunk::<8>()?;
    let behind = match behind.split_first() {
        None => None,
        Some((b'\t', behind)) => Some(behind),
        Some(_) => return None,
    };
    Some((hex_digits(cell)?, behind))
}

/// The value of up to 8 digits, or `None` when one of them is none.
fn hex_digits(cell: &[u8]) -> Option<u32> {
    let (value, seen) = cell.iter().fold((0, 0), |(value, seen), &byte| {
        let digit = DIGITS[usize::from(byte)];
        (value << 4 | u32::from(digit), seen | digit)
    });
    (seen < 16).then_some(value)
}

/// The value of each byte as a hexadecimal digit; 255 for the others.
static DIGITS: [u8; 256] = {
    let mut digits = [255; 256];
    let mut n = 0;
    while n < 16 {
        digits[b"0123456789abcdef"[n] as usize] = n as u8;
        digits[b"0123456789ABCDEF"[n] as usize] = n as u8;
        n += 1;
    }
    digits
};

/// PEP's bucket of a number.
pub fn bucket(value: f64) -> i64 {
    // The smallest integer is the key of an empty cell.
    (log_squared(value).floor() as i64).max(i64::MIN + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_keys() {
        assert_eq!(parse_dense(b"", Transform::Log1p), Ok(0.0));
        assert_eq!(parse_dense(b"-3", Transform::Log1p), Ok(0.0));
        assert_eq!(
            parse_dense(b"1", Transform::Log1p),
            Ok(std::f32::consts::LN_2)
        );
        assert_eq!(parse_dense(b"-2.5e1", Transform::Identity), Ok(-25.0));
        assert_eq!(
            parse_dense(b"12345678901", Transform::Identity),
            Ok(12_345_678_901.0)
        );
        for bad in [
            &b"x"[..],
            b"1x",
            b"nan",
            b"inf",
            b"-",
            b"\xff",
            b" 1",
            b"1e39",
        ] {
            assert!(parse_dense(bad, Transform::Identity).is_err());
        }
        assert_eq!(parse_hex(b"ff0000Ab"), Ok(0xff00_00ab));
        assert!(parse_hex(b"12g4").is_err() && parse_hex(b"123456789").is_err());
        for byte in 0..=255u8 {
            let digit = char::from(byte).to_digit(16).map(u64::from);
            assert_eq!(parse_hex(&[byte]).ok(), digit, "byte {byte}");
        }
        assert_eq!(parse_hex(b""), Ok(MISSING));
        assert_eq!(parse_hex(b"0"), Ok(0));
    }

    #[test]
    fn buckets_are_peps() {
        let cases = [
            (3.0, 1),
            (100.0, 21),
            (2.0, 0),
            (1.0, -1),
            (0.0, -2),
            (-2.0, -4),
            (-1e300, i64::MIN + 1),
        ];
        for (value, expected) in cases {
            assert_eq!(bucket(value), expected, "{value}");
        }
        assert_eq!(parse_dense(b"100", Transform::LogSquared), Ok(21.207_592));
        assert_eq!(parse_dense(b"0.5", Transform::LogSquared), Ok(-1.5));
    }

    #[test]
    fn integers_are_read_as_any_number() {
        for cell in [
            "",
            "0",
            "-0",
            "7",
            "-3",
            "1023",
            "1024",
            "007",
            "-999999999",
            "123456789",
        ] {
            let (integer, behind) = integer_cell(cell.as_bytes()).unwrap();
            assert_eq!(behind, None);
            for transform in [Transform::Log1p, Transform::LogSquared, Transform::Identity] {
                let expected = parse_dense(cell.as_bytes(), transform);
                assert_eq!(Ok(transformed(integer, transform)), expected, "{cell}");
            }
        }
        assert_eq!(integer_cell(b"-5\tab"), Some((-5, Some(&b"ab"[..]))));
        assert_eq!(integer_cell(b"\t"), Some((0, Some(&b""[..]))));
        for other in [
            "-",
            "-\t",
            "+1",
            "1.5",
            "1e3",
            "--1",
            "1-",
            " 1",
            "1234567890",
        ] {
            assert_eq!(integer_cell(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn cells_of_eight_digits_are_taken_whole() {
        assert_eq!(hex8_cell(b"0000000f\tab"), Some((15, Some(&b"ab"[..]))));
        assert_eq!(hex8_cell(b"0000000f\t"), Some((15, Some(&b""[..]))));
        assert_eq!(hex8_cell(b"0000000f"), Some((15, None)));
        for other in [
            &b"0000000"[..],
            b"000\t0000\t",
            b"0000000ff\t",
            b"0000000g\t",
        ] {
            assert_eq!(hex8_cell(other), None);
        }
    }

    #[test]
    fn texts_have_keys_of_their_own() {
        let texts = ["", "a", "A", "a ", "Misérables", "1", "01"];
        let keys = texts.map(|text| parse_text(text.as_bytes()));
        for (i, key) in keys.iter().enumerate() {
            assert!(*key < MISSING && !keys[..i].contains(key), "{}", texts[i]);
        }
    }

    #[test]
    fn features_are_indices_of_value_one() {
        use FeatureValues::{Ignored, One};
        for good in [&b"17:1"[..], b"17:1.0", b"017:1"] {
            assert_eq!(parse_feature(good, One), Ok(17));
        }
        assert_eq!(parse_feature(b"0:1", One), Ok(0));
        assert_eq!(parse_feature(b"17:0.5", Ignored), Ok(17));
        for bad in [
            &b"17:0.5"[..],
            b"17",
            b"17:",
            b":1",
            b"-1:1",
            b"1a:1",
            b"",
            b"1:1:1",
        ] {
            assert!(parse_feature(bad, One).is_err(), "{bad:?}");
        }
        assert!(parse_feature(b"17:", Ignored).is_err());
        assert_eq!(
            (whole(&[b'9'; 18]), whole(&[b'9'; 19])),
            (Some(10u64.pow(18) - 1), None)
        );
    }
}
