//! Binary cross-entropy on logits.

use candle_core::{D, Tensor};
use slimbed_fused::FusedError;

use crate::NnError;

/// Mean binary cross-entropy of `logits` `[batch]` against `labels` `[batch]` in `[0, 1]`.
///
/// `L = mean(max(z, 0) − z·y + ln(1 + e^{−|z|}))`, gradient `(σ(z) − y) / batch`: finite for every
/// finite logit and right at `z = 0`, where candle's derivative of `max` and `abs` is not. So the value
/// is computed without a graph, and the gradient reaches `logits` through a term that is zero in value
/// and whose derivative is the right one.
///
/// # Errors
/// When the shapes differ.
pub fn bce_with_logits(logits: &Tensor, labels: &Tensor) -> Result<Tensor, NnError> {
    check_shapes(logits, labels)?;
    let z = logits.detach();
    let softplus = (z.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let value = ((z.relu()? - (&z * labels)?)? + softplus)?.mean_all()?;
    let n = logits.elem_count() as f64;
    let gradient = ((candle_nn::ops::sigmoid(&z)? - labels)? / n)?;
    let carrier = (logits * gradient)?.sum_all()?;
    Ok((value + (&carrier - carrier.detach())?)?)
}

fn check_shapes(logits: &Tensor, labels: &Tensor) -> Result<(), NnError> {
    if logits.dims() == labels.dims() && logits.rank() == 1 && logits.dim(D::Minus1)? > 0 {
        return Ok(());
    }
    let found = format!("{:?} and {:?}", logits.dims(), labels.dims());
    let expected = "two vectors of one length, not empty";
    Err(FusedError::size("logits and labels", expected, found).into())
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn check(logits: &[f32], labels: &[f32], value: f32, gradient: &[f32]) {
        let z = Var::new(logits, &Device::Cpu).unwrap();
        let y = Tensor::new(labels, &Device::Cpu).unwrap();
        let out = bce_with_logits(&z, &y).unwrap();
        let found = out.to_scalar::<f32>().unwrap();
        assert!(
            (found - value).abs() <= 1e-6 * value.abs().max(1.0),
            "{found} != {value}"
        );
        let grads = out.backward().unwrap();
        let found: Vec<f32> = grads.get(&z).unwrap().to_vec1().unwrap();
        for (f, g) in found.iter().zip(gradient) {
            assert!((f - g).abs() < 1e-7, "{found:?} != {gradient:?}");
        }
    }

    #[test]
    fn values_and_gradients_at_the_hard_points() {
        let ln2 = std::f32::consts::LN_2;
        check(&[0.0], &[1.0], ln2, &[-0.5]);
        check(&[0.0], &[0.0], ln2, &[0.5]);
        check(&[90.0], &[1.0], 0.0, &[0.0]);
        check(&[90.0], &[0.0], 90.0, &[1.0]);
        check(&[-90.0], &[1.0], 90.0, &[-1.0]);
        check(&[-90.0, 17.0], &[0.0, 0.0], 8.5, &[0.0, 0.5]);
    }

    #[test]
    fn shapes_are_checked() {
        let z = Tensor::new(&[0f32, 1.0], &Device::Cpu).unwrap();
        let y = Tensor::new(&[0f32], &Device::Cpu).unwrap();
        let error = bce_with_logits(&z, &y).unwrap_err();
        assert!(error.to_string().contains("[2] and [1]"), "{error}");
    }
}
