//! The steps of a backward pass: one pointwise kernel and one product each, or two of a cell of two stages.

use super::Pass;
use super::factor::{Factor, Factors};
use super::noise::Noise;
use crate::cell::{Activation, Cell, Reset};
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::grads::{Grads, Upstream};
use crate::input::{Direction, Order};
use crate::schedule::{self, Split};
use crate::seq::{MatMut, MatRef, SeqMut, SeqRef, product};
use crate::tape::{Call, PartRoom, Room, Tape, planes};
use gatefold_kernels::backward::{Backward, BackwardKind, Join};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::real::Real;

/// Turns the gates on the tape into the gradients of their pre-activations, and the gradients of the final states into
/// those of the initial ones. The rows are cut into `parts`.
pub(super) fn run<T: Real>(
    pass: &Pass<'_, T>,
    factors: &Factors<'_, T>,
    parts: usize,
    tape: &mut Tape<T>,
    upstream: Upstream<'_, T>,
    grads: &mut Grads<T>,
) -> Result<()> {
    let Call { dims, batch, direction, .. } = pass.call;
    let (recorded, room) = tape.recorded(pass.call)?;
    let between = if dims.has_two_stages() { dims.hidden } else { 0 };
    let len = product(&[batch, between]).ok_or(Error::TooLarge { argument: "batch" })?;
    room.between.reserve(len)?;
    room.reserve(parts, 0, batch)?;
    let Room { between: scratch, noise, parts: rooms, .. } = room;
    let steps = Steps {
        dims,
        isa: pass.isa,
        factors,
        peepholes: pass.weights.peepholes().unwrap_or_default(),
        direction,
        lengths: recorded.lengths,
        gates: SeqMut::new(recorded.gates, recorded.shape)?,
        h: recorded.h,
        c: recorded.c,
        dy: upstream.dy,
        dh: MatMut::dense(&mut grads.dh0, batch, dims.output())?,
        dc: MatMut::dense(&mut grads.dc0, batch, if dims.cell.has_cell_state() { dims.hidden } else { 0 })?,
        between: MatMut::dense(scratch, batch, between)?,
        noise: Noise::new(pass.isa, recorded.noise, [batch, dims.output(), dims.hidden], noise)?,
        rooms,
    };
    schedule::run(steps, parts)
}

/// The steps of some rows of the batch.
struct Steps<'a, T> {
    dims: Dims,
    isa: Isa,
    factors: &'a Factors<'a, T>,
    peepholes: &'a [T],
    direction: Direction,
    lengths: Option<&'a [usize]>,
    gates: SeqMut<'a, T>,
    /// Before a step what R was multiplied with, once it was walked back.
    h: SeqMut<'a, T>,
    c: SeqRef<'a, T>,
    dy: Option<SeqRef<'a, T>>,
    /// The gradient of h after the step that is walked back next.
    dh: MatMut<'a, T>,
    /// That of c; without columns where there is none.
    dc: MatMut<'a, T>,
    /// Between the stages of a step: the gradient of r h, or of o tanh(c').
    between: MatMut<'a, T>,
    noise: Noise<'a, T>,
    /// One for each part.
    rooms: &'a mut [PartRoom<T>],
}

impl<T: Real> Split for Steps<'_, T> {
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)> {
        let Steps { dims, isa, factors, peepholes, direction, lengths, gates, h, c, dy, dh, dc, between, noise, rooms } =
            self;
        let batch = dh.rows();
        let rows = batch * left / (left + right);
        let (lengths_a, lengths_b) = lengths.map(|lengths| lengths.split_at(rows)).unzip();
        let (gates_a, gates_b) = gates.split_batch(rows)?;
        let (dh_a, dh_b) = dh.split_rows(rows)?;
        let (dc_a, dc_b) = dc.split_rows(rows)?;
        let (between_a, between_b) = between.split_rows(rows)?;
        let ((h_a, h_b), (noise_a, noise_b)) = (h.split_batch(rows)?, noise.split(rows, batch)?);
        let (rooms_a, rooms_b) = rooms.split_at_mut(left);
        let part = |from, count, lengths, (gates, h), (dh, dc, between), noise, rooms| {
            let c = c.rows(from, count)?;
            let dy = dy.map(|dy| dy.rows(from, count)).transpose()?;
            Ok::<_, Error>(Steps {
                dims,
                isa,
                factors,
                peepholes,
                direction,
                lengths,
                gates,
                h,
                c,
                dy,
                dh,
                dc,
                between,
                noise,
                rooms,
            })
        };
        let a = part(0, rows, lengths_a, (gates_a, h_a), (dh_a, dc_a, between_a), noise_a, rooms_a)?;
        Ok((a, part(rows, batch - rows, lengths_b, (gates_b, h_b), (dh_b, dc_b, between_b), noise_b, rooms_b)?))
    }

    fn run(mut self) -> Result<()> {
        let time = self.gates.shape().time;
        let [room, ..] = std::mem::take(&mut self.rooms) else { return Ok(()) };
        let rows = &mut room.rows;
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
            self.step(t, t_out, Some(rows))?;
        }
        Ok(Join { isa: self.isa, dh: self.dh, dy: None, select: None }.run()?)
    }
}

impl<T: Real> Steps<'_, T> {
    /// Back through the step at time t, of the rows that took part.
    fn step(&mut self, t: usize, t_out: usize, select: Option<&[u32]>) -> Result<()> {
        let dy = self.dy.map(|dy| plane(dy, t_out)).transpose()?;
        Join { isa: self.isa, dh: self.dh.reborrow(), dy, select }.run()?;
        self.noise.enter(t, [self.dh.reborrow(), self.dc.reborrow()], select)?;
        self.cell(t, select)?;
        self.noise.leave([self.dh.reborrow(), self.dc.reborrow()], select)?;
        // No other step reads this plane: dR is a sum over what entered the product.
        self.noise.drop(self.h.step(planes(self.direction, t).0)?, select)
    }

    /// Back through the gates of a step.
    fn cell(&mut self, t: usize, select: Option<&[u32]>) -> Result<()> {
        let Steps { dims, isa, factors: Factors { recurrent, second, .. }, .. } = *self;
        let (before, _) = planes(self.direction, t);
        let nothing = MatRef::dense(&[], 0, 0)?;
        let hidden = dims.hidden;
        let mut gates = self.gates.step(t)?;
        let (mut dh, dc, mut between) = (self.dh.reborrow(), self.dc.reborrow(), self.between.reborrow());
        let through = Through { isa, peepholes: self.peepholes, select };
        let onto = match dims.cell {
            Cell::SimpleRnn { activation } => {
                let relu = activation == Activation::Relu;
                let kind = if relu { BackwardKind::SimpleRelu } else { BackwardKind::SimpleTanh };
                through.run(kind, gates.reborrow(), nothing, dh.reborrow(), between)?;
                false
            }
            Cell::Lstm => {
                let before = plane(self.c, before)?;
                let Some(second) = second else {
                    through.run(BackwardKind::Lstm, gates.reborrow(), before, dh.reborrow(), dc)?;
                    return through.first(&mut self.noise, recurrent, gates, dh, false);
                };
                for n in 0..dh.rows() {
                    if let (Some(to), Some(from)) = (gates.row_mut(n), dh.row_mut(n)) {
                        to[5 * hidden..].copy_from_slice(from);
                    }
                }
                second.product(SeqRef::from_matrix(dh.as_ref())?, between.reborrow(), false, select)?;
                through.run(BackwardKind::Lstm, gates.reborrow(), before, between, dc)?;
                false
            }
            Cell::Gru { reset: Reset::After } => {
                let h = self.h.step(before)?;
                let before = h.as_ref();
                through.run(BackwardKind::GruAfter, gates.reborrow(), before, dh.reborrow(), between)?;
                true
            }
            Cell::Gru { reset: Reset::Before } => {
                let h = self.h.step(before)?;
                let before = h.as_ref();
                let unused = MatMut::dense(&mut [], 0, 0)?;
                through.run(BackwardKind::GruCandidate, gates.reborrow(), before, dh.reborrow(), unused)?;
                if let Some(second) = second {
                    let (_, candidate) = gates.reborrow().split_cols(2 * hidden)?;
                    let (candidate, _) = candidate.split_cols(hidden)?;
                    second.product(SeqRef::from_matrix(candidate.as_ref())?, between.reborrow(), false, select)?;
                }
                self.noise.drop(between.reborrow(), select)?;
                let (_, reset) = gates.reborrow().split_cols(3 * hidden)?;
                self.noise.drop(reset, select)?;
                through.run(BackwardKind::GruGates, gates.reborrow(), before, dh.reborrow(), between)?;
                true
            }
        };
        through.first(&mut self.noise, recurrent, gates, dh, onto)
    }
}

/// Which rows go back through a cell's gates.
#[derive(Clone, Copy)]
struct Through<'a, T> {
    isa: Isa,
    peepholes: &'a [T],
    select: Option<&'a [u32]>,
}

impl<T: Real> Through<'_, T> {
    fn run(
        self,
        kind: BackwardKind,
        gates: MatMut<'_, T>,
        before: MatRef<'_, T>,
        dh: MatMut<'_, T>,
        other: MatMut<'_, T>,
    ) -> Result<()> {
        let Through { isa, peepholes, select } = self;
        Ok(Backward { isa, kind, gates, before, peepholes, dh, other, select }.run()?)
    }

    /// The gradient of h before a step from those of the gates, added to what it holds if `onto`.
    fn first(
        self,
        noise: &mut Noise<'_, T>,
        factor: &Factor<'_, T>,
        gates: MatMut<'_, T>,
        dh: MatMut<'_, T>,
        onto: bool,
    ) -> Result<()> {
        let (gates, _) = gates.split_cols(factor.k())?;
        noise.product(factor, SeqRef::from_matrix(gates.as_ref())?, dh, onto, self.select)
    }
}

/// A plane of a sequence.
fn plane<T: Real>(sequence: SeqRef<'_, T>, t: usize) -> Result<MatRef<'_, T>> {
    Ok(match sequence.steps(t, 1)?.matrices().next() {
        Some(plane) => plane,
        None => MatRef::dense(&[], 0, 0)?,
    })
}
