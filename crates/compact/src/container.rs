//! The safetensors container: read without trust, written into a file that is open already.
//!
//! `safetensors::serialize_to_file` fills a temporary of its own: a killed process leaves it under a
//! name that tells nobody whose it is, and only its owner may read it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};

use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

/// Tensors begin at multiples of this in the file, a cache line, as long as the ones before have whole lines.
const ALIGNMENT: usize = 64;

/// Bytes of the number in front of the header.
const LENGTH_BYTES: usize = size_of::<u64>();

/// Writes `tensors` and one metadata entry `key: text` to `file`.
///
/// The data begins at a multiple of 64. Tensors whose size is a multiple of 64 come first, then those of
/// 32, 16, …, each in the order of the names: so each begins at a multiple of the largest power of two, up
/// to 64, that divides its size, and rows of a power of two never cross cache lines without need.
///
/// # Errors
/// When the file cannot be written or the system refuses a size.
pub fn write_tensors(
    file: &mut File,
    tensors: &BTreeMap<String, TensorView<'_>>,
    entry: (&str, String),
) -> Result<(), SafeTensorError> {
    let sorted = sorted(tensors);
    let header = header(&sorted, entry)?;
    let mut out = BufWriter::new(file);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, view) in sorted {
        out.write_all(view.data())?;
    }
    Ok(out.flush()?)
}

/// Bytes of the file that [`write_tensors`] would write.
///
/// # Errors
/// When the header cannot be made.
pub fn tensors_bytes(
    tensors: &BTreeMap<String, TensorView<'_>>,
    entry: (&str, String),
) -> Result<u64, SafeTensorError> {
    let header = header(&sorted(tensors), entry)?;
    let data: usize = tensors.values().map(|view| view.data().len()).sum();
    Ok((LENGTH_BYTES + header.len() + data) as u64)
}

/// Tensors in the order of the file, by name.
type Sorted<'t, 'v> = Vec<(&'t String, &'t TensorView<'v>)>;

fn sorted<'t, 'v>(tensors: &'t BTreeMap<String, TensorView<'v>>) -> Sorted<'t, 'v> {
    let mut sorted: Vec<_> = tensors.iter().collect();
    // The sort is stable and the map sorted by name.
    sorted.sort_by_key(|(_, view)| std::cmp::Reverse(alignment(view.data().len())));
    sorted
}

/// The header, as long as it has to be for the data to be aligned.
fn header(
    sorted: &Sorted<'_, '_>,
    (key, text): (&str, String),
) -> Result<Vec<u8>, SafeTensorError> {
    let mut end = 0;
    let infos = sorted.iter().map(|(name, view)| {
        let start = end;
        end += view.data().len();
        let info = TensorInfo {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data_offsets: (start, end),
        };
        (name.to_string(), info)
    });
    let entry = HashMap::from([(key.to_owned(), text)]);
    let metadata = Metadata::new(Some(entry), infos.collect())?;
    let mut header = serde_json::to_string(&metadata)?.into_bytes();
    let header_end = (LENGTH_BYTES + header.len()).next_multiple_of(ALIGNMENT);
    header.resize(header_end - LENGTH_BYTES, b' ');
    Ok(header)
}

/// Reads the header of a file: where the tensors' bytes begin, and what they are.
///
/// `SafeTensors::read_metadata` adds sizes that the header may have chosen to turn over.
///
/// # Errors
/// When the bytes are no safetensors file, or not the whole of it.
pub fn read_header(file: &[u8]) -> Result<(usize, Metadata), SafeTensorError> {
    let length = file.first_chunk().ok_or(SafeTensorError::HeaderTooSmall)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok();
    let start = length.and_then(|length| length.checked_add(LENGTH_BYTES));
    let start = start.ok_or(SafeTensorError::HeaderTooLarge)?;
    let header = file.get(LENGTH_BYTES..start);
    let header = header.ok_or(SafeTensorError::InvalidHeaderLength)?;
    // Offsets without gaps, and sizes that suit them, are checked here.
    let metadata: Metadata =
        serde_json::from_slice(header).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
    let ends = metadata
        .tensors()
        .into_values()
        .map(|info| info.data_offsets.1);
    if ends.max().unwrap_or(0) != file.len() - start {
        return Err(SafeTensorError::MetadataIncompleteBuffer);
    }
    Ok((start, metadata))
}

/// The largest power of two up to 64 that divides `len`.
fn alignment(len: usize) -> usize {
    match len {
        0 => 1,
        _ => 1 << len.trailing_zeros().min(ALIGNMENT.trailing_zeros()),
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;
    use safetensors::tensor::Dtype;

    use super::*;

    #[test]
    fn another_reader_opens_it_and_lines_are_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        let view = |dtype, shape: &[usize]| {
            let n = shape.iter().product::<usize>() * if dtype == Dtype::U8 { 1 } else { 4 };
            TensorView::new(dtype, shape.to_vec(), &bytes[..n]).unwrap()
        };
        let tensors = BTreeMap::from([
            ("a".to_owned(), view(Dtype::U8, &[3])),
            ("b".to_owned(), view(Dtype::F32, &[2, 3])),
            ("c/d".to_owned(), view(Dtype::U32, &[16, 2])),
            ("e".to_owned(), view(Dtype::F32, &[0, 4])),
            ("f".to_owned(), view(Dtype::U8, &[64])),
        ]);
        let text = "{\"x\":\"ü\"}".to_owned();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut file = File::create(&path).unwrap();
        write_tensors(&mut file, &tensors, ("key", text.clone())).unwrap();
        let written = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&written).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["key"], text);
        let read = SafeTensors::deserialize(&written).unwrap();
        for (name, view) in &tensors {
            let found = read.tensor(name).unwrap();
            assert_eq!((found.dtype(), found.shape()), (view.dtype(), view.shape()));
            assert_eq!(found.data(), view.data());
            let at = found.data().as_ptr() as usize - written.as_ptr() as usize;
            assert_eq!(at % alignment(view.data().len()), 0, "{name}");
        }
    }
}
