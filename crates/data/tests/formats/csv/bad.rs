//! Tables and recipes that are wrong.

use slimbed_data::{DataError, Recipe, RowReader};

use super::{OTHER, RECIPE, TRAIN, files, open_recipe};
use crate::folder::{Prepared, prepare_folder, refused, written};

#[test]
fn bad_rows_are_named_counted_and_skipped_up_to_the_limit() {
    let cases = [
        (
            "x,14102100,10,a,P,5,6",
            "validation.csv:3: expected 6 columns, found 7",
        ),
        (
            "x,14102100,10,a,P",
            "validation.csv:3: expected 6 columns, found 5; column 6 (`rating`) is missing",
        ),
        (
            "",
            "validation.csv:3: expected 6 columns, found 1; column 2 (`time`) is missing",
        ),
        (
            "x,14102100,ten,a,P,5",
            "validation.csv:3: column 3 (`price`): expected a number, found `ten`",
        ),
        (
            "x,14102124,10,a,P,5",
            "column 2 (`time`, for `hour`): expected a time of the form YYMMDDHH, for example \
             14102100, found `14102124`",
        ),
        (
            "x,,10,a,P,5",
            "column 2 (`time`, for `hour`): expected a category (`missing = \"category\"`",
        ),
        (
            "x,14102100,10,a||b,P,5",
            "column 4 (`genres`): expected a category between any two separators, found `a||b`",
        ),
        (
            "x,14102100,10,a,P,good",
            "column 6 (`rating`): expected a number, which the label is made of, found `good`",
        ),
        (
            "x,14102100,10,a,P,",
            "column 6 (`rating`): expected a number, which",
        ),
        (
            "x,14102100,10,a,\"P\"q,5",
            "validation.csv:3: column 5 (`city`): expected a separator or line end behind the closing \
             quote, found `P`",
        ),
        (
            "x,14102100,10,a,P\"q,5",
            "column 5 (`city`): expected no quote within a cell that does not begin with one",
        ),
    ];
    let (first, rest) = OTHER.split_once('\n').unwrap();
    for (line, expected) in cases {
        let files = files(TRAIN, &format!("{first}\n{line}\n{rest}"), OTHER);
        refused(RECIPE, &files, 0, &[expected]);
        let prepared = prepare_folder(RECIPE, &files, 1).unwrap();
        let meta = &prepared.report.meta;
        assert_eq!((meta.n_bad_rows, prepared.n_rows()), (1, [4, 2, 2]));
        assert!(prepared.report.bad_row_examples[0].contains(expected));
    }
}

#[test]
fn all_lines_of_a_bad_row_count() {
    // The quote before `P` hides a row, and closes in the third line.
    let hiding = "x,14102100,10,a,\"P,5\nx,14102100,10,a,P,5\nx,14102100,10,a,\"P\",5\n";
    let with = files(TRAIN, &[hiding, OTHER].concat(), OTHER);
    let place = "validation.csv:2: column 5 (`city`): expected a separator or line end behind";
    refused(RECIPE, &with, 0, &[place]);
    refused(
        RECIPE,
        &with,
        2,
        &["more than 2 bad rows; the last: ", place],
    );
    let prepared = prepare_folder(RECIPE, &with, 3).unwrap();
    assert_eq!(
        (prepared.report.meta.n_bad_rows, prepared.n_rows()),
        (3, [4, 2, 2])
    );
    // A quote that nothing closes takes all the rest.
    let rest = "x,14102100,10,\"a,P,5\n".to_owned() + &"x,14102100,10,a,P,5\n".repeat(4);
    let open = files(TRAIN, &[OTHER, &rest].concat(), OTHER);
    let place = "validation.csv:4: column 4 (`genres`): expected a closing quote before the end of the file";
    refused(RECIPE, &open, 4, &["more than 4 bad rows", place]);
    let prepared = prepare_folder(RECIPE, &open, 5).unwrap();
    assert_eq!(
        (prepared.report.meta.n_bad_rows, prepared.n_rows()),
        (5, [4, 2, 2])
    );
}

#[test]
fn the_place_of_a_cell_is_its_own_line() {
    let text = "\"x\ny\",14102100,10,a,P,bad\n";
    let files = files(TRAIN, &[OTHER, text].concat(), OTHER);
    refused(
        RECIPE,
        &files,
        0,
        &["validation.csv:5: column 6 (`rating`)"],
    );
}

#[test]
fn headers_are_checked_before_any_row() {
    let header = "comment,time,price,genres,city,rating";
    let cases = [
        (
            "comment,time,price,genres,city,price",
            "a.csv:1: column 6 of the header: expected a name that column 3 does not have, found `price`",
        ),
        (
            "comment,time,price,genres,town,rating",
            "a.csv:1: column 5 of the header: expected a column of the recipe (`ignore` in the recipe leaves \
             others out), found `town`",
        ),
        (
            "comment,price,genres,city,rating",
            "a.csv:1: expected a column `time` for `hour` in the header, found none in 5 columns",
        ),
        (
            "comment,time,price,genres,city,rating,ci\"ty",
            "a.csv:1: column 7 of the header: expected no quote within a cell",
        ),
        (
            "0,14102100,1,a,P,5",
            "a.csv:1: column 1 of the header: expected a column of the recipe",
        ),
        (
            "comment,time,price,genres,city,\"rat\ning\"",
            "a.csv:1: column 6 of the header: expected a column of the recipe",
        ),
    ];
    for (bad, expected) in cases {
        // No number of bad rows makes up for it.
        let (text, recipe) = (format!("{bad}\n{OTHER}"), open_recipe("kind = \"random\""));
        let recipe = Recipe::parse(&recipe, "toy.toml".as_ref()).unwrap();
        let good = format!("{header}\n{TRAIN}{OTHER}").into_bytes();
        let (_folder, mut paths) = written(&[("a.csv", text.into_bytes()), ("b.csv", good)]);
        for _ in 0..2 {
            let error = Prepared::new(&recipe, &paths, 1000)
                .err()
                .unwrap()
                .to_string();
            assert!(error.contains(expected), "`{expected}` is not in `{error}`");
            paths.reverse();
        }
    }
    let recipe = open_recipe("kind = \"random\"").replace("ignore = \"comment\"", "ignore = \"*\"");
    let recipe = Recipe::parse(&recipe, "toy.toml".as_ref()).unwrap();
    let text = format!("c,time,price,genres,citty,rating\n{OTHER}").into_bytes();
    let (_folder, paths) = written(&[("a.csv", text)]);
    let error = RowReader::open(&recipe, &paths, 0).and_then(|mut reader| reader.next_group());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("column `city` for `city`") && error.contains("the nearest is `citty`"));
}

#[test]
fn files_without_rows_are_refused() {
    let mut none = files(TRAIN, OTHER, OTHER);
    none[1].1.clear();
    refused(
        RECIPE,
        &none,
        0,
        &["validation.csv:1: expected at least one line"],
    );
    let header_only = files(TRAIN, "", OTHER);
    refused(
        RECIPE,
        &header_only,
        0,
        &["found none for the validation split"],
    );
    let (one, _) = OTHER.split_once('\n').unwrap();
    let error = prepare_folder(RECIPE, &files(TRAIN, one, OTHER), 0).err();
    let Some(DataError::OneClass { column, name, .. }) = error else {
        panic!("one class");
    };
    assert_eq!((column, &*name), (6, "rating"));
}

#[test]
fn mistakes_in_recipes_are_named() {
    let cases = [
        (
            "missing = -1",
            "missing = nan",
            "expected a number that 32 bits can hold as `missing`",
        ),
        (
            "column = \"rating\"",
            "column = 6",
            "expected the name of a column in the header",
        ),
        (
            "column = \"rating\"",
            "column = \"city\"",
            "the column `city` is that of the label",
        ),
        (
            "\"> 3\"",
            "\"3\"",
            "expected a bound like \"> 3\" or \">= 4\"",
        ),
        ("\"> 3\"", "[\"yes\"]", "lists of cells for both"),
        ("\"> 3\"", "true", "expected the lowest rating, a bound"),
        (
            "names = \"scaled\"",
            "names = \"price\"",
            "the name `price` is used twice",
        ),
        (
            "ignore = \"comment\"",
            "ignore = \"city\"",
            "`city` is both used and ignored",
        ),
        (
            "ignore = \"comment\"",
            "separator = \"||\"",
            "expected one ASCII character",
        ),
        (
            "ignore = \"comment\"",
            "separator = \"|\"",
            "expected another `separator` within a cell",
        ),
        (
            "ignore = \"comment\"",
            "n_columns = 6",
            "`n_columns` does not belong to format",
        ),
        (
            "names = \"genres\"\nkind = \"text\"",
            "names = \"genres\"\nkind = \"bag\"",
            "the kind of each",
        ),
        (
            "scale = \"min-max\"",
            "scale = \"minmax\"",
            "did you mean `min-max`?",
        ),
        ("\"hour, again\"", "\"hour\"", "2 columns but 1 names"),
        (
            "format = \"csv\"",
            "format = \"tsv\"",
            "`missing` does not belong to format = \"tsv\"",
        ),
    ];
    for (from, to, expected) in cases {
        assert!(RECIPE.contains(from), "{from}");
        refused(
            &RECIPE.replacen(from, to, 1),
            &[],
            0,
            &["toy.toml:", expected],
        );
    }
}
