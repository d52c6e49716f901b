//! Sums of squares whose bits do not depend on the number of threads.

/// Values whose squares one task adds.
const SQUARES_PER_TASK: usize = 1 << 15;

/// `Σ g²` in f64, the terms grouped by the number of values alone.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    if values.len() > SQUARES_PER_TASK {
        let (left, right) = values.split_at(values.len() / 2);
        let (left, right) = rayon::join(|| sum_of_squares(left), || sum_of_squares(right));
        return left + right;
    }
    let mut sums = [0.0; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for (sum, &g) in sums.iter_mut().zip(eight) {
            *sum += f64::from(g) * f64::from(g);
        }
    }
    let rest: f64 = rest.iter().map(|&g| f64::from(g).powi(2)).sum();
    sums.iter().sum::<f64>() + rest
}
