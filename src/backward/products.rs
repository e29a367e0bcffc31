//! The large products behind the steps: the gradients of weights and of the input.
//!
//! Every value of a weight's gradient is one chain over time and rows, in ascending order, whatever the threads. Chains are
//! cut into chunks that stay in the cache, each of which goes on from what the last one stored.

use super::{Pass, transposed};
use crate::dims::Dims;
use crate::error::Result;
use crate::grads::Grads;
use crate::schedule::{self, Split};
use crate::seq::{MatMut, MatRef, SeqRef, SeqShape};
use crate::tape::{Call, Recorded, gate_columns, planes};
use gatefold_kernels::gemm::{Gemm, Start};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::real::Real;

/// Links of the chains that are computed at once.
const CHUNK: usize = 256;

/// Values between the rows of what is transposed: without them, a column's cache lines would all fall into a few sets.
const GAP: usize = 16;

/// Fewest rows of a weight's gradient that are computed at once, so that packing is worth its while.
const ROWS: usize = 64;

/// Floating-point operations that a part must have to be worth waking a thread for.
const WORTH_A_THREAD: f64 = 1e6;

/// dx, and what is added to dW, dR, both biases and the projection's gradient.
pub(super) fn run<T: Real>(pass: &Pass<'_, T>, tape: Recorded<'_, T>, grads: &mut Grads<T>) -> Result<()> {
    let Call { dims, time, batch, .. } = pass.call;
    let work = dims.flops() * time as f64 * batch as f64;
    let most = (work / WORTH_A_THREAD) as usize;
    let parts = if most > 1 { pass.threads.count().min(most) } else { 1 };

    let panels = input_panels(pass)?;
    let gates = |block: usize, columns: usize| columns_of(&tape, block * dims.hidden, columns);
    let sources = panels.iter().map(|(block, panel)| gates(*block, panel.shape().k)).collect::<Result<Vec<_>>>()?;
    let dx = MatMut::dense(&mut grads.dx, time * batch, dims.input)?;
    let panels = panels.into_iter().map(|(_, panel)| panel).collect::<Vec<_>>();
    schedule::run(
        InputGrad { isa: pass.isa, sources: &sources, panels: &panels, from: 0, batch, dx },
        parts.min(time),
    )?;

    let mut sums = sums(pass, &tape, grads, ROWS.max(dims.hidden.div_ceil(parts)))?;
    let parts = parts.min(sums.len());
    schedule::run(Sums { isa: pass.isa, sums: &mut sums }, parts)
}

/// Some columns of the tape, `[T, N, columns]`.
fn columns_of<'a, T: Real>(tape: &'a Recorded<'_, T>, from: usize, columns: usize) -> Result<SeqRef<'a, T>> {
    Ok(SeqRef::new(&tape.gates[from..], SeqShape { channels: columns, ..tape.shape })?)
}

/// W, packed, for gates that stand side by side on the tape, with the block of columns where they start.
fn input_panels<T: Real>(pass: &Pass<'_, T>) -> Result<Vec<(usize, Panel<T>)>> {
    let Dims { cell, hidden, input, .. } = pass.call.dims;
    let w = MatRef::dense(pass.weights.w(), cell.gates() * hidden, input)?;
    let mut runs: Vec<(usize, usize, usize)> = Vec::new();
    for (gate, columns) in gate_columns(cell).enumerate() {
        match runs.last_mut() {
            Some((_, block, count)) if *block + *count == columns.w => *count += 1,
            _ => runs.push((gate, columns.w, 1)),
        }
    }
    let panel = |(gate, block, count): (usize, usize, usize)| {
        Ok((block, transposed(pass.isa, w.rows_from(gate * hidden, count * hidden)?)?))
    };
    runs.into_iter().map(panel).collect()
}

/// dx = dA W for some steps.
struct InputGrad<'a, T> {
    isa: Isa,
    /// dA, `[T, N, K]` for each panel.
    sources: &'a [SeqRef<'a, T>],
    panels: &'a [Panel<T>],
    /// The first step.
    from: usize,
    batch: usize,
    /// `[steps * N, I]`
    dx: MatMut<'a, T>,
}

impl<T: Real> Split for InputGrad<'_, T> {
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)> {
        let InputGrad { isa, sources, panels, from, batch, dx } = self;
        let steps = dx.rows() / batch * left / (left + right);
        let (a, b) = dx.split_rows(steps * batch)?;
        let part = |from, dx| InputGrad { isa, sources, panels, from, batch, dx };
        Ok((part(from, a), part(from + steps, b)))
    }

    fn run(mut self) -> Result<()> {
        let steps = self.dx.rows() / self.batch;
        for (i, (source, panel)) in self.sources.iter().zip(self.panels).enumerate() {
            let (a, c) = (source.steps(self.from, steps)?, self.dx.reborrow());
            let start = if i == 0 { Start::Heads } else { Start::C };
            Gemm { isa: self.isa, a, panel, c, order: GateOrder::Major, start, select: None }.run()?;
        }
        Ok(())
    }
}

/// What is added to some rows of weights' gradients that have the same left side: out += left^T right.
struct Sum<'a, T> {
    /// `[T, N, rows]`
    left: SeqRef<'a, T>,
    /// `[T, N, C]`, and `[rows, C]`.
    products: Vec<(SeqRef<'a, T>, &'a mut [T])>,
    /// `[rows]` each.
    biases: Vec<&'a mut [T]>,
}

/// All sums of a layer, each of at most so many rows.
fn sums<'a, T: Real>(
    pass: &Pass<'_, T>,
    tape: &'a Recorded<'_, T>,
    grads: &'a mut Grads<T>,
    most: usize,
) -> Result<Vec<Sum<'a, T>>> {
    let Call { dims, time, direction, .. } = pass.call;
    let (hidden, output) = (dims.hidden, dims.output());
    let (x, h) = (tape.x, tape.h.steps(planes(direction, 0).0, time)?);
    let mut sums = Vec::new();
    let mut w = grads.dw.chunks_mut(hidden * dims.input);
    let mut r = grads.dr.chunks_mut(hidden * output);
    let (mut b_w, mut b_r) = (grads.db_w.chunks_mut(hidden), grads.db_r.chunks_mut(hidden));
    for gate in gate_columns(dims.cell) {
        let operand = match gate.operand {
            Some(block) => columns_of(tape, block * hidden, hidden)?,
            None => h,
        };
        let mut w = w.next().into_iter().flat_map(|w| w.chunks_mut(most * dims.input));
        let mut r = r.next().into_iter().flat_map(|r| r.chunks_mut(most * output));
        let mut b_w = b_w.next().into_iter().flat_map(|b| b.chunks_mut(most));
        let mut b_r = b_r.next().into_iter().flat_map(|b| b.chunks_mut(most));
        for from in (0..hidden).step_by(most) {
            let left = |block: usize| columns_of(tape, block * hidden + from, most.min(hidden - from));
            let mut on_w = Sum { left: left(gate.w)?, products: Vec::new(), biases: Vec::new() };
            on_w.products.extend(w.next().map(|w| (x, w)));
            on_w.biases.extend(b_w.next());
            let of_r = (r.next().map(|r| (operand, r)), b_r.next());
            if gate.w != gate.r {
                sums.push(std::mem::replace(
                    &mut on_w,
                    Sum { left: left(gate.r)?, products: Vec::new(), biases: Vec::new() },
                ));
            }
            on_w.products.extend(of_r.0);
            on_w.biases.extend(of_r.1);
            sums.push(on_w);
        }
    }
    if dims.projection.is_some() {
        let m = columns_of(tape, 4 * hidden, hidden)?;
        for (i, out) in grads.d_projection.chunks_mut(most * hidden).enumerate() {
            let left = columns_of(tape, 5 * hidden + i * most, out.len() / hidden)?;
            sums.push(Sum { left, products: vec![(m, out)], biases: Vec::new() });
        }
    }
    Ok(sums)
}

struct Sums<'a, 'b, T> {
    isa: Isa,
    sums: &'b mut [Sum<'a, T>],
}

impl<T: Real> Split for Sums<'_, '_, T> {
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)> {
        let (a, b) = self.sums.split_at_mut(self.sums.len() * left / (left + right));
        Ok((Sums { isa: self.isa, sums: a }, Sums { isa: self.isa, sums: b }))
    }

    fn run(self) -> Result<()> {
        self.sums.iter_mut().try_for_each(|sum| sum.run(self.isa))
    }
}

impl<T: Real> Sum<'_, T> {
    fn run(&mut self, isa: Isa) -> Result<()> {
        let SeqShape { time, batch, channels: rows, .. } = self.left.shape();
        let all = time * batch;
        let chunk = CHUNK.min(all);
        let panel = |(right, _): &(SeqRef<'_, T>, &mut [T])| {
            Panel::new(isa, PanelShape { heads: 0, gates: 1, k: chunk, units: right.shape().channels })
        };
        let mut panels = self.products.iter().map(panel).collect::<std::result::Result<Vec<_>, _>>()?;
        let stride = chunk + GAP;
        let mut left = vec![T::ZERO; rows * stride];
        for first in (0..all).step_by(chunk) {
            for k in 0..chunk {
                let (t, n) = ((first + k) / batch, (first + k) % batch);
                self.link(t, n, k, &mut panels, left.chunks_exact_mut(stride))?;
            }
            for ((right, out), panel) in self.products.iter_mut().zip(&panels) {
                let a = SeqRef::from_matrix(MatRef::new(&left, rows, chunk, stride)?)?;
                let c = MatMut::dense(out, rows, right.shape().channels)?;
                Gemm { isa, a, panel, c, order: GateOrder::Major, start: Start::C, select: None }.run()?;
            }
        }
        Ok(())
    }

    /// Link k of a chunk, of row n at time t; zeros past the last step.
    fn link<'b>(
        &mut self,
        t: usize,
        n: usize,
        k: usize,
        panels: &mut [Panel<T>],
        left: impl Iterator<Item = &'b mut [T]>,
    ) -> Result<()> {
        let Some(gradients) = self.left.row(t, n) else {
            left.for_each(|to| to[k] = T::ZERO);
            for panel in panels {
                panel.pack_row(k, &vec![T::ZERO; panel.shape().units])?;
            }
            return Ok(());
        };
        left.zip(gradients).for_each(|(to, &from)| to[k] = from);
        for ((right, _), panel) in self.products.iter().zip(panels) {
            panel.pack_row(k, right.row(t, n).unwrap_or_default())?;
        }
        for bias in &mut self.biases {
            bias.iter_mut().zip(gradients).for_each(|(sum, &term)| *sum = *sum + term);
        }
        Ok(())
    }
}
