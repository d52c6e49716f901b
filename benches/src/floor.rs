//! How fast one thread can multiply weights with a vector, and nothing else.

use memmap2::MmapMut;

/// `(in, out)` of the layers of the reference DLRM for Criteo-Kaggle: 0.48 M multiply-adds.
pub const KAGGLE_LAYERS: [(usize, usize); 7] = [
    (13, 512),
    (512, 256),
    (256, 64),
    (64, 16),
    (367, 512),
    (512, 256),
    (256, 1),
];

const LANES: usize = 16;
/// Columns whose sums are in registers at a time.
const GROUP: usize = 8 * LANES;
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Products of a vector with the weights of some layers, one layer after the other.
///
/// The weights lie behind each other in the order in which they are read, on huge pages where the system has
/// them; each is loaded once and takes part in one fused multiply-add, with eight independent sums of a
/// register each. No bias, no activation, no layer waits for another. Nothing that reads all weights in f32
/// can be much faster: a mere sum of them takes as long (`read`).
#[derive(Debug)]
pub struct MatrixVectorFloor {
    memory: MmapMut,
    start: usize,
    layers: Vec<(usize, usize)>,
    x: Vec<f32>,
    y: Vec<f32>,
}

impl MatrixVectorFloor {
    /// Makes weights for layers of these `(in, out)`.
    ///
    /// # Errors
    /// When the system does not give the memory.
    pub fn new(layers: &[(usize, usize)]) -> std::io::Result<Self> {
        let n_values: usize = layers.iter().map(|&layer| values(layer)).sum();
        let bytes = (n_values * size_of::<f32>()).next_multiple_of(HUGE_PAGE_BYTES);
        let memory = MmapMut::map_anon(bytes + HUGE_PAGE_BYTES)?;
        let address = memory.as_ptr() as usize;
        let start = address.next_multiple_of(HUGE_PAGE_BYTES) - address;
        #[cfg(target_os = "linux")]
        let _ = memory.advise_range(memmap2::Advice::HugePage, start, bytes);
        let widest = layers.iter().map(|&(n_in, n_out)| n_in.max(n_out)).max();
        let mut floor = Self {
            memory,
            start,
            layers: layers.to_vec(),
            x: vec![0.5; widest.unwrap_or(0)],
            y: vec![0.0; widest.unwrap_or(0).next_multiple_of(GROUP)],
        };
        let bytes = &mut floor.memory[start..][..n_values * size_of::<f32>()];
        let weights: &mut [f32] = bytemuck::cast_slice_mut(bytes);
        let each = weights.iter_mut().enumerate();
        each.for_each(|(i, w)| *w = (i % 7) as f32 * 0.01);
        Ok(floor)
    }

    /// Bytes of the weights.
    pub fn n_bytes(&self) -> usize {
        let n_values: usize = self.layers.iter().map(|&layer| values(layer)).sum();
        n_values * size_of::<f32>()
    }

    /// Multiplies; the numbers are the last layer's.
    pub fn run(&mut self) -> &[f32] {
        let bytes = &self.memory[self.start..][..self.n_bytes()];
        let mut weights: &[f32] = bytemuck::cast_slice(bytes);
        for &layer in &self.layers {
            let (own, rest) = weights.split_at(values(layer));
            product(&self.x[..layer.0], own, &mut self.y);
            weights = rest;
        }
        &self.y
    }

    /// Adds all weights up.
    pub fn read(&mut self) -> &[f32] {
        let bytes = &self.memory[self.start..][..self.n_bytes()];
        sum(bytemuck::cast_slice(bytes), &mut self.y);
        &self.y
    }
}

/// Weights of a layer; one with few outputs has no padding.
fn values((n_in, n_out): (usize, usize)) -> usize {
    n_in * n_out
}

/// Compiles a function for the widest registers the processor has.
macro_rules! widest {
    (fn $name:ident($($arg:ident: $ty:ty),*) $body:block) => {
        fn $name($($arg: $ty),*) {
            #[inline(always)]
            fn body($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx2,fma")]
                fn v4($($arg: $ty),*) { body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn v3($($arg: $ty),*) { body($($arg),*) }
                use std::arch::is_x86_feature_detected as has;
                if has!("avx2") && has!("fma") && has!("avx512f") {
                    // SAFETY: the processor has every feature the function is compiled for.
                    return unsafe { v4($($arg),*) };
                }
                if has!("avx2") && has!("fma") {
                    // SAFETY: as above.
                    return unsafe { v3($($arg),*) };
                }
            }
            body($($arg),*);
        }
    };
}

/// A group's weights for one input.
type Line = [[f32; LANES]; GROUP / LANES];

widest! {
    fn product(x: &[f32], weights: &[f32], y: &mut [f32]) {
        let n_groups = weights.len() / (x.len() * GROUP);
        let (whole, rest) = weights.split_at(n_groups * x.len() * GROUP);
        let groups = whole.chunks_exact(x.len() * GROUP);
        for (y, group) in y.chunks_exact_mut(GROUP).zip(groups) {
            y.copy_from_slice(sums(x.iter(), bytemuck::cast_slice(group)).as_flattened());
        }
        // What is less than a group wide, in another order of the same products.
        let rest = &rest[..rest.len() / GROUP * GROUP];
        y[..GROUP].copy_from_slice(sums(x.iter().cycle(), bytemuck::cast_slice(rest)).as_flattened());
    }
}

widest! {
    fn sum(weights: &[f32], y: &mut [f32]) {
        let weights = &weights[..weights.len() / GROUP * GROUP];
        let ones = std::iter::repeat(&1.0);
        y[..GROUP].copy_from_slice(sums(ones, bytemuck::cast_slice(weights)).as_flattened());
    }
}

#[inline(always)]
fn sums<'a>(x: impl Iterator<Item = &'a f32>, weights: &[Line]) -> Line {
    let [mut a, mut b, mut c, mut d] = [[0f32; LANES]; 4];
    let [mut e, mut f, mut g, mut h] = [[0f32; LANES]; 4];
    for (&x, w) in x.zip(weights) {
        a = plus_scaled(a, x, &w[0]);
        b = plus_scaled(b, x, &w[1]);
        c = plus_scaled(c, x, &w[2]);
        d = plus_scaled(d, x, &w[3]);
        e = plus_scaled(e, x, &w[4]);
        f = plus_scaled(f, x, &w[5]);
        g = plus_scaled(g, x, &w[6]);
        h = plus_scaled(h, x, &w[7]);
    }
    [a, b, c, d, e, f, g, h]
}

/// `sums + scale·row`, passed by value so that it stays in a register.
#[inline(always)]
fn plus_scaled(sums: [f32; LANES], scale: f32, row: &[f32; LANES]) -> [f32; LANES] {
    std::array::from_fn(|lane| scale.mul_add(row[lane], sums[lane]))
}
