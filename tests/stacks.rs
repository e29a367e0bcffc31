//! Stacks and streams: against the naive reference, and to the bit against their layers run one by one.

mod common;
mod reference;

use common::choice::{Choice, Chosen, choices};
use common::model::{Bias, CELLS};
use common::numbers::{Canaries, Random, assert_same, proptest};
use common::strides::{LAYOUTS, Layout};
use common::{Value, on_one_thread};
use gatefold::cell::Cell;
use gatefold::seq::{MatMut, MatRef, SeqMut, SeqRef, directions_mut, time_major};
use gatefold::{
    Backend, Direction, Forward, Input, Isa, Layer, Level, Masked, Merge, Order, Output, Stack, StackState,
    StackWorkspace, Stream,
};
use proptest::prelude::*;
use proptest::sample::select;
use reference::stack;

const MERGES: [Merge; 4] = [Merge::Concat, Merge::Sum, Merge::Mul, Merge::Average];

/// Which rows take part in which steps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    All,
    Lengths,
    Packed,
    Mask(Masked),
}

/// What is drawn of one level.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    cells: [Cell; 2],
    choice: Choice,
    hidden: usize,
    /// In both directions, merged so.
    merge: Option<Merge>,
    /// Of a level in one.
    direction: Direction,
}

#[derive(Clone, Debug)]
struct Case {
    levels: Vec<Drawn>,
    time: usize,
    batch: usize,
    part: Part,
    layout: Layout,
    last: bool,
    isa: Isa,
    seed: u64,
}

prop_compose! {
    fn levels()(
        (a, b) in (select(CELLS.to_vec()), select(CELLS.to_vec())),
        choice in choices(),
        hidden in select(vec![1usize, 3, 8, 17]),
        merge in prop::option::weighted(0.6, select(MERGES.to_vec())),
        direction in select(vec![
            Direction::Forward, Direction::Reverse(Order::Input), Direction::Reverse(Order::Processing),
        ]),
    ) -> Drawn {
        // Bounded activations: what a level takes is what the one below gives. Without a projection both directions
        // give the same channels.
        let choice = Choice { activations: None, projection: None, ..choice };
        Drawn { cells: [a, b], choice, hidden, merge, direction }
    }
}

prop_compose! {
    fn cases()(
        levels in prop::collection::vec(levels(), 1..4),
        time in 0usize..6,
        batch in select(vec![0usize, 1, 2, 7, 9]),
        part in select(vec![
            Part::All, Part::Lengths, Part::Packed, Part::Mask(Masked::Repeat), Part::Mask(Masked::Zero),
        ]),
        layout in select(LAYOUTS.to_vec()),
        last: bool,
        isa in select(Isa::available().to_vec()),
        seed: u64,
    ) -> Case {
        let mut levels = levels;
        let part = if part == Part::Packed && time * batch == 0 { Part::All } else { part };
        for level in &mut levels {
            level.choice.attended &= part != Part::Packed;
            if matches!(part, Part::Lengths | Part::Packed) && level.direction != Direction::Forward {
                level.direction = Direction::Reverse(Order::Input);
            }
        }
        Case { levels, time, batch, part, layout, last, isa, seed }
    }
}

const INPUT: usize = 3;

/// Every output, and the last one.
type Both<T> = (Forward<T>, Forward<T>);

/// A stack, for the library and for the reference, and what it is run over.
struct Problem<T> {
    case: Case,
    stack: Stack<T>,
    levels: Vec<stack::Level>,
    attended: bool,
    x: Vec<T>,
    attention: Vec<T>,
    lengths: Vec<usize>,
    mask: Vec<bool>,
    state: StackState<T>,
}

impl<T: Value> Problem<T> {
    fn new(case: Case) -> Self {
        let (mut levels, mut references, mut input, mut attended) = (vec![], vec![], INPUT, false);
        for (i, level) in case.levels.iter().enumerate() {
            let mut make = |which: usize| {
                let seed = case.seed.wrapping_add((2 * i + which) as u64);
                let sizes = [input, level.hidden];
                let chosen = Chosen::<T>::random(level.cells[which], sizes, Bias::Both, level.choice, seed);
                attended |= chosen.choice.attended;
                let layer = Layer::new(chosen.weights(), on_one_thread(Backend::Native, case.isa)).unwrap();
                (layer, chosen.reference())
            };
            let (layer, of_layer) = make(0);
            let (level, reference) = match level.merge {
                Some(merge) => {
                    let (backward, of_backward) = make(1);
                    let both = Box::new([of_layer, of_backward]);
                    let level = Level::bidirectional(layer, backward, merge).unwrap();
                    (level, stack::Level::Both(both, of_merge(merge)))
                }
                None => {
                    let reference = stack::Level::One(Box::new(of_layer), of_direction(level.direction));
                    let level = match level.direction {
                        Direction::Forward => layer.into(),
                        Direction::Reverse(order) => Level::reverse(layer, order),
                    };
                    (level, reference)
                }
            };
            input = level.output();
            levels.push(level);
            references.push(reference);
        }
        let stack = Stack::new(levels).unwrap();
        let Case { time, batch, .. } = case;
        let mut random = Random(!case.seed);
        let mut lengths: Vec<usize> = (0..batch).map(|_| random.below(time + 1)).collect();
        if case.part == Part::Packed {
            lengths.iter_mut().for_each(|length| *length = (*length).max(1));
            lengths.sort_by_key(|&length| std::cmp::Reverse(length));
            lengths[0] = time;
        }
        let mask = (0..time * batch).map(|_| random.below(3) > 0).collect();
        let (x, attention) = (random.values(time * batch * INPUT, 1.0), random.values(time * batch, 1.0));
        let mut state = stack.state(batch).unwrap();
        state.set_h(&random.values(state.h_to_vec().len(), 1.0)).unwrap();
        state.set_c(&random.values(state.c_to_vec().len(), 1.0)).unwrap();
        Problem { case, stack, levels: references, attended, x, attention, lengths, mask, state }
    }

    /// The input, of x and batch sizes that were packed before, if it is.
    fn input<'a>(&'a self, x: Input<'a, T>, attended: bool) -> Input<'a, T> {
        let Case { time, batch, part, .. } = self.case;
        let x = match part {
            Part::All | Part::Packed => x,
            Part::Lengths => x.lengths(&self.lengths),
            Part::Mask(masked) => x.mask(time_major(&self.mask, [time, batch, 1]).unwrap(), masked),
        };
        match attended {
            true => x.attention(time_major(&self.attention, [time, batch, 1]).unwrap()),
            false => x,
        }
    }

    fn batch_sizes(&self) -> Vec<usize> {
        (0..self.case.time).map(|t| self.lengths.iter().filter(|&&length| t < length).count()).collect()
    }

    /// The rows of `[T, N, C]` that packed steps have.
    fn pack(&self, values: &[T], channels: usize) -> Vec<T> {
        let batch = self.case.batch;
        let steps = self.batch_sizes().into_iter().enumerate();
        let rows = steps.flat_map(|(t, size)| (0..size).map(move |n| t * batch + n));
        rows.flat_map(|row| values[row * channels..][..channels].to_vec()).collect()
    }

    /// y `[T, N, C]`, or as many rows as packed steps have, or `[N, C]`; the state.
    fn run(&self) -> (Vec<T>, StackState<T>) {
        let Case { time, batch, layout, last, part, .. } = self.case;
        let sizes = [time, batch, INPUT];
        let memory = layout.memory(sizes).holding(&self.x);
        let (data, batch_sizes) = (self.pack(&self.x, INPUT), self.batch_sizes());
        let rows = data.len() / INPUT;
        let packed = part == Part::Packed;
        let x = if packed {
            Input::packed(MatRef::dense(&data, rows, INPUT).unwrap(), &batch_sizes)
        } else {
            Input::from(SeqRef::new(&memory.data, layout.shape(sizes)).unwrap())
        };
        let (mut state, channels) = (self.state.clone(), self.stack.output());
        let sizes = [time, batch, channels];
        let mut out;
        let y = if last {
            out = Canaries::rows(batch, channels, channels + 2);
            Output::Last(MatMut::new(&mut out.data, batch, channels, channels + 2).unwrap())
        } else if packed {
            out = Canaries::rows(rows, channels, channels + 1);
            Output::Packed(MatMut::new(&mut out.data, rows, channels, channels + 1).unwrap())
        } else {
            out = layout.memory(sizes);
            Output::Sequence(SeqMut::new(&mut out.data, layout.shape(sizes)).unwrap())
        };
        let mut workspace = StackWorkspace::new();
        self.stack.forward_into(self.input(x, self.attended), &mut state, y, &mut workspace).unwrap();
        (out.take("y"), state)
    }

    /// The same by the layers one by one, outputs merged here.
    fn by_layers(&self) -> (Vec<T>, Vec<T>, Vec<T>, Vec<T>) {
        let Case { time, batch, part, .. } = self.case;
        let mut states = self.state.states().iter();
        let (mut x, mut last, mut h, mut c, mut channels) = (self.x.clone(), vec![], vec![], vec![], INPUT);
        for level in self.stack.levels() {
            let both = level.directions() == 2;
            let mut runs = vec![];
            for (layer, direction) in level.layers() {
                let state = states.next().unwrap();
                let view = Input::from(time_major(&x, [time, batch, channels]).unwrap());
                let mut input = self.input(view, layer.dims().variant.attention);
                if part == Part::Packed {
                    input = input.lengths(&self.lengths);
                }
                if let (true, Part::Mask(_)) = (both, part) {
                    input = input.mask(time_major(&self.mask, [time, batch, 1]).unwrap(), Masked::Zero);
                }
                if let Direction::Reverse(order) = direction {
                    input = input.reverse(order);
                }
                let run = layer.forward(input, Some(state)).unwrap();
                h.extend(run.state.h_to_vec());
                c.extend(run.state.c_to_vec().unwrap_or_default());
                runs.push((run, layer.forward_last(input, Some(state)).unwrap()));
            }
            let of = |pick: fn(&Both<T>) -> &Vec<T>| {
                let (merge, a) = (merge_of(level), pick(&runs[0]));
                runs.get(1).map_or(a.clone(), |b| merged(merge, a, pick(b), level))
            };
            (x, last) = (of(|run| &run.0.y), of(|run| &run.1.y));
            channels = level.output();
        }
        (x, last, h, c)
    }

    /// By the reference: y, last, h, c.
    fn by_reference(&self) -> [Vec<f64>; 4] {
        let Case { time, batch, part, .. } = self.case;
        let exact = |values: &[T]| values.iter().map(|v| v.to_f64()).collect::<Vec<_>>();
        let masked = |masked| match masked {
            Masked::Repeat => reference::Masked::Repeat,
            Masked::Zero => reference::Masked::Zero,
        };
        let rows = match part {
            Part::All => reference::Rows::All,
            Part::Lengths | Part::Packed => reference::Rows::Lengths(self.lengths.clone()),
            Part::Mask(how) => reference::Rows::Mask(self.mask.clone(), masked(how)),
        };
        let walk = reference::Walk { rows, attention: exact(&self.attention), ..reference::Walk::default() };
        let sequence = reference::Sequence {
            time,
            batch,
            x: exact(&self.x),
            flush: T::FLUSH.to_f64(),
            ..reference::Sequence::default()
        };
        let states = self.state.states().iter();
        let initial: Vec<_> =
            states.map(|state| (Some(exact(&state.h_to_vec())), state.c_to_vec().map(|c| exact(&c)))).collect();
        stack::run(&self.levels, &sequence, &walk, &initial)
    }
}

fn of_merge(merge: Merge) -> stack::Merge {
    match merge {
        Merge::Concat => stack::Merge::Concat,
        Merge::Sum => stack::Merge::Sum,
        Merge::Mul => stack::Merge::Mul,
        Merge::Average => stack::Merge::Average,
    }
}

fn of_direction(direction: Direction) -> reference::Direction {
    match direction {
        Direction::Forward => reference::Direction::Forward,
        Direction::Reverse(Order::Input) => reference::Direction::Reverse(reference::Order::Input),
        Direction::Reverse(Order::Processing) => reference::Direction::Reverse(reference::Order::Processing),
    }
}

fn merge_of<T: Value>(level: &Level<T>) -> Merge {
    match level {
        Level::Both { merge, .. } => *merge,
        _ => Merge::Concat,
    }
}

/// Rows of both directions, merged.
fn merged<T: Value>(merge: Merge, a: &[T], b: &[T], level: &Level<T>) -> Vec<T> {
    let half = if merge == Merge::Concat { level.output() / 2 } else { level.output() };
    let pairs = a.iter().zip(b);
    match merge {
        Merge::Concat => a.chunks_exact(half).zip(b.chunks_exact(half)).flat_map(|(a, b)| [a, b].concat()).collect(),
        Merge::Sum => pairs.map(|(&a, &b)| a + b).collect(),
        Merge::Mul => pairs.map(|(&a, &b)| a * b).collect(),
        Merge::Average => pairs.map(|(&a, &b)| (a + b) * T::from_f64(0.5)).collect(),
    }
}

/// Half a unit in the last place of 1, so often: the bits are compared with layers, whose errors `options` bounds, so that
/// this is to find wrong equations. In some ten thousand draws no value was further off than 15 of them.
const ROUNDINGS: f64 = 100.0;

fn check<T: Value>(case: &Case) -> Result<(), TestCaseError> {
    let problem = Problem::<T>::new(case.clone());
    let (y, state) = problem.run();
    let (all, last, h, c) = problem.by_layers();
    let packed = case.part == Part::Packed;
    let expected = match (case.last, packed) {
        (true, _) => last,
        (false, false) => all,
        (false, true) => problem.pack(&all, problem.stack.output()),
    };
    assert_same(&expected, &y, "y");
    assert_same(&h, &state.h_to_vec(), "h");
    assert_same(&c, &state.c_to_vec(), "c");

    let [y, last, h_exact, c_exact] = problem.by_reference();
    let y = if case.last { last } else { y };
    let found = if packed && !case.last { problem.by_layers().0 } else { expected };
    for (name, expected, found) in [("y", y, found), ("h", h_exact, h), ("c", c_exact, c)] {
        prop_assert_eq!(expected.len(), found.len());
        for (e, f) in expected.iter().zip(&found) {
            let off = (e - f.to_f64()).abs();
            prop_assert!(off <= ROUNDINGS * T::ROUNDING, "{}: expected {}, found {:?}", name, e, f);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(proptest(1000))]

    #[test]
    fn stacks_are_their_layers_f32(case in cases()) {
        check::<f32>(&case)?;
    }

    #[test]
    fn stacks_are_their_layers_f64(case in cases()) {
        check::<f64>(&case)?;
    }
}

fn one_layer(cell: Cell, sizes: [usize; 2], choice: Choice, seed: u64) -> Layer<f32> {
    let chosen = Chosen::random(cell, sizes, Bias::Both, choice, seed);
    Layer::new(chosen.weights(), on_one_thread(Backend::Native, Isa::available()[0])).unwrap()
}

/// Two layers in one direction.
fn two_layers(choice: Choice) -> impl Iterator<Item = Stack<f32>> {
    let attended = Choice { attended: false, ..choice };
    CELLS.into_iter().map(move |cell| {
        let below = one_layer(cell, [4, 9], attended, 1);
        let above = one_layer(Cell::Lstm, [below.dims().output(), 17], attended, 2);
        Stack::new(vec![below.into(), above.into()]).unwrap()
    })
}

#[test]
fn a_stream_has_the_bits_of_the_whole() {
    let (time, batch) = (13, 3);
    let x: Vec<f32> = Random(3).values(time * batch * 4, 1.0);
    let clipped = Choice { clip: Some(0.5), peepholes: true, projection: Some(5), ..Choice::default() };
    for stack in two_layers(Choice::default()).chain(two_layers(clipped)) {
        let stack = std::sync::Arc::new(stack);
        let whole = stack.forward(time_major(&x, [time, batch, 4]).unwrap(), None).unwrap();
        let channels = stack.output();
        for chunk in [1, 2, 5, 13] {
            let mut stream = Stream::new(stack.clone(), batch, chunk).unwrap();
            // The second time after a reset.
            for _ in 0..2 {
                let mut y = vec![f32::NAN; time * batch * channels];
                let frames = x.chunks(chunk * batch * 4).zip(y.chunks_mut(chunk * batch * channels));
                frames.for_each(|(x, y)| stream.push(x, y).unwrap());
                stream.push(&[], &mut []).unwrap();
                assert_same(&whole.y, &y, "y");
                assert_same(&whole.state.h_to_vec(), &stream.state().h_to_vec(), "h");
                assert_same(&whole.state.c_to_vec(), &stream.state().c_to_vec(), "c");
                stream.reset();
            }
        }
    }
}

#[test]
fn a_stream_goes_on_from_a_snapshot() {
    let (time, batch) = (10, 2);
    let x: Vec<f32> = Random(4).values(time * batch * 4, 1.0);
    for stack in two_layers(Choice::default()) {
        let mut stream = Stream::new(stack, batch, time).unwrap();
        let mut y = vec![f32::NAN; time * batch * 17];
        let (half, of_y) = (x.len() / 2, y.len() / 2);
        stream.push(&x[..half], &mut y[..of_y]).unwrap();
        let bytes = stream.state().to_bytes();
        stream.push(&x[half..], &mut y[of_y..]).unwrap();
        let mut other = Stream::new(stream.stack().clone(), batch, time).unwrap();
        other.state_mut().restore(&bytes).unwrap();
        let mut again = vec![f32::NAN; of_y];
        other.push(&x[half..], &mut again).unwrap();
        assert_same(&y[of_y..], &again, "y");
        assert_eq!(other.state().to_bytes(), stream.state().to_bytes());
    }
}

#[test]
fn directions_apart() {
    let (time, batch) = (5, 3);
    let x: Vec<f32> = Random(5).values(time * batch * 4, 1.0);
    let view = time_major(&x, [time, batch, 4]).unwrap();
    for merge in MERGES {
        let [forward, backward] = [1, 2].map(|seed| one_layer(Cell::Lstm, [4, 9], Choice::default(), seed));
        let a = forward.forward(view, None).unwrap();
        let b = backward.forward(Input::from(view).reverse(Order::Input), None).unwrap();
        let stack = Stack::from(Level::bidirectional(forward, backward, merge).unwrap());
        let (mut state, mut y) = (stack.state(batch).unwrap(), vec![f32::NAN; 2 * time * batch * 9]);
        let outputs = directions_mut(&mut y, [time, batch, 9]).unwrap().map(Output::Sequence);
        stack.forward_apart(view, &mut state, outputs, &mut StackWorkspace::new()).unwrap();
        let found: Vec<&[f32]> = y.chunks_exact(batch * 9).collect();
        for t in 0..time {
            assert_same(&a.y[t * batch * 9..][..batch * 9], found[2 * t], "forward");
            assert_same(&b.y[t * batch * 9..][..batch * 9], found[2 * t + 1], "backward");
        }
        assert_same(&[a.state.h_to_vec(), b.state.h_to_vec()].concat(), &state.h_to_vec(), "h");
    }
}
