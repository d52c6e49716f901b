//! Which values rows of different lengths keep.

use super::super::Marks;
use crate::rows::{is_kept, prefix_len};

/// Which values of a row are kept, and how the others know.
pub trait Kept: Copy + Sync + 'static {
    /// What stands in front of a record.
    const MARKS: Marks;
    /// Its name in messages.
    const NAME: &'static str;

    /// The kept values of a row, to be found in `out` or in the row itself.
    fn kept<'a>(row: &'a [f32], out: &'a mut Vec<f32>) -> &'a [f32];
}

/// The first values of each row.
#[derive(Clone, Copy, Debug)]
pub struct Prefix;

/// Any values of each row, with a bit for every column.
#[derive(Clone, Copy, Debug)]
pub struct Bitmap;

/// Any values of each row, with a byte for every one.
#[derive(Clone, Copy, Debug)]
pub struct List;

impl Kept for Prefix {
    const MARKS: Marks = Marks::None;
    const NAME: &'static str = "prefix";

    fn kept<'a>(row: &'a [f32], _: &'a mut Vec<f32>) -> &'a [f32] {
        &row[..prefix_len(row)]
    }
}

impl Kept for Bitmap {
    const MARKS: Marks = Marks::Bits;
    const NAME: &'static str = "bitmap";

    fn kept<'a>(row: &'a [f32], out: &'a mut Vec<f32>) -> &'a [f32] {
        anywhere(row, out)
    }
}

impl Kept for List {
    const MARKS: Marks = Marks::Columns;
    const NAME: &'static str = "list";

    fn kept<'a>(row: &'a [f32], out: &'a mut Vec<f32>) -> &'a [f32] {
        anywhere(row, out)
    }
}

fn anywhere<'a>(row: &[f32], out: &'a mut Vec<f32>) -> &'a [f32] {
    out.clear();
    out.extend(row.iter().copied().filter(|&x| is_kept(x)));
    out
}
