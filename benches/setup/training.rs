//! Training steps.

use super::{Shape, layer, values};
use gatefold::cell::Cell;
use gatefold::gemm::Element;
use gatefold::seq::{time_major, time_major_mut};
use gatefold::{Accumulate, Grads, Isa, Layer, Options, Output, State, Tape, Threads, Upstream, Workspace};

/// A layer with all that a forward and a backward pass need.
pub struct Training<T> {
    layer: Layer<T>,
    shape: Shape,
    x: Vec<T>,
    y: Vec<T>,
    dy: Vec<T>,
    state: State<T>,
    tape: Tape<T>,
    workspace: Workspace<T>,
    grads: Grads<T>,
}

impl<T: Element> Training<T> {
    pub fn new(cell: Cell, shape: Shape, isa: Isa, threads: Threads) -> Self {
        let Shape { input, hidden, batch, time } = shape;
        let layer = layer(cell, shape, Options { isa: Some(isa), threads, keep_weights: true, ..Options::default() });
        let (state, workspace) = (layer.state(batch).unwrap(), layer.workspace(time, batch).unwrap());
        let [x, y, dy] = [input, hidden, hidden].map(|channels| values(time * batch * channels));
        Training { layer, shape, x, y, dy, state, tape: Tape::new(), workspace, grads: Grads::new() }
    }

    /// Floating-point operations of the products: the backward pass has two for each of the forward pass.
    pub fn flops(&self) -> u64 {
        (3.0 * self.layer.dims().flops() * self.shape.time as f64 * self.shape.batch as f64) as u64
    }

    /// The whole sequence from zeros, and back.
    pub fn run(&mut self) {
        let Shape { input, hidden, batch, time } = self.shape;
        self.state.reset();
        let x = time_major(&self.x, [time, batch, input]).unwrap();
        let y = Output::Sequence(time_major_mut(&mut self.y, [time, batch, hidden]).unwrap());
        self.layer.record(x, &mut self.state, y, &mut self.tape, &mut self.workspace).unwrap();
        let upstream = Upstream::from(time_major(&self.dy, [time, batch, hidden]).unwrap());
        self.layer.backward(&mut self.tape, upstream, &mut self.grads, Accumulate::Overwrite).unwrap();
    }
}
