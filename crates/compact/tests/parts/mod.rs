//! An artefact taken apart, to be put together again with something wrong.

use serde_json::{Map, Value, json};

/// A tensor that may lie about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<u64>,
    pub bytes: Vec<u8>,
    /// Offsets that are not those of its bytes.
    pub offsets: Option<[u64; 2]>,
}

/// Manifest and tensors, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    pub manifest: Value,
    pub tensors: Vec<Tensor>,
}

const KEY: &str = "slimbed";
/// What the widest words of a tensor are aligned to.
const WORD: usize = 8;

impl Parts {
    /// Takes a file apart; `None` if it is none.
    pub fn read(file: &[u8]) -> Option<Self> {
        let n = usize::try_from(u64::from_le_bytes(*file.first_chunk()?)).ok()?;
        let start = n.checked_add(8)?;
        let header: Map<String, Value> = serde_json::from_slice(file.get(8..start)?).ok()?;
        let text = header.get("__metadata__")?.get(KEY)?.as_str()?;
        let manifest = serde_json::from_str(text).ok()?;
        let tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
        let mut tensors: Vec<(u64, Tensor)> = tensors
            .map(|(name, info)| Self::tensor(name, info, file.get(start..)?))
            .collect::<Option<_>>()?;
        tensors.sort_by_key(|(start, tensor)| (*start, tensor.bytes.len()));
        let tensors = tensors.into_iter().map(|(_, tensor)| tensor).collect();
        Some(Self { manifest, tensors })
    }

    fn tensor(name: &str, info: &Value, data: &[u8]) -> Option<(u64, Tensor)> {
        let [from, to] = [0, 1].map(|i| info["data_offsets"][i].as_u64());
        let bytes = data.get(from? as usize..to? as usize)?.to_vec();
        let shape = info["shape"].as_array()?.iter().map(Value::as_u64);
        let tensor = Tensor {
            name: name.to_owned(),
            dtype: info["dtype"].as_str()?.to_owned(),
            shape: shape.collect::<Option<_>>()?,
            bytes,
            offsets: None,
        };
        Some((from?, tensor))
    }

    /// The file.
    pub fn file(&self) -> Vec<u8> {
        let mut header = Map::new();
        header.insert(
            "__metadata__".into(),
            json!({KEY: self.manifest.to_string()}),
        );
        let mut end = 0;
        for tensor in &self.tensors {
            let start = end;
            end += tensor.bytes.len() as u64;
            let (dtype, shape) = (&tensor.dtype, &tensor.shape);
            let offsets = tensor.offsets.unwrap_or([start, end]);
            let info = json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
            header.insert(tensor.name.clone(), info);
        }
        let mut header = Value::from(header).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(WORD), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend(self.tensors.iter().flat_map(|tensor| &tensor.bytes));
        file
    }
}

impl Tensor {
    /// Bytes of an element; 1 for types that no artefact has.
    pub fn width(&self) -> u64 {
        match self.dtype.as_str() {
            "F16" => 2,
            "F32" | "U32" => 4,
            "U64" => 8,
            _ => 1,
        }
    }

    /// Makes it as long as its shape says, if that is no more than `most` bytes.
    pub fn fit(&mut self, most: u64) {
        let mut sizes = self.shape.iter();
        let n = sizes.try_fold(self.width(), |n, &size| n.checked_mul(size));
        if let Some(n) = n.filter(|&n| n <= most) {
            self.bytes.resize(n as usize, 0);
        }
    }
}
