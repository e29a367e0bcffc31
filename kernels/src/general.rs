//! Cells with options that no fused stage has, as passes over a stored product.
//!
//! Any activations, clipped pre-activations, peepholes, coupled gates, an attended update gate: the product of a step
//! is stored with its chains finished, and every row goes through a few passes, each over one gate. A pass is compiled
//! once for each activation, not for each place where a cell may have it.
//!
//! Where nothing departs from the standard equations the result has the same bits as the fused stage's.

use crate::activation::{Activation, activate};
use crate::cell::{StageKind, flush, update};
use crate::epilogue::StepState;
use crate::gemm::{GateStrides, check_selection, load_up_to, store_up_to};
use crate::isa::{Dispatch, Isa, Op, Simd};
use crate::mat::MatMut;
use crate::math::sigmoid_tanh;
use crate::pack::GateOrder;
use crate::real::Real;
use crate::shape::ShapeError;

/// In what a cell departs from its standard equations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    /// Of the gates; of the candidate (LSTM g, GRU n); of the cell state on its way to the output (LSTM). ONNX' f, g, h.
    /// Of a SimpleRNN the first one counts.
    pub activations: [Activation; 3],
    /// Pre-activations a become min(max(a, -clip), clip). ONNX' `clip`.
    pub clip: Option<f64>,
    /// LSTM: f = 1 - i; the forget gate's weights do not count. ONNX' `input_forget`.
    pub coupled: bool,
    /// LSTM: i and f see c, and o sees c', each times a weight for every unit.
    pub peepholes: bool,
    /// GRU: (1 - a) z takes the place of z, a being one value for each row and step (AUGRU: Zhou et al.,
    /// arXiv:1809.03672).
    pub attention: bool,
}

impl Default for Variant {
    /// The standard equations: sigmoid for gates, tanh for the rest.
    fn default() -> Self {
        let activations = [Activation::Sigmoid, Activation::Tanh, Activation::Tanh];
        Variant { activations, clip: None, coupled: false, peepholes: false, attention: false }
    }
}

/// One timestep of one stage for N rows whose recurrent product was computed, with its chains finished.
#[derive(Debug)]
pub struct General<'a, 'b, T> {
    /// The instruction set; the result has the same bits under every one.
    pub isa: Isa,
    /// What the step computes; [`StageKind::SimpleRelu`] and [`StageKind::SimpleTanh`] are the same here.
    pub stage: StageKind,
    /// With which options.
    pub variant: Variant,
    /// The finished chains, `[N, G*H]` gate after gate.
    pub product: MatMut<'a, T>,
    /// Whether `product` is to hold the activated gates afterwards, but for a coupled f; else it may hold anything.
    pub kept: bool,
    /// Weights of i, f and o for c, `[3*H]`, for an LSTM with peepholes.
    pub peepholes: Option<&'a [T]>,
    /// What else is read and written. Of `input` the late gates are read. Of planes `[N, H]` is read and written.
    pub state: StepState<'a, 'b, T>,
}

impl<T: Real> General<'_, '_, T> {
    /// Computes the step. Cost: the activations, N H times, and some ten passes over a row's gates in L1; nothing is
    /// allocated.
    ///
    /// # Errors
    /// A size that does not fit `product` or the stage, by the name of the field.
    pub fn run(self) -> Result<(), ShapeError> {
        T::general(self)
    }
}

/// The body of [`General::run`] for one element type.
pub(crate) fn general<T: Real>(args: General<'_, '_, T>) -> Result<(), ShapeError> {
    let (shape, rows) = (args.stage.shape(), args.product.rows());
    let units = args.product.cols() / shape.recurrent;
    ShapeError::same("product columns", units * shape.recurrent, args.product.cols())?;
    let peepholes = if args.variant.peepholes && args.stage == StageKind::Lstm { 3 * units } else { 0 };
    ShapeError::same("peepholes", peepholes, args.peepholes.map_or(0, <[T]>::len))?;
    let attended = args.variant.attention && has_update_gate(args.stage);
    ShapeError::same("row", if attended { rows } else { 0 }, args.state.row.map_or(0, <[T]>::len))?;
    check_selection(args.state.select, 1, rows)?;
    let gates = check_state(args.isa, args.stage, rows, units, &args.state)?;
    T::dispatch(args.isa, Sweep { args, units, gates });
    Ok(())
}

/// Whether the stage has the gate that attention acts on.
fn has_update_gate(stage: StageKind) -> bool {
    use StageKind::{GruAfter, GruGates, GruLateUpdate, GruUpdate};
    matches!(stage, GruAfter | GruGates | GruUpdate | GruLateUpdate)
}

/// Compares the sizes of all that a stage reads and writes; returns where the gates of the input product stand.
fn check_state<T: Real>(
    isa: Isa,
    stage: StageKind,
    rows: usize,
    units: usize,
    state: &StepState<'_, '_, T>,
) -> Result<GateStrides, ShapeError> {
    let (shape, lanes) = (stage.shape(), <T as Dispatch>::lanes(isa));
    ShapeError::same("prev", shape.prev, state.prev.len())?;
    ShapeError::same("next", shape.next, state.next.len())?;
    for plane in state.prev {
        ShapeError::same("prev rows", rows, plane.rows())?;
        ShapeError::at_least("prev columns", units, plane.cols())?;
        ShapeError::same("prev column stride", 1, plane.col_stride())?;
    }
    for plane in &*state.next {
        ShapeError::same("next rows", rows, plane.rows())?;
        ShapeError::at_least("next columns", units, plane.cols())?;
    }
    if let Some(y) = &state.y {
        ShapeError::same("y rows", rows, y.rows())?;
        ShapeError::same("y columns", units, y.cols())?;
    }
    let gates = GateStrides::of(state.order, shape.input, units, lanes);
    if shape.late > 0 {
        let cols = match state.order {
            GateOrder::Panel => shape.input * units.next_multiple_of(lanes),
            GateOrder::Major => shape.input * units,
        };
        ShapeError::same("input rows", rows, state.input.rows())?;
        ShapeError::same("input columns", cols, state.input.cols())?;
        ShapeError::same("input column stride", 1, state.input.col_stride())?;
    }
    Ok(gates)
}

struct Sweep<'a, 'b, T> {
    args: General<'a, 'b, T>,
    units: usize,
    /// Of the input product.
    gates: GateStrides,
}

impl<T: Real> Op<T> for Sweep<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Sweep { mut args, units, gates } = self;
        let (stage, variant, kept, select) = (args.stage, args.variant, args.kept, args.state.select);
        for i in 0..select.map_or(args.product.rows(), <[u32]>::len) {
            let row = Row::new(&mut args, gates, units, select.map_or(i, |select| select[i] as usize));
            match stage {
                StageKind::SimpleTanh | StageKind::SimpleRelu => simple(s, variant, variant.activations[0], row),
                StageKind::Projection => simple(s, variant, Activation::Linear, row),
                StageKind::Lstm => lstm(s, variant, kept, row),
                StageKind::GruAfter => gru_after(s, variant, row),
                StageKind::GruGates => gru_gates(s, variant, row),
                StageKind::GruCandidate => gru_candidate(s, variant, row),
                StageKind::GruReset => gru_reset(s, variant, row),
                StageKind::GruUpdate => gru_update(s, variant, row),
                StageKind::GruEarlyCandidate => gru_early_candidate(s, variant, row),
                StageKind::GruLateUpdate => gru_late_update(s, variant, row),
            }
        }
    }
}

/// What one row of the batch reads and writes: slices of H values, empty where the stage has none.
struct Row<'r, T> {
    gates: [&'r mut [T]; 4],
    /// The row of the input product.
    input: &'r [T],
    strides: GateStrides,
    peepholes: &'r [T],
    attention: T,
    prev: [&'r [T]; 2],
    next: [&'r mut [T]; 2],
    y: &'r mut [T],
}

/// Where values of a row stand.
#[derive(Clone, Copy)]
enum Held {
    Gate(usize),
    Prev(usize),
}

impl<'r, T: Real> Row<'r, T> {
    #[inline(always)]
    fn new(args: &'r mut General<'_, '_, T>, strides: GateStrides, units: usize, row: usize) -> Self {
        let StepState { input, prev, next, y, row: attention, .. } = &mut args.state;
        let mut gates = args.product.row_mut(row).unwrap_or_default().chunks_exact_mut(units.max(1));
        let mut next = next.iter_mut().map(|plane| &mut plane.row_mut(row).unwrap_or_default()[..units]);
        let mut prev = prev.iter().map(|plane| &plane.row(row).unwrap_or_default()[..units]);
        Row {
            gates: std::array::from_fn(|_| gates.next().unwrap_or_default()),
            input: input.row(row).unwrap_or_default(),
            strides,
            peepholes: args.peepholes.unwrap_or_default(),
            attention: attention.map_or(T::ZERO, |row_values| row_values[row]),
            prev: std::array::from_fn(|_| prev.next().unwrap_or_default()),
            next: std::array::from_fn(|_| next.next().unwrap_or_default()),
            y: y.as_mut().and_then(|y| y.row_mut(row)).unwrap_or_default(),
        }
    }

    /// The new hidden state of a block of units.
    #[inline(always)]
    fn output<S: Simd<T>>(&mut self, s: S, at: usize, h: S::V) {
        write(s, self.next[0], at, h);
        write(s, self.y, at, h);
    }

    /// A block of units of a gate or of a plane that is read.
    #[inline(always)]
    fn held<S: Simd<T>>(&self, s: S, held: Held, at: usize) -> S::V {
        match held {
            Held::Gate(gate) => read(s, self.gates[gate], at),
            Held::Prev(plane) => read(s, self.prev[plane], at),
        }
    }

    /// Adds the weight of peephole `which` times `c` to a gate.
    #[inline(always)]
    fn peep<S: Simd<T>>(&self, s: S, which: usize, at: usize, c: S::V, a: S::V) -> S::V {
        match self.peepholes.get(which * self.gates[0].len()..) {
            Some(weights) if !weights.is_empty() => s.fma(read(s, &weights[..self.gates[0].len()], at), c, a),
            _ => a,
        }
    }
}

/// Up to LANES values from `at`, zeros past the end.
#[inline(always)]
pub(crate) fn read<T: Real, S: Simd<T>>(s: S, from: &[T], at: usize) -> S::V {
    let part = from.get(at..).unwrap_or_default();
    // SAFETY: no more values are read than the slice has.
    unsafe { load_up_to(s, part.as_ptr(), part.len().min(S::LANES)) }
}

/// Up to LANES values at `at`, as many as there is room for.
#[inline(always)]
pub(crate) fn write<T: Real, S: Simd<T>>(s: S, to: &mut [T], at: usize, v: S::V) {
    let part = to.get_mut(at..).unwrap_or_default();
    // SAFETY: no more values are written than the slice has room for.
    unsafe { store_up_to(s, part.as_mut_ptr(), v, part.len().min(S::LANES)) }
}

/// As many values as both have.
#[inline(always)]
fn copy<T: Real, S: Simd<T>>(s: S, from: &[T], to: &mut [T]) {
    for at in (0..from.len()).step_by(S::LANES) {
        write(s, to, at, read(s, from, at));
    }
}

/// min(max(a, -clip), clip), or a; NaN stays.
#[inline(always)]
fn clipped<T: Real, S: Simd<T>>(s: S, variant: Variant, a: S::V) -> S::V {
    match variant.clip {
        Some(limit) => s.max(s.splat(T::from_f64(-limit)), s.min(s.splat(T::from_f64(limit)), a)),
        None => a,
    }
}

/// A gate from its pre-activations, in place.
#[inline(always)]
fn gate<T: Real, S: Simd<T>>(s: S, variant: Variant, activation: Activation, values: &mut [T]) {
    if variant.clip.is_some() {
        for at in (0..values.len()).step_by(S::LANES) {
            let a = clipped(s, variant, read(s, values, at));
            write(s, values, at, a);
        }
    }
    activate(s, activation, values);
}

/// h' = f(a).
#[inline(always)]
fn simple<T: Real, S: Simd<T>>(s: S, variant: Variant, activation: Activation, mut row: Row<'_, T>) {
    gate(s, variant, activation, row.gates[0]);
    for at in (0..row.gates[0].len()).step_by(S::LANES) {
        let h = flush(s, read(s, row.gates[0], at));
        row.output(s, at, h);
    }
}

/// i = f(a_i + p_i c), f = f(a_f + p_f c) or 1 - i, g = g(a_g); c' = f c + i g; o = f(a_o + p_o c'); h' = o h(c').
/// Products of a sigmoid and a tanh divide once, as those of the fused stage do.
#[inline(always)]
fn lstm<T: Real, S: Simd<T>>(s: S, variant: Variant, kept: bool, mut row: Row<'_, T>) {
    let [of_gates, of_candidate, of_cell] = variant.activations;
    let once = |other| of_gates == Activation::Sigmoid && other == Activation::Tanh;
    let new_once = once(of_candidate) && !variant.coupled;
    let blocks = (0..row.gates[0].len()).step_by(S::LANES);
    if variant.peepholes {
        for at in blocks.clone() {
            let c = read(s, row.prev[0], at);
            for g in 0..2 {
                let a = row.peep(s, g, at, c, read(s, row.gates[g], at));
                write(s, row.gates[g], at, a);
            }
        }
    }
    // The place of h' serves for i g, and then for h(c'), so that g stays.
    if new_once {
        for at in blocks.clone() {
            let i = clipped(s, variant, read(s, row.gates[0], at));
            let g = clipped(s, variant, read(s, row.gates[2], at));
            write(s, row.next[0], at, sigmoid_tanh(s, i, g));
        }
    }
    if !variant.coupled {
        gate(s, variant, of_gates, row.gates[1]);
    }
    if kept || !new_once {
        gate(s, variant, of_gates, row.gates[0]);
        gate(s, variant, of_candidate, row.gates[2]);
    }
    for at in blocks.clone() {
        let (i, g) = (read(s, row.gates[0], at), read(s, row.gates[2], at));
        let f = if variant.coupled { s.sub(s.splat(T::ONE), i) } else { read(s, row.gates[1], at) };
        let new = if new_once { read(s, row.next[0], at) } else { s.mul(i, g) };
        let exact = s.fma(f, read(s, row.prev[0], at), new);
        let c = flush(s, exact);
        let o = row.peep(s, 2, at, c, read(s, row.gates[3], at));
        write(s, row.gates[3], at, o);
        write(s, row.next[0], at, exact);
        write(s, row.next[1], at, c);
    }
    if once(of_cell) {
        for at in blocks {
            let h = sigmoid_tanh(s, clipped(s, variant, read(s, row.gates[3], at)), read(s, row.next[0], at));
            row.output(s, at, flush(s, h));
        }
        if kept {
            gate(s, variant, of_gates, row.gates[3]);
        }
        return;
    }
    gate(s, variant, of_gates, row.gates[3]);
    activate(s, of_cell, row.next[0]);
    for at in blocks {
        let h = flush(s, s.mul(read(s, row.gates[3], at), read(s, row.next[0], at)));
        row.output(s, at, h);
    }
}

/// An update gate from its pre-activations, attended.
#[inline(always)]
fn update_gate<T: Real, S: Simd<T>>(s: S, variant: Variant, which: usize, row: &mut Row<'_, T>) {
    gate(s, variant, variant.activations[0], row.gates[which]);
    if variant.attention {
        let kept = s.sub(s.splat(T::ONE), s.splat(row.attention));
        for at in (0..row.gates[which].len()).step_by(S::LANES) {
            let z = s.mul(kept, read(s, row.gates[which], at));
            write(s, row.gates[which], at, z);
        }
    }
}

/// r h of the first gate.
#[inline(always)]
fn reset<T: Real, S: Simd<T>>(s: S, row: &mut Row<'_, T>) {
    for at in (0..row.gates[0].len()).step_by(S::LANES) {
        let reset = flush(s, s.mul(read(s, row.gates[0], at), read(s, row.prev[0], at)));
        row.output(s, at, reset);
    }
}

/// h' = z h + (1 - z) n.
#[inline(always)]
fn blend<T: Real, S: Simd<T>>(s: S, row: &mut Row<'_, T>, z: Held, n: Held) {
    for at in (0..row.gates[0].len()).step_by(S::LANES) {
        let h = update(s, row.held(s, z, at), read(s, row.prev[0], at), row.held(s, n, at));
        row.output(s, at, h);
    }
}

/// n = g(x_n + r a_n), and the state.
#[inline(always)]
fn gru_after<T: Real, S: Simd<T>>(s: S, variant: Variant, mut row: Row<'_, T>) {
    gate(s, variant, variant.activations[0], row.gates[0]);
    update_gate(s, variant, 1, &mut row);
    let units = row.gates[0].len();
    for at in (0..units).step_by(S::LANES) {
        let place = row.strides.offset(at / S::LANES, 2);
        let x = read(s, &row.input[..(place + units - at).min(row.input.len())], place);
        let a = s.fma(read(s, row.gates[0], at), read(s, row.gates[2], at), x);
        write(s, row.gates[2], at, a);
    }
    gate(s, variant, variant.activations[1], row.gates[2]);
    blend(s, &mut row, Held::Gate(1), Held::Gate(2));
}

/// r h and z.
#[inline(always)]
fn gru_gates<T: Real, S: Simd<T>>(s: S, variant: Variant, mut row: Row<'_, T>) {
    gate(s, variant, variant.activations[0], row.gates[0]);
    update_gate(s, variant, 1, &mut row);
    reset(s, &mut row);
    copy(s, row.gates[1], row.next[1]);
}

/// n = g(a_n), and the state.
#[inline(always)]
fn gru_candidate<T: Real, S: Simd<T>>(s: S, variant: Variant, mut row: Row<'_, T>) {
    gate(s, variant, variant.activations[1], row.gates[0]);
    blend(s, &mut row, Held::Prev(1), Held::Gate(0));
}

/// r h.
#[inline(always)]
fn gru_reset<T: Real, S: Simd<T>>(s: S, variant: Variant, mut row: Row<'_, T>) {
    gate(s, variant, variant.activations[0], row.gates[0]);
    reset(s, &mut row);
}

/// z.
#[inline(always)]
fn gru_update<T: Real, S: Simd<T>>(s: S, variant: Variant, mut row: Row<'_, T>) {
    update_gate(s, variant, 0, &mut row);
    copy(s, row.gates[0], row.next[0]);
    copy(s, row.gates[0], row.y);
}

/// n = g(a_n).
#[inline(always)]
fn gru_early_candidate<T: Real, S: Simd<T>>(s: S, variant: Variant, row: Row<'_, T>) {
    gate(s, variant, variant.activations[1], row.gates[0]);
    copy(s, row.gates[0], row.next[0]);
    copy(s, row.gates[0], row.y);
}

/// z, and the state.
#[inline(always)]
fn gru_late_update<T: Real, S: Simd<T>>(s: S, variant: Variant, mut row: Row<'_, T>) {
    update_gate(s, variant, 0, &mut row);
    blend(s, &mut row, Held::Gate(0), Held::Prev(1));
}
