//! Promise 2 for layers with options, for sequences with lengths, masks and packed steps, for stacks and streams; and a
//! workspace is enough for every call that is no longer and no wider than those that it was made for. One test alone in its
//! process.

mod common;
mod counting;
mod reference;

use common::choice::{Choice, Chosen};
use common::model::{Bias, CELLS};
use counting::allocations;
#[cfg(feature = "rayon")]
use gatefold::cell::Reset;
use gatefold::cell::{Activation, Cell};
use gatefold::seq::{MatMut, MatRef, time_major, time_major_mut};
use gatefold::{
    Input, Isa, Layer, Level, Masked, Merge, Options, Order, Output, Stack, StackWorkspace, State, Stream, Threads,
    Workspace,
};

const INPUT: usize = 9;

fn some_choices() -> [Choice; 3] {
    let [hard, soft] = [Activation::HardSigmoid { alpha: 0.2, beta: 0.5 }, Activation::Softsign];
    let all = Choice {
        activations: Some([hard, Activation::Gelu, soft]),
        clip: Some(0.7),
        peepholes: true,
        coupled: true,
        projection: Some(11),
        attended: true,
    };
    [Choice::default(), all, Choice { activations: None, projection: None, attended: false, ..all }]
}

fn layer(cell: Cell, [input, hidden]: [usize; 2], choice: Choice, isa: Isa, threads: Threads) -> Layer<f32> {
    let weights = Chosen::random(cell, [input, hidden], Bias::Both, choice, 1).weights();
    Layer::new(weights, Options { isa: Some(isa), threads, ..Options::default() }).unwrap()
}

/// Which rows take part in which steps.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    All,
    Lengths,
    Mask,
    Packed,
}

const PARTS: [Part; 4] = [Part::All, Part::Lengths, Part::Mask, Part::Packed];

/// What calls of one size read and write.
struct Memory {
    time: usize,
    batch: usize,
    channels: usize,
    x: Vec<f32>,
    attention: Vec<f32>,
    lengths: Vec<usize>,
    mask: Vec<bool>,
    /// Half of the rows end halfway.
    batch_sizes: Vec<usize>,
    y: Vec<f32>,
}

impl Memory {
    fn new([time, batch, input, channels]: [usize; 4]) -> Self {
        let batch_sizes: Vec<usize> = (0..time).map(|t| if t <= time / 2 { batch } else { batch / 2 }).collect();
        Memory {
            time,
            batch,
            channels,
            x: vec![0.5; time * batch * input],
            attention: vec![0.25; time * batch],
            lengths: (0..batch).map(|n| (n * 7) % (time + 1)).collect(),
            mask: (0..time * batch).map(|i| i % 3 > 0).collect(),
            batch_sizes,
            y: vec![f32::NAN; time.max(1) * batch * channels],
        }
    }

    /// Calls `f` with an input and an output of each kind.
    fn calls(&mut self, part: Part, attended: bool, reverse: bool, mut f: impl FnMut(Input<'_, f32>, Output<'_, f32>)) {
        let Memory { time, batch, channels, x, y, .. } = self;
        let (time, batch, channels) = (*time, *batch, *channels);
        let input = x.len().checked_div(time * batch).unwrap_or(INPUT);
        let rows: usize = self.batch_sizes.iter().sum();
        let whole = Input::from(time_major(x, [time, batch, input]).unwrap());
        let mut x = match part {
            Part::All => whole,
            Part::Lengths => whole.lengths(&self.lengths),
            Part::Mask => whole.mask(time_major(&self.mask, [time, batch, 1]).unwrap(), Masked::Repeat),
            Part::Packed => Input::packed(MatRef::dense(&x[..rows * input], rows, input).unwrap(), &self.batch_sizes),
        };
        if attended {
            x = x.attention(time_major(&self.attention, [time, batch, 1]).unwrap());
        }
        if reverse {
            x = x.reverse(Order::Input);
        }
        f(
            x,
            match part {
                Part::Packed => Output::Packed(MatMut::dense(&mut y[..rows * channels], rows, channels).unwrap()),
                _ => Output::Sequence(
                    time_major_mut(&mut y[..time * batch * channels], [time, batch, channels]).unwrap(),
                ),
            },
        );
        f(x, Output::Last(MatMut::dense(&mut y[..batch * channels], batch, channels).unwrap()));
        f(x, Output::StateOnly);
    }
}

/// Calls of a layer, with everything else made before.
fn run(layer: &Layer<f32>, memory: &mut Memory, part: Part, state: &mut State<f32>, workspace: &mut Workspace<f32>) {
    for reverse in [false, true] {
        memory.calls(part, layer.dims().variant.attention, reverse, |x, y| {
            layer.forward_into(x, state, y, workspace).unwrap();
        });
    }
}

const HIDDEN: usize = 64;
/// What a workspace is made for: 256 rows of four gates are computed ahead, of 33 rows 231 in 7 steps.
const LARGEST: [usize; 2] = [20, 33];
/// T and N of calls; of 32 rows 256 in 8 steps.
const SIZES: [[usize; 2]; 8] = [LARGEST, [20, 1], [1, 33], [19, 13], [9, 32], [1, 1], [0, 3], [3, 0]];

fn on_one_thread(cell: Cell, choice: Choice, isa: Isa) {
    let layer = layer(cell, [INPUT, HIDDEN], choice, isa, Threads::One);
    for [time, batch] in SIZES {
        for part in PARTS {
            if part == Part::Packed && (time * batch == 0 || layer.dims().variant.attention) {
                continue;
            }
            let mut memory = Memory::new([time, batch, INPUT, layer.dims().output()]);
            let mut state = layer.state(batch).unwrap();
            let what = format!("{cell:?} with {choice:?} on {} over {part:?} of [{time}, {batch}]", isa.name());
            let mut fresh = layer.workspace(LARGEST[0], LARGEST[1]).unwrap();
            let count = allocations(|| run(&layer, &mut memory, part, &mut state, &mut fresh));
            assert_eq!(count, 0, "{what}, in a workspace for more");
            let mut used = Workspace::new();
            run(&layer, &mut memory, part, &mut state, &mut used);
            let count = allocations(|| run(&layer, &mut memory, part, &mut state, &mut used));
            assert_eq!(count, 0, "{what}, in a workspace that was used");
        }
    }
}

/// Narrower and shorter calls are cut into fewer parts, of more rows each.
#[cfg(feature = "rayon")]
fn in_a_pool(cell: Cell, choice: Choice) {
    let layer = layer(cell, [32, 48], choice, Isa::available()[0], Threads::Pool);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    pool.install(|| {
        assert_eq!(layer.plan(24, 32).parts, 3, "the batch is large enough to be shared");
        for [time, batch] in [[24, 32], [24, 23], [24, 15], [1, 32], [3, 31]] {
            for part in [Part::All, Part::Mask] {
                let mut memory = Memory::new([time, batch, 32, layer.dims().output()]);
                let make = || (layer.state(batch).unwrap(), layer.workspace(24, 32).unwrap());
                // Threads that were never woken allocate.
                let (mut state, mut workspace) = make();
                run(&layer, &mut memory, part, &mut state, &mut workspace);
                let count = counting::allocations_of_all_with(make, |(state, workspace)| {
                    run(&layer, &mut memory, part, state, workspace);
                });
                let parts = layer.plan(time, batch).parts;
                assert_eq!(count, 0, "{cell:?} with {choice:?} over {part:?} of [{time}, {batch}] in {parts} parts");
            }
        }
    });
}

fn stacks(cell: Cell, choice: Choice, merge: Merge) {
    let make = |input| layer(cell, [input, HIDDEN], choice, Isa::available()[0], Threads::One);
    let below = Level::bidirectional(make(INPUT), make(INPUT), merge).unwrap();
    let between = below.output();
    let above = Level::bidirectional(make(between), make(between), merge).unwrap();
    let attended = make(INPUT).dims().variant.attention;
    let stack = Stack::new(vec![below, above]).unwrap();
    for [time, batch] in SIZES {
        for part in PARTS {
            if part == Part::Packed && (time * batch == 0 || attended) {
                continue;
            }
            let mut memory = Memory::new([time, batch, INPUT, stack.output()]);
            let mut state = stack.state(batch).unwrap();
            let mut run = |workspace: &mut StackWorkspace<f32>| {
                memory.calls(part, attended, false, |x, y| {
                    stack.forward_into(x, &mut state, y, workspace).unwrap();
                });
            };
            let mut fresh = stack.workspace(LARGEST[0], LARGEST[1]).unwrap();
            let count = allocations(|| run(&mut fresh));
            assert_eq!(count, 0, "a stack of {cell:?} with {choice:?}, {merge:?}, over {part:?} of [{time}, {batch}]");
            let mut used = StackWorkspace::new();
            run(&mut used);
            assert_eq!(allocations(|| run(&mut used)), 0, "in a workspace that was used");
        }
    }
}

fn streams(cell: Cell, choice: Choice) {
    let choice = Choice { attended: false, ..choice };
    let make = |input| layer(cell, [input, HIDDEN], choice, Isa::available()[0], Threads::One);
    let below = make(INPUT);
    let above = make(below.dims().output());
    let stack = Stack::new(vec![below.into(), above.into()]).unwrap();
    let (batch, chunk, channels) = (3, 40, stack.output());
    let mut stream = Stream::new(stack, batch, chunk).unwrap();
    let (x, mut y) = (vec![0.5; chunk * batch * INPUT], vec![0.0; chunk * batch * channels]);
    let count = allocations(|| {
        for time in [1, 40, 0, 17, 1] {
            stream.push(&x[..time * batch * INPUT], &mut y[..time * batch * channels]).unwrap();
        }
        stream.reset();
    });
    assert_eq!(count, 0, "a stream of {cell:?} with {choice:?}");
}

#[test]
fn nothing_is_allocated() {
    assert!(allocations(|| drop(std::hint::black_box(vec![0u8; 100]))) > 0, "the allocator counts");
    for cell in CELLS {
        for (i, choice) in some_choices().into_iter().enumerate() {
            // What is reserved depends on an instruction set by the width of its panels alone.
            let isas = if i == 0 { Isa::available() } else { &Isa::available()[..1] };
            for &isa in isas {
                on_one_thread(cell, choice, isa);
            }
            stacks(cell, choice, if i == 1 { Merge::Sum } else { Merge::Concat });
            streams(cell, choice);
        }
    }
    #[cfg(feature = "rayon")]
    for (cell, choice) in [Cell::Lstm, Cell::Gru { reset: Reset::Before }].into_iter().zip(some_choices()) {
        in_a_pool(cell, choice);
    }
}
