//! The two specifications that come with the crate.

use super::{Strengths, SynthField, SynthSpec};

/// Cardinality, Zipf exponent, share of the field effects and rate of empty cells of C1 to C26.
///
/// The cardinalities are those of Criteo-Kaggle, kept up to 1000 and above that scaled to
/// about `1000 (c / 1000)^0.36`; the exponents are chosen so that 2 million rows teach most of the mass;
/// the rates of empty cells are rounded from the same data. Three fields
/// carry no effect of their own, as in real data some columns are idle.
const CRITEO: [(u32, f64, f64, f64); 26] = [
    (1_100, 1.25, 1.0, 0.0),
    (583, 1.15, 1.0, 0.0),
    (28_000, 1.30, 1.5, 0.03),
    (16_000, 1.30, 1.0, 0.03),
    (305, 1.40, 0.5, 0.0),
    (24, 1.30, 0.5, 0.12),
    (2_500, 1.25, 1.5, 0.0),
    (633, 1.50, 0.5, 0.0),
    (3, 1.50, 0.5, 0.0),
    (5_100, 1.30, 1.0, 0.0),
    (1_900, 1.25, 1.5, 0.0),
    (26_000, 1.30, 1.0, 0.03),
    (1_500, 1.25, 1.0, 0.0),
    (27, 1.20, 1.0, 0.0),
    (2_700, 1.25, 1.0, 0.0),
    (22_000, 1.30, 1.0, 0.03),
    (10, 1.20, 1.0, 0.0),
    (1_900, 1.25, 1.0, 0.0),
    (1_300, 1.25, 0.0, 0.44),
    (4, 1.15, 0.0, 0.44),
    (24_000, 1.30, 1.0, 0.03),
    (18, 1.40, 0.0, 0.76),
    (15, 1.20, 1.0, 0.0),
    (7_700, 1.30, 1.0, 0.03),
    (105, 1.30, 0.5, 0.44),
    (6_000, 1.30, 1.0, 0.44),
];

const SMALL: [(u32, f64, f64, f64); 6] = [
    (500, 1.10, 1.0, 0.0),
    (300, 1.20, 1.0, 0.05),
    (200, 1.05, 1.0, 0.0),
    (50, 1.20, 1.0, 0.0),
    (10, 1.10, 1.0, 0.1),
    (3, 1.50, 1.0, 0.0),
];

impl SynthSpec {
    /// A scaled-down Criteo-Kaggle: 13 dense columns, 26 fields, 149 427 ids, a quarter of the
    /// labels 1.
    pub fn criteo_like() -> Self {
        Self {
            n_dense: 13,
            dense_missing: 0.15,
            fields: fields(&CRITEO),
            base_rate: 0.25,
            strengths: Strengths {
                fields: 1.14,
                dense: 0.45,
                field_pairs: 0.65,
                dense_field_pairs: 0.2,
            },
            latent_dim: 2,
            field_pairs: vec![[5, 13], [16, 22], [2, 8], [4, 14]],
            dense_field_pairs: vec![[0, 5], [2, 8]],
            rare_mass: 2e-3,
        }
    }

    /// 4 dense columns, 6 fields and 1063 ids: what a test learns in seconds.
    pub fn small() -> Self {
        Self {
            n_dense: 4,
            dense_missing: 0.1,
            fields: fields(&SMALL),
            field_pairs: vec![[0, 4], [1, 3], [2, 5]],
            dense_field_pairs: vec![[0, 0], [1, 3]],
            rare_mass: 1e-3,
            ..Self::criteo_like()
        }
    }
}

fn fields(columns: &[(u32, f64, f64, f64)]) -> Vec<SynthField> {
    let field = |(i, &(cardinality, zipf, weight, missing))| SynthField {
        name: format!("C{}", i + 1),
        cardinality,
        zipf,
        weight,
        missing,
    };
    columns.iter().enumerate().map(field).collect()
}
