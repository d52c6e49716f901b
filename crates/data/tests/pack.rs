//! What is packed is unpacked, and no damage goes unnoticed.

#![expect(clippy::unwrap_used, reason = "a test may stop at an error")]

mod rows;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use slimbed_data::pack::{Arity, PackReader, PackWriter, Schema};
use slimbed_data::{BLOCK_ROWS, Batch, DataError};
use tempfile::{TempDir, tempdir};
use xxhash_rust::xxh3::xxh3_64;

/// Where the width of an id changes, and the ends.
const TABLE_ROWS: [u32; 9] = [1, 2, 255, 256, 257, 65_535, 65_536, 65_537, u32::MAX];
const N_ROWS: [usize; 7] = [0, 1, 100, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 9000];
const TRAILER: usize = 48;

/// All rows of a pack.
fn read(path: &Path) -> Result<Batch, DataError> {
    let pack = PackReader::open(path)?;
    let mut rows = Batch::empty(pack.schema());
    for i in 0..pack.n_blocks() {
        let block = pack.read_block(i)?;
        assert_eq!(block.n, pack.block_rows(i));
        rows.extend(&block, 0..block.n);
    }
    assert_eq!(rows.n as u64, pack.n_rows());
    Ok(rows)
}

fn check(schema: &Schema, n: usize, piece: usize, seed: u64) {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.pack");
    let expected = rows::random(schema, n, seed);
    rows::write(&path, schema, &expected, piece);
    assert_eq!(read(&path).unwrap(), expected);
    let pack = PackReader::open(&path).unwrap();
    assert_eq!(pack.schema(), schema);
    assert_eq!(pack.n_blocks(), n.div_ceil(BLOCK_ROWS));
    assert_eq!(pack.n_bytes(), std::fs::metadata(&path).unwrap().len());
}

fn any_schema() -> impl Strategy<Value = Schema> {
    let arity = prop_oneof![Just(Arity::Single), Just(Arity::Multi)];
    let field = (prop::sample::select(&TABLE_ROWS[..]), arity);
    (0usize..3, prop::collection::vec(field, 0..4))
        .prop_map(|(n_dense, fields)| rows::schema(n_dense, &fields))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_packed_is_unpacked(
        schema in any_schema(),
        n in prop::sample::select(&N_ROWS[..]),
        piece in prop::sample::select(&[1usize, 7, 4096, 5000, 10_000][..]),
        seed in any::<u64>(),
    ) {
        check(&schema, n, piece, seed);
    }
}

#[test]
fn ids_take_the_fewest_bytes() {
    for (n_rows, id_bytes) in [(256, 1), (257, 2), (65_536, 2), (65_537, 4)] {
        let schema = rows::schema(0, &[(n_rows, Arity::Single)]);
        let folder = tempdir().unwrap();
        let path = folder.path().join("a.pack");
        let mut all = rows::random(&schema, 10, 1);
        all.fields[0].ids[3] = n_rows - 1;
        rows::write(&path, &schema, &all, 10);
        assert_eq!(read(&path).unwrap(), all);
        let (header, entry) = (24 + 8 + 8, 32);
        let n_bytes = std::fs::metadata(&path).unwrap().len();
        assert_eq!(
            n_bytes,
            header + 10 * (1 + id_bytes) + entry + TRAILER as u64
        );
    }
}

/// A pack of three rows: two dense columns, a field of 200 table rows, a bag field of 300.
struct Small {
    _folder: TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Small {
    const HEADER: usize = 24 + 2 * 8 + 8;
    /// Labels, dense columns, ids; then the bags' offsets.
    const IDS: usize = 3 + 2 * 3 * 4;
    const OFFSETS: usize = Self::IDS + 3;
    const BAGS: usize = Self::OFFSETS + 4 * 4;

    fn new() -> Self {
        let folder = tempdir().unwrap();
        let path = folder.path().join("small.pack");
        let schema = rows::schema(2, &[(200, Arity::Single), (300, Arity::Multi)]);
        rows::write(&path, &schema, &rows::random(&schema, 3, 5), 2);
        let bytes = std::fs::read(&path).unwrap();
        Self {
            _folder: folder,
            path,
            bytes,
        }
    }

    /// The error of reading `bytes` in place of the pack.
    fn error(&self, bytes: &[u8]) -> Option<String> {
        std::fs::write(&self.path, bytes).unwrap();
        read(&self.path).err().map(|error| error.to_string())
    }

    /// The pack with other bytes at `at` of its block, or of its header, and all checksums right.
    fn forged(&self, part: Part, at: usize, new: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let start = match part {
            Part::Header => 0,
            Part::Block => Self::HEADER,
        };
        bytes[start + at..][..new.len()].copy_from_slice(new);
        let footer = bytes.len() - TRAILER - 32;
        seal(&mut bytes, 0..Self::HEADER - 8, Self::HEADER - 8);
        seal(&mut bytes, Self::HEADER..footer, footer + 24);
        let end = footer + 32 + 32;
        seal(&mut bytes, footer..end, end);
        bytes
    }
}

#[derive(Clone, Copy)]
enum Part {
    Header,
    Block,
}

/// Writes the checksum of `range` to `at`.
fn seal(bytes: &mut [u8], range: std::ops::Range<usize>, at: usize) {
    let checksum = xxh3_64(&bytes[range]);
    bytes[at..at + 8].copy_from_slice(&checksum.to_le_bytes());
}

#[test]
fn every_cut_and_every_flipped_byte_is_found() {
    let small = Small::new();
    assert_eq!(small.error(&small.bytes), None);
    for i in 0..small.bytes.len() {
        assert!(small.error(&small.bytes[..i]).is_some(), "cut at {i}");
        for mask in [0x01, 0x80, 0xff] {
            let mut bad = small.bytes.clone();
            bad[i] ^= mask;
            assert!(small.error(&bad).is_some(), "byte {i} ^ {mask:#x}");
        }
    }
    let longer = [&small.bytes[..], b"\0"].concat();
    assert!(small.error(&longer).is_some());
}

#[test]
fn lies_with_right_checksums_are_found() {
    let small = Small::new();
    assert_eq!(small.error(&small.forged(Part::Block, 0, &[0])), None);
    let word = |n: u32| n.to_le_bytes();
    let cases: [(Part, usize, &[u8], &str); 12] = [
        (Part::Block, 1, &[2], "label 2"),
        (
            Part::Block,
            Small::IDS + 2,
            &[200],
            "id 200 in a table of 200 rows",
        ),
        (
            Part::Block,
            Small::BAGS,
            &[0x2c, 1],
            "id 300 in a table of 300 rows",
        ),
        (
            Part::Block,
            Small::OFFSETS,
            &word(1),
            "offsets that do not rise from 0",
        ),
        (
            Part::Block,
            Small::OFFSETS + 4,
            &word(99),
            "offsets that do not rise from 0",
        ),
        (
            Part::Block,
            Small::OFFSETS + 12,
            &word(99),
            "bytes where 198 were expected",
        ),
        (
            Part::Block,
            Small::OFFSETS + 12,
            &word(u32::MAX),
            "were expected",
        ),
        (Part::Header, 8, &word(2), "version: expected 1, found 2"),
        (Part::Header, 12, &word(u32::MAX), "were expected"),
        (Part::Header, 12, &word(1), "block 0: expected whole rows"),
        (
            Part::Header,
            20,
            &word(4095),
            "rows of a block: expected 4096, found 4095",
        ),
        (
            Part::Header,
            28,
            &word(7),
            "kind of a field: expected 0 or 1, found 7",
        ),
    ];
    for (part, at, new, expected) in cases {
        let text = small
            .error(&small.forged(part, at, new))
            .unwrap_or_default();
        assert!(text.contains("small.pack"), "`{text}` for {expected}");
        assert!(text.contains(expected), "`{text}` for {expected}");
    }
}

#[test]
fn another_version_is_named() {
    let small = Small::new();
    let mut bytes = small.bytes.clone();
    bytes[8] = 9;
    let text = small.error(&bytes).unwrap();
    assert!(
        text.contains("small.pack: version: expected 1, found 9"),
        "{text}"
    );
}

#[test]
fn a_block_that_fails_does_not_spoil_the_others() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.pack");
    let schema = rows::schema(1, &[(10, Arity::Single)]);
    let all = rows::random(&schema, 3 * BLOCK_ROWS, 2);
    rows::write(&path, &schema, &all, BLOCK_ROWS);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let pack = PackReader::open(&path).unwrap();
    let text = pack.read_block(1).unwrap_err().to_string();
    assert!(text.contains("a.pack: block 1: expected"), "{text}");
    for block in [0, 2] {
        let mut expected = Batch::empty(&schema);
        expected.extend(&all, block * BLOCK_ROWS..(block + 1) * BLOCK_ROWS);
        assert_eq!(pack.read_block(block).unwrap(), expected);
    }
    assert!(PackReader::open(Path::new("no such file")).is_err());
}

#[test]
fn a_pack_without_rows_is_opened() {
    check(&rows::schema(2, &[(5, Arity::Multi)]), 0, 1, 3);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let schema = rows::schema(1, &[(10, Arity::Single)]);
    let mut writer = PackWriter::create(Path::new("/dev/full"), schema.clone()).unwrap();
    let written = writer.append(&rows::random(&schema, 300, 1));
    let error = written.and_then(|()| writer.finish()).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot write /dev/full"),
        "{error}"
    );
}
