//! Arrays of ndarray: any strides in and out, the same bits as slices, and no copy where the strides allow.

#![cfg(feature = "ndarray")]

use gatefold::cell::{Cell, Reset};
use gatefold::ndarray::SeqArray;
use gatefold::seq::time_major;
use gatefold::{Error, Input, Layer, Level, Masked, Merge, Options, Stack, Weights, Workspace};
use ndarray::{Array2, Array3, ArrayView3, Axis, s};

const TIME: usize = 5;
const BATCH: usize = 4;
const INPUT: usize = 3;
const HIDDEN: usize = 6;

fn layer(cell: Cell) -> Layer<f32> {
    let rows = cell.gates() * HIDDEN;
    let values = |len: usize| (0..len).map(|i| ((i * 37 % 101) as f32 - 50.0) / 200.0).collect::<Vec<_>>();
    let weights = Weights::new(cell, INPUT, HIDDEN, values(rows * INPUT), values(rows * HIDDEN), None, None).unwrap();
    Layer::new(weights, Options::default()).unwrap()
}

fn gru() -> Layer<f32> {
    layer(Cell::Gru { reset: Reset::After })
}

fn value(t: usize, n: usize, i: usize) -> f32 {
    ((t * 31 + n * 17 + i * 7) % 23) as f32 / 11.0 - 1.0
}

/// What the layer makes of `[T, N, I]`, as slices.
fn expected(layer: &Layer<f32>, x: ArrayView3<'_, f32>) -> (Array3<f32>, Vec<f32>) {
    let (time, batch, input) = x.dim();
    let dense: Vec<f32> = x.iter().copied().collect();
    let forward = layer.forward(time_major(&dense, [time, batch, input]).unwrap(), None).unwrap();
    let h = forward.state.h_to_vec();
    (Array3::from_shape_vec((time, batch, layer.dims().output()), forward.y).unwrap(), h)
}

/// Views of `[T, N, I]` with these values at all sorts of strides, each with whether it must be copied.
fn check_views(check: impl Fn(&str, ArrayView3<'_, f32>, bool)) {
    let dense = Array3::from_shape_fn((TIME, BATCH, INPUT), |(t, n, i)| value(t, n, i));
    check("time major", dense.view(), false);
    let batch_major = Array3::from_shape_fn((BATCH, TIME, INPUT), |(n, t, i)| value(t, n, i));
    check("batch major", batch_major.view().permuted_axes([1, 0, 2]), false);
    let wide = Array3::from_shape_fn((2 * TIME, BATCH + 2, INPUT + 4), |(t, n, i)| {
        if t % 2 == 0 && (1..=BATCH).contains(&n) && (2..2 + INPUT).contains(&i) {
            value(t / 2, n - 1, i - 2)
        } else {
            f32::NAN
        }
    });
    check("a part of more", wide.slice(s![..;2, 1..=BATCH, 2..2 + INPUT]), false);
    let still = Array3::from_shape_fn((1, BATCH, INPUT), |(_, n, i)| value(3, n, i));
    check("one step again and again", still.broadcast((TIME, BATCH, INPUT)).unwrap(), false);
    let flipped = Array3::from_shape_fn((TIME, BATCH, INPUT), |(t, n, i)| value(TIME - 1 - t, n, i));
    check("time backwards", flipped.slice(s![..;-1, .., ..]), true);
    let channels_first = Array3::from_shape_fn((INPUT, TIME, BATCH), |(i, t, n)| value(t, n, i));
    check("channels first", channels_first.view().permuted_axes([1, 2, 0]), true);
    check("no steps", dense.slice(s![..0, .., ..]), false);
    check("no rows", dense.slice(s![.., ..0, ..]), false);
}

#[test]
fn any_strides_give_the_same_bits_and_few_a_copy() {
    let layer = gru();
    check_views(|name, x, copy| {
        assert_eq!(SeqArray::new(x).is_copy(), copy, "{name}");
        let (y, state) = layer.forward_array(x, None).unwrap();
        let (expected_y, expected_h) = expected(&layer, x);
        assert!(y == expected_y, "{name}");
        assert_eq!(state.h_array().iter().copied().collect::<Vec<_>>(), expected_h, "{name}");
    });
}

#[test]
fn outputs_of_any_strides_are_written_and_nothing_beside_them() {
    let layer = gru();
    let x = Array3::from_shape_fn((TIME, BATCH, INPUT), |(t, n, i)| value(t, n, i));
    let (expected, _) = expected(&layer, x.view());
    let mut memory = Array3::from_elem((2 * TIME, 2 * BATCH, 3 * HIDDEN), 7.5f32);
    for step in [1, 3] {
        memory.fill(7.5);
        let mut y = memory.slice_mut(s![..;2, 1..;2, ..HIDDEN * step;step]);
        let mut state = layer.state(BATCH).unwrap();
        layer.forward_array_into(x.view(), &mut state, y.view_mut(), &mut Workspace::new()).unwrap();
        assert!(y == expected, "channels {step} apart");
        assert_eq!(memory.iter().filter(|&&value| value == 7.5).count(), memory.len() - expected.len());
    }
}

#[test]
fn stacks_states_and_masks_take_arrays() {
    let lstm = || layer(Cell::Lstm);
    let stack = Stack::new(vec![Level::bidirectional(lstm(), lstm(), Merge::Sum).unwrap()]).unwrap();
    let x = Array3::from_shape_fn((BATCH, TIME, INPUT), |(n, t, i)| value(t, n, i));
    let x = x.view().permuted_axes([1, 0, 2]);
    let (y, state) = stack.forward_array(x, None).unwrap();
    assert_eq!(y.dim(), (TIME, BATCH, HIDDEN));
    assert_eq!(y.index_axis(Axis(0), 0).dim(), (BATCH, HIDDEN));
    let mut first = state.states()[0].clone();
    let (h, c) = (first.h_array(), first.c_array().unwrap());
    first.reset();
    first.set_h_array(h.view()).unwrap();
    first.set_c_array(c.view()).unwrap();
    assert_eq!((first.h_array(), first.c_array()), (h, Some(c)));

    let mask = Array3::from_shape_fn((BATCH, TIME, 1), |(n, t, _)| t < 2 + n);
    let (mask, steps) = (SeqArray::new(mask.view().permuted_axes([1, 0, 2])), SeqArray::new(x));
    let input = Input::from(steps.seq().unwrap());
    let masked = stack.forward(input.mask(mask.seq().unwrap(), Masked::Zero), None).unwrap();
    let lengths: Vec<usize> = (0..BATCH).map(|n| (2 + n).min(TIME)).collect();
    assert_eq!(masked.y, stack.forward(input.lengths(&lengths), None).unwrap().y);
}

#[test]
fn wrong_sizes_are_refused() {
    let layer = gru();
    let x = Array3::<f32>::zeros((TIME, BATCH, INPUT + 1));
    let error = layer.forward_array(x.view(), None).unwrap_err();
    assert_eq!(error, Error::Shape { argument: "x channels", expected: INPUT, found: INPUT + 1 });
    let mut state = layer.state(2).unwrap();
    let error = state.set_h_array(Array2::zeros((4, HIDDEN / 2)).view()).unwrap_err();
    assert_eq!(error, Error::Shape { argument: "rows", expected: 2, found: 4 });
}
