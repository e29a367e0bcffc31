//! How a cell's weights are cut into stages, and the two ways to compute a stage: fused, or by a foreign product.

use crate::cell::{Activation, Cell, Reset};
use crate::error::Result;
use crate::gemm::Gemm;
use crate::seq::{MatMut, MatRef, SeqRef};
use crate::weights::Weights;
use gatefold_kernels::StepState;
use gatefold_kernels::buf::Buf;
use gatefold_kernels::cell::StageKind;
use gatefold_kernels::gemm::{Gemm as PackedGemm, Start};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::pointwise::Pointwise;
use gatefold_kernels::real::Real;
use gatefold_kernels::step::Step;
use std::ops::Range;
use std::sync::Arc;

/// The stages of a cell in the order in which a step runs them, each with its gates' place in the canonical order.
pub(crate) fn of(cell: Cell) -> &'static [(StageKind, Range<usize>)] {
    match cell {
        Cell::SimpleRnn { activation: Activation::Tanh } => &[(StageKind::SimpleTanh, 0..1)],
        Cell::SimpleRnn { activation: Activation::Relu } => &[(StageKind::SimpleRelu, 0..1)],
        Cell::Lstm => &[(StageKind::Lstm, 0..4)],
        Cell::Gru { reset: Reset::After } => &[(StageKind::GruAfter, 0..3)],
        Cell::Gru { reset: Reset::Before } => &[(StageKind::GruGates, 0..2), (StageKind::GruCandidate, 2..3)],
    }
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
    fn new(weights: &'a Weights<T>, kind: StageKind, gates: &Range<usize>) -> Result<Self> {
        let hidden = weights.hidden();
        let rows = gates.start * hidden..gates.end * hidden;
        let bias = |b: Option<&[T]>, i: usize| b.map_or(T::ZERO, |b| b[i]);
        let chained = gates.start * hidden + kind.shape().chained() * hidden;
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
            r: matrix(weights.r(), hidden)?,
            input_bias: input_bias.collect(),
            own_bias: own_bias.collect(),
        })
    }
}

/// One stage, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Stage<T> {
    isa: Isa,
    kind: StageKind,
    hidden: usize,
    engine: Engine<T>,
}

#[derive(Clone, Debug)]
enum Engine<T> {
    /// Panels for the kernels that take the cell as their epilogue.
    Packed { input: Panel<T>, recurrent: Panel<T> },
    /// `w: [G*H, I]`, `r: [G*H, H]` for another product, `bias: [G*H]` of the input, and the own biases as heads.
    Foreign { gemm: Arc<dyn Gemm<T>>, w: Buf<T>, r: Buf<T>, bias: Buf<T>, heads: Panel<T> },
}

impl<T: Real> Stage<T> {
    /// The stages of a layer, packed for `isa`, or laid out for `gemm` if there is one.
    pub(crate) fn all(isa: Isa, gemm: Option<Arc<dyn Gemm<T>>>, weights: &Weights<T>) -> Result<Vec<Self>> {
        let (input, hidden) = (weights.input(), weights.hidden());
        let build = |(kind, _): &(StageKind, Range<usize>)| {
            let (kind, shape) = (*kind, kind.shape());
            let heads = shape.own_biases();
            let panel = |heads, gates, k| Panel::new(isa, PanelShape { heads, gates, k, units: hidden });
            let engine = match &gemm {
                None => Engine::Packed {
                    input: panel(shape.input, shape.input, input)?,
                    recurrent: panel(heads, shape.recurrent, hidden)?,
                },
                Some(gemm) => Engine::Foreign {
                    gemm: gemm.clone(),
                    w: Buf::scratch(shape.input * hidden * input)?,
                    r: Buf::scratch(shape.recurrent * hidden * hidden)?,
                    bias: Buf::scratch(shape.input * hidden)?,
                    heads: panel(heads, 0, 0)?,
                },
            };
            Ok(Stage { isa, kind, hidden, engine })
        };
        let mut stages = of(weights.cell()).iter().map(build).collect::<Result<Vec<_>>>()?;
        Self::pack(&mut stages, weights)?;
        Ok(stages)
    }

    /// Fills the stages of a layer with its weights, in place.
    pub(crate) fn pack(stages: &mut [Self], weights: &Weights<T>) -> Result<()> {
        for (stage, (kind, gates)) in stages.iter_mut().zip(of(weights.cell())) {
            let from = StageWeights::new(weights, *kind, gates)?;
            let own: Vec<&[T]> = from.own_bias.chunks_exact(stage.hidden).collect();
            match &mut stage.engine {
                Engine::Packed { input, recurrent } => {
                    input.pack(&from.input_bias.chunks_exact(stage.hidden).collect::<Vec<_>>(), from.w)?;
                    recurrent.pack(&own, from.r)?;
                }
                Engine::Foreign { w, r, bias, heads, .. } => {
                    copy(from.w, w);
                    copy(from.r, r);
                    bias.copy_from_slice(&from.input_bias);
                    heads.pack(&own, MatRef::dense(&[], 0, 0)?)?;
                }
            }
        }
        Ok(())
    }

    /// Columns of the stage's input product, and of the recurrent product where it is stored.
    pub(crate) fn product_cols(&self) -> (usize, usize) {
        match &self.engine {
            Engine::Packed { input, .. } => (input.product_cols(), 0),
            Engine::Foreign { .. } => {
                (self.kind.shape().input * self.hidden, self.kind.shape().recurrent * self.hidden)
            }
        }
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

    /// The input product of every row of `x: [T, N, I]`, biases included, into `product: [T*N, product_cols().0]`.
    /// `select`: the rows to compute, where `x` is one timestep; a foreign product computes all.
    pub(crate) fn input_product(
        &self,
        x: SeqRef<'_, T>,
        mut product: MatMut<'_, T>,
        select: Option<&[u32]>,
    ) -> Result<()> {
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

    /// The recurrent product of `operand: [N, H]` and the cell behind it. `input` are the step's rows of the input
    /// product, `recurrent: [N, product_cols().1]` is scratch for a product that cannot be fused.
    pub(crate) fn step(
        &self,
        operand: MatRef<'_, T>,
        recurrent: MatMut<'_, T>,
        planes: StepPlanes<'_, '_, T>,
    ) -> Result<()> {
        let StepPlanes { input, prev, next, y, row, select, reverse } = planes;
        let (isa, stage) = (self.isa, self.kind);
        match &self.engine {
            Engine::Packed { recurrent: panel, .. } => {
                let state = StepState { input, order: GateOrder::Panel, prev, next, y, row, select };
                Ok(Step { isa, stage, operand, panel, state, reverse }.run()?)
            }
            Engine::Foreign { gemm, r, heads, .. } => {
                let mut product = recurrent;
                let r = MatRef::dense(r, product.cols(), self.hidden)?.transposed();
                gemm.gemm(operand, r, T::ZERO, product.reborrow())?;
                let order = GateOrder::Major;
                let state = StepState { input, order, prev, next, y, row, select };
                Ok(Pointwise { isa, stage, product: product.as_ref(), order, finished: false, heads, state }.run()?)
            }
        }
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

fn copy<T: Real>(from: MatRef<'_, T>, to: &mut [T]) {
    for (i, to) in to.iter_mut().enumerate() {
        let (row, col) = (i / from.cols(), i % from.cols());
        *to = from.get(row, col).copied().unwrap_or(T::ZERO);
    }
}
