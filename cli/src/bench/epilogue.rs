//! How long the activations take that end a step: a cell behind a stored product, which is read and added first.

use super::case::CellName;
use super::subject::Random;
use super::timing::best_rate;
use anyhow::Result;
use gatefold::gemm::Element;
use gatefold::seq::{MatMut, MatRef};
use gatefold::{Error, Isa};
use gatefold_kernels::StepState;
use gatefold_kernels::cell::StageKind;
use gatefold_kernels::isa::Dispatch;
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::pointwise::Pointwise;

/// Vectors in a call: enough that the call does not show, few enough that all is in the first cache level.
const VECTORS: usize = 32;

/// Seconds that one thread needs for a vector of hidden units, beside the products.
pub fn seconds_a_vector<T: Element>(isa: Isa, cell: CellName, budget: f64) -> Result<f64> {
    let stages: &[StageKind] = match cell {
        CellName::Gru => &[StageKind::GruAfter],
        CellName::Gruv => &[StageKind::GruGates, StageKind::GruCandidate],
        CellName::Lstm => &[StageKind::Lstm],
        CellName::Rnn => &[StageKind::SimpleTanh],
    };
    stages.iter().map(|&stage| of_stage::<T>(isa, stage, budget)).sum()
}

fn of_stage<T: Element>(isa: Isa, stage: StageKind, budget: f64) -> Result<f64> {
    let (shape, units) = (stage.shape(), VECTORS * <T as Dispatch>::lanes(isa));
    let mut random = Random(1);
    let mut values = |vectors: usize| random.values::<T>(&[vectors, units], 1.0);
    let (product, input) = (values(shape.recurrent)?, values(shape.input)?);
    let (heads, prev, mut next) = (values(shape.heads())?, values(shape.prev)?, values(shape.next)?);
    let mut panel = Panel::new(isa, PanelShape { heads: shape.heads(), gates: 0, k: 0, units }).map_err(Error::from)?;
    let heads: Vec<&[T]> = heads.chunks_exact(units).collect();
    panel.pack(&heads, MatRef::dense(&[], 0, 0).map_err(Error::from)?).map_err(Error::from)?;
    let prev = prev.chunks_exact(units).map(|plane| MatRef::dense(plane, 1, units)).collect::<Result<Vec<_>, _>>();
    let prev = prev.map_err(Error::from)?;
    let next = next.chunks_exact_mut(units).map(|plane| MatMut::dense(plane, 1, units)).collect::<Result<Vec<_>, _>>();
    let mut next = next.map_err(Error::from)?;
    let mut step = || -> Result<(), Error> {
        let order = GateOrder::Panel;
        let input = MatRef::dense(&input, 1, shape.input * units)?;
        let state = StepState { input, order, prev: &prev, next: &mut next, y: None, row: None, select: None };
        let product = MatRef::dense(&product, 1, shape.recurrent * units)?;
        Ok(Pointwise { isa, stage, product, heads: &panel, state, trace: None }.run()?)
    };
    step()?;
    let rate = best_rate(budget, || if step().is_ok() { VECTORS as f64 } else { 0.0 });
    Ok(1.0 / rate)
}
