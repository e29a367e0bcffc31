//! A model from a file, and running it.

use crate::arguments::{Engine, pool, threads};
use crate::printable::printable;
use crate::progress;
use crate::tensors::Tensors;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use gatefold_models::{Inputs, LoadOptions, Loaded, Nonlinearity, Outputs, Runnable, Source, load};
use rayon::ThreadPool;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

/// Steps that a sequence is cut into: what stands between the layers stays in the cache or near it.
const CHUNK: usize = 256;

/// Which model, and how it runs.
#[derive(Args, Debug)]
pub struct ModelArguments {
    /// The model: .keras, .h5, .pt, .pth, .onnx, .safetensors or .npz.
    #[arg(value_name = "MODEL")]
    path: PathBuf,
    /// Run this recurrent layer, module or node alone, by the name that `gatefold inspect` shows.
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// How many threads may work [default: one for each core].
    #[arg(long, value_name = "N", value_parser = threads())]
    threads: Option<usize>,
    #[command(flatten)]
    engine: Engine,
    /// The tensors of a PyTorch module are [N, T, I], as with batch_first=True; this is the default.
    #[arg(long, conflicts_with = "time_major")]
    batch_first: bool,
    /// The tensors of a PyTorch module are [T, N, I], as with batch_first=False.
    #[arg(long)]
    time_major: bool,
    /// What an nn.RNN of PyTorch was made with, which its file does not say.
    #[arg(long, value_enum, value_name = "NAME", default_value_t = RnnNonlinearity::Tanh)]
    nonlinearity: RnnNonlinearity,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RnnNonlinearity {
    Tanh,
    Relu,
}

/// Reads a file with the options that change nothing of what it holds.
pub fn open(path: &Path) -> Result<Loaded<f32>> {
    Ok(load(path, &LoadOptions::default())?)
}

/// A model that is ready to run.
#[derive(Debug)]
pub struct Model<'a> {
    arguments: &'a ModelArguments,
    loaded: Loaded<f32>,
    /// None: the caller's thread.
    pool: Option<ThreadPool>,
}

impl ModelArguments {
    /// Loads the model and sees that the arguments suit it.
    pub fn load(&self) -> Result<Model<'_>> {
        let threads = self.threads.unwrap_or_else(|| available_parallelism().map_or(1, |cores| cores.get()));
        let options = LoadOptions {
            layers: self.engine.options(threads),
            nonlinearity: match self.nonlinearity {
                RnnNonlinearity::Tanh => Nonlinearity::Tanh,
                RnnNonlinearity::Relu => Nonlinearity::Relu,
            },
            time_major: self.time_major,
        };
        let loaded = load::<f32>(&self.path, &options)?;
        let pool = if threads == 1 { None } else { Some(pool(threads)?) };
        let model = Model { arguments: self, loaded, pool };
        let first = time_axis(&model.runnable()?, 3) == 0;
        if self.time_major && !first {
            bail!("--time-major: this model's tensors are batch-first");
        }
        if self.batch_first && first {
            bail!("--batch-first: this node's tensors are time-major, as its layout says");
        }
        Ok(model)
    }
}

impl Model<'_> {
    fn runnable(&self) -> Result<Runnable<'_, f32>> {
        let picked = self.loaded.pick(self.arguments.layer.as_deref());
        picked.with_context(|| self.name())
    }

    fn name(&self) -> String {
        self.arguments.path.display().to_string()
    }

    /// The axis of x that is time, where x has so many.
    pub fn time_axis(&self, axes: usize) -> Result<usize> {
        Ok(time_axis(&self.runnable()?, axes))
    }

    /// Whether the outputs and the state of a sequence are those of its parts, one after the other.
    pub fn is_causal(&self) -> Result<bool> {
        Ok(match self.runnable()? {
            Runnable::Recurrent(layer) => {
                layer.is_causal() && !matches!(layer.source(), Source::Keras { return_sequences: false, .. })
            }
            _ => false,
        })
    }

    /// Runs it, and tells `progress` after some steps how many are done.
    pub fn run(&self, inputs: Inputs<'_>, mut progress: impl FnMut(usize) + Send) -> Result<Outputs> {
        let runnable = self.runnable()?;
        let mut work = || runnable.run(inputs, CHUNK, &mut progress);
        let outputs = match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        };
        outputs.with_context(|| self.name())
    }

    /// Runs it over the tensors of a file, with a bar on a terminal and a warning of each NaN there.
    pub fn run_file(&self, input: &Tensors) -> Result<Outputs> {
        let (inputs, warnings) = input.inputs()?;
        for warning in warnings {
            warn(&warning);
        }
        let shape = inputs.x.shape();
        let steps = shape.get(self.time_axis(shape.len())?).copied().unwrap_or(1);
        let bar = progress::bar(steps, STEPS);
        let outputs = self.run(inputs, |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        outputs
    }
}

/// What a bar that counts steps looks like.
pub const STEPS: &str = "{bar:40} {pos}/{len} steps ({eta} left)";

/// A line on standard error. The command goes on, whether somebody reads it or not.
pub fn warn(warning: &str) {
    let _ = writeln!(stderr(), "warning: {}", printable(warning));
}

fn time_axis(runnable: &Runnable<'_, f32>, axes: usize) -> usize {
    let first = match runnable {
        Runnable::Recurrent(layer) => match layer.source() {
            Source::PyTorch { time_major, .. } => time_major || axes == 2,
            Source::Onnx { batch_first } => !batch_first,
            _ => false,
        },
        _ => false,
    };
    usize::from(!first)
}
