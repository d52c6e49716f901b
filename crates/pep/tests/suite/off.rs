//! Thresholds of exactly 0: the plain layer.

use slimbed_embedding::{PlainEmbedding, SparseRule};
use slimbed_pep::{PepEmbedding, PepSettings};

use super::cases::{ALL, Saved, row_bits, rows, train};

#[test]
fn a_start_of_minus_150_is_bit_equal_to_the_plain_layer() {
    let rules = [
        SparseRule::Sgd,
        SparseRule::ROW_WISE_ADAGRAD,
        SparseRule::LAZY_ADAM,
    ];
    for granularity in ALL {
        for rule in rules {
            let settings = PepSettings {
                granularity,
                start: -150.0,
                ..PepSettings::default()
            };
            let mut plain = PlainEmbedding::of(rows(rule, 0.01));
            let mut pep = PepEmbedding::new(rows(rule, 0.01), &settings).unwrap();
            let expected = train(&mut plain, 0..20);
            assert_eq!(train(&mut pep, 0..20), expected, "{granularity:?} {rule:?}");
            assert_eq!(row_bits(&mut pep), row_bits(&mut plain));
        }
    }
}

#[test]
fn a_threshold_that_underflows_gets_no_gradient() {
    let settings = PepSettings {
        start: -150.0,
        threshold_weight_decay: 0.0,
        threshold_lr: 1e3,
        ..PepSettings::default()
    };
    for granularity in ALL {
        let settings = PepSettings {
            granularity,
            ..settings
        };
        let mut pep = PepEmbedding::new(rows(SparseRule::Sgd, 0.0), &settings).unwrap();
        let before = Saved::of(&pep);
        train(&mut pep, 0..3);
        let after = Saved::of(&pep);
        for (before, after) in before.0.iter().zip(&after.0) {
            let is_logit = before.0.contains("threshold") && !before.0.ends_with("last");
            if is_logit && !before.0.ends_with("steps") {
                assert_eq!(before.3, after.3, "{granularity:?} {}", before.0);
            }
        }
    }
}
