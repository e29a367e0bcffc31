//! All steps in one call: the bits of step after step, whether states are kept in turn or each, with and without a trace.

mod common;

use common::{Canaries, Random, Scalar, assert_same, everywhere};
use gatefold_kernels::cell::StageKind::{
    self, GruAfter, GruCandidate, GruEarlyCandidate, GruGates, GruLateUpdate, GruReset, GruUpdate, Lstm, Projection,
    SimpleRelu, SimpleTanh,
};
use gatefold_kernels::gemm::{Gemm, Start};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::mat::{MatMut, MatRef};
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::relay::{Relay, RelayStage, States, Walk};
use gatefold_kernels::seq::{SeqMut, SeqRef, SeqShape};
use gatefold_kernels::shape::ShapeError;
use gatefold_kernels::step::Step;
use gatefold_kernels::{StepState, TraceMut};
use proptest::prelude::*;
use proptest::sample::select;

const CELLS: [&[StageKind]; 7] = [
    &[SimpleTanh],
    &[SimpleRelu],
    &[Lstm],
    &[Lstm, Projection],
    &[GruAfter],
    &[GruGates, GruCandidate],
    &[GruReset, GruUpdate, GruCandidate],
];

#[derive(Clone, Copy, Debug)]
struct Case {
    cell: &'static [StageKind],
    input: usize,
    units: usize,
    /// Units of a projection.
    projected: usize,
    rows: usize,
    time: usize,
    walk: Walk,
    threads: usize,
    block: usize,
    /// Values between the rows of what is written.
    gap: usize,
    seed: u64,
}

prop_compose! {
    fn cases()(
        cell in select(CELLS.to_vec()),
        input in select(vec![1usize, 5]),
        units in select(vec![1usize, 4, 5, 15, 16, 17, 33, 71]),
        projected in select(vec![1usize, 3, 18]),
        // Over 64 rows are cut.
        rows in select(vec![0usize, 1, 2, 7, 65, 129]),
        time in 0..5usize,
        walk in select(vec![Walk::Forward, Walk::Backward, Walk::Flipped]),
        threads in select(vec![1usize, 3]),
        block in 1..4usize,
        gap in select(vec![0usize, 3]),
        seed: u64,
    ) -> Case {
        Case { cell, input, units, projected, rows, time, walk, threads, block, gap, seed }
    }
}

/// The planes of a step: h, c and what passes between two stages.
const H: usize = 0;
const C: usize = 1;
const FIRST: usize = 2;
const SECOND: usize = 3;

/// The plane that a stage's product reads, those that its cell reads, and those that it writes.
fn wiring(kind: StageKind, alone: bool) -> (usize, &'static [usize], &'static [usize]) {
    match kind {
        SimpleTanh | SimpleRelu => (H, &[], &[H]),
        Lstm if alone => (H, &[C], &[H, C]),
        Lstm => (H, &[C], &[FIRST, C]),
        Projection => (FIRST, &[], &[H]),
        GruAfter => (H, &[H], &[H]),
        GruGates => (H, &[H], &[FIRST, SECOND]),
        GruCandidate => (FIRST, &[H, SECOND], &[H]),
        GruReset => (H, &[H], &[FIRST]),
        GruUpdate => (H, &[], &[SECOND]),
        GruEarlyCandidate => (FIRST, &[], &[SECOND]),
        GruLateUpdate => (H, &[H, SECOND], &[H]),
    }
}

struct Problem<T> {
    case: Case,
    isa: Isa,
    /// Of each stage, W and R.
    panels: Vec<[Panel<T>; 2]>,
    x: Vec<T>,
    /// h and c, `[N, width]`.
    initial: [Vec<T>; 2],
}

/// What all steps leave: outputs `[T, N, units of h]`, h and c of T + 1 planes of whole rows, and for each stage its gates
/// and what stands beside them.
struct Left<T> {
    y: Vec<T>,
    states: [Vec<T>; 2],
    traces: Vec<[Vec<T>; 2]>,
}

impl<T: Scalar> Problem<T> {
    fn new(case: Case, isa: Isa) -> Self {
        let mut random = Random(case.seed);
        let mut panel = |heads, gates, k, units| {
            let mut panel = Panel::new(isa, PanelShape { heads, gates, k, units }).unwrap();
            let heads: Vec<Vec<T>> = (0..heads).map(|_| random.values(units, 1.0)).collect();
            let weights = random.values::<T>(gates * units * k, 1.0);
            let heads: Vec<&[T]> = heads.iter().map(Vec::as_slice).collect();
            panel.pack(&heads, MatRef::dense(&weights, gates * units, k).unwrap()).unwrap();
            panel
        };
        let output = if case.cell.contains(&Projection) { case.projected } else { case.units };
        let panels = case.cell.iter().map(|kind| {
            let (shape, units) = (kind.shape(), if *kind == Projection { output } else { case.units });
            let k = if wiring(*kind, case.cell.len() == 1).0 == H { output } else { case.units };
            [panel(shape.input, shape.input, case.input, units), panel(shape.heads(), shape.recurrent, k, units)]
        });
        let panels = panels.collect();
        let x = random.values(case.time * case.rows * case.input, 1.0);
        let width = Self::width(case, isa);
        let initial = [(); 2].map(|()| random.values(case.rows * width, 1.0));
        Problem { case, isa, panels, x, initial }
    }

    /// Columns of every plane.
    fn width(case: Case, isa: Isa) -> usize {
        case.units.max(case.projected).next_multiple_of(T::lanes(isa))
    }

    fn output(&self) -> usize {
        self.panels.last().unwrap()[1].shape().units
    }

    fn x(&self) -> SeqRef<'_, T> {
        SeqRef::new(&self.x, SeqShape::time_major(self.case.time, self.case.rows, self.case.input)).unwrap()
    }

    /// Where in time step `s` stands, its output, and the state after `k` steps.
    fn times(&self, s: usize) -> [usize; 2] {
        let last = self.case.time - 1;
        match self.case.walk {
            Walk::Forward => [s, s],
            Walk::Backward => [last - s, last - s],
            Walk::Flipped => [last - s, s],
        }
    }

    fn plane(&self, k: usize) -> usize {
        if self.case.walk == Walk::Forward { k } else { self.case.time - k }
    }

    /// The oracle: one product and one step after the other.
    fn by_steps(&self) -> Left<T> {
        let Case { cell, rows, time, units, .. } = self.case;
        let (width, output) = (Self::width(self.case, self.isa), self.output());
        let plane = rows * width;
        let mut planes = [self.initial[0].clone(), self.initial[1].clone(), vec![T::NAN; plane], vec![T::NAN; plane]];
        let mut states = [(); 2].map(|()| vec![T::NAN; (time + 1) * plane]);
        let traced = |gates: usize| vec![T::NAN; time * rows * gates * units];
        let mut left = Left { y: vec![T::NAN; time * rows * output], states: [vec![], vec![]], traces: vec![] };
        left.traces = cell.iter().map(|kind| [traced(kind.shape().recurrent), traced(1)]).collect();
        for k in 0..=time {
            let at = self.plane(k) * plane;
            states[H][at..at + plane].copy_from_slice(&planes[H]);
            states[C][at..at + plane].copy_from_slice(&planes[C]);
            if k == time {
                break;
            }
            let [t, t_out] = self.times(k);
            for (stage, kind) in cell.iter().enumerate() {
                let written = self.step(stage, t, &planes);
                let (_, _, next) = wiring(*kind, cell.len() == 1);
                let (state, [gates, beside]) = written;
                next.iter().zip(state).for_each(|(&to, plane)| planes[to] = plane);
                for (to, from) in left.traces[stage].iter_mut().zip([gates, beside]) {
                    if *kind != Projection {
                        to[t * from.len()..][..from.len()].copy_from_slice(&from);
                    }
                }
            }
            for (n, row) in planes[H].chunks_exact(width).enumerate() {
                left.y[(t_out * rows + n) * output..][..output].copy_from_slice(&row[..output]);
            }
        }
        Left { states, ..left }
    }

    /// One stage at time t: the planes that it wrote, its gates, and what stands beside them.
    fn step(&self, stage: usize, t: usize, planes: &[Vec<T>; 4]) -> (Vec<Vec<T>>, [Vec<T>; 2]) {
        let Case { cell, rows, .. } = self.case;
        let (isa, kind, [w, r]) = (self.isa, cell[stage], &self.panels[stage]);
        let (width, cols) = (Self::width(self.case, isa), w.product_cols());
        let (units, gates) = (r.shape().units, r.shape().gates);
        let mut product = vec![T::NAN; rows * cols];
        if cols > 0 {
            let c = MatMut::dense(&mut product, rows, cols).unwrap();
            let (a, order, start) = (self.x().steps(t, 1).unwrap(), GateOrder::Panel, Start::Heads);
            Gemm { isa, a, panel: w, c, order, start, select: None }.run().unwrap();
        }
        let (operand, prev, next) = wiring(kind, cell.len() == 1);
        let prev: Vec<_> = prev.iter().map(|&i| MatRef::dense(&planes[i], rows, width).unwrap()).collect();
        let mut written = vec![vec![T::NAN; rows * width]; next.len()];
        let mut next: Vec<_> = written.iter_mut().map(|data| MatMut::dense(data, rows, width).unwrap()).collect();
        let mut trace = [vec![T::NAN; rows * gates * units], vec![T::NAN; rows * units]];
        let [of_gates, beside] = &mut trace;
        let one = |data, channels| SeqMut::new(data, SeqShape::time_major(1, rows, channels)).unwrap();
        let trace_mut = TraceMut { gates: one(of_gates, gates * units), beside: Some(one(beside, units)) };
        let input = MatRef::dense(&product, rows, cols).unwrap();
        let state = StepState {
            input,
            order: GateOrder::Panel,
            prev: &prev,
            next: &mut next,
            y: None,
            row: None,
            select: None,
        };
        let operand = MatRef::new(&planes[operand], rows, r.shape().k, width).unwrap();
        Step { isa, stage: kind, operand, panel: r, state, trace: Some(trace_mut), reverse: false }.run().unwrap();
        (written, trace)
    }

    /// The call: `kept`, all states and a trace, or the final states alone, which come where the last of all would.
    fn by_relay(&self, kept: bool) -> Left<T> {
        let Case { cell, rows, time, walk, threads, block, gap, .. } = self.case;
        let (isa, width, output) = (self.isa, Self::width(self.case, self.isa), self.output());
        let sequence = |time: usize, channels: usize| {
            let batch_stride = channels + gap;
            SeqShape { time, batch: rows, channels, time_stride: rows * batch_stride, batch_stride }
        };
        let memory = |time: usize, channels: usize| Canaries::<T>::rows(time * rows, channels, channels + gap);
        let mut states = [(); 2].map(|()| memory(time + 1, width));
        let mut turns = self.initial.clone().map(|plane| [plane, vec![T::NAN; rows * width]]);
        for (state, initial) in states.iter_mut().zip(&self.initial) {
            for (n, row) in initial.chunks_exact(width).enumerate() {
                state.data[(self.plane(0) * rows + n) * (width + gap)..][..width].copy_from_slice(row);
            }
        }
        let mut traces: Vec<_> = self
            .panels
            .iter()
            .map(|[_, r]| (r.shape().gates * r.shape().units, r.shape().units))
            .map(|(gates, units)| [memory(time, gates), memory(time, units)])
            .collect();
        let mut products: Vec<_> =
            self.panels.iter().map(|[w, _]| vec![T::NAN; block * rows * w.product_cols()]).collect();
        let mut y = memory(time, output);
        let mut between = [(); 2].map(|()| vec![T::NAN; rows * width]);
        let stages = cell.iter().zip(&self.panels).zip(&mut products).zip(&mut traces);
        let mut stages = stages.map(|(((kind, [input, recurrent]), product), [gates, beside])| {
            let (units, count) = (recurrent.shape().units, recurrent.shape().gates);
            let trace = (kept && *kind != Projection).then(|| TraceMut {
                gates: SeqMut::new(&mut gates.data, sequence(time, count * units)).unwrap(),
                beside: Some(SeqMut::new(&mut beside.data, sequence(time, units)).unwrap()),
            });
            RelayStage { kind: *kind, input, recurrent, product, trace }
        });
        let [h, c] = states.each_mut().map(|state| &mut state.data);
        let [h_turns, c_turns] = &mut turns;
        let each = |data| States::Each(SeqMut::new(data, sequence(time + 1, width)).unwrap());
        let (h, c) =
            if kept { (each(h), each(c)) } else { (in_turn(h_turns, rows, width), in_turn(c_turns, rows, width)) };
        let between = Some(between.each_mut().map(|plane| MatMut::dense(plane, rows, width).unwrap()));
        let y_mut = Some(SeqMut::new(&mut y.data, sequence(time, output)).unwrap());
        let (x, reverse) = (self.x(), self.case.seed.is_multiple_of(2));
        let stages = std::array::from_fn(|_| stages.next());
        Relay { isa, threads, stages, x, h, c: Some(c), between, y: y_mut, walk, block, reverse }.run().unwrap();
        let states =
            if kept { states.map(|state| state.take("a state")) } else { turns.map(|planes| planes[time % 2].clone()) };
        let traces = traces.iter().map(|[gates, beside]| [gates.take("the gates"), beside.take("beside")]).collect();
        Left { y: y.take("y"), states, traces }
    }
}

fn in_turn<T>(planes: &mut [Vec<T>; 2], rows: usize, width: usize) -> States<'_, T> {
    States::InTurn(planes.each_mut().map(|plane| MatMut::dense(plane, rows, width).unwrap()))
}

/// The live columns of planes.
fn live<T: Scalar>(planes: &[T], width: usize, units: usize) -> Vec<T> {
    planes.chunks_exact(width).flat_map(|row| row[..units].to_vec()).collect()
}

fn check<T: Scalar>(case: Case) {
    everywhere(|isa| {
        let problem = Problem::<T>::new(case, isa);
        let (width, units) = (Problem::<T>::width(case, isa), [problem.output(), case.units]);
        let (expected, kept, plain) = (problem.by_steps(), problem.by_relay(true), problem.by_relay(false));
        assert_same(&expected.y, &kept.y, "y beside a trace");
        assert_same(&expected.y, &plain.y, "y");
        let last = problem.plane(case.time) * case.rows * width;
        let states = if case.cell.contains(&Lstm) { 2 } else { 1 };
        for (i, &units) in units[..states].iter().enumerate() {
            let of_steps = live(&expected.states[i], width, units);
            assert_same(&of_steps, &live(&kept.states[i], width, units), "all states");
            let of_last = live(&expected.states[i][last..last + case.rows * width], width, units);
            assert_same(&of_last, &live(&plain.states[i], width, units), "the last state");
        }
        for ((expected, kept), kind) in expected.traces.iter().zip(&kept.traces).zip(case.cell) {
            for (expected, kept) in expected.iter().zip(kept).filter(|_| *kind != Projection) {
                assert_same(expected, kept, "a trace");
            }
        }
    });
}

proptest! {
    #![proptest_config(common::proptest(60))]

    #[test]
    fn f32_relays_are_steps(case in cases()) {
        check::<f32>(case);
    }

    #[test]
    fn f64_relays_are_steps(case in cases()) {
        check::<f64>(case);
    }
}

fn simple(isa: Isa, units: usize, k: usize) -> [Panel<f32>; 2] {
    let panel = |heads, k| Panel::new(isa, PanelShape { heads, gates: 1, k, units }).unwrap();
    [panel(1, 1), panel(0, k)]
}

/// Outputs are those of the last stage, however many units others have that write h as well.
#[test]
fn the_last_stage_alone_writes_outputs() {
    let (isa, walk) = (Isa::named("portable").unwrap(), Walk::Forward);
    let [[w0, r0], [w1, r1]] = [simple(isa, 64, 1), simple(isa, 1, 1)];
    let (mut p0, mut p1) = ([0.0; 64], [0.0; 64]);
    let [first, second] = [(&w0, &r0, &mut p0), (&w1, &r1, &mut p1)].map(|(input, recurrent, product)| RelayStage {
        kind: SimpleRelu,
        input,
        recurrent,
        product: &mut product[..],
        trace: None,
    });
    let (mut h0, mut h1, mut y) = ([0.0; 64], [0.0; 64], Canaries::<f32>::rows(1, 1, 1));
    let h = States::InTurn([MatMut::dense(&mut h0, 1, 64).unwrap(), MatMut::dense(&mut h1, 1, 64).unwrap()]);
    let x = SeqRef::new(&[1.0], SeqShape::time_major(1, 1, 1)).unwrap();
    let out = Some(SeqMut::new(&mut y.data, SeqShape::time_major(1, 1, 1)).unwrap());
    let stages = [Some(first), None, Some(second)];
    Relay { isa, threads: 1, stages, x, h, c: None, between: None, y: out, walk, block: 1, reverse: false }
        .run()
        .unwrap();
    assert_eq!(y.take("y"), [0.0]);
}

#[test]
fn states_and_traces_of_other_sizes_are_refused() {
    let isa = Isa::named("portable").unwrap();
    let [w, r] = simple(isa, 5, 5);
    let run = |planes: [usize; 3], gates: [usize; 3]| {
        // Further from 0 than any output.
        let mut memory = vec![7.0f32; 500];
        let (states, rest) = memory.split_at_mut(250);
        let seq = |data, [time, batch, channels]: [usize; 3]| {
            SeqMut::new(data, SeqShape::time_major(time, batch, channels)).unwrap()
        };
        let trace = Some(TraceMut { gates: seq(rest, gates), beside: None });
        let (h, x) = (States::Each(seq(states, planes)), vec![1.0; 6]);
        let mut product = [0.0; 100];
        let stage = RelayStage { kind: SimpleTanh, input: &w, recurrent: &r, product: &mut product, trace };
        let stages = [Some(stage), None, None];
        let x = SeqRef::new(&x, SeqShape::time_major(2, 3, 1)).unwrap();
        let (threads, walk, block, reverse) = (1, Walk::Backward, 1, false);
        let result = Relay { isa, threads, stages, x, h, c: None, between: None, y: None, walk, block, reverse }.run();
        assert_eq!(memory.iter().all(|&value| value == 7.0), result.is_err());
        result
    };
    let error = |argument, expected, found| Err(ShapeError { argument, expected, found });
    assert_eq!(run([3, 3, 8], [2, 3, 5]), Ok(()));
    assert_eq!(run([2, 3, 8], [2, 3, 5]), error("planes", 3, 2));
    assert_eq!(run([3, 2, 8], [2, 3, 5]), error("plane rows", 3, 2));
    assert_eq!(run([3, 3, 7], [2, 3, 5]), error("plane columns", 8, 7));
    assert_eq!(run([3, 3, 8], [1, 3, 5]), error("trace timesteps", 2, 1));
    assert_eq!(run([3, 3, 8], [2, 4, 5]), error("trace rows", 3, 4));
    assert_eq!(run([3, 3, 8], [2, 3, 6]), error("trace columns", 5, 6));
}
