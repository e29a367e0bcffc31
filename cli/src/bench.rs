//! `gatefold bench`: how long a layer takes, and how much less it could take at most.

mod bars;
mod bound;
pub mod case;
mod epilogue;
mod level;
mod limits;
pub mod report;
mod subject;
mod timing;
mod training;

use crate::arguments::{Engine, size, threads};
use crate::progress;
use anyhow::{Context, Result, bail};
use bound::{AtMost, Bounds};
use case::{Case, CellName, Dtype, GRID, Mode, Sizes};
use clap::Args;
use gatefold::Options;
use indicatif::ProgressBar;
use std::io::Write;
use std::process::ExitCode;
use subject::{Subject, Timed};
use training::Training;

/// Time layers on random weights: whole sequences with all outputs; with --time 1, steps that carry a state.
///
/// Each result is the median of many calls, beside the limit of the machine: the time that its arithmetic, its memory and
/// its activations need at least, all measured right after the case. The limit of training is that of its arithmetic alone.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The cells, several separated by commas; gruv resets before the recurrent product [with --grid: all].
    #[arg(long, value_enum, value_delimiter = ',', required_unless_present_any = ["grid", "limits"])]
    cell: Vec<CellName>,
    /// Let the reset gate of a GRU act before the recurrent product: gru becomes gruv.
    #[arg(long)]
    reset_before: bool,
    /// Input features, I.
    #[arg(long, value_name = "I", value_parser = size(), required_unless_present_any = ["grid", "limits"])]
    input: Option<usize>,
    /// Hidden units, H.
    #[arg(long, value_name = "H", value_parser = size(), required_unless_present_any = ["grid", "limits"])]
    hidden: Option<usize>,
    /// Batch rows, N.
    #[arg(long, value_name = "N", value_parser = size(), default_value_t = 1)]
    batch: usize,
    /// Timesteps of a call, T.
    #[arg(long, value_name = "T", value_parser = size(), default_value_t = 1)]
    time: usize,
    /// Threads, several numbers separated by commas [with --grid and --limits: 1,2].
    #[arg(long, value_name = "K", value_delimiter = ',', value_parser = threads())]
    threads: Vec<usize>,
    /// The type of weights and values.
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// Forward alone, or forward and backward: the gradients of the input, of all weights and of the initial state.
    #[arg(long, value_enum, default_value_t = Mode::Infer)]
    mode: Mode,
    /// Time the fixed list of sizes by which libraries are compared.
    #[arg(long, conflicts_with_all = ["input", "hidden", "batch", "time"])]
    grid: bool,
    /// Measure the machine: multiply-adds, reading from each level of memory, and the cells' activations.
    #[arg(long)]
    limits: bool,
    /// Print a line of JSON for each result instead of a table.
    #[arg(long)]
    json: bool,
    /// Seconds that each case is repeated for; each of its limits takes a fifth of it, at most 0.2.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.6, value_parser = budget)]
    budget: f64,
    #[command(flatten)]
    engine: Engine,
}

fn budget(text: &str) -> Result<f64, String> {
    let seconds = text.parse().map_err(|_| "not a number".to_owned())?;
    if (1e-3..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("there are 0.001 to 3600 seconds".to_owned()) }
}

/// Runs the command.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode> {
    let cases = arguments.cases()?;
    let isa = arguments.engine.isa()?;
    if arguments.limits {
        let mut bounds = Bounds::new(isa, arguments.budget);
        let threads = arguments.threads(&[1, 2]);
        report::limits(out, &mut bounds, arguments.dtype, &threads, arguments.json)?;
    }
    if cases.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let progress = match arguments.grid {
        true => progress::bar(cases.len(), "{bar:40} {pos}/{len} {msg} ({eta} left)"),
        false => ProgressBar::hidden(),
    };
    for (number, case) in cases.into_iter().enumerate() {
        progress.set_message(case.name());
        let timed = arguments.time(case).with_context(|| case.name())?;
        // Anew for each case: what a machine with other guests can do changes from one to the next.
        let mut bounds = Bounds::new(isa, arguments.budget);
        let at_most = AtMost { seconds: bounds.seconds(case)?, rate: bounds.peak(case)? };
        // Not before: what cannot be timed leaves no table that is begun.
        if number == 0 && !arguments.json {
            progress.suspend(|| report::header(out, &arguments.engine))?;
        }
        progress.suspend(|| report::result(out, case, &arguments.engine, timed, at_most, arguments.json))?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    fn time(&self, case: Case) -> Result<Timed> {
        let (options, budget) = (self.engine.options(case.threads), self.budget);
        let trained = Options { keep_weights: true, ..options };
        match (case.mode, case.dtype) {
            (Mode::Infer, Dtype::F32) => subject::time::<Subject<f32>>(case, options, budget),
            (Mode::Infer, Dtype::F64) => subject::time::<Subject<f64>>(case, options, budget),
            (Mode::Train, Dtype::F32) => subject::time::<Training<f32>>(case, trained, budget),
            (Mode::Train, Dtype::F64) => subject::time::<Training<f64>>(case, trained, budget),
        }
    }

    fn threads(&self, default: &[usize]) -> Vec<usize> {
        if self.threads.is_empty() { default.to_vec() } else { self.threads.clone() }
    }

    fn cells(&self) -> Result<Vec<CellName>> {
        let cells = if self.cell.is_empty() && self.grid { CellName::ALL.to_vec() } else { self.cell.clone() };
        if !self.reset_before {
            return Ok(cells);
        }
        if let Some(other) = cells.iter().find(|cell| ![CellName::Gru, CellName::Gruv].contains(cell)) {
            bail!("--reset-before is for --cell gru, not {}", other.name());
        }
        Ok(vec![CellName::Gruv])
    }

    /// Cell by cell, then threads by threads.
    fn cases(&self) -> Result<Vec<Case>> {
        let own = self.input.zip(self.hidden).map(|(input, hidden)| Sizes {
            input,
            hidden,
            batch: self.batch,
            time: self.time,
        });
        let mut sizes = if self.grid { GRID.to_vec() } else { own.into_iter().collect() };
        if self.grid && self.mode == Mode::Train {
            // One row is streamed, not trained.
            sizes.retain(|sizes| sizes.batch > 1);
        }
        let threads = self.threads(if self.grid { &[1, 2] } else { &[1] });
        let mut cases = Vec::new();
        for cell in self.cells()? {
            for &threads in &threads {
                cases.extend(sizes.iter().map(|&sizes| Case {
                    cell,
                    sizes,
                    threads,
                    dtype: self.dtype,
                    mode: self.mode,
                }));
            }
        }
        Ok(cases)
    }
}
