//! Checkpoints: everything a run needs to go on, in one safetensors file.
//!
//! Tensors are called `dense/<parameter>`, `dense-optimizer/<parameter>/<slot>` and
//! `embedding/<state>`; one metadata key holds a [`Header`] as sorted JSON. Files are written beside,
//! synced and renamed, so the newest complete one is always there.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use slimbed_embedding::{StateTensor, StateValues};
use slimbed_files::{IoContext, write_atomically};
use slimbed_fused::{NamedTensor, OptimizerState};

use crate::learner::Learner;
use crate::{Config, EarlyStop, TrainError};

const KEY: &str = "slimbed-checkpoint";
const FORMAT_VERSION: u32 = 1;
const DENSE: &str = "dense/";
const OPTIMIZER: &str = "dense-optimizer/";
const EMBEDDING: &str = "embedding/";

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Batches of the epoch already used.
    pub batch: u64,
    /// Steps taken.
    pub step: u64,
}

/// What a checkpoint says beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the form.
    pub format_version: u32,
    /// Seed of the run: with the position it fixes every random stream.
    pub seed: u64,
    /// Where the run goes on.
    pub position: Position,
    /// The selection so far.
    pub early_stop: EarlyStop,
    /// Steps of the dense optimiser.
    pub optimizer_step: u64,
    /// The settings.
    pub config: Config,
}

impl Header {
    /// The header of a checkpoint of `learner` now.
    pub fn new(
        learner: &Learner,
        position: Position,
        early_stop: &EarlyStop,
        config: &Config,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            seed: learner.seed.get(),
            position,
            early_stop: early_stop.clone(),
            optimizer_step: 0,
            config: config.clone(),
        }
    }
}

/// Writes a checkpoint to `path`.
///
/// # Errors
/// When a tensor cannot be read from its device or the file system refuses; the old file then stays.
pub fn save(path: &Path, learner: &Learner, mut header: Header) -> Result<(), TrainError> {
    let (dense, optimizer) = (learner.dense.export()?, learner.dense.export_optimizer()?);
    header.optimizer_step = optimizer.step;
    let state = learner.embedding.state();
    let mut views = BTreeMap::new();
    for (prefix, tensors) in [(DENSE, &dense), (OPTIMIZER, &optimizer.tensors)] {
        for tensor in tensors {
            let view = view(
                path,
                Dtype::F32,
                &tensor.shape,
                bytemuck::cast_slice(&tensor.values),
            )?;
            views.insert(format!("{prefix}{}", tensor.name), view);
        }
    }
    for tensor in &state {
        let (dtype, bytes) = match tensor.values {
            StateValues::F32(values) => (Dtype::F32, bytemuck::cast_slice(values)),
            StateValues::U32(values) => (Dtype::U32, bytemuck::cast_slice(values)),
        };
        let view = view(path, dtype, &[tensor.n_rows, tensor.dim], bytes)?;
        views.insert(format!("{EMBEDDING}{}", tensor.name), view);
    }
    let json = serde_json::to_value(&header).map_err(|e| damaged(path, e))?;
    let metadata = HashMap::from([(KEY.to_owned(), json.to_string())]);
    write_atomically(path, |_, temporary| {
        safetensors::serialize_to_file(views, Some(metadata), temporary)
            .map_err(|e| damaged(path, e))
    })
}

/// Brings `learner` to the state saved at `path` and returns the header.
///
/// # Errors
/// When the file is damaged or was written by a run of another shape.
pub fn load(path: &Path, learner: &mut Learner) -> Result<Header, TrainError> {
    let file = File::open(path).at("open", path)?;
    // SAFETY: the map is only read and lives as long as this call; checkpoints are replaced by
    // renaming, never changed in place.
    let map = unsafe { Mmap::map(&file) }.at("map", path)?;
    let header = read_header(path, &map)?;
    let tensors = SafeTensors::deserialize(&map).map_err(|e| damaged(path, e))?;
    let (mut dense, mut optimizer, mut state) = (Vec::new(), Vec::new(), Vec::new());
    for (name, view) in tensors.iter() {
        if let Some(name) = name.strip_prefix(DENSE) {
            dense.push(named(path, name, &view)?);
        } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
            optimizer.push(named(path, name, &view)?);
        } else if let Some(name) = name.strip_prefix(EMBEDDING) {
            state.push(state_tensor(path, name, view)?);
        }
    }
    let saved = OptimizerState {
        step: header.optimizer_step,
        tensors: optimizer,
    };
    learner.dense.import(&dense)?;
    learner.dense.import_optimizer(&saved)?;
    learner.embedding.restore(&state)?;
    Ok(header)
}

fn read_header(path: &Path, bytes: &[u8]) -> Result<Header, TrainError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(path, e))?;
    let json = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
    let json = json.ok_or_else(|| damaged(path, format!("no `{KEY}` in its metadata")))?;
    let header: Header = serde_json::from_str(json).map_err(|e| damaged(path, e))?;
    if header.format_version != FORMAT_VERSION {
        let found = header.format_version;
        return Err(damaged(
            path,
            format!("expected version {FORMAT_VERSION}, found {found}"),
        ));
    }
    Ok(header)
}

fn view<'a>(
    path: &Path,
    dtype: Dtype,
    shape: &[usize],
    bytes: &'a [u8],
) -> Result<TensorView<'a>, TrainError> {
    TensorView::new(dtype, shape.to_vec(), bytes).map_err(|e| damaged(path, e))
}

fn named(path: &Path, name: &str, view: &TensorView<'_>) -> Result<NamedTensor, TrainError> {
    let values = values::<f32>(path, name, view.dtype(), Dtype::F32, view.data())?.to_vec();
    Ok(NamedTensor {
        name: name.to_owned(),
        shape: view.shape().to_vec(),
        values,
    })
}

fn state_tensor<'a>(
    path: &Path,
    name: &str,
    view: TensorView<'a>,
) -> Result<StateTensor<'a>, TrainError> {
    let &[n_rows, dim] = view.shape() else {
        return Err(damaged(path, format!("`{name}` is not a matrix")));
    };
    let dtype = view.dtype();
    let bytes = view.data();
    let values = if dtype == Dtype::U32 {
        StateValues::U32(values(path, name, dtype, Dtype::U32, bytes)?)
    } else {
        StateValues::F32(values(path, name, dtype, Dtype::F32, bytes)?)
    };
    Ok(StateTensor {
        name: name.to_owned(),
        n_rows,
        dim,
        values,
    })
}

fn values<'a, T: bytemuck::Pod>(
    path: &Path,
    name: &str,
    found: Dtype,
    expected: Dtype,
    bytes: &'a [u8],
) -> Result<&'a [T], TrainError> {
    if found != expected {
        return Err(damaged(
            path,
            format!("`{name}`: expected {expected:?}, found {found:?}"),
        ));
    }
    bytemuck::try_cast_slice(bytes).map_err(|e| damaged(path, format!("`{name}`: {e}")))
}

fn damaged(path: &Path, reason: impl std::fmt::Display) -> TrainError {
    TrainError::Checkpoint {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
