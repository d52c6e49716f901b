//! Checks of single settings.

use crate::TrainError;

/// Expects a setting of 1 or more.
pub fn at_least_one(key: &str, value: usize) -> Result<(), TrainError> {
    check(key, value, value > 0, "at least 1")
}

/// Expects that a setting holds; `expected` says what it should have been.
pub fn check(
    key: &str,
    value: impl std::fmt::Display,
    holds: bool,
    expected: &str,
) -> Result<(), TrainError> {
    if holds {
        return Ok(());
    }
    Err(TrainError::Setting {
        key: key.to_owned(),
        expected: expected.to_owned(),
        found: value.to_string(),
        hint: String::new(),
    })
}
