//! Binary cross-entropy on logits.

use candle_core::{CpuStorage, CustomOp2, D, Layout, Shape, Tensor};

use crate::NnError;
use crate::cpu::values;

/// Mean binary cross-entropy of `logits` `[batch]` against `labels` `[batch]` in `[0, 1]`.
///
/// `L = mean(max(z, 0) − z·y + ln(1 + e^{−|z|}))`, gradient `(σ(z) − y) / batch`: finite for every
/// finite logit and right at `z = 0`, where a composition of `max` and `abs` is not.
///
/// # Errors
/// When the shapes differ.
pub fn bce_with_logits(logits: &Tensor, labels: &Tensor) -> Result<Tensor, NnError> {
    if !logits.device().is_cpu() {
        return bce_composed(logits, labels);
    }
    check_shapes(logits, labels)?;
    Ok(logits
        .contiguous()?
        .apply_op2(&labels.contiguous()?, BceWithLogits)?)
}

/// The same loss composed from candle's ops, for any device.
///
/// The value is computed without a graph; the gradient reaches `logits` through a term that is zero in
/// value and whose derivative is `(σ(z) − y) / batch`.
///
/// # Errors
/// When the shapes differ.
pub fn bce_composed(logits: &Tensor, labels: &Tensor) -> Result<Tensor, NnError> {
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
    if logits.dims() != labels.dims() || logits.rank() != 1 || logits.dim(D::Minus1)? == 0 {
        return Err(NnError::Size {
            what: "logits and labels",
            expected: "two vectors of one length, not empty".into(),
            found: format!("{:?} and {:?}", logits.dims(), labels.dims()),
        });
    }
    Ok(())
}

struct BceWithLogits;

impl CustomOp2 for BceWithLogits {
    fn name(&self) -> &'static str {
        "bce_with_logits"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        labels: &CpuStorage,
        labels_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (z, y) = pair(
            (logits, logits_layout),
            (labels, labels_layout),
            self.name(),
        )?;
        // One sum in f64 and in order: the same bits for any number of threads.
        let total: f64 = z.iter().zip(y).map(|(&z, &y)| cross_entropy(z, y)).sum();
        Ok((
            CpuStorage::F32(vec![(total / z.len() as f64) as f32]),
            Shape::from(()),
        ))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        labels: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let residual = logits.apply_op2_no_bwd(labels, &BceGradient)?;
        Ok((Some(residual.broadcast_mul(grad)?), None))
    }
}

/// Logits and labels of a custom op as slices.
fn pair<'a>(
    logits: (&'a CpuStorage, &Layout),
    labels: (&'a CpuStorage, &Layout),
    op: &str,
) -> candle_core::Result<(&'a [f32], &'a [f32])> {
    Ok((
        values(logits.0, logits.1, op)?,
        values(labels.0, labels.1, op)?,
    ))
}

fn cross_entropy(z: f32, y: f32) -> f64 {
    let (z, y) = (f64::from(z), f64::from(y));
    z.max(0.0) - z * y + (-z.abs()).exp().ln_1p()
}

struct BceGradient;

impl CustomOp2 for BceGradient {
    fn name(&self) -> &'static str {
        "bce_with_logits_gradient"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        labels: &CpuStorage,
        labels_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (z, y) = pair(
            (logits, logits_layout),
            (labels, labels_layout),
            self.name(),
        )?;
        let n = z.len() as f32;
        let gradient = z
            .iter()
            .zip(y)
            .map(|(&z, &y)| (sigmoid(z) - y) / n)
            .collect();
        Ok((CpuStorage::F32(gradient), logits_layout.shape().clone()))
    }
}

fn sigmoid(z: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(z)).exp())) as f32
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    type Loss = fn(&Tensor, &Tensor) -> Result<Tensor, NnError>;

    fn check(loss: Loss, logits: &[f32], labels: &[f32], value: f32, gradient: &[f32]) {
        let z = Var::new(logits, &Device::Cpu).unwrap();
        let y = Tensor::new(labels, &Device::Cpu).unwrap();
        let out = loss(&z, &y).unwrap();
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
        for loss in [bce_with_logits as Loss, bce_composed] {
            check(loss, &[0.0], &[1.0], ln2, &[-0.5]);
            check(loss, &[0.0], &[0.0], ln2, &[0.5]);
            check(loss, &[90.0], &[1.0], 0.0, &[0.0]);
            check(loss, &[90.0], &[0.0], 90.0, &[1.0]);
            check(loss, &[-90.0], &[1.0], 90.0, &[-1.0]);
            check(loss, &[-90.0, 17.0], &[0.0, 0.0], 8.5, &[0.0, 0.5]);
        }
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        let y = Tensor::new(&[1f32, 0.0, 0.3], &Device::Cpu).unwrap();
        let value = |z: &[f32]| -> f64 {
            let sum: f64 = z
                .iter()
                .zip([1.0, 0.0, 0.3])
                .map(|(&z, y)| cross_entropy(z, y))
                .sum();
            sum / 3.0
        };
        let z = [0.7f32, -1.3, 2.1];
        let var = Var::new(&z, &Device::Cpu).unwrap();
        let grads = bce_with_logits(&var, &y).unwrap().backward().unwrap();
        let grad: Vec<f32> = grads.get(&var).unwrap().to_vec1().unwrap();
        for i in 0..3 {
            let (mut up, mut down) = (z, z);
            up[i] += 1e-2;
            down[i] -= 1e-2;
            let step = f64::from(up[i] - down[i]);
            let numeric = (value(&up) - value(&down)) / step;
            assert!((numeric - f64::from(grad[i])).abs() < 1e-5);
        }
    }

    #[test]
    fn shapes_are_checked() {
        let z = Tensor::new(&[0f32, 1.0], &Device::Cpu).unwrap();
        let y = Tensor::new(&[0f32], &Device::Cpu).unwrap();
        assert!(
            bce_with_logits(&z, &y)
                .unwrap_err()
                .to_string()
                .contains("[2] and [1]")
        );
    }
}
