//! What does not fit is refused by name, and nothing is written then; no sizes at all lead to a panic.

mod common;

use common::{Random, Scalar};
use gatefold_kernels::activation::Activation;
use gatefold_kernels::buf::{Buf, padded};
use gatefold_kernels::cell::StageKind;
use gatefold_kernels::elementwise::Elementwise;
use gatefold_kernels::gemm::{Gemm, Start};
use gatefold_kernels::isa::{Dispatch, Isa};
use gatefold_kernels::mat::{MatMut, MatRef};
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::pointwise::Pointwise;
use gatefold_kernels::seq::{SeqMut, SeqRef, SeqShape};
use gatefold_kernels::shape::ShapeError;
use gatefold_kernels::step::Step;
use gatefold_kernels::{StepState, TraceMut};
use proptest::prelude::*;
use proptest::sample::select;

fn portable() -> Isa {
    Isa::named("portable").unwrap()
}

fn error(argument: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
    Err(ShapeError { argument, expected, found })
}

/// A product of sizes that may be wrong. The portable panel has 5 units, 8 with their padding.
#[derive(Clone, Copy)]
struct Product {
    a: [usize; 3],
    panel: PanelShape,
    c: [usize; 2],
    order: GateOrder,
    continued: Option<([usize; 2], usize, bool)>,
    accumulate: bool,
    select: Option<&'static [u32]>,
    isa: Isa,
}

impl Product {
    /// All of it fits: A [2, 3, 4], 2 gates of 5 units.
    fn good() -> Self {
        let panel = PanelShape { heads: 2, gates: 2, k: 4, units: 5 };
        let (order, isa) = (GateOrder::Major, portable());
        Product { a: [2, 3, 4], panel, c: [6, 10], order, continued: None, accumulate: false, select: None, isa }
    }

    fn run(self) -> Result<(), ShapeError> {
        let [time, batch, channels] = self.a;
        let a = vec![1f32; time * batch * channels];
        let panel = Panel::new(portable(), self.panel).unwrap();
        let mut c = vec![f32::CANARY; self.c[0] * self.c[1]];
        let input = vec![1f32; 1000];
        let start = match self.continued {
            None if self.accumulate => Start::C,
            None => Start::Heads,
            Some((size, gates, transposed)) => {
                let input = MatRef::dense(&input, size[0], size[1]).unwrap();
                Start::Continue { input: if transposed { input.transposed() } else { input }, gates }
            }
        };
        let gemm = Gemm {
            isa: self.isa,
            a: SeqRef::new(&a, SeqShape::time_major(time, batch, channels)).unwrap(),
            panel: &panel,
            c: MatMut::dense(&mut c, self.c[0], self.c[1]).unwrap(),
            order: self.order,
            start,
            select: self.select,
        };
        let result = gemm.run();
        let untouched = c.iter().all(|value| value.bits() == f32::CANARY.bits());
        assert_eq!(untouched, result.is_err(), "{result:?}");
        result
    }
}

#[test]
fn products_name_what_does_not_fit() {
    let good = Product::good();
    assert_eq!(good.run(), Ok(()));
    assert_eq!(Product { a: [2, 3, 5], ..good }.run(), error("a columns", 4, 5));
    assert_eq!(Product { a: [2, 2, 4], ..good }.run(), error("c rows", 4, 6));
    assert_eq!(Product { c: [6, 11], ..good }.run(), error("c columns", 10, 11));
    assert_eq!(Product { order: GateOrder::Panel, ..good }.run(), error("c columns", 16, 10));
    let panel = |change: fn(&mut PanelShape)| {
        let mut panel = good.panel;
        change(&mut panel);
        panel
    };
    assert_eq!(Product { panel: panel(|p| p.heads = 1), ..good }.run(), error("panel heads", 2, 1));
    assert_eq!(Product { panel: panel(|p| p.heads = 0), ..good }.run(), Ok(()));
    assert_eq!(Product { panel: panel(|p| p.gates = 5), c: [6, 25], ..good }.run(), error("panel heads", 5, 2));
    let five = PanelShape { heads: 5, gates: 5, ..good.panel };
    assert_eq!(Product { panel: five, c: [6, 25], ..good }.run(), error("panel gates", 4, 5));
    assert_eq!(Product { select: Some(&[0]), ..good }.run(), error("timesteps of a selection", 1, 2));
    let one = Product { a: [1, 6, 4], ..good };
    assert_eq!(Product { select: Some(&[5, 0]), ..one }.run(), Ok(()));
    assert_eq!(Product { select: Some(&[0, 6]), ..one }.run(), error("selected row", 6, 6));
}

#[test]
fn continued_products_name_what_does_not_fit() {
    let good = Product { continued: Some(([6, 16], 2, false)), ..Product::good() };
    assert_eq!(good.run(), Ok(()));
    let continued = |rows, cols, gates| Product { continued: Some(([rows, cols], gates, false)), ..good }.run();
    assert_eq!(continued(5, 16, 2), error("input rows", 6, 5));
    assert_eq!(continued(6, 15, 2), error("input columns", 16, 15));
    assert_eq!(continued(6, 16, 3), error("panel gates", 3, 2));
    assert_eq!(continued(6, 16, usize::MAX), error("panel gates", usize::MAX, 2));
    assert_eq!(continued(6, 8, 1), Ok(()));
    let heads = |heads| Product { panel: PanelShape { heads, ..good.panel }, ..good };
    assert_eq!(Product { continued: Some(([6, 8], 1, false)), ..heads(0) }.run(), error("panel heads", 1, 0));
    assert_eq!(Product { continued: Some(([16, 6], 2, true)), ..good }.run(), error("input column stride", 1, 6));
}

#[test]
fn panels_of_other_vectors_are_refused() {
    for &isa in Isa::available() {
        let lanes = <f32 as Dispatch>::lanes(isa);
        let expected = if lanes == 4 { Ok(()) } else { error("panel lanes", lanes, 4) };
        assert_eq!(Product { isa, ..Product::good() }.run(), expected);
    }
}

#[test]
fn rows_that_cannot_be_counted_are_refused() {
    let panel = Panel::<f32>::new(portable(), PanelShape { heads: 0, gates: 1, k: 0, units: 0 }).unwrap();
    for time in [1, 2, 3] {
        let a = SeqRef::new(&[], SeqShape::time_major(time, usize::MAX, 0)).unwrap();
        let c = MatMut::dense(&mut [], usize::MAX, 0).unwrap();
        let (isa, order, start) = (portable(), GateOrder::Major, Start::Heads);
        let result = Gemm { isa, a, panel: &panel, c, order, start, select: None }.run();
        assert_eq!(result, if time == 1 { Ok(()) } else { error("a rows", usize::MAX, usize::MAX) });
    }
}

/// A step of an LSTM's sizes that may be wrong: 3 rows of 5 units, 8 with their padding, K = 6.
#[derive(Clone, Copy)]
struct Sizes {
    stage: StageKind,
    operand: [usize; 2],
    panel: PanelShape,
    input: [usize; 2],
    prev: &'static [[usize; 2]],
    next: &'static [[usize; 2]],
    y: [usize; 2],
    row: Option<usize>,
    select: Option<&'static [u32]>,
    /// The recurrent product, where the step is not fused.
    product: Option<[usize; 2]>,
    order: GateOrder,
    /// `[T, N, C]` of the gates that are kept, and of what stands beside them.
    trace: [[usize; 3]; 2],
    transposed: &'static str,
}

impl Sizes {
    fn fused() -> Self {
        Sizes {
            stage: StageKind::Lstm,
            operand: [3, 6],
            panel: PanelShape { heads: 0, gates: 4, k: 6, units: 5 },
            input: [3, 20],
            prev: &[[3, 8]],
            next: &[[3, 8], [3, 9]],
            y: [3, 5],
            row: None,
            select: Some(&[2]),
            product: None,
            order: GateOrder::Major,
            trace: [[1, 3, 20], [1, 3, 5]],
            transposed: "",
        }
    }

    fn unfused() -> Self {
        Sizes { product: Some([3, 20]), panel: PanelShape { heads: 0, gates: 0, k: 0, units: 5 }, ..Self::fused() }
    }

    fn run(self) -> Result<(), ShapeError> {
        let values = vec![0.5f64; 1000];
        let matrix = |name, [rows, cols]: [usize; 2]| {
            let matrix = MatRef::dense(&values, rows, cols).unwrap();
            if name == self.transposed { MatRef::dense(&values, cols, rows).unwrap().transposed() } else { matrix }
        };
        let prev: Vec<_> = self.prev.iter().map(|&size| matrix("prev", size)).collect();
        let mut memory = vec![vec![f64::CANARY; 1000]; self.next.len() + 3];
        let ([y, gates, beside], next) = memory.split_first_chunk_mut().unwrap();
        let seq = |data, [time, batch, channels]: [usize; 3]| {
            SeqMut::new(data, SeqShape::time_major(time, batch, channels)).unwrap()
        };
        let trace = Some(TraceMut { gates: seq(gates, self.trace[0]), beside: Some(seq(beside, self.trace[1])) });
        let mut next: Vec<_> = next
            .iter_mut()
            .zip(self.next)
            .map(|(data, &[rows, cols])| MatMut::dense(data, rows, cols).unwrap())
            .collect();
        let row = self.row.map(|rows| &values[..rows]);
        let panel = Panel::new(portable(), self.panel).unwrap();
        let (isa, stage, order) = (portable(), self.stage, self.order);
        let state = StepState {
            input: matrix("input", self.input),
            order,
            prev: &prev,
            next: &mut next,
            y: Some(MatMut::dense(y, self.y[0], self.y[1]).unwrap()),
            row,
            select: self.select,
        };
        let result = match self.product {
            None => {
                let operand = matrix("operand", self.operand);
                Step { isa, stage, operand, panel: &panel, state, trace, reverse: false }.run()
            }
            Some(size) => {
                let product = matrix("product", size);
                Pointwise { isa, stage, product, heads: &panel, state, trace }.run()
            }
        };
        let untouched = memory.iter().flatten().all(|value| value.bits() == f64::CANARY.bits());
        assert_eq!(untouched, result.is_err(), "{result:?}");
        result
    }
}

#[test]
fn steps_name_what_does_not_fit() {
    for good in [Sizes::fused(), Sizes::unfused()] {
        assert_eq!(good.run(), Ok(()));
        assert_eq!(Sizes { input: [2, 20], ..good }.run(), error("input rows", 3, 2));
        assert_eq!(Sizes { input: [3, 15], ..good }.run(), error("input columns", 20, 15));
        assert_eq!(Sizes { transposed: "input", ..good }.run(), error("input column stride", 1, 3));
        assert_eq!(Sizes { prev: &[], ..good }.run(), error("prev", 1, 0));
        assert_eq!(Sizes { prev: &[[4, 8]], ..good }.run(), error("prev rows", 3, 4));
        assert_eq!(Sizes { prev: &[[3, 7]], ..good }.run(), error("prev columns", 8, 7));
        assert_eq!(Sizes { transposed: "prev", ..good }.run(), error("prev column stride", 1, 3));
        assert_eq!(Sizes { next: &[[3, 8]], ..good }.run(), error("next", 2, 1));
        assert_eq!(Sizes { next: &[[3, 8], [2, 8]], ..good }.run(), error("next rows", 3, 2));
        assert_eq!(Sizes { next: &[[3, 8], [3, 7]], ..good }.run(), error("next columns", 8, 7));
        assert_eq!(Sizes { y: [2, 5], ..good }.run(), error("y rows", 3, 2));
        assert_eq!(Sizes { y: [3, 6], ..good }.run(), error("y columns", 5, 6));
        assert_eq!(Sizes { row: Some(3), ..good }.run(), error("row", 0, 3));
        assert_eq!(Sizes { trace: [[2, 3, 20], [1, 3, 5]], ..good }.run(), error("trace timesteps", 1, 2));
        assert_eq!(Sizes { trace: [[1, 2, 20], [1, 3, 5]], ..good }.run(), error("trace rows", 3, 2));
        assert_eq!(Sizes { trace: [[1, 3, 19], [1, 3, 5]], ..good }.run(), error("trace columns", 20, 19));
        assert_eq!(Sizes { trace: [[1, 3, 20], [1, 3, 6]], ..good }.run(), error("trace columns", 5, 6));
        assert_eq!(Sizes { select: Some(&[1, 3]), ..good }.run(), error("selected row", 3, 3));
    }
}

#[test]
fn fused_steps_name_what_does_not_fit() {
    let good = Sizes::fused();
    let panel = |heads, gates, k| Sizes { panel: PanelShape { heads, gates, k, units: 5 }, ..good }.run();
    assert_eq!(panel(0, 3, 6), error("panel gates", 4, 3));
    assert_eq!(panel(1, 4, 6), error("panel heads", 0, 1));
    assert_eq!(panel(0, 4, 5), error("operand columns", 5, 6));
    assert_eq!(Sizes { operand: [2, 6], ..good }.run(), error("input rows", 2, 3));
    assert_eq!(Sizes { transposed: "operand", ..good }.run(), error("operand column stride", 1, 3));
}

#[test]
fn unfused_steps_name_what_does_not_fit() {
    let good = Sizes::unfused();
    assert_eq!(Sizes { product: Some([2, 20]), ..good }.run(), error("input rows", 2, 3));
    assert_eq!(Sizes { product: Some([3, 19]), ..good }.run(), error("product columns", 20, 19));
    assert_eq!(Sizes { transposed: "product", ..good }.run(), error("product column stride", 1, 3));
    assert_eq!(Sizes { order: GateOrder::Panel, ..good }.run(), error("input columns", 32, 20));
    let heads = PanelShape { heads: 1, ..good.panel };
    assert_eq!(Sizes { panel: heads, ..good }.run(), error("heads", 0, 1));
}

#[test]
fn slices_of_other_lengths_are_refused() {
    fn run(y: &mut [f32]) -> Result<(), ShapeError> {
        Elementwise { isa: portable(), function: Activation::Tanh, x: &[1.0; 3], y }.run()
    }
    let mut y = [f32::CANARY; 4];
    assert_eq!(run(&mut y), error("y", 3, 4));
    assert!(y.iter().all(|value| value.bits() == f32::CANARY.bits()));
    assert_eq!(run(&mut y[1..]), Ok(()));
    assert_eq!(y[0].bits(), f32::CANARY.bits());
}

/// Sizes that are small, or larger than any memory.
fn sizes() -> impl Strategy<Value = usize> {
    let huge = [64, 63, 17, 16, 5, 4, 3, 1, 0].map(|less| usize::MAX - less);
    let parts = [1, 2, 3, 4, 5, 6].map(|shift| (usize::MAX >> shift) + 1);
    prop_oneof![3 => 0usize..10, 1 => select(vec![16usize, 17, 33]), 2 => select(huge.to_vec()), 2 => select(parts.to_vec())]
}

/// Mostly 5 sizes again and again, so that they fit each other now and then.
fn related(count: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(sizes(), 3)
        .prop_flat_map(move |base| prop::collection::vec(prop_oneof![9 => select(base), 1 => sizes()], count))
}

proptest! {
    #![proptest_config(common::proptest(5_000))]

    #[test]
    fn views_never_panic(n in related(9), length in 0usize..70) {
        let mut data: Vec<f32> = Random(1).values(length, 1.0);
        let shape = SeqShape { time: n[0], batch: n[1], channels: n[2], time_stride: n[3], batch_stride: n[4] };
        if let Ok(m) = MatRef::new(&data, n[0], n[1], n[2]) {
            for m in [m, m.transposed()] {
                _ = (m.get(n[3], n[4]), m.get(n[0].wrapping_sub(1), n[1].wrapping_sub(1)));
                _ = m.rows_from(n[5], n[6]).map(|m| (m.get(0, 0).copied(), m.get(n[7], n[8]).copied()));
                _ = SeqRef::from_matrix(m).map(|s| s.row(0, n[5]).map(<[f32]>::len));
            }
        }
        if let Ok(mut m) = MatMut::new(&mut data, n[0], n[1], n[2]) {
            for row in [0, n[3], n[0].wrapping_sub(1)] {
                m.row_mut(row).into_iter().flatten().for_each(|value| *value += 1.0);
            }
            if let Ok((mut a, mut b)) = m.split_rows(n[4]) {
                _ = (a.row_mut(n[5]).map(|row| row.len()), b.row_mut(0).map(|row| row.len()));
            }
        }
        for shape in [shape, SeqShape::time_major(n[0], n[1], n[2]), SeqShape::batch_major(n[1], n[0], n[2])] {
            if let Ok(s) = SeqRef::new(&data, shape) {
                let sum = |s: SeqRef<'_, f32>| s.row(n[5], n[6]).into_iter().flatten().sum::<f32>();
                _ = (sum(s), sum(s.folded()), s.steps(n[5], n[6]).map(sum), s.rows(n[5], n[6]).map(sum));
                _ = s.folded().matrices().take(3).map(|m| m.get(n[5], n[6]).copied()).collect::<Vec<_>>();
            }
            if let Ok(mut s) = SeqMut::new(&mut data, shape) {
                _ = s.step(n[5]).map(|mut m| m.row_mut(n[6]).map(|row| row.fill(1.0)));
                if let Ok((_, mut rest)) = s.split_batch(n[7]) {
                    _ = rest.step(n[5]).map(|mut m| m.row_mut(n[6]).map(|row| row.fill(2.0)));
                }
            }
        }
    }

    #[test]
    fn memory_never_panics(n in related(4)) {
        _ = (padded::<f32>(n[0]), padded::<f64>(n[0]), Buf::<f64>::scratch(n[0]), Buf::<f32>::empty().reserve(n[1]));
        for &isa in Isa::available() {
            if let Ok(mut panel) = Panel::<f32>::new(isa, PanelShape { heads: n[0], gates: n[1], k: n[2], units: n[3] }) {
                _ = (panel.blocks(), panel.product_cols(), panel.bytes());
                let (zeros, rows) = ([0f32; 64], n[1].saturating_mul(n[3]));
                let heads = vec![&zeros[..n[3].min(64)]; n[0].min(20)];
                _ = MatRef::new(&zeros, rows, n[2], 0).map(|weights| panel.pack(&heads, weights));
            }
        }
    }

    #[test]
    fn products_never_panic(n in related(12), panel_order: bool, start in 0usize..3, selected: bool) {
        let (data, mut out) = (vec![1f32; 64], vec![1f32; 2000]);
        let isa = portable();
        let Ok(panel) = Panel::new(isa, PanelShape { heads: n[0] % 8, gates: n[1], k: n[2], units: n[3] }) else { return Ok(()) };
        let a = SeqShape { time: n[4], batch: n[5], channels: n[6], time_stride: n[7], batch_stride: n[8] };
        let (Ok(a), Ok(input)) = (SeqRef::new(&data, a), MatRef::new(&data, n[9], n[10], n[11])) else { return Ok(()) };
        let order = if panel_order { GateOrder::Panel } else { GateOrder::Major };
        let cols = if panel_order { panel.product_cols() } else { n[1].saturating_mul(n[3]) };
        for (rows, cols) in [(n[4].wrapping_mul(n[5]), cols), (n[4], cols), (n[5], n[3])] {
            let Ok(c) = MatMut::new(&mut out, rows, cols, cols) else { continue };
            let start = [Start::Heads, Start::C, Start::Continue { input, gates: n[10] }][start];
            let select = selected.then_some(&[0, 1, u32::MAX][..n[0] % 4 % 3]);
            _ = Gemm { isa, a, panel: &panel, c, order, start, select }.run();
        }
    }

    #[test]
    fn steps_never_panic(n in related(8), stage in select(StageKind::ALL.to_vec()), panel_order: bool, fused: bool) {
        let data = vec![1f32; 300];
        let (isa, shape) = (portable(), stage.shape());
        let (rows, units, k) = (n[0], n[1], n[2]);
        let panel = PanelShape { heads: shape.heads(), gates: shape.recurrent, k, units };
        let Ok(panel) = Panel::new(isa, panel) else { return Ok(()) };
        let order = if panel_order { GateOrder::Panel } else { GateOrder::Major };
        let cols = |gates: usize| if panel_order { gates * panel.blocks() * panel.lanes() } else { gates * units };
        let width = panel.blocks() * panel.lanes();
        let view = |cols| MatRef::new(&data, rows, cols, if rows > 1 { n[3] } else { 0 });
        let (Ok(input), Ok(plane), Ok(product)) = (view(cols(shape.input)), view(width), view(shape.recurrent * units)) else { return Ok(()) };
        let mut memory = vec![vec![0f32; 300]; shape.next];
        let next: Result<Vec<_>, _> = memory.iter_mut().map(|data| MatMut::dense(data, rows, width)).collect();
        let (Ok(mut next), Ok(operand)) = (next, view(k)) else { return Ok(()) };
        let (mut y, prev) = (vec![0f32; 300], vec![plane; shape.prev]);
        let y = MatMut::dense(&mut y, rows, units).ok();
        let state = StepState { input, order, prev: &prev, next: &mut next, y, row: None, select: None };
        let done = if fused {
            Step { isa, stage, operand, panel: &panel, state, trace: None, reverse: false }.run()
        } else {
            Pointwise { isa, stage, product, heads: &panel, state, trace: None }.run()
        };
        prop_assert_eq!(done, Ok(()));
    }
}
