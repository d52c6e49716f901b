//! The fields, files and label of MovieLens.

use super::parse::{Layout, Source};
use super::raw::{RawField, RawKind, RawLabel, RawPositive, RawRecipe};
use super::{
    Attribute, Column, Edition, FieldColumn, FieldKind, Format, NamedFile, OnMissing, RatingRule,
    inputs,
};
use crate::DataError;

/// The names of fields.
const FIELDS: [(&str, Attribute); 9] = [
    ("user", Attribute::User),
    ("item", Attribute::Item),
    ("timestamp", Attribute::Timestamp),
    ("gender", Attribute::Gender),
    ("age", Attribute::Age),
    ("occupation", Attribute::Occupation),
    ("zip", Attribute::Zip),
    ("year", Attribute::Year),
    ("genres", Attribute::Genres),
];

/// Columns of a line of ratings: user, item, rating and the time, which may be missing.
const N_COLUMNS: usize = 4;

/// The fields of an edition that a recipe chooses.
pub fn layout(source: &Source<'_>, raw: &RawRecipe, edition: Edition) -> Result<Layout, DataError> {
    let format = match edition {
        Edition::OneMillion => "movielens-1m",
        Edition::HundredThousand => "movielens-100k",
    };
    source.allow(
        raw,
        format,
        &["label.positive", "label.drop", "fields.kind"],
    )?;
    let files = files(source, raw)?;
    Ok(Layout {
        format: Format::MovieLens(edition, rating_rule(source, &raw.label)?),
        n_columns: N_COLUMNS,
        label: Column {
            name: raw.label.name.clone().unwrap_or_else(|| "rating".into()),
            index: 2,
        },
        dense: Vec::new(),
        fields: fields(source, &raw.fields, &files)?,
        files,
    })
}

/// The ratings, and the users and movies where the recipe names them.
fn files(source: &Source<'_>, raw: &RawRecipe) -> Result<Vec<NamedFile>, DataError> {
    let needed = || "[files] with `ratings`, for example ratings = [\"ratings.dat\"]".to_owned();
    let spanned = raw
        .files
        .as_ref()
        .ok_or_else(|| source.error(None, format!("expected {}", needed())))?;
    let files = spanned.get_ref();
    let error = |message| Err(source.error(Some(spanned.span()), message));
    let parts = [&files.train, &files.validation, &files.test];
    if parts.iter().any(|names| names.is_some()) {
        return error("`train`, `validation` and `test` do not belong to MovieLens".into());
    }
    let Some(ratings) = inputs::named(source, "ratings", files.ratings.as_ref())? else {
        return error(format!("expected {}", needed()));
    };
    let users = inputs::named(source, "users", files.users.as_ref())?;
    let movies = inputs::named(source, "movies", files.movies.as_ref())?;
    Ok([Some(ratings), users, movies]
        .into_iter()
        .flatten()
        .collect())
}

fn rating_rule(source: &Source<'_>, label: &RawLabel) -> Result<RatingRule, DataError> {
    let positive = label.positive.as_ref();
    let error = |span, message: &str| Err(source.error(span, message.to_owned()));
    let Some(spanned) = positive else {
        return error(
            None,
            "expected `positive` under [label]: the lowest rating with label 1",
        );
    };
    let positive = match *spanned.get_ref() {
        RawPositive::Rating(positive @ 2..=5) => positive,
        _ => return error(Some(spanned.span()), "expected `positive` from 2 to 5"),
    };
    let Some(drop) = label.drop.as_ref() else {
        let drop = Vec::new();
        return Ok(RatingRule { positive, drop });
    };
    if !drop.get_ref().iter().all(|rating| (1..=5).contains(rating)) {
        return error(Some(drop.span()), "expected ratings from 1 to 5 in `drop`");
    }
    let drop = drop.get_ref().clone();
    Ok(RatingRule { positive, drop })
}

fn fields(
    source: &Source<'_>,
    raw: &[RawField],
    files: &[NamedFile],
) -> Result<Vec<FieldColumn>, DataError> {
    let mut all: Vec<FieldColumn> = Vec::new();
    for group in raw {
        let error = |message| source.error(Some(group.names.span()), message);
        for name in source.names(&group.names)? {
            let field = field(name, group, files).map_err(error)?;
            if all
                .iter()
                .any(|other| other.column.name == field.column.name)
            {
                let message = format!("the name `{}` is used twice", field.column.name);
                return Err(error(message));
            }
            all.push(field);
        }
    }
    Ok(all)
}

fn field(name: String, group: &RawField, files: &[NamedFile]) -> Result<FieldColumn, String> {
    let found = FIELDS.iter().position(|(known, _)| *known == name);
    let index = found.ok_or_else(|| {
        let known = FIELDS.map(|(known, _)| known).join(", ");
        format!("unknown field `{name}`, expected one of {known}")
    })?;
    let kind = group.kind.as_ref().map(|kind| *kind.get_ref());
    let attribute = match (FIELDS[index].1, kind) {
        (attribute, None) => attribute,
        (Attribute::Genres, Some(RawKind::Bag)) => Attribute::GenreBag,
        _ => return Err("only `genres` takes a `kind`, which is \"bag\"".into()),
    };
    let needed = match attribute {
        Attribute::User | Attribute::Item | Attribute::Timestamp => "ratings",
        Attribute::Year | Attribute::Genres | Attribute::GenreBag => "movies",
        _ => "users",
    };
    if !files.iter().any(|file| file.role == needed) {
        return Err(format!("`{name}` needs `{needed}` under [files]"));
    }
    let kind = FieldKind::Attribute(attribute);
    let column = Column { name, index };
    Ok(FieldColumn {
        column,
        kind,
        missing: OnMissing::Refuse,
    })
}
