//! What layers are made of: products, packing, the cell behind another product, activations.

use crate::Meter;
use crate::setup::values;
use gatefold::seq::{MatMut, MatRef, SeqRef};
use gatefold_kernels::StepState;
use gatefold_kernels::activation::Activation;
use gatefold_kernels::cell::StageKind;
use gatefold_kernels::elementwise::Elementwise;
use gatefold_kernels::gemm::{Gemm, Start};
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::pointwise::Pointwise;

pub fn all(meter: &Meter) {
    // One row, a batch whose rows and columns are whole tiles, and sizes that no tile divides.
    for shape in [[1, 512, 384], [32, 256, 192], [37, 101, 131]] {
        product(meter, shape);
    }
    pack(meter, PanelShape { heads: 4, gates: 4, k: 256, units: 100 });
    for (name, stage) in [
        ("gru", StageKind::GruAfter),
        ("gruv-1", StageKind::GruGates),
        ("gruv-2", StageKind::GruCandidate),
        ("lstm", StageKind::Lstm),
        ("rnn", StageKind::SimpleTanh),
    ] {
        pointwise(meter, name, stage);
    }
    for (name, function) in [("sigmoid", Activation::Sigmoid), ("tanh", Activation::Tanh)] {
        let (x, mut y) = (values::<f32>(1000), values::<f32>(1000));
        meter.measure(&format!("{name}/1000"), 0, || {
            Elementwise { isa: meter.isa, function, x: &x, y: &mut y }.run().unwrap()
        });
    }
}

fn product(meter: &Meter, [m, k, n]: [usize; 3]) {
    let (a, b, mut c) = (values::<f32>(m * k), values::<f32>(n * k), values::<f32>(m * n));
    let mut panel = Panel::new(meter.isa, PanelShape { heads: 0, gates: 1, k, units: n }).unwrap();
    panel.pack(&[], MatRef::dense(&b, n, k).unwrap()).unwrap();
    meter.measure(&format!("gemm/{m}x{k}x{n}"), (2 * m * k * n) as u64, || {
        let a = SeqRef::from_matrix(MatRef::dense(&a, m, k).unwrap()).unwrap();
        let c = MatMut::dense(&mut c, m, n).unwrap();
        Gemm { isa: meter.isa, a, panel: &panel, c, order: GateOrder::Major, start: Start::Heads, select: None }
            .run()
            .unwrap();
    });
}

fn pack(meter: &Meter, shape: PanelShape) {
    let PanelShape { heads, gates, k, units } = shape;
    let (weights, head) = (values::<f32>(gates * units * k), values::<f32>(units));
    let heads = vec![&head[..]; heads];
    let mut panel = Panel::new(meter.isa, shape).unwrap();
    meter.measure(&format!("pack/{gates}x{units}x{k}"), 0, || {
        panel.pack(&heads, MatRef::dense(&weights, gates * units, k).unwrap()).unwrap();
    });
}

/// One row of 512 units.
fn pointwise(meter: &Meter, name: &str, stage: StageKind) {
    const UNITS: usize = 512;
    let shape = stage.shape();
    let planes = |count: usize| values::<f32>(count * UNITS);
    let (product, input) = (planes(shape.recurrent), planes(shape.input));
    let (heads, prev, mut next) = (planes(shape.heads()), planes(shape.prev), planes(shape.next));
    let mut panel = Panel::new(meter.isa, PanelShape { heads: shape.heads(), gates: 0, k: 0, units: UNITS }).unwrap();
    let heads: Vec<&[f32]> = heads.chunks_exact(UNITS).collect();
    panel.pack(&heads, MatRef::dense(&[], 0, 0).unwrap()).unwrap();
    let prev: Vec<_> = prev.chunks_exact(UNITS).map(|plane| MatRef::dense(plane, 1, UNITS).unwrap()).collect();
    let mut next: Vec<_> = next.chunks_exact_mut(UNITS).map(|plane| MatMut::dense(plane, 1, UNITS).unwrap()).collect();
    meter.measure(&format!("pointwise/{name}/H{UNITS}"), 0, || {
        let order = GateOrder::Panel;
        let input = MatRef::dense(&input, 1, shape.input * UNITS).unwrap();
        let state = StepState { input, order, prev: &prev, next: &mut next, y: None, row: None, select: None };
        let product = MatRef::dense(&product, 1, shape.recurrent * UNITS).unwrap();
        Pointwise { isa: meter.isa, stage, product, heads: &panel, state, trace: None }.run().unwrap();
    });
}
