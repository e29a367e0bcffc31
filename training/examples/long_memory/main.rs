//! How long SimpleRNN, GRU and LSTM remember: trained on two tasks of growing delays, at equal hidden sizes and at equal
//! numbers of parameters. Prints a table and draws a picture.
//!
//! ```text
//! cargo run --release -p gatefold-training --example long_memory
//! ```

mod chart;
mod experiment;
mod network;
mod table;
mod tasks;

use anyhow::{Context, Result};
use clap::Parser;
use experiment::Plan;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use tasks::Task;

/// How long SimpleRNN, GRU and LSTM remember.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// A few seconds of everything, to see that it works
    #[arg(long)]
    quick: bool,
    /// Networks of each kind
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Delays in steps, each at least 2
    #[arg(long, value_delimiter = ',', default_values_t = [10, 25, 50, 100, 200])]
    delays: Vec<usize>,
    /// Which tasks
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Task::Adding, Task::Copy])]
    tasks: Vec<Task>,
    /// Hidden units
    #[arg(long, default_value_t = 32)]
    hidden: usize,
    /// Epochs at most; a network that solves the task is done
    #[arg(long, default_value_t = 50)]
    epochs: usize,
    /// Adam's learning rate for GRU and LSTM
    #[arg(long, default_value_t = 0.01)]
    learning_rate: f64,
    /// Adam's learning rate for SimpleRNN: at 0.01, and at 0.001, it learnt less
    #[arg(long, default_value_t = 0.003)]
    rnn_learning_rate: f64,
    /// Where the picture goes
    #[arg(long, default_value = "long_memory.svg")]
    out: PathBuf,
}

impl Arguments {
    fn plan(&self) -> Result<Plan> {
        anyhow::ensure!(
            self.seeds > 0 && self.hidden > 0 && self.epochs > 0,
            "seeds, hidden and epochs are at least 1"
        );
        anyhow::ensure!(!self.tasks.is_empty() && !self.delays.is_empty(), "at least one task and one delay");
        anyhow::ensure!(self.delays.iter().all(|&delay| delay >= 2), "delays are at least 2");
        let plan = Plan {
            tasks: self.tasks.clone(),
            delays: self.delays.clone(),
            seeds: self.seeds,
            hidden: self.hidden,
            epochs: self.epochs,
            updates: 50,
            rows: 32,
            tested: 256,
            learning_rate: self.learning_rate,
            rnn_learning_rate: self.rnn_learning_rate,
        };
        Ok(if self.quick {
            Plan { delays: vec![4, 8], seeds: 2, hidden: 8, epochs: 3, updates: 5, rows: 8, tested: 16, ..plan }
        } else {
            plan
        })
    }
}

/// All of it; what is printed comes back.
pub fn run(arguments: &Arguments) -> Result<String> {
    let plan = arguments.plan()?;
    let bar = if stderr().is_terminal() { ProgressBar::new(plan.count() as u64) } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} epochs, {eta} left")?);
    let (mut printed, mut all) = (String::new(), Vec::new());
    for &task in &plan.tasks {
        bar.set_message(task.name());
        let runs = plan.run(task, &bar)?;
        printed += &table::of(task, &plan, &runs)?;
        all.push((task, runs));
    }
    bar.finish_and_clear();
    let out = &arguments.out;
    chart::draw(out, &plan, &all).with_context(|| format!("cannot draw {}", out.display()))?;
    Ok(printed)
}

#[allow(dead_code, reason = "the tests call what it calls")]
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    print!("{}", run(&arguments)?);
    println!("drawn: {}", arguments.out.display());
    Ok(())
}
