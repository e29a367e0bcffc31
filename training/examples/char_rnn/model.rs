//! A GRU over characters, and a dense layer that says which comes next.

use super::text::{Chunk, Rows};
use anyhow::{Context, Result, ensure};
use gatefold::cell::{Cell, Reset};
use gatefold::seq::{time_major, time_major_mut};
use gatefold::{
    Accumulate, Layer, Options, Output, Stack, StackGrads, StackState, StackTape, StackWorkspace, Upstream,
};
use gatefold_models::{LoadOptions, StateDict, load, safetensors};
use gatefold_training::{
    Adam, AdamOptions, Dense, DenseGrads, Dropout, Random, Share, clip_grad_norm, cross_entropy, initial,
};
use std::path::Path;

/// Weights are changed in place, so they are kept.
const KEPT: Options = Options {
    backend: gatefold::Backend::Native,
    isa: None,
    threads: gatefold::Threads::Pool,
    plan: None,
    keep_weights: true,
};

pub struct Model {
    /// The GRU and the dense layer.
    parts: (Stack<f32>, Dense<f32>),
    workspace: StackWorkspace<f32>,
}

impl Model {
    pub fn new(kinds: usize, hidden: usize, random: &mut Random) -> Result<Self> {
        let weights = initial::keras(Cell::Gru { reset: Reset::After }, kinds, hidden, random)?;
        let stack = Stack::new(vec![Layer::new(weights, KEPT)?.into()])?;
        Ok(Model { parts: (stack, Dense::keras(hidden, kinds, random)?), workspace: StackWorkspace::new() })
    }

    /// Kinds of characters.
    pub fn kinds(&self) -> usize {
        self.parts.1.output()
    }

    /// Reads what [`Model::save`] wrote.
    pub fn load(path: &Path) -> Result<Self> {
        let loaded = load::<f32>(path, &LoadOptions { layers: KEPT, ..LoadOptions::default() })?;
        let stack = loaded.recurrent_named("gru")?.stack().clone();
        let tensors = safetensors::read(path)?.tensors;
        let [weight, bias] = ["head.weight", "head.bias"].map(|name| tensors.get(name).context(name));
        let (weight, bias) = (weight?.to_f32()?, bias?.to_f32()?);
        ensure!(bias.len() == stack.input(), "head.bias: expected {} values, found {}", stack.input(), bias.len());
        let dense = Dense::new(stack.output(), bias.len(), weight.into_owned(), Some(bias.into_owned()))?;
        Ok(Model { parts: (stack, dense), workspace: StackWorkspace::new() })
    }

    /// The weights as PyTorch would name those of a module with an `nn.GRU` called gru and an `nn.Linear` called head.
    pub fn save(&self, path: &Path) -> Result<()> {
        let (stack, dense) = &self.parts;
        let mut state_dict = StateDict::new();
        state_dict.recurrent("gru", stack)?;
        state_dict.linear("head", [dense.output(), dense.input()], dense.weight(), dense.bias())?;
        Ok(state_dict.save(path)?)
    }

    fn state(&self, rows: usize) -> Result<StackState<f32>> {
        Ok(self.parts.0.state(rows)?)
    }

    /// One-hot, `[T, N, kinds]`.
    fn inputs(&self, symbols: &[usize]) -> Vec<f32> {
        let mut x = vec![0.0; symbols.len() * self.kinds()];
        x.chunks_mut(self.kinds()).zip(symbols).for_each(|(x, &symbol)| x[symbol] = 1.0);
        x
    }

    /// Features of the GRU for each step of a chunk, on a tape if there is one.
    fn features(
        &mut self,
        [time, rows]: [usize; 2],
        symbols: &[usize],
        state: &mut StackState<f32>,
        tape: Option<&mut StackTape<f32>>,
    ) -> Result<Vec<f32>> {
        let x = self.inputs(symbols);
        let (stack, workspace) = (&self.parts.0, &mut self.workspace);
        let x = time_major(&x, [time, rows, stack.input()])?;
        let mut features = vec![0.0; time * rows * stack.output()];
        let y = Output::Sequence(time_major_mut(&mut features, [time, rows, stack.output()])?);
        match tape {
            Some(tape) => stack.record(x, state, y, tape, workspace)?,
            None => stack.forward_into(x, state, y, workspace)?,
        }
        Ok(features)
    }

    fn logits(&self, features: &[f32]) -> Result<Vec<f32>> {
        let dense = &self.parts.1;
        let rows = features.len() / dense.input();
        let mut logits = vec![0.0; rows * dense.output()];
        dense.forward(features, rows, &mut logits)?;
        Ok(logits)
    }

    /// Bits per character of a text read from its start as one row.
    pub fn bits_per_character(&mut self, symbols: &[usize]) -> Result<f64> {
        let (mut state, mut nats, mut count) = (self.state(1)?, 0.0, 0.0);
        for Chunk { time, inputs, targets } in Rows::new(symbols, 1)?.chunks(512) {
            let features = self.features([time, 1], &inputs, &mut state, None)?;
            let logits = self.logits(&features)?;
            nats += cross_entropy(&logits, &targets, &mut vec![0.0; logits.len()])? * time as f64;
            count += time as f64;
        }
        Ok(nats / count / std::f64::consts::LN_2)
    }

    /// Text that the model makes up after `prompt`: each character drawn from softmax(logits / temperature).
    pub fn sample(
        &mut self,
        prompt: &[usize],
        length: usize,
        temperature: f64,
        random: &mut Random,
    ) -> Result<Vec<usize>> {
        let mut state = self.state(1)?;
        let mut features = self.features([prompt.len(), 1], prompt, &mut state, None)?;
        let mut text = Vec::new();
        for _ in 0..length {
            let last = features.split_off(features.len() - self.parts.1.input());
            let symbol = draw(&self.logits(&last)?, temperature, random);
            text.push(symbol);
            features = self.features([1, 1], &[symbol], &mut state, None)?;
        }
        Ok(text)
    }
}

fn draw(logits: &[f32], temperature: f64, random: &mut Random) -> usize {
    let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (f64::from(logit - greatest) / temperature).exp()).collect();
    let mut left = random.uniform() * weights.iter().sum::<f64>();
    let beyond = |&weight: &f64| {
        left -= weight;
        left < 0.0
    };
    weights.iter().position(beyond).unwrap_or(logits.len() - 1)
}

/// Truncated back-propagation through time: the state goes on from chunk to chunk, gradients do not.
pub struct Trainer {
    adam: Adam<f32>,
    dropout: Dropout<f32>,
    tape: StackTape<f32>,
    grads: (StackGrads<f32>, DenseGrads<f32>),
    state: StackState<f32>,
}

impl Trainer {
    pub fn new(model: &Model, rows: usize, dropout: f64, seed: u64) -> Result<Self> {
        Ok(Trainer {
            adam: Adam::new(AdamOptions::PYTORCH)?,
            dropout: Dropout::new(dropout, Share::Nothing, seed)?,
            tape: StackTape::new(),
            grads: (StackGrads::new(), DenseGrads::new()),
            state: model.state(rows)?,
        })
    }

    /// The start of the text again.
    pub fn rewind(&mut self) {
        self.state.reset();
    }

    /// One step of Adam on a chunk. Returns its loss in bits per character.
    pub fn step(&mut self, model: &mut Model, chunk: &Chunk, learning_rate: f64) -> Result<f64> {
        let Chunk { time, inputs, targets } = chunk;
        let rows = inputs.len() / time;
        let mut features = model.features([*time, rows], inputs, &mut self.state, Some(&mut self.tape))?;
        let (stack, dense) = &model.parts;
        let sizes = [*time, rows, stack.output()];
        self.dropout.forward(&mut features, sizes)?;
        let logits = model.logits(&features)?;
        let mut d_logits = vec![0.0; logits.len()];
        let loss = cross_entropy(&logits, targets, &mut d_logits)?;
        dense.backward(&features, targets.len(), &d_logits, &mut self.grads.1, Accumulate::Overwrite)?;
        self.dropout.backward(&mut self.grads.1.dx)?;
        let dy = Upstream::from(time_major(&self.grads.1.dx, sizes)?);
        stack.backward(&mut self.tape, dy, &mut self.grads.0, Accumulate::Overwrite)?;
        clip_grad_norm(&mut self.grads, 1.0)?;
        self.adam.set_learning_rate(learning_rate)?;
        self.adam.step(&mut model.parts, &self.grads)?;
        Ok(loss / std::f64::consts::LN_2)
    }
}
