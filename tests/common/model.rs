//! Layers of random weights, for the library and for the naive reference.

use super::numbers::{Random, Scalar};
use crate::reference;
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::weights::UpdateGate;
use gatefold::{Caches, Error, Weights};

/// Every cell.
pub const CELLS: [Cell; 5] = [
    Cell::SimpleRnn { activation: Activation::Tanh },
    Cell::SimpleRnn { activation: Activation::Relu },
    Cell::Lstm,
    Cell::Gru { reset: Reset::After },
    Cell::Gru { reset: Reset::Before },
];

/// Units of a GRU whose recurrent weights the second cache does not hold.
pub fn large<T>() -> usize {
    (Caches::of_machine().l2 as f64 / 3.0 / size_of::<T>() as f64).sqrt() as usize + 3
}

/// Which biases there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bias {
    None,
    Input,
    Recurrent,
    Both,
}

pub const BIASES: [Bias; 4] = [Bias::None, Bias::Input, Bias::Recurrent, Bias::Both];

/// The weights of a layer as arrays.
#[derive(Clone, Debug)]
pub struct Model<T> {
    pub cell: Cell,
    pub input: usize,
    pub hidden: usize,
    /// `[G*H, I]`
    pub w: Vec<T>,
    /// `[G*H, H]`
    pub r: Vec<T>,
    /// `[G*H]`
    pub b_w: Option<Vec<T>>,
    /// `[G*H]`
    pub b_r: Option<Vec<T>>,
    /// What z does in a GRU.
    pub update: UpdateGate,
}

impl<T: Scalar> Model<T> {
    /// Random weights. The sums of a gate are around 1, and rows of R sum to less than 1/2 in magnitude, so that rounding
    /// errors do not grow from step to step.
    pub fn random(cell: Cell, [input, hidden]: [usize; 2], bias: Bias, seed: u64) -> Self {
        let mut random = Random(seed);
        let rows = cell.gates() * hidden;
        let w = random.values(rows * input, 1.5 / (input as f64).sqrt());
        let r = random.values(rows * hidden, 0.5 / hidden as f64);
        let mut values = |is: bool| is.then(|| random.values(rows, 1.0));
        let b_w = values(matches!(bias, Bias::Input | Bias::Both));
        let b_r = values(matches!(bias, Bias::Recurrent | Bias::Both));
        Model { cell, input, hidden, w, r, b_w, b_r, update: UpdateGate::KeepsPast }
    }

    /// As the library takes them.
    pub fn weights(&self) -> Weights<T> {
        self.try_weights().expect("sizes that fit")
    }

    fn try_weights(&self) -> Result<Weights<T>, Error> {
        let Model { cell, input, hidden, w, r, b_w, b_r, update } = self.clone();
        let weights = Weights::new(cell, input, hidden, w, r, b_w, b_r)?;
        if matches!(cell, Cell::Gru { .. }) { weights.update_gate(update) } else { Ok(weights) }
    }

    /// As the naive reference takes them.
    pub fn reference(&self) -> reference::Layer {
        let rows = self.cell.gates() * self.hidden;
        let exact = |values: &[T]| values.iter().map(|v| v.to_f64()).collect::<Vec<_>>();
        let or_zeros = |bias: &Option<Vec<T>>| bias.as_ref().map_or(vec![0.0; rows], |bias| exact(bias));
        let update = match self.update {
            UpdateGate::KeepsPast => reference::Update::KeepsPast,
            UpdateGate::TakesNew => reference::Update::TakesNew,
        };
        let cell = match self.cell {
            Cell::SimpleRnn { activation: Activation::Tanh } => reference::Cell::SimpleRnn(reference::Activation::Tanh),
            Cell::SimpleRnn { activation: Activation::Relu } => reference::Cell::SimpleRnn(reference::Activation::Relu),
            Cell::Lstm => reference::Cell::Lstm,
            Cell::Gru { reset: Reset::After } => reference::Cell::Gru(reference::Reset::After, update),
            Cell::Gru { reset: Reset::Before } => reference::Cell::Gru(reference::Reset::Before, update),
            other => panic!("no reference for {other:?}"),
        };
        reference::Layer {
            cell,
            input: self.input,
            hidden: self.hidden,
            w: exact(&self.w),
            r: exact(&self.r),
            b_w: or_zeros(&self.b_w),
            b_r: or_zeros(&self.b_r),
        }
    }
}
