//! Layers with options over sequences of which there is more to say, against the naive reference: every cell, activation,
//! element type, backend and instruction set, lengths, masks, packed steps and directions, at sizes around the edges of
//! tiles.

mod common;
mod reference;

use common::bound::rounding_of_options;
use common::choice::{Choice, Chosen, choices};
use common::model::{BIASES, Bias, CELLS};
use common::numbers::{Canaries, Random, Scalar, proptest};
use common::strides::{LAYOUTS, Layout};
use common::{Value, everything};
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::{MatMut, MatRef, SeqMut, SeqRef, time_major};
use gatefold::{Direction, Input, Layer, Masked, Options, Order, Output, State, Workspace};
use proptest::prelude::*;
use proptest::sample::select;
use reference::{Rows, Sequence, Walk, Walked};

/// Which rows take part in which steps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    All,
    Lengths,
    Packed,
    Mask(Masked),
}

const PARTS: [Part; 5] = [Part::All, Part::Lengths, Part::Packed, Part::Mask(Masked::Repeat), Part::Mask(Masked::Zero)];

const DIRECTIONS: [Direction; 3] =
    [Direction::Forward, Direction::Reverse(Order::Input), Direction::Reverse(Order::Processing)];

#[derive(Clone, Copy, Debug)]
struct Case {
    cell: Cell,
    bias: Bias,
    choice: Choice,
    /// Hidden units as whole vectors and some more or less.
    vectors: usize,
    more: isize,
    input: usize,
    time: usize,
    batch: usize,
    part: Part,
    direction: Direction,
    layout: Layout,
    /// The last output only.
    last: bool,
    initial: bool,
    seed: u64,
}

prop_compose! {
    fn cases()(
        cell in select(vec![
            CELLS[0], Cell::Lstm, Cell::Lstm, Cell::Gru { reset: Reset::After }, Cell::Gru { reset: Reset::Before },
        ]),
        bias in select(BIASES.to_vec()),
        choice in choices(),
        (vectors, more) in (select(vec![0usize, 1, 1, 2]), -1isize..=1),
        input in select(vec![1usize, 2, 3, 17]),
        time in 0usize..=5,
        batch in select(vec![0usize, 1, 2, 7, 8, 9]),
        part in select(PARTS.to_vec()),
        direction in select(DIRECTIONS.to_vec()),
        layout in select(LAYOUTS.to_vec()),
        last: bool,
        initial: bool,
        seed: u64,
    ) -> Case {
        let ends = matches!(part, Part::Lengths | Part::Packed);
        let direction = match direction {
            Direction::Reverse(_) if ends => Direction::Reverse(Order::Input),
            other => other,
        };
        let part = if part == Part::Packed && time == 0 { Part::Lengths } else { part };
        Case { cell, bias, choice, vectors, more, input, time, batch, part, direction, layout, last, initial, seed }
    }
}

/// A case for vectors of some length, and what the reference makes of it.
struct Problem<T> {
    case: Case,
    chosen: Chosen<T>,
    /// `[T, N, I]`, NaN where a row takes no part.
    x: Vec<T>,
    /// `[T, N]`, likewise.
    attention: Vec<T>,
    /// `[N]`, from the longest to the shortest for packed steps.
    lengths: Vec<usize>,
    /// `[T, N]`
    mask: Vec<bool>,
    /// `[N, C]`
    h0: Vec<T>,
    /// `[N, H]`
    c0: Vec<T>,
    expected: Walked,
    bound: f64,
}

/// y as `[T, N, C]`, or as `[N, C]` if it is the last one, and the state.
#[derive(Clone, Debug)]
struct Found<T> {
    y: Vec<T>,
    h: Vec<T>,
    c: Vec<T>,
}

fn exact<T: Scalar>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| v.to_f64()).collect()
}

impl<T: Value> Problem<T> {
    /// `None` where numbers grow so much, or a sum is so near a threshold, that a comparison would say nothing.
    fn new(case: Case, lanes: usize) -> Option<Self> {
        let Case { time, batch, input, cell, .. } = case;
        let hidden = (case.vectors * lanes).saturating_add_signed(case.more).max(1);
        let chosen = Chosen::<T>::random(cell, [input, hidden], case.bias, case.choice, case.seed);
        let mut random = Random(!case.seed);
        let mut lengths: Vec<usize> = (0..batch).map(|_| random.below(time + 1)).collect();
        if case.part == Part::Packed {
            lengths.iter_mut().for_each(|length| *length = (*length).max(1));
            lengths.sort_by_key(|&length| std::cmp::Reverse(length));
            lengths[..1.min(batch)].fill(time);
        }
        // Some rows leave out everything.
        let out: Vec<bool> = (0..batch).map(|_| random.below(5) == 0).collect();
        let mask: Vec<bool> = (0..time * batch).map(|i| !out[i % batch] && random.below(3) > 0).collect();
        let takes_part = |t: usize, n: usize| match case.part {
            Part::All => true,
            Part::Lengths | Part::Packed => t < lengths[n],
            Part::Mask(_) => mask[t * batch + n],
        };
        let mut x = random.values::<T>(time * batch * input, 1.0);
        let attended = chosen.choice.attended && case.part != Part::Packed;
        let mut attention: Vec<T> = random.values(if attended { time * batch } else { 0 }, 1.0);
        for i in (0..time * batch).filter(|i| !takes_part(i / batch, i % batch)) {
            x[i * input..][..input].fill(T::NAN);
            attention.iter_mut().skip(i).take(1).for_each(|a| *a = T::NAN);
        }
        let initial = usize::from(case.initial);
        let h0 = random.values(initial * batch * chosen.output(), 1.0);
        let c0 = random.values(if cell == Cell::Lstm { initial * batch * hidden } else { 0 }, 1.0);
        let some = |values: &[T]| (!values.is_empty()).then(|| exact(values));
        let sequence = Sequence { time, batch, x: exact(&x), h0: some(&h0), c0: some(&c0), flush: T::FLUSH.to_f64() };
        let walk = Walk {
            rows: match case.part {
                Part::All => Rows::All,
                Part::Lengths | Part::Packed => Rows::Lengths(lengths.clone()),
                Part::Mask(Masked::Repeat) => Rows::Mask(mask.clone(), reference::Masked::Repeat),
                Part::Mask(Masked::Zero) => Rows::Mask(mask.clone(), reference::Masked::Zero),
            },
            direction: match case.direction {
                Direction::Forward => reference::Direction::Forward,
                Direction::Reverse(Order::Input) => reference::Direction::Reverse(reference::Order::Input),
                Direction::Reverse(Order::Processing) => reference::Direction::Reverse(reference::Order::Processing),
            },
            attention: exact(&attention),
        };
        let (layer, options) = chosen.reference();
        let expected = layer.walk(&options, &sequence, &walk);
        let largest = expected.largest;
        let scale = largest.h.max(largest.c).max(1.0);
        // The reference rounds too, in f64.
        let off = |u| rounding_of_options(&layer, &options, &sequence, &expected, u);
        let bound = off(T::ROUNDING) + off(f64::ROUNDING);
        let near = options.activations.is_some_and(|activations| {
            [-4.0, 4.0].into_iter().any(|times| {
                let moved = activations.map(|activation| match activation {
                    reference::Activation::ThresholdedRelu(alpha) => {
                        reference::Activation::ThresholdedRelu(alpha + times * bound)
                    }
                    other => other,
                });
                let options = reference::Options { activations: Some(moved), ..options.clone() };
                let other = layer.walk(&options, &sequence, &walk);
                (other.h, other.c) != (expected.h.clone(), expected.c.clone())
            })
        });
        let says = bound < 8_000.0 * (T::ROUNDING + f64::ROUNDING) * scale && !near;
        says.then_some(Problem { case, chosen, x, attention, lengths, mask, h0, c0, expected, bound })
    }

    fn state(&self, layer: &Layer<T>) -> State<T> {
        let mut state = layer.state(self.case.batch).unwrap();
        if !self.h0.is_empty() {
            state.set_h(&self.h0).unwrap();
        }
        if !self.c0.is_empty() {
            state.set_c(&self.c0).unwrap();
        }
        state
    }

    fn run(&self, options: Options) -> Found<T> {
        let Case { time, batch, input, part, direction, layout, last, .. } = self.case;
        let layer = Layer::new(self.chosen.weights(), options).unwrap();
        let (mut state, mut workspace) = (self.state(&layer), dirty(options));
        let sizes = [time, batch, input];
        let memory = layout.memory(sizes).holding(&self.x);
        let of_attention = layout.memory([time, batch, 1]);
        let batch_sizes: Vec<usize> =
            (0..time).map(|t| self.lengths.iter().filter(|&&length| t < length).count()).collect();
        let packed = part == Part::Packed && batch > 0;
        let rows = batch_sizes.iter().sum();
        let steps = || (0..time).flat_map(|t| (0..batch_sizes[t]).map(move |n| t * batch + n));
        let data: Vec<T> = steps().flat_map(|row| self.x[row * input..][..input].to_vec()).collect();
        let mut x = if packed {
            Input::packed(MatRef::new(&data, rows, input, input).unwrap(), &batch_sizes)
        } else {
            Input::from(SeqRef::new(&memory.data, layout.shape(sizes)).unwrap())
        };
        x = match part {
            Part::Lengths => x.lengths(&self.lengths),
            Part::Mask(masked) => x.mask(time_major(&self.mask, [time, batch, 1]).unwrap(), masked),
            Part::All | Part::Packed => x,
        };
        let held;
        if self.chosen.choice.attended && part != Part::Packed {
            held = of_attention.holding(&self.attention);
            x = x.attention(SeqRef::new(&held.data, layout.shape([time, batch, 1])).unwrap());
        }
        if let Direction::Reverse(order) = direction {
            x = x.reverse(order);
        }
        let channels = self.chosen.output();
        let mut out;
        let output = if last {
            out = Canaries::rows(batch, channels, channels + 2);
            Output::Last(MatMut::new(&mut out.data, batch, channels, channels + 2).unwrap())
        } else if packed {
            out = Canaries::rows(rows, channels, channels + 1);
            Output::Packed(MatMut::new(&mut out.data, rows, channels, channels + 1).unwrap())
        } else {
            let sizes = [time, batch, channels];
            out = layout.memory(sizes);
            Output::Sequence(SeqMut::new(&mut out.data, layout.shape(sizes)).unwrap())
        };
        layer.forward_into(x, &mut state, output, &mut workspace).unwrap();
        let mut y = out.take("y");
        if packed && !last {
            let mut padded = vec![T::ZERO; time * batch * channels];
            for (row, y) in steps().zip(y.chunks_exact(channels)) {
                padded[row * channels..][..channels].copy_from_slice(y);
            }
            y = padded;
        }
        Found { y, h: state.h_to_vec(), c: state.c_to_vec().unwrap_or_default() }
    }

    /// Compares with the reference, within the bound.
    fn compare(&self, found: &Found<T>) -> Result<(), String> {
        let Walked { y, last, h, c, .. } = &self.expected;
        let y = if self.case.last { last } else { y };
        for (name, expected, found) in [("y", y, &found.y), ("h", h, &found.h), ("c", c, &found.c)] {
            if expected.len() != found.len() {
                return Err(format!("{name}: expected {} values, found {}", expected.len(), found.len()));
            }
            for (i, (e, f)) in expected.iter().zip(found).enumerate() {
                let off = (e - f.to_f64()).abs();
                if off.is_nan() || off > self.bound {
                    let bound = self.bound;
                    return Err(format!(
                        "{name}, value {i}: expected {e}, found {f:?}: off by {off:e}, bound {bound:e}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// A workspace in which another layer left NaN.
fn dirty<T: Value>(options: Options) -> Workspace<T> {
    let choice = Choice { peepholes: true, ..Choice::default() };
    let chosen = Chosen::<T>::random(Cell::Lstm, [3, 29], Bias::Both, choice, 0);
    let other = Layer::new(chosen.weights(), options).unwrap();
    let (x, mut workspace) = (vec![T::NAN; 2 * 9 * 3], Workspace::new());
    let x = Input::from(time_major(&x, [2, 9, 3]).unwrap()).lengths(&[2, 2, 2, 2, 1, 1, 0, 0, 0]);
    other.forward_into(x, &mut other.state(9).unwrap(), Output::StateOnly, &mut workspace).unwrap();
    workspace
}

fn check<T: Value>(mut case: Case) -> Result<(), TestCaseError> {
    // A packed sequence has no attention.
    case.choice.attended &= case.part != Part::Packed;
    for options in everything() {
        let lanes = T::lanes(options.isa.expect("one was chosen"));
        let Some(problem) = Problem::<T>::new(case, lanes) else {
            return Err(TestCaseError::reject("the numbers say nothing"));
        };
        let result = problem.compare(&problem.run(options));
        prop_assert!(result.is_ok(), "{options:?}: {}", result.unwrap_err());
    }
    Ok(())
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

#[test]
fn numbers_that_overflow_say_nothing() {
    let choice = Choice {
        activations: Some([Activation::Exponential, Activation::Sigmoid, Activation::Sigmoid]),
        attended: true,
        ..Choice::default()
    };
    let case = Case {
        cell: Cell::Gru { reset: Reset::After },
        bias: Bias::Recurrent,
        choice,
        vectors: 0,
        more: 0,
        input: 17,
        time: 4,
        batch: 9,
        part: Part::All,
        direction: Direction::Forward,
        layout: Layout::TimeMajor,
        last: false,
        initial: false,
        seed: 12974042056146563323,
    };
    assert!(Problem::<f32>::new(case, 16).is_none());
}

/// A small case of every cell with every option that it can have, to be spoilt.
fn problems() -> Vec<Problem<f32>> {
    let hard = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };
    let choice = Choice {
        activations: Some([hard, Activation::Softsign, Activation::Softsign]),
        clip: Some(0.9),
        peepholes: true,
        coupled: false,
        projection: Some(7),
        attended: true,
    };
    let case = |cell| Case {
        cell,
        bias: Bias::Both,
        choice,
        vectors: 2,
        more: 1,
        input: 3,
        time: 3,
        batch: 5,
        part: Part::Mask(Masked::Repeat),
        direction: Direction::Reverse(Order::Input),
        layout: Layout::TimeMajor,
        last: false,
        initial: true,
        seed: 11,
    };
    CELLS.into_iter().map(|cell| Problem::new(case(cell), 4).expect("numbers that say something")).collect()
}

/// Makes a problem another one.
type Spoil = fn(&mut Problem<f32>);

#[test]
fn a_wrong_option_is_noticed() {
    let spoil: [(&str, Spoil); 9] = [
        ("of gates", |p| p.chosen.choice.activations.as_mut().unwrap()[0] = Activation::Tanh),
        ("of the candidate", |p| p.chosen.choice.activations.as_mut().unwrap()[1] = Activation::Tanh),
        ("of the cell", |p| p.chosen.choice.activations.as_mut().unwrap()[2] = Activation::Tanh),
        ("clip", |p| p.chosen.choice.clip = Some(0.3)),
        ("peepholes", |p| p.chosen.peepholes.iter_mut().for_each(|values| values.swap(1, 3))),
        ("projection", |p| p.chosen.projection.iter_mut().for_each(|values| values.swap(1, 8))),
        ("attention", |p| p.attention.iter_mut().for_each(|a| *a += 0.01)),
        ("mask", |p| p.mask.iter_mut().for_each(|takes_part| *takes_part = !*takes_part)),
        ("direction", |p| p.case.direction = Direction::Reverse(Order::Processing)),
    ];
    for (what, spoil) in spoil {
        for mut problem in problems() {
            let options = everything()[0];
            assert_eq!(problem.compare(&problem.run(options)), Ok(()));
            spoil(&mut problem);
            let (is_lstm, is_gru) = (problem.case.cell == Cell::Lstm, matches!(problem.case.cell, Cell::Gru { .. }));
            let counts = match what {
                "of the candidate" => is_lstm || is_gru,
                "of the cell" | "peepholes" | "projection" => is_lstm,
                "attention" => is_gru,
                _ => true,
            };
            let same = problem.compare(&problem.run(options)).is_ok();
            assert_eq!(same, !counts, "{what} of {:?}", problem.case.cell);
        }
    }
}
