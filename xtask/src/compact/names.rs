//! `--names`: which tensors of a foreign file are tables and weights.

use std::path::Path;

use serde::Deserialize;
use slimbed_compact::{ForeignField, ForeignFile, Pooling};
use slimbed_files::IoContext;

use crate::failure::BadInput;

/// What the TOML says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    field: Vec<Field>,
    #[serde(default)]
    weight: Vec<Weight>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    name: String,
    tensor: String,
    #[serde(default = "sum")]
    pooling: Pooling,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Weight {
    name: String,
    tensor: String,
}

/// Name, shape and values of a weight.
pub type NamedWeight<'a> = (&'a str, &'a [usize], Vec<f32>);

impl Names {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, names the line where it holds something else, or has no field.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        let names: Self = toml::from_str(&text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text[..start.min(text.len())].matches('\n').count();
            BadInput(format!("{}:{line}: {}", path.display(), error.message()))
        })?;
        if names.field.is_empty() {
            let message = format!("{}: expected a [[field]], found none", path.display());
            return Err(BadInput(message).into());
        }
        Ok(names)
    }

    /// The tables.
    pub fn fields(&self) -> Vec<ForeignField> {
        let fields = self.field.iter().map(|field| ForeignField {
            name: field.name.clone(),
            tensor: field.tensor.clone(),
            pooling: field.pooling,
        });
        fields.collect()
    }

    /// The weights, read from `file`.
    ///
    /// # Errors
    /// When one is missing or of another type.
    pub fn weights<'a>(&'a self, file: &'a ForeignFile) -> anyhow::Result<Vec<NamedWeight<'a>>> {
        let weights = self.weight.iter().map(|weight| {
            let (shape, values) = (file.shape(&weight.tensor)?, file.floats(&weight.tensor)?);
            Ok((weight.name.as_str(), shape, values))
        });
        weights.collect()
    }

    /// Whether a tensor was named.
    pub fn has(&self, tensor: &str) -> bool {
        self.field.iter().any(|field| field.tensor == tensor)
            || self.weight.iter().any(|weight| weight.tensor == tensor)
    }
}

fn sum() -> Pooling {
    Pooling::Sum
}
