//! Times of the form `YYMMDDHH`, as Avazu writes them.

use super::cell::whole;

const EXPECTED: &str = "a time of the form YYMMDDHH, for example 14102100";

/// The hour, 0 to 23.
pub fn hour(cell: &[u8]) -> Result<u64, &'static str> {
    Ok(parts(cell)?[3])
}

/// The day of the week, 0 for Monday; the years are those from 2000 on.
pub fn weekday(cell: &[u8]) -> Result<u64, &'static str> {
    let [year, month, day, _] = parts(cell)?;
    // Tomohiko Sakamoto's method: January and February belong to the year before.
    const OFFSETS: [u64; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
    let year = 2000 + year - u64::from(month < 3);
    let sunday_0 = year + year / 4 - year / 100 + year / 400 + OFFSETS[month as usize - 1] + day;
    Ok((sunday_0 + 6) % 7)
}

/// Year, month, day and hour.
fn parts(cell: &[u8]) -> Result<[u64; 4], &'static str> {
    if cell.len() != 8 {
        return Err(EXPECTED);
    }
    let number = |i: usize| whole(&cell[2 * i..2 * i + 2]).ok_or(EXPECTED);
    let [year, month, day, hour] = [number(0)?, number(1)?, number(2)?, number(3)?];
    if (1..=12).contains(&month) && (1..=days(year, month)).contains(&day) && hour < 24 {
        Ok([year, month, day, hour])
    } else {
        Err(EXPECTED)
    }
}

/// Days of a month of the years 2000 to 2099.
fn days(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_days_are_those_of_the_calendar() {
        // 21 October 2014 was a Tuesday, 29 February 2024 a Thursday, 1 January 2000 a Saturday.
        let cases = [
            ("14102100", 0, 1),
            ("24022923", 23, 3),
            ("00010107", 7, 5),
            ("14102612", 12, 6),
            ("14102712", 12, 0),
        ];
        for (cell, expected_hour, day) in cases {
            let cell = cell.as_bytes();
            assert_eq!((hour(cell), weekday(cell)), (Ok(expected_hour), Ok(day)));
        }
    }

    #[test]
    fn consecutive_days_follow_each_other() {
        let mut expected = 5;
        for year in 0..100 {
            for month in 1..=12 {
                for day in 1..=days(year, month) {
                    let cell = format!("{year:02}{month:02}{day:02}00");
                    assert_eq!(weekday(cell.as_bytes()), Ok(expected), "{cell}");
                    expected = (expected + 1) % 7;
                }
            }
        }
    }

    #[test]
    fn other_times_are_refused() {
        for bad in [
            "",
            "1410210",
            "141021000",
            "14102124",
            "14130100",
            "14100000",
            "14043100",
            "23022900",
            "2014-1-1",
            "-4102100",
        ] {
            assert_eq!(hour(bad.as_bytes()), Err(EXPECTED), "{bad}");
            assert_eq!(weekday(bad.as_bytes()), Err(EXPECTED), "{bad}");
        }
    }
}
