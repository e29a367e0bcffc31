//! Matrix products: which one a layer runs on.
//!
//! The native kernels take the cell as their epilogue and are what a layer uses unless told otherwise. The others
//! compute C = A B + beta C, and the same cells run behind that product.

#[cfg(feature = "matrixmultiply")]
mod matrixmultiply;
mod native;
#[cfg(feature = "openblas")]
mod openblas;

#[cfg(feature = "matrixmultiply")]
pub use self::matrixmultiply::MatrixMultiply;
pub use self::native::Native;
#[cfg(feature = "openblas")]
pub use self::openblas::OpenBlas;

use crate::error::{Error, Result};
use gatefold_kernels::mat::{MatMut, MatRef};
use gatefold_kernels::real::Real;
use std::fmt::Debug;
use std::sync::Arc;

/// A general matrix product.
pub trait Gemm<T>: Debug + Send + Sync {
    /// C = A B + beta C with `a: [M, K]`, `b: [K, N]`, `c: [M, N]`; where beta is 0, C is not read. Layers pass rows of
    /// values side by side as A, a transposed dense matrix as B, and 0 or 1 as beta; in a backward pass also rows of values
    /// side by side as B, and such rows transposed as A.
    ///
    /// # Errors
    /// [`Error::Shape`] if the sizes do not fit, [`Error::TooLarge`] if one is more than the implementation can count.
    fn gemm(&self, a: MatRef<'_, T>, b: MatRef<'_, T>, beta: T, c: MatMut<'_, T>) -> Result<()>;
}

/// What computes the products of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// gatefold's own kernels, fused with the cell; the only one for which the same bits are promised.
    #[default]
    Native,
    /// The crate matrixmultiply, which allocates at every call; feature `matrixmultiply`.
    MatrixMultiply,
    /// The system's OpenBLAS on one thread; feature `openblas`.
    OpenBlas,
}

/// The element types of layers: `f32` and `f64`.
pub trait Element: Real {
    /// The product of a backend that cannot fuse; `None` for the native one.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the library was built without it.
    #[doc(hidden)]
    fn foreign(backend: Backend) -> Result<Option<Arc<dyn Gemm<Self>>>>;
}

/// Implements [`Element`]; a method for each type, since a backend is a product of one type.
macro_rules! elements {
    ($($t:ty)+) => {$(
        impl Element for $t {
            fn foreign(backend: Backend) -> Result<Option<Arc<dyn Gemm<Self>>>> {
                match backend {
                    Backend::Native => Ok(None),
                    #[cfg(feature = "matrixmultiply")]
                    Backend::MatrixMultiply => Ok(Some(Arc::new(MatrixMultiply))),
                    #[cfg(feature = "openblas")]
                    Backend::OpenBlas => Ok(Some(Arc::new(OpenBlas::new()))),
                    #[allow(unreachable_patterns)]
                    _ => Err(Error::Unsupported { what: "backend", why: "the library was built without its feature" }),
                }
            }
        }
    )+};
}

elements! { f32 f64 }

/// M, K, N if the sizes of A, B and C agree.
fn sizes<T>(a: &MatRef<'_, T>, b: &MatRef<'_, T>, c: &MatMut<'_, T>) -> Result<[usize; 3]> {
    let wrong = |argument, expected, found| Err(Error::Shape { argument, expected, found });
    if b.rows() != a.cols() {
        wrong("b rows", a.cols(), b.rows())
    } else if c.rows() != a.rows() {
        wrong("c rows", a.rows(), c.rows())
    } else if c.cols() != b.cols() {
        wrong("c columns", b.cols(), c.cols())
    } else {
        Ok([a.rows(), a.cols(), b.cols()])
    }
}
