//! `--device`: where candle computes.

use anyhow::Context;
use candle_core::Device;
use clap::Args;

use crate::failure::BadInput;

/// The device flag.
#[derive(Clone, Debug, Args)]
pub struct DeviceArg {
    /// Where the network computes: cpu, cuda, cuda:N, metal or metal:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
}

impl DeviceArg {
    /// What the flag says when it is given `name`.
    pub fn named(name: &str) -> Self {
        Self {
            device: name.to_owned(),
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// When the name is unknown, the build lacks the feature, or the machine lacks the device.
    pub fn open(&self) -> anyhow::Result<Device> {
        let (kind, ordinal) = self.device.split_once(':').unwrap_or((&self.device, "0"));
        let ordinal: usize = ordinal.parse().map_err(|_| self.unknown())?;
        let device = match kind {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Device::new_cuda(ordinal),
            "metal" => Device::new_metal(ordinal),
            _ => return Err(self.unknown().into()),
        };
        device
            .map_err(|e| BadInput(e.to_string()))
            .with_context(|| {
                format!(
                    "cannot open device `{}` (was it built with --features {kind}?)",
                    self.device
                )
            })
    }

    fn unknown(&self) -> BadInput {
        let expected = "cpu, cuda, cuda:N, metal or metal:N";
        BadInput(format!(
            "--device: expected {expected}, found `{}`",
            self.device
        ))
    }
}
