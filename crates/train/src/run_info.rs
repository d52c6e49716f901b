//! What a run's folder says about the run besides its settings.

use std::path::{Path, PathBuf};

use candle_core::{Device, DeviceLocation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use slimbed_data::Dataset;
use slimbed_files::IoContext;
use slimbed_rng::Seed;
use xxhash_rust::xxh3::xxh3_64;

use crate::TrainError;
use crate::run_dir::{read_json, run_file};

const FORMAT_VERSION: u32 = 1;

/// `run.json`: with the settings, all that it takes to go on with a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunInfo {
    /// Version of the form.
    pub format_version: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// Where the dense part is computed: `cpu`, `cuda:N` or `metal:N`.
    pub device: String,
    /// Folder of the prepared data, absolute.
    pub data_dir: PathBuf,
    /// xxh3-64 in hexadecimal of its `meta.json`, which names files, split and vocabulary sizes.
    pub data_xxh3: String,
    /// What the caller wants to know again when the run goes on.
    pub extra: Map<String, Value>,
}

impl RunInfo {
    /// Describes a new run.
    ///
    /// # Errors
    /// When the data's folder cannot be read.
    pub fn new(
        dataset: &Dataset,
        seed: Seed,
        device: &Device,
        extra: &Map<String, Value>,
    ) -> Result<Self, TrainError> {
        let data_dir = dataset.path();
        Ok(Self {
            format_version: FORMAT_VERSION,
            seed: seed.get(),
            device: device_name(device),
            data_dir: data_dir.canonicalize().at("find", data_dir)?,
            data_xxh3: identity(data_dir)?,
            extra: extra.clone(),
        })
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it is missing, damaged or of another version.
    pub(crate) fn read(path: &Path) -> Result<Self, TrainError> {
        let value: Value = read_json(path)?;
        let version = &value["format_version"];
        if version.as_u64() != Some(FORMAT_VERSION.into()) {
            let expected = format!("expected format_version {FORMAT_VERSION}");
            return Err(run_file(path, format!("{expected}, found {version}")));
        }
        serde_json::from_value(value).map_err(|e| run_file(path, e))
    }

    /// Compares `dataset` with the data the run began with.
    ///
    /// # Errors
    /// Names both checksums when it is another one.
    pub fn check_data(&self, dataset: &Dataset) -> Result<(), TrainError> {
        let found = identity(dataset.path())?;
        if found == self.data_xxh3 {
            return Ok(());
        }
        let reason = format!(
            "the data has changed since the run began: expected xxh3 {} of meta.json, found {found}",
            self.data_xxh3
        );
        Err(run_file(dataset.path(), reason))
    }
}

fn identity(data_dir: &Path) -> Result<String, TrainError> {
    let path = data_dir.join("meta.json");
    let bytes = std::fs::read(&path).at("read", &path)?;
    Ok(format!("{:016x}", xxh3_64(&bytes)))
}

fn device_name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".into(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}
