//! What can go wrong with data, and where.

use std::io;
use std::path::PathBuf;

use slimbed_files::FileError;

/// Errors of `slimbed-data`; each names the file, and the line and column where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// Reading or decompressing stopped in the middle.
    #[error("{}:{line}: cannot read on: {source}; expected a whole, undamaged file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The line that was being read, from 1.
        line: u64,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file holds no line.
    #[error("{}:1: expected at least one line, found an empty file", path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// A line has too few or too many columns.
    #[error("{}:{line}: expected {expected} columns, found {found}{missing}", path.display())]
    ColumnCount {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Columns of the recipe.
        expected: usize,
        /// Columns of the line.
        found: usize,
        /// The first column that is not there.
        missing: String,
    },
    /// A cell does not hold what its column should.
    #[error(
        "{}:{line}: column {column} (`{name}`): expected {expected}, found `{found}`",
        path.display()
    )]
    Cell {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: usize,
        /// Name of the column in the recipe or in the header, and of what is made of it where that is called
        /// otherwise.
        name: String,
        /// What has to be there.
        expected: &'static str,
        /// What is there, shortened.
        found: String,
    },
    /// A line lacks a feature of a field that needs one.
    #[error(
        "{}:{line}: field `{field}`: expected a feature of it (`missing = \"category\"` in the recipe makes a \
         category of none), found none among {n_features} features",
        path.display()
    )]
    NoFeature {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The field.
        field: String,
        /// Features of the line.
        n_features: usize,
    },
    /// A name in a header is not one that the recipe and the names before allow.
    #[error(
        "{}:{line}: column {column} of the header: expected {expected}, found `{name}`",
        path.display()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: usize,
        /// What has to be there.
        expected: String,
        /// The name, shortened.
        name: String,
    },
    /// A header lacks a column of the recipe.
    #[error(
        "{}:1: expected a column `{column}` for `{used_for}` in the header, found none in {n_columns} \
         columns{nearest}",
        path.display()
    )]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The name that the recipe gives.
        column: String,
        /// What is made of the column.
        used_for: String,
        /// Columns of the header.
        n_columns: usize,
        /// The name most like it.
        nearest: String,
    },
    /// A row names something that another file has to describe.
    #[error(
        "{}:{line}: column {column} (`{name}`): expected an id that {} describes, found `{found}`",
        path.display(), table.display()
    )]
    NotDescribed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: usize,
        /// Name of the column.
        name: &'static str,
        /// The file that has to describe it.
        table: PathBuf,
        /// The id.
        found: String,
    },
    /// The recipe names files, so the input has to be their folder.
    #[error("expected one folder as input, which holds {names}; found {found}")]
    NoFolder {
        /// The files of the recipe.
        names: String,
        /// The input.
        found: String,
    },
    /// A folder lacks a file of the recipe.
    #[error("{}: expected {names} as `{role}` (plain, .gz or .zst), found none", folder.display())]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// What the file holds.
        role: &'static str,
        /// The names that were looked for.
        names: String,
    },
    /// More bad rows than allowed.
    #[error("more than {limit} bad rows; the last: {last}")]
    TooManyBadRows {
        /// Rows that were allowed to be bad.
        limit: u64,
        /// The row beyond the limit.
        #[source]
        last: Box<DataError>,
    },
    /// A split lacks a class, so nothing can be learnt from it or measured on it.
    #[error(
        "{files}: column {column} (`{name}`): expected labels 0 and 1 in the {split} split, found only \
         {label} in its {n_rows} rows"
    )]
    OneClass {
        /// The input files.
        files: String,
        /// The label's column, from 1.
        column: usize,
        /// The label's name.
        name: String,
        /// The split.
        split: &'static str,
        /// The class that is there.
        label: u8,
        /// Rows of the split.
        n_rows: u64,
    },
    /// A split would have no row.
    #[error(
        "{files}: expected rows in every split, found none for the {split} split in {n_rows} rows"
    )]
    EmptySplit {
        /// The input files.
        files: String,
        /// The split.
        split: &'static str,
        /// Rows of all splits.
        n_rows: u64,
    },
    /// A field has more ids than a `u32` can number.
    #[error("field `{field}`: expected at most {limit} ids, found {found}")]
    TooManyIds {
        /// The field.
        field: String,
        /// Ids that can be numbered.
        limit: u64,
        /// Ids found.
        found: u64,
    },
    /// A recipe is wrong.
    #[error("{}:{line}: {message}", path.display())]
    Recipe {
        /// The recipe.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A file of a prepared data set is damaged or of another version.
    #[error("{}: {what}: expected {expected}, found {found}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The part concerned.
        what: String,
        /// What has to be there.
        expected: String,
        /// What is there.
        found: String,
    },
}
