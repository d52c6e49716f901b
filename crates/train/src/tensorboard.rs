//! TensorBoard event files: scalars over steps.
//!
//! A file is a sequence of records. A record is the length of its data (u64, little-endian), the
//! masked CRC-32C of those 8 bytes, the data, and the masked CRC-32C of the data. The data is one
//! protobuf message; of the whole schema only these fields are written:
//!
//! ```text
//! Event   { wall_time = 1: double, step = 2: int64, file_version = 3: string, summary = 5: Summary }
//! Summary { value = 1: Value }
//! Value   { tag = 1: string, simple_value = 2: float }
//! ```
//!
//! Sources: `tensorboard/compat/proto/{event,summary}.proto`, and the TFRecord page of TensorFlow's
//! documentation.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use slimbed_files::{FileError, IoContext};

const FILE_VERSION: &str = "brain.Event:2";

/// Protobuf wire types.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

/// Appends scalars to one event file.
///
/// Records are buffered: [`EventWriter::flush`] makes them visible to a TensorBoard that watches.
#[derive(Debug)]
pub struct EventWriter {
    file: BufWriter<File>,
    path: PathBuf,
}

impl EventWriter {
    /// Starts `dir/events.out.tfevents.<seconds>.slimbed`; makes `dir` where it is missing.
    ///
    /// `wall_time` is in seconds since 1970. An existing file is never touched: a second writer in the
    /// same second gets a number behind the name, which TensorBoard reads as well.
    ///
    /// # Errors
    /// [`FileError`] when the folder or the file cannot be made or written.
    pub fn create(dir: &Path, wall_time: f64) -> Result<Self, FileError> {
        std::fs::create_dir_all(dir).at("create folder", dir)?;
        let (file, path) = create_new(dir, wall_time)?;
        let file = BufWriter::new(file);
        let mut writer = Self { file, path };
        let mut event = Message::default();
        event.double(1, wall_time);
        event.bytes(3, FILE_VERSION.as_bytes());
        writer.record(&event.0)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Where the events go.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one point: `value` of `tag` (for example `valid/auc`) after `step` steps, at `wall_time`
    /// seconds since 1970.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be written.
    pub fn scalar(
        &mut self,
        tag: &str,
        step: u64,
        value: f32,
        wall_time: f64,
    ) -> Result<(), FileError> {
        let mut point = Message::default();
        point.bytes(1, tag.as_bytes());
        point.float(2, value);
        let mut summary = Message::default();
        summary.bytes(1, &point.0);
        let mut event = Message::default();
        event.double(1, wall_time);
        // Protobuf 3 leaves out a number that is 0.
        if step > 0 {
            event.integer(2, step);
        }
        event.bytes(5, &summary.0);
        self.record(&event.0)
    }

    /// Hands everything written so far to the system.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be written (a full disk, say).
    pub fn flush(&mut self) -> Result<(), FileError> {
        self.file.flush().at("write", &self.path)
    }

    fn record(&mut self, data: &[u8]) -> Result<(), FileError> {
        write_record(&mut self.file, data).at("write", &self.path)
    }
}

fn create_new(dir: &Path, wall_time: f64) -> Result<(File, PathBuf), FileError> {
    let first = format!("events.out.tfevents.{}.slimbed", wall_time as u64);
    let mut path = dir.join(&first);
    let mut n_taken = 0;
    loop {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                n_taken += 1;
                path = dir.join(format!("{first}.{n_taken}"));
            }
            result => return Ok((result.at("create", &path)?, path)),
        }
    }
}

fn write_record(file: &mut impl Write, data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    file.write_all(&length)?;
    file.write_all(&masked_crc(&length))?;
    file.write_all(data)?;
    file.write_all(&masked_crc(data))
}

/// CRC-32C, rotated and shifted: a checksum of data that holds checksums would be weak otherwise.
fn masked_crc(data: &[u8]) -> [u8; 4] {
    let masked = crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8);
    masked.to_le_bytes()
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn double(&mut self, field: u8, value: f64) {
        self.key(field, FIXED_64);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u8, value: f32) {
        self.key(field, FIXED_32);
        self.0.extend(value.to_le_bytes());
    }

    fn integer(&mut self, field: u8, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    fn bytes(&mut self, field: u8, value: &[u8]) {
        self.key(field, BYTES);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    /// One byte: all our fields are below 16.
    fn key(&mut self, field: u8, wire_type: u8) {
        self.0.push(field << 3 | wire_type);
    }

    /// Seven bits a byte, lowest first; the top bit says that more follow.
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `tests/fixtures/make_events.py`, with TensorBoard's own writer.
    const GOLDEN: &str = include_str!("../tests/fixtures/events.hex");

    fn golden_bytes() -> Vec<u8> {
        let digits: Vec<u32> = GOLDEN.chars().filter_map(|c| c.to_digit(16)).collect();
        let byte = |pair: &[u32]| (pair[0] * 16 + pair[1]) as u8;
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn the_bytes_are_those_of_tensorboard() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(dir.path(), 1_700_000_000.25).unwrap();
        let long_tag = format!("größe/{}", "x".repeat(130));
        for (tag, step, value, wall_time) in [
            ("train/loss", 0, 0.75, 1_700_000_000.5),
            ("train/loss", 300, 0.5, 1_700_000_001.25),
            ("valid/auc", 1 << 40, 0.0, 1_700_000_002.0),
            (&long_tag, 1, -1.5e-8, 1_700_000_003.0),
        ] {
            writer.scalar(tag, step, value, wall_time).unwrap();
        }
        writer.flush().unwrap();
        let path = dir.path().join("events.out.tfevents.1700000000.slimbed");
        assert_eq!(std::fs::read(path).unwrap(), golden_bytes());
    }

    #[test]
    fn a_second_writer_leaves_the_first_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs/1");
        let writers: Vec<EventWriter> = (0..3)
            .map(|_| EventWriter::create(&runs, 5.0).unwrap())
            .collect();
        let names: Vec<_> = writers.iter().map(|w| w.path().file_name()).collect();
        let stem = "events.out.tfevents.5.slimbed";
        let expected = [stem.to_owned(), format!("{stem}.1"), format!("{stem}.2")];
        assert_eq!(names, expected.each_ref().map(|n| Some(n.as_ref())));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = EventWriter::create(&file.join("below"), 0.0).unwrap_err();
        assert!(error.to_string().contains("below"), "{error}");
    }
}
