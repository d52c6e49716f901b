//! From category keys to rows of a table.
//!
//! Ids are learnt from the training split only. Row 0 is the out-of-vocabulary row: every key that is
//! rare or unseen there. The others stand in the order of falling count (then of the key), so an id is
//! also a frequency rank.
//!
//! `vocabulary.bin`, little-endian: magic `SLBVOCAB`, version u32, number of fields u32, for each field
//! number of keys u64, count of row 0 u64, keys u64 each, counts u64 each; at the end the xxh3-64 of
//! everything before.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;

use rayon::prelude::*;
use slimbed_files::{IoContext, write_atomically};
use xxhash_rust::xxh3::xxh3_64;

use crate::pack::Arity;
use crate::reader::Rows;
use crate::{DataError, Split};

const MAGIC: &[u8; 8] = b"SLBVOCAB";
const VERSION: u32 = 1;
/// Ids besides row 0 that a `u32` can number.
const MOST_IDS: u64 = u32::MAX as u64 - 1;

/// The row of keys that are rare or unseen.
pub const OOV: u32 = 0;

/// A hasher for keys that are numbers already: one multiplication. Only in memory, never stored.
#[derive(Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.write_u64(xxh3_64(bytes));
    }

    fn write_u64(&mut self, key: u64) {
        let product = u128::from(key ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (product >> 64) as u64 ^ product as u64;
    }
}

type KeyMap<V> = HashMap<u64, V, BuildHasherDefault<KeyHasher>>;

/// Counts the keys of the training rows.
pub struct Counter {
    fields: Vec<(Arity, KeyMap<u64>)>,
}

impl Counter {
    /// A counter for fields of the given arities.
    pub fn new(arities: Vec<Arity>) -> Self {
        let fields = arities.into_iter();
        Self {
            fields: fields.map(|arity| (arity, KeyMap::default())).collect(),
        }
    }

    /// Counts those of `rows` that `splits` puts in the training split; fields in parallel.
    pub fn count(&mut self, rows: &Rows, splits: &[Split]) {
        let n_fields = self.fields.len();
        let arities = self.fields.iter().map(|(arity, _)| *arity);
        let mut bags = rows.bags.iter();
        let bags = arities.map(|arity| (arity == Arity::Multi).then(|| bags.next()).flatten());
        let bags: Vec<Option<&Vec<u64>>> = bags.collect();
        self.fields
            .par_iter_mut()
            .zip(bags)
            .enumerate()
            .for_each(|(f, ((_, counts), bag))| {
                let mut rows = rows.keys.chunks_exact(n_fields).zip(splits);
                let mut count = |key| *counts.entry(key).or_default() += 1;
                let Some(mut rest) = bag.map(Vec::as_slice) else {
                    let train = rows.filter(|(_, split)| **split == Split::Train);
                    return train.for_each(|(keys, _)| count(keys[f]));
                };
                rows.try_for_each(|(keys, split)| {
                    let (categories, behind) = rest.split_at_checked(keys[f] as usize)?;
                    rest = behind;
                    if *split == Split::Train {
                        categories.iter().for_each(|&key| count(key));
                    }
                    Some(())
                });
            });
    }

    /// The vocabulary of keys seen at least `min_count` times.
    ///
    /// # Errors
    /// When a field has more ids than a `u32` can number; `names` are the fields'.
    pub fn finish(self, min_count: u64, names: &[String]) -> Result<Vocabulary, DataError> {
        let fields = self.fields.into_par_iter().zip(names);
        let fields = fields.map(|((_, counts), name)| {
            FieldVocabulary::new(counts, min_count, MOST_IDS).map_err(|found| {
                DataError::TooManyIds {
                    field: name.clone(),
                    limit: MOST_IDS,
                    found,
                }
            })
        });
        Ok(Vocabulary {
            fields: fields.collect::<Result<_, _>>()?,
        })
    }
}

/// The ids of all fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Vocabulary {
    fields: Vec<FieldVocabulary>,
}

/// The ids of one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldVocabulary {
    /// Key of id `i + 1`.
    keys: Vec<u64>,
    /// Training count of each row, row 0 first.
    counts: Vec<u64>,
    ids: KeyMap<u32>,
}

impl FieldVocabulary {
    /// The ids of the counted keys, or how many there are when that is more than `limit`.
    fn new(counts: KeyMap<u64>, min_count: u64, limit: u64) -> Result<Self, u64> {
        let total: u64 = counts.values().sum();
        let kept = counts.into_iter().filter(|&(_, count)| count >= min_count);
        let mut kept: Vec<(u64, u64)> = kept.collect();
        if kept.len() as u64 > limit {
            return Err(kept.len() as u64);
        }
        kept.sort_unstable_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
        let n_kept: u64 = kept.iter().map(|&(_, count)| count).sum();
        let keys = kept.iter().map(|&(key, _)| key).collect();
        let counts = std::iter::once(total - n_kept).chain(kept.iter().map(|&(_, count)| count));
        Ok(Self::from_parts(keys, counts.collect()))
    }

    fn from_parts(keys: Vec<u64>, counts: Vec<u64>) -> Self {
        let ids = keys.iter().zip(1..).map(|(&key, id)| (key, id)).collect();
        Self { keys, counts, ids }
    }

    /// Rows of the field's table, row 0 included.
    pub fn n_rows(&self) -> u32 {
        self.counts.len() as u32
    }

    /// How often each row occurs in the training split, row 0 first.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The row of a key; 0 when it is rare or unseen.
    pub fn id(&self, key: u64) -> u32 {
        self.ids.get(&key).copied().unwrap_or(OOV)
    }
}

impl Vocabulary {
    /// The fields in the order of the recipe.
    pub fn fields(&self) -> &[FieldVocabulary] {
        &self.fields
    }

    /// Writes `vocabulary.bin`.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn save(&self, path: &Path) -> Result<(), DataError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.fields.len() as u32).to_le_bytes());
        for field in &self.fields {
            bytes.extend((field.keys.len() as u64).to_le_bytes());
            bytes.extend(field.counts[0].to_le_bytes());
            let numbers = field.keys.iter().chain(&field.counts[1..]);
            bytes.extend(numbers.flat_map(|number| number.to_le_bytes()));
        }
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        write_atomically(path, |file, temporary| {
            std::io::Write::write_all(file, &bytes)
                .at("write", temporary)
                .map_err(DataError::from)
        })
    }

    /// Reads `vocabulary.bin`.
    ///
    /// # Errors
    /// When the file is damaged or of another version.
    pub fn load(path: &Path) -> Result<Self, DataError> {
        let bytes = std::fs::read(path).at("read", path)?;
        let damaged = |expected: &str, found: &str| DataError::Damaged {
            path: path.to_owned(),
            what: "vocabulary".into(),
            expected: expected.into(),
            found: found.into(),
        };
        let (body, checksum) = bytes
            .split_last_chunk::<8>()
            .ok_or_else(|| damaged("a checksum", "a cut-off file"))?;
        if u64::from_le_bytes(*checksum) != xxh3_64(body) {
            return Err(damaged("the bytes of the checksum", "other bytes"));
        }
        let mut cursor = Cursor(body);
        if cursor.take(8) != Some(MAGIC) {
            return Err(damaged("a vocabulary", "another file"));
        }
        match cursor.u32() {
            Some(VERSION) => {}
            found => {
                return Err(damaged(
                    &format!("version {VERSION}"),
                    &format!("{found:?}"),
                ));
            }
        }
        let fields = cursor
            .u32()
            .and_then(|n| (0..n).map(|_| cursor.field()).collect());
        let fields = fields.ok_or_else(|| damaged("whole fields", "a cut-off file"))?;
        if !cursor.0.is_empty() {
            return Err(damaged("the end of the file", "more bytes"));
        }
        Ok(Self { fields })
    }
}

/// What is left to read of a file.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        let bytes: [u8; 4] = self.take(4)?.try_into().ok()?;
        Some(u32::from_le_bytes(bytes))
    }

    fn u64s(&mut self, n: u64) -> Option<Vec<u64>> {
        let bytes = self.take(usize::try_from(n).ok()?.checked_mul(8)?)?;
        let number = |chunk: &[u8; 8]| u64::from_le_bytes(*chunk);
        Some(bytes.as_chunks::<8>().0.iter().map(number).collect())
    }

    fn field(&mut self) -> Option<FieldVocabulary> {
        let head = self.u64s(2)?;
        let keys = self.u64s(head[0])?;
        let counts = std::iter::once(head[1])
            .chain(self.u64s(head[0])?)
            .collect();
        Some(FieldVocabulary::from_parts(keys, counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of one field and their splits.
    fn vocabulary(keys: &[u64], splits: &[Split], min_count: u64) -> Vocabulary {
        let mut counter = Counter::new(vec![Arity::Single]);
        counter.count(
            &Rows {
                keys: keys.to_vec(),
                ..Rows::default()
            },
            splits,
        );
        counter.finish(min_count, &["C1".into()]).unwrap()
    }

    #[test]
    fn ids_are_frequency_ranks_of_the_training_split() {
        let keys = [7, 5, 5, 9, 9, 3, 3, 3, 8, 8];
        let mut splits = [Split::Train; 10];
        splits[8..].fill(Split::Test);
        let vocabulary = vocabulary(&keys, &splits, 2);
        let field = &vocabulary.fields()[0];
        assert_eq!(
            [3, 5, 9, 7, 8, 1].map(|key| field.id(key)),
            [1, 2, 3, OOV, OOV, OOV]
        );
        assert_eq!((field.n_rows(), field.counts()), (4, &[1, 3, 2, 2][..]));
    }

    #[test]
    fn more_ids_than_can_be_numbered_are_refused() {
        let counts = || [(3, 5), (4, 1), (9, 2)].into_iter().collect();
        assert_eq!(FieldVocabulary::new(counts(), 1, 2), Err(3));
        assert_eq!(FieldVocabulary::new(counts(), 2, 2).unwrap().n_rows(), 3);
    }

    #[test]
    fn what_is_saved_is_loaded_and_damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocabulary.bin");
        let keys = [1, 1, 1 << 63, 4, 4];
        let saved = vocabulary(&keys, &[Split::Train; 5], 2);
        saved.save(&path).unwrap();
        assert_eq!(Vocabulary::load(&path).unwrap(), saved);
        let good = std::fs::read(&path).unwrap();
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 4;
            std::fs::write(&path, &bad).unwrap();
            assert!(Vocabulary::load(&path).is_err(), "byte {i}");
            std::fs::write(&path, &good[..i]).unwrap();
            assert!(Vocabulary::load(&path).is_err(), "cut at {i}");
        }
    }
}
