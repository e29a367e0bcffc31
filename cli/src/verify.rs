//! `gatefold verify`: whether a model gives what it should.

use crate::model::ModelArguments;
use crate::tensors::{CN, HN, Tensors, Y};
use anyhow::{Context, Result, bail};
use clap::Args;
use gatefold_models::{Comparison, Tolerance, compare};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run a model and compare its outputs with expected ones; the exit status is 1 if they do not agree.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// The inputs, as for `gatefold run`.
    #[arg(long, value_name = "IN")]
    input: PathBuf,
    /// .npy: y alone; .npz or .safetensors: any of y (or Y, output), hn (h_n, Y_h) and cn (c_n, Y_c).
    #[arg(long, value_name = "OUT")]
    expected: PathBuf,
    /// How far values may be apart, as a part of the largest magnitude of the expected tensor.
    #[arg(long, value_name = "X", default_value_t = Tolerance::default().relative, value_parser = tolerance)]
    tolerance: f64,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..f64::INFINITY).contains(&number) { Ok(number) } else { Err("it cannot be negative".to_owned()) }
}

/// Runs the command.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode> {
    let expected = Tensors::read(&arguments.expected, "--expected", "y")?;
    let references = [("y", expected.get(Y)?), ("hn", expected.get(HN)?), ("cn", expected.get(CN)?)];
    if references.iter().all(|(_, reference)| reference.is_none()) {
        bail!("--expected {}: expected a tensor named y, hn or cn", arguments.expected.display());
    }
    let input = Tensors::read(&arguments.input, "--input", "x")?;
    let outputs = arguments.model.load()?.run_file(&input)?;
    let tolerance = Tolerance { relative: arguments.tolerance, ..Tolerance::default() };
    let mut agrees = true;
    for ((name, reference), found) in
        references.iter().zip([Some(&outputs.y), outputs.hn.as_ref(), outputs.cn.as_ref()])
    {
        let Some(reference) = reference else { continue };
        let found = found.with_context(|| format!("{name}: this model does not give it"))?;
        let comparison = compare(reference, found, tolerance).with_context(|| (*name).to_owned())?;
        writeln!(out, "{name}: {}", sentence(&comparison))?;
        agrees &= comparison.agrees();
    }
    Ok(if agrees { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn sentence(comparison: &Comparison) -> String {
    let verdict = if comparison.agrees() { "agrees" } else { "DIFFERS" };
    let Some(largest) = &comparison.largest else { return format!("{verdict}, no values") };
    format!(
        "{verdict}, largest deviation {:.2e} at {:?}: expected {}, found {}; allowed {:.2e}",
        largest.size, largest.index, largest.expected, largest.found, comparison.allowed
    )
}
