//! C = start + A B for a packed B: the input products, and plain matrix products.

use crate::block::{Block, Blocks, Length};
use crate::isa::{Dispatch, Isa, Simd};
use crate::mat::{MatMut, MatRef};
use crate::micro::Sums;
use crate::pack::{GateOrder, MAX_GATES, Panel, PanelRef};
use crate::real::Real;
use crate::seq::SeqRef;
use crate::shape::ShapeError;
use crate::tile::{At, Epilogue, Product};
use std::marker::PhantomData;

/// Bytes of a row of A that are multiplied at once, 1024 values of f32: a chunk of rows then takes an eighth of an L2 of 2 MB,
/// and the weights that it is multiplied by a tenth. (An LSTM of 1024 units, whose products going back have 4096 links,
/// took 4 % longer to train with 2048 links at once, 7 % with 4096, and 1 to 3 % with 768 and 512.)
const SPAN: usize = 4 << 10;

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
    /// What the chains start from.
    pub start: Start<'a, T>,
    /// The rows to compute, where A is one timestep; `None`: all. Rows of C that are not selected are not touched.
    pub select: Option<&'a [u32]>,
}

/// What the chains of a product start from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, T> {
    /// The first heads of the panel, one for each gate, or zero where it has none. What C holds is not read.
    Heads,
    /// What C holds.
    C,
    /// The first `gates` gates: those of an input product `[N, product_cols]` in [`GateOrder::Panel`], which are
    /// continued; the others: the first heads of the panel. What C holds is not read.
    Continue {
        /// The input product.
        input: MatRef<'a, T>,
        /// Gates that are continued.
        gates: usize,
    },
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
    let uncounted = ShapeError { argument: "a rows", expected: args.c.rows(), found: usize::MAX };
    let rows = args.a.shape().time.checked_mul(args.a.shape().batch).ok_or(uncounted)?;
    ShapeError::same("c rows", rows, args.c.rows())?;
    let cols = match args.order {
        GateOrder::Panel => panel.product_cols(),
        GateOrder::Major => shape.gates * shape.units,
    };
    ShapeError::same("c columns", cols, args.c.cols())?;
    let biases = match args.start {
        Start::Heads if shape.heads == 0 => 0,
        Start::Heads => shape.gates,
        Start::C => 0,
        Start::Continue { input, gates } => {
            ShapeError::at_least("panel gates", gates, shape.gates)?;
            ShapeError::same("input rows", rows, input.rows())?;
            ShapeError::at_least("input columns", gates * panel.blocks() * panel.lanes(), input.cols())?;
            ShapeError::same("input column stride", 1, input.col_stride())?;
            shape.gates - gates
        }
    };
    ShapeError::at_least("panel heads", biases, shape.heads)?;
    check_selection(args.select, args.a.shape().time, args.a.shape().batch)?;
    match shape.gates {
        1 => run::<T, Length<1>>(args),
        2 => run::<T, Length<2>>(args),
        3 => run::<T, Length<3>>(args),
        4 => run::<T, Length<4>>(args),
        gates => return Err(ShapeError { argument: "panel gates", expected: MAX_GATES, found: gates }),
    }
    Ok(())
}

/// Selected rows must be rows of a single timestep.
pub(crate) fn check_selection(select: Option<&[u32]>, time: usize, batch: usize) -> Result<(), ShapeError> {
    let Some(select) = select else { return Ok(()) };
    ShapeError::same("timesteps of a selection", 1, time)?;
    match select.iter().find(|&&row| row as usize >= batch) {
        Some(&row) => Err(ShapeError { argument: "selected row", expected: batch, found: row as usize }),
        None => Ok(()),
    }
}

fn run<T: Real, G: Blocks>(mut args: Gemm<'_, T>) {
    let (panel, shape) = (args.panel, args.panel.shape());
    let (heads, continued, input, input_gates) = match args.start {
        Start::Heads => (shape.heads, 0, None, 0),
        Start::C => (0, shape.gates, None, 0),
        Start::Continue { input, gates } => {
            (shape.heads, gates, Some(input), input.cols() / (panel.blocks() * panel.lanes()).max(1))
        }
    };
    let c = Stored {
        ptr: args.c.as_mut_ptr(),
        row_stride: args.c.row_stride(),
        gates: GateStrides::of(args.order, shape.gates, shape.units, panel.lanes()),
    };
    let from = input.map_or(c, |input| Stored {
        ptr: input.as_ptr().cast_mut(),
        row_stride: input.row_stride(),
        gates: GateStrides::of(GateOrder::Panel, input_gates, shape.units, panel.lanes()),
    });
    let store = Store::<T, G> { c, from, continued, heads, length: PhantomData };
    // SAFETY: `gemm` compared the sizes: C has a row for every row of A and a column for every gate and unit, and so has
    // what is continued for its gates; the panel has G gates, is packed for this instruction set, and has a head for
    // every gate that starts from one.
    unsafe { store.spans(args.isa, args.a, args.select, panel.whole()) }
}

/// The product of all rows of `a` by a part of a panel, in panel order, its chains starting from the heads.
///
/// # Safety
/// The channels of `a` are the panel's K, the panel has a head for every gate and was packed for `isa`, and `c` is valid for
/// writes of the part's blocks in every row.
pub(crate) unsafe fn part<T: Real>(isa: Isa, a: SeqRef<'_, T>, panel: PanelRef<'_, T>, c: *mut T, row_stride: usize) {
    struct Part<'a, T> {
        isa: Isa,
        a: SeqRef<'a, T>,
        panel: PanelRef<'a, T>,
        c: Stored<T>,
    }

    impl<T: Real> Part<'_, T> {
        /// # Safety
        /// As for `part`, and the panel has G gates.
        unsafe fn run<G: Blocks>(self) {
            let (c, from) = (self.c, self.c);
            let store = Store::<T, G> { c, from, continued: 0, heads: self.panel.shape().heads, length: PhantomData };
            // SAFETY: the caller's promise.
            unsafe { store.spans(self.isa, self.a, None, self.panel) }
        }
    }

    let gates = GateStrides::of(GateOrder::Panel, panel.shape().gates, 0, panel.lanes());
    let part = Part { isa, a, panel, c: Stored { ptr: c, row_stride, gates } };
    // SAFETY: the caller's promise.
    unsafe {
        match panel.shape().gates {
            1 => part.run::<Length<1>>(),
            2 => part.run::<Length<2>>(),
            3 => part.run::<Length<3>>(),
            4 => part.run::<Length<4>>(),
            _ => {}
        }
    }
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

    /// Values from one unit block to the next.
    #[inline(always)]
    pub(crate) fn blocks(self) -> usize {
        self.block
    }
}

/// A stored product.
struct Stored<T> {
    /// Written only where it is C.
    ptr: *mut T,
    row_stride: usize,
    gates: GateStrides,
}

impl<T> Clone for Stored<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Stored<T> {}

impl<T> Stored<T> {
    #[inline(always)]
    fn place(&self, at: At<T>, gate: usize) -> *mut T {
        self.ptr.wrapping_add(at.row * self.row_stride + self.gates.offset(at.block, gate))
    }

    /// The place of a gate, and the values to the next row and unit block.
    #[inline(always)]
    fn sums(&self, at: At<T>, gate: usize) -> (*mut T, usize, usize) {
        (self.place(at, gate), self.row_stride, self.gates.blocks())
    }
}

/// Stores the chains to C.
#[derive(Clone, Copy)]
struct Store<T, G> {
    c: Stored<T>,
    /// What is continued: C itself or an input product.
    from: Stored<T>,
    /// Gates that are continued.
    continued: usize,
    /// Heads of the panel: the other gates start from them, or from zero where there is none.
    heads: usize,
    length: PhantomData<G>,
}

impl<T: Real, G: Blocks> Store<T, G> {
    /// Computes the product, of long chains and several rows a span of k after the other: the first starts as the store says,
    /// and each next one goes on from C. Not of selected rows: one that is selected twice would go on twice.
    ///
    /// # Safety
    /// As for [`Product::new`] with this store.
    unsafe fn spans(self, isa: Isa, a: SeqRef<'_, T>, select: Option<&[u32]>, panel: PanelRef<'_, T>) {
        let (k, shape) = (panel.shape().k, a.shape());
        let is_whole = select.is_some() || panel.shape().units == 0 || shape.time.saturating_mul(shape.batch) < 2;
        if is_whole || k * size_of::<T>() <= SPAN {
            // SAFETY: the caller's promise.
            return unsafe { Product::new(a, select, panel, false, &self) }.run_on(isa);
        }
        let span = k.div_ceil((k * size_of::<T>()).div_ceil(SPAN));
        let mut store = self;
        for first in (0..k).step_by(span) {
            let end = k.min(first + span);
            let Ok(a) = a.channels(first, end - first) else { return };
            // SAFETY: the caller's promise; C has all rows and columns, and none of its gates starts from a head.
            unsafe { Product::of_span(a, panel, first..end, &store) }.run_on(isa);
            store = Store { from: store.c, continued: panel.shape().gates, heads: 0, ..store };
        }
    }
}

// SAFETY: only the gates of the row and block are read and written, LANES or the block's units of them.
unsafe impl<T: Real, G: Blocks> Epilogue<T> for Store<T, G> {
    type Acc<V: Copy> = G::Of<V>;

    #[inline(always)]
    unsafe fn start<S: Simd<T>>(&self, s: S, at: At<T>) -> G::Of<S::V> {
        let mut acc = G::Of::fill(s.splat(T::ZERO));
        for g in 0..G::Of::<S::V>::N {
            // SAFETY: what is continued has this row, block and gate; the panel has as many heads as are asked for.
            unsafe {
                if g < self.continued {
                    acc[g] = load_up_to(s, self.from.place(at, g), at.lanes);
                } else if g - self.continued < self.heads {
                    acc[g] = s.load(at.heads.add((g - self.continued) * S::LANES));
                }
            }
        }
        acc
    }

    #[inline(always)]
    unsafe fn finish<S: Simd<T>, const K: usize>(&self, s: S, at: [At<T>; K], acc: G::Of<[S::V; K]>) {
        for g in 0..G::Of::<()>::N {
            for row in 0..K {
                // SAFETY: C has this row and block.
                unsafe { store_up_to(s, self.c.place(at[row], g), acc[g][row], at[row].lanes) };
            }
        }
    }

    #[inline(always)]
    fn starts<S: Simd<T>>(&self, _: S, at: At<T>, stride: usize) -> Option<Sums<T>> {
        const { assert!(S::LANES <= T::ZEROS.len(), "a vector is longer than the zeros that it starts from") };
        let gates = G::Of::<S::V>::N;
        Some(Sums::of(gates, |g| match g.checked_sub(self.continued) {
            None => self.from.sums(at, g),
            Some(head) if head < self.heads => (at.heads.wrapping_add(head * S::LANES).cast_mut(), 0, stride),
            Some(_) => (T::ZEROS.as_ptr().cast_mut(), 0, 0),
        }))
    }

    #[inline(always)]
    fn stores<S: Simd<T>>(&self, _: S, at: At<T>) -> Option<Sums<T>> {
        Some(Sums::of(G::Of::<S::V>::N, |g| self.c.sums(at, g)))
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
