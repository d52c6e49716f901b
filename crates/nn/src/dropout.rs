//! Dropout from our own generator (candle's CPU generator cannot be seeded).

use candle_core::Tensor;

use crate::{Mode, NnError};

/// Sets each entry to 0 with probability `rate` and divides the others by `1 - rate`; identity when
/// scoring or at rate 0.
///
/// The mask is a function of the run's seed, the step and `site`, so a resumed run draws the same.
///
/// # Errors
/// When the device refuses the mask.
pub fn dropout(x: &Tensor, rate: f32, mode: Mode, site: &str) -> Result<Tensor, NnError> {
    let Mode::Train { seed, step } = mode else {
        return Ok(x.clone());
    };
    if rate == 0.0 {
        return Ok(x.clone());
    }
    let mut stream = seed.stream(&format!("dropout/{site}"), step);
    let kept = 1.0 / (1.0 - rate);
    let mask: Vec<f32> = (0..x.elem_count())
        .map(|_| if stream.uniform() < rate { 0.0 } else { kept })
        .collect();
    Ok(x.mul(&Tensor::from_vec(mask, x.shape(), x.device())?)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use slimbed_rng::Seed;

    use super::*;

    fn train(step: u64) -> Mode {
        Mode::Train {
            seed: Seed::new(3),
            step,
        }
    }

    #[test]
    fn keeps_the_mean_and_repeats_with_the_step() {
        let x = Tensor::ones(100_000, candle_core::DType::F32, &Device::Cpu).unwrap();
        let drop = |step| -> Vec<f32> {
            dropout(&x, 0.25, train(step), "a")
                .unwrap()
                .to_vec1()
                .unwrap()
        };
        let mean = drop(0).iter().sum::<f32>() / 100_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert_eq!(drop(0), drop(0));
        assert_ne!(drop(0), drop(1));
    }

    #[test]
    fn scoring_and_rate_zero_are_the_identity() {
        let x = Tensor::new(&[1f32, 2.0], &Device::Cpu).unwrap();
        for (rate, mode) in [(0.5, Mode::Eval), (0.0, train(0))] {
            assert_eq!(
                dropout(&x, rate, mode, "a")
                    .unwrap()
                    .to_vec1::<f32>()
                    .unwrap(),
                [1.0, 2.0]
            );
        }
    }

    #[test]
    fn gradient_is_the_mask() {
        let x = Var::new(&[1f32; 8], &Device::Cpu).unwrap();
        let y = dropout(&x, 0.5, train(1), "a").unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        let grad: Vec<f32> = grads.get(&x).unwrap().to_vec1().unwrap();
        assert_eq!(grad, y.to_vec1::<f32>().unwrap());
    }
}
