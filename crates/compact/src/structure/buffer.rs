//! The tensors of a part, before they are written and after they were opened.

use std::borrow::Cow;

use safetensors::tensor::Dtype;

use crate::error::FormError;

/// A tensor to be written.
#[derive(Clone, Debug)]
pub struct Buffer<'a> {
    /// Follows the name of the part, `.` included; empty for its values.
    pub suffix: &'static str,
    pub shape: Vec<usize>,
    pub data: Data<'a>,
}

/// Its elements, aligned as their type asks.
#[derive(Clone, Debug)]
pub enum Data<'a> {
    F32(Cow<'a, [f32]>),
    /// Pairs of bytes.
    F16(Vec<u8>),
    U8(Vec<u8>),
    U32(Vec<u32>),
    U64(Vec<u64>),
}

impl<'a> Buffer<'a> {
    pub fn new(suffix: &'static str, shape: &[usize], data: Data<'a>) -> Self {
        Self {
            suffix,
            shape: shape.to_vec(),
            data,
        }
    }

    /// The same with memory of its own.
    pub fn into_owned<'b>(self) -> Buffer<'b> {
        let data = match self.data {
            Data::F32(values) => Data::F32(Cow::Owned(values.into_owned())),
            Data::F16(bytes) => Data::F16(bytes),
            Data::U8(bytes) => Data::U8(bytes),
            Data::U32(words) => Data::U32(words),
            Data::U64(words) => Data::U64(words),
        };
        let Self { suffix, shape, .. } = self;
        Buffer {
            suffix,
            shape,
            data,
        }
    }

    pub fn dtype(&self) -> Dtype {
        match self.data {
            Data::F32(_) => Dtype::F32,
            Data::F16(_) => Dtype::F16,
            Data::U8(_) => Dtype::U8,
            Data::U32(_) => Dtype::U32,
            Data::U64(_) => Dtype::U64,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::F32(values) => bytemuck::cast_slice(values),
            Data::F16(bytes) | Data::U8(bytes) => bytes,
            Data::U32(words) => bytemuck::cast_slice(words),
            Data::U64(words) => bytemuck::cast_slice(words),
        }
    }
}

/// A tensor as it was found: its type, its shape and its bytes.
pub type Found<'t, 'a> = (Dtype, &'t [usize], &'a [u8]);

/// The tensors of a part that was stored, by their suffix.
pub struct Tensors<'t, 'a> {
    pub find: &'t dyn Fn(&str) -> Option<Found<'t, 'a>>,
}

impl<'a> Tensors<'_, 'a> {
    /// The bytes of the tensor with this suffix, type and shape; `None` in a shape stands for any size.
    pub fn bytes(
        &self,
        suffix: &'static str,
        dtype: Dtype,
        shape: &[Option<usize>],
    ) -> Result<&'a [u8], FormError> {
        let expected = || format!("{dtype:?} of shape {}", describe(shape));
        let Some((found, sizes, bytes)) = (self.find)(suffix) else {
            return Err(FormError::new(suffix, expected(), "no such tensor"));
        };
        let fits = |(size, wanted): (&usize, &Option<usize>)| wanted.is_none_or(|w| w == *size);
        if found != dtype || sizes.len() != shape.len() || !sizes.iter().zip(shape).all(fits) {
            let found = format!("{found:?} of shape {sizes:?}");
            return Err(FormError::new(suffix, expected(), found));
        }
        Ok(bytes)
    }

    /// The same as words of a type.
    pub fn words<T: bytemuck::Pod>(
        &self,
        suffix: &'static str,
        dtype: Dtype,
        shape: &[Option<usize>],
    ) -> Result<&'a [T], FormError> {
        let bytes = self.bytes(suffix, dtype, shape)?;
        bytemuck::try_cast_slice(bytes)
            .map_err(|reason| FormError::new(suffix, format!("aligned {dtype:?}"), reason))
    }
}

fn describe(shape: &[Option<usize>]) -> String {
    let sizes: Vec<_> = shape
        .iter()
        .map(|size| size.map_or("any".to_owned(), |n| n.to_string()))
        .collect();
    format!("[{}]", sizes.join(", "))
}
