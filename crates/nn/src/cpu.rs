//! Access to candle's CPU storage from custom ops.

use candle_core::{CpuStorage, Layout, Result, bail};

/// The values of a contiguous f32 storage.
///
/// # Errors
/// When the type is not f32 or the layout is strided: the caller has to make it contiguous.
pub fn values<'a>(storage: &'a CpuStorage, layout: &Layout, op: &str) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!(
            "{op}: expected a contiguous tensor, found strides {:?}",
            layout.stride()
        );
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}
