//! The safetensors container, written into a file that is open already.
//!
//! `safetensors::serialize_to_file` fills a temporary of its own: a killed process leaves it under a
//! name that tells nobody whose it is, and only its owner may read it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};

use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

/// The header's length is a multiple of this, so that all data is aligned.
const ALIGNMENT: usize = 8;

/// Writes `tensors` and one metadata entry `key: text` to `file`, with the bytes that the safetensors
/// crate would write: widest type first, then by name.
///
/// # Errors
/// When the file cannot be written or the system refuses a size.
pub fn write_tensors(
    file: &mut File,
    tensors: &BTreeMap<String, TensorView<'_>>,
    (key, text): (&str, String),
) -> Result<(), SafeTensorError> {
    let mut sorted: Vec<_> = tensors.iter().collect();
    // The sort is stable and the map sorted by name.
    sorted.sort_by_key(|(_, view)| std::cmp::Reverse(view.dtype()));
    let mut end = 0;
    let infos = sorted.iter().map(|(name, view)| {
        let start = end;
        end += view.data().len();
        let info = TensorInfo {
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data_offsets: (start, end),
        };
        ((*name).clone(), info)
    });
    let entry = HashMap::from([(key.to_owned(), text)]);
    let metadata = Metadata::new(Some(entry), infos.collect())?;
    let mut header = serde_json::to_string(&metadata)?.into_bytes();
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    let mut out = BufWriter::new(file);
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, view) in sorted {
        out.write_all(view.data())?;
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::Dtype;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_safetensors_crate() {
        let bytes = [7_u8; 24];
        let view = |dtype, shape: &[usize]| {
            let n = shape.iter().product::<usize>() * if dtype == Dtype::U8 { 1 } else { 4 };
            TensorView::new(dtype, shape.to_vec(), &bytes[..n]).unwrap()
        };
        let tensors = BTreeMap::from([
            ("a".to_owned(), view(Dtype::U8, &[3])),
            ("b".to_owned(), view(Dtype::F32, &[2, 3])),
            ("c/d".to_owned(), view(Dtype::U32, &[1, 1])),
            ("e".to_owned(), view(Dtype::F32, &[0, 4])),
        ]);
        let text = "{\"x\":\"ü\"}".to_owned();
        let entry = HashMap::from([("key".to_owned(), text.clone())]);
        let expected = safetensors::serialize(tensors.clone(), Some(entry)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let mut file = File::create(&path).unwrap();
        write_tensors(&mut file, &tensors, ("key", text)).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), expected);
    }
}
