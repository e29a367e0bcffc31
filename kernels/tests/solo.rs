//! One row in one pass: the bits of an input product and steps behind it, and what is refused.

use gatefold_kernels::StepState;
use gatefold_kernels::buf::padded;
use gatefold_kernels::cell::StageKind;
use gatefold_kernels::gemm::{Gemm, Start};
use gatefold_kernels::isa::{Dispatch, Isa};
use gatefold_kernels::mat::{MatMut, MatRef};
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::relay::Walk;
use gatefold_kernels::seq::{SeqMut, SeqRef, SeqShape};
use gatefold_kernels::solo::{Ready, Solo, SoloStage};
use gatefold_kernels::step::Step;

fn values(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| (((i + seed) * 7919 % 2003) as f32 - 1001.0) / 2500.0).collect()
}

/// The panels of a stage of `units` units over `input` features and a state of as many values as it has units.
fn panels(isa: Isa, kind: StageKind, input: usize, units: usize) -> [Panel<f32>; 2] {
    let shape = kind.shape();
    let panel = |heads: usize, gates: usize, k: usize, seed| {
        let mut panel = Panel::new(isa, PanelShape { heads, gates, k, units }).unwrap();
        let (heads, weights) = (values(heads * units, seed), values(gates * units * k, seed + 1));
        let heads: Vec<&[f32]> = heads.chunks_exact(units).collect();
        panel.pack(&heads, MatRef::dense(&weights, gates * units, k).unwrap()).unwrap();
        panel
    };
    [panel(shape.input, shape.input, input, 3), panel(shape.heads(), shape.recurrent, units, 5)]
}

/// What one stage and one step are given, and where they write.
struct Planes {
    h: [Vec<f32>; 2],
    c: [Vec<f32>; 2],
    y: Vec<f32>,
}

impl Planes {
    fn new(units: usize) -> Self {
        let len = padded::<f32>(units);
        let plane = |seed| [values(len, seed), vec![f32::NAN; len]];
        // Values behind y must stay.
        Planes { h: plane(7), c: plane(9), y: vec![f32::NAN; units + 3] }
    }

    fn bits(&self, units: usize, has_c: bool) -> Vec<u32> {
        let c = if has_c { &self.c[1][..units] } else { &[] };
        assert!(self.y[units..].iter().all(|y| y.is_nan()), "written past the end");
        [&self.h[1][..units], c, &self.y[..units]].concat().iter().map(|value| value.to_bits()).collect()
    }
}

const ONE_STAGE: [StageKind; 4] = [StageKind::SimpleTanh, StageKind::SimpleRelu, StageKind::Lstm, StageKind::GruAfter];

fn by_solo(
    isa: Isa,
    kind: StageKind,
    [input, recurrent]: &[Panel<f32>; 2],
    x: &[f32],
    units: usize,
    threads: usize,
) -> Vec<u32> {
    let mut planes = Planes::new(units);
    let shape = SeqShape::time_major(1, 1, units);
    for reverse in [true, false] {
        planes.h[1].fill(f32::NAN);
        let Planes { h: [h0, h1], c: [c0, c1], y } = &mut planes;
        let first = SoloStage { kind, input, recurrent };
        let x = SeqRef::new(x, SeqShape::time_major(1, 1, x.len())).unwrap();
        let y = Some(SeqMut::new(&mut y[..units], shape).unwrap());
        let (between, walk) = ([&mut [][..], &mut [][..]], Walk::Forward);
        Solo { isa, threads, first, second: None, x, h: [h0, h1], c: [c0, c1], between, y, walk, reverse }
            .run()
            .unwrap();
    }
    planes.bits(units, kind == StageKind::Lstm)
}

fn by_step(isa: Isa, kind: StageKind, [input, recurrent]: &[Panel<f32>; 2], x: &[f32], units: usize) -> Vec<u32> {
    let mut planes = Planes::new(units);
    let mut product = vec![f32::NAN; input.product_cols()];
    let c = MatMut::dense(&mut product, 1, input.product_cols()).unwrap();
    let a = SeqRef::from_matrix(MatRef::dense(x, 1, x.len()).unwrap()).unwrap();
    Gemm { isa, a, panel: input, c, order: GateOrder::Panel, start: Start::Heads, select: None }.run().unwrap();
    let Planes { h: [h0, h1], c: [c0, c1], y } = &mut planes;
    let len = h0.len();
    let has_c = kind == StageKind::Lstm;
    let prev = MatRef::dense(if has_c { c0 } else { h0 }, 1, len).unwrap();
    let mut next = vec![MatMut::dense(h1, 1, len).unwrap()];
    if has_c {
        next.push(MatMut::dense(c1, 1, len).unwrap());
    }
    let prev = [prev];
    let state = StepState {
        input: MatRef::dense(&product, 1, input.product_cols()).unwrap(),
        order: GateOrder::Panel,
        prev: &prev[..kind.shape().prev],
        next: &mut next,
        y: Some(MatMut::dense(&mut y[..units], 1, units).unwrap()),
        row: None,
        select: None,
    };
    let operand = MatRef::new(h0, 1, units, len).unwrap();
    Step { isa, stage: kind, operand, panel: recurrent, state, trace: None, reverse: false }.run().unwrap();
    planes.bits(units, has_c)
}

#[test]
fn the_bits_are_those_of_a_product_and_a_step() {
    for &isa in Isa::available() {
        let lanes = <f32 as Dispatch>::lanes(isa);
        let most = if isa.name() == "portable" { 5 } else { 19 };
        for kind in ONE_STAGE {
            for units in [1, lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes + 2, 8 * lanes + 1, most * lanes] {
                for input in [1, 5, 24] {
                    let panels = panels(isa, kind, input, units);
                    let x = values(input, 11);
                    let step = by_step(isa, kind, &panels, &x, units);
                    for threads in [1, 2, 3] {
                        let solo = by_solo(isa, kind, &panels, &x, units, threads);
                        assert_eq!(solo, step, "{} {kind:?} {input} {units}, {threads} threads", isa.name());
                    }
                }
            }
        }
    }
}

#[test]
fn other_sizes_are_refused_by_name() {
    let (isa, kind, units) = (Isa::available()[0], StageKind::Lstm, 5);
    let [input, recurrent] = panels(isa, kind, 3, units);
    let [_, narrower] = panels(isa, kind, 3, 4);
    let [_, of_gru] = panels(isa, StageKind::GruAfter, 3, units);
    let refused = |rows: usize, channels: usize, planes: [usize; 3], of_y: [usize; 3], recurrent| {
        let data = values(64, 0);
        let x = SeqRef::new(&data, SeqShape::time_major(2, rows, channels)).unwrap();
        let mut memory = planes.map(|len| [vec![0.0; len], vec![0.0; len]]);
        let [h, c, between] = memory.each_mut().map(|pair| pair.each_mut().map(|plane| &mut plane[..]));
        let mut y = vec![0.0; 64];
        let y = SeqMut::new(&mut y, SeqShape::time_major(of_y[0], of_y[1], of_y[2])).unwrap();
        let first = SoloStage { kind, input: &input, recurrent };
        let walk = Walk::Flipped;
        let solo = Solo { isa, threads: 1, first, second: None, x, h, c, between, y: Some(y), walk, reverse: false };
        solo.run().err().map(|error| error.argument)
    };
    let (planes, y) = ([16, 16, 0], [2, 1, units]);
    assert_eq!(refused(1, 3, planes, y, &recurrent), None);
    assert_eq!(refused(2, 3, planes, y, &recurrent), Some("x rows"));
    assert_eq!(refused(1, 4, planes, y, &recurrent), Some("x channels"));
    assert_eq!(refused(1, 3, [4, 16, 0], y, &recurrent), Some("plane"));
    assert_eq!(refused(1, 3, [16, 7, 0], y, &recurrent), Some("plane"));
    assert_eq!(refused(1, 3, planes, [1, 1, units], &recurrent), Some("y timesteps"));
    assert_eq!(refused(1, 3, planes, [2, 2, units], &recurrent), Some("y rows"));
    assert_eq!(refused(1, 3, planes, [2, 1, 4], &recurrent), Some("y channels"));
    assert_eq!(refused(1, 3, planes, [2, 1, 4], &narrower), Some("input units"));
    assert_eq!(refused(1, 3, planes, y, &of_gru), Some("recurrent gates"));
}

/// What only large layers are cut into is not compiled for one row in one pass.
#[test]
fn stages_of_large_layers_are_refused_by_name() {
    use StageKind::{GruEarlyCandidate, GruLateUpdate, GruReset, GruUpdate};
    let isa = Isa::available()[0];
    for kind in [GruReset, GruUpdate, GruEarlyCandidate, GruLateUpdate] {
        let [input, recurrent] = panels(isa, kind, 3, 5);
        let x = SeqRef::new(&[1.0; 3], SeqShape::time_major(1, 1, 3)).unwrap();
        let mut memory = [[[0.0f32; 16]; 2]; 3];
        let [h, c, between] = memory.each_mut().map(|pair| pair.each_mut().map(|plane| &mut plane[..]));
        let (first, walk) = (SoloStage { kind, input: &input, recurrent: &recurrent }, Walk::Forward);
        let solo = Solo { isa, threads: 1, first, second: None, x, h, c, between, y: None, walk, reverse: false };
        assert_eq!(solo.run().unwrap_err().argument, "stages of large layers alone", "{kind:?}");
        assert_eq!(memory, [[[0.0; 16]; 2]; 3]);
    }
}

/// An LSTM of 5 units over 3 features, ready for frames whichever the walk.
fn with_ready(walk: Walk, test: impl FnOnce(&mut Ready<'_, '_, f32>)) {
    let (isa, kind) = (Isa::available()[0], StageKind::Lstm);
    let [input, recurrent] = panels(isa, kind, 3, 5);
    // What was there at first is not read by steps.
    let x = values(3 * 4, 0);
    let x = SeqRef::new(&x, SeqShape::time_major(4, 1, 3)).unwrap();
    let mut memory = [(); 2].map(|()| [vec![0.0; 16], vec![f32::NAN; 16]]);
    let [[h0, h1], [c0, c1]] = &mut memory;
    let first = SoloStage { kind, input: &input, recurrent: &recurrent };
    let (h, c, between) = ([&mut h0[..], h1], [&mut c0[..], c1], [&mut [][..], &mut []]);
    test(
        &mut Solo { isa, threads: 1, first, second: None, x, h, c, between, y: None, walk, reverse: false }
            .ready()
            .unwrap(),
    );
}

#[test]
fn frames_come_one_by_one_whichever_the_walk() {
    let frames = values(3 * 3, 9);
    let outputs = |walk| {
        let mut y = [f32::NAN; 3 * 5];
        with_ready(walk, |ready| {
            for (x, y) in frames.chunks(3).zip(y.chunks_mut(5)) {
                ready.step(x, y).unwrap();
            }
        });
        y.iter().map(|y| y.to_bits()).collect::<Vec<_>>()
    };
    let forward = outputs(Walk::Forward);
    assert!(forward[..5] != forward[5..10] && forward.iter().all(|&y| !f32::from_bits(y).is_nan()));
    assert_eq!(outputs(Walk::Backward), forward);
    assert_eq!(outputs(Walk::Flipped), forward);
}

#[test]
fn frames_of_other_sizes_are_refused_by_name() {
    with_ready(Walk::Forward, |ready| {
        let mut named = |x: usize, y: usize| ready.step(&values(x, 0), &mut vec![0.0; y]).err().map(|e| e.argument);
        assert_eq!(named(3, 5), None);
        assert_eq!(named(2, 5), Some("x channels"));
        assert_eq!(named(4, 5), Some("x channels"));
        assert_eq!(named(3, 4), Some("y channels"));
        assert_eq!(named(3, 6), Some("y channels"));
    });
}
