//! Damage that knows what it breaks: numbers, names and tensors of an artefact.

use serde_json::{Value, json};
use slimbed_compact::ArtefactError;
use slimbed_rng::Stream;

use super::parts::{Parts, Tensor};

/// Numbers at which something may turn over.
const NUMBERS: [u64; 36] = [
    0,
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    128,
    129,
    255,
    256,
    32_766,
    32_767,
    32_768,
    65_536,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 2,
    (1 << 32) - 1,
    1 << 32,
    1 << 53,
    (1 << 61) - 1,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

const WORDS: [&str; 21] = [
    "all",
    "present",
    "dense",
    "dense-lines",
    "steps",
    "prefix",
    "bitmap",
    "positions",
    "f32",
    "f16",
    "int8",
    "int4",
    "none",
    "hash",
    "quotient-remainder",
    "sum",
    "mean",
    "product",
    "concat",
    "t",
    "",
];

const DTYPES: [&str; 7] = ["U8", "F16", "F32", "U32", "U64", "I64", "F4"];

const SUFFIXES: [&str; 8] = [
    "",
    ".index",
    ".head",
    ".rows",
    ".columns",
    ".affine",
    ".present",
    ".remainder",
];

/// Most bytes a tensor grows to.
const MOST_BYTES: u64 = 1 << 16;

/// Breaks one thing.
pub fn damage(parts: &mut Parts, random: &mut Stream) {
    if parts.tensors.is_empty() || random.below(2) == 0 {
        break_manifest(&mut parts.manifest, random);
        return;
    }
    let i = random.below(parts.tensors.len() as u64) as usize;
    match random.below(16) {
        0 => drop(parts.tensors.remove(i)),
        1 => copy(parts, i, random),
        2 => {
            let j = random.below(parts.tensors.len() as u64) as usize;
            parts.tensors.swap(i, j);
        }
        3 | 4 => break_form(&mut parts.tensors[i], random),
        _ => break_bytes(&mut parts.tensors[i].bytes, random),
    }
}

/// Gives the tensors the types and shapes that the reader says it expects, so that more of what is broken
/// comes as far as a lookup.
pub fn mend(parts: &mut Parts, open: impl Fn(&Parts) -> Result<(), ArtefactError>) {
    for _ in 0..8 {
        let Err(ArtefactError::Tensor {
            tensor, expected, ..
        }) = open(parts)
        else {
            return;
        };
        let Some((dtype, shape)) = expected_form(&expected) else {
            return;
        };
        let known = parts.tensors.iter().position(|t| t.name == tensor);
        let i = known.unwrap_or_else(|| {
            parts.tensors.push(Tensor {
                name: tensor.clone(),
                dtype: String::new(),
                shape: Vec::new(),
                bytes: Vec::new(),
                offsets: None,
            });
            parts.tensors.len() - 1
        });
        let tensor = &mut parts.tensors[i];
        (tensor.dtype, tensor.shape) = (dtype, shape);
        tensor.fit(MOST_BYTES);
        // Wider words first: then all are aligned.
        parts
            .tensors
            .sort_by_key(|tensor| std::cmp::Reverse(tensor.width()));
    }
}

/// Type and shape in `F32 of shape [3, any]`; 64 for any size.
fn expected_form(expected: &str) -> Option<(String, Vec<u64>)> {
    let (dtype, shape) = expected.split_once(" of shape [")?;
    let sizes = shape.strip_suffix(']')?.split(", ");
    let size = |text: &str| {
        if text == "any" {
            Some(64)
        } else {
            text.parse().ok()
        }
    };
    Some((dtype.to_owned(), sizes.map(size).collect::<Option<_>>()?))
}

fn pick<T: Copy>(from: &[T], random: &mut Stream) -> T {
    from[random.below(from.len() as u64) as usize]
}

fn number(old: u64, random: &mut Stream) -> u64 {
    match random.below(6) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old.wrapping_mul(2),
        3 => random.below(200),
        _ => pick(&NUMBERS, random),
    }
}

fn break_manifest(manifest: &mut Value, random: &mut Stream) {
    let mut places = Vec::new();
    let fields = manifest.get("fields").unwrap_or(&Value::Null);
    list(fields, "/fields".into(), &mut places);
    let place = &places[random.below(places.len() as u64) as usize];
    let Some(value) = manifest.pointer_mut(place) else {
        *manifest = json!({});
        return;
    };
    match value {
        Value::Number(old) => {
            let new = number(old.as_u64().unwrap_or(0), random);
            *value = match random.below(12) {
                0 => json!(-(random.below(300) as i64)),
                1 => json!(0.5),
                _ => json!(new),
            };
        }
        Value::String(old) => {
            *value = match random.below(8) {
                0 => json!(old.repeat(2)),
                _ => json!(pick(&WORDS, random)),
            };
        }
        Value::Bool(old) => *value = json!(!*old),
        Value::Array(items) => break_list(items, random),
        Value::Object(entries) if entries.is_empty() => *value = json!(0),
        Value::Object(entries) => {
            let keys: Vec<String> = entries.keys().cloned().collect();
            let key = &keys[random.below(keys.len() as u64) as usize];
            let old = entries.remove(key);
            if random.below(2) == 0 {
                entries.insert(key.repeat(2), old.unwrap_or_default());
            }
        }
        Value::Null => *value = json!(0),
    }
}

fn break_list(items: &mut Vec<Value>, random: &mut Stream) {
    if items.is_empty() {
        items.push(json!(0));
        return;
    }
    let i = random.below(items.len() as u64) as usize;
    match random.below(3) {
        0 => drop(items.remove(i)),
        1 => items.push(items[i].clone()),
        _ => items.swap(0, i),
    }
}

/// Every place in a JSON value.
fn list(value: &Value, place: String, places: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                list(item, format!("{place}/{i}"), places);
            }
        }
        Value::Object(entries) if !entries.is_empty() => {
            for (key, entry) in entries {
                list(entry, format!("{place}/{key}"), places);
            }
        }
        _ => {}
    }
    places.push(place);
}

fn copy(parts: &mut Parts, i: usize, random: &mut Stream) {
    let mut tensor = parts.tensors[i].clone();
    tensor.name += pick(&SUFFIXES, random);
    if parts.tensors.iter().all(|other| other.name != tensor.name) {
        parts.tensors.push(tensor);
    }
}

fn break_form(tensor: &mut Tensor, random: &mut Stream) {
    match random.below(5) {
        0 => tensor.dtype = pick(&DTYPES, random).to_owned(),
        1 => {
            let offset = |random: &mut Stream| number(tensor.bytes.len() as u64, random);
            tensor.offsets = Some([offset(random), offset(random)]);
        }
        2 if tensor.shape.is_empty() => tensor.shape.push(1),
        2 => drop(tensor.shape.pop()),
        _ => {
            let n = tensor.shape.len().max(1) as u64;
            if let Some(size) = tensor.shape.get_mut(random.below(n) as usize) {
                *size = number(*size, random);
            }
            if random.below(4) > 0 {
                tensor.fit(MOST_BYTES);
            }
        }
    }
}

fn break_bytes(bytes: &mut [u8], random: &mut Stream) {
    if bytes.is_empty() {
        return;
    }
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(4) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.word() as u8,
        2 => {
            let to = random.below(bytes.len() as u64) as usize;
            let n = random.below((bytes.len() - at.max(to)) as u64 + 1) as usize;
            bytes.copy_within(at..at + n, to);
        }
        _ => {
            let width = pick(&[4, 8], random);
            let at = at / width * width;
            if let Some(word) = bytes.get_mut(at..at + width) {
                let mut old = [0; 8];
                old[..width].copy_from_slice(word);
                let new = number(u64::from_le_bytes(old), random).to_le_bytes();
                word.copy_from_slice(&new[..width]);
            }
        }
    }
}
