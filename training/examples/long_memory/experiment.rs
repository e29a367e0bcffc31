//! All runs: each cell, size, delay and seed.

use super::network::{CELLS, Network, hidden_of};
use super::tasks::Task;
use anyhow::{Context, Result};
use cpu_time::ThreadTime;
use gatefold::cell::Cell;
use gatefold_training::Random;
use indicatif::ProgressBar;
use rayon::prelude::*;

/// How much is run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub tasks: Vec<Task>,
    pub delays: Vec<usize>,
    pub seeds: u64,
    /// Hidden units of all cells, and of the GRU whose parameters the others are to have.
    pub hidden: usize,
    pub epochs: usize,
    /// Steps of the optimiser in an epoch.
    pub updates: usize,
    pub rows: usize,
    /// Sequences that the error is measured on, the same after each epoch.
    pub tested: usize,
    pub learning_rate: f64,
    /// That of SimpleRNN.
    pub rnn_learning_rate: f64,
}

/// A network of which there are several runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    pub cell: &'static str,
    pub equations: Cell,
    pub hidden: usize,
    pub parameters: usize,
    pub macs: usize,
    /// Whether it has as many hidden units as the others, or else as many parameters.
    pub same_hidden: bool,
}

/// One network that was trained.
#[derive(Clone, Debug)]
pub struct Run {
    pub delay: usize,
    pub kind: Kind,
    /// The seconds of processor time that training took until the end of each epoch, and the error then.
    pub errors: Vec<(f64, f64)>,
}

impl Run {
    pub fn last(&self) -> f64 {
        self.errors.last().map_or(f64::NAN, |&(_, error)| error)
    }

    pub fn seconds_per_epoch(&self) -> f64 {
        self.errors.last().map_or(f64::NAN, |&(seconds, _)| seconds / self.errors.len() as f64)
    }
}

impl Plan {
    /// The networks to compare on a task: of equal hidden size, then those others of equal parameters.
    pub fn kinds(&self, task: Task) -> Result<Vec<Kind>> {
        let kind = |(cell, equations), hidden, same_hidden| {
            let network = Network::new(task, equations, hidden, self.rate_of(equations), &mut Random::new(0))?;
            anyhow::Ok(Kind {
                cell,
                equations,
                hidden,
                parameters: network.parameters()?,
                macs: network.macs(),
                same_hidden,
            })
        };
        let mut kinds = Vec::new();
        for cell in CELLS {
            kinds.push(kind(cell, self.hidden, true)?);
        }
        let wanted = kinds.iter().find(|kind| kind.cell == "GRU").context("no GRU among the cells")?.parameters;
        for cell in CELLS.into_iter().filter(|&(name, _)| name != "GRU") {
            kinds.push(kind(cell, hidden_of(task, cell.1, wanted), false)?);
        }
        Ok(kinds)
    }

    fn rate_of(&self, cell: Cell) -> f64 {
        match cell {
            Cell::SimpleRnn { .. } => self.rnn_learning_rate,
            _ => self.learning_rate,
        }
    }

    /// Epochs of all runs together.
    pub fn count(&self) -> usize {
        self.tasks.len() * self.delays.len() * self.seeds as usize * (2 * CELLS.len() - 1) * self.epochs
    }

    /// Every run of a task, shared among the threads of rayon's pool. `bar` counts epochs.
    pub fn run(&self, task: Task, bar: &ProgressBar) -> Result<Vec<Run>> {
        let kinds = self.kinds(task)?;
        let mut all = Vec::new();
        // The longest first, so that no thread is left with one at the end.
        let mut delays = self.delays.clone();
        delays.sort_unstable_by(|a, b| b.cmp(a));
        for delay in delays {
            all.extend(kinds.iter().flat_map(|kind| (0..self.seeds).map(move |seed| (delay, kind, seed))));
        }
        all.into_par_iter().with_max_len(1).map(|(delay, kind, seed)| self.one(task, delay, kind, seed, bar)).collect()
    }

    /// Trains one network until the task is solved, or all epochs are over.
    fn one(&self, task: Task, delay: usize, kind: &Kind, seed: u64, bar: &ProgressBar) -> Result<Run> {
        let mut random = Random::new(seed);
        let mut network = Network::new(task, kind.equations, kind.hidden, self.rate_of(kind.equations), &mut random)?;
        let test = task.test(delay, self.tested, &mut Random::new(1 << 32 | seed));
        let (mut errors, mut seconds) = (Vec::new(), 0.0);
        for epoch in 0..self.epochs {
            let start = ThreadTime::try_now()?;
            for _ in 0..self.updates {
                network.train(&task.lesson(delay, self.rows, &mut random))?;
            }
            seconds += start.try_elapsed()?.as_secs_f64();
            let error = network.error(&test)?;
            errors.push((seconds, error));
            bar.inc(1);
            if error < task.solved() {
                bar.inc((self.epochs - epoch - 1) as u64);
                break;
            }
        }
        Ok(Run { delay, kind: kind.clone(), errors })
    }
}
