//! Value types: how the kept values of a row become bytes.
//!
//! A *record* is the stored form of the kept values of one row:
//!
//! | type | record of `t` values | a value is |
//! |---|---|---|
//! | `f32` | `4t` bytes | itself |
//! | `f16` | `2t` bytes | `h · unit` |
//! | `int8` | scale, bias (f16 each), `t` bytes | `(scale · q + bias) · unit`, `q` in 0..=255 |
//! | `int4` | scale, bias, `⌈t/2⌉` bytes, low half first | the same, `q` in 0..=15 |
//!
//! A record of no values has no bytes. `unit` is a power of two, the same for a whole table, that brings
//! the values into the range of f16; multiplying with it is exact.

mod affine;
mod half;

use serde::{Deserialize, Serialize};

pub(crate) use affine::Affine;
pub(crate) use half::{read_f16, write_f16};

/// The type of the stored values, from the most to the least exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Values {
    /// 32-bit floats: exact.
    F32,
    /// 16-bit floats times a power of two: 11 significant bits.
    F16,
    /// 8-bit integers with scale and bias: within half a step, 1/255 of a row's range.
    Int8,
    /// 4-bit integers with scale and bias: within half a step, 1/15 of a row's range.
    Int4,
}

/// Bytes of a scale and a bias.
pub(crate) const AFFINE_BYTES: usize = 4;

impl Values {
    /// All of them, from the most to the least exact.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Int8, Self::Int4];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    /// Bits of one value, without scale and bias.
    pub fn bits(self) -> usize {
        match self {
            Self::F32 => 32,
            Self::F16 => 16,
            Self::Int8 => 8,
            Self::Int4 => 4,
        }
    }

    /// Whether values are integers with a scale and a bias.
    pub fn is_integer(self) -> bool {
        self.levels().is_some()
    }

    /// Steps between the smallest and the largest integer.
    pub(crate) fn levels(self) -> Option<f32> {
        match self {
            Self::F32 | Self::F16 => None,
            Self::Int8 => Some(255.0),
            Self::Int4 => Some(15.0),
        }
    }

    /// Bytes that every record of at least one value has, whatever their number.
    pub(crate) fn fixed_bytes(self) -> usize {
        if self.is_integer() { AFFINE_BYTES } else { 0 }
    }

    /// Bytes of `t` values without scale and bias.
    pub(crate) fn packed_bytes(self, t: usize) -> usize {
        (t * self.bits()).div_ceil(8)
    }

    /// Bytes of a record of `t` values.
    pub(crate) fn record_bytes(self, t: usize) -> usize {
        if t == 0 {
            0
        } else {
            self.fixed_bytes() + self.packed_bytes(t)
        }
    }

    /// The power of two, as its exponent, that brings values of at most `largest` into the range in
    /// which f16 is most exact.
    pub(crate) fn unit_log2(self, largest: f32) -> i32 {
        const TOP: i32 = 14;
        if self == Self::F32 || largest == 0.0 || !largest.is_finite() {
            return 0;
        }
        let exponent = f64::from(largest).log2().ceil() as i32;
        (exponent - TOP).max(f32::MIN_EXP - 1)
    }

    /// Appends the record of `values`, which are in units of the table already, and finite if they
    /// are to become integers.
    pub(crate) fn write_record(self, values: &[f32], out: &mut Vec<u8>) {
        let affine = self.levels().map(|levels| Affine::of(values, levels));
        if values.is_empty() {
            return;
        }
        if let Some(affine) = affine {
            affine.write(out);
        }
        self.write_packed(values, affine.unwrap_or_default(), out);
    }

    /// Appends `values` without scale and bias; `affine` covers those that become integers.
    pub(crate) fn write_packed(self, values: &[f32], affine: Affine, out: &mut Vec<u8>) {
        if self.is_integer() {
            self.write_integers(values, affine, out);
        } else {
            self.write_floats(values, out);
        }
    }

    fn write_floats(self, values: &[f32], out: &mut Vec<u8>) {
        if self == Self::F32 {
            out.extend_from_slice(bytemuck::cast_slice(values));
        } else {
            values.iter().for_each(|&x| write_f16(x, out));
        }
    }

    fn write_integers(self, values: &[f32], affine: Affine, out: &mut Vec<u8>) {
        let levels = self.levels().unwrap_or_default();
        let q = |x: f32| affine.quantise(x, levels);
        if self == Self::Int8 {
            out.extend(values.iter().map(|&x| q(x)));
            return;
        }
        let pair = |pair: &[f32]| q(pair[0]) | pair.get(1).map_or(0, |&x| q(x) << 4);
        out.extend(values.chunks(2).map(pair));
    }

    /// Value number `i` of packed values, in units of the table; `affine` is that of integers.
    pub(crate) fn read(self, packed: &[u8], i: usize, affine: Affine) -> f32 {
        match self {
            Self::F32 => f32::from_le_bytes([0, 1, 2, 3].map(|b| packed[4 * i + b])),
            Self::F16 => read_f16(&packed[2 * i..]),
            Self::Int8 => affine.value(packed[i]),
            Self::Int4 => affine.value(packed[i / 2] >> (4 * (i % 2)) & 15),
        }
    }
}
