//! 16-bit floats, rounded in a known direction.

use half::f16;

/// Appends the nearest f16.
pub fn write_f16(x: f32, out: &mut Vec<u8>) {
    out.extend_from_slice(&f16::from_f32(x).to_le_bytes());
}

/// The f16 at the start of `bytes`.
pub fn read_f16(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// The largest f16 that is at most `x`.
pub fn f16_at_most(x: f64) -> f32 {
    let near = f16::from_f64(x);
    let value = if near.to_f64() > x {
        step(near, -1)
    } else {
        near
    };
    value.to_f32()
}

/// The smallest f16 that is at least `x`.
pub fn f16_at_least(x: f64) -> f32 {
    let near = f16::from_f64(x);
    let value = if near.to_f64() < x {
        step(near, 1)
    } else {
        near
    };
    value.to_f32()
}

/// The next f16 in `direction`, 1 or -1.
fn step(x: f16, direction: i16) -> f16 {
    let bits = x.to_bits() as i16;
    if bits & 0x7fff == 0 {
        // From either zero to the smallest number of that sign.
        return f16::from_bits(if direction > 0 { 0x0001 } else { 0x8001 });
    }
    let away = if bits > 0 { direction } else { -direction };
    f16::from_bits(bits.wrapping_add(away) as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn neighbours_enclose_the_value(x in -60_000.0..60_000.0_f64) {
            let (low, high) = (f64::from(f16_at_most(x)), f64::from(f16_at_least(x)));
            prop_assert!(low <= x && x <= high);
            prop_assert!(high - low <= x.abs().max(6.2e-5) / 1024.0 + 6e-8);
        }
    }

    #[test]
    fn representable_numbers_stay() {
        for x in [0.0, -0.0, 1.0, -1.5, 65_504.0, 2.0_f64.powi(-24)] {
            assert_eq!(
                (f64::from(f16_at_most(x)), f64::from(f16_at_least(x))),
                (x, x)
            );
        }
        assert_eq!(f16_at_least(1e-9), 5.960_464_5e-8);
        assert_eq!(f16_at_most(-1e-9), -5.960_464_5e-8);
        assert_eq!(f16_at_most(1e-9), 0.0);
    }
}
