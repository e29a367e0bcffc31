//! A model from a file, and running it.

use crate::arguments::{Engine, pool, threads};
use crate::printable::printable;
use crate::progress;
use crate::tensors::Tensors;
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use gatefold_models::{Inputs, LoadOptions, Loaded, Nonlinearity, Outputs, Runnable, Source, load};
use std::io::{Write, stderr};
use std::path::PathBuf;
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
pub fn open(path: &PathBuf) -> Result<Loaded<f32>> {
    Ok(load(path, &LoadOptions::default())?)
}

impl ModelArguments {
    /// Loads the model and runs it over `input`, warning of NaN there.
    pub fn run(&self, input: &Tensors) -> Result<Outputs> {
        let (inputs, warnings) = input.inputs()?;
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
        let runnable = loaded.pick(self.layer.as_deref()).with_context(|| self.path.display().to_string())?;
        self.check_order(&runnable)?;
        for warning in warnings {
            // The command goes on, whether somebody reads this or not.
            let _ = writeln!(stderr(), "warning: {}", printable(&warning));
        }
        let bar = progress::bar(steps(&runnable, &inputs), "{bar:40} {pos}/{len} steps ({eta} left)");
        let work = || runnable.run(inputs, CHUNK, |done| bar.set_position(done as u64));
        let outputs = if threads == 1 { work() } else { pool(threads)?.install(work) };
        bar.finish_and_clear();
        outputs.with_context(|| self.path.display().to_string())
    }

    /// Refuses the order of axes that the model does not have.
    fn check_order(&self, runnable: &Runnable<'_, f32>) -> Result<()> {
        let batch_first = match runnable {
            Runnable::Recurrent(layer) => match layer.source() {
                Source::PyTorch { .. } => return Ok(()),
                Source::Onnx { batch_first } => batch_first,
                _ => true,
            },
            _ => true,
        };
        match batch_first {
            true if self.time_major => bail!("--time-major: this model's tensors are batch-first"),
            false if self.batch_first => bail!("--batch-first: this node's tensors are time-major, as its layout says"),
            _ => Ok(()),
        }
    }
}

/// Steps of the sequences, as far as the shape of x tells; what is wrong with it comes up when it is run.
fn steps(runnable: &Runnable<'_, f32>, inputs: &Inputs<'_>) -> usize {
    let shape = inputs.x.shape();
    let first = match runnable {
        Runnable::Recurrent(layer) => match layer.source() {
            Source::PyTorch { time_major, .. } => time_major || shape.len() == 2,
            Source::Onnx { batch_first } => !batch_first,
            _ => false,
        },
        _ => false,
    };
    shape.get(usize::from(!first)).copied().unwrap_or(1)
}
