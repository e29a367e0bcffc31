//! The system's OpenBLAS as a backend.

#![allow(unsafe_code)]

// Only its build script is needed, which links the library.
extern crate openblas_src as _;

use super::{Gemm, sizes};
use crate::error::{Error, Result};
use cblas_sys::{CBLAS_LAYOUT, CBLAS_TRANSPOSE, cblas_dgemm, cblas_sgemm};
use gatefold_kernels::mat::{MatMut, MatRef};
use std::ffi::{CStr, c_char, c_int};
use std::sync::Once;

unsafe extern "C" {
    fn openblas_set_num_threads(threads: c_int);
    fn openblas_get_corename() -> *const c_char;
}

/// Products by `cblas_sgemm` and `cblas_dgemm`.
#[derive(Clone, Copy, Debug)]
pub struct OpenBlas {
    _set_up: (),
}

impl OpenBlas {
    /// Tells OpenBLAS, once in a process, to use one thread: threads are gatefold's to choose.
    pub fn new() -> Self {
        static ONCE: Once = Once::new();
        // SAFETY: the function takes any positive number and may be called at any time.
        ONCE.call_once(|| unsafe { openblas_set_num_threads(1) });
        OpenBlas { _set_up: () }
    }

    /// The processor whose kernels OpenBLAS has chosen, such as `Haswell`.
    pub fn core_name(&self) -> String {
        // SAFETY: the function returns a static string.
        unsafe { CStr::from_ptr(openblas_get_corename()) }.to_string_lossy().into_owned()
    }
}

impl Default for OpenBlas {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether BLAS sees a matrix as transposed, and its leading dimension; `None` if neither stride is 1.
fn layout<T>(m: &MatRef<'_, T>) -> Option<(CBLAS_TRANSPOSE, usize)> {
    if m.col_stride() == 1 || m.cols() <= 1 {
        Some((CBLAS_TRANSPOSE::CblasNoTrans, m.row_stride().max(m.cols()).max(1)))
    } else if m.row_stride() == 1 || m.rows() <= 1 {
        Some((CBLAS_TRANSPOSE::CblasTrans, m.col_stride().max(m.rows()).max(1)))
    } else {
        None
    }
}

fn int(argument: &'static str, value: usize) -> Result<c_int> {
    c_int::try_from(value).map_err(|_| Error::TooLarge { argument })
}

/// Implements [`Gemm`] by a function of BLAS, which has one for each element type.
macro_rules! implement {
    ($t:ty, $gemm:ident) => {
        impl Gemm<$t> for OpenBlas {
            fn gemm(&self, a: MatRef<'_, $t>, b: MatRef<'_, $t>, beta: $t, mut c: MatMut<'_, $t>) -> Result<()> {
                let [m, k, n] = sizes(&a, &b, &c)?;
                let strided =
                    Error::Unsupported { what: "matrix", why: "BLAS takes rows or columns that stand side by side" };
                let (Some((ta, lda)), Some((tb, ldb))) = (layout(&a), layout(&b)) else { return Err(strided) };
                let ldc = int("c", c.row_stride().max(n).max(1))?;
                let (lda, ldb) = (int("a", lda)?, int("b", ldb)?);
                let (mi, ki, ni) = (int("a", m)?, int("a", k)?, int("b", n)?);
                // SAFETY: the views reach these rows and columns at these leading dimensions, and C is borrowed
                // uniquely; with beta 0 BLAS does not read C.
                unsafe {
                    let order = CBLAS_LAYOUT::CblasRowMajor;
                    $gemm(order, ta, tb, mi, ni, ki, 1.0, a.as_ptr(), lda, b.as_ptr(), ldb, beta, c.as_mut_ptr(), ldc);
                }
                Ok(())
            }
        }
    };
}

implement!(f32, cblas_sgemm);
implement!(f64, cblas_dgemm);
