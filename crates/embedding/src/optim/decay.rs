//! Weight decay that catches up.

/// An f64 as two 32-bit halves, low first.
pub fn to_halves(x: f64) -> [u32; 2] {
    [x.to_bits() as u32, (x.to_bits() >> 32) as u32]
}

/// The f64 whose halves these are.
pub fn from_halves(halves: &[u32]) -> f64 {
    f64::from_bits(u64::from(halves[0]) | u64::from(halves[1]) << 32)
}

/// Brings a row from the decay it has had to `target`.
pub fn decay(had: &mut [u32], w: &mut [f32], target: f64) {
    let factor = (target - from_halves(had)).exp() as f32;
    had.copy_from_slice(&to_halves(target));
    w.iter_mut().for_each(|w| *w *= factor);
}
