//! Scale and bias of integers.

use super::half::{f16_at_least, f16_at_most, read_f16, write_f16};
/// `x = scale · q + bias`, both of them f16.
///
/// The bias is rounded down and the scale up, so the integers span all values and every value is within
/// half a step (`scale / 2`) of an integer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Affine {
    pub scale: f32,
    pub bias: f32,
}

impl Affine {
    /// The scale and bias for finite values on `levels` steps.
    pub fn of(values: &[f32], levels: f32) -> Self {
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let bias = f16_at_most(low.into());
        let scale = f16_at_least((f64::from(high) - f64::from(bias)) / f64::from(levels));
        Self { scale, bias }
    }

    /// The integer nearest to `x`.
    pub fn quantise(self, x: f32, levels: f32) -> u8 {
        if self.scale == 0.0 {
            return 0;
        }
        let steps = (f64::from(x) - f64::from(self.bias)) / f64::from(self.scale);
        steps.round().clamp(0.0, levels.into()) as u8
    }

    /// The value an integer stands for.
    pub fn value(self, q: u8) -> f32 {
        self.scale.mul_add(q.into(), self.bias)
    }

    /// Appends scale and bias.
    pub fn write(self, out: &mut Vec<u8>) {
        write_f16(self.scale, out);
        write_f16(self.bias, out);
    }

    /// Scale and bias at the start of `bytes`.
    pub fn read(bytes: &[u8]) -> Self {
        Self {
            scale: read_f16(bytes),
            bias: read_f16(&bytes[2..]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_value_is_within_half_a_step(
            values in prop::collection::vec(-16_000.0..16_000.0_f32, 1..40),
            levels in prop::sample::select(vec![15.0_f32, 255.0]),
        ) {
            let affine = Affine::of(&values, levels);
            for &x in &values {
                let back = affine.value(affine.quantise(x, levels));
                let half_step = f64::from(affine.scale) / 2.0;
                prop_assert!(f64::from((back - x).abs()) <= half_step + 1e-3, "{x} {back} {affine:?}");
            }
        }
    }

    #[test]
    fn a_constant_row_needs_no_scale() {
        let affine = Affine::of(&[0.5; 3], 15.0);
        assert_eq!(
            affine,
            Affine {
                scale: 0.0,
                bias: 0.5
            }
        );
        assert_eq!(affine.value(affine.quantise(0.5, 15.0)), 0.5);
    }
}
