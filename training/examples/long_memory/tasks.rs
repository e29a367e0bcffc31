//! Two tasks that cannot be done without a memory as long as a delay.

use clap::ValueEnum;
use gatefold_training::{Random, Result, cross_entropy, mean_squared_error};

/// What is learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Task {
    /// The sum of the two values that are marked among as many as the delay says (Hochreiter and Schmidhuber, 1997): one in
    /// the first half, one in the second. The error is the mean of squares; always answering 1 gives 1/6.
    Adding,
    /// Symbols that are shown first, to be named in their order after a delay. Each batch that is trained on has a delay of
    /// its own, up to the one that is tested. The error is the part that is named wrong; guessing gives 3/4.
    Copy,
}

/// Symbols to be copied.
const SYMBOLS: usize = 4;
/// Kinds of symbols.
const KINDS: usize = 4;

/// Sequences with what they ask for.
pub struct Batch {
    /// `[T, N, I]`.
    pub x: Vec<f32>,
    pub time: usize,
    pub rows: usize,
    answers: Answers,
}

enum Answers {
    /// Of each row.
    Sums(Vec<f32>),
    /// Of each of the last steps and each row.
    Symbols(Vec<usize>),
}

impl Task {
    pub fn name(self) -> &'static str {
        match self {
            Task::Adding => "adding problem",
            Task::Copy => "delayed copy",
        }
    }

    /// What the error is.
    pub fn measure(self) -> &'static str {
        match self {
            Task::Adding => "mean squared error",
            Task::Copy => "wrong symbols",
        }
    }

    /// The error of an answer that remembers nothing.
    pub fn chance(self) -> f64 {
        match self {
            Task::Adding => 1.0 / 6.0,
            Task::Copy => 1.0 - 1.0 / KINDS as f64,
        }
    }

    /// At which error a run is over: the task is solved.
    pub fn solved(self) -> f64 {
        match self {
            Task::Adding => 1e-3,
            Task::Copy => 1e-3,
        }
    }

    /// Channels of the input and of the answer.
    pub fn channels(self) -> [usize; 2] {
        match self {
            Task::Adding => [2, 1],
            // The symbols, a blank, and the cue to answer.
            Task::Copy => [KINDS + 2, KINDS],
        }
    }

    /// Steps at the end of a sequence that are answers.
    pub fn answers(self) -> usize {
        match self {
            Task::Adding => 1,
            Task::Copy => SYMBOLS,
        }
    }

    /// A batch to train on.
    pub fn lesson(self, delay: usize, rows: usize, random: &mut Random) -> Batch {
        match self {
            Task::Adding => adding(delay, rows, random),
            Task::Copy => copy(SYMBOLS + random.below(delay.saturating_sub(SYMBOLS) + 1), rows, random),
        }
    }

    /// A batch to be tested on.
    pub fn test(self, delay: usize, rows: usize, random: &mut Random) -> Batch {
        match self {
            Task::Adding => adding(delay, rows, random),
            Task::Copy => copy(delay, rows, random),
        }
    }
}

fn adding(time: usize, rows: usize, random: &mut Random) -> Batch {
    let (mut x, mut sums) = (vec![0.0; time * rows * 2], vec![0.0; rows]);
    x.chunks_mut(2).for_each(|step| step[0] = random.uniform() as f32);
    for (row, sum) in sums.iter_mut().enumerate() {
        for marked in [random.below(time / 2), time / 2 + random.below(time - time / 2)] {
            let step = &mut x[(marked * rows + row) * 2..][..2];
            step[1] = 1.0;
            *sum += step[0];
        }
    }
    Batch { x, time, rows, answers: Answers::Sums(sums) }
}

fn copy(delay: usize, rows: usize, random: &mut Random) -> Batch {
    let (time, channels) = (delay + SYMBOLS, KINDS + 2);
    let mut x = vec![0.0; time * rows * channels];
    let symbols: Vec<usize> = (0..SYMBOLS * rows).map(|_| random.below(KINDS)).collect();
    for (k, step) in x.chunks_mut(channels).enumerate() {
        let channel = match symbols.get(k) {
            Some(&symbol) => symbol,
            None if k / rows < delay => KINDS,
            None => KINDS + 1,
        };
        step[channel] = 1.0;
    }
    Batch { x, time, rows, answers: Answers::Symbols(symbols) }
}

impl Batch {
    /// The loss of answers `[steps, N, O]`, and its gradient.
    pub fn loss(&self, y: &[f32], dy: &mut [f32]) -> Result<f64> {
        match &self.answers {
            Answers::Sums(sums) => mean_squared_error(y, sums, dy),
            Answers::Symbols(symbols) => cross_entropy(y, symbols, dy),
        }
    }

    /// What [`Task::measure`] says.
    pub fn error(&self, y: &[f32]) -> Result<f64> {
        match &self.answers {
            Answers::Sums(sums) => mean_squared_error(y, sums, &mut vec![0.0; y.len()]),
            Answers::Symbols(symbols) => {
                let wrong = |(y, &symbol): (&[f32], &usize)| y.iter().any(|&other| other > y[symbol]);
                let wrong = y.chunks(KINDS).zip(symbols).filter(|&row| wrong(row)).count();
                Ok(wrong as f64 / symbols.len() as f64)
            }
        }
    }
}
