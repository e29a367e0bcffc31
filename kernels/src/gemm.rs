//! C = start + A B for a packed B: the input products, and plain matrix products.

use crate::block::{Block, Blocks, Length};
use crate::isa::{Dispatch, Isa, Simd};
use crate::mat::MatMut;
use crate::pack::{GateOrder, Panel};
use crate::real::Real;
use crate::seq::SeqRef;
use crate::shape::ShapeError;
use crate::tile::{At, Epilogue, Product};
use std::marker::PhantomData;

/// Most gates that a product has.
pub const MAX_GATES: usize = 4;

/// C = start + A B. With G gates of H units in the panel, C is `[T*N, ..]` in the panel's or in gate-major order.
#[derive(Debug)]
pub struct Gemm<'a, T> {
    /// The instruction set; the panel must have been packed for it.
    pub isa: Isa,
    /// A, `[T, N, K]`: T*N rows.
    pub a: SeqRef<'a, T>,
    /// B, K by G*H, with G heads (biases) or none.
    pub panel: &'a Panel<T>,
    /// C, `[T*N, G*H]` or `[T*N, product_cols]`, as `order` says.
    pub c: MatMut<'a, T>,
    /// How C stands.
    pub order: GateOrder,
    /// Chains start from what C holds; else from the heads, or from zero where the panel has none, and C is not read.
    pub accumulate: bool,
}

impl<T: Real> Gemm<'_, T> {
    /// Computes C. Cost: 2 T N K G H floating-point operations; nothing is allocated.
    ///
    /// # Errors
    /// A size that does not fit the panel, by the name of the field.
    pub fn run(self) -> Result<(), ShapeError> {
        T::gemm(self)
    }
}

/// The body of [`Gemm::run`] for one element type.
pub(crate) fn gemm<T: Real>(args: Gemm<'_, T>) -> Result<(), ShapeError> {
    let (shape, panel) = (args.panel.shape(), args.panel);
    ShapeError::same("panel lanes", <T as Dispatch>::lanes(args.isa), panel.lanes())?;
    ShapeError::same("a columns", shape.k, args.a.shape().channels)?;
    let rows = args.a.shape().time.checked_mul(args.a.shape().batch).unwrap_or(usize::MAX);
    ShapeError::same("c rows", rows, args.c.rows())?;
    let cols = match args.order {
        GateOrder::Panel => panel.product_cols(),
        GateOrder::Major => shape.gates * shape.units,
    };
    ShapeError::same("c columns", cols, args.c.cols())?;
    if shape.heads != 0 {
        ShapeError::same("panel heads", shape.gates, shape.heads)?;
    }
    match shape.gates {
        1 => run::<T, Length<1>>(args),
        2 => run::<T, Length<2>>(args),
        3 => run::<T, Length<3>>(args),
        4 => run::<T, Length<4>>(args),
        gates => return Err(ShapeError { argument: "panel gates", expected: MAX_GATES, found: gates }),
    }
    Ok(())
}

fn run<T: Real, G: Blocks>(mut args: Gemm<'_, T>) {
    let panel = args.panel;
    let epilogue = Store::<T, G> {
        c: args.c.as_mut_ptr(),
        row_stride: args.c.row_stride(),
        gates: GateStrides::of(args.order, panel.shape().gates, panel.shape().units, panel.lanes()),
        start: match (args.accumulate, panel.shape().heads) {
            (true, _) => Start::C,
            (false, 0) => Start::Zero,
            (false, _) => Start::Heads,
        },
        length: PhantomData,
    };
    // SAFETY: `gemm` compared the sizes: C has a row for every row of A and a column for every gate and unit, the panel
    // has G gates, is packed for this instruction set, and has G heads where chains start from them.
    let product = unsafe { Product::new(args.a, panel, 0..panel.blocks(), epilogue) };
    T::dispatch(args.isa, product);
}

/// Where the gates of a unit block stand in a stored product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateStrides {
    /// Values from one unit block to the next.
    block: usize,
    /// Values from one gate to the next.
    gate: usize,
}

impl GateStrides {
    pub(crate) fn of(order: GateOrder, gates: usize, units: usize, lanes: usize) -> Self {
        match order {
            GateOrder::Panel => GateStrides { block: gates * lanes, gate: lanes },
            GateOrder::Major => GateStrides { block: lanes, gate: units },
        }
    }

    /// Offset of a gate of a block in its row.
    #[inline(always)]
    pub(crate) fn offset(self, block: usize, gate: usize) -> usize {
        block * self.block + gate * self.gate
    }
}

#[derive(Clone, Copy)]
enum Start {
    Zero,
    Heads,
    C,
}

/// Stores the chains to C.
#[derive(Clone, Copy)]
struct Store<T, G> {
    c: *mut T,
    row_stride: usize,
    gates: GateStrides,
    start: Start,
    length: PhantomData<G>,
}

impl<T, G> Store<T, G> {
    #[inline(always)]
    fn place(&self, at: At<T>, gate: usize) -> *mut T {
        self.c.wrapping_add(at.row * self.row_stride + self.gates.offset(at.block, gate))
    }
}

// SAFETY: only the gates of the row and block are read and written, LANES or the block's units of them.
unsafe impl<T: Real, G: Blocks> Epilogue<T> for Store<T, G> {
    type Acc<V: Copy> = G::Of<V>;

    #[inline(always)]
    unsafe fn start<S: Simd<T>>(&self, s: S, at: At<T>) -> G::Of<S::V> {
        let mut acc = G::Of::fill(s.splat(T::ZERO));
        for g in 0..G::Of::<S::V>::N {
            // SAFETY: heads were asked for only where the panel has one for each gate; C has this row and block.
            unsafe {
                match self.start {
                    Start::Zero => {}
                    Start::Heads => acc[g] = s.load(at.heads.add(g * S::LANES)),
                    Start::C => acc[g] = load_up_to(s, self.place(at, g), at.lanes),
                }
            }
        }
        acc
    }

    #[inline(always)]
    unsafe fn finish<S: Simd<T>>(&self, s: S, at: At<T>, acc: G::Of<S::V>) {
        for g in 0..G::Of::<S::V>::N {
            // SAFETY: C has this row and block.
            unsafe { store_up_to(s, self.place(at, g), acc[g], at.lanes) };
        }
    }
}

/// The first `lanes` values, by a whole load where that is all of them.
///
/// # Safety
/// `p` is valid for reads of `lanes` values, at most LANES.
#[inline(always)]
pub(crate) unsafe fn load_up_to<T, S: Simd<T>>(s: S, p: *const T, lanes: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if lanes == S::LANES { s.load(p) } else { s.load_n(p, lanes) } }
}

/// The first `lanes` values, by a whole store where that is all of them.
///
/// # Safety
/// `p` is valid for writes of `lanes` values, at most LANES.
#[inline(always)]
pub(crate) unsafe fn store_up_to<T, S: Simd<T>>(s: S, p: *mut T, v: S::V, lanes: usize) {
    // SAFETY: the caller's promise.
    unsafe { if lanes == S::LANES { s.store(p, v) } else { s.store_n(p, v, lanes) } }
}
