//! What can go wrong while generating.

/// An error of the synthetic generator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// A number of the specification is outside its range.
    #[error("{parameter} is {found}, expected {expected}")]
    OutOfRange {
        /// Path of the number inside the specification.
        parameter: String,
        /// The value given.
        found: f64,
        /// The range in words.
        expected: &'static str,
    },
    /// The name of a field cannot be used.
    #[error("fields[{index}].name is {name:?}, expected {expected}")]
    FieldName {
        /// Position of the field.
        index: usize,
        /// The name given.
        name: String,
        /// What a name has to be.
        expected: &'static str,
    },
    /// An interaction names columns that do not exist or names them twice.
    #[error("{list}[{index}] is {pair:?}, expected {expected}")]
    Pair {
        /// Which list of the specification.
        list: &'static str,
        /// Position in the list.
        index: usize,
        /// The pair given.
        pair: [usize; 2],
        /// What a pair has to be.
        expected: &'static str,
    },
    /// The specification has no column besides the label.
    #[error("n_dense is 0 and fields is empty, expected at least one column")]
    NoColumns,
    /// The output did not take the rows.
    #[error("cannot write the rows from row {row}")]
    Write {
        /// First row of the block that failed.
        row: u64,
        /// The reason given by the output.
        #[source]
        source: std::io::Error,
    },
}
