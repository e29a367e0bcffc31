//! The large products behind the steps: the gradients of weights and of the input.
//!
//! Every value of a weight's gradient is one chain over time and rows, in ascending order, whatever the threads.

use super::Pass;
use super::factor::{Engine, Factor, Factors};
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::gemm::Gemm;
use crate::grads::Grads;
use crate::schedule::{self, Split};
use crate::seq::{MatMut, SeqRef};
use crate::tape::{Call, PartRoom, Recorded, Tape, planes, runs_of_r, runs_of_w};
use gatefold_kernels::diagonal::Diagonal;
use gatefold_kernels::outer::{Outer, OuterTerm};
use gatefold_kernels::real::Real;

/// Floating-point operations that a part must have to be worth waking a thread for.
const WORTH_A_THREAD: f64 = 1e6;

/// A part takes as many rows of a gradient, or a multiple: the tiles of every instruction set are whole.
const WHOLE_TILES: usize = 16;

/// dx, dW, dR and those of both biases, the projection and peepholes; those of weights are added to what is there if `onto`.
pub(super) fn run<T: Real>(
    pass: &Pass<'_, T>,
    factors: &Factors<'_, T>,
    tape: &mut Tape<T>,
    grads: &mut Grads<T>,
    onto: bool,
) -> Result<()> {
    let Call { dims, time, batch, direction, .. } = pass.call;
    let work = dims.flops() * time as f64 * batch as f64;
    let most = (work / WORTH_A_THREAD) as usize;
    let parts = if most > 1 { pass.threads.count().min(most) } else { 1 };
    let (Recorded { gates, shape, .. }, _) = tape.recorded(pass.call)?;
    let gates = SeqRef::new(gates, shape)?;
    let mut sources = [const { None }; 2];
    for ((run, factor), source) in runs_of_w(dims.cell).iter().zip(factors.input).zip(&mut sources) {
        let gates = gates.channels(run.block * dims.hidden, run.count * dims.hidden)?;
        *source = factor.map(|factor| (gates, factor));
    }
    let dx = MatMut::dense(&mut grads.dx, time * batch, dims.input)?;
    schedule::run(InputGrad { sources: &sources, from: 0, batch, dx }, parts.min(time))?;

    let (Recorded { x, h, c, gates, shape, .. }, room) = tape.recorded(pass.call)?;
    let gates = SeqRef::new(gates, shape)?;
    let (before, after) = planes(direction, 0);
    let h = h.into_ref().steps(before, time)?;
    if !onto {
        grads.d_peepholes.fill(T::ZERO);
    }
    if !grads.d_peepholes.is_empty() {
        for ((gate, plane), sums) in
            [(0, before), (1, before), (3, after)].into_iter().zip(grads.d_peepholes.chunks_mut(dims.hidden))
        {
            let left = gates.channels(gate * dims.hidden, dims.hidden)?;
            Diagonal { isa: pass.isa, left, right: c.steps(plane, time)?, sums }.run()?;
        }
    }
    let terms = terms(dims, [x, h, gates], grads)?;
    if let Engine::Native(_) = pass.engine {
        let len = Outer::<T>::room(shape.channels);
        room.reserve(parts, len, 0)?;
    }
    schedule::run(Sums { engine: pass.engine, gates, terms, onto, rooms: &mut room.parts }, parts)
}

/// dx = dA W for some steps.
struct InputGrad<'a, T> {
    /// dA, `[T, N, K]`, and W, of each run of gates.
    sources: &'a [Option<(SeqRef<'a, T>, Factor<'a, T>)>; 2],
    /// The first step.
    from: usize,
    batch: usize,
    /// `[steps * N, I]`
    dx: MatMut<'a, T>,
}

impl<T: Real> Split for InputGrad<'_, T> {
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)> {
        let InputGrad { sources, from, batch, dx } = self;
        let steps = dx.rows() / batch * left / (left + right);
        let (a, b) = dx.split_rows(steps * batch)?;
        let part = |from, dx| InputGrad { sources, from, batch, dx };
        Ok((part(from, a), part(from + steps, b)))
    }

    fn run(mut self) -> Result<()> {
        let steps = self.dx.rows() / self.batch;
        for (i, (gates, w)) in self.sources.iter().flatten().enumerate() {
            w.product(gates.steps(self.from, steps)?, self.dx.reborrow(), i > 0, None)?;
        }
        Ok(())
    }
}

/// Gradients of weights that a layer has at most: two of W or R, in two runs of gates, and one of a projection.
const TERMS: usize = 3;

/// What is added to the gradients of the weights; the last ones may be nothing.
fn terms<'a, T: Real>(
    dims: Dims,
    [x, h, gates]: [SeqRef<'a, T>; 3],
    grads: &'a mut Grads<T>,
) -> Result<[OuterTerm<'a, T>; TERMS]> {
    let (hidden, input, output) = (dims.hidden, dims.input, dims.output());
    let Grads { dw, dr, db_w, db_r, d_projection, .. } = grads;
    let [mut dw, mut dr, mut db_w, mut db_r] = [dw, dr, db_w, db_r].map(|array| &mut array[..]);
    let [a, b, c] = [nothing(h)?, nothing(h)?, nothing(h)?];
    let mut terms = [a, b, c];
    let mut next = terms.iter_mut();
    let mut push = |block: usize, right: SeqRef<'a, T>, rows: usize, c: &'a mut [T], sums: &'a mut [T]| {
        let c = MatMut::dense(c, rows, right.shape().channels)?;
        if let Some(term) = next.next() {
            *term = OuterTerm { from: block * hidden, right, c, sums };
        }
        Ok::<_, Error>(())
    };
    for run in runs_of_w(dims.cell) {
        let rows = run.count * hidden;
        push(run.block, x, rows, take(&mut dw, rows * input), take(&mut db_w, rows))?;
    }
    for (run, operand) in runs_of_r(dims.cell) {
        let rows = run.count * hidden;
        let right = match operand {
            Some(block) => gates.channels(block * hidden, hidden)?,
            None => h,
        };
        push(run.block, right, rows, take(&mut dr, rows * output), take(&mut db_r, rows))?;
    }
    if dims.projection.is_some() {
        push(5, gates.channels(4 * hidden, hidden)?, output, d_projection, &mut [])?;
    }
    Ok(terms)
}

/// A sum of no rows.
fn nothing<'a, T: Real>(right: SeqRef<'a, T>) -> Result<OuterTerm<'a, T>> {
    let c = MatMut::dense(&mut [], 0, right.shape().channels)?;
    Ok(OuterTerm { from: 0, right, c, sums: &mut [] })
}

/// Cuts the first `len` values off, or all.
fn take<'a, T>(values: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let all = std::mem::take(values);
    let (first, rest) = all.split_at_mut(len.min(all.len()));
    *values = rest;
    first
}

/// Sums over all steps.
struct Sums<'a, T> {
    engine: Engine<'a, T>,
    /// The tape, `[T, N, width]`.
    gates: SeqRef<'a, T>,
    terms: [OuterTerm<'a, T>; TERMS],
    /// Whether they are added to what is there.
    onto: bool,
    /// One for each part.
    rooms: &'a mut [PartRoom<T>],
}

impl<T: Real> Split for Sums<'_, T> {
    /// By rows of each gradient, which are columns of the tape: those of one part for W and R are mostly the same, and
    /// packed once.
    fn split(self, left: usize, right_parts: usize) -> Result<(Self, Self)> {
        let Sums { engine, gates, terms, onto, rooms } = self;
        let halves = terms.map(|OuterTerm { from, right, c, mut sums }| {
            let rows = (c.rows() * left / (left + right_parts)).next_multiple_of(WHOLE_TILES).min(c.rows());
            let (first, rest) = c.split_rows(rows)?;
            let first = OuterTerm { from, right, c: first, sums: take(&mut sums, rows) };
            Ok::<_, Error>((first, OuterTerm { from: from + rows, right, c: rest, sums }))
        });
        let [x, y, z] = halves;
        let ((x, x_rest), (y, y_rest), (z, z_rest)) = (x?, y?, z?);
        let (rooms_a, rooms_b) = rooms.split_at_mut(left.min(rooms.len()));
        let a = Sums { engine, gates, terms: [x, y, z], onto, rooms: rooms_a };
        Ok((a, Sums { engine, gates, terms: [x_rest, y_rest, z_rest], onto, rooms: rooms_b }))
    }

    fn run(self) -> Result<()> {
        let Sums { engine, gates, mut terms, onto, rooms } = self;
        match (engine, rooms) {
            (Engine::Native(isa), [room, ..]) => {
                Ok(Outer { isa, left: gates, terms: &mut terms, onto, room: &mut room.sums }.run()?)
            }
            (Engine::Native(_), []) => Ok(()),
            (Engine::Foreign(gemm), _) => terms.into_iter().try_for_each(|term| foreign(gemm, gates, term, onto)),
        }
    }
}

/// The same by another product.
fn foreign<T: Real>(gemm: &dyn Gemm<T>, gates: SeqRef<'_, T>, term: OuterTerm<'_, T>, onto: bool) -> Result<()> {
    let OuterTerm { from, right, mut c, sums } = term;
    if c.rows() == 0 {
        return Ok(());
    }
    let mut beta = if onto { T::ONE } else { T::ZERO };
    if !onto {
        sums.fill(T::ZERO);
    }
    let left = gates.channels(from, c.rows())?;
    for (left, right) in left.folded().matrices().zip(right.folded().matrices()) {
        gemm.gemm(left.transposed(), right, beta, c.reborrow())?;
        beta = T::ONE;
        for n in 0..left.rows() {
            sums.iter_mut().zip(left.row(n).unwrap_or_default()).for_each(|(sum, &term)| *sum = *sum + term);
        }
    }
    Ok(())
}
