//! Scores as integers in the same order.

const SIGN: u32 = 1 << 31;

/// The integer that stands where `score` stands among all numbers.
///
/// IEEE 754 orders positive numbers as their bits; negative ones the other way round. So negative
/// numbers have all bits flipped, the others the sign bit. `-0.0 + 0.0` is `+0.0`, which makes the two
/// zeros one key. NaN has no place and is refused before.
pub(crate) fn key_of(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits();
    // All ones for a negative number, all zeros otherwise.
    let negative = ((bits as i32) >> 31) as u32;
    bits ^ (negative | SIGN)
}

/// The score of a key.
pub(crate) fn score_of(key: u32) -> f32 {
    let negative = ((!key as i32) >> 31) as u32;
    f32::from_bits(key ^ (negative | SIGN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_order_and_give_the_score_back() {
        let scores = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -f32::MIN_POSITIVE,
            -1e-45,
            0.0,
            1e-45,
            f32::MIN_POSITIVE,
            1.0,
            f32::MAX,
            f32::INFINITY,
        ];
        let keys = scores.map(key_of);
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        assert_eq!(keys.map(score_of), scores);
    }

    #[test]
    fn the_two_zeros_are_one_key() {
        assert_eq!(key_of(-0.0), key_of(0.0));
    }
}
