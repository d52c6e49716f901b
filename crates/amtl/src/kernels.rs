//! The branches forward and back, 32 rows side by side.
//!
//! Every row is computed by itself, with the same operations wherever it stands, so a row has the same
//! size in a batch, in a lookup and in the finished table.

use slimbed_fused::multiversion;

use crate::lanes::{Operands, TILE, exp, product};
use crate::net::{Net, PANEL};

multiversion! {
    /// Fills the tapes of some panels from their inputs: gates, activations, softmax and sizes.
    ///
    /// `tilt` is taken off the logits for each value kept before the largest is chosen.
    pub(crate) fn forward(net: &Net, weights: &[f32], tilt: f32, tapes: &mut [f32]) {
        for tape in tapes.chunks_exact_mut(net.panel_len()) {
            forward_panel(net, weights, tilt, tape);
        }
    }
}

multiversion! {
    /// Goes back from the gradient with respect to the softmax and writes the gradient of all weights.
    ///
    /// `transposed` has the weights of every layer as `[outputs, inputs + 1]`. The activations are
    /// replaced by their gradients, so a second way back needs a second [`forward`].
    pub(crate) fn backward(net: &Net, transposed: &[f32], tapes: &mut [f32], gradient: &mut [f32]) {
        for tape in tapes.chunks_exact_mut(net.panel_len()) {
            softmax_back(net, tape);
        }
        for layer in (0..net.n_layers()).rev() {
            for branch in 0..net.n_branches {
                let weights = &mut gradient[net.weights(branch, layer)];
                weight_gradient(net, branch, layer, tapes, weights);
                if layer > 0 {
                    for tape in tapes.chunks_exact_mut(net.panel_len()) {
                        layer_back(net, branch, layer, transposed, tape);
                    }
                }
            }
        }
    }
}

multiversion! {
    /// Zeros the values of each row of `dim` behind its first `size`.
    pub(crate) fn cut(sizes: &[f32], dim: usize, rows: &mut [f32]) {
        for (&size, row) in sizes.iter().zip(rows.chunks_exact_mut(dim)) {
            for (j, x) in row.iter_mut().enumerate() {
                *x = if (j as f32) < size { *x } else { 0.0 };
            }
        }
    }
}

multiversion! {
    /// Multiplies value `j` of each row by the softmax weight of the sizes that keep it.
    pub(crate) fn soften(net: &Net, tape: &[f32], rows: &mut [f32]) {
        let dim = net.size(net.n_positions - 1);
        let (lines, _) = tape[net.softmax()].as_chunks::<PANEL>();
        let lines = &lines[1 - net.smallest..];
        for (lane, row) in rows.chunks_exact_mut(dim).enumerate() {
            let mut mask = 0.0;
            for (x, line) in row.iter_mut().zip(lines).rev() {
                mask += line[lane];
                *x *= mask;
            }
        }
    }
}

multiversion! {
    /// Writes `∂L/∂t̂`, for each position the sum of `rows · gradients` over the values it keeps.
    pub(crate) fn size_gradient(net: &Net, rows: &[f32], gradients: &[f32], tape: &mut [f32]) {
        let dim = net.size(net.n_positions - 1);
        let (lines, _) = tape[net.gradient()].as_chunks_mut::<PANEL>();
        // Rows that are not there have no gradient.
        lines.as_flattened_mut().fill(0.0);
        let first = 1 - net.smallest;
        let rows = rows.chunks_exact(dim).zip(gradients.chunks_exact(dim));
        for (lane, (row, gradient)) in rows.enumerate() {
            for (line, (x, g)) in lines[first..].iter_mut().zip(row.iter().zip(gradient)) {
                line[lane] = x * g;
            }
        }
        for p in 1..lines.len() {
            let (before, line) = lines.split_at_mut(p);
            let sums = line[0].iter_mut().zip(&before[p - 1]);
            sums.for_each(|(sum, before)| *sum += before);
        }
    }
}

#[inline(always)]
fn forward_panel(net: &Net, weights: &[f32], tilt: f32, tape: &mut [f32]) {
    gates(net, tape);
    let last = net.n_layers() - 1;
    for branch in 0..net.n_branches {
        for layer in 0..last {
            let weights = &weights[net.weights(branch, layer)];
            hidden(net, branch, layer, weights, tape);
        }
        let (before, after) = tape.split_at_mut(net.softmax().start);
        let input = &before[net.before(branch, last)];
        let logits = &mut after[..net.n_positions * PANEL];
        let weights = &weights[net.weights(branch, last)];
        product(
            weights,
            net.n_positions,
            input,
            logits,
            |sum, out| match branch {
                0 => *out = *sum,
                _ => out.iter_mut().zip(sum).for_each(|(out, x)| *out += x),
            },
        );
    }
    choose(net, tilt, tape);
    softmax(net, tape);
}

/// `α = sigmoid(standardised log count)` and `1 − α`, or 1 for a single branch.
#[inline(always)]
fn gates(net: &Net, tape: &mut [f32]) {
    let mut alpha = [1.0; PANEL];
    if net.n_branches > 1 {
        let z = &tape[net.inputs()][..PANEL];
        alpha
            .iter_mut()
            .zip(z)
            .for_each(|(alpha, z)| *alpha = 1.0 / (1.0 + exp(-z)));
        let rest = &mut tape[net.gate(1)];
        rest.iter_mut()
            .zip(&alpha)
            .for_each(|(rest, alpha)| *rest = 1.0 - alpha);
    }
    tape[net.gate(0)].copy_from_slice(&alpha);
}

/// A hidden layer; the last one is multiplied by the gate, its line of ones included, which weights the
/// logits of the branch.
#[inline(always)]
fn hidden(net: &Net, branch: usize, layer: usize, weights: &[f32], tape: &mut [f32]) {
    let mut gate = [1.0; PANEL];
    if layer + 2 == net.n_layers() {
        gate.copy_from_slice(&tape[net.gate(branch)]);
    }
    let place = net.before(branch, layer + 1);
    let (before, after) = tape.split_at_mut(place.start);
    let (out, ones) = after[..place.len()].split_at_mut(place.len() - PANEL);
    let input = &before[net.before(branch, layer)];
    product(weights, net.n_out(layer), input, out, |sum, out| {
        for ((out, x), gate) in out.iter_mut().zip(sum).zip(&gate) {
            *out = x.max(0.0) * gate;
        }
    });
    ones.copy_from_slice(&gate);
}

/// The size of the largest logit, the larger size of equal ones.
#[inline(always)]
fn choose(net: &Net, tilt: f32, tape: &mut [f32]) {
    let mut best = [f32::NEG_INFINITY; PANEL];
    let mut sizes = [net.size(0) as f32; PANEL];
    let (logits, _) = tape[net.softmax()].as_chunks::<PANEL>();
    for (p, line) in logits.iter().enumerate() {
        let size = net.size(p) as f32;
        for ((best, chosen), &logit) in best.iter_mut().zip(&mut sizes).zip(line) {
            let logit = logit - tilt * size;
            let is_better = logit >= *best;
            *best = if is_better { logit } else { *best };
            *chosen = if is_better { size } else { *chosen };
        }
    }
    tape[net.sizes()].copy_from_slice(&sizes);
}

/// `t̂ = softmax(o / T)` in place.
#[inline(always)]
fn softmax(net: &Net, tape: &mut [f32]) {
    let (lines, _) = tape[net.softmax()].as_chunks_mut::<PANEL>();
    let mut most = [f32::NEG_INFINITY; PANEL];
    for line in lines.iter() {
        most.iter_mut()
            .zip(line)
            .for_each(|(most, x)| *most = x.max(*most));
    }
    let mut sum = [0.0; PANEL];
    for line in lines.iter_mut() {
        for ((x, most), sum) in line.iter_mut().zip(&most).zip(&mut sum) {
            *x = exp((*x - most) * net.coldness);
            *sum += *x;
        }
    }
    for line in lines {
        line.iter_mut().zip(&sum).for_each(|(x, sum)| *x /= sum);
    }
}

/// `∂L/∂o = (t̂ ⊙ (∂L/∂t̂ − ⟨t̂, ∂L/∂t̂⟩)) / T`, in place of `∂L/∂t̂`.
#[inline(always)]
fn softmax_back(net: &Net, tape: &mut [f32]) {
    let (softmax, gradient) = (net.softmax(), net.gradient());
    let (before, after) = tape.split_at_mut(gradient.start);
    let (softmax, _) = before[softmax].as_chunks::<PANEL>();
    let (lines, _) = after[..gradient.len()].as_chunks_mut::<PANEL>();
    let mut mean = [0.0; PANEL];
    for (t, line) in softmax.iter().zip(lines.iter()) {
        for ((mean, &t), &g) in mean.iter_mut().zip(t).zip(line) {
            *mean = t.mul_add(g, *mean);
        }
    }
    for (t, line) in softmax.iter().zip(lines) {
        for ((g, &t), &mean) in line.iter_mut().zip(t).zip(&mean) {
            *g = t * (*g - mean) * net.coldness;
        }
    }
}

/// Where the gradient with respect to the outputs of a layer stands on the way back.
#[inline(always)]
fn output_gradient(net: &Net, branch: usize, layer: usize) -> std::ops::Range<usize> {
    if layer + 1 == net.n_layers() {
        return net.gradient();
    }
    let place = net.before(branch, layer + 1);
    place.start..place.end - PANEL
}

/// Replaces what went into a layer by its gradient, through gate and ReLU.
#[inline(always)]
fn layer_back(net: &Net, branch: usize, layer: usize, transposed: &[f32], tape: &mut [f32]) {
    let mut gate = [1.0; PANEL];
    if layer + 1 == net.n_layers() {
        gate.copy_from_slice(&tape[net.gate(branch)]);
    }
    let gradient = output_gradient(net, branch, layer);
    let place = net.before(branch, layer);
    let (before, after) = tape.split_at_mut(gradient.start);
    let activations = &mut before[place.start..place.end - PANEL];
    let weights = &transposed[net.weights(branch, layer)];
    let n_columns = weights.len() / net.n_out(layer);
    product(
        weights,
        n_columns,
        &after[..gradient.len()],
        activations,
        |sum, out| {
            for ((out, g), gate) in out.iter_mut().zip(sum).zip(&gate) {
                *out = if *out > 0.0 { g * gate } else { 0.0 };
            }
        },
    );
}

/// The gradient `[inputs + 1, outputs]` of a layer's weights, summed over the rows of all tapes.
#[inline(always)]
fn weight_gradient(net: &Net, branch: usize, layer: usize, tapes: &[f32], out: &mut [f32]) {
    let operands = Operands {
        tapes,
        panel_len: net.panel_len(),
        x: net.before(branch, layer).start,
        dy: output_gradient(net, branch, layer).start,
    };
    let n_out = net.n_out(layer);
    let n_in = out.len() / n_out;
    let mut n = 0;
    while n + TILE <= n_out {
        let mut k = 0;
        while k + 2 <= n_in {
            operands.write::<2, TILE>(k, n, n_out, out);
            k += 2;
        }
        if k < n_in {
            operands.write::<1, TILE>(k, n, n_out, out);
        }
        n += TILE;
    }
    for n in n..n_out {
        (0..n_in).for_each(|k| operands.write::<1, 1>(k, n, n_out, out));
    }
}

#[cfg(test)]
mod tests {
    use slimbed_rng::Seed;

    use super::*;
    use crate::settings::{AmtlSettings, ZeroSize};

    /// Twins with two hidden layers, and the tapes of 40 rows.
    fn net() -> (Net, Vec<f32>, Vec<f32>) {
        let settings = AmtlSettings {
            hidden: vec![5, 3],
            zero_size: ZeroSize::Allowed,
            temperature: 0.7,
            ..AmtlSettings::default()
        };
        let net = Net::new(&settings, 6);
        let mut weights = vec![0.0; net.n_weights()];
        Seed::new(3)
            .stream("test", 0)
            .fill_uniform(&mut weights, 1.0);
        let mut tapes = vec![0.0; net.tape_len(40)];
        let mut stream = Seed::new(3).stream("test", 1);
        for tape in tapes.chunks_exact_mut(net.panel_len()) {
            stream.fill_uniform(&mut tape[net.inputs()], 2.0);
            tape[net.inputs()][2 * PANEL..].fill(1.0);
        }
        (net, weights, tapes)
    }

    fn fill_gradient(net: &Net, tapes: &mut [f32]) {
        let mut stream = Seed::new(3).stream("test", 2);
        for tape in tapes.chunks_exact_mut(net.panel_len()) {
            stream.fill_uniform(&mut tape[net.gradient()], 1.0);
        }
    }

    /// `Σ ∂L/∂t̂ · t̂` with a fixed `∂L/∂t̂`.
    fn loss(net: &Net, weights: &[f32], tapes: &mut [f32]) -> f64 {
        forward(net, weights, 0.0, tapes);
        fill_gradient(net, tapes);
        let panels = tapes.chunks_exact(net.panel_len());
        let terms = |tape: &[f32]| -> f64 {
            let pairs = tape[net.softmax()].iter().zip(&tape[net.gradient()]);
            pairs.map(|(&t, &g)| f64::from(t) * f64::from(g)).sum()
        };
        panels.map(terms).sum()
    }

    #[test]
    fn the_gradient_of_the_weights_is_that_of_finite_differences() {
        let (net, mut weights, mut tapes) = net();
        loss(&net, &weights, &mut tapes);
        let (mut transposed, mut gradient) = (weights.clone(), weights.clone());
        crate::trainer::transpose(&net, &weights, &mut transposed);
        backward(&net, &transposed, &mut tapes, &mut gradient);
        for i in 0..weights.len() {
            let (w, h) = (weights[i], 1e-3);
            let mut at = |x| {
                weights[i] = x;
                loss(&net, &weights, &mut tapes)
            };
            let slope = (at(w + h) - at(w - h)) / f64::from(2.0 * h);
            weights[i] = w;
            let found = f64::from(gradient[i]);
            assert!(
                (found - slope).abs() < 5e-3 * (1.0 + slope.abs()),
                "{i}: {found} != {slope}"
            );
        }
    }

    #[test]
    fn masks_are_running_sums_of_one_hots_and_softmax_gradients_sum_to_zero() {
        let (net, weights, mut tapes) = net();
        forward(&net, &weights, 0.0, &mut tapes);
        fill_gradient(&net, &mut tapes);
        for tape in tapes.chunks_exact_mut(net.panel_len()) {
            let mut masks = [1.0; 6 * PANEL];
            cut(&tape[net.sizes()], 6, &mut masks);
            softmax_back(&net, tape);
            for (lane, mask) in masks.chunks_exact(6).enumerate() {
                let softmax: Vec<f32> = net.softmax_of(tape, lane).collect();
                let most = softmax.iter().copied().fold(0.0, f32::max);
                let one_hot = softmax.iter().map(|&t| f32::from(t == most));
                let sums = one_hot.rev().scan(0.0, |sum, t| {
                    *sum += t;
                    Some(*sum)
                });
                let sums: Vec<f32> = sums.take(6).collect();
                assert!(mask.iter().eq(sums.iter().rev()), "{mask:?} {sums:?}");
                assert_eq!(mask.iter().sum::<f32>(), net.size_of(tape, lane) as f32);
                let (lines, _) = tape[net.gradient()].as_chunks::<PANEL>();
                let sum: f32 = lines.iter().map(|line| line[lane]).sum();
                assert!(sum.abs() < 1e-6, "{sum}");
            }
        }
    }

    /// Two values a row, sizes 1, 2 and 1, by hand.
    #[test]
    fn three_rows_of_two_values() {
        let net = Net::new(&AmtlSettings::default(), 2);
        let mut tape = vec![0.0; net.panel_len()];
        let rows = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let mut masked = rows;
        cut(&[1.0, 2.0, 1.0], 2, &mut masked);
        assert_eq!(masked, [1.0, 0.0, 3.0, 4.0, 5.0, 0.0]);
        size_gradient(&net, &rows, &[0.5, 1.0, -1.0, 1.0, 0.0, 2.0], &mut tape);
        let (lines, _) = tape[net.gradient()].as_chunks::<PANEL>();
        assert_eq!(lines[0][..4], [0.5, -3.0, 0.0, 0.0]);
        assert_eq!(lines[1][..4], [2.5, 1.0, 12.0, 0.0]);
        // t̂ = (1/2, 1/2): half the difference to the mean of both.
        tape[net.softmax()].fill(0.5);
        softmax_back(&net, &mut tape);
        let (lines, _) = tape[net.gradient()].as_chunks::<PANEL>();
        assert_eq!(lines[0][..3], [-0.5, -1.0, -3.0]);
        assert_eq!(lines[1][..3], [0.5, 1.0, 3.0]);
    }
}
