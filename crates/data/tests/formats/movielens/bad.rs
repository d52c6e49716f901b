//! Bad lines, bad users, bad movies and bad recipes are named.

use super::{fields, files, ratings, recipe};
use crate::folder::{prepare_folder, refused};

#[test]
fn bad_ratings_are_named() {
    let cases = [
        (
            "1::10",
            "ratings.dat:2: expected 4 columns, found 2; column 3 (`rating`) is missing",
        ),
        (
            "1::10::5",
            "expected 4 columns, found 3; column 4 (`timestamp`) is missing",
        ),
        (
            "1::10::5::7::8",
            "ratings.dat:2: expected 4 columns, found 5",
        ),
        (
            "x::10::5::7",
            "ratings.dat:2: column 1 (`user`): expected a user's id",
        ),
        (
            "1::1:0::5::7",
            "column 2 (`item`): expected a movie's id, a whole number, found `1:0`",
        ),
        (
            "1::10::6::7",
            "column 3 (`rating`): expected a whole rating from 1 to 5, found `6`",
        ),
        (
            "1::10::0::7",
            "column 3 (`rating`): expected a whole rating from 1 to 5, found `0`",
        ),
        (
            "1::10::5::-7",
            "column 4 (`timestamp`): expected whole seconds since 1970, found `-7`",
        ),
        (
            "3::10::5::7",
            "ratings.dat:2: column 1 (`user`): expected an id that ",
        ),
        ("1::99::5::7", "movies.dat describes, found `99`"),
    ];
    for (line, expected) in cases {
        let ratings = ratings(true, "::");
        let (first, rest) = ratings.split_once('\n').unwrap();
        let text = format!("{first}\n{line}\n{rest}");
        let recipe = recipe(&fields("user, item"), "positive = 4", "random");
        refused(&recipe, &files(&text), 0, &[expected]);
        let prepared = prepare_folder(&recipe, &files(&text), 1).unwrap();
        assert_eq!(
            (prepared.report.meta.n_bad_rows, prepared.totals().0),
            (1, 60)
        );
        assert!(prepared.report.bad_row_examples[0].contains(expected));
    }
}

#[test]
fn bad_users_and_movies_are_named_and_counted() {
    let cases: [(usize, &[u8], &str); 8] = [
        (
            1,
            b"3::F::1::10",
            "users.dat:3: expected 5 columns, found 4; column 5 (`zip`) is missing",
        ),
        (
            1,
            b"1::F::1::10::48067",
            "users.dat:3: column 1 (`user`): expected an id that no line",
        ),
        (
            1,
            b"3::X::1::10::48067",
            "users.dat:3: column 2 (`gender`): expected F or M, found `X`",
        ),
        (
            1,
            b"3::F::1::10::4 8",
            "column 5 (`zip`): expected a postal code",
        ),
        (
            2,
            b"13::Brave\xe9::Drama",
            "movies.dat:4: column 2 (`title`): expected a title that ends",
        ),
        (2, b"13::\xe9toile::Drama", "(1995), found `\u{e9}toile`"),
        (
            2,
            b"13::Brave (1996)::Dramatic",
            "column 3 (`genres`): expected different genres",
        ),
        (
            2,
            b"x::Brave (1996)::Drama",
            "movies.dat:4: column 1 (`item`): expected an id",
        ),
    ];
    let recipe = recipe(&fields("user, item"), "positive = 4", "random");
    for (file, line, expected) in cases {
        let mut files = files(&ratings(false, "::"));
        files[file].1.extend_from_slice(line);
        refused(&recipe, &files, 0, &[expected]);
        let prepared = prepare_folder(&recipe, &files, 1).unwrap();
        assert_eq!(prepared.report.meta.n_bad_rows, 1);
    }
}

#[test]
fn times_that_are_not_there_are_asked_for() {
    let lacking = [
        "ratings.dat:1: expected 4 columns, found 3",
        "(`timestamp`) is missing, which",
    ];
    let files = files(&ratings(false, "::"));
    refused(
        &recipe(&fields("timestamp"), "positive = 4", "random"),
        &files,
        0,
        &lacking,
    );
    refused(
        &recipe(&fields("item"), "positive = 4", "time"),
        &files,
        0,
        &lacking,
    );
}

#[test]
fn mistakes_in_recipes_are_named() {
    let good = recipe(&fields("user, genres"), "positive = 4", "random");
    let order = "kind = \"file-order\"\norder = [\"train\", \"validation\", \"test\"]";
    let cases = [
        (
            "user, genres",
            "user, genre",
            "unknown field `genre`, expected one of user, item",
        ),
        (
            "user, genres",
            "user, user",
            "the name `user` is used twice",
        ),
        (
            "genres\"",
            "genres\"\nkind = \"bag\"",
            "only `genres` takes a `kind`",
        ),
        (
            "movies = [\"movies.dat\"]",
            "",
            "`genres` needs `movies` under [files]",
        ),
        (
            "ratings = [\"ratings.dat\"]",
            "",
            "expected [files] with `ratings`",
        ),
        ("positive = 4", "", "expected `positive` under [label]"),
        (
            "positive = 4",
            "positive = 6",
            "expected `positive` from 2 to 5",
        ),
        (
            "positive = 4",
            "positive = 4\ndrop = [0]",
            "expected ratings from 1 to 5 in `drop`",
        ),
        ("kind = \"random\"", order, "the files are sorted by user"),
        (
            "[label]",
            "[label]\ncolumn = 3",
            "`column` does not belong to format = \"movielens-1m\"",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(good.contains(from), "{from}");
        refused(
            &good.replacen(from, to, 1),
            &[],
            0,
            &["toy.toml:", expected],
        );
    }
}
