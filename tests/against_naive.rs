//! Layers against the naive reference: every cell, bias, element type, backend and instruction set, every layout of
//! inputs and outputs, every kind of output, with and without an initial state, at sizes around the edges of tiles.

mod common;
mod reference;

use common::bound::rounding;
use common::model::{BIASES, Bias, CELLS, Model};
use common::numbers::{Canaries, Random, Scalar, proptest};
use common::strides::{LAYOUTS, Layout};
use common::{Value, everything};
use gatefold::cell::Cell;
use gatefold::seq::{MatMut, SeqMut, SeqRef};
use gatefold::weights::UpdateGate;
use gatefold::{Layer, Options, Output, State, Workspace};
use proptest::prelude::*;
use proptest::sample::select;
use reference::Sequence;

/// Where outputs go.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Sequence(Layout),
    /// Rows with room behind them.
    Last(usize),
    StateOnly,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    cell: Cell,
    bias: Bias,
    update: UpdateGate,
    /// Hidden units as whole vectors and some more or less.
    vectors: usize,
    more: isize,
    input: usize,
    time: usize,
    batch: usize,
    x: Layout,
    y: Kind,
    initial: bool,
    /// Whether the workspace has served another layer before.
    used: bool,
    seed: u64,
}

prop_compose! {
    fn cases()(
        cell in select(CELLS.to_vec()),
        bias in select(BIASES.to_vec()),
        update in select(vec![UpdateGate::KeepsPast, UpdateGate::TakesNew]),
        (vectors, more) in (select(vec![0usize, 1, 1, 2, 3, 8]), -1isize..=1),
        input in select(vec![1usize, 2, 3, 8, 17, 33]),
        time in select(vec![0usize, 1, 2, 3, 4]),
        batch in select(vec![0usize, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13]),
        x in select(LAYOUTS.to_vec()),
        y in prop_oneof![
            4 => select(LAYOUTS.to_vec()).prop_map(Kind::Sequence),
            2 => (0usize..3).prop_map(Kind::Last),
            1 => Just(Kind::StateOnly),
        ],
        initial: bool,
        used: bool,
        seed: u64,
    ) -> Case {
        // The bound grows with units and steps: for many of both, in vectors of 16, it would say nothing any more.
        let time = if vectors == 8 { time.min(2) } else { time };
        Case { cell, bias, update, vectors, more, input, time, batch, x, y, initial, used, seed }
    }
}

/// A case for vectors of some length, and what the reference makes of it.
struct Problem<T> {
    case: Case,
    hidden: usize,
    model: Model<T>,
    /// `[T, N, I]`
    x: Vec<T>,
    /// `[N, H]`
    h0: Option<Vec<T>>,
    /// `[N, H]`
    c0: Option<Vec<T>>,
    expected: reference::Output,
    bound: f64,
}

/// What a layer made of it: y as `[T, N, H]` or as `[N, H]`, and the state.
#[derive(Clone, Debug)]
struct Found<T> {
    y: Vec<T>,
    h: Vec<T>,
    c: Vec<T>,
}

impl<T: Value> Problem<T> {
    fn new(case: Case, lanes: usize) -> Self {
        let hidden = (case.vectors * lanes).saturating_add_signed(case.more).max(1);
        let mut model = Model::random(case.cell, [case.input, hidden], case.bias, case.seed);
        model.update = case.update;
        let mut random = Random(!case.seed);
        let mut values = |n, is: bool| is.then(|| random.values::<T>(n, 1.0));
        let x = values(case.time * case.batch * case.input, true).expect("values");
        let h0 = values(case.batch * hidden, case.initial);
        let c0 = values(case.batch * hidden, case.initial && case.cell.has_cell_state());
        let exact = |values: &[T]| values.iter().map(|v| v.to_f64()).collect::<Vec<_>>();
        let sequence = Sequence {
            time: case.time,
            batch: case.batch,
            x: exact(&x),
            h0: h0.as_deref().map(exact),
            c0: c0.as_deref().map(exact),
            flush: T::FLUSH.to_f64(),
        };
        let layer = model.reference();
        let expected = layer.run(&sequence);
        // The reference rounds too, in f64.
        let bound = [T::ROUNDING, f64::ROUNDING].map(|u| rounding(&layer, &sequence, &expected, u)).iter().sum();
        Problem { case, hidden, model, x, h0, c0, expected, bound }
    }

    fn state(&self, layer: &Layer<T>) -> State<T> {
        let mut state = layer.state(self.case.batch).unwrap();
        if let Some(h0) = &self.h0 {
            state.set_h(h0).unwrap();
        }
        if let Some(c0) = &self.c0 {
            state.set_c(c0).unwrap();
        }
        state
    }

    fn workspace(&self, layer: &Layer<T>, options: Options) -> Workspace<T> {
        if !self.case.used {
            return layer.workspace(self.case.time, self.case.batch).unwrap();
        }
        let model = Model::random(Cell::Lstm, [3, 29], Bias::Both, 0);
        let (x, mut workspace) = (vec![T::ONE; 2 * 3 * 3], Workspace::new());
        let other = Layer::new(model.weights(), options).unwrap();
        let x = SeqRef::new(&x, Layout::TimeMajor.shape([2, 3, 3])).unwrap();
        other.forward_into(x, &mut other.state(3).unwrap(), Output::StateOnly, &mut workspace).unwrap();
        workspace
    }

    fn run(&self, options: Options) -> Found<T> {
        let Case { time, batch, input, x, y, .. } = self.case;
        let layer = Layer::new(self.model.weights(), options).unwrap();
        let (mut state, mut workspace) = (self.state(&layer), self.workspace(&layer, options));
        let memory = x.memory([time, batch, input]).holding(&self.x);
        let view = SeqRef::new(&memory.data, x.shape([time, batch, input])).unwrap();
        let sizes = [time, batch, self.hidden];
        let (mut out, output);
        match y {
            Kind::Sequence(layout) => {
                out = layout.memory(sizes);
                output = Output::Sequence(SeqMut::new(&mut out.data, layout.shape(sizes)).unwrap());
            }
            Kind::Last(gap) => {
                out = Canaries::rows(batch, self.hidden, self.hidden + gap);
                output = Output::Last(MatMut::new(&mut out.data, batch, self.hidden, self.hidden + gap).unwrap());
            }
            Kind::StateOnly => {
                out = Canaries::rows(0, 0, 0);
                output = Output::StateOnly;
            }
        }
        layer.forward_into(view, &mut state, output, &mut workspace).unwrap();
        Found { y: out.take("y"), h: state.h_to_vec(), c: state.c_to_vec().unwrap_or_default() }
    }

    /// Compares with the reference, within the bound.
    fn compare(&self, found: &Found<T>) -> Result<(), String> {
        let Case { batch, y, .. } = self.case;
        let last = &self.expected.y[self.expected.y.len().saturating_sub(batch * self.hidden)..];
        let y = match y {
            Kind::Sequence(_) => &self.expected.y[..],
            Kind::Last(_) if self.case.time == 0 => &self.expected.h,
            Kind::Last(_) => last,
            Kind::StateOnly => &[],
        };
        for (name, expected, found) in
            [("y", y, &found.y), ("h", &self.expected.h, &found.h), ("c", &self.expected.c, &found.c)]
        {
            if expected.len() != found.len() {
                return Err(format!("{name}: expected {} values, found {}", expected.len(), found.len()));
            }
            for (i, (e, f)) in expected.iter().zip(found).enumerate() {
                let off = (e - f.to_f64()).abs();
                if off.is_nan() || off > self.bound {
                    return Err(format!(
                        "{name}, value {i}: expected {e}, found {f:?}: off by {off:e}, bound {:e}",
                        self.bound
                    ));
                }
            }
        }
        Ok(())
    }
}

fn check<T: Value>(case: Case) -> Result<(), TestCaseError> {
    for options in everything() {
        let problem = Problem::<T>::new(case, lanes::<T>(options));
        // In f32, a thousandth of what outputs reach: a bound that says less would let anything pass. Few draws have one.
        prop_assume!(problem.bound < 16_000.0 * (T::ROUNDING + f64::ROUNDING));
        let result = problem.compare(&problem.run(options));
        prop_assert!(result.is_ok(), "{options:?}: {}", result.unwrap_err());
    }
    Ok(())
}

fn lanes<T: Value>(options: Options) -> usize {
    T::lanes(options.isa.expect("one was chosen"))
}

proptest! {
    #![proptest_config(proptest(1000))]

    #[test]
    fn f32_agrees_with_the_reference(case in cases()) {
        check::<f32>(case)?;
    }

    #[test]
    fn f64_agrees_with_the_reference(case in cases()) {
        check::<f64>(case)?;
    }
}

/// A small case of every cell, to be spoilt.
fn problems() -> Vec<Problem<f32>> {
    let case = |cell| Case {
        cell,
        bias: Bias::Both,
        update: UpdateGate::KeepsPast,
        vectors: 2,
        more: 1,
        input: 3,
        time: 3,
        batch: 2,
        x: Layout::TimeMajor,
        y: Kind::Sequence(Layout::TimeMajor),
        initial: true,
        used: false,
        seed: 11,
    };
    CELLS.into_iter().map(|cell| Problem::new(case(cell), 4)).collect()
}

#[test]
fn a_wrong_weight_is_noticed() {
    for mut problem in problems() {
        let options = everything()[0];
        assert_eq!(problem.compare(&problem.run(options)), Ok(()));
        let good = problem.model.clone();
        let gates = problem.case.cell.gates();
        for gate in 0..gates {
            let row = gate * problem.hidden + 3;
            let spoil: [fn(&mut Model<f32>, usize); 4] = [
                |model, row| model.w[row * model.input + 1] += 0.1,
                |model, row| model.r[row * model.hidden + 5] += 0.1,
                |model, row| model.b_w.as_mut().unwrap()[row] += 0.05,
                |model, row| model.b_r.as_mut().unwrap()[row] += 0.05,
            ];
            for (i, spoil) in spoil.iter().enumerate() {
                spoil(&mut problem.model, row);
                assert!(problem.compare(&problem.run(options)).is_err(), "{:?}, gate {gate}, array {i}", good.cell);
                problem.model = good.clone();
            }
        }
    }
}

#[test]
fn a_wrong_value_is_noticed() {
    for problem in problems() {
        let good = problem.run(everything()[0]);
        let spoil: [fn(&mut Found<f32>); 5] = [
            |found| found.y[7] += 1e-3,
            |found| found.y[7] = f32::NAN,
            |found| found.h[7] += 1e-3,
            |found| found.h.truncate(1),
            |found| found.c.push(0.0),
        ];
        for spoil in spoil {
            let mut found = good.clone();
            spoil(&mut found);
            assert!(problem.compare(&found).is_err());
        }
    }
}
