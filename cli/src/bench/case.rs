//! What is timed: cells, sizes, and the grid of sizes.

use clap::ValueEnum;
use gatefold::cell::{Activation, Cell, Reset};
use serde::{Deserialize, Serialize};

/// A cell by the name under which libraries are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CellName {
    /// GRU, reset after the recurrent product
    Gru,
    /// GRU, reset before the recurrent product
    Gruv,
    /// LSTM
    Lstm,
    /// SimpleRNN with tanh
    Rnn,
}

impl CellName {
    pub const ALL: [CellName; 4] = [CellName::Gru, CellName::Gruv, CellName::Lstm, CellName::Rnn];

    pub fn name(self) -> &'static str {
        match self {
            CellName::Gru => "gru",
            CellName::Gruv => "gruv",
            CellName::Lstm => "lstm",
            CellName::Rnn => "rnn",
        }
    }

    pub fn cell(self) -> Cell {
        match self {
            CellName::Gru => Cell::Gru { reset: Reset::After },
            CellName::Gruv => Cell::Gru { reset: Reset::Before },
            CellName::Lstm => Cell::Lstm,
            CellName::Rnn => Cell::SimpleRnn { activation: Activation::Tanh },
        }
    }
}

/// The type of weights and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// 32 bits
    F32,
    /// 64 bits
    F64,
}

impl Dtype {
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
        }
    }

    pub fn bytes(self) -> usize {
        match self {
            Dtype::F32 => 4,
            Dtype::F64 => 8,
        }
    }
}

/// What a call computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Forward
    Infer,
    /// Forward and backward
    Train,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Infer => "infer",
            Mode::Train => "train",
        }
    }
}

/// `[T, N, I]` into H units, with the names that they have in lines of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    #[serde(rename = "I")]
    pub input: usize,
    #[serde(rename = "H")]
    pub hidden: usize,
    #[serde(rename = "B")]
    pub batch: usize,
    #[serde(rename = "T")]
    pub time: usize,
}

/// The sizes by which libraries are compared: streams of growing layers, single steps, batches, and the example of
/// Keras' documentation.
pub const GRID: [Sizes; 14] = [
    sizes(32, 64, 1, 100),
    sizes(64, 128, 1, 100),
    sizes(128, 256, 1, 100),
    sizes(512, 512, 1, 50),
    sizes(1024, 1024, 1, 25),
    sizes(40, 96, 1, 1),
    sizes(256, 256, 1, 1),
    sizes(64, 128, 32, 50),
    sizes(256, 256, 32, 50),
    sizes(512, 512, 32, 50),
    sizes(512, 512, 64, 25),
    sizes(1024, 1024, 64, 25),
    sizes(256, 256, 256, 25),
    sizes(8, 4, 32, 10),
];

const fn sizes(input: usize, hidden: usize, batch: usize, time: usize) -> Sizes {
    Sizes { input, hidden, batch, time }
}

/// One thing that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    pub cell: CellName,
    pub sizes: Sizes,
    pub threads: usize,
    pub dtype: Dtype,
    pub mode: Mode,
}

impl Case {
    /// For a reader: `gru f32 256-256-1-100, 1 thread`.
    pub fn name(&self) -> String {
        let Case { cell, threads, dtype, mode, .. } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        let what = if *mode == Mode::Train { "training " } else { "" };
        format!("{what}{} {} {}, {threads} thread{plural}", cell.name(), dtype.name(), self.sizes_name())
    }

    /// `I-H-N-T`.
    pub fn sizes_name(&self) -> String {
        let Sizes { input, hidden, batch, time } = self.sizes;
        format!("{input}-{hidden}-{batch}-{time}")
    }

    /// Floating-point operations of the products of a call: the backward pass has two for each of the forward pass.
    pub fn flops(&self) -> f64 {
        let Sizes { time, .. } = self.sizes;
        let passes = if self.mode == Mode::Train { 3.0 } else { 1.0 };
        passes * time as f64 * (self.input_flops() + self.recurrent_flops())
    }

    /// Floating-point operations of a step's input product, 2 N G H I.
    pub fn input_flops(&self) -> f64 {
        self.product_flops(self.sizes.input)
    }

    /// Floating-point operations of a step's recurrent product, 2 N G H H.
    pub fn recurrent_flops(&self) -> f64 {
        self.product_flops(self.sizes.hidden)
    }

    fn product_flops(&self, k: usize) -> f64 {
        let Sizes { hidden, batch, .. } = self.sizes;
        2.0 * batch as f64 * self.cell.cell().gates() as f64 * hidden as f64 * k as f64
    }

    /// Bytes that a step has to touch: R is read, each plane of the state is read and written.
    pub fn step_bytes(&self) -> f64 {
        let [hidden, batch] = [self.sizes.hidden, self.sizes.batch].map(|size| size as f64);
        let cell = self.cell.cell();
        let planes = if cell.has_cell_state() { 4.0 } else { 2.0 };
        self.dtype.bytes() as f64 * hidden * (cell.gates() as f64 * hidden + planes * batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_and_bytes_are_counted() {
        let case = |cell| Case { cell, sizes: sizes(3, 5, 2, 7), threads: 1, dtype: Dtype::F32, mode: Mode::Infer };
        // 2 T N G H (I + H)
        let flops = CellName::ALL.map(|cell| case(cell).flops());
        assert_eq!(flops, [3, 3, 4, 1].map(|gates| f64::from(2 * 7 * 2 * gates * 5 * 8)));
        // R is G*5*5 values; h, and c of an LSTM, are 2*5, each twice.
        let bytes = CellName::ALL.map(|cell| case(cell).step_bytes());
        assert_eq!(bytes, [(3 * 25 + 20), (3 * 25 + 20), (4 * 25 + 40), (25 + 20)].map(|n| f64::from(4 * n)));
        let double = Case { dtype: Dtype::F64, ..case(CellName::Gru) };
        assert_eq!(double.step_bytes(), 8.0 * 95.0);
        let training = Case { mode: Mode::Train, ..case(CellName::Lstm) };
        assert_eq!(training.flops(), 3.0 * flops[2]);
    }
}
