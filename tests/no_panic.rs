//! No lengths, masks, batch sizes, attention, levels or frames lead to a panic, and a refusal writes nothing.

mod common;
mod reference;

use common::model::{Bias, CELLS, Model};
use common::numbers::{Scalar, proptest};
use gatefold::cell::{Activation, Cell};
use gatefold::seq::{MatMut, MatRef, SeqMut, SeqRef, SeqShape};
use gatefold::{
    Accumulate, Input, Layer, Level, Masked, Merge, Noise, Options, Order, Output, Stack, StackGrads, StackNoise,
    StackTape, StackWorkspace, Stream, Upstream, Weights, Workspace,
};
use proptest::prelude::*;
use proptest::sample::select;

/// Sizes that are small, or larger than any memory.
fn sizes() -> impl Strategy<Value = usize> {
    let huge = [64, 16, 4, 1, 0].map(|less| usize::MAX - less);
    let parts = [1, 2, 3, 4, 5].map(|shift| (usize::MAX >> shift) + 1);
    prop_oneof![6 => 0usize..7, 1 => select(huge.to_vec()), 1 => select(parts.to_vec())]
}

/// Mostly 4 sizes again and again, so that they fit each other now and then.
fn related(count: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(sizes(), 4)
        .prop_flat_map(move |base| prop::collection::vec(prop_oneof![12 => select(base), 1 => sizes()], count))
}

/// What else is said about a sequence.
#[derive(Clone, Debug)]
struct Said {
    lengths: Option<Vec<usize>>,
    mask: Option<[usize; 3]>,
    attention: Option<[usize; 3]>,
    order: Option<Order>,
    packed: Option<(usize, Vec<usize>)>,
    fits: bool,
}

impl Said {
    /// The same in the sizes of `[T, N]`, where it is to fit.
    fn fitted(mut self, time: usize, batch: usize) -> Said {
        if self.fits && batch < 100 {
            let resized = |lengths: Vec<usize>| lengths.into_iter().chain([time, 0]).cycle().take(batch);
            self.lengths = self.lengths.map(|lengths| resized(lengths).map(|length| length.min(time)).collect());
            for sizes in [&mut self.mask, &mut self.attention].into_iter().flatten() {
                *sizes = [time, batch, 1];
            }
        }
        self
    }
}

prop_compose! {
    fn said()(
        n in related(8),
        lengths in prop::option::weighted(0.4, related(2)),
        rows in 0usize..5,
        (mask, attention) in (prop::bool::weighted(0.3), prop::bool::weighted(0.3)),
        order in prop::option::weighted(0.3, select(vec![Order::Input, Order::Processing])),
        packed in prop::option::weighted(0.3, prop::collection::vec(sizes(), 0..5)),
        falling: bool,
        fits in prop::bool::weighted(0.7),
    ) -> Said {
        let packed = packed.map(|mut batch_sizes| {
            if falling {
                batch_sizes.iter_mut().for_each(|size| *size %= 7);
                batch_sizes.sort_by_key(|&size| std::cmp::Reverse(size));
            }
            (if falling { batch_sizes.iter().sum() } else { n[6] }, batch_sizes)
        });
        Said {
            lengths: lengths.map(|lengths| lengths.into_iter().cycle().take(rows).collect()),
            mask: mask.then_some([n[0], n[1], if n[2] % 3 == 0 { n[2] } else { 1 }]),
            attention: attention.then_some([n[3], n[4], if n[5] % 3 == 0 { n[5] } else { 1 }]),
            order,
            packed,
            fits,
        }
    }
}

/// The sequence with what else is said, where views of such sizes can be had.
fn input<'a>(
    x: SeqRef<'a, f32>,
    said: &'a Said,
    data: &'a [f32],
    bools: &'a [bool],
    channels: usize,
) -> Option<Input<'a, f32>> {
    let of = |[time, batch, channels]: [usize; 3]| SeqShape::time_major(time, batch, channels);
    let mut input = match &said.packed {
        Some((rows, sizes)) => Input::packed(MatRef::dense(data, *rows, channels).ok()?, sizes),
        None => Input::from(x),
    };
    if let Some(lengths) = &said.lengths {
        input = input.lengths(lengths);
    }
    if let Some(sizes) = said.mask {
        input = input.mask(SeqRef::new(bools, of(sizes)).ok()?, Masked::Repeat);
    }
    if let Some(sizes) = said.attention {
        input = input.attention(SeqRef::new(data, of(sizes)).ok()?);
    }
    Some(said.order.map_or(input, |order| input.reverse(order)))
}

fn layer(cell: Cell, [input, hidden]: [usize; 2], attended: bool) -> Layer<f32> {
    let weights = Model::random(cell, [input, hidden], Bias::Both, 1).weights();
    let weights = if let (Cell::Gru { .. }, true) = (cell, attended) { weights.attended().unwrap() } else { weights };
    Layer::new(weights, Options::default()).unwrap()
}

proptest! {
    #![proptest_config(proptest(20_000))]

    #[test]
    fn inputs_never_panic(
        n in related(8),
        said in said(),
        cell in select(CELLS.to_vec()),
        to in 0usize..4,
        strange: bool,
        attended: bool,
    ) {
        let channels = n[0] % 5 + 1;
        let (one, stack) = (layer(cell, [channels, 3], attended), layer(cell, [channels, 3], attended));
        let stack = Stack::from(Level::bidirectional(stack.clone(), stack, Merge::Sum).unwrap());
        let shape = match strange {
            true => SeqShape { time: n[1], batch: n[2], channels, time_stride: n[3], batch_stride: n[4] },
            false => SeqShape::time_major(n[1], n[2], channels),
        };
        let (data, bools) = (vec![1.0; 300], vec![true; 300]);
        let Ok(x) = SeqRef::new(&data, shape) else { return Ok(()) };
        // So many steps of a row that stands still would take for ever, as they should.
        prop_assume!(x.shape().time <= 1000 || x.shape().batch == 0);
        let said = said.fitted(shape.time, shape.batch);
        let Some(input) = input(x, &said, &data, &bools, channels) else { return Ok(()) };
        let packed = said.packed.as_ref();
        let batch = packed.map_or(shape.batch, |(_, sizes)| sizes.first().copied().unwrap_or(0));
        let Ok(mut state) = one.state(batch) else { return Ok(()) };
        let mut states = stack.state(batch).unwrap();
        for of_stack in [false, true] {
            let mut memory = vec![f32::CANARY; 300];
            let rows = packed.map_or(n[5], |(rows, _)| *rows);
            let y = match to {
                0 => SeqMut::new(&mut memory, SeqShape::time_major(shape.time, shape.batch, 3)).map(Output::Sequence),
                1 => MatMut::dense(&mut memory, batch, 3).map(Output::Last),
                2 => MatMut::dense(&mut memory, rows, 3).map(Output::Packed),
                _ => Ok(Output::StateOnly),
            };
            let Ok(y) = y else { continue };
            let result = match of_stack {
                true => stack.forward_into(input, &mut states, y, &mut StackWorkspace::new()),
                false => one.forward_into(input, &mut state, y, &mut Workspace::new()),
            };
            if result.is_err() {
                let h = if of_stack { states.h_to_vec() } else { state.h_to_vec() };
                prop_assert!(h.iter().all(|h| h.bits() == 0), "the state was written");
                prop_assert!(memory.iter().all(|v| v.bits() == f32::CANARY.bits()), "y was written");
            }
        }
        _ = (one.forward(input, None), one.forward_last(input, None));
        _ = (stack.forward(input, None), stack.forward_last(input, None));
    }

    #[test]
    fn masks_never_panic(n in related(9), cells in prop::array::uniform2(select(CELLS.to_vec())), still: bool) {
        let of = |cell, input| {
            let weights = Model::random(cell, [input, 3], Bias::Both, 1).weights();
            Layer::new(weights, Options { keep_weights: true, ..Options::default() }).unwrap()
        };
        let stack = Stack::new(vec![of(cells[0], 2).into(), of(cells[1], 3).into()]).unwrap();
        let data = vec![1.0; 300];
        let seq = |time, batch, channels| {
            let dense = SeqShape::time_major(time, batch, channels);
            let shape = if still { SeqShape { time_stride: 0, ..dense } } else { dense };
            SeqRef::new(&data, shape).ok()
        };
        let Ok(x) = SeqRef::new(&data, SeqShape::time_major(n[0], n[1], 2)) else { return Ok(()) };
        prop_assume!(n[0] <= 1000 || n[1] == 0);
        let units = |n: usize| if n.is_multiple_of(5) { n } else { 3 };
        let noise = Noise {
            recurrent_dropout: MatRef::dense(&data, n[2], units(n[3])).ok(),
            zoneout: seq(n[4], n[5], units(n[6])),
            zoneout_cell: seq(n[0], n[1], 3).filter(|_| cells[1] == Cell::Lstm),
        };
        let (layers, between) = ([Noise::default(), noise], [seq(n[6], n[7], units(n[8]))]);
        let count = if n[3] % 7 == 0 { 1 } else { 2 };
        let input = Input::from(x).stack_noise(StackNoise { layers: &layers[..count], between: &between });
        let Ok(mut state) = stack.state(n[1]) else { return Ok(()) };
        let (mut tape, mut workspace) = (StackTape::new(), StackWorkspace::new());
        let recorded = stack.record(input, &mut state, Output::StateOnly, &mut tape, &mut workspace);
        let forward = stack.forward_into(input, &mut stack.state(n[1]).unwrap(), Output::StateOnly, &mut workspace);
        prop_assert_eq!(&recorded, &forward);
        if recorded.is_err() {
            prop_assert!(state.h_to_vec().iter().all(|h| h.bits() == 0), "the state was written");
        }
        let back = stack.backward(&mut tape, Upstream::default(), &mut StackGrads::new(), Accumulate::Overwrite);
        prop_assert_eq!(back.is_ok(), recorded.is_ok());
    }

    #[test]
    fn streams_and_stacks_never_panic(n in related(8), cells in prop::array::uniform3(select(CELLS.to_vec()))) {
        let of = |i: usize| layer(cells[i], [n[2 * i] % 5 + 1, n[2 * i + 1] % 5 + 1], false);
        let both = Level::bidirectional(of(0), of(1), [Merge::Concat, Merge::Mul][n[6] % 2]);
        let levels = [Ok(of(0).into()), both, Ok(of(2).into())];
        let from = n[7] % 3;
        let Ok(stack) = Stack::new(levels.into_iter().flatten().skip(from).collect()) else { return Ok(()) };
        _ = (stack.state(n[0]).is_ok(), stack.workspace(n[1], n[2]).is_ok());
        let input = stack.input();
        if let Ok(mut stream) = Stream::new(stack, n[3], n[4].min(1000)) {
            let (x, mut y) = (vec![1.0; 200], vec![0.0; 200]);
            let (len, of_y) = (n[5].min(200 / input) * input, n[6].min(200));
            _ = (stream.push(&x[..len], &mut y[..of_y]), stream.push(&x[..n[0].min(200)], &mut y));
        }
    }

    #[test]
    fn options_never_panic(
        n in related(6),
        (alpha, beta, clip) in (any::<f64>(), any::<f64>(), any::<f64>()),
        cell in select(CELLS.to_vec()),
    ) {
        let values = |n: usize| vec![1.0f32; n.min(60)];
        _ = Weights::projected(n[0], n[1], values(n[2]), values(n[3]), [None, Some(values(n[4]))], values(n[5]));
        let weights = Model::<f32>::random(cell, [2, 3], Bias::Both, 1).weights();
        _ = weights.clone().with_peepholes(values(n[0]));
        let activation = Activation::HardSigmoid { alpha, beta };
        let Ok(mut weights) = weights.with_clip(clip) else { return Ok(()) };
        for count in 0..4 {
            if let Ok(more) = weights.clone().with_activations(&vec![activation; count]) {
                weights = more;
            }
        }
        let layer = Layer::new(weights, Options::default()).unwrap();
        let x = [0.5; 12];
        _ = layer.forward(SeqRef::new(&x, SeqShape::time_major(3, 2, 2)).unwrap(), None).unwrap();
    }

    #[test]
    fn snapshots_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), at in 0usize..80, cut in 0usize..200) {
        let layer = layer(Cell::Lstm, [1, 2], false);
        let mut state = layer.state(2).unwrap();
        let mut changed = state.to_bytes();
        _ = state.restore(&bytes).unwrap_err();
        let end = changed.len();
        let at = at.min(end);
        let len = bytes.len().min(end - at);
        changed[at..at + len].copy_from_slice(&bytes[..len]);
        changed.truncate(cut);
        let good = state.to_bytes() == changed;
        prop_assert_eq!(state.restore(&changed).is_ok(), good);
    }
}
