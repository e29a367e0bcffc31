//! How a cell's weights are cut into stages, and the ways to compute a stage: fused, by a foreign product with the same
//! cell behind it, or, where the cell has options, by either product with passes behind it.

use crate::caches::Caches;
use crate::cell::{Activation, Cell, Reset, Variant};
use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::gemm::Gemm;
use crate::seq::{MatMut, MatRef, SeqMut, SeqRef, product};
use crate::weights::Weights;
use gatefold_kernels::buf::Buf;
use gatefold_kernels::cell::StageKind;
use gatefold_kernels::gemm::{Gemm as PackedGemm, Start};
use gatefold_kernels::general::General;
use gatefold_kernels::isa::Isa;
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::pointwise::Pointwise;
use gatefold_kernels::real::Real;
use gatefold_kernels::relay::{MAX_STAGES, RelayStage};
use gatefold_kernels::solo::SoloStage;
use gatefold_kernels::step::Step;
use gatefold_kernels::{StepState, TraceMut};
use std::ops::Range;
use std::sync::Arc;

/// A stage of a cell before it has weights.
#[derive(Clone, Debug)]
struct Part {
    kind: StageKind,
    /// Its gates' place in the canonical order.
    gates: Range<usize>,
    /// Rows of each gate.
    units: usize,
    /// Columns of its recurrent weights.
    k: usize,
}

/// The stages of a layer in the order in which a step runs them; `by_gate`: a GRU of two has one for each gate.
fn parts(dims: Dims, by_gate: bool) -> Vec<Part> {
    let kinds: &[(StageKind, Range<usize>)] = match dims.cell {
        Cell::SimpleRnn { activation: Activation::Relu } => &[(StageKind::SimpleRelu, 0..1)],
        Cell::SimpleRnn { .. } => &[(StageKind::SimpleTanh, 0..1)],
        Cell::Lstm => &[(StageKind::Lstm, 0..4)],
        Cell::Gru { reset: Reset::After } => &[(StageKind::GruAfter, 0..3)],
        Cell::Gru { reset: Reset::Before } if by_gate => {
            &[(StageKind::GruReset, 0..1), (StageKind::GruUpdate, 1..2), (StageKind::GruCandidate, 2..3)]
        }
        Cell::Gru { reset: Reset::Before } => &[(StageKind::GruGates, 0..2), (StageKind::GruCandidate, 2..3)],
    };
    let of_cell = kinds.iter().map(|(kind, gates)| Part {
        kind: *kind,
        gates: gates.clone(),
        units: dims.hidden,
        k: dims.output(),
    });
    let projection =
        dims.projection.map(|units| Part { kind: StageKind::Projection, gates: 0..0, units, k: dims.hidden });
    of_cell.chain(projection).collect()
}

/// Whether the fused stages compute the cell.
fn is_fused(dims: Dims) -> bool {
    let has_stages = match dims.cell {
        Cell::SimpleRnn { activation } => matches!(activation, Activation::Tanh | Activation::Relu),
        Cell::Lstm | Cell::Gru { .. } => true,
    };
    has_stages && dims.variant == dims.cell.standard()
}

/// Whether a GRU of two stages has one for each gate instead: where the second cache does not hold the recurrent weights,
/// relays then find more of them there.
fn is_by_gate<T>(dims: Dims) -> bool {
    let bytes = product(&[dims.cell.gates(), dims.hidden, dims.output(), size_of::<T>()]);
    is_fused(dims) && bytes.is_none_or(|bytes| bytes > Caches::of_machine().l2)
}

/// The weights of one stage, cut out of a layer's.
struct StageWeights<'a, T> {
    w: MatRef<'a, T>,
    r: MatRef<'a, T>,
    /// Of each gate of the input product: for chained gates the sum of both biases, rounded once.
    input_bias: Vec<T>,
    /// Of each gate of the recurrent product that starts a chain of its own.
    own_bias: Vec<T>,
}

impl<'a, T: Real> StageWeights<'a, T> {
    fn new(weights: &'a Weights<T>, part: &Part) -> Result<Self> {
        if let (StageKind::Projection, Some(projection)) = (part.kind, weights.projection()) {
            return Ok(StageWeights {
                w: MatRef::dense(&[], 0, weights.input())?,
                r: MatRef::dense(projection, part.units, part.k)?,
                input_bias: Vec::new(),
                own_bias: vec![T::ZERO; part.units],
            });
        }
        let hidden = weights.hidden();
        let rows = part.gates.start * hidden..part.gates.end * hidden;
        let bias = |b: Option<&[T]>, i: usize| b.map_or(T::ZERO, |b| b[i]);
        let chained = rows.start + part.kind.shape().chained() * hidden;
        let input_bias = rows.clone().map(|i| match bias(weights.b_w(), i) {
            b if i < chained => T::from_f64(b.to_f64() + bias(weights.b_r(), i).to_f64()),
            b => b,
        });
        let own_bias = (chained..rows.end).map(|i| bias(weights.b_r(), i));
        let matrix = |values, cols| {
            MatRef::dense(values, weights.cell().gates() * hidden, cols)?.rows_from(rows.start, rows.len())
        };
        Ok(StageWeights {
            w: matrix(weights.w(), weights.input())?,
            r: matrix(weights.r(), part.k)?,
            input_bias: input_bias.collect(),
            own_bias: own_bias.collect(),
        })
    }
}

/// One stage, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Stage<T> {
    isa: Isa,
    part: Part,
    engine: Engine<T>,
    options: Option<StageOptions<T>>,
}

/// What a stage needs whose cell departs from the standard equations.
#[derive(Clone, Debug)]
struct StageOptions<T> {
    variant: Variant,
    /// `[3*H]`, or empty.
    peepholes: Buf<T>,
    /// Biases of the recurrent product's own, for a foreign product to start from.
    own_bias: Buf<T>,
}

#[derive(Clone, Debug)]
enum Engine<T> {
    /// Panels for the kernels that take the cell as their epilogue.
    Packed { input: Panel<T>, recurrent: Panel<T> },
    /// `w: [G*H, I]`, `r: [G*H, K]` for another product, `bias: [G*H]` of the input, and the own biases as heads.
    Foreign { gemm: Arc<dyn Gemm<T>>, w: Buf<T>, r: Buf<T>, bias: Buf<T>, heads: Panel<T> },
}

impl<T: Real> Stage<T> {
    /// The stages of a layer, packed for `isa`, or laid out for `gemm` if there is one.
    pub(crate) fn all(isa: Isa, gemm: Option<Arc<dyn Gemm<T>>>, weights: &Weights<T>) -> Result<Vec<Self>> {
        let dims = weights.dims();
        let build = |part: Part| {
            let (shape, units, k) = (part.kind.shape(), part.units, part.k);
            let heads = shape.heads();
            let panel = |heads, gates, k| Panel::new(isa, PanelShape { heads, gates, k, units });
            let engine = match &gemm {
                None => Engine::Packed {
                    input: panel(shape.input, shape.input, dims.input)?,
                    recurrent: panel(heads, shape.recurrent, k)?,
                },
                Some(gemm) => Engine::Foreign {
                    gemm: gemm.clone(),
                    w: Buf::scratch(shape.input * units * dims.input)?,
                    r: Buf::scratch(shape.recurrent * units * k)?,
                    bias: Buf::scratch(shape.input * units)?,
                    heads: panel(heads, 0, 0)?,
                },
            };
            let options = || {
                let peepholes = if part.kind == StageKind::Lstm && dims.variant.peepholes { 3 * units } else { 0 };
                let own_bias = Buf::scratch(heads * units)?;
                Ok::<_, Error>(StageOptions { variant: dims.variant, peepholes: Buf::scratch(peepholes)?, own_bias })
            };
            let fused = is_fused(dims) || part.kind == StageKind::Projection;
            let options = (!fused).then(options).transpose()?;
            Ok(Stage { isa, part, engine, options })
        };
        let by_gate = gemm.is_none() && is_by_gate::<T>(dims);
        let mut stages = parts(dims, by_gate).into_iter().map(build).collect::<Result<Vec<_>>>()?;
        Self::pack(&mut stages, weights)?;
        Ok(stages)
    }

    /// Fills the stages of a layer with its weights, in place.
    pub(crate) fn pack(stages: &mut [Self], weights: &Weights<T>) -> Result<()> {
        for stage in stages {
            let from = StageWeights::new(weights, &stage.part)?;
            let own: Vec<&[T]> = from.own_bias.chunks_exact(stage.part.units).collect();
            match &mut stage.engine {
                Engine::Packed { input, recurrent } => {
                    input.pack(&from.input_bias.chunks_exact(stage.part.units).collect::<Vec<_>>(), from.w)?;
                    recurrent.pack(&own, from.r)?;
                }
                Engine::Foreign { w, r, bias, heads, .. } => {
                    copy(from.w, w);
                    copy(from.r, r);
                    bias.copy_from_slice(&from.input_bias);
                    heads.pack(&own, MatRef::dense(&[], 0, 0)?)?;
                }
            }
            if let Some(options) = &mut stage.options {
                options.own_bias.copy_from_slice(&from.own_bias);
                if !options.peepholes.is_empty() {
                    options.peepholes.copy_from_slice(weights.peepholes().unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// Columns of the stage's input product, and of the recurrent product where it is stored.
    pub(crate) fn product_cols(&self) -> (usize, usize) {
        let (shape, units) = (self.part.kind.shape(), self.part.units);
        match (&self.engine, &self.options) {
            (Engine::Packed { input, .. }, None) => (input.product_cols(), 0),
            (Engine::Packed { input, .. }, Some(_)) => (input.product_cols(), shape.recurrent * units),
            (Engine::Foreign { .. }, _) => (shape.input * units, shape.recurrent * units),
        }
    }

    /// The instruction set.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// Bytes of the weights as they are kept.
    pub(crate) fn bytes(&self) -> usize {
        match &self.engine {
            Engine::Packed { input, recurrent } => input.bytes() + recurrent.bytes(),
            Engine::Foreign { w, r, bias, heads, .. } => {
                size_of_val(&**w) + size_of_val(&**r) + size_of_val(&**bias) + heads.bytes()
            }
        }
    }

    /// The stage for the kernel that runs whole sequences, if that computes it; `product` is room for the input product.
    pub(crate) fn relay<'a>(
        &'a self,
        product: &'a mut [T],
        trace: Option<TraceMut<'a, T>>,
    ) -> Option<RelayStage<'a, T>> {
        let SoloStage { kind, input, recurrent } = self.solo()?;
        Some(RelayStage { kind, input, recurrent, product, trace })
    }

    /// The stage for the kernel that one row goes through, if that computes it.
    pub(crate) fn solo(&self) -> Option<SoloStage<'_, T>> {
        match (&self.engine, &self.options) {
            (Engine::Packed { input, recurrent }, None) => Some(SoloStage { kind: self.part.kind, input, recurrent }),
            _ => None,
        }
    }

    /// The input product of every row of `x: [T, N, I]`, biases included, into `product: [T*N, product_cols().0]`.
    /// `select`: the rows to compute, where `x` is one timestep; a foreign product computes all.
    pub(crate) fn input_product(
        &self,
        x: SeqRef<'_, T>,
        mut product: MatMut<'_, T>,
        select: Option<&[u32]>,
    ) -> Result<()> {
        if self.part.kind.shape().input == 0 {
            return Ok(());
        }
        match &self.engine {
            Engine::Packed { input, .. } => {
                let order = GateOrder::Panel;
                Ok(PackedGemm { isa: self.isa, a: x, panel: input, c: product, order, start: Start::Heads, select }
                    .run()?)
            }
            Engine::Foreign { gemm, w, bias, .. } => {
                for row in 0..product.rows() {
                    if let Some(row) = product.row_mut(row) {
                        row.copy_from_slice(bias);
                    }
                }
                let w = MatRef::dense(w, bias.len(), x.shape().channels)?.transposed();
                let mut rest = product;
                for step in x.folded().matrices() {
                    let (now, later) = rest.split_rows(step.rows())?;
                    gemm.gemm(step, w, T::ONE, now)?;
                    rest = later;
                }
                Ok(())
            }
        }
    }

    /// The recurrent product of `operand: [N, K]` and the cell behind it. `input` are the step's rows of the input
    /// product, `recurrent: [N, product_cols().1]` is scratch for a product that cannot be fused. What the backward pass needs
    /// is left in `trace`, of one step, to the same bits.
    pub(crate) fn step(
        &self,
        operand: MatRef<'_, T>,
        mut recurrent: MatMut<'_, T>,
        planes: StepPlanes<'_, '_, T>,
        trace: Option<TraceMut<'_, T>>,
    ) -> Result<()> {
        if let Some(options) = &self.options {
            return self.general(options, operand, recurrent, planes, trace);
        }
        let StepPlanes { input, prev, next, y, row, select, reverse } = planes;
        let (isa, stage) = (self.isa, self.part.kind);
        match &self.engine {
            Engine::Packed { recurrent: panel, .. } => {
                let state = StepState { input, order: GateOrder::Panel, prev, next, y, row, select };
                Ok(Step { isa, stage, operand, panel, state, trace, reverse }.run()?)
            }
            Engine::Foreign { gemm, r, heads, .. } => {
                self.foreign_product(&**gemm, r, operand, T::ZERO, recurrent.reborrow())?;
                let state = StepState { input, order: GateOrder::Major, prev, next, y, row, select };
                Ok(Pointwise { isa, stage, product: recurrent.as_ref(), heads, state, trace }.run()?)
            }
        }
    }

    /// The recurrent product of `operand: [N, K]` and `r` by a foreign product: C = operand R + beta C.
    fn foreign_product(
        &self,
        gemm: &dyn Gemm<T>,
        r: &[T],
        operand: MatRef<'_, T>,
        beta: T,
        c: MatMut<'_, T>,
    ) -> Result<()> {
        let r = MatRef::dense(r, c.cols(), self.part.k)?.transposed();
        gemm.gemm(operand, r, beta, c)
    }

    /// The product that takes the native kernels' place.
    pub(crate) fn foreign(&self) -> Option<&dyn Gemm<T>> {
        match &self.engine {
            Engine::Packed { .. } => None,
            Engine::Foreign { gemm, .. } => Some(&**gemm),
        }
    }

    /// The same for a cell with options, whose activated gates take their product's place.
    fn general(
        &self,
        options: &StageOptions<T>,
        operand: MatRef<'_, T>,
        mut product: MatMut<'_, T>,
        planes: StepPlanes<'_, '_, T>,
        mut trace: Option<TraceMut<'_, T>>,
    ) -> Result<()> {
        let StepPlanes { input, prev, next, y, row, select, .. } = planes;
        let (isa, stage) = (self.isa, self.part.kind);
        let kept = trace.is_some();
        let (mut product, beside) = match &mut trace {
            Some(TraceMut { gates, beside }) => (gates.step(0)?, beside.as_mut()),
            None => (product.reborrow(), None),
        };
        let order = match &self.engine {
            Engine::Packed { recurrent: panel, .. } => {
                let start = Start::Continue { input, gates: stage.shape().chained() };
                let (a, c, order) = (SeqRef::from_matrix(operand)?, product.reborrow(), GateOrder::Major);
                PackedGemm { isa: self.isa, a, panel, c, order, start, select }.run()?;
                GateOrder::Panel
            }
            Engine::Foreign { gemm, r, .. } => {
                let chained = stage.shape().chained() * self.part.units;
                for n in 0..product.rows() {
                    if let (Some(to), Some(from)) = (product.row_mut(n), input.row(n)) {
                        to[..chained].copy_from_slice(&from[..chained]);
                        to[chained..].copy_from_slice(&options.own_bias);
                    }
                }
                self.foreign_product(&**gemm, r, operand, T::ONE, product.reborrow())?;
                GateOrder::Major
            }
        };
        let peepholes = (!options.peepholes.is_empty()).then_some(&options.peepholes[..]);
        let state = StepState { input, order, prev, next: &mut *next, y, row, select };
        General { isa, stage, variant: options.variant, product, kept, peepholes, state }.run()?;
        if let (Some(beside), [m, ..]) = (beside, &*next) {
            keep(m.as_ref(), &mut beside.step(0)?);
        }
        Ok(())
    }
}

/// What a stage reads and writes in one step beside its operand.
pub(crate) struct StepPlanes<'a, 'b, T> {
    pub(crate) input: MatRef<'a, T>,
    pub(crate) prev: &'a [MatRef<'a, T>],
    pub(crate) next: &'a mut [MatMut<'b, T>],
    pub(crate) y: Option<MatMut<'a, T>>,
    /// One value a row, `[N]`.
    pub(crate) row: Option<&'a [T]>,
    /// The rows to compute; `None`: all.
    pub(crate) select: Option<&'a [u32]>,
    /// Whether units are walked over backwards.
    pub(crate) reverse: bool,
}

/// Copies as many columns of every row as there are.
fn keep<T: Real>(from: MatRef<'_, T>, to: &mut MatMut<'_, T>) {
    for n in 0..from.rows() {
        if let (Some(from), Some(to)) = (from.row(n), to.row_mut(n)) {
            to.copy_from_slice(&from[..to.len()]);
        }
    }
}

/// Where the stages of a layer leave their gates, and what stands beside them, on a tape: [`tape::width`](crate::tape::width).
pub(crate) fn traces<'a, T: Real>(
    stages: &[Stage<T>],
    tape: SeqMut<'a, T>,
) -> Result<[Option<TraceMut<'a, T>>; MAX_STAGES]> {
    let [first, rest @ ..] = stages else { return Ok([const { None }; MAX_STAGES]) };
    let (kind, units) = (first.part.kind, first.part.units);
    let (gates, others) = tape.split_channels(kind.shape().recurrent * units)?;
    let trace = |gates, beside| Some(TraceMut { gates, beside });
    Ok(match kind {
        StageKind::GruReset => {
            let (update, others) = others.split_channels(units)?;
            let (candidate, others) = others.split_channels(units)?;
            [trace(gates, Some(others.split_channels(units)?.0)), trace(update, None), trace(candidate, None)]
        }
        StageKind::GruGates => {
            let (candidate, others) = others.split_channels(units)?;
            [trace(gates, Some(others.split_channels(units)?.0)), trace(candidate, None), None]
        }
        StageKind::GruAfter => [trace(gates, Some(others.split_channels(units)?.0)), None, None],
        StageKind::Lstm if !rest.is_empty() => [trace(gates, Some(others.split_channels(units)?.0)), None, None],
        _ => [trace(gates, None), None, None],
    })
}

fn copy<T: Real>(from: MatRef<'_, T>, to: &mut [T]) {
    for (i, to) in to.iter_mut().enumerate() {
        let (row, col) = (i / from.cols(), i % from.cols());
        *to = from.get(row, col).copied().unwrap_or(T::ZERO);
    }
}
