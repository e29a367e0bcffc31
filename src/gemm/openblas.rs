//! The system's OpenBLAS as a backend.

#![allow(unsafe_code)]

use super::{Gemm, sizes};
use crate::error::{Error, Result};
use cblas_sys::{CBLAS_LAYOUT, CBLAS_TRANSPOSE, cblas_dgemm, cblas_sgemm};
use gatefold_kernels::mat::{MatMut, MatRef};
use std::ffi::{CStr, c_char, c_int};
use std::sync::Once;

// SAFETY: the signatures are those of OpenBLAS' cblas.h.
#[link(name = "openblas")]
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

/// The leading dimension of `lines` lines of `len` values that start `stride` apart; `None` if they overlap.
fn leading(lines: usize, len: usize, stride: usize) -> Option<usize> {
    if lines <= 1 || len == 0 { Some(len.max(1)) } else { (stride >= len).then_some(stride) }
}

/// Whether BLAS sees a matrix as transposed, and its leading dimension; `None` if BLAS cannot read it where it stands:
/// neither its rows nor its columns are dense, or they overlap.
fn layout<T>(m: &MatRef<'_, T>) -> Option<(CBLAS_TRANSPOSE, usize)> {
    let (rows, cols) = (m.rows(), m.cols());
    if m.col_stride() == 1 || cols <= 1 {
        leading(rows, cols, m.row_stride()).map(|leading| (CBLAS_TRANSPOSE::CblasNoTrans, leading))
    } else if m.row_stride() == 1 || rows <= 1 {
        leading(cols, rows, m.col_stride()).map(|leading| (CBLAS_TRANSPOSE::CblasTrans, leading))
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
                if m == 0 || n == 0 {
                    return Ok(());
                }
                if layout(&a).is_none() && a.col_stride() == 1 {
                    // Rows that overlap, such as frames that hop by less than their length: one at a time.
                    let mut rest = c;
                    for row in 0..m {
                        let (now, later) = rest.split_rows(1)?;
                        self.gemm(a.rows_from(row, 1)?, b, beta, now)?;
                        rest = later;
                    }
                    return Ok(());
                }
                let strided =
                    Error::Unsupported { what: "matrix", why: "BLAS takes rows or columns that stand side by side" };
                let (Some((ta, lda)), Some((tb, ldb))) = (layout(&a), layout(&b)) else { return Err(strided) };
                let ldc = int("c", if m == 1 { n } else { c.row_stride() })?;
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
