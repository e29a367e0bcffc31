//! The right side of a product: packed for the native kernels, or a matrix for another product.

use crate::error::Result;
use crate::gemm::Gemm;
use crate::seq::{MatMut, MatRef, SeqRef};
use gatefold_kernels::gemm::{Gemm as PackedGemm, Start};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
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
    /// `panel` is where the native kernels have it packed.
    pub(super) fn new(engine: Engine<'a, T>, matrix: MatRef<'a, T>, panel: &'a mut Panel<T>) -> Result<Self> {
        let isa = match engine {
            Engine::Foreign(gemm) => return Ok(Factor::Plain { gemm, matrix }),
            Engine::Native(isa) => isa,
        };
        panel.reset(isa, PanelShape { heads: 0, gates: 1, k: matrix.rows(), units: matrix.cols() })?;
        for k in 0..matrix.rows() {
            panel.pack_row(k, matrix.row(k).unwrap_or_default())?;
        }
        Ok(Factor::Packed { isa, panel })
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
