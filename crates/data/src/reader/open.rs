//! Plain, gzip and zstd files, told apart by their first bytes.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use slimbed_files::{FileError, IoContext};
use xxhash_rust::xxh3::Xxh3Default;

const BUFFER: usize = 1 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What has been read of a file as it is stored.
#[derive(Clone, Default)]
pub struct Meter(Arc<Mutex<Reading>>);

#[derive(Default)]
struct Reading {
    n_bytes: u64,
    hash: Xxh3Default,
}

impl Meter {
    /// Bytes read so far and their xxh3-64.
    pub fn read(&self) -> (u64, u64) {
        let reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (reading.n_bytes, reading.hash.digest())
    }

    fn add(&self, bytes: &[u8]) {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reading.n_bytes += bytes.len() as u64;
        reading.hash.update(bytes);
    }
}

struct Metered {
    file: File,
    meter: Meter,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.meter.add(&buffer[..n]);
        Ok(n)
    }
}

/// Opens `path` for reading its uncompressed content; `meter` sees the bytes as they are stored.
pub fn open(path: &Path, meter: Meter) -> Result<Box<dyn Read + Send>, FileError> {
    let mut file = File::open(path).at("open", path)?;
    let mut start = Vec::new();
    file.by_ref()
        .take(4)
        .read_to_end(&mut start)
        .at("read", path)?;
    meter.add(&start);
    let rest = BufReader::with_capacity(BUFFER, Metered { file, meter });
    let whole = io::Cursor::new(start.clone()).chain(rest);
    if start.starts_with(&GZIP) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(whole)));
    }
    if start.starts_with(&ZSTD) {
        return Ok(Box::new(
            zstd::Decoder::with_buffer(whole).at("decompress", path)?,
        ));
    }
    Ok(Box::new(whole))
}
