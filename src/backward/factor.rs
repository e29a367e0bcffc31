//! The right sides of a pass's products: packed for the native kernels, or matrices for another product.

use super::Pass;
use crate::cell::{Cell, Reset};
use crate::dims::Dims;
use crate::error::Result;
use crate::gemm::Gemm;
use crate::schedule::{self, Split};
use crate::seq::{MatMut, MatRef, SeqRef};
use crate::tape::{Run, runs_of_w};
use gatefold_kernels::gemm::{Gemm as PackedGemm, Start};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::pack::{GateOrder, Panel};
use gatefold_kernels::real::Real;

/// What computes the products of a backward pass.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine<'a, T> {
    /// The kernels of this instruction set.
    Native(Isa),
    /// Another product.
    Foreign(&'a dyn Gemm<T>),
}

/// B of C = A B, `[K, C]`.
#[derive(Clone, Copy)]
pub(super) enum Factor<'a, T> {
    Packed { isa: Isa, panel: &'a Panel<T> },
    Plain { gemm: &'a dyn Gemm<T>, matrix: MatRef<'a, T> },
}

impl<'a, T: Real> Factor<'a, T> {
    /// `panel` has it packed if the kernels are to multiply by it.
    fn new(engine: Engine<'a, T>, matrix: MatRef<'a, T>, panel: &'a Panel<T>) -> Self {
        match engine {
            Engine::Foreign(gemm) => Factor::Plain { gemm, matrix },
            Engine::Native(isa) => Factor::Packed { isa, panel },
        }
    }

    /// K.
    pub(super) fn k(&self) -> usize {
        match self {
            Factor::Packed { panel, .. } => panel.shape().k,
            Factor::Plain { matrix, .. } => matrix.rows(),
        }
    }

    /// C = A B for `a: [T, N, K]`, `c: [T*N, C]`; or C + A B, if `onto` what it holds. `select`: the rows to compute, where
    /// `a` is one timestep; others are not touched.
    pub(super) fn product(&self, a: SeqRef<'_, T>, c: MatMut<'_, T>, onto: bool, select: Option<&[u32]>) -> Result<()> {
        let (gemm, matrix) = match *self {
            Factor::Packed { isa, panel } => {
                let start = if onto { Start::C } else { Start::Heads };
                return Ok(PackedGemm { isa, a, panel, c, order: GateOrder::Major, start, select }.run()?);
            }
            Factor::Plain { gemm, matrix } => (gemm, matrix),
        };
        let beta = if onto { T::ONE } else { T::ZERO };
        let mut rest = c;
        for step in a.folded().matrices() {
            let (now, later) = rest.split_rows(step.rows())?;
            match select {
                None => gemm.gemm(step, matrix, beta, now)?,
                Some(select) => runs(gemm, step, matrix, beta, now, select)?,
            }
            rest = later;
        }
        Ok(())
    }
}

/// What leads from the gradients of pre-activations to those of the state before and of the input.
#[derive(Clone, Copy)]
pub(super) struct Factors<'a, T> {
    /// R of all gates whose operand is h.
    pub(super) recurrent: Factor<'a, T>,
    /// That of a second stage: R_n of a GRU whose reset gate acts before the product, or the projection.
    pub(super) second: Option<Factor<'a, T>>,
    /// W of each run of gates.
    pub(super) input: [Option<Factor<'a, T>>; 2],
}

impl<'a, T: Real> Factors<'a, T> {
    /// Packs what is to be packed, on the threads of the pass.
    pub(super) fn new(pass: &Pass<'a, T>, panels: &'a mut [Panel<T>; 4]) -> Result<Self> {
        let (weights, Dims { cell, input, hidden, .. }) = (pass.weights, pass.call.dims);
        let w = MatRef::dense(weights.w(), cell.gates() * hidden, input)?;
        let r = MatRef::dense(weights.r(), cell.gates() * hidden, pass.call.dims.output())?;
        let (recurrent, second) = match (cell, weights.projection()) {
            (Cell::Gru { reset: Reset::Before }, _) => {
                (r.rows_from(0, 2 * hidden)?, Some(r.rows_from(2 * hidden, hidden)?))
            }
            (_, Some(projection)) => (r, Some(MatRef::dense(projection, pass.call.dims.output(), hidden)?)),
            _ => (r, None),
        };
        let run = |i| runs_of_w(cell).get(i).map(|run: &Run| w.rows_from(run.gate * hidden, run.count * hidden));
        // Two threads have R and W each.
        let matrices = [Some(recurrent), second, run(0).transpose()?, run(1).transpose()?];
        if let Engine::Native(isa) = pass.engine {
            let parts =
                if weights.r().len() + weights.w().len() < WEIGHTS_OF_A_THREAD { 1 } else { pass.threads.count() };
            schedule::run(Packing { isa, matrices: &matrices, panels }, parts.min(matrices.len()))?;
        }
        let factor = |i: usize| matrices[i].map(|matrix| Factor::new(pass.engine, matrix, &panels[i]));
        let recurrent = Factor::new(pass.engine, recurrent, &panels[0]);
        Ok(Factors { recurrent, second: factor(1), input: [factor(2), factor(3)] })
    }
}

/// Fewest weights that are shared among threads to be packed: they take it tens of microseconds.
const WEIGHTS_OF_A_THREAD: usize = 1 << 17;

/// Matrices to be packed, each by one thread.
struct Packing<'a, T> {
    isa: Isa,
    matrices: &'a [Option<MatRef<'a, T>>],
    panels: &'a mut [Panel<T>],
}

impl<T: Real> Split for Packing<'_, T> {
    fn split(self, left: usize, right: usize) -> Result<(Self, Self)> {
        let Packing { isa, matrices, panels } = self;
        let count = (matrices.len() * left).div_ceil(left + right);
        let (matrices_a, matrices_b) = matrices.split_at(count);
        let (panels_a, panels_b) = panels.split_at_mut(count);
        let part = |matrices, panels| Packing { isa, matrices, panels };
        Ok((part(matrices_a, panels_a), part(matrices_b, panels_b)))
    }

    fn run(self) -> Result<()> {
        for (matrix, panel) in self.matrices.iter().zip(self.panels) {
            if let Some(matrix) = matrix {
                panel.pack_rows(self.isa, *matrix)?;
            }
        }
        Ok(())
    }
}

/// The product of some rows, in ascending order: one for each run of them.
fn runs<T: Real>(
    gemm: &dyn Gemm<T>,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    beta: T,
    mut c: MatMut<'_, T>,
    select: &[u32],
) -> Result<()> {
    for run in select.chunk_by(|a, b| a + 1 == *b) {
        let first = run[0] as usize;
        let (_, from) = c.reborrow().split_rows(first)?;
        let (rows, _) = from.split_rows(run.len())?;
        gemm.gemm(a.rows_from(first, run.len())?, b, beta, rows)?;
    }
    Ok(())
}
