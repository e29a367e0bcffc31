//! gatefold's own product behind the common interface. Layers do not come this way: they keep their weights packed.

use super::{Gemm, sizes};
use crate::error::Result;
use gatefold_kernels::gemm;
use gatefold_kernels::isa::Isa;
use gatefold_kernels::mat::{MatMut, MatRef};
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::real::Real;
use gatefold_kernels::seq::SeqRef;

/// Products by the kernels of one instruction set. B is packed at every call, into memory allocated for it.
#[derive(Clone, Copy, Debug)]
pub struct Native {
    /// The instruction set.
    pub isa: Isa,
}

impl<T: Real> Gemm<T> for Native {
    fn gemm(&self, a: MatRef<'_, T>, b: MatRef<'_, T>, beta: T, mut c: MatMut<'_, T>) -> Result<()> {
        let [m, k, n] = sizes(&a, &b, &c)?;
        if m == 0 || n == 0 {
            return Ok(());
        }
        let mut panel = Panel::new(self.isa, PanelShape { heads: 0, gates: 1, k, units: n })?;
        panel.pack(&[], b.transposed())?;
        if beta != T::ZERO && beta != T::ONE {
            for row in 0..m {
                for value in c.row_mut(row).into_iter().flatten() {
                    *value = T::from_f64(beta.to_f64() * value.to_f64());
                }
            }
        }
        let packed;
        let rows = if a.col_stride() == 1 || a.cols() <= 1 {
            a
        } else {
            packed = dense(a);
            MatRef::dense(&packed, m, k)?
        };
        let start = if beta == T::ZERO { gemm::Start::Heads } else { gemm::Start::C };
        let (order, select) = (GateOrder::Major, None);
        let product =
            gemm::Gemm { isa: self.isa, a: SeqRef::from_matrix(rows)?, panel: &panel, c, order, start, select };
        Ok(product.run()?)
    }
}

fn dense<T: Real>(a: MatRef<'_, T>) -> Vec<T> {
    (0..a.rows()).flat_map(|row| (0..a.cols()).filter_map(move |col| a.get(row, col).copied())).collect()
}
