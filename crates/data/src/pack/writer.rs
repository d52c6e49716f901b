//! Writing a pack, block by block.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use slimbed_files::{FileError, IoContext};
use xxhash_rust::xxh3::xxh3_64;

use super::block::encode;
use super::{BLOCK_ROWS, END_MAGIC, Schema};
use crate::batches::Batch;

/// Writes the rows of one split; the caller makes the file appear in one step.
pub struct PackWriter {
    path: PathBuf,
    file: BufWriter<File>,
    schema: Schema,
    pending: Batch,
    offset: u64,
    footer: Vec<u8>,
    n_blocks: u64,
    n_rows: u64,
    n_positives: u64,
}

impl PackWriter {
    /// Starts a pack.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path, schema: Schema) -> Result<Self, FileError> {
        let file = File::create(path).at("create", path)?;
        let mut writer = Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 20, file),
            pending: Batch::empty(&schema),
            schema,
            offset: 0,
            footer: Vec::new(),
            n_blocks: 0,
            n_rows: 0,
            n_positives: 0,
        };
        writer.put(&writer.schema.header())?;
        Ok(writer)
    }

    /// Adds rows behind those before.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn append(&mut self, rows: &Batch) -> Result<(), FileError> {
        let mut from = 0;
        while from < rows.n {
            let n = (BLOCK_ROWS - self.pending.n).min(rows.n - from);
            self.pending.extend(rows, from..from + n);
            from += n;
            if self.pending.n == BLOCK_ROWS {
                self.flush_block()?;
            }
        }
        Ok(())
    }

    /// Writes what is left and closes the pack; returns rows and rows with label 1.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self) -> Result<(u64, u64), FileError> {
        if self.pending.n > 0 {
            self.flush_block()?;
        }
        let mut end = std::mem::take(&mut self.footer);
        let trailer = [self.n_blocks, self.n_rows, self.n_positives, self.offset];
        end.extend(trailer.iter().flat_map(|number| number.to_le_bytes()));
        end.extend(xxh3_64(&end).to_le_bytes());
        end.extend(END_MAGIC);
        self.put(&end)?;
        self.file.flush().at("write", &self.path)?;
        Ok((self.n_rows, self.n_positives))
    }

    fn flush_block(&mut self) -> Result<(), FileError> {
        let rows = std::mem::replace(&mut self.pending, Batch::empty(&self.schema));
        let bytes = encode(&self.schema, &rows);
        let entry = [
            self.offset,
            bytes.len() as u64,
            rows.n as u64,
            xxh3_64(&bytes),
        ];
        self.footer
            .extend(entry.iter().flat_map(|number| number.to_le_bytes()));
        self.n_blocks += 1;
        self.n_rows += rows.n as u64;
        self.n_positives += rows.labels.iter().filter(|&&label| label == 1.0).count() as u64;
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.offset += bytes.len() as u64;
        self.file.write_all(bytes).at("write", &self.path)
    }
}
