//! The exponential function, with the same bits on every machine.
//!
//! Only sums, products and quotients, which the compiler turns into vectors; the system's `exp` is a call a
//! value and differs between systems.

/// Below this the result is taken for exactly 0: `e^x` is no normal number.
const LOWEST: f32 = -87.3;

/// Adding and subtracting it rounds to the nearest integer, for small values.
const ROUNDING: f32 = 12_582_912.0;

/// `ln 2` in two parts, the first with few bits so that its small multiples are exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// `eˣ` for `x ≤ 0` by a polynomial of degree 7 around the nearest power of two; exactly 0 below −87.3.
#[inline(always)]
pub fn exp_of_negative(x: f32) -> f32 {
    let clamped = if x < LOWEST { LOWEST } else { x };
    // The low bits of the sum are the rounded power: taken as they are, because a checked conversion to an
    // integer is no vector instruction.
    let rounded = clamped * std::f32::consts::LOG2_E + ROUNDING;
    let power = rounded - ROUNDING;
    let r = (clamped - power * LN_2[0]) - power * LN_2[1];
    let mut sum = 1.0 / 5040.0;
    for coefficient in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * r + coefficient;
    }
    let exponent = rounded.to_bits().wrapping_sub(ROUNDING.to_bits());
    let scale = f32::from_bits(exponent.wrapping_add(127) << 23);
    if x < LOWEST { 0.0 } else { sum * scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_exact_function() {
        for i in 0..=870_000 {
            let x = i as f32 * -1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp_of_negative(x)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "exp({x}): {error}");
        }
        assert_eq!(exp_of_negative(0.0), 1.0);
        assert_eq!(exp_of_negative(f32::NEG_INFINITY), 0.0);
        assert!(exp_of_negative(f32::NAN).is_nan());
    }
}
