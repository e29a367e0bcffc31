//! The crate matrixmultiply as a backend.

#![allow(unsafe_code)]

use super::{Gemm, sizes};
use crate::error::Result;
use gatefold_kernels::mat::{MatMut, MatRef};

/// Products by `matrixmultiply::sgemm` and `dgemm`.
#[derive(Clone, Copy, Debug)]
pub struct MatrixMultiply;

/// Implements [`Gemm`] by a function of the crate, which has one for each element type.
macro_rules! implement {
    ($t:ty, $gemm:path) => {
        impl Gemm<$t> for MatrixMultiply {
            fn gemm(&self, a: MatRef<'_, $t>, b: MatRef<'_, $t>, beta: $t, mut c: MatMut<'_, $t>) -> Result<()> {
                let [m, k, n] = sizes(&a, &b, &c)?;
                if m == 0 || n == 0 {
                    return Ok(());
                }
                let (rsa, csa) = (a.row_stride() as isize, a.col_stride() as isize);
                let (rsb, csb) = (b.row_stride() as isize, b.col_stride() as isize);
                let rsc = c.row_stride() as isize;
                // SAFETY: the views reach these rows and columns at these strides, C is borrowed uniquely and its
                // elements do not meet; with beta 0 the crate does not read C.
                unsafe {
                    $gemm(m, k, n, 1.0, a.as_ptr(), rsa, csa, b.as_ptr(), rsb, csb, beta, c.as_mut_ptr(), rsc, 1)
                };
                Ok(())
            }
        }
    };
}

implement!(f32, matrixmultiply::sgemm);
implement!(f64, matrixmultiply::dgemm);
