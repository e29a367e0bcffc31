//! A step, fused and over a finished product: the same bits under every instruction set, from chains that scalar Rust
//! computes.

mod common;

use common::{Canaries, Random, Scalar, assert_same, everywhere};
use gatefold_kernels::activation::Activation;
use gatefold_kernels::cell::StageKind;
use gatefold_kernels::general::{General, Variant};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::mat::{MatMut, MatRef};
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::pointwise::Pointwise;
use gatefold_kernels::seq::{SeqMut, SeqShape};
use gatefold_kernels::step::Step;
use gatefold_kernels::{StepState, TraceMut};
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Clone, Copy, Debug)]
struct Case {
    stage: StageKind,
    units: usize,
    k: usize,
    rows: usize,
    /// Values between the rows of planes, of y and of the trace.
    gap: usize,
    order: GateOrder,
    has_y: bool,
    has_trace: bool,
    select: bool,
    reverse: bool,
    seed: u64,
}

prop_compose! {
    fn cases()(
        stage in select(StageKind::ALL.to_vec()),
        // Around the lengths of vectors, 4 to 16, and of tiles.
        units in select(vec![0usize, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47, 65, 81, 96, 129]),
        // Beyond two stretches of 32 columns, between which places to be written to are prefetched.
        k in select(vec![0usize, 1, 2, 7, 24, 71]),
        rows in select(vec![0usize, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 67]),
        gap in select(vec![0usize, 1, 16]),
        order in select(vec![GateOrder::Panel, GateOrder::Major]),
        has_y: bool,
        has_trace: bool,
        select: bool,
        reverse: bool,
        seed: u64,
    ) -> Case {
        Case { stage, units, k, rows, gap, order, has_y, has_trace, select, reverse, seed }
    }
}

/// The values of a case, gates as `[G][H]` in a row whatever the order.
#[derive(Clone)]
struct Problem<T> {
    case: Case,
    /// `[N, gates of the input, H]`
    input: Vec<T>,
    /// `[N, K]`
    operand: Vec<T>,
    /// `[G*H, K]`
    weights: Vec<T>,
    /// `[heads][H]`
    heads: Vec<Vec<T>>,
    /// `[planes][N, H]`
    prev: Vec<Vec<T>>,
    selected: Option<Vec<u32>>,
}

/// What a step wrote: y and each plane, `[N, H]`; the gates, `[N, G, H]`, and what stands beside them.
type Written<T> = Vec<Vec<T>>;

/// Where the recurrent product comes from.
#[derive(Clone, Copy)]
enum From<'a, T> {
    /// From the kernel.
    Fused,
    /// `[N, G, H]`, with all that the chains start from.
    Finished(&'a [T]),
    /// `[N, G, H]`, without.
    Bare(&'a [T]),
    /// `[N, G, H]`, as of `Finished`, and the cell by passes over it, as cells with options are computed.
    General(&'a [T]),
}

impl<T: Scalar> Problem<T> {
    fn new(case: Case) -> Self {
        let Case { stage, units, k, rows, .. } = case;
        let shape = stage.shape();
        let mut random = Random(case.seed);
        let mut values = |n| random.values(n, 2.0);
        Problem {
            input: values(rows * shape.input * units),
            operand: values(rows * k),
            weights: values(shape.recurrent * units * k),
            heads: (0..shape.heads()).map(|_| values(units)).collect(),
            prev: (0..shape.prev).map(|_| values(rows * units)).collect(),
            selected: case
                .select
                .then(|| random.permutation(rows).into_iter().take(rows.div_ceil(2)).map(|row| row as u32).collect()),
            case,
        }
    }

    /// What the chain of a recurrent gate starts from.
    fn start(&self, row: usize, gate: usize, unit: usize) -> T {
        let (units, shape) = (self.case.units, self.case.stage.shape());
        match gate.checked_sub(shape.chained()) {
            Some(own) => self.heads[own][unit],
            None => self.input[(row * shape.input + gate) * units + unit],
        }
    }

    /// A value for each row, recurrent gate and unit.
    fn gates(&self, value: impl Fn(usize, usize, usize) -> T) -> Vec<T> {
        let (rows, gates, units) = (self.case.rows, self.case.stage.shape().recurrent, self.case.units);
        let places =
            (0..rows).flat_map(|row| (0..gates).flat_map(move |gate| (0..units).map(move |unit| (row, gate, unit))));
        places.map(|(row, gate, unit)| value(row, gate, unit)).collect()
    }

    /// Chains of fused multiply-adds from a start, `[N, G, H]`.
    fn chains(&self, start: impl Fn(usize, usize, usize) -> T) -> Vec<T> {
        let Case { k, units, .. } = self.case;
        self.gates(|row, gate, unit| {
            let (a, w) = (&self.operand[row * k..][..k], &self.weights[(gate * units + unit) * k..][..k]);
            a.iter().zip(w).fold(start(row, gate, unit), |sum, (&a, &w)| a.fma(w, sum))
        })
    }

    /// The same problem where all that chains start from is -0: then what is added to that is left as it is.
    fn without_starts(&self) -> Self {
        let (mut problem, nothing) = (self.clone(), T::from_f64(-0.0));
        let (shape, units) = (self.case.stage.shape(), self.case.units);
        for row in problem.input.chunks_exact_mut((shape.input * units).max(1)) {
            row[..shape.chained() * units].fill(nothing);
        }
        problem.heads[..shape.heads()].iter_mut().for_each(|bias| bias.fill(nothing));
        problem
    }

    /// `[N, G, H]` in the order of the case for vectors of `lanes` values; what pads it is NaN.
    fn ordered(&self, gates: usize, lanes: usize, values: &[T]) -> (Vec<T>, usize) {
        let Case { units, rows, order, .. } = self.case;
        if order == GateOrder::Major {
            return (values.to_vec(), gates * units);
        }
        let cols = gates * units.next_multiple_of(lanes);
        let mut ordered = vec![T::NAN; rows * cols];
        for (i, &value) in values.iter().enumerate() {
            let (row, gate, unit) = (i / (gates * units), i / units % gates, i % units);
            ordered[row * cols + (unit / lanes * gates + gate) * lanes + unit % lanes] = value;
        }
        (ordered, cols)
    }

    /// Runs the step. Rows that were not to be computed must be left alone; they are canaries in the result.
    fn run(&self, isa: Isa, from: From<'_, T>) -> Written<T> {
        if let From::Finished(chains) = from {
            return self.without_starts().run(isa, From::Bare(chains));
        }
        let Case { stage, units, k, rows, gap, order, has_y, has_trace, reverse, .. } = self.case;
        let (shape, lanes) = (stage.shape(), T::lanes(isa));
        let padded = units.next_multiple_of(lanes);
        let mut panel = Panel::new(isa, PanelShape { heads: shape.heads(), gates: shape.recurrent, k, units }).unwrap();
        let heads: Vec<&[T]> = self.heads.iter().map(Vec::as_slice).collect();
        panel.pack(&heads, MatRef::dense(&self.weights, shape.recurrent * units, k).unwrap()).unwrap();

        let (input, input_cols) = self.ordered(shape.input, lanes, &self.input);
        let padding = |plane: &Vec<T>| -> Vec<T> {
            let unit = |i: usize| if i % padded < units { plane[i / padded * units + i % padded] } else { T::NAN };
            (0..rows * padded).map(unit).collect()
        };
        let held = |plane| Canaries::rows(rows, padded, padded + gap).holding(&padding(plane));
        let prev: Vec<_> = self.prev.iter().map(held).collect();
        let prev: Vec<_> =
            prev.iter().map(|plane| MatRef::new(&plane.data, rows, padded, padded + gap).unwrap()).collect();
        let mut next: Vec<_> = (0..shape.next).map(|_| Canaries::rows(rows, padded, padded + gap)).collect();
        let mut y = Canaries::rows(rows, units, units + gap);
        let gates = shape.recurrent * units;
        let (mut kept, mut beside) =
            (Canaries::rows(rows, gates, gates + gap), Canaries::rows(rows, units, units + gap));
        let step = |plane, channels| SeqMut::new(plane, one_step(rows, channels, gap)).unwrap();
        let trace = has_trace
            .then(|| TraceMut { gates: step(&mut kept.data, gates), beside: Some(step(&mut beside.data, units)) });
        let mut planes: Vec<_> =
            next.iter_mut().map(|plane| MatMut::new(&mut plane.data, rows, padded, padded + gap).unwrap()).collect();
        let state = StepState {
            input: MatRef::dense(&input, rows, input_cols).unwrap(),
            order,
            prev: &prev,
            next: &mut planes,
            y: has_y.then(|| MatMut::new(&mut y.data, rows, units, units + gap).unwrap()),
            row: None,
            select: self.selected.as_deref(),
        };
        match from {
            From::Fused => {
                let operand = MatRef::dense(&self.operand, rows, k).unwrap();
                Step { isa, stage, operand, panel: &panel, state, trace, reverse }.run().unwrap();
            }
            From::Finished(product) | From::Bare(product) => {
                let product = MatRef::dense(product, rows, gates).unwrap();
                Pointwise { isa, stage, product, heads: &panel, state, trace }.run().unwrap();
            }
            From::General(chains) => {
                let mut product = chains.to_vec();
                let product = MatMut::dense(&mut product, rows, gates).unwrap();
                let mut variant = Variant::default();
                match stage {
                    StageKind::SimpleTanh => variant.activations[0] = Activation::Tanh,
                    StageKind::SimpleRelu => variant.activations[0] = Activation::Relu,
                    _ => {}
                }
                General { isa, stage, variant, product, kept: false, peepholes: None, state }.run().unwrap();
            }
        }
        let live = |plane: &Canaries<T>| {
            let values = plane.take("a plane");
            values.chunks(padded.max(1)).flat_map(|row| row[..units].to_vec()).collect()
        };
        let trace = has_trace.then(|| [kept.take("the gates"), beside.take("what stands beside them")]);
        std::iter::once(y.take("y")).chain(next.iter().map(live)).chain(trace.into_iter().flatten()).collect()
    }
}

fn one_step(rows: usize, channels: usize, gap: usize) -> SeqShape {
    let batch_stride = channels + gap;
    SeqShape { time: 1, batch: rows, channels, time_stride: rows * batch_stride, batch_stride }
}

#[track_caller]
fn assert_all_same<T: Scalar>(expected: &[Vec<T>], found: &[Vec<T>], what: &str) {
    assert_eq!(expected.len(), found.len());
    for (i, (expected, found)) in expected.iter().zip(found).enumerate() {
        assert_same(expected, found, &format!("{what}, {}", if i == 0 { "y".into() } else { format!("plane {i}") }));
    }
}

fn check<T: Scalar>(case: Case) {
    let Case { units, rows, stage, .. } = case;
    let problem = Problem::<T>::new(case);
    let chains = problem.chains(|row, gate, unit| problem.start(row, gate, unit));
    let bare = problem.chains(|_, _, _| T::ZERO);
    let at = |row, gate, unit| (row * stage.shape().recurrent + gate) * units + unit;
    let sums = problem.gates(|row, gate, unit| problem.start(row, gate, unit).plus(bare[at(row, gate, unit)]));

    let portable = Isa::named("portable").unwrap();
    let of_chains = problem.run(portable, From::Finished(&chains));
    let of_sums = problem.run(portable, From::Finished(&sums));
    if case.has_y {
        assert_same(&of_chains[1], &of_chains[0], "y is the first plane");
    }
    for row in 0..rows {
        let computed = problem.selected.as_ref().is_none_or(|rows| rows.contains(&(row as u32)));
        let canaries = of_chains[1][row * units..][..units].iter().filter(|value| value.bits() == T::CANARY.bits());
        assert_eq!(canaries.count(), if computed { 0 } else { units }, "row {row}");
    }
    everywhere(|isa| {
        let name = isa.name();
        assert_all_same(&of_chains, &problem.run(isa, From::Fused), &format!("{name}, fused"));
        assert_all_same(&of_chains, &problem.run(isa, From::Finished(&chains)), &format!("{name}, finished"));
        assert_all_same(&of_sums, &problem.run(isa, From::Bare(&bare)), &format!("{name}, bare"));
        let plain = Problem { case: Case { has_trace: false, ..case }, ..problem.clone() };
        for (from, what) in [(From::Fused, "without a trace"), (From::General(&chains), "by passes")] {
            let found = plain.run(isa, from);
            assert_all_same(&of_chains[..found.len()], &found, &format!("{name}, {what}"));
        }
    });
}

proptest! {
    #![proptest_config(common::proptest(500))]

    #[test]
    fn f32_steps_agree(case in cases()) {
        check::<f32>(case);
    }

    #[test]
    fn f64_steps_agree(case in cases()) {
        check::<f64>(case);
    }
}

/// A step of one row over finished chains, to be spoilt or made small.
fn one_row<T: Scalar>(stage: StageKind) -> (Problem<T>, Vec<T>) {
    let (order, units) = (GateOrder::Major, 19);
    let case = Case {
        stage,
        units,
        k: 1,
        rows: 1,
        gap: 0,
        order,
        has_y: true,
        has_trace: false,
        select: false,
        reverse: false,
        seed: 5,
    };
    let problem = Problem::new(case);
    let chains = problem.chains(|row, gate, unit| problem.start(row, gate, unit));
    (problem, chains)
}

fn nan_stays_in_its_unit<T: Scalar>(isa: Isa, stage: StageKind) {
    let (problem, chains) = one_row::<T>(stage);
    let good = problem.run(isa, From::Finished(&chains));
    let unit = 17;
    for gate in 0..stage.shape().recurrent {
        let mut chains = chains.clone();
        chains[gate * problem.case.units + unit] = T::NAN;
        let spoilt = problem.run(isa, From::Finished(&chains));
        assert!(spoilt.iter().any(|plane| plane[unit].to_f64().is_nan()), "{stage:?} {}: gate {gate}", isa.name());
        for (good, mut spoilt) in good.iter().zip(spoilt) {
            spoilt[unit] = good[unit];
            assert_same(good, &spoilt, &format!("{stage:?} {}: gate {gate}", isa.name()));
        }
    }
}

#[test]
fn nan_in_gives_nan_out_and_nowhere_else() {
    for &stage in StageKind::ALL {
        everywhere(|isa| {
            nan_stays_in_its_unit::<f32>(isa, stage);
            nan_stays_in_its_unit::<f64>(isa, stage);
        });
    }
}

/// With states and sums around the limit, no value comes out below it but +0.
fn small_states_are_flushed<T: Scalar>(isa: Isa, stage: StageKind) {
    let (mut problem, mut chains) = one_row::<T>(stage);
    let small = |value: &mut T| *value = T::from_f64(value.to_f64() * T::FLUSH.to_f64());
    problem.prev.iter_mut().flatten().chain(&mut problem.input).chain(&mut chains).for_each(small);
    let written = problem.run(isa, From::Finished(&chains));
    for plane in &written {
        for value in plane {
            let (flushed, kept) = (value.bits() == T::ZERO.bits(), value.to_f64().abs() >= T::FLUSH.to_f64());
            assert!(flushed || kept, "{stage:?} {}: {value:?}", isa.name());
        }
    }
    // The first plane is a state in all these stages.
    assert!(written[1].iter().any(|value| value.bits() == T::ZERO.bits()), "{stage:?}: nothing was flushed");
}

#[test]
fn states_below_the_limit_become_positive_zero() {
    for &stage in StageKind::ALL {
        // These leave a gate alone, which is no state.
        if matches!(stage, StageKind::GruUpdate | StageKind::GruEarlyCandidate) {
            continue;
        }
        everywhere(|isa| {
            small_states_are_flushed::<f32>(isa, stage);
            small_states_are_flushed::<f64>(isa, stage);
        });
    }
}

/// What a SimpleRNN with ReLU makes of one sum.
fn relu<T: Scalar>(isa: Isa, sum: T) -> T {
    let (problem, mut chains) = one_row::<T>(StageKind::SimpleRelu);
    chains[3] = sum;
    problem.run(isa, From::Finished(&chains))[0][3]
}

fn relu_at_its_edges<T: Scalar>(isa: Isa) {
    let value = |x: f64| T::from_f64(x);
    let limit = T::FLUSH.to_f64();
    let below = value(limit * (1.0 - 2.0 * T::ROUNDING));
    for (sum, expected) in [
        (value(3.5), value(3.5)),
        (value(-3.5), T::ZERO),
        (value(-0.0), T::ZERO),
        (T::FLUSH, T::FLUSH),
        (below, T::ZERO),
        (value(f64::INFINITY), value(f64::INFINITY)),
        (value(f64::NEG_INFINITY), T::ZERO),
        (T::NAN, T::NAN),
    ] {
        assert_same(&[expected], &[relu(isa, sum)], &format!("{}: relu({sum:?})", isa.name()));
    }
}

#[test]
fn relu_keeps_nan_and_has_no_negative_zero() {
    everywhere(|isa| {
        relu_at_its_edges::<f32>(isa);
        relu_at_its_edges::<f64>(isa);
    });
}
