//! The backward driver: steps from the last one walked to the first, then the products over all of them.

mod products;

use crate::cell::{Activation, Cell, Reset};
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::grads::{Accumulate, Grads, Upstream};
use crate::input::{Direction, Order};
use crate::schedule::{self, Split, Threads};
use crate::seq::{MatMut, MatRef, SeqMut, SeqRef};
use crate::tape::{Call, Tape, planes};
use crate::weights::Weights;
use gatefold_kernels::backward::{Backward, BackwardKind, Join};
use gatefold_kernels::gemm::{Gemm, Start};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::real::Real;

/// A backward pass: over what was recorded of `call`, with the weights that it was recorded with.
pub(crate) struct Pass<'a, T> {
    pub(crate) weights: &'a Weights<T>,
    pub(crate) isa: Isa,
    pub(crate) threads: Threads,
    pub(crate) call: Call,
}

impl<T: Real> Pass<'_, T> {
    /// Fills `grads` with what `upstream`, whose sizes were checked, says. The gates on the tape become their gradients.
    pub(crate) fn run(
        &self,
        tape: &mut Tape<T>,
        upstream: Upstream<'_, T>,
        grads: &mut Grads<T>,
        accumulate: Accumulate,
    ) -> Result<()> {
        let Call { dims, time, batch, .. } = self.call;
        grads.prepare(dims, [time, batch], self.weights, accumulate)?;
        for (to, from) in [(&mut grads.dh0, upstream.dh), (&mut grads.dc0, upstream.dc)] {
            if let Some(from) = from {
                to.copy_from_slice(from);
            }
        }
        if time == 0 || batch == 0 {
            return Ok(());
        }
        let recorded = tape.recorded(self.call)?;
        let panels = Panels::new(self.isa, self.weights)?;
        let plan = self.threads.plan(dims, time, batch, size_of::<T>());
        let between = if panels.second.is_some() { dims.hidden } else { 0 };
        let mut scratch = vec![T::NAN; batch * between];
        let steps = Steps {
            dims,
            isa: self.isa,
            panels: &panels,
            direction: self.call.direction,
            lengths: recorded.lengths,
            gates: SeqMut::new(recorded.gates, recorded.shape)?,
            h: recorded.h,
            c: recorded.c,
            dy: upstream.dy,
            dh: MatMut::dense(&mut grads.dh0, batch, dims.output())?,
            dc: MatMut::dense(&mut grads.dc0, batch, if dims.cell.has_cell_state() { dims.hidden } else { 0 })?,
            between: MatMut::dense(&mut scratch, batch, between)?,
        };
        schedule::run(steps, plan.parts)?;
        products::run(self, tape.recorded(self.call)?, grads)
    }
}

/// R transposed, packed: what leads from the gradients of pre-activations to that of the state before.
struct Panels<T> {
    /// Of all gates whose operand is h.
    recurrent: Panel<T>,
    /// Of a second stage: R_n of a GRU whose reset gate acts before the product, or the projection.
    second: Option<Panel<T>>,
}

/// A matrix transposed and packed as the right side of a product.
fn transposed<T: Real>(isa: Isa, matrix: MatRef<'_, T>) -> Result<Panel<T>> {
    let mut panel = Panel::new(isa, PanelShape { heads: 0, gates: 1, k: matrix.rows(), units: matrix.cols() })?;
    for k in 0..matrix.rows() {
        panel.pack_row(k, matrix.row(k).unwrap_or_default())?;
    }
    Ok(panel)
}

impl<T: Real> Panels<T> {
    fn new(isa: Isa, weights: &Weights<T>) -> Result<Self> {
        let dims = weights.dims();
        let rows = dims.cell.gates() * dims.hidden;
        let r = MatRef::dense(weights.r(), rows, dims.output())?;
        let (first, second) = match (dims.cell, weights.projection()) {
            (Cell::Gru { reset: Reset::Before }, _) => {
                (r.rows_from(0, 2 * dims.hidden)?, Some(r.rows_from(2 * dims.hidden, dims.hidden)?))
            }
            (_, Some(projection)) => (r, Some(MatRef::dense(projection, dims.output(), dims.hidden)?)),
            _ => (r, None),
        };
        let second = second.map(|second| transposed(isa, second)).transpose()?;
        Ok(Panels { recurrent: transposed(isa, first)?, second })
    }
}

/// C = start + A B.
struct Product<'a, T> {
    isa: Isa,
    a: MatRef<'a, T>,
    panel: &'a Panel<T>,
    c: MatMut<'a, T>,
    start: Start<'a, T>,
    select: Option<&'a [u32]>,
}

impl<T: Real> Product<'_, T> {
    fn run(self) -> Result<()> {
        let Product { isa, a, panel, c, start, select } = self;
        Ok(Gemm { isa, a: SeqRef::from_matrix(a)?, panel, c, order: GateOrder::Major, start, select }.run()?)
    }
}

/// The steps of some rows of the batch.
struct Steps<'a, T> {
    dims: Dims,
    isa: Isa,
    panels: &'a Panels<T>,
    direction: Direction,
    lengths: Option<&'a [usize]>,
    gates: SeqMut<'a, T>,
    h: SeqRef<'a, T>,
    c: SeqRef<'a, T>,
    dy: Option<SeqRef<'a, T>>,
    /// The gradient of h after the step that is walked back next.
    dh: MatMut<'a, T>,
    /// That of c; without columns where there is none.
    dc: MatMut<'a, T>,
    /// Between the stages of a step: the gradient of r h, or of o tanh(c').
    between: MatMut<'a, T>,
}

impl<T: Real> Split for Steps<'_, T> {
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)> {
        let Steps { dims, isa, panels, direction, lengths, gates, h, c, dy, dh, dc, between } = self;
        let batch = dh.rows();
        let rows = batch * left / (left + right);
        let (lengths_a, lengths_b) = lengths.map(|lengths| lengths.split_at(rows)).unzip();
        let (gates_a, gates_b) = gates.split_batch(rows)?;
        let (dh_a, dh_b) = dh.split_rows(rows)?;
        let (dc_a, dc_b) = dc.split_rows(rows)?;
        let (between_a, between_b) = between.split_rows(rows)?;
        let part = |from, count, lengths, gates, dh, dc, between| {
            let (h, c) = (h.rows(from, count)?, c.rows(from, count)?);
            let dy = dy.map(|dy| dy.rows(from, count)).transpose()?;
            Ok::<_, Error>(Steps { dims, isa, panels, direction, lengths, gates, h, c, dy, dh, dc, between })
        };
        let a = part(0, rows, lengths_a, gates_a, dh_a, dc_a, between_a)?;
        Ok((a, part(rows, batch - rows, lengths_b, gates_b, dh_b, dc_b, between_b)?))
    }

    fn run(mut self) -> Result<()> {
        let time = self.gates.shape().time;
        let mut rows = Vec::new();
        for s in (0..time).rev() {
            let t = if self.direction == Direction::Forward { s } else { time - 1 - s };
            let t_out = if self.direction == Direction::Reverse(Order::Processing) { s } else { t };
            let Some(lengths) = self.lengths else {
                self.step(t, t_out, None)?;
                continue;
            };
            rows.clear();
            rows.extend((0..lengths.len() as u32).filter(|&n| t < lengths[n as usize]));
            let mut gates = self.gates.step(t)?;
            for n in (0..lengths.len()).filter(|&n| t >= lengths[n]) {
                gates.row_mut(n).unwrap_or_default().fill(T::ZERO);
            }
            self.step(t, t_out, Some(&rows))?;
        }
        Ok(Join { isa: self.isa, dh: self.dh, dy: None, select: None }.run()?)
    }
}

impl<T: Real> Steps<'_, T> {
    /// Back through the step at time t, of the rows that took part.
    fn step(&mut self, t: usize, t_out: usize, select: Option<&[u32]>) -> Result<()> {
        let Steps { dims, isa, panels, .. } = *self;
        let (before, after) = planes(self.direction, t);
        let dy = self.dy.map(|dy| plane(dy, t_out)).transpose()?;
        Join { isa, dh: self.dh.reborrow(), dy, select }.run()?;
        let nothing = MatRef::dense(&[], 0, 0)?;
        let hidden = dims.hidden;
        let mut gates = self.gates.step(t)?;
        let (mut dh, dc, mut between) = (self.dh.reborrow(), self.dc.reborrow(), self.between.reborrow());
        let second = panels.second.as_ref();
        let through = Through { isa, select };
        let start = match dims.cell {
            Cell::SimpleRnn { activation } => {
                let relu = activation == Activation::Relu;
                let kind = if relu { BackwardKind::SimpleRelu } else { BackwardKind::SimpleTanh };
                through.run(kind, gates.reborrow(), [nothing, nothing], dh.reborrow(), between)?;
                Start::Heads
            }
            Cell::Lstm => {
                let (before, after) = (plane(self.c, before)?, plane(self.c, after)?);
                let Some(panel) = second else {
                    through.run(BackwardKind::Lstm, gates.reborrow(), [before, after], dh.reborrow(), dc)?;
                    return product(isa, gates, panels, dh, Start::Heads, select);
                };
                for n in 0..dh.rows() {
                    if let (Some(to), Some(from)) = (gates.row_mut(n), dh.row_mut(n)) {
                        to[5 * hidden..].copy_from_slice(from);
                    }
                }
                let c = between.reborrow();
                Product { isa, a: dh.as_ref(), panel, c, start: Start::Heads, select }.run()?;
                through.run(BackwardKind::Lstm, gates.reborrow(), [before, after], between, dc)?;
                Start::Heads
            }
            Cell::Gru { reset: Reset::After } => {
                let before = plane(self.h, before)?;
                through.run(BackwardKind::GruAfter, gates.reborrow(), [before, nothing], dh.reborrow(), between)?;
                Start::C
            }
            Cell::Gru { reset: Reset::Before } => {
                let before = plane(self.h, before)?;
                let unused = MatMut::dense(&mut [], 0, 0)?;
                through.run(BackwardKind::GruCandidate, gates.reborrow(), [before, nothing], dh.reborrow(), unused)?;
                if let Some(panel) = second {
                    let (_, candidate) = gates.reborrow().split_cols(2 * hidden)?;
                    let (candidate, _) = candidate.split_cols(hidden)?;
                    let c = between.reborrow();
                    Product { isa, a: candidate.as_ref(), panel, c, start: Start::Heads, select }.run()?;
                }
                through.run(BackwardKind::GruGates, gates.reborrow(), [before, nothing], dh.reborrow(), between)?;
                Start::C
            }
        };
        product(isa, gates, panels, dh, start, select)
    }
}

/// Which rows go back through a cell's gates.
#[derive(Clone, Copy)]
struct Through<'a> {
    isa: Isa,
    select: Option<&'a [u32]>,
}

impl Through<'_> {
    fn run<T: Real>(
        self,
        kind: BackwardKind,
        gates: MatMut<'_, T>,
        [before, after]: [MatRef<'_, T>; 2],
        dh: MatMut<'_, T>,
        other: MatMut<'_, T>,
    ) -> Result<()> {
        let Through { isa, select } = self;
        Ok(Backward { isa, kind, gates, before, after, dh, other, select }.run()?)
    }
}

/// The gradient of h before a step from those of the gates.
fn product<T: Real>(
    isa: Isa,
    gates: MatMut<'_, T>,
    panels: &Panels<T>,
    c: MatMut<'_, T>,
    start: Start<'_, T>,
    select: Option<&[u32]>,
) -> Result<()> {
    let (gates, _) = gates.split_cols(panels.recurrent.shape().k)?;
    Product { isa, a: gates.as_ref(), panel: &panels.recurrent, c, start, select }.run()
}

/// A plane of a sequence.
fn plane<T: Real>(sequence: SeqRef<'_, T>, t: usize) -> Result<MatRef<'_, T>> {
    Ok(match sequence.steps(t, 1)?.matrices().next() {
        Some(plane) => plane,
        None => MatRef::dense(&[], 0, 0)?,
    })
}
