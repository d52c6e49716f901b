//! Powers of one base, looked up instead of computed.

const N_BYTES: usize = 4;

/// `base^n` for every 32-bit `n`, as a product of one factor per byte of `n`.
#[derive(Debug)]
pub struct Powers {
    /// `base^(i · 256^byte)`.
    factors: Box<[[f64; 256]; N_BYTES]>,
}

impl Powers {
    pub fn of(base: f32) -> Self {
        let mut factors = Box::new([[0.0; 256]; N_BYTES]);
        for (byte, factors) in factors.iter_mut().enumerate() {
            for (i, factor) in factors.iter_mut().enumerate() {
                *factor = f64::from(base).powf((i << (8 * byte)) as f64);
            }
        }
        Self { factors }
    }

    /// `base^n`, to about 15 digits.
    #[inline]
    pub fn get(&self, n: u32) -> f64 {
        let bytes = self.factors.iter().zip(n.to_le_bytes());
        bytes.map(|(factors, i)| factors[usize::from(i)]).product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_the_powers() {
        for base in [0.9f32, 0.999, 0.5, 0.0] {
            let powers = Powers::of(base);
            for n in [0, 1, 2, 255, 256, 257, 10_000, 70_000, 20_000_000, u32::MAX] {
                let expected = f64::from(base).powf(f64::from(n));
                let found = powers.get(n);
                assert!((found - expected).abs() <= 1e-13 * expected, "{base}^{n}");
            }
        }
    }
}
