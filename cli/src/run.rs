//! `gatefold run`: a model over inputs from a file.

use crate::model::ModelArguments;
use crate::stream;
use crate::tensors::{FileType, Tensors, write_outputs, write_states};
use anyhow::{Result, ensure};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run a model, or one of its recurrent layers, over inputs from a file.
///
/// Tensors have the shapes of the framework that the model comes from, on both sides.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// .npy: x alone; .npz or .safetensors: x (or X, input), h0 (initial_h), c0 (initial_c), lengths (sequence_lens), mask.
    #[arg(long, value_name = "IN")]
    input: PathBuf,
    /// .npy: y alone; .npz or .safetensors: y, hn and cn.
    #[arg(long, value_name = "OUT")]
    output: PathBuf,
    /// Write the final states hn and cn to this .npz or .safetensors.
    #[arg(long, value_name = "F")]
    state_out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    FileType::of(&arguments.output, "--output")?;
    if let Some(path) = &arguments.state_out {
        let names = FileType::of(path, "--state-out")? != FileType::Npy;
        ensure!(names, "--state-out {}: a .npy holds one array; take .npz or .safetensors", path.display());
    }
    let model = arguments.model.load()?;
    if let Some(state) = stream::run(&model, &arguments.input, &arguments.output)? {
        if let Some(path) = &arguments.state_out {
            write_states(path, &state)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let outputs = model.run_file(&Tensors::read(&arguments.input, "--input", "x")?)?;
    if let Some(path) = &arguments.state_out {
        write_states(path, &outputs)?;
    }
    write_outputs(&arguments.output, &outputs)?;
    Ok(ExitCode::SUCCESS)
}
