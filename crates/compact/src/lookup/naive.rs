//! Row after row, value after value: what the kernels are held against.

use crate::bags::{Bags, Output, Pooling};
use crate::lookup::lanes::Portable;
use crate::structure::{ABSENT, Core, Marks, Positions, Storage};
use crate::table::Table;
use crate::values::{Affine, Values};
use crate::{LookupError, Scratch};

/// The same as [`Table::lookup`], by decoding every row on its own.
///
/// # Errors
/// As [`Table::lookup`].
pub fn lookup(
    table: &Table<'_>,
    bags: &Bags<'_>,
    mut out: Output<'_>,
    scratch: &mut Scratch,
) -> Result<(), LookupError> {
    table.check(bags, &out)?;
    let mut row = vec![0.0; table.dim()];
    for b in 0..bags.n() {
        let range = bags.range(b);
        let n = range.len().max(1) as f32;
        out.row(b, table.dim()).fill(0.0);
        for p in range {
            table.row(bags.ids[p], &mut row, scratch)?;
            let weight = bags.weights.map_or(1.0, |weights| weights[p]);
            let sums = out.row(b, table.dim());
            sums.iter_mut()
                .zip(&row)
                .for_each(|(s, x)| *s += weight * x);
        }
        if table.pooling() == Pooling::Mean {
            out.row(b, table.dim()).iter_mut().for_each(|x| *x /= n);
        }
    }
    Ok(())
}

/// Writes row `row`, in units of the table.
pub(crate) fn decode(core: &Core<'_>, values: Values, row: u32, out: &mut [f32]) {
    out.fill(0.0);
    match core {
        Core::Dense(dense) => decode_record(dense, values, row, out),
        Core::Lines(lines) => decode_record(lines, values, row, out),
        Core::Steps(steps) => decode_record(steps, values, row, out),
        Core::Prefix(ragged) => decode_record(ragged, values, row, out),
        Core::Bitmap(ragged) => decode_record(ragged, values, row, out),
        Core::List(ragged) => decode_record(ragged, values, row, out),
        Core::Positions(positions) => decode_run(positions, row, out),
    }
}

fn decode_record<S: Storage>(storage: &S, values: Values, row: u32, out: &mut [f32]) {
    if row == ABSENT {
        return;
    }
    let row = storage.row(row);
    if row.kept == 0 {
        return;
    }
    let (affine, packed) = row.values.split_at(values.fixed_bytes());
    let affine = match values.is_integer() {
        true => Affine::read(affine),
        false => Affine::default(),
    };
    let is_kept = |column: usize| match row.marks {
        (Marks::None, _) => column < row.kept,
        (Marks::Bits, mask) => mask[column / 8] >> (column % 8) & 1 == 1,
        (Marks::Columns, columns) => columns.contains(&(column as u8)),
    };
    let columns = (0..out.len()).filter(|&column| is_kept(column));
    for (i, column) in columns.enumerate() {
        out[column] = values.read(packed, i, affine);
    }
}

fn decode_run(positions: &Positions<'_>, row: u32, out: &mut [f32]) {
    // SAFETY: any processor has the portable instructions.
    let run = unsafe { positions.locate::<Portable>(row) };
    positions.for_each(run, |column, x| {
        if let Some(value) = out.get_mut(column) {
            *value = x;
        }
    });
}
