//! Files made to do harm: each gives an error, or values from within it.
#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod damage;
mod drive;
mod forms;
mod parts;

use std::fs;
use std::path::PathBuf;

use damage::{damage, mend};
use drive::{put, survive};
use forms::every_form;
use parts::{Parts, Tensor};
use serde_json::json;
use slimbed_compact::{Artefact, ArtefactError, DenseTensor, FieldTable, write};
use slimbed_rng::Seed;

/// A place for one file after the other.
struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.safetensors");
        Self { _dir: dir, path }
    }

    /// An artefact of `fields`, taken apart.
    fn parts(&self, fields: &[FieldTable<'_>]) -> Parts {
        let dense = [DenseTensor {
            name: "w",
            shape: &[1, 2],
            values: &[1.0, 2.0],
        }];
        write(&self.path, fields, &dense, json!({}), json!({})).unwrap();
        Parts::read(&fs::read(&self.path).unwrap()).unwrap()
    }

    fn try_parts(&self, parts: &Parts) -> Result<(), ArtefactError> {
        survive(&self.path, &parts.file())
    }

    fn opens(&self, parts: &Parts) -> Result<(), ArtefactError> {
        put(&self.path, &parts.file());
        Artefact::open(&self.path).map(drop)
    }
}

#[test]
fn every_form_survives_undamaged() {
    let place = Place::new();
    for field in every_form() {
        let parts = place.parts(&[field]);
        place.try_parts(&parts).unwrap();
        assert_eq!(Parts::read(&parts.file()).unwrap(), parts);
    }
}

#[test]
fn every_word_of_every_tensor_may_be_anything() {
    let place = Place::new();
    for field in every_form() {
        let good = place.parts(&[field]);
        let last = good.tensors.len() - 1;
        for t in 0..=last {
            // Nothing stands behind the tensor that is damaged, if the words before are aligned so too.
            let mut parts = good.clone();
            parts.tensors.swap(t, last);
            match place.opens(&parts) {
                Ok(()) => break_words(&place, &mut parts, last),
                Err(_) => break_words(&place, &mut good.clone(), t),
            }
        }
    }
}

/// Sets each word of tensor `t` to what may turn over.
fn break_words(place: &Place, parts: &mut Parts, t: usize) {
    const VALUES: [u32; 4] = [0, 1, 0x7fff_ffff, u32::MAX];
    let n_words = parts.tensors[t].bytes.len() / 4;
    // All of an index; of long payloads the two ends, where rows begin and end.
    let words = (0..n_words).filter(|&w| w < 32 || w + 4 >= n_words);
    for word in words {
        let at = 4 * word..4 * word + 4;
        let old = parts.tensors[t].bytes[at.clone()].to_vec();
        for value in VALUES {
            parts.tensors[t].bytes[at.clone()].copy_from_slice(&value.to_le_bytes());
            let _ = place.try_parts(parts);
        }
        parts.tensors[t].bytes[at].copy_from_slice(&old);
    }
}

#[test]
fn every_number_of_the_manifest_may_be_anything() {
    let place = Place::new();
    let numbers = [
        0,
        1,
        2,
        31,
        33,
        32_767,
        32_768,
        u32::MAX.into(),
        1 << 32,
        u64::MAX,
    ];
    for field in every_form() {
        let good = place.parts(&[field]);
        let part = &good.manifest["fields"][0];
        let keys = |path: &str, value: &serde_json::Value| -> Vec<String> {
            let entries = value.as_object().unwrap().iter();
            let numbers = entries.filter(|(_, value)| value.is_number());
            numbers.map(|(key, _)| format!("{path}/{key}")).collect()
        };
        let mut places = keys("/fields/0", part);
        places.extend(keys("/fields/0/sharing", &part["sharing"]));
        for (i, part) in part["parts"].as_array().unwrap().iter().enumerate() {
            places.extend(keys(&format!("/fields/0/parts/{i}"), part));
        }
        for at in places {
            for number in numbers {
                let mut bad = good.clone();
                *bad.manifest.pointer_mut(&at).unwrap() = json!(number);
                let _ = place.try_parts(&bad);
                mend(&mut bad, |parts| place.opens(parts));
                let _ = place.try_parts(&bad);
            }
        }
    }
}

#[test]
fn sizes_at_the_end_of_64_bits_do_not_turn_over() {
    let place = Place::new();
    let mut parts = place.parts(&every_form()[..1]);
    parts
        .tensors
        .retain(|tensor| tensor.name.starts_with("table"));
    let mut start = parts.tensors.iter().map(|t| t.bytes.len() as u64).sum();
    // Tensors without bytes in the file, each as long as its type allows.
    let most = (1_u64 << 61) - 1;
    for i in 0.. {
        let n = most.min(u64::MAX - start);
        parts.tensors.push(Tensor {
            name: format!("dense.{i}"),
            dtype: "U8".into(),
            shape: vec![n],
            bytes: Vec::new(),
            offsets: Some([start, start + n]),
        });
        start += n;
        let error = place.try_parts(&parts).unwrap_err();
        assert!(matches!(error, ArtefactError::Container { .. }), "{error}");
        if start == u64::MAX {
            break;
        }
    }
}

#[test]
fn tensors_that_overlap_are_missing_or_are_too_many_give_errors() {
    let place = Place::new();
    for field in every_form() {
        let good = place.parts(&[field]);
        for t in 0..good.tensors.len() {
            let name = &good.tensors[t].name;
            let n = good.tensors[t].bytes.len() as u64;
            let refused = |what: &str, change: &dyn Fn(&mut Parts)| {
                let mut bad = good.clone();
                change(&mut bad);
                assert!(place.try_parts(&bad).is_err(), "{name}: {what}");
            };
            if name.starts_with("table.") {
                refused("missing", &|parts| drop(parts.tensors.remove(t)));
                refused("another type", &|parts| {
                    parts.tensors[t].dtype = "I8".into()
                });
                refused("another name", &|parts| parts.tensors[t].name += "x.y");
            }
            refused("beyond the end", &|parts| {
                parts.tensors[t].offsets = Some([n, n + n + 8])
            });
            refused("a shape that lies", &|parts| parts.tensors[t].shape.push(3));
            refused("an offset of all ones", &|parts| {
                parts.tensors[t].offsets = Some([0, u64::MAX]);
            });
        }
        let mut bad = good.clone();
        bad.tensors.push(Tensor {
            name: "table".into(),
            ..good.tensors[0].clone()
        });
        assert!(place.try_parts(&bad).is_err(), "too many");
    }
}

#[test]
fn a_field_that_is_there_twice_gives_an_error() {
    let place = Place::new();
    let mut parts = place.parts(&every_form()[..1]);
    let fields = parts.manifest["fields"].as_array_mut().unwrap();
    fields.push(fields[0].clone());
    let error = place.try_parts(&parts).unwrap_err();
    assert!(error.to_string().contains("a field of its own"), "{error}");
}

#[test]
fn random_damage_is_survived() {
    let place = Place::new();
    let all: Vec<Parts> = every_form()
        .into_iter()
        .map(|field| place.parts(&[field]))
        .collect();
    let mut opened = 0;
    for round in 0..6000 {
        let mut random = Seed::new(1).stream("damage", round);
        let mut parts = all[round as usize % all.len()].clone();
        for _ in 0..=random.below(3) {
            damage(&mut parts, &mut random);
        }
        if random.below(2) == 0 {
            mend(&mut parts, |parts| place.opens(parts));
        }
        opened += u32::from(place.try_parts(&parts).is_ok());
    }
    // Else lookups would not be tested.
    assert!(opened > 1000, "{opened} opened");
}
