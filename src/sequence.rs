//! The forward driver: blocks of time, steps, stages.

use crate::cell::{Cell, Reset};
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::input::{Direction, Input, Masked, Order, Rows, Source};
use crate::output::Output;
use crate::roster::Active;
use crate::schedule::{Plan, Split};
use crate::seq::{MatMut, MatRef, SeqMut, SeqRef};
use crate::stages::{Stage, StepPlanes, traces};
use crate::state::Planes;
use crate::tape::{TapeMut, planes};
use crate::workspace::Scratch;
use gatefold_kernels::blend::{Blend, BlendKind};
use gatefold_kernels::buf::padded;
use gatefold_kernels::real::Real;
use gatefold_kernels::relay::{MAX_STAGES, Relay, States};
use std::ops::Range;

/// The rows of a batch, or some of them, through a sequence.
pub(crate) struct Job<'a, T> {
    pub(crate) dims: Dims,
    pub(crate) stages: &'a [Stage<T>],
    pub(crate) plan: Plan,
    pub(crate) input: Input<'a, T>,
    pub(crate) state: Planes<'a, T>,
    pub(crate) y: Output<'a, T>,
    pub(crate) scratch: &'a mut [Scratch<T>],
    /// What the backward pass needs goes here, if there is to be one.
    pub(crate) tape: Option<TapeMut<'a, T>>,
}

impl<T: Real> Split for Job<'_, T> {
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)> {
        let Job { dims, stages, plan, input, state, y, scratch, tape } = self;
        let [_, batch, _] = input.sizes();
        let rows = batch * left / (left + right);
        let (state_a, state_b) = state.split(rows);
        let (y_a, y_b) = y.split(rows)?;
        let (scratch_a, scratch_b) = scratch.split_at_mut(left);
        let (input_a, input_b) = (input.rows(0, rows)?, input.rows(rows, batch - rows)?);
        let (tape_a, tape_b) = tape.map(|tape| tape.split(rows)).transpose()?.unzip();
        let a = Job { dims, stages, plan, input: input_a, state: state_a, y: y_a, scratch: scratch_a, tape: tape_a };
        let b = Job { dims, stages, plan, input: input_b, state: state_b, y: y_b, scratch: scratch_b, tape: tape_b };
        Ok((a, b))
    }

    fn run(mut self) -> Result<()> {
        let [time, batch, _] = self.input.sizes();
        let [scratch, ..] = std::mem::take(&mut self.scratch) else { return Ok(()) };
        scratch.roster.begin(&self.input);
        self.keep(if self.input.direction == Direction::Forward { 0 } else { time }, 0)?;
        if self.input.is_whole() && self.input.noise.is_none() && self.relay(scratch)? {
            self.recall()?;
            return self.last(scratch);
        }
        for first in (0..time).step_by(self.plan.block) {
            let end = time.min(first + self.plan.block);
            let times = match self.input.direction {
                Direction::Forward => first..end,
                Direction::Reverse(_) => time - end..time - first,
            };
            self.input_products(scratch, times.clone())?;
            for s in first..end {
                let t = self.time_of(s);
                let t_out = if self.input.direction == Direction::Reverse(Order::Processing) { s } else { t };
                scratch.roster.go_to(&self.input, t);
                self.pass_by(scratch, t_out)?;
                let from = match self.input.x {
                    Source::Padded(_) => (t - times.start) * batch,
                    Source::Packed { .. } => {
                        let of_block = scratch.roster.offset(&self.input, times.start);
                        scratch.roster.offset(&self.input, t) - of_block
                    }
                };
                self.step(scratch, from, t, t_out)?;
                self.zone_out(scratch, t, t_out)?;
                self.keep(planes(self.input.direction, t).1, 1)?;
                self.state.flip();
            }
        }
        self.last(scratch)
    }
}

impl<T: Real> Job<'_, T> {
    /// Where in time the step is that is walked as number `s`.
    fn time_of(&self, s: usize) -> usize {
        match self.input.direction {
            Direction::Forward => s,
            Direction::Reverse(_) => self.input.sizes()[0] - 1 - s,
        }
    }

    /// Copies a plane of the state, the one that is read or the one that was written, to a plane of the tape.
    fn keep(&mut self, to: usize, plane: usize) -> Result<()> {
        let Some(tape) = &mut self.tape else { return Ok(()) };
        let (mut h, mut c) = (tape.h.step(to)?, tape.c.step(to)?);
        let from = [Some(&self.state.h), self.state.c.as_ref()];
        for ((to, from), stride) in [&mut h, &mut c].into_iter().zip(from).zip(self.state.strides) {
            let Some(from) = from else { continue };
            for (n, from) in from[plane].chunks_exact(stride).enumerate() {
                if let Some(to) = to.row_mut(n) {
                    to.copy_from_slice(&from[..to.len()]);
                }
            }
        }
        Ok(())
    }

    /// The state after all steps from its plane of the tape.
    fn recall(&mut self) -> Result<()> {
        let Some(tape) = &mut self.tape else { return Ok(()) };
        let end = if self.input.direction == Direction::Forward { self.input.sizes()[0] } else { 0 };
        let (h, c) = (tape.h.step(end)?, tape.c.step(end)?);
        let to = [Some(&mut self.state.h), self.state.c.as_mut()];
        for ((from, to), stride) in [h, c].into_iter().zip(to).zip(self.state.strides) {
            let Some([to, _]) = to else { continue };
            for (n, to) in to.chunks_exact_mut(stride).enumerate() {
                to.copy_from_slice(from.as_ref().row(n).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// All steps in one call of the kernels, if they compute every stage of the layer in that way.
    fn relay(&mut self, scratch: &mut Scratch<T>) -> Result<bool> {
        let Source::Padded(x) = self.input.x else { return Ok(false) };
        let (time, batch) = (x.shape().time, x.shape().batch);
        let (traces, of_tape) = match &mut self.tape {
            Some(TapeMut { gates, h, c }) => (traces(self.stages, gates.reborrow())?, Some([h, c])),
            None => ([const { None }; MAX_STAGES], None),
        };
        let pairs = self.stages.iter().zip(&mut scratch.products).zip(traces);
        let mut stages = pairs.map_while(|((stage, product), trace)| stage.relay(product, trace));
        let stages: [_; MAX_STAGES] = std::array::from_fn(|_| stages.next());
        if stages.iter().flatten().count() < self.stages.len() {
            return Ok(false);
        }
        let rows = StepRows { count: batch };
        let mut between = scratch.between.each_mut().map(|plane| &mut **plane);
        let reverse = self.state.reverse;
        let (h, c) = rows.states(self.dims, &mut self.state, of_tape)?;
        Relay {
            isa: self.stages[0].isa(),
            threads: self.plan.gang,
            stages,
            x,
            h,
            c,
            between: match self.stages {
                [_, _, ..] => Some(rows.pair(&mut between, self.dims.hidden)?),
                _ => None,
            },
            y: match &mut self.y {
                Output::Sequence(y) => Some(y.reborrow()),
                _ => None,
            },
            walk: self.input.direction.walk(),
            block: self.plan.block,
            reverse,
        }
        .run()?;
        if time % 2 == 1 {
            self.state.flip();
        }
        Ok(true)
    }

    /// The input products of all steps in `times`, for every row that takes part.
    fn input_products(&self, scratch: &mut Scratch<T>, times: Range<usize>) -> Result<()> {
        let Scratch { products, roster, .. } = scratch;
        let x = match self.input.x {
            Source::Padded(x) => x.steps(times.start, times.len())?,
            Source::Packed { data, .. } => {
                let (from, to) = (roster.offset(&self.input, times.start), roster.offset(&self.input, times.end));
                SeqRef::from_matrix(data.rows_from(from, to - from)?)?
            }
        };
        let (steps, rows) = (x.shape().time, x.shape().batch);
        let together = match self.input.rows {
            Rows::Lengths(lengths) => lengths.iter().all(|&length| length >= times.end),
            _ => true,
        };
        for (stage, buf) in self.stages.iter().zip(products) {
            let cols = stage.product_cols().0;
            if together {
                stage.input_product(x, MatMut::dense(buf, steps * rows, cols)?, None)?;
                continue;
            }
            for (i, t) in times.clone().enumerate() {
                roster.go_to(&self.input, t);
                let Active { select, .. } = roster.active();
                let (_, product) = MatMut::dense(buf, (i + 1) * rows, cols)?.split_rows(i * rows)?;
                stage.input_product(x.steps(i, 1)?, product, select)?;
            }
        }
        Ok(())
    }

    /// What is left of a row that takes no part in a step: its state, and its output.
    fn pass_by(&mut self, scratch: &mut Scratch<T>, t_out: usize) -> Result<()> {
        let Job { dims, input, state, y, .. } = self;
        let repeats = matches!(input.rows, Rows::Mask { masked: Masked::Repeat, .. });
        scratch.roster.each_idle(|n, was_active, seen| {
            if let Output::Sequence(y) = y
                && let Some(y) = y.step(t_out)?.row_mut(n)
            {
                match repeats && seen {
                    true => y.copy_from_slice(&state.h[0][n * state.strides[0]..][..dims.output()]),
                    false => y.fill(T::ZERO),
                }
            }
            if was_active {
                state.carry(n);
            }
            Ok(())
        })
    }

    /// Step t of the rows that take part; their input products start at row `from`.
    fn step(&mut self, scratch: &mut Scratch<T>, from: usize, t: usize, t_out: usize) -> Result<()> {
        let Scratch { products, recurrent, between: [between0, between1], row, dropped, roster } = scratch;
        let offset = roster.offset(&self.input, t);
        let active = roster.active();
        if active.len() == 0 {
            return Ok(());
        }
        let count = active.count;
        let attention = self.attention(t, count, row);
        let y = match &mut self.y {
            Output::Sequence(y) => Some(y.step(t_out)?),
            Output::Packed(y) => Some(y.reborrow().split_rows(offset)?.1.split_rows(count)?.0),
            Output::Last(_) | Output::StateOnly => None,
        };
        let (stages, reverse, isa) = (self.stages, self.state.reverse, self.stages[0].isa());
        let mut traces = match &mut self.tape {
            Some(tape) => traces(stages, tape.gates.steps(t, 1)?)?,
            None => [const { None }; MAX_STAGES],
        };
        let mut run = |stage: usize,
                       operand,
                       prev: &[MatRef<'_, T>],
                       next: &mut [MatMut<'_, T>],
                       y: Option<MatMut<'_, T>>| {
            let (cols, recurrent_cols) = stages[stage].product_cols();
            let input = MatRef::dense(&products[stage], from + count, cols)?.rows_from(from, count)?;
            let row = if stage == 0 { attention } else { None };
            let planes = StepPlanes { input, prev, next, y, row, select: active.select, reverse };
            stages[stage].step(operand, MatMut::dense(recurrent, count, recurrent_cols)?, planes, traces[stage].take())
        };
        let Dims { cell, hidden, projection, .. } = self.dims;
        let rows = StepRows { count };
        let [h, h_next] = &mut self.state.h;
        let (dropout, output, select) = (self.input.noise.recurrent_dropout, self.dims.output(), active.select);
        let mut operand = rows.operand(h, output)?;
        if let Some(mask) = dropout {
            let (kind, from, to) = (BlendKind::Take, Some(operand), rows.write(dropped, output)?);
            Blend { isa, kind, mask, from, to, also: None, select }.run()?;
            operand = rows.operand(dropped, output)?;
        }
        match (cell, &mut self.state.c) {
            (Cell::SimpleRnn { .. }, _) => run(0, operand, &[], &mut [rows.write(h_next, hidden)?], y),
            (Cell::Lstm, Some([c, c_next])) => {
                let (c, c_next) = (rows.read(c, hidden)?, rows.write(c_next, hidden)?);
                let Some(units) = projection else {
                    return run(0, operand, &[c], &mut [rows.write(h_next, hidden)?, c_next], y);
                };
                run(0, operand, &[c], &mut [rows.write(between0, hidden)?, c_next], None)?;
                run(1, rows.operand(between0, hidden)?, &[], &mut [rows.write(h_next, units)?], y)
            }
            (Cell::Lstm, None) => Err(Error::Unsupported { what: "state", why: "an LSTM needs a cell state" }),
            (Cell::Gru { reset: Reset::After }, _) => {
                run(0, operand, &[rows.read(h, hidden)?], &mut [rows.write(h_next, hidden)?], y)
            }
            (Cell::Gru { reset: Reset::Before }, _) => {
                let h = rows.read(h, hidden)?;
                if stages.len() > 2 {
                    run(0, operand, &[h], &mut [rows.write(between0, hidden)?], None)?;
                    run(1, operand, &[], &mut [rows.write(between1, hidden)?], None)?;
                } else {
                    let next = &mut [rows.write(between0, hidden)?, rows.write(between1, hidden)?];
                    run(0, operand, &[h], next, None)?;
                }
                if let Some(mask) = dropout {
                    let (kind, to) = (BlendKind::Scale, rows.write(between0, hidden)?);
                    Blend { isa, kind, mask, from: None, to, also: None, select }.run()?;
                }
                let (reset, z) = (rows.operand(between0, hidden)?, rows.read(between1, hidden)?);
                run(stages.len() - 1, reset, &[h, z], &mut [rows.write(h_next, hidden)?], y)
            }
        }
    }

    /// What attends the update gates of the first `count` rows in step t, if anything does, gathered in `row`.
    fn attention<'b>(&self, t: usize, count: usize, row: &'b mut [T]) -> Option<&'b [T]> {
        let attention = self.input.attention?;
        let to = &mut row[..count];
        for (n, value) in to.iter_mut().enumerate() {
            *value = attention.row(t, n).map_or(T::NAN, |values| values[0]);
        }
        Some(to)
    }

    /// Lets some of the state before step t stay what it was.
    fn zone_out(&mut self, scratch: &Scratch<T>, t: usize, t_out: usize) -> Result<()> {
        let (isa, Active { count, select }) = (self.stages[0].isa(), scratch.roster.active());
        let also = match &mut self.y {
            Output::Sequence(y) => Some(y.step(t_out)?),
            _ => None,
        };
        let planes =
            [(Some(&mut self.state.h), self.dims.output(), also), (self.state.c.as_mut(), self.dims.hidden, None)];
        for ((planes, units, also), mask) in planes.into_iter().zip(self.input.noise.zoneouts()) {
            let mask = mask.map(|mask| mask.steps(t, 1)).transpose()?.and_then(|step| step.matrices().next());
            let (Some([now, next]), Some(mask)) = (planes, mask) else { continue };
            let rows = StepRows { count };
            let (kind, from, to) = (BlendKind::Between, Some(rows.operand(now, units)?), rows.write(next, units)?);
            Blend { isa, kind, mask, from, to, also, select }.run()?;
        }
        Ok(())
    }

    /// The last output of every row, from the final state.
    fn last(&mut self, scratch: &Scratch<T>) -> Result<()> {
        let Output::Last(y) = &mut self.y else { return Ok(()) };
        let masked = matches!(self.input.rows, Rows::Mask { .. });
        for (n, row) in self.state.h[0].chunks_exact(self.state.strides[0]).enumerate() {
            match y.row_mut(n) {
                Some(y) if masked && !scratch.roster.seen(n) => y.fill(T::ZERO),
                Some(y) => y.copy_from_slice(&row[..self.dims.output()]),
                None => {}
            }
        }
        Ok(())
    }
}

/// The first rows of planes, as many as a step has.
#[derive(Clone, Copy)]
struct StepRows {
    count: usize,
}

impl StepRows {
    /// A padded plane as a product's operand, `[N, H]`.
    fn operand<'a, T: Real>(self, plane: &'a [T], units: usize) -> Result<MatRef<'a, T>> {
        Ok(MatRef::new(plane, self.count, units, padded::<T>(units))?)
    }

    /// A padded plane to read, `[N, H padded]`.
    fn read<'a, T: Real>(self, plane: &'a [T], units: usize) -> Result<MatRef<'a, T>> {
        Ok(MatRef::dense(plane, self.count, padded::<T>(units))?)
    }

    /// Two padded planes to write.
    fn pair<'a, T: Real>(self, planes: &'a mut [&mut [T]; 2], units: usize) -> Result<[MatMut<'a, T>; 2]> {
        let [first, second] = planes;
        Ok([self.write(first, units)?, self.write(second, units)?])
    }

    /// h and c of all steps: the planes of the tape, or those of the state in turn.
    fn states<'a, T: Real>(
        self,
        dims: Dims,
        state: &'a mut Planes<'_, T>,
        tape: Option<[&'a mut SeqMut<'_, T>; 2]>,
    ) -> Result<(States<'a, T>, Option<States<'a, T>>)> {
        if let Some([h, c]) = tape {
            return Ok((States::Each(h.reborrow()), state.c.is_some().then(|| States::Each(c.reborrow()))));
        }
        let c = state.c.as_mut().map(|c| self.pair(c, dims.hidden)).transpose()?;
        Ok((States::InTurn(self.pair(&mut state.h, dims.output())?), c.map(States::InTurn)))
    }

    /// A padded plane to write, `[N, H padded]`.
    fn write<'a, T: Real>(self, plane: &'a mut [T], units: usize) -> Result<MatMut<'a, T>> {
        Ok(MatMut::dense(plane, self.count, padded::<T>(units))?)
    }
}
