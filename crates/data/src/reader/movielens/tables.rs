//! Users and movies, read whole.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use super::attributes::{
    GENRES, age, flags, gender, genres, occupation_name, occupation_number, release_year,
    title_year, zip,
};
use crate::reader::BadRows;
use crate::reader::cell::whole;
use crate::reader::chunks::Chunks;
use crate::reader::text::{Place, lines};
use crate::{DataError, Edition};

const USER_1M: Layout = Layout {
    separator: "::",
    names: &["user", "gender", "age", "occupation", "zip"],
};
const USER_100K: Layout = Layout {
    separator: "|",
    names: &["user", "age", "gender", "occupation", "zip"],
};
const MOVIE_1M: Layout = Layout {
    separator: "::",
    names: &["item", "title", "genres"],
};
const MOVIE_100K: Layout = Layout {
    separator: "|",
    names: &with_genres(["item", "title", "release date", "video release date", "URL"]),
};

/// Names before the genres, each of which has a column.
const fn with_genres(before: [&'static str; 5]) -> [&'static str; 5 + GENRES.len()] {
    let mut names = [""; 5 + GENRES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = if i < 5 { before[i] } else { GENRES[i - 5] };
        i += 1;
    }
    names
}

/// A file by ids.
pub struct Table<T> {
    pub path: PathBuf,
    pub rows: HashMap<u64, T>,
}

/// The keys of a user's categories.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    pub gender: u64,
    pub age: u64,
    pub occupation: u64,
    pub zip: u64,
}

/// The keys of a movie's categories.
#[derive(Debug, PartialEq, Eq)]
pub struct Movie {
    pub year: u64,
    /// Bit `k` for genre `k`.
    pub genres: u64,
}

struct Layout {
    separator: &'static str,
    names: &'static [&'static str],
}

/// A column, and what was expected there.
type Wrong = (usize, &'static str);

pub fn read_users(
    edition: Edition,
    chunks: &mut Chunks<'_>,
    path: &Path,
    bad: &mut BadRows,
) -> Result<Table<User>, DataError> {
    match edition {
        Edition::OneMillion => read(&USER_1M, chunks, path, bad, user_1m),
        Edition::HundredThousand => read(&USER_100K, chunks, path, bad, user_100k),
    }
}

pub fn read_movies(
    edition: Edition,
    chunks: &mut Chunks<'_>,
    path: &Path,
    bad: &mut BadRows,
) -> Result<Table<Movie>, DataError> {
    match edition {
        Edition::OneMillion => read(&MOVIE_1M, chunks, path, bad, movie_1m),
        Edition::HundredThousand => read(&MOVIE_100K, chunks, path, bad, movie_100k),
    }
}

fn user_1m(cells: &[&[u8]]) -> Result<User, Wrong> {
    Ok(User {
        gender: at(cells, 1, gender)?,
        age: at(cells, 2, age)?,
        occupation: at(cells, 3, occupation_number)?,
        zip: at(cells, 4, zip)?,
    })
}

fn user_100k(cells: &[&[u8]]) -> Result<User, Wrong> {
    Ok(User {
        age: at(cells, 1, age)?,
        gender: at(cells, 2, gender)?,
        occupation: at(cells, 3, occupation_name)?,
        zip: at(cells, 4, zip)?,
    })
}

fn movie_1m(cells: &[&[u8]]) -> Result<Movie, Wrong> {
    Ok(Movie {
        year: at(cells, 1, title_year)?,
        genres: at(cells, 2, genres)?,
    })
}

fn movie_100k(cells: &[&[u8]]) -> Result<Movie, Wrong> {
    Ok(Movie {
        year: at(cells, 2, release_year)?,
        genres: flags(&cells[5..]).map_err(|(flag, expected)| (5 + flag, expected))?,
    })
}

fn at(
    cells: &[&[u8]],
    column: usize,
    read: fn(&[u8]) -> Result<u64, &'static str>,
) -> Result<u64, Wrong> {
    read(cells[column]).map_err(|expected| (column, expected))
}

/// Reads all lines; bad ones are skipped as bad rows.
fn read<T>(
    layout: &Layout,
    chunks: &mut Chunks<'_>,
    path: &Path,
    bad: &mut BadRows,
    row: fn(&[&[u8]]) -> Result<T, Wrong>,
) -> Result<Table<T>, DataError> {
    let mut rows = HashMap::new();
    while let Some(group) = chunks.next_group(1)? {
        for chunk in group {
            for (line, text) in (chunk.first_line..).zip(lines(&chunk.bytes)) {
                let place = Place { path, line };
                if let Err(error) = layout.read_line(text, place, row, &mut rows) {
                    bad.skip(error.into())?;
                }
            }
        }
    }
    Ok(Table {
        path: path.to_owned(),
        rows,
    })
}

impl Layout {
    fn read_line<T>(
        &self,
        text: &[u8],
        place: Place<'_>,
        row: fn(&[&[u8]]) -> Result<T, Wrong>,
        rows: &mut HashMap<u64, T>,
    ) -> Result<(), DataError> {
        let cells = self.cut(text);
        if cells.len() != self.names.len() {
            let missing = self.names.get(cells.len()).map(|name| [*name, ""]);
            return Err(place.column_count(self.names.len(), cells.len(), missing));
        }
        let error = |(column, expected): Wrong| {
            place.cell_error(column, self.names[column], expected, cells[column])
        };
        let id = whole(cells[0]).ok_or_else(|| error((0, "an id, a whole number")))?;
        let row = row(&cells).map_err(error)?;
        match rows.entry(id) {
            Entry::Occupied(_) => Err(error((0, "an id that no line before has"))),
            Entry::Vacant(entry) => {
                entry.insert(row);
                Ok(())
            }
        }
    }

    fn cut<'t>(&self, text: &'t [u8]) -> Vec<&'t [u8]> {
        let mut ends: Vec<_> = memchr::memmem::find_iter(text, self.separator).collect();
        ends.push(text.len());
        let mut start = 0;
        let cells = ends.into_iter().map(|end| {
            let cell = &text[start..end];
            start = end + self.separator.len();
            cell
        });
        cells.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_editions_give_the_same_user_and_movie() {
        let cells = |text: &'static str, layout: &Layout| layout.cut(text.as_bytes());
        let expected = User {
            gender: u64::from(b'M'),
            age: 25,
            occupation: 2,
            zip: zip(b"T8H1N").unwrap(),
        };
        assert_eq!(
            user_1m(&cells("7::M::25::2::T8H1N", &USER_1M)),
            Ok(expected)
        );
        let user = user_100k(&cells("7|25|M|doctor|T8H1N", &USER_100K)).unwrap();
        assert_eq!(
            (user.gender, user.age, user.zip),
            (77, 25, zip(b"T8H1N").unwrap())
        );
        let long = "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0";
        let short = "1::Toy Story (1995)::Animation|Children's|Comedy";
        let movie = movie_100k(&cells(long, &MOVIE_100K)).unwrap();
        assert_eq!(Ok(&movie), movie_1m(&cells(short, &MOVIE_1M)).as_ref());
        assert_eq!((movie.year, movie.genres), (1995, 0b111 << 3));
    }
}
