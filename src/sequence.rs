//! The forward driver: blocks of time, steps, stages.

use crate::cell::{Cell, Reset};
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::schedule::{Plan, Split};
use crate::seq::{MatMut, MatRef, SeqMut, SeqRef, product};
use crate::stages::{Stage, StepPlanes};
use crate::state::Planes;
use gatefold_kernels::buf::{Buf, padded};
use gatefold_kernels::real::Real;
use std::fmt;

/// Where the outputs of a sequence go. What is to be written must have these sizes; strides are free.
#[derive(Debug)]
pub enum Output<'a, T> {
    /// Every output, `[T, N, H]` at any strides. Keras: `return_sequences=True`.
    Sequence(SeqMut<'a, T>),
    /// The last output, `[N, H]`; the others are not written anywhere. It is the final hidden state; where T is 0, the
    /// initial one. Keras: `return_sequences=False`.
    Last(MatMut<'a, T>),
    /// Nowhere: only the state is wanted.
    StateOnly,
}

impl<T> Output<'_, T> {
    /// Checks the sizes of what is to be written.
    pub(crate) fn check(&self, time: usize, batch: usize, hidden: usize) -> Result<()> {
        let sizes: &[(&'static str, usize, usize)] = match self {
            Output::Sequence(y) => &[
                ("y timesteps", time, y.shape().time),
                ("y rows", batch, y.shape().batch),
                ("y channels", hidden, y.shape().channels),
            ],
            Output::Last(y) => &[("y rows", batch, y.rows()), ("y channels", hidden, y.cols())],
            Output::StateOnly => &[],
        };
        for &(argument, expected, found) in sizes {
            if expected != found {
                return Err(Error::Shape { argument, expected, found });
            }
        }
        Ok(())
    }

    fn split(self, rows: usize) -> Result<(Self, Self)> {
        Ok(match self {
            Output::Sequence(y) => {
                let (a, b) = y.split_batch(rows)?;
                (Output::Sequence(a), Output::Sequence(b))
            }
            Output::Last(y) => {
                let (a, b) = y.split_rows(rows)?;
                (Output::Last(a), Output::Last(b))
            }
            Output::StateOnly => (Output::StateOnly, Output::StateOnly),
        })
    }

    /// Where the output of step `t` of `time` goes.
    fn step(&mut self, t: usize, time: usize) -> Result<Option<MatMut<'_, T>>> {
        Ok(match self {
            Output::Sequence(y) => Some(y.step(t)?),
            Output::Last(y) if t + 1 == time => Some(y.reborrow()),
            _ => None,
        })
    }
}

/// Scratch memory of a layer: the input product of a block of steps, and what passes between stages. It grows to what
/// the largest call needs and is used again; a call that it is large enough for allocates nothing. It carries no values
/// from call to call, so one serves any number of layers and states of an element type.
#[derive(Clone)]
pub struct Workspace<T> {
    parts: Vec<Scratch<T>>,
}

impl<T> fmt::Debug for Workspace<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl<T: Real> Workspace<T> {
    /// An empty one, which the first call makes large enough; [`Layer::workspace`](crate::Layer::workspace) makes one that
    /// is already.
    pub fn new() -> Self {
        Workspace { parts: Vec::new() }
    }

    /// Makes it large enough for a plan over `batch` rows.
    pub(crate) fn reserve(&mut self, stages: &[Stage<T>], dims: Dims, plan: Plan, batch: usize) -> Result<()> {
        let rows = batch.div_ceil(plan.parts);
        let too_large = Error::TooLarge { argument: "batch" };
        while self.parts.len() < plan.parts {
            self.parts.push(Scratch::default());
        }
        for part in &mut self.parts[..plan.parts] {
            while part.products.len() < stages.len() {
                part.products.push(Buf::empty());
            }
            let mut recurrent = 0;
            for (product_buf, stage) in part.products.iter_mut().zip(stages) {
                let (cols, recurrent_cols) = stage.product_cols();
                product_buf.reserve(product(&[plan.block, rows, cols]).ok_or(too_large.clone())?)?;
                recurrent = recurrent.max(recurrent_cols);
            }
            part.recurrent.reserve(product(&[rows, recurrent]).ok_or(too_large.clone())?)?;
            if stages.len() > 1 {
                let plane = product(&[rows, padded::<T>(dims.hidden)]).ok_or(too_large.clone())?;
                part.between.iter_mut().try_for_each(|between| between.reserve(plane))?;
            }
        }
        Ok(())
    }

    pub(crate) fn parts(&mut self, plan: Plan) -> &mut [Scratch<T>] {
        &mut self.parts[..plan.parts]
    }
}

impl<T: Real> Default for Workspace<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What one thread needs.
#[derive(Clone)]
pub(crate) struct Scratch<T> {
    /// The input product of a block of steps, for each stage.
    products: Vec<Buf<T>>,
    /// A recurrent product, where the backend cannot fuse.
    recurrent: Buf<T>,
    /// Planes that a first stage leaves for the second.
    between: [Buf<T>; 2],
}

impl<T: Real> Default for Scratch<T> {
    fn default() -> Self {
        Scratch { products: Vec::new(), recurrent: Buf::empty(), between: [Buf::empty(), Buf::empty()] }
    }
}

/// The rows of a batch, or some of them, through a sequence.
pub(crate) struct Job<'a, T> {
    pub(crate) dims: Dims,
    pub(crate) stages: &'a [Stage<T>],
    pub(crate) plan: Plan,
    pub(crate) x: SeqRef<'a, T>,
    pub(crate) state: Planes<'a, T>,
    pub(crate) y: Output<'a, T>,
    pub(crate) scratch: &'a mut [Scratch<T>],
}

impl<T: Real> Split for Job<'_, T> {
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)> {
        let Job { dims, stages, plan, x, state, y, scratch } = self;
        let batch = x.shape().batch;
        let rows = batch * left / (left + right);
        let (state_a, state_b) = state.split(rows);
        let (y_a, y_b) = y.split(rows)?;
        let (scratch_a, scratch_b) = scratch.split_at_mut(left);
        let a = Job { dims, stages, plan, x: x.rows(0, rows)?, state: state_a, y: y_a, scratch: scratch_a };
        let b = Job { dims, stages, plan, x: x.rows(rows, batch - rows)?, state: state_b, y: y_b, scratch: scratch_b };
        Ok((a, b))
    }

    fn run(mut self) -> Result<()> {
        let shape = self.x.shape();
        let [scratch, ..] = &mut *self.scratch else { return Ok(()) };
        for first in (0..shape.time).step_by(self.plan.block) {
            let steps = self.plan.block.min(shape.time - first);
            for (stage, buf) in self.stages.iter().zip(&mut scratch.products) {
                let product = MatMut::dense(buf, steps * shape.batch, stage.product_cols().0)?;
                stage.input_product(self.x.steps(first, steps)?, product, None)?;
            }
            for t in first..first + steps {
                let rows = StepRows { from: (t - first) * shape.batch, count: shape.batch, hidden: self.dims.hidden };
                let y = self.y.step(t, shape.time)?;
                step(self.dims.cell, self.stages, scratch, &mut self.state, rows, y)?;
                self.state.flip();
            }
        }
        if let (0, Output::Last(y)) = (shape.time, &mut self.y) {
            for (n, row) in self.state.h[0].chunks_exact(self.state.stride).enumerate() {
                if let Some(y) = y.row_mut(n) {
                    y.copy_from_slice(&row[..self.dims.hidden]);
                }
            }
        }
        Ok(())
    }
}

/// The rows of one step.
#[derive(Clone, Copy)]
struct StepRows {
    /// The first row in the input product.
    from: usize,
    /// N.
    count: usize,
    /// H.
    hidden: usize,
}

impl StepRows {
    /// A padded plane as a product's operand, `[N, H]`.
    fn operand<'a, T: Real>(self, plane: &'a [T]) -> Result<MatRef<'a, T>> {
        Ok(MatRef::new(plane, self.count, self.hidden, padded::<T>(self.hidden))?)
    }

    /// A padded plane to read, `[N, H padded]`.
    fn read<'a, T: Real>(self, plane: &'a [T]) -> Result<MatRef<'a, T>> {
        Ok(MatRef::dense(plane, self.count, padded::<T>(self.hidden))?)
    }

    /// A padded plane to write, `[N, H padded]`.
    fn write<'a, T: Real>(self, plane: &'a mut [T]) -> Result<MatMut<'a, T>> {
        Ok(MatMut::dense(plane, self.count, padded::<T>(self.hidden))?)
    }
}

/// One step: which plane each stage of the cell reads and writes.
fn step<T: Real>(
    cell: Cell,
    stages: &[Stage<T>],
    scratch: &mut Scratch<T>,
    state: &mut Planes<'_, T>,
    rows: StepRows,
    y: Option<MatMut<'_, T>>,
) -> Result<()> {
    let Scratch { products, recurrent, between: [between0, between1] } = scratch;
    let reverse = state.reverse;
    let mut run = |stage: usize,
                   operand,
                   prev: &[MatRef<'_, T>],
                   next: &mut [MatMut<'_, T>],
                   y: Option<MatMut<'_, T>>| {
        let (cols, recurrent_cols) = stages[stage].product_cols();
        let input = MatRef::dense(&products[stage], rows.from + rows.count, cols)?.rows_from(rows.from, rows.count)?;
        let recurrent = MatMut::dense(recurrent, rows.count, recurrent_cols)?;
        stages[stage].step(operand, recurrent, StepPlanes { input, prev, next, y, row: None, select: None, reverse })
    };
    let [h, h_next] = &mut state.h;
    let operand = rows.operand(h)?;
    match (cell, &mut state.c) {
        (Cell::SimpleRnn { .. }, _) => run(0, operand, &[], &mut [rows.write(h_next)?], y),
        (Cell::Lstm, Some([c, c_next])) => {
            run(0, operand, &[rows.read(c)?], &mut [rows.write(h_next)?, rows.write(c_next)?], y)
        }
        (Cell::Lstm, None) => Err(Error::Unsupported { what: "state", why: "an LSTM needs a cell state" }),
        (Cell::Gru { reset: Reset::After }, _) => run(0, operand, &[rows.read(h)?], &mut [rows.write(h_next)?], y),
        (Cell::Gru { reset: Reset::Before }, _) => {
            run(0, operand, &[rows.read(h)?], &mut [rows.write(between0)?, rows.write(between1)?], None)?;
            let (reset, z) = (rows.operand(between0)?, rows.read(between1)?);
            run(1, reset, &[rows.read(h)?, z], &mut [rows.write(h_next)?], y)
        }
    }
}
