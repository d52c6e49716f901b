//! Sixteen numbers side by side, to be compiled into the kernels.

/// Numbers in a register of AVX-512; other processors use several.
pub const LANES: usize = 16;

/// `sums + scale·row`, passed by value so that it stays in a register.
#[inline(always)]
pub fn plus_scaled(sums: [f32; LANES], scale: f32, row: &[f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|lane| scale.mul_add(row[lane], sums[lane]))
}

/// The whole register that starts at `first`.
#[inline(always)]
pub fn lanes(values: &[f32], first: usize) -> &[f32; LANES] {
    values[first..]
        .first_chunk()
        .expect("buffers are padded to whole registers")
}

/// Adds a register to up to 16 values.
#[inline(always)]
pub fn add(sums: [f32; LANES], out: &mut [f32]) {
    match out.first_chunk_mut::<LANES>() {
        Some(whole) => (0..LANES).for_each(|lane| whole[lane] += sums[lane]),
        None => out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum),
    }
}
