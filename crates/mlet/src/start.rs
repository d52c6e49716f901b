//! The initial W2.

use slimbed_rng::{Seed, Stream};

use crate::settings::{MletSettings, ProjectionInit, Shape};

/// Standard deviation of the authors' `normal`.
const AUTHORS_SIGMA: f32 = 0.25;

/// Fills W2 `[k, d]` of a field from the stream `embedding/<name>/w2`.
pub fn fill(settings: &MletSettings, shape: Shape, seed: Seed, name: &str, w2: &mut [f32]) {
    let (k, d) = (shape.width, shape.dim);
    let mut stream = seed.stream(&format!("embedding/{name}/w2"), 0);
    let std = match settings.init {
        ProjectionInit::Matched => 1.0 / (k as f32).sqrt(),
        ProjectionInit::Normal => AUTHORS_SIGMA,
        ProjectionInit::NormalSigma => settings.sigma,
        ProjectionInit::Xavier => (2.0 / (k + d) as f32).sqrt(),
        ProjectionInit::RandomProjection => return orthonormal(&mut stream, k, d, w2),
        ProjectionInit::Identity => {
            w2.fill(0.0);
            return w2.iter_mut().step_by(d + 1).for_each(|x| *x = 1.0);
        }
    };
    stream.fill_normal(w2, std);
}

/// Orthonormal columns: Gram-Schmidt, twice so that rounding leaves nothing of the earlier columns.
fn orthonormal(stream: &mut Stream, k: usize, d: usize, w2: &mut [f32]) {
    let mut columns: Vec<Vec<f64>> = Vec::with_capacity(d);
    for _ in 0..d {
        let mut column: Vec<f64> = (0..k).map(|_| stream.normal()).collect();
        for earlier in columns.iter().chain(&columns) {
            let along = dot(&column, earlier);
            column
                .iter_mut()
                .zip(earlier)
                .for_each(|(x, e)| *x -= along * e);
        }
        let norm = dot(&column, &column).sqrt();
        column.iter_mut().for_each(|x| *x /= norm);
        columns.push(column);
    }
    for (i, row) in w2.chunks_exact_mut(d).enumerate() {
        row.iter_mut()
            .zip(&columns)
            .for_each(|(x, column)| *x = column[i] as f32);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(init: ProjectionInit, k: usize, d: usize) -> Vec<f32> {
        let settings = MletSettings {
            init,
            sigma: 0.5,
            ..MletSettings::default()
        };
        let shape = Shape {
            width: k,
            dim: d,
            is_projected: true,
        };
        let mut w2 = vec![0.0; k * d];
        fill(&settings, shape, Seed::new(1), "a", &mut w2);
        w2
    }

    #[test]
    fn scales_are_those_of_the_rules() {
        let rms = |init| {
            let w2 = filled(init, 256, 64);
            (w2.iter().map(|x| x * x).sum::<f32>() / w2.len() as f32).sqrt()
        };
        let close = |a: f32, b: f32| assert!((a / b - 1.0).abs() < 0.02, "{a} {b}");
        close(rms(ProjectionInit::Matched), 1.0 / 16.0);
        close(rms(ProjectionInit::Normal), 0.25);
        close(rms(ProjectionInit::NormalSigma), 0.5);
        close(rms(ProjectionInit::Xavier), (2f32 / 320.0).sqrt());
        close(rms(ProjectionInit::RandomProjection), 1.0 / 16.0);
    }

    #[test]
    fn random_projections_have_orthonormal_columns() {
        let (k, d) = (12, 12);
        let w2 = filled(ProjectionInit::RandomProjection, k, d);
        for i in 0..d {
            for j in 0..d {
                let dot: f32 = (0..k).map(|p| w2[p * d + i] * w2[p * d + j]).sum();
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((dot - expected).abs() < 1e-6, "{i} {j}: {dot}");
            }
        }
    }

    #[test]
    fn the_identity_is_one() {
        let expected = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(filled(ProjectionInit::Identity, 3, 3), expected);
    }
}
