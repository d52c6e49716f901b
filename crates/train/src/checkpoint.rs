//! Checkpoints: everything a run needs to go on, in one safetensors file.
//!
//! Tensors are called `dense/<parameter>`, `dense-optimizer/<parameter>/<slot>`, `embedding/<state>` and
//! `first-order/<state>`; one metadata key holds a [`Header`] as sorted JSON. The states of random
//! generators are not among them: every stream is named by seed, purpose and number, so seed and
//! position fix them all. Nothing depends on time or machine, so the same run gives the same bytes.
//!
//! Files are written beside, synced and renamed, so the newest complete one is always there.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use slimbed_compact::write_tensors;
use slimbed_embedding::{EmbeddingLayer, SavedState, StateTensor, StateValues};
use slimbed_files::{IoContext, write_atomically};
use slimbed_fused::{NamedTensor, OptimizerState};
use xxhash_rust::xxh3::Xxh3;

use crate::learner::Learner;
use crate::{Config, EarlyStop, TrainError};

const KEY: &str = "slimbed-checkpoint";
const FORMAT_VERSION: u32 = 2;
const DENSE: &str = "dense/";
const OPTIMIZER: &str = "dense-optimizer/";
const EMBEDDING: &str = "embedding/";
const FIRST_ORDER: &str = "first-order/";

/// What a run is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Taking steps.
    #[default]
    Training,
    /// Done with all steps; the best weights are still to be exported and scored.
    Trained,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Batches of the epoch already used.
    pub batch: u64,
    /// Steps taken.
    pub step: u64,
}

/// Losses since the last line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossLog {
    /// Their sum.
    pub sum: f64,
    /// Their number.
    pub n: u64,
}

/// What a checkpoint says beside its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Version of the form.
    pub format_version: u32,
    /// Seed of the run: with the position it fixes every random stream.
    pub seed: u64,
    /// What the run does next.
    pub phase: Phase,
    /// Where it does so.
    pub position: Position,
    /// The part of the next line of the log that is known already.
    pub log: LossLog,
    /// Samples trained on.
    pub n_samples: u64,
    /// Length of `metrics.jsonl` in bytes: what stands behind is going to be written again.
    pub metrics_bytes: u64,
    /// The selection so far.
    pub early_stop: EarlyStop,
    /// Steps of the dense optimiser.
    pub optimizer_step: u64,
    /// The settings.
    pub config: Config,
    /// xxh3-64 in hexadecimal of this header, this field empty, and of all tensors; see [`save`].
    pub checksum: String,
}

impl Header {
    /// The header of a checkpoint of `learner` now, with nothing logged.
    pub fn new(
        learner: &Learner,
        position: Position,
        early_stop: &EarlyStop,
        config: &Config,
    ) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            seed: learner.seed.get(),
            phase: Phase::Training,
            position,
            log: LossLog::default(),
            n_samples: 0,
            metrics_bytes: 0,
            early_stop: early_stop.clone(),
            optimizer_step: 0,
            config: config.clone(),
            checksum: String::new(),
        }
    }
}

/// Writes a checkpoint to `path`.
///
/// The optimiser's step and the checksum of the header are filled in. The checksum covers the header's
/// JSON and, sorted by name, each tensor's name, a zero byte, and its bytes.
///
/// # Errors
/// When a tensor cannot be read from its device or the file system refuses; the old file then stays.
pub fn save(path: &Path, learner: &Learner, mut header: Header) -> Result<(), TrainError> {
    let (dense, optimizer) = (learner.dense.export()?, learner.dense.export_optimizer()?);
    header.optimizer_step = optimizer.step;
    let first_order = learner.first_order.as_ref();
    let states = [
        (EMBEDDING, learner.embedding.state()),
        (
            FIRST_ORDER,
            first_order.map_or(Vec::new(), EmbeddingLayer::state),
        ),
    ];
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
    for (prefix, state) in &states {
        for tensor in state {
            let (dtype, bytes) = match tensor.values {
                StateValues::F32(values) => (Dtype::F32, bytemuck::cast_slice(values)),
                StateValues::U32(values) => (Dtype::U32, bytemuck::cast_slice(values)),
            };
            let view = view(path, dtype, &[tensor.n_rows, tensor.dim], bytes)?;
            views.insert(format!("{prefix}{}", tensor.name), view);
        }
    }
    header.checksum = checksum(path, &header, &views, &|_| {})?;
    let json = to_json(path, &header)?;
    write_atomically(path, |file, _| {
        write_tensors(file, &views, (KEY, json)).map_err(|e| damaged(path, e))
    })
}

/// Brings `learner` to the state saved at `path` and returns the header.
///
/// # Errors
/// When the file is damaged or was written by a run of another shape.
pub fn load(path: &Path, learner: &mut Learner) -> Result<Header, TrainError> {
    let map = open(path)?;
    let header = parse_header(path, &map)?;
    let tensors = SafeTensors::deserialize(&map).map_err(|e| damaged(path, e))?;
    let views: BTreeMap<_, _> = tensors.tensors().into_iter().collect();
    let found = checksum(path, &header, &views, &|view| release(&map, view.data()))?;
    if found != header.checksum {
        let expected = &header.checksum;
        return Err(damaged(
            path,
            format!("expected checksum {expected}, found {found}"),
        ));
    }
    let (mut dense, mut optimizer) = (Vec::new(), Vec::new());
    let (mut state, mut first_order) = (Vec::new(), Vec::new());
    for (name, view) in &views {
        if let Some(name) = name.strip_prefix(DENSE) {
            dense.push(named(path, name, view)?);
        } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
            optimizer.push(named(path, name, view)?);
        } else if let Some(name) = name.strip_prefix(EMBEDDING) {
            state.push(state_tensor(path, name, view)?);
        } else if let Some(name) = name.strip_prefix(FIRST_ORDER) {
            first_order.push(state_tensor(path, name, view)?);
        }
    }
    let saved = OptimizerState {
        step: header.optimizer_step,
        tensors: optimizer,
    };
    learner.dense.import(&dense)?;
    learner.dense.import_optimizer(&saved)?;
    let mapped = |prefix, state| MappedState {
        prefix,
        state,
        map: &map,
        views: &views,
    };
    learner.embedding.restore(&mapped(EMBEDDING, state))?;
    if let Some(weights) = &mut learner.first_order {
        weights.restore(&mapped(FIRST_ORDER, first_order))?;
    }
    Ok(header)
}

/// State tensors in a mapped file. Each gives its memory back when it has been copied, so that loading
/// never holds the tables twice.
struct MappedState<'a> {
    /// In front of the names of the views.
    prefix: &'static str,
    state: Vec<StateTensor<'a>>,
    map: &'a Mmap,
    views: &'a BTreeMap<String, TensorView<'a>>,
}

impl SavedState for MappedState<'_> {
    fn find(&self, name: &str) -> Option<&StateTensor<'_>> {
        self.state.find(name)
    }

    fn release(&self, name: &str) {
        if let Some(view) = self.views.get(&format!("{}{name}", self.prefix)) {
            release(self.map, view.data());
        }
    }
}

/// Gives back the memory of `bytes`, a part of `map`; the next access would read the file again.
fn release(map: &Mmap, bytes: &[u8]) {
    #[cfg(unix)]
    {
        let start = bytes.as_ptr() as usize - map.as_ptr() as usize;
        let advice = memmap2::UncheckedAdvice::DontNeed;
        // SAFETY: the map is a read-only view of a file, so dropping its pages loses nothing. It is
        // advice: a system that refuses it only keeps the pages longer.
        let _ = unsafe { map.unchecked_advise_range(advice, start, bytes.len()) };
    }
    #[cfg(not(unix))]
    let _ = (map, bytes);
}

/// Reads what the checkpoint at `path` says, without its tensors.
///
/// # Errors
/// When the file is missing, is no checkpoint, or is one of another version.
pub fn read_header(path: &Path) -> Result<Header, TrainError> {
    parse_header(path, &open(path)?)
}

fn open(path: &Path) -> Result<Mmap, TrainError> {
    let file = File::open(path).at("open", path)?;
    // SAFETY: the map is only read; checkpoints are replaced by renaming, never changed in place.
    Ok(unsafe { Mmap::map(&file) }.at("map", path)?)
}

fn parse_header(path: &Path, bytes: &[u8]) -> Result<Header, TrainError> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(path, e))?;
    let json = metadata.metadata().as_ref().and_then(|map| map.get(KEY));
    let json = json.ok_or_else(|| damaged(path, format!("no `{KEY}` in its metadata")))?;
    let json: Value = serde_json::from_str(json).map_err(|e| damaged(path, e))?;
    let version = &json["format_version"];
    if version.as_u64() != Some(FORMAT_VERSION.into()) {
        let expected = format!("version {FORMAT_VERSION} of the form");
        return Err(damaged(
            path,
            format!("expected {expected}, found {version}"),
        ));
    }
    serde_json::from_value(json).map_err(|e| damaged(path, e))
}

fn to_json(path: &Path, header: &Header) -> Result<String, TrainError> {
    let json = serde_json::to_value(header).map_err(|e| damaged(path, e))?;
    Ok(json.to_string())
}

fn checksum(
    path: &Path,
    header: &Header,
    views: &BTreeMap<String, TensorView<'_>>,
    done: &dyn Fn(&TensorView<'_>),
) -> Result<String, TrainError> {
    let header = Header {
        checksum: String::new(),
        ..header.clone()
    };
    let mut hash = Xxh3::new();
    hash.update(to_json(path, &header)?.as_bytes());
    for (name, view) in views {
        hash.update(name.as_bytes());
        hash.update(&[0]);
        hash.update(view.data());
        done(view);
    }
    Ok(format!("{:016x}", hash.digest()))
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
    view: &TensorView<'a>,
) -> Result<StateTensor<'a>, TrainError> {
    let &[n_rows, dim] = view.shape() else {
        return Err(damaged(path, format!("`{name}` is not a matrix")));
    };
    let (dtype, bytes) = (view.dtype(), view.data());
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

pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> TrainError {
    TrainError::Checkpoint {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}
