//! The pointwise part of back-propagation through time: what a step's gates and the gradient of its state say about the
//! gradients of the pre-activations.
//!
//! A recorded step left its activated gates behind. [`Backward`] overwrites them by the gradients of their
//! pre-activations, so that products with the weights, and with what the weights were multiplied with, are all that is
//! left to do. Like the cells it has the same bits on every instruction set, and like states the gradients of states
//! become +0 where they are below [`Real::FLUSH`].

use crate::cell::flush;
use crate::gemm::check_selection;
use crate::general::{read, write};
use crate::isa::{Isa, Op, Simd};
use crate::mat::{MatMut, MatRef};
use crate::math::tanh;
use crate::real::Real;
use crate::shape::ShapeError;

/// What a step of back-propagation goes back through. The gates before and after, H columns each:
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackwardKind {
    /// SimpleRNN with tanh: h' becomes da.
    SimpleTanh,
    /// SimpleRNN with ReLU: the same.
    SimpleRelu,
    /// LSTM: i, f, g, o become da_i, da_f, da_g, da_o; c' is computed again.
    Lstm,
    /// GRU whose reset gate acts after the product: r, z, n, R_n h + b_rn become da_r, da_z, r da_n, da_n. The third is the
    /// gradient on the side of R, the fourth the one on the side of W.
    GruAfter,
    /// GRU whose reset gate acts before the product, second stage: r, z, n, r h become r, da_z, da_n, r h.
    GruCandidate,
    /// The same, first stage: the first column block, r, becomes da_r.
    GruGates,
}

impl BackwardKind {
    /// Blocks of H columns of the gates.
    pub const fn gates(self) -> usize {
        match self {
            BackwardKind::SimpleTanh | BackwardKind::SimpleRelu => 1,
            _ => 4,
        }
    }
}

/// One step of N rows and H units backwards.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// The instruction set; the result has the same bits under every one.
    pub isa: Isa,
    /// What to go back through.
    pub kind: BackwardKind,
    /// What the step recorded, `[N, gates * H]` or wider; see [`BackwardKind`].
    pub gates: MatMut<'a, T>,
    /// Before the step, `[N, H]`: h of a GRU, c of an LSTM. Not read for a SimpleRNN.
    pub before: MatRef<'a, T>,
    /// Weights of i, f and o for c, `[3*H]`, of an LSTM with peepholes; else nothing.
    pub peepholes: &'a [T],
    /// `[N, H]`: the gradient of h', of o tanh(c') under a projection. For a GRU what reaches h past its gates takes its
    /// place: z dh', and then + r d(r h).
    pub dh: MatMut<'a, T>,
    /// `[N, H]`: of an LSTM the gradient of c', whose place that of c takes; for [`BackwardKind::GruGates`] the gradient of
    /// r h, which is read. Not touched for others.
    pub other: MatMut<'a, T>,
    /// The rows to compute; `None`: all. Others are not touched.
    pub select: Option<&'a [u32]>,
}

impl<T: Real> Backward<'_, T> {
    /// Computes the step. Cost: a pass over the gates, and a tanh for each unit of an LSTM; nothing is allocated.
    ///
    /// # Errors
    /// A size that does not fit, by the name of the field.
    pub fn run(self) -> Result<(), ShapeError> {
        T::backward(self)
    }
}

/// dh = dh + dy, where dy is the gradient of the outputs of a step and dh what comes from the steps after it.
#[derive(Debug)]
pub struct Join<'a, T> {
    /// The instruction set; the result has the same bits under every one.
    pub isa: Isa,
    /// `[N, C]`.
    pub dh: MatMut<'a, T>,
    /// `[N, C]`, or nothing to be added.
    pub dy: Option<MatRef<'a, T>>,
    /// The rows to compute; `None`: all. Others are not touched.
    pub select: Option<&'a [u32]>,
}

impl<T: Real> Join<'_, T> {
    /// Adds, and flushes what is too small. Nothing is allocated.
    ///
    /// # Errors
    /// `"dy rows"`, `"dy columns"`, `"dy column stride"` or `"selected row"` does not fit `dh`.
    pub fn run(self) -> Result<(), ShapeError> {
        T::join(self)
    }
}

/// The body of [`Backward::run`] for one element type.
pub(crate) fn backward<T: Real>(args: Backward<'_, T>) -> Result<(), ShapeError> {
    use BackwardKind as K;
    let (rows, units) = (args.dh.rows(), args.dh.cols());
    let is = |is: bool| if is { (rows, units) } else { (0, 0) };
    let before = is(!matches!(args.kind, K::SimpleTanh | K::SimpleRelu));
    let other = is(matches!(args.kind, K::Lstm | K::GruGates));
    ShapeError::same("gates rows", rows, args.gates.rows())?;
    ShapeError::at_least("gates columns", args.kind.gates().saturating_mul(units), args.gates.cols())?;
    for (names, (rows, units), matrix) in [
        (["before rows", "before columns", "before column stride"], before, args.before),
        (["other rows", "other columns", ""], other, args.other.as_ref()),
    ] {
        if rows > 0 {
            ShapeError::same(names[0], rows, matrix.rows())?;
            ShapeError::same(names[1], units, matrix.cols())?;
            ShapeError::same(names[2], 1, matrix.col_stride())?;
        }
    }
    if !args.peepholes.is_empty() {
        ShapeError::same("peepholes", if args.kind == K::Lstm { 3 * units } else { 0 }, args.peepholes.len())?;
    }
    check_selection(args.select, 1, rows)?;
    T::dispatch(args.isa, Sweep { args, units });
    Ok(())
}

/// The body of [`Join::run`] for one element type.
pub(crate) fn join<T: Real>(args: Join<'_, T>) -> Result<(), ShapeError> {
    if let Some(dy) = args.dy {
        ShapeError::same("dy rows", args.dh.rows(), dy.rows())?;
        ShapeError::same("dy columns", args.dh.cols(), dy.cols())?;
        ShapeError::same("dy column stride", 1, dy.col_stride())?;
    }
    check_selection(args.select, 1, args.dh.rows())?;
    T::dispatch(args.isa, Sum(args));
    Ok(())
}

struct Sum<'a, T>(Join<'a, T>);

impl<T: Real> Op<T> for Sum<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Join { mut dh, dy, select, .. } = self.0;
        for i in 0..select.map_or(dh.rows(), <[u32]>::len) {
            let row = select.map_or(i, |select| select[i] as usize);
            let dy = dy.and_then(|dy| dy.row(row)).unwrap_or_default();
            let dh = dh.row_mut(row).unwrap_or_default();
            for at in (0..dh.len()).step_by(S::LANES) {
                let sum = s.add(read(s, dh, at), read(s, dy, at));
                write(s, dh, at, flush(s, sum));
            }
        }
    }
}

struct Sweep<'a, T> {
    args: Backward<'a, T>,
    units: usize,
}

impl<T: Real> Op<T> for Sweep<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Sweep { mut args, units } = self;
        let (kind, select, peepholes) = (args.kind, args.select, args.peepholes);
        for i in 0..select.map_or(args.dh.rows(), <[u32]>::len) {
            let row = Row::new(&mut args, units, select.map_or(i, |select| select[i] as usize));
            match kind {
                BackwardKind::SimpleTanh => simple_tanh(s, row),
                BackwardKind::SimpleRelu => simple_relu(s, row),
                BackwardKind::Lstm => lstm(s, peepholes, row),
                BackwardKind::GruAfter => gru_after(s, row),
                BackwardKind::GruCandidate => gru_candidate(s, row),
                BackwardKind::GruGates => gru_gates(s, row),
            }
        }
    }
}

/// What one row of the batch reads and writes: slices of H values, empty where the step has none.
struct Row<'r, T> {
    gates: [&'r mut [T]; 4],
    before: &'r [T],
    dh: &'r mut [T],
    other: &'r mut [T],
}

impl<'r, T: Real> Row<'r, T> {
    #[inline(always)]
    fn new(args: &'r mut Backward<'_, T>, units: usize, row: usize) -> Self {
        let mut gates = args.gates.row_mut(row).unwrap_or_default().chunks_exact_mut(units.max(1));
        Row {
            gates: std::array::from_fn(|_| gates.next().unwrap_or_default()),
            before: args.before.row(row).unwrap_or_default(),
            dh: args.dh.row_mut(row).unwrap_or_default(),
            other: args.other.row_mut(row).unwrap_or_default(),
        }
    }

    #[inline(always)]
    fn blocks<S: Simd<T>>(&self, _: S) -> impl Iterator<Item = usize> + use<S, T> {
        (0..self.dh.len()).step_by(S::LANES)
    }
}

/// da for dy of y = sigmoid(a): dy y (1 - y).
#[inline(always)]
fn of_sigmoid<T: Real, S: Simd<T>>(s: S, y: S::V, dy: S::V) -> S::V {
    s.mul(dy, s.mul(y, s.sub(s.splat(T::ONE), y)))
}

/// da for dy of y = tanh(a): dy (1 - y y).
#[inline(always)]
fn of_tanh<T: Real, S: Simd<T>>(s: S, y: S::V, dy: S::V) -> S::V {
    s.mul(dy, s.fnma(y, y, s.splat(T::ONE)))
}

#[inline(always)]
fn simple_tanh<T: Real, S: Simd<T>>(s: S, row: Row<'_, T>) {
    for at in row.blocks(s) {
        let da = of_tanh(s, read(s, row.gates[0], at), read(s, row.dh, at));
        write(s, row.gates[0], at, da);
    }
}

/// Where h' is 0, or was flushed to 0, nothing passes; at a NaN everything does.
#[inline(always)]
fn simple_relu<T: Real, S: Simd<T>>(s: S, row: Row<'_, T>) {
    for at in row.blocks(s) {
        let da = s.select_lt(read(s, row.gates[0], at), s.splat(T::FLUSH), s.splat(T::ZERO), read(s, row.dh, at));
        write(s, row.gates[0], at, da);
    }
}

/// Four gates of a block. (A closure that `array::from_fn` calls would be a function of its own.)
#[inline(always)]
fn gates<T: Real, S: Simd<T>>(s: S, row: &Row<'_, T>, at: usize) -> [S::V; 4] {
    let [a, b, c, d] = &row.gates;
    [read(s, a, at), read(s, b, at), read(s, c, at), read(s, d, at)]
}

/// c' = f c + i g, h' = o tanh(c'). With peepholes a_i and a_f have p c, and a_o has p c'.
#[inline(always)]
fn lstm<T: Real, S: Simd<T>>(s: S, peepholes: &[T], row: Row<'_, T>) {
    let units = row.dh.len();
    // Without peepholes these are empty, and what is read of them is 0.
    let [p_i, p_f, p_o] = [0, 1, 2].map(|p| peepholes.get(p * units..(p + 1) * units).unwrap_or_default());
    for at in row.blocks(s) {
        let [i, f, g, o] = gates(s, &row, at);
        let (before, dh) = (read(s, row.before, at), read(s, row.dh, at));
        let out = tanh(s, flush(s, s.fma(f, before, s.mul(i, g))));
        let da_o = of_sigmoid(s, o, s.mul(dh, out));
        let mut dc = s.add(read(s, row.other, at), of_tanh(s, out, s.mul(dh, o)));
        if !peepholes.is_empty() {
            dc = s.fma(read(s, p_o, at), da_o, dc);
        }
        let dc = flush(s, dc);
        let da_i = of_sigmoid(s, i, s.mul(dc, g));
        let da_f = of_sigmoid(s, f, s.mul(dc, before));
        let mut past = s.mul(dc, f);
        if !peepholes.is_empty() {
            past = s.fma(read(s, p_i, at), da_i, s.fma(read(s, p_f, at), da_f, past));
        }
        write(s, row.gates[0], at, da_i);
        write(s, row.gates[1], at, da_f);
        write(s, row.gates[2], at, of_tanh(s, g, s.mul(dc, i)));
        write(s, row.gates[3], at, da_o);
        write(s, row.other, at, flush(s, past));
    }
}

/// h' = z h + (1 - z) n: da_z, da_n, and the part of dh' that passes by.
#[inline(always)]
fn of_update<T: Real, S: Simd<T>>(s: S, [z, n, h, dh]: [S::V; 4]) -> [S::V; 3] {
    let da_n = of_tanh(s, n, s.mul(dh, s.sub(s.splat(T::ONE), z)));
    let da_z = of_sigmoid(s, z, s.mul(dh, s.sub(h, n)));
    [da_z, da_n, s.mul(dh, z)]
}

/// n = tanh(x_n + r q), q = R_n h + b_rn.
#[inline(always)]
fn gru_after<T: Real, S: Simd<T>>(s: S, row: Row<'_, T>) {
    for at in row.blocks(s) {
        let [r, z, n, q] = gates(s, &row, at);
        let [da_z, da_n, past] = of_update(s, [z, n, read(s, row.before, at), read(s, row.dh, at)]);
        write(s, row.gates[0], at, of_sigmoid(s, r, s.mul(da_n, q)));
        write(s, row.gates[1], at, da_z);
        write(s, row.gates[2], at, s.mul(r, da_n));
        write(s, row.gates[3], at, da_n);
        write(s, row.dh, at, past);
    }
}

#[inline(always)]
fn gru_candidate<T: Real, S: Simd<T>>(s: S, row: Row<'_, T>) {
    for at in row.blocks(s) {
        let (z, n) = (read(s, row.gates[1], at), read(s, row.gates[2], at));
        let [da_z, da_n, past] = of_update(s, [z, n, read(s, row.before, at), read(s, row.dh, at)]);
        write(s, row.gates[1], at, da_z);
        write(s, row.gates[2], at, da_n);
        write(s, row.dh, at, past);
    }
}

#[inline(always)]
fn gru_gates<T: Real, S: Simd<T>>(s: S, row: Row<'_, T>) {
    for at in row.blocks(s) {
        let (r, d_reset) = (read(s, row.gates[0], at), read(s, row.other, at));
        let da_r = of_sigmoid(s, r, s.mul(d_reset, read(s, row.before, at)));
        write(s, row.gates[0], at, da_r);
        write(s, row.dh, at, s.fma(r, d_reset, read(s, row.dh, at)));
    }
}
