//! The scope of the naive reference: one layer, one direction, every row of the batch of full length, standard activations.

use super::pass::{Activation, Arrays, Call, Cell, Direction, Found, Layer, Pass, Rows};
use super::{Case, OutOfScope};

/// A forward pass over full sequences by one layer in one direction.
#[derive(Clone, Debug)]
pub struct Forward<'a> {
    pub name: &'a str,
    pub cell: Cell,
    /// Whether a SimpleRNN's activation is ReLU; otherwise it is tanh.
    pub relu: bool,
    pub arrays: Arrays<'a>,
    pub time: usize,
    pub batch: usize,
    pub input: usize,
    pub hidden: usize,
    /// Whether x and y have the batch as their first axis.
    pub batch_first: bool,
    /// More than one for a layer that keeps its state.
    pub calls: Vec<Call>,
    pass: Pass<'a>,
}

/// What a forward pass returned.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// `[T, N, H]`
    pub y: Vec<f64>,
    /// `[N, H]`
    pub h: Vec<f64>,
    /// `[N, H]` of an LSTM, else empty.
    pub c: Vec<f64>,
}

impl<'a> Forward<'a> {
    /// What a case asks for, or why that is not a forward pass as described above.
    ///
    /// # Panics
    /// On an option or a tensor that is not known.
    pub fn new(case: &'a Case) -> Result<Forward<'a>, OutOfScope> {
        let pass = Pass::new(case);
        let layer = plain(&pass).map_err(OutOfScope)?;
        Ok(Forward {
            name: pass.name,
            cell: layer.cell,
            relu: layer.activations == [Activation::Relu],
            arrays: layer.arrays,
            time: pass.sizes.time,
            batch: pass.sizes.batch,
            input: layer.input,
            hidden: layer.hidden,
            batch_first: pass.batch_first,
            calls: pass.calls.clone(),
            pass,
        })
    }

    /// x as `[T, N, I]`.
    pub fn x_time_major(&self) -> Vec<f64> {
        if self.batch_first { self.pass.x.swap_outer().values } else { self.pass.x.values.clone() }
    }

    /// Compares with everything that the case tells of a call.
    pub fn compare(&self, call: usize, found: &Outputs) -> Result<(), String> {
        let shape = [self.time, self.batch, self.hidden];
        if found.y.len() != shape.iter().product::<usize>() {
            return Err(format!("y: expected {shape:?}, found {} values", found.y.len()));
        }
        let mut y = vec![f64::NAN; found.y.len()];
        for (i, &value) in found.y.iter().enumerate() {
            let (row, c) = (i / self.hidden, i % self.hidden);
            y[self.pass.place(row / self.batch, row % self.batch, c)] = value;
        }
        let last = found.y[found.y.len() - self.batch * self.hidden..].to_vec();
        self.pass.compare(call, &Found { y, last, h: found.h.clone(), c: found.c.clone() })
    }
}

/// The only layer of a pass, or what else there is.
fn plain<'a>(pass: &Pass<'a>) -> Result<Layer<'a>, &'static str> {
    let [level] = &pass.levels[..] else { return Err("layers") };
    let [layer] = &level[..] else { return Err("bidirectional") };
    match (&pass.rows, pass.direction) {
        (Rows::All, Direction::Forward) => {}
        (Rows::All, Direction::GoBackwards) => return Err("go_backwards"),
        (Rows::All, Direction::Reverse) => return Err("reverse"),
        (Rows::Lengths(_), _) => return Err("lengths"),
        (Rows::Mask(..), _) => return Err("mask"),
    }
    match layer.arrays {
        Arrays::PyTorch { weight_hr: Some(_), .. } => return Err("projection"),
        Arrays::Onnx { p: Some(_), .. } => return Err("peepholes"),
        _ => {}
    }
    let is_relu = layer.cell == Cell::SimpleRnn && layer.activations == [Activation::Relu];
    if !is_relu && layer.activations != layer.cell.standard() {
        return Err("activations");
    }
    match (layer.clip, layer.input_forget) {
        (None, false) => Ok(layer.clone()),
        (Some(_), _) => Err("clip"),
        (None, true) => Err("input_forget"),
    }
}
