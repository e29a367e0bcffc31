//! A recurrent layer whose last outputs go through a dense layer.

use super::tasks::{Batch, Task};
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::{SeqRef, SeqShape, time_major, time_major_mut};
use gatefold::{Accumulate, Grads, Layer, Options, Output, Result, Tape, Threads, Workspace};
use gatefold_training::{Adam, AdamOptions, Dense, DenseGrads, Parameters, Random, clip_grad_norm, initial};

/// The three cells that are compared.
pub const CELLS: [(&str, Cell); 3] = [
    ("SimpleRNN", Cell::SimpleRnn { activation: Activation::Tanh }),
    ("GRU", Cell::Gru { reset: Reset::After }),
    ("LSTM", Cell::Lstm),
];

pub struct Network {
    task: Task,
    model: (Layer<f32>, Dense<f32>),
    grads: (Grads<f32>, DenseGrads<f32>),
    adam: Adam<f32>,
    tape: Tape<f32>,
    workspace: Workspace<f32>,
    /// Outputs of the recurrent layer, and their gradients.
    features: Vec<f32>,
    d_features: Vec<f32>,
}

impl Network {
    /// Initialised as Keras would.
    pub fn new(task: Task, cell: Cell, hidden: usize, learning_rate: f64, random: &mut Random) -> Result<Self> {
        let [input, output] = task.channels();
        // Runs are shared among threads, not the rows of a batch.
        let options = Options { keep_weights: true, threads: Threads::One, ..Options::default() };
        let layer = Layer::new(initial::keras(cell, input, hidden, random)?, options)?;
        Ok(Network {
            task,
            model: (layer, Dense::keras(hidden, output, random)?),
            grads: (Grads::new(), DenseGrads::new()),
            adam: Adam::new(AdamOptions { learning_rate, ..AdamOptions::KERAS })?,
            tape: Tape::new(),
            workspace: Workspace::new(),
            features: Vec::new(),
            d_features: Vec::new(),
        })
    }

    pub fn parameters(&self) -> Result<usize> {
        Ok(self.model.arrays()?.iter().map(|array| array.len()).sum())
    }

    /// Multiplications and additions of the products of a row and step, without the dense layer.
    pub fn macs(&self) -> usize {
        (self.model.0.dims().flops() / 2.0) as usize
    }

    /// The answers to a batch, `[steps, N, O]`.
    fn answer(&mut self, batch: &Batch, recorded: bool) -> Result<Vec<f32>> {
        let (layer, dense) = &self.model;
        let [input, output] = self.task.channels();
        let (sizes, hidden) = ([batch.time, batch.rows, dense.input()], dense.input());
        let rows = batch.rows * self.task.answers();
        self.features.resize(batch.time * batch.rows * hidden, 0.0);
        let x = time_major(&batch.x, [batch.time, batch.rows, input])?;
        let y = Output::Sequence(time_major_mut(&mut self.features, sizes)?);
        let mut state = layer.state(batch.rows)?;
        match recorded {
            true => layer.record(x, &mut state, y, &mut self.tape, &mut self.workspace)?,
            false => layer.forward_into(x, &mut state, y, &mut self.workspace)?,
        }
        let mut answers = vec![0.0; rows * output];
        let last = self.features.len() - rows * hidden;
        dense.forward(&self.features[last..], rows, &mut answers)?;
        Ok(answers)
    }

    /// The error on a batch.
    pub fn error(&mut self, batch: &Batch) -> Result<f64> {
        let answers = self.answer(batch, false)?;
        batch.error(&answers)
    }

    /// One step of Adam.
    pub fn train(&mut self, batch: &Batch) -> Result<()> {
        let answers = self.answer(batch, true)?;
        let mut dy = vec![0.0; answers.len()];
        batch.loss(&answers, &mut dy)?;
        let (layer, dense) = &self.model;
        let (rows, hidden) = (batch.rows * self.task.answers(), dense.input());
        let last = self.features.len() - rows * hidden;
        dense.backward(&self.features[last..], rows, &dy, &mut self.grads.1, Accumulate::Overwrite)?;
        // What comes before the answers has no part in the loss.
        self.d_features.clear();
        self.d_features.resize(last, 0.0);
        self.d_features.extend_from_slice(&self.grads.1.dx);
        let dy = SeqRef::new(&self.d_features, SeqShape::time_major(batch.time, batch.rows, hidden))?;
        layer.backward(&mut self.tape, dy.into(), &mut self.grads.0, Accumulate::Overwrite)?;
        clip_grad_norm(&mut self.grads, 1.0)?;
        self.adam.step(&mut self.model, &self.grads)
    }
}

/// The hidden size at which a cell has about as many parameters as `wanted`.
pub fn hidden_of(task: Task, cell: Cell, wanted: usize) -> usize {
    let [input, output] = task.channels();
    let biases = if cell == (Cell::Gru { reset: Reset::After }) { 2 } else { 1 };
    let count = |hidden: usize| cell.gates() * hidden * (input + hidden + biases) + (hidden + 1) * output;
    (1..)
        .take_while(|&hidden| count(hidden) <= wanted)
        .last()
        .map_or(1, |below| if count(below + 1) - wanted < wanted - count(below) { below + 1 } else { below })
}
