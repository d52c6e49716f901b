//! MovieLens: lines of ratings, joined with users and movies that are read before.

mod attributes;
mod tables;

use std::path::PathBuf;

use memchr::memmem::Finder;

use super::cell::{bucket, whole};
use super::chunks::{Chunk, Chunks};
use super::row::Row;
use super::text::{Place, lines};
use super::{BadRow, BadRows, Rows};
use crate::{Attribute, DataError, Edition, FieldKind, RatingRule, Recipe};
use attributes::genres_of;
use tables::{Movie, Table, User, read_movies, read_users};

/// The columns of a rating.
const NAMES: [&str; 4] = ["user", "item", "rating", "timestamp"];

/// Parses lines of ratings.
pub struct RatingParser<'a> {
    recipe: &'a Recipe,
    edition: Edition,
    rule: &'a RatingRule,
    attributes: Vec<Attribute>,
    separator: Finder<'static>,
    /// 4, or 3 when the file has no times and the recipe needs none.
    n_columns: usize,
    users: Option<Table<User>>,
    movies: Option<Table<Movie>>,
    /// The second of the first rating.
    first_time: i64,
}

/// A rating and what is known of its user and movie.
struct Rating<'a> {
    user_id: u64,
    item_id: u64,
    stars: u8,
    time: i64,
    user: Option<&'a User>,
    movie: Option<&'a Movie>,
}

impl<'a> RatingParser<'a> {
    pub fn new(
        recipe: &'a Recipe,
        edition: Edition,
        rule: &'a RatingRule,
        first_time: i64,
    ) -> Self {
        let attributes = recipe.fields.iter().filter_map(|field| match field.kind {
            FieldKind::Attribute(attribute) => Some(attribute),
            _ => None,
        });
        let separator: &[u8] = match edition {
            Edition::OneMillion => b"::",
            Edition::HundredThousand => b"\t",
        };
        Self {
            recipe,
            edition,
            rule,
            attributes: attributes.collect(),
            separator: Finder::new(separator),
            n_columns: NAMES.len(),
            users: None,
            movies: None,
            first_time,
        }
    }

    /// Reads the files that stand behind the ratings in the recipe, and hands them back for their sizes
    /// and checksums.
    pub fn read_tables(
        &mut self,
        paths: &[PathBuf],
        bad: &mut BadRows,
    ) -> Result<Vec<Chunks<'static>>, DataError> {
        let mut files = Vec::new();
        for (file, path) in self.recipe.files[1..].iter().zip(paths) {
            let mut chunks = Chunks::lines(vec![path.clone()]);
            match file.role {
                "users" => self.users = Some(read_users(self.edition, &mut chunks, path, bad)?),
                _ => self.movies = Some(read_movies(self.edition, &mut chunks, path, bad)?),
            }
            files.push(chunks);
        }
        Ok(files)
    }

    /// Takes the number of columns from the first line.
    pub fn look_at(&mut self, first: &Chunk) {
        let line = lines(&first.bytes).next().unwrap_or_default();
        if !self.recipe.needs_times() && self.cut(line).1 == 3 {
            self.n_columns = 3;
        }
    }

    /// All good rows of a chunk, and what was wrong with the others; stops at the `most`-th bad row.
    pub fn parse(&self, chunk: &Chunk, most: u64) -> (Rows, Vec<BadRow>) {
        let mut row = Row::of(self.recipe);
        let (mut rows, mut bad) = (row.empty(0, chunk.file), Vec::new());
        for (i, text) in lines(&chunk.bytes).enumerate() {
            let place = Place {
                path: &chunk.path,
                line: chunk.first_line + i as u64,
            };
            match self.parse_line(text, place) {
                Ok(rating) if self.rule.drop.contains(&rating.stars) => {}
                Ok(rating) => {
                    self.fill(&mut row, &rating);
                    row.append_to(&mut rows, chunk.first_index + i as u64);
                    rows.times
                        .extend(self.recipe.needs_times().then_some(rating.time));
                }
                Err(error) => bad.push(error.into()),
            }
            if bad.len() as u64 >= most {
                break;
            }
        }
        (rows, bad)
    }

    fn fill(&self, row: &mut Row, rating: &Rating<'_>) {
        row.label = u8::from(rating.stars >= self.rule.positive);
        row.clear_bags();
        for (f, &attribute) in self.attributes.iter().enumerate() {
            let key = rating.key(attribute, self.first_time);
            match attribute {
                Attribute::GenreBag => {
                    row.keys[f] = 0;
                    genres_of(key).for_each(|genre| row.add(f, genre));
                }
                _ => row.keys[f] = key,
            }
        }
    }

    fn parse_line(&self, text: &[u8], place: Place<'_>) -> Result<Rating<'_>, DataError> {
        let (cells, found) = self.cut(text);
        if found != self.n_columns {
            return Err(self.column_count(place, found));
        }
        let error = |column, expected| {
            move || place.cell_error(column, NAMES[column], expected, cells[column])
        };
        let user_id = whole(cells[0]).ok_or_else(error(0, "a user's id, a whole number"))?;
        let item_id = whole(cells[1]).ok_or_else(error(1, "a movie's id, a whole number"))?;
        let stars = whole(cells[2]).filter(|stars| (1..=5).contains(stars));
        let stars = stars.ok_or_else(error(2, "a whole rating from 1 to 5"))? as u8;
        let time = match self.n_columns {
            3 => 0,
            _ => whole(cells[3]).ok_or_else(error(3, "whole seconds since 1970"))? as i64,
        };
        let user = join(self.users.as_ref(), user_id, place, 0)?;
        let movie = join(self.movies.as_ref(), item_id, place, 1)?;
        Ok(Rating {
            user_id,
            item_id,
            stars,
            time,
            user,
            movie,
        })
    }

    /// The first four cells of a line, and how many it has.
    fn cut<'t>(&self, text: &'t [u8]) -> ([&'t [u8]; 4], usize) {
        let mut cells: [&[u8]; 4] = [&[]; 4];
        let (mut rest, mut n) = (text, 0);
        loop {
            let end = self.separator.find(rest);
            if let Some(cell) = cells.get_mut(n) {
                *cell = &rest[..end.unwrap_or(rest.len())];
            }
            n += 1;
            match end {
                Some(end) => rest = &rest[end + self.separator.needle().len()..],
                None => return (cells, n),
            }
        }
    }

    fn column_count(&self, place: Place<'_>, found: usize) -> DataError {
        let why = if found == 3 && self.recipe.needs_times() {
            ", which the recipe's fields or split need"
        } else {
            ""
        };
        let name = NAMES.get(found).filter(|_| found < self.n_columns);
        place.column_count(self.n_columns, found, name.map(|name| [*name, why]))
    }
}

impl Rating<'_> {
    /// What identifies a category of a field; a recipe without a file has no fields of it.
    fn key(&self, attribute: Attribute, first_time: i64) -> u64 {
        let user = |read: fn(&User) -> u64| self.user.map_or(0, read);
        let movie = |read: fn(&Movie) -> u64| self.movie.map_or(0, read);
        match attribute {
            Attribute::User => self.user_id,
            Attribute::Item => self.item_id,
            Attribute::Timestamp => bucket((self.time - first_time) as f64) as u64,
            Attribute::Gender => user(|user| user.gender),
            Attribute::Age => user(|user| user.age),
            Attribute::Occupation => user(|user| user.occupation),
            Attribute::Zip => user(|user| user.zip),
            Attribute::Year => movie(|movie| movie.year),
            Attribute::Genres | Attribute::GenreBag => movie(|movie| movie.genres),
        }
    }
}

/// What `table` says of an id; nothing when the recipe does not name the table.
fn join<'t, T>(
    table: Option<&'t Table<T>>,
    id: u64,
    place: Place<'_>,
    column: usize,
) -> Result<Option<&'t T>, DataError> {
    let Some(table) = table else {
        return Ok(None);
    };
    let row = table.rows.get(&id).ok_or_else(|| DataError::NotDescribed {
        path: place.path.to_owned(),
        line: place.line,
        column: column + 1,
        name: NAMES[column],
        table: table.path.clone(),
        found: id.to_string(),
    })?;
    Ok(Some(row))
}
