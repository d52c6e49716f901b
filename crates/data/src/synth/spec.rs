//! What to generate: the columns and how strongly each kind of effect moves the label.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::SynthError;

const MAX_CARDINALITY: u32 = 1 << 24;
const MAX_DENSE: usize = 1024;
const MAX_LATENT_DIM: usize = 64;

/// One categorical field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthField {
    /// Unique name; effects and tokens are drawn from streams of this name.
    pub name: String,
    /// Number of ids, 1 to 2^24, without the empty cell.
    pub cardinality: u32,
    /// Zipf exponent, 0 (uniform) to 8.
    pub zipf: f64,
    /// Share of the variance of the field effects, relative to the other fields.
    #[serde(default = "one")]
    pub weight: f64,
    /// Probability of an empty cell, 0 to below 1.
    #[serde(default)]
    pub missing: f64,
}

fn one() -> f64 {
    1.0
}

/// Standard deviation in logits of each kind of effect; 0 turns it off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strengths {
    /// Sum of the effects of single ids.
    pub fields: f64,
    /// Sum of the functions of single dense columns.
    pub dense: f64,
    /// Sum of the interactions of two fields.
    pub field_pairs: f64,
    /// Sum of the interactions of a dense column and a field.
    pub dense_field_pairs: f64,
}

/// A synthetic data set; the module page states the formulas.
///
/// Parameters left out of a file keep the values of [`SynthSpec::criteo_like`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SynthSpec {
    /// Number of dense integer columns.
    pub n_dense: usize,
    /// Probability of an empty dense cell, 0 to below 1.
    pub dense_missing: f64,
    /// The categorical fields in the order of their columns.
    pub fields: Vec<SynthField>,
    /// Probability of label 1 over all rows, 0.001 to 0.999.
    pub base_rate: f64,
    /// How strong each kind of effect is.
    pub strengths: Strengths,
    /// Length of the hidden vector of an id, 1 to 64.
    pub latent_dim: usize,
    /// Pairs of distinct fields that interact, by position in `fields`.
    pub field_pairs: Vec<[usize; 2]>,
    /// Pairs (dense column, field) that interact.
    pub dense_field_pairs: Vec<[usize; 2]>,
    /// Probability at which the effect of an id is halved; 0 leaves rare ids at full strength.
    pub rare_mass: f64,
}

impl Default for SynthSpec {
    fn default() -> Self {
        Self::criteo_like()
    }
}

impl SynthSpec {
    /// Number of ids over all fields, empty cells not counted.
    pub fn n_ids(&self) -> u64 {
        self.fields.iter().map(|f| u64::from(f.cardinality)).sum()
    }

    /// Checks every parameter.
    ///
    /// # Errors
    /// Names the first parameter outside its range, its value and the range.
    pub fn validate(&self) -> Result<(), SynthError> {
        if self.n_dense == 0 && self.fields.is_empty() {
            return Err(SynthError::NoColumns);
        }
        self.check_scalars()?;
        self.check_strengths()?;
        let mut names = HashSet::new();
        for (index, field) in self.fields.iter().enumerate() {
            check_name(index, &field.name, names.insert(&field.name))?;
            check_field(index, field)?;
        }
        let n_fields = self.fields.len();
        check_pairs("field_pairs", &self.field_pairs, [n_fields, n_fields])?;
        check_distinct(&self.field_pairs)?;
        let limits = [self.n_dense, n_fields];
        check_pairs("dense_field_pairs", &self.dense_field_pairs, limits)
    }

    fn check_scalars(&self) -> Result<(), SynthError> {
        check("n_dense", self.n_dense as f64, "0 to 1024", || {
            self.n_dense <= MAX_DENSE
        })?;
        let rate = self.dense_missing;
        check("dense_missing", rate, "0 <= rate < 1", || {
            (0.0..1.0).contains(&rate)
        })?;
        let rate = self.base_rate;
        check("base_rate", rate, "0.001 to 0.999", || {
            (0.001..=0.999).contains(&rate)
        })?;
        let dim = self.latent_dim;
        check("latent_dim", dim as f64, "1 to 64", || {
            (1..=MAX_LATENT_DIM).contains(&dim)
        })?;
        let mass = self.rare_mass;
        check("rare_mass", mass, "0 to 1", || (0.0..=1.0).contains(&mass))
    }

    fn check_strengths(&self) -> Result<(), SynthError> {
        let s = self.strengths;
        let named = [
            ("strengths.fields", s.fields),
            ("strengths.dense", s.dense),
            ("strengths.field_pairs", s.field_pairs),
            ("strengths.dense_field_pairs", s.dense_field_pairs),
        ];
        named.into_iter().try_for_each(|(name, value)| {
            check(name, value, "0 to 10 logits", || {
                (0.0..=10.0).contains(&value)
            })
        })
    }
}

fn check(
    parameter: &str,
    found: f64,
    expected: &'static str,
    holds: impl FnOnce() -> bool,
) -> Result<(), SynthError> {
    if holds() {
        return Ok(());
    }
    Err(SynthError::OutOfRange {
        parameter: parameter.to_owned(),
        found,
        expected,
    })
}

fn check_field(index: usize, field: &SynthField) -> Result<(), SynthError> {
    let at = |name: &str| format!("fields[{index}].{name} ({:?})", field.name);
    let n = field.cardinality;
    check(&at("cardinality"), f64::from(n), "1 to 2^24", || {
        (1..=MAX_CARDINALITY).contains(&n)
    })?;
    let s = field.zipf;
    check(&at("zipf"), s, "0 to 8", || (0.0..=8.0).contains(&s))?;
    let weight = field.weight;
    check(&at("weight"), weight, "0 to 1e6", || {
        (0.0..=1e6).contains(&weight)
    })?;
    let rate = field.missing;
    check(&at("missing"), rate, "0 <= rate < 1", || {
        (0.0..1.0).contains(&rate)
    })
}

fn check_name(index: usize, name: &str, is_new: bool) -> Result<(), SynthError> {
    let usable = !name.is_empty() && !name.chars().any(char::is_control);
    let expected = match (usable, is_new) {
        (true, true) => return Ok(()),
        (false, _) => "a name without control characters",
        (true, false) => "a name no other field has",
    };
    Err(SynthError::FieldName {
        index,
        name: name.to_owned(),
        expected,
    })
}

fn check_pairs(
    list: &'static str,
    pairs: &[[usize; 2]],
    limits: [usize; 2],
) -> Result<(), SynthError> {
    let mut seen = HashSet::new();
    for (index, &pair) in pairs.iter().enumerate() {
        let expected = if pair[0] >= limits[0] || pair[1] >= limits[1] {
            "positions of existing columns"
        } else if !seen.insert(pair) {
            "a pair not listed before"
        } else {
            continue;
        };
        return Err(SynthError::Pair {
            list,
            index,
            pair,
            expected,
        });
    }
    Ok(())
}

/// A field does not interact with itself, and `[a, b]` is the same interaction as `[b, a]`.
fn check_distinct(pairs: &[[usize; 2]]) -> Result<(), SynthError> {
    let all: HashSet<_> = pairs.iter().collect();
    let bad = |pair: &[usize; 2]| pair[0] == pair[1] || all.contains(&[pair[1], pair[0]]);
    match pairs.iter().position(bad) {
        None => Ok(()),
        Some(index) => Err(SynthError::Pair {
            list: "field_pairs",
            index,
            pair: pairs[index],
            expected: "two distinct fields, in one order only",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: impl FnOnce(&mut SynthSpec)) -> String {
        let mut spec = SynthSpec::small();
        change(&mut spec);
        spec.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_profiles_are_valid() {
        SynthSpec::small().validate().unwrap();
        SynthSpec::criteo_like().validate().unwrap();
    }

    #[test]
    fn errors_name_the_parameter_and_its_range() {
        let case = message(|s| s.base_rate = 1.5);
        assert_eq!(case, "base_rate is 1.5, expected 0.001 to 0.999");
        let case = message(|s| s.fields[2].cardinality = 0);
        assert_eq!(
            case,
            "fields[2].cardinality (\"C3\") is 0, expected 1 to 2^24"
        );
        let case = message(|s| s.fields[1].name = "C1".into());
        assert_eq!(
            case,
            "fields[1].name is \"C1\", expected a name no other field has"
        );
        let case = message(|s| s.field_pairs = vec![[0, 1], [0, 99]]);
        assert_eq!(
            case,
            "field_pairs[1] is [0, 99], expected positions of existing columns"
        );
    }

    #[test]
    fn every_bad_parameter_is_refused() {
        let changes: [fn(&mut SynthSpec); 17] = [
            |s| (s.n_dense, s.fields) = (0, vec![]),
            |s| s.n_dense = 2000,
            |s| s.dense_missing = 1.0,
            |s| s.base_rate = f64::NAN,
            |s| s.latent_dim = 0,
            |s| s.latent_dim = 65,
            |s| s.rare_mass = -1e-9,
            |s| s.strengths.dense = f64::INFINITY,
            |s| s.strengths.field_pairs = -1.0,
            |s| s.fields[0].zipf = f64::NAN,
            |s| s.fields[0].missing = 1.0,
            |s| s.fields[0].weight = -1.0,
            |s| s.fields[0].name = "a\tb".into(),
            |s| s.fields[0].cardinality = (1 << 24) + 1,
            |s| s.field_pairs = vec![[3, 3]],
            |s| s.field_pairs = vec![[0, 1], [1, 0]],
            |s| s.dense_field_pairs = vec![[s.n_dense, 0]],
        ];
        for change in changes {
            message(change);
        }
    }

    #[test]
    fn a_specification_survives_json() {
        let spec = SynthSpec::criteo_like();
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<SynthSpec>(&text).unwrap(), spec);
        assert!(serde_json::from_str::<SynthSpec>(r#"{"base_rat": 0.1}"#).is_err());
        let partial: SynthSpec = serde_json::from_str(r#"{"base_rate": 0.1}"#).unwrap();
        assert_eq!(partial.fields, spec.fields);
    }
}
