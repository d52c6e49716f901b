//! The settings of a run: defaults, checked in one place.

use serde::{Deserialize, Serialize};
use slimbed_embedding::{RowInit, SparseRule};
use slimbed_fused::{DenseRule, Precision, WeightDecay};

use slimbed_amtl::AmtlSettings;
use slimbed_baselines::{
    AutoEmbSettings, CutoffSettings, DeepLightSettings, HashSettings, MixedDimSettings, QrSettings,
};
use slimbed_mlet::MletSettings;
use slimbed_pep::PepSettings;

use crate::check::{at_least_one, check};
use crate::{ExportConfig, MethodConfig, ModelConfig, Schedule, TrainError};

/// Every setting of a run; the resolved form is saved beside its results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The network.
    pub model: ModelConfig,
    /// The training.
    pub train: TrainConfig,
    /// The reduction method, and how far it goes.
    pub method: MethodConfig,
    /// AMTL's own settings.
    pub amtl: AmtlSettings,
    /// PEP's own settings.
    pub pep: PepSettings,
    /// MLET's own settings.
    pub mlet: MletSettings,
    /// Hashing's own settings.
    pub hash: HashSettings,
    /// Quotient and remainder's own settings.
    pub qr: QrSettings,
    /// Mixed dimensions' own settings.
    pub mixed_dim: MixedDimSettings,
    /// The frequency cut-off's own settings.
    pub cutoff: CutoffSettings,
    /// The settings of DeepLight's schedule.
    pub deeplight: DeepLightSettings,
    /// AutoEmb's own settings.
    pub autoemb: AutoEmbSettings,
    /// The shipped file.
    pub export: ExportConfig,
}

/// Settings of the training, keys `train.*`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Passes over the training split.
    pub epochs: u64,
    /// Samples of a step.
    pub batch_size: usize,
    /// Who computes the dense part.
    pub engine: EngineKind,
    /// Type of the operands of the dense part's products; sums and parameters are f32.
    pub precision: PrecisionKind,
    /// Optimiser of the dense parameters.
    pub optimizer: DenseOptimizerKind,
    /// Learning rate of the dense parameters.
    pub lr: f64,
    /// Decoupled weight decay of the dense parameters, per step and unit of learning rate.
    pub weight_decay: f64,
    /// Optimiser of the embedding tables.
    pub embedding_optimizer: SparseOptimizerKind,
    /// Learning rate of the embedding tables.
    pub embedding_lr: f64,
    /// Decoupled, lazily applied weight decay of the tables, per step and unit of learning rate.
    pub embedding_weight_decay: f64,
    /// How the tables start.
    pub embedding_init: EmbeddingInit,
    /// Standard deviation for `embedding_init = "normal"`.
    pub embedding_init_std: f64,
    /// The learning rates' course.
    pub schedule: ScheduleKind,
    /// Steps of linear warm-up, for `schedule = "warmup-decay"`.
    pub warmup_steps: u64,
    /// Largest norm of all gradients together; larger ones are scaled down to it. 0: no clipping.
    pub clip_norm: f64,
    /// Validations in an epoch, the last at its end.
    pub validations_per_epoch: u64,
    /// Steps between two validations within an epoch, in place of `validations_per_epoch`. 0: not set.
    pub validate_every: u64,
    /// Steps between two checkpoints besides those at validations. 0: none.
    pub checkpoint_every: u64,
    /// Validations without a better AUC before the run stops. 0: never.
    pub patience: u64,
    /// Steps between two lines of the training loss in `metrics.jsonl`.
    pub log_every: u64,
    /// Blocks of 4,096 rows that are shuffled together in memory.
    pub shuffle_window: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 512,
            engine: EngineKind::Auto,
            precision: PrecisionKind::F32,
            optimizer: DenseOptimizerKind::Adam,
            lr: 1e-3,
            weight_decay: 0.0,
            embedding_optimizer: SparseOptimizerKind::RowWiseAdagrad,
            embedding_lr: 0.02,
            embedding_weight_decay: 0.0,
            embedding_init: EmbeddingInit::UniformByRows,
            embedding_init_std: 0.01,
            schedule: ScheduleKind::Constant,
            warmup_steps: 0,
            clip_norm: 0.0,
            validations_per_epoch: 5,
            validate_every: 0,
            checkpoint_every: 0,
            patience: 3,
            log_every: 50,
            shuffle_window: 64,
        }
    }
}

/// Who computes the dense part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineKind {
    /// Fused kernels on the CPU, candle's graph on other devices.
    Auto,
    /// Fused kernels with hand-written gradients; CPU only.
    Fused,
    /// candle's graph.
    Graph,
}

/// Types of the operands of the dense part's products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionKind {
    /// 32-bit floats.
    F32,
    /// bf16 operands, f32 sums and master weights; needs AVX-512 BF16.
    Bf16,
}

/// Optimisers of the dense parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenseOptimizerKind {
    /// Plain stochastic gradient descent.
    Sgd,
    /// Adagrad, eps 1e-10.
    Adagrad,
    /// Adam, β (0.9, 0.999), eps 1e-8; with `weight_decay` it is AdamW.
    Adam,
}

/// Optimisers of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SparseOptimizerKind {
    /// Plain stochastic gradient descent.
    Sgd,
    /// Adagrad, eps 1e-10.
    Adagrad,
    /// Adagrad with one accumulator a row, eps 1e-10.
    RowWiseAdagrad,
    /// Adam on touched rows, β (0.9, 0.999), eps 1e-8.
    LazyAdam,
}

/// Initial tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmbeddingInit {
    /// DLRM's `U(±1/√n_rows)`.
    UniformByRows,
    /// Xavier over the whole table.
    Xavier,
    /// Normal with `embedding_init_std`.
    Normal,
}

/// Courses of the learning rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Always the same.
    Constant,
    /// Linear warm-up over `warmup_steps`, then quadratic decay to 0 at the end (as DLRM).
    WarmupDecay,
}

impl TrainConfig {
    /// The dense part's precision.
    pub fn precision(&self) -> Precision {
        match self.precision {
            PrecisionKind::F32 => Precision::F32,
            PrecisionKind::Bf16 => Precision::Bf16,
        }
    }

    /// The dense optimiser's rule.
    pub fn dense_rule(&self) -> DenseRule {
        match self.optimizer {
            DenseOptimizerKind::Sgd => DenseRule::Sgd,
            DenseOptimizerKind::Adagrad => DenseRule::ADAGRAD,
            DenseOptimizerKind::Adam => DenseRule::ADAM,
        }
    }

    /// The dense optimiser's weight decay.
    pub fn dense_decay(&self) -> WeightDecay {
        match self.weight_decay {
            0.0 => WeightDecay::None,
            lambda => WeightDecay::Decoupled { lambda },
        }
    }

    /// The tables' rule.
    pub fn sparse_rule(&self) -> SparseRule {
        match self.embedding_optimizer {
            SparseOptimizerKind::Sgd => SparseRule::Sgd,
            SparseOptimizerKind::Adagrad => SparseRule::ADAGRAD,
            SparseOptimizerKind::RowWiseAdagrad => SparseRule::ROW_WISE_ADAGRAD,
            SparseOptimizerKind::LazyAdam => SparseRule::LAZY_ADAM,
        }
    }

    /// The tables' initial distribution.
    pub fn row_init(&self) -> RowInit {
        match self.embedding_init {
            EmbeddingInit::UniformByRows => RowInit::UniformByRows,
            EmbeddingInit::Xavier => RowInit::Xavier,
            EmbeddingInit::Normal => RowInit::Normal {
                std: self.embedding_init_std as f32,
            },
        }
    }

    /// Steps between two validations in an epoch of `steps_per_epoch`.
    pub fn validation_period(&self, steps_per_epoch: u64) -> u64 {
        match self.validate_every {
            0 => steps_per_epoch.div_ceil(self.validations_per_epoch).max(1),
            steps => steps,
        }
    }

    /// The learning rates' course over `total_steps`.
    pub fn schedule(&self, total_steps: u64) -> Schedule {
        match self.schedule {
            ScheduleKind::Constant => Schedule::Constant,
            ScheduleKind::WarmupDecay => Schedule::WarmupDecay {
                warmup_steps: self.warmup_steps,
                total_steps,
            },
        }
    }
}

impl Config {
    /// Checks every value that a type does not.
    ///
    /// # Errors
    /// Names the first setting that cannot work.
    pub fn check(&self) -> Result<(), TrainError> {
        let train = &self.train;
        self.model.check()?;
        at_least_one("train.batch_size", train.batch_size)?;
        at_least_one("train.epochs", train.epochs as usize)?;
        at_least_one("train.log_every", train.log_every as usize)?;
        at_least_one(
            "train.validations_per_epoch",
            train.validations_per_epoch as usize,
        )?;
        at_least_one("train.shuffle_window", train.shuffle_window)?;
        for (key, value) in [
            ("train.lr", train.lr),
            ("train.embedding_lr", train.embedding_lr),
        ] {
            check(
                key,
                value,
                value > 0.0 && value.is_finite(),
                "a positive number",
            )?;
        }
        for (key, value) in [
            ("train.weight_decay", train.weight_decay),
            ("train.embedding_weight_decay", train.embedding_weight_decay),
            ("train.embedding_init_std", train.embedding_init_std),
            ("train.clip_norm", train.clip_norm),
            ("export.max_auc_drop", self.export.max_auc_drop),
        ] {
            check(
                key,
                value,
                value >= 0.0 && value.is_finite(),
                "0 or a positive number",
            )?;
        }
        let is_known = self.method.budget == 0 || self.export.max_auc_drop == 0.0;
        let expected =
            "0 with method.budget: the bytes of types that are selected later are not known";
        check(
            "export.max_auc_drop",
            self.export.max_auc_drop,
            is_known,
            expected,
        )?;
        let can_compute =
            train.precision == PrecisionKind::F32 || slimbed_fused::bf16_is_available();
        let expected = "f32: this processor lacks AVX-512 BF16";
        check("train.precision", "bf16", can_compute, expected)
    }
}
