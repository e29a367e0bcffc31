//! `gatefold compare`: what was timed of gatefold beside what was timed of other libraries.

mod lines;
#[cfg(feature = "plot")]
mod plot;
mod table;

use crate::bench::case::CellName;
#[cfg(feature = "plot")]
use anyhow::Context;
use anyhow::{Result, bail};
use clap::Args;
use lines::{Filter, Lines};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare timed layers with other libraries: a table in Markdown, or a picture.
///
/// The table has a row for each case that was timed of gatefold: its median and the fastest other library's, their ratio,
/// GFLOP/s, and the parts of the peak of multiply-adds and of the limit that `bench` measured beside it. Times of several
/// runs become their median, and so do parts. Compare what was timed in one run: machines drift.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Files with a line of JSON for each result: those of `bench --json`, and other libraries' in the same form.
    #[arg(required = true, value_name = "LINES.jsonl")]
    files: Vec<PathBuf>,
    /// The cells, several separated by commas [default: all; of a picture: gru].
    #[arg(long, value_enum, value_delimiter = ',')]
    cell: Vec<CellName>,
    /// What a call computed, as the lines say: infer or train.
    #[arg(long, default_value = "infer")]
    mode: String,
    /// The type of weights and values, as the lines say.
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// Only these other libraries, separated by commas [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    peers: Vec<String>,
    /// Draw GFLOP/s against hidden units to this SVG, of one cell, for one row and 32 rows on one and two threads.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode> {
    let Arguments { files, cell, mode, dtype, peers, plot } = arguments;
    let cells = match (plot, &cell[..]) {
        (Some(_), []) => &[CellName::Gru],
        (Some(_), [_, _, ..]) => bail!("--plot draws one --cell"),
        (_, cells) => cells,
    };
    let lines = Lines::read(files, Filter { cells, mode, dtype, peers })?;
    match plot {
        Some(path) => draw(&lines, &format!("{}, {dtype}, {mode}", cells[0].name()), path)?,
        None => table::write(out, &lines)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "plot")]
fn draw(lines: &Lines, subject: &str, path: &Path) -> Result<()> {
    std::fs::write(path, plot::picture(lines, subject)?).with_context(|| path.display().to_string())
}

#[cfg(not(feature = "plot"))]
fn draw(_: &Lines, _: &str, path: &Path) -> Result<()> {
    bail!("--plot {}: this command was built without the feature plot", path.display())
}
