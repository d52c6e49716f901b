//! Our side of a measurement: the trainer's own step on data that is in memory.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use slimbed_data::Batch;
use slimbed_embedding::{FieldSpec, PlainEmbedding, Pooling, RowInit, RowSettings, SparseRule};
use slimbed_files::{FileError, IoContext, write_atomically};
use slimbed_fused::{DenseRule, Precision as Operands, WeightDecay};
use slimbed_rng::Seed;
use slimbed_train::{Engine, Learner, Rates, TrainError, peak_rss_bytes};

use super::data;
use super::workload::{self, Answer, Precision, TableOptimizer, Task, Workload};

/// Does what the workload says and prints the answer.
///
/// # Errors
/// When a file cannot be read or written, or training fails.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let workload: Workload = workload::read(path)?;
    // Steps start on a thread of the pool: one outside would wait for the pool at every fork.
    let answer = rayon::scope(|_| measure(&workload))?;
    println!("{}", serde_json::to_string(&answer)?);
    Ok(())
}

fn measure(workload: &Workload) -> anyhow::Result<Answer> {
    let mut trainer = Trainer::new(workload)?;
    let (samples_per_s, losses) = match &workload.task {
        Task::Time {
            warm_up_steps,
            warm_up_seconds,
            seconds,
        } => {
            trainer.steps(*warm_up_steps, *warm_up_seconds)?;
            (trainer.steps(1, *seconds)?, Vec::new())
        }
        Task::Losses { n_steps, params } => {
            trainer.write_params(params)?;
            trainer.losses(*n_steps)?
        }
    };
    Ok(Answer {
        samples_per_s,
        peak_rss_bytes: peak_rss_bytes(),
        losses,
        threads: rayon::current_num_threads(),
    })
}

/// The learner, its data and its place in them.
struct Trainer {
    learner: Learner,
    batches: Vec<Batch>,
    rates: Rates,
    n_steps: u64,
}

impl Trainer {
    fn new(workload: &Workload) -> anyhow::Result<Self> {
        let batches = data::read(workload.samples())?;
        let seed = Seed::new(workload.seed);
        let dense = Engine {
            precision: workload.precision.operands(),
            ..Engine::new(&Device::Cpu)
        };
        let network = workload.model.network()?;
        let dense = dense.build(network, seed, DenseRule::Sgd, WeightDecay::None)?;
        let settings = RowSettings {
            dim: workload.model.dim,
            init: RowInit::UniformByRows,
            seed,
            rule: workload.optimizer.rule(),
            weight_decay: 0.0,
        };
        let embedding = PlainEmbedding::new(&fields(workload), &settings)?;
        Ok(Self {
            learner: Learner::new(dense, Box::new(embedding), seed, 0.0),
            batches,
            rates: Rates {
                dense: workload.lr,
                embedding: workload.embedding_lr,
                factor: 1.0,
            },
            n_steps: 0,
        })
    }

    fn step(&mut self) -> Result<f64, TrainError> {
        let batch = &self.batches[(self.n_steps % self.batches.len() as u64) as usize];
        let result = self.learner.step(batch, self.n_steps, self.rates)?;
        self.n_steps += 1;
        Ok(result.loss)
    }

    /// Takes whole steps, `n_least` and more until `seconds` are over; returns samples per second.
    fn steps(&mut self, n_least: u64, seconds: f64) -> Result<f64, TrainError> {
        let (first, start) = (self.n_steps, Instant::now());
        loop {
            self.step()?;
            let (n, elapsed) = (self.n_steps - first, start.elapsed().as_secs_f64());
            if n >= n_least && elapsed >= seconds {
                return Ok((n * self.batches[0].n as u64) as f64 / elapsed);
            }
        }
    }

    /// Samples per second, and the loss of each of `n_steps` steps.
    fn losses(&mut self, n_steps: u64) -> Result<(f64, Vec<Option<f64>>), TrainError> {
        let start = Instant::now();
        let losses = (0..n_steps)
            .map(|_| self.step().map(|loss| loss.is_finite().then_some(loss)))
            .collect::<Result<Vec<_>, _>>()?;
        let n_samples = n_steps * self.batches[0].n as u64;
        Ok((n_samples as f64 / start.elapsed().as_secs_f64(), losses))
    }

    /// Writes all parameters as [`Task::Losses`] says.
    fn write_params(&self, path: &Path) -> anyhow::Result<()> {
        let dense = self.learner.dense.export()?;
        let embedding = &self.learner.embedding;
        let tables: Vec<_> = (0..embedding.n_fields())
            .map(|f| {
                let mut rows = vec![0.0; embedding.n_rows(f) * embedding.dim()];
                embedding.write_rows(f, 0, &mut rows);
                rows
            })
            .collect();
        write_atomically(path, |file, path| {
            let mut file = BufWriter::new(file);
            let tables = tables.iter().flatten();
            let dense = dense.iter().flat_map(|tensor| &tensor.values);
            for value in tables.chain(dense) {
                file.write_all(&value.to_le_bytes()).at("write", path)?;
            }
            file.flush().at("write", path)
        })
        .map_err(|e: FileError| e.into())
    }
}

fn fields(workload: &Workload) -> Vec<FieldSpec> {
    let n_rows = workload.n_rows.iter().enumerate();
    let spec = |(i, &n_rows)| FieldSpec {
        name: format!("C{}", i + 1),
        n_rows,
        pooling: Pooling::Sum,
    };
    n_rows.map(spec).collect()
}

impl TableOptimizer {
    fn rule(self) -> SparseRule {
        match self {
            Self::Sgd => SparseRule::Sgd,
            Self::RowWiseAdagrad => SparseRule::ROW_WISE_ADAGRAD,
        }
    }
}

impl Precision {
    fn operands(self) -> Operands {
        match self {
            Self::F32 => Operands::F32,
            Self::Bf16 => Operands::Bf16,
        }
    }
}
