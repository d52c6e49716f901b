//! From exact rows to the file that is shipped.

use std::path::Path;

use serde_json::Value;
use slimbed_compact::{Artefact, DenseTensor, Encoder, Packed, TableSource, Values, pack};
use slimbed_data::Dataset;

use crate::select::{Selection, select};
use crate::{ExportConfig, TrainError};

/// What is to be shipped.
#[derive(Clone, Copy)]
pub struct ShipRequest<'a> {
    /// The artefact that the shipped one is measured against: model and dense weights are taken from it.
    pub before: &'a Path,
    /// The rows.
    pub source: &'a dyn TableSource,
    /// How they are to be stored.
    pub settings: &'a ExportConfig,
    /// What [`ExportConfig::max_auc_drop`] is measured on; only needed when that is set.
    pub dataset: Option<&'a Dataset>,
}

/// What was shipped.
#[derive(Clone, Debug)]
pub struct Shipped {
    /// What was weighed, and what the file says of itself.
    pub packed: Packed,
    /// How the types were selected, where they were not given.
    pub selection: Option<Selection>,
}

/// Writes the artefact to `path`; `training` says how it came to be.
///
/// # Errors
/// When rows cannot be read or stored, the tolerance cannot be kept to, or the file cannot be written.
pub fn ship(
    request: &ShipRequest<'_>,
    path: &Path,
    training: Value,
) -> Result<Shipped, TrainError> {
    let n_fields = request.source.fields().len();
    let settings = request.settings;
    let selection = match request.dataset {
        Some(dataset) if settings.max_auc_drop > 0.0 => Some(select(request, dataset, path)?),
        _ => None,
    };
    let values = match &selection {
        Some(selection) => selection.values.clone(),
        None => vec![settings.values; n_fields],
    };
    let packed = pack_as(request, &values, path, training)?;
    Ok(Shipped { packed, selection })
}

/// Writes the artefact with these types of values, a field each.
pub(crate) fn pack_as(
    request: &ShipRequest<'_>,
    values: &[Values],
    path: &Path,
    training: Value,
) -> Result<Packed, TrainError> {
    let before = Artefact::open(request.before)?;
    let names = before.dense_names();
    let dense = names.iter().map(|name| {
        let (shape, values) = before.dense(name)?;
        Ok(DenseTensor {
            name,
            shape,
            values,
        })
    });
    let dense: Vec<_> = dense.collect::<Result<_, TrainError>>()?;
    let encoders = values.iter().map(|&v| request.settings.encoder(v));
    let encoders: Vec<Encoder> = encoders.collect();
    let model = before.manifest().model.clone();
    Ok(pack(
        path,
        request.source,
        &encoders,
        &dense,
        model,
        training,
    )?)
}
