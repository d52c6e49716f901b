//! The kernels of pieces that only move, gate or add up values: concatenation, sum, cross.

use crate::matrix::Write;
use crate::simd::multiversion;

/// Copies `x` `[rows, width]` to the columns from `first` on of `out` `[rows, n]`.
pub(crate) fn put_columns(x: &[f32], width: usize, out: &mut [f32], n: usize, first: usize) {
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(n)) {
        out[first..first + width].copy_from_slice(x);
    }
}

/// Writes or adds the columns from `first` on of `dy` `[rows, n]` to `dx` `[rows, width]`.
pub(crate) fn take_columns(
    dy: &[f32],
    n: usize,
    first: usize,
    dx: &mut [f32],
    width: usize,
    write: Write,
) {
    for (dy, dx) in dy.chunks_exact(n).zip(dx.chunks_exact_mut(width)) {
        put(dx, &dy[first..first + width], write);
    }
}

/// Writes or adds values.
pub(crate) fn put(out: &mut [f32], values: &[f32], write: Write) {
    match write {
        Write::Set => out.copy_from_slice(values),
        Write::Add => out.iter_mut().zip(values).for_each(|(o, v)| *o += v),
    }
}

/// Adds the sum of each row of `x` `[rows, width]` to `sums` `[rows]`.
pub(crate) fn add_row_sums(x: &[f32], width: usize, sums: &mut [f32]) {
    for (x, sum) in x.chunks_exact(width).zip(sums) {
        *sum += x.iter().sum::<f32>();
    }
}

/// Writes or adds to each number of a row of `dx` `[rows, width]` the row's gradient in `dy` `[rows]`.
pub(crate) fn spread(dy: &[f32], dx: &mut [f32], width: usize, write: Write) {
    for (&g, dx) in dy.iter().zip(dx.chunks_exact_mut(width)) {
        match write {
            Write::Set => dx.fill(g),
            Write::Add => dx.iter_mut().for_each(|dx| *dx += g),
        }
    }
}

multiversion! {
    /// `out = x0 ⊙ z + x`.
    pub(crate) fn cross(x0: &[f32], z: &[f32], x: &[f32], out: &mut [f32]) {
        for (((out, x0), z), x) in out.iter_mut().zip(x0).zip(z).zip(x) {
            *out = x0.mul_add(*z, *x);
        }
    }
}

/// Writes or adds `dy ⊙ factor`.
pub(crate) fn put_product(dy: &[f32], factor: &[f32], dx: &mut [f32], write: Write) {
    match write {
        Write::Set => set_product(dy, factor, dx),
        Write::Add => add_product(dy, factor, dx),
    }
}

multiversion! {
    fn set_product(dy: &[f32], factor: &[f32], dx: &mut [f32]) {
        for ((dx, dy), factor) in dx.iter_mut().zip(dy).zip(factor) {
            *dx = dy * factor;
        }
    }
}

multiversion! {
    fn add_product(dy: &[f32], factor: &[f32], dx: &mut [f32]) {
        for ((dx, dy), factor) in dx.iter_mut().zip(dy).zip(factor) {
            *dx = dy.mul_add(*factor, *dx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_put_and_taken() {
        let (a, b) = ([1.0, 2.0], [3.0, 4.0, 5.0, 6.0]);
        let mut out = [0.0; 6];
        put_columns(&a, 1, &mut out, 3, 0);
        put_columns(&b, 2, &mut out, 3, 1);
        assert_eq!(out, [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]);
        let mut back = [10.0; 4];
        take_columns(&out, 3, 1, &mut back, 2, Write::Set);
        assert_eq!(back, b);
        take_columns(&out, 3, 1, &mut back, 2, Write::Add);
        assert_eq!(back, [6.0, 8.0, 10.0, 12.0]);
    }

    #[test]
    fn sums_spread_their_gradient() {
        let mut sums = [10.0, 20.0];
        add_row_sums(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3, &mut sums);
        assert_eq!(sums, [16.0, 35.0]);
        let mut dx = [1.0; 4];
        spread(&[2.0, 3.0], &mut dx, 2, Write::Set);
        spread(&[2.0, 3.0], &mut dx, 2, Write::Add);
        assert_eq!(dx, [4.0, 4.0, 6.0, 6.0]);
    }

    #[test]
    fn a_cross_and_its_gradient() {
        let (x0, z, x) = ([2.0, -3.0], [5.0, 7.0], [1.0, 1.0]);
        let mut out = [0.0; 2];
        cross(&x0, &z, &x, &mut out);
        assert_eq!(out, [11.0, -20.0]);
        let mut dz = [9.0; 2];
        put_product(&[0.5, 2.0], &x0, &mut dz, Write::Set);
        put_product(&[0.5, 2.0], &x0, &mut dz, Write::Add);
        assert_eq!(dz, [2.0, -12.0]);
    }
}
