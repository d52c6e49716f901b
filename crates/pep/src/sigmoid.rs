//! The logistic function, with the same bits on every machine.
//!
//! Only sums, products and quotients, which the compiler turns into vectors; the system's `exp` is a call a
//! value and differs between systems.

use slimbed_fused::exp_of_negative;

/// `1 / (1 + e⁻ˢ)` to within 2 units of the last place; exactly 0 below −87.3, and 1 far above 0.
#[inline(always)]
pub fn sigmoid(s: f32) -> f32 {
    let e = exp_of_negative(-s.abs());
    let (below, above) = (e / (1.0 + e), 1.0 / (1.0 + e));
    if s < 0.0 { below } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_exact_function() {
        for i in -870_000..=300_000 {
            let s = i as f32 * 1e-4;
            let exact = 1.0 / (1.0 + (-f64::from(s)).exp());
            let error = (f64::from(sigmoid(s)) - exact).abs() / exact;
            assert!(error < 2.4e-7, "σ({s}): {error}");
        }
    }

    #[test]
    fn is_exact_where_it_has_to_be() {
        assert_eq!(sigmoid(0.0), 0.5);
        for s in [-87.4, -150.0, -1e30, f32::NEG_INFINITY] {
            assert_eq!(sigmoid(s).to_bits(), 0, "{s}");
        }
        assert!(sigmoid(f32::NAN).is_nan());
        for s in [20.0, 150.0, f32::INFINITY] {
            assert_eq!(sigmoid(s), 1.0, "{s}");
        }
    }
}
