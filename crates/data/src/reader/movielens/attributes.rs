//! The cells of users and movies: what identifies each category, the same for any file.

use crate::reader::MISSING;
use crate::reader::cell::whole;

/// The genres in the order of 100K's `u.genre`.
pub const GENRES: [&str; 19] = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];

/// The occupations in the order of 100K's `u.occupation`.
const OCCUPATIONS: [&str; 21] = [
    "administrator",
    "artist",
    "doctor",
    "educator",
    "engineer",
    "entertainment",
    "executive",
    "healthcare",
    "homemaker",
    "lawyer",
    "librarian",
    "marketing",
    "none",
    "other",
    "programmer",
    "retired",
    "salesman",
    "scientist",
    "student",
    "technician",
    "writer",
];

/// `F` or `M`.
pub fn gender(cell: &[u8]) -> Result<u64, &'static str> {
    match cell {
        [letter @ (b'F' | b'M')] => Ok((*letter).into()),
        _ => Err("F or M"),
    }
}

/// Years, or the lowest age of a group.
pub fn age(cell: &[u8]) -> Result<u64, &'static str> {
    whole(cell).ok_or("an age, a whole number")
}

/// 1M numbers its occupations.
pub fn occupation_number(cell: &[u8]) -> Result<u64, &'static str> {
    whole(cell).ok_or("an occupation, a whole number")
}

/// 100K names them.
pub fn occupation_name(cell: &[u8]) -> Result<u64, &'static str> {
    position(&OCCUPATIONS, cell).ok_or("an occupation of MovieLens, for example `writer`")
}

/// A postal code as a number to the base of 38.
pub fn zip(cell: &[u8]) -> Result<u64, &'static str> {
    const EXPECTED: &str = "a postal code of 1 to 12 digits, capital letters and hyphens";
    if !(1..=12).contains(&cell.len()) {
        return Err(EXPECTED);
    }
    let digits = cell.iter().map(|byte| match byte {
        b'-' => Ok(1),
        b'0'..=b'9' => Ok(u64::from(byte - b'0') + 2),
        b'A'..=b'Z' => Ok(u64::from(byte - b'A') + 12),
        _ => Err(EXPECTED),
    });
    // No digit is 0, so that codes of different lengths differ too; 38^12 is below 2^63.
    digits
        .into_iter()
        .try_fold(0, |key, digit| Ok(key * 38 + digit?))
}

/// The year behind a title: `Toy Story (1995)`.
pub fn title_year(cell: &[u8]) -> Result<u64, &'static str> {
    let brackets = cell.trim_ascii_end().last_chunk::<6>();
    let year = brackets.and_then(|text| match text {
        [b'(', year @ .., b')'] => whole(year),
        _ => None,
    });
    year.ok_or("a title that ends in a year, like (1995)")
}

/// The year of a date; an empty one is a category of its own.
pub fn release_year(cell: &[u8]) -> Result<u64, &'static str> {
    if cell.is_empty() {
        return Ok(MISSING);
    }
    let year = cell.rsplit(|&byte| byte == b'-').next();
    let is_date = cell.iter().filter(|&&byte| byte == b'-').count() == 2;
    let year = year
        .filter(|year| is_date && year.len() == 4)
        .and_then(whole);
    year.ok_or("a date like 01-Jan-1995, or nothing")
}

/// Names between `|`, as a set.
pub fn genres(cell: &[u8]) -> Result<u64, &'static str> {
    let mut names = cell.split(|&byte| byte == b'|');
    let set = names.try_fold(0, |set, name| {
        let genre = 1 << position(&GENRES, name)?;
        (set & genre == 0).then_some(set | genre)
    });
    set.ok_or("different genres of MovieLens between `|`, for example `Drama|War`")
}

/// 0 or 1 for each genre, as a set; on other cells, which one.
pub fn flags(cells: &[&[u8]]) -> Result<u64, (usize, &'static str)> {
    let bits = cells.iter().enumerate().map(|(k, cell)| match *cell {
        b"0" => Ok(0),
        b"1" => Ok(1 << k),
        _ => Err((k, "0 or 1")),
    });
    bits.sum()
}

/// The genres of a set.
pub fn genres_of(set: u64) -> impl Iterator<Item = u64> {
    (0..GENRES.len() as u64).filter(move |genre| set >> genre & 1 == 1)
}

fn position(names: &[&str], cell: &[u8]) -> Option<u64> {
    let found = names.iter().position(|name| name.as_bytes() == cell);
    found.map(|k| k as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_any_form_differ() {
        let codes = [
            "0",
            "00",
            "98107",
            "98107-2117",
            "T8H1N",
            "ZZZZZZZZZZZZ",
            "-",
            "1",
            "A",
        ];
        let keys: Vec<_> = codes
            .iter()
            .map(|code| zip(code.as_bytes()).unwrap())
            .collect();
        for (i, key) in keys.iter().enumerate() {
            assert!(*key < MISSING && !keys[..i].contains(key), "{}", codes[i]);
        }
        for bad in ["", "1234567890123", "t8h1n", "98 107"] {
            assert!(zip(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn years_stand_behind_titles_and_in_dates() {
        assert_eq!(title_year(b"Mis\xe9rables, Les (1995)"), Ok(1995));
        assert_eq!(title_year(b"Two Friends (1986) "), Ok(1986));
        for bad in [
            &b"Toy Story"[..],
            b"Toy (95)",
            b"(19x5)",
            b"",
            b"Toy (1995) (V)",
        ] {
            assert!(title_year(bad).is_err());
        }
        assert_eq!(release_year(b"4-Feb-1971"), Ok(1971));
        assert_eq!(release_year(b""), Ok(MISSING));
        assert!(release_year(b"1971").is_err() && release_year(b"4-Feb-71").is_err());
    }

    #[test]
    fn genres_are_sets() {
        assert_eq!(genres(b"Western|unknown"), Ok(1 << 18 | 1));
        assert_eq!(genres(b"unknown|Western"), genres(b"Western|unknown"));
        for bad in [&b""[..], b"Drama|", b"Drama|Drama", b"drama"] {
            assert!(genres(bad).is_err());
        }
        assert_eq!(flags(&[b"1", b"0", b"1"]), Ok(5));
        assert_eq!(flags(&[b"1", b"2"]), Err((1, "0 or 1")));
        assert_eq!((gender(b"M"), gender(b"m")), (Ok(77), Err("F or M")));
        assert_eq!(occupation_name(b"none"), Ok(12));
    }
}
