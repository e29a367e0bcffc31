//! `gatefold inspect`: what a model file holds.

use crate::model::open;
use crate::printable::printable;
use anyhow::Result;
use clap::Args;
use gatefold_models::Row;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// List the layers of a model: cell, variant, shapes, parameters, multiply-adds of a step, and bytes in memory.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The model: .keras, .h5, .pt, .pth, .onnx, .safetensors or .npz.
    #[arg(value_name = "MODEL")]
    path: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode> {
    let loaded = open(&arguments.path)?;
    writeln!(out, "{}", loaded.format())?;
    let rows = loaded.describe();
    if !rows.is_empty() {
        table(out, &rows)?;
    } else {
        for array in loaded.arrays() {
            writeln!(out, "{} {:?} {}", printable(&array.name), array.shape, array.dtype)?;
        }
        writeln!(out, "no recurrent layer that can be run")?;
    }
    if let Some(Err(error)) = loaded.model() {
        writeln!(out, "cannot be run as a whole: {}", printable(&error.to_string()))?;
    }
    for error in loaded.refused() {
        writeln!(out, "cannot be run: {}", printable(&error.to_string()))?;
    }
    Ok(ExitCode::SUCCESS)
}

const HEADINGS: [&str; 7] = ["layer", "cell", "variant", "shapes", "parameters", "MACs/step", "bytes packed"];

/// Columns from here on are numbers, which stand at the right.
const NUMBERS: usize = 4;

fn table(out: &mut dyn Write, rows: &[Row]) -> Result<()> {
    let cells = |row: &Row| {
        let name = if row.name.is_empty() { "(root)" } else { &row.name };
        let texts = [name, &row.cell, &row.variant, &row.shapes].map(printable);
        let [name, cell, variant, shapes] = texts;
        let [parameters, macs, bytes] = [row.parameters, row.macs, row.packed_bytes].map(|number| number.to_string());
        [name, cell, variant, shapes, parameters, macs, bytes]
    };
    let total = |number: fn(&Row) -> usize| rows.iter().map(number).fold(0, usize::saturating_add).to_string();
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    if rows.len() > 1 {
        let totals = [total(|row| row.parameters), total(|row| row.macs), total(|row| row.packed_bytes)];
        let [parameters, macs, bytes] = totals;
        lines.push(["total".to_owned(), String::new(), String::new(), String::new(), parameters, macs, bytes]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    for line in &lines {
        let padded = line.iter().zip(&widths).enumerate().map(|(column, (text, &width))| match column {
            NUMBERS.. => format!("{text:>width$}"),
            _ => format!("{text:width$}"),
        });
        writeln!(out, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
