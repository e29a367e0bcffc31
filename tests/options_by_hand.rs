//! The naive reference's options, walks and stacks against results worked by hand. See `naive_by_hand` for the numbers.

mod reference;

use reference::stack::{self, Level, Merge};
use reference::{Activation, Cell, Direction, Layer, Masked, Options, Order, Reset, Rows, Sequence, Update, Walk};
use std::f64::consts::LN_2;

const LN_3: f64 = 1.098_612_288_668_109_8;

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    let close = found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-14);
    assert!(close, "expected {expected:?}, found {found:?}");
}

/// A layer of one input and one unit whose gates do not see h. A gate is (w, b).
fn unseeing(cell: Cell, gates: &[(f64, f64)]) -> Layer {
    let column = |f: fn(&(f64, f64)) -> f64| gates.iter().map(f).collect();
    let zeros = || vec![0.0; gates.len()];
    Layer { cell, input: 1, hidden: 1, w: column(|g| g.0), r: zeros(), b_w: column(|g| g.1), b_r: zeros() }
}

/// h' = x + h: a running sum.
fn sum() -> (Layer, Options) {
    let layer = Layer { r: vec![1.0], ..unseeing(Cell::SimpleRnn(Activation::Linear), &[(1.0, 0.0)]) };
    (layer, Options::default())
}

/// Of [T, N, 1].
fn sequence(time: usize, batch: usize, x: &[f64]) -> Sequence {
    Sequence { time, batch, x: x.to_vec(), ..Sequence::default() }
}

#[test]
fn activations() {
    use Activation::*;
    let half = 0.5;
    // sigmoid(ln 3) = 3/4, tanh(ln 2) = 3/5, exp(-ln 2) = 1/2, softplus(0) = ln 2, tanh(softplus(0)) = 3/5,
    // softplus(ln 3) = ln 4, tanh(ln 4) = 15/17; erf(1) = 0.8427007929497149 (Abramowitz and Stegun, table 7.1).
    let cases = [
        (Sigmoid, LN_3, 0.75),
        (Tanh, LN_2, 0.6),
        (Relu, -2.0, 0.0),
        (Relu, 2.0, 2.0),
        (Linear, -2.0, -2.0),
        (Relu6, 7.0, 6.0),
        (Relu6, -7.0, 0.0),
        (Relu6, half, half),
        (LeakyRelu(0.1), -2.0, -0.2),
        (LeakyRelu(0.1), 2.0, 2.0),
        (ThresholdedRelu(1.5), 1.0, 0.0),
        (ThresholdedRelu(1.5), 1.5, 1.5),
        (ThresholdedRelu(-1.5), -1.0, -1.0),
        (Elu(2.0), -LN_2, -1.0),
        (Elu(2.0), LN_2, LN_2),
        (Selu, -LN_2, -1.7580993408473766 / 2.0),
        (Selu, 2.0, 2.101401974710961),
        (Gelu, 2f64.sqrt(), 2f64.sqrt() * (1.0 + 0.8427007929497149) / 2.0),
        (Gelu, 0.0, 0.0),
        (Silu, LN_3, 0.75 * LN_3),
        (Mish, LN_3, LN_3 * 15.0 / 17.0),
        (Mish, 0.0, 0.0),
        (Softplus, 0.0, LN_2),
        (Softplus, LN_3, 2.0 * LN_2),
        (Softplus, 1000.0, 1000.0),
        (Softsign, -3.0, -0.75),
        (Exponential, -LN_2, half),
        (HardSigmoid(0.2, 0.5), 1.0, 0.7),
        (HardSigmoid(0.2, 0.5), 3.0, 1.0),
        (HardSigmoid(0.2, 0.5), -3.0, 0.0),
        (HardSilu, 1.5, 1.125),
        (HardSilu, 4.0, 4.0),
        (HardSilu, -4.0, 0.0),
        (Affine(2.0, -1.0), 3.0, 5.0),
        (ScaledTanh(2.0, 0.5), 2.0 * LN_2, 1.2),
    ];
    for (activation, x, expected) in cases {
        assert!((activation.of(x) - expected).abs() <= 1e-14, "{activation:?} of {x}: {}", activation.of(x));
        assert!(activation.of(f64::NAN).is_nan(), "{activation:?} of NaN");
    }
}

/// x = 1, c0 = 2, gates that do not see h.
fn lstm(gates: [f64; 4], options: &Options) -> [f64; 2] {
    let layer = unseeing(Cell::Lstm, &gates.map(|b| (0.0, b)));
    let start = Sequence { c0: Some(vec![2.0]), ..sequence(1, 1, &[1.0]) };
    let out = layer.walk(options, &start, &Walk::default());
    [out.h[0], out.c[0]]
}

#[test]
fn options_of_an_lstm() {
    let linear = Some([Activation::Linear; 3]);
    // i, f, g, o = 1, 2, 3, 4: c' = 2*2 + 1*3 = 7, h' = 4*7.
    let of = |options| lstm([1.0, 2.0, 3.0, 4.0], &options);
    assert_eq!(of(Options { activations: linear, ..Options::default() }), [28.0, 7.0]);
    // Each activation at its place: gates 2a, candidate 3a, cell 5a: c' = 4*2 + 2*9 = 26, h' = 8*130.
    let apart = [2.0, 3.0, 5.0].map(|alpha| Activation::Affine(alpha, 0.0));
    assert_eq!(of(Options { activations: Some(apart), ..Options::default() }), [1040.0, 26.0]);
    // Bounded to 2.5: i, f, g, o = 1, 2, 2.5, 2.5: c' = 6.5, which is not bounded.
    assert_eq!(of(Options { activations: linear, clip: Some(2.5), ..Options::default() }), [16.25, 6.5]);
    // f = 1 - i = 0: c' = 3.
    assert_eq!(of(Options { activations: linear, coupled: true, ..Options::default() }), [12.0, 3.0]);
    // i = 1 + 10*2, f = 2 + 20*2, o = 4 + 30*c': c' = 42*2 + 21*3 = 147, h' = 4414*147.
    let peepholes = Some(vec![10.0, 20.0, 30.0]);
    let peeping = Options { activations: linear, peepholes, ..Options::default() };
    assert_eq!(of(peeping.clone()), [4414.0 * 147.0, 147.0]);
    // With f = 1 - 21 = -20: c' = -40 + 63 = 23, o = 4 + 690.
    assert_eq!(of(Options { coupled: true, ..peeping.clone() }), [694.0 * 23.0, 23.0]);
    // Bounded after the peepholes, to 5: i = 5, f = 5, o = 5: c' = 10 + 15, h' = 5*25.
    assert_eq!(of(Options { clip: Some(5.0), ..peeping }), [125.0, 25.0]);
}

#[test]
fn a_projection() {
    // H = 1, P = 2: o h(c') = 28 as above, if h did not matter; r [4, 2] lets the candidate see h0 = [1, 2].
    let mut layer = unseeing(Cell::Lstm, &[1.0, 2.0, 3.0, 4.0].map(|b| (0.0, b)));
    layer.r = vec![0.0, 0.0, 0.0, 0.0, 10.0, 100.0, 0.0, 0.0];
    let activations = Some([Activation::Linear; 3]);
    let options = Options { activations, projection: Some(vec![0.5, -1.0]), ..Options::default() };
    let start = Sequence { h0: Some(vec![1.0, 2.0]), c0: Some(vec![2.0]), ..sequence(1, 1, &[1.0]) };
    let out = layer.walk(&options, &start, &Walk::default());
    // g = 3 + 10 + 200: c' = 4 + 213, o c' = 868.
    assert_eq!((out.c, out.h, out.y), (vec![217.0], vec![434.0, -868.0], vec![434.0, -868.0]));
}

#[test]
fn an_attended_gru() {
    // r = 0.25, z = 0.75; a = 0.2: z becomes 0.6.
    for reset in [Reset::After, Reset::Before] {
        let mut layer = unseeing(Cell::Gru(reset, Update::KeepsPast), &[(0.0, -LN_3), (0.0, LN_3), (LN_2, 0.0)]);
        let start = Sequence { h0: Some(vec![0.4]), ..sequence(1, 1, &[1.0]) };
        let attended = Options { attended: true, ..Options::default() };
        let walk = Walk { attention: vec![0.2], ..Walk::default() };
        // n = 0.6: h' = 0.6*0.4 + 0.4*0.6.
        assert_close(&layer.walk(&attended, &start, &walk).h, &[0.48]);
        // The candidate is bounded as a whole: x_n + r (R h) = ln 2 + 0.25*40*0.4, at most ln 3: n = 0.8.
        layer.r[2] = 40.0;
        let clipped = Options { clip: Some(LN_3), ..Options::default() };
        assert_close(&layer.walk(&clipped, &start, &Walk::default()).h, &[0.75 * 0.4 + 0.25 * 0.8]);
    }
}

/// Two rows: 1, 2, 3 and 10, 20, 30.
const X: [f64; 6] = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];

/// y, last and h.
fn walked(walk: Walk) -> [Vec<f64>; 3] {
    let (layer, options) = sum();
    let start = Sequence { h0: Some(vec![0.5, 0.25]), ..sequence(3, 2, &X) };
    let out = layer.walk(&options, &start, &walk);
    [out.y, out.last, out.h]
}

#[test]
fn lengths() {
    let rows = Rows::Lengths(vec![2, 0]);
    let [y, last, h] = walked(Walk { rows: rows.clone(), ..Walk::default() });
    assert_eq!(y, [1.5, 0.0, 3.5, 0.0, 0.0, 0.0]);
    assert_eq!((last, h), (vec![3.5, 0.25], vec![3.5, 0.25]));
    let direction = Direction::Reverse(Order::Input);
    let [y, last, _] = walked(Walk { rows, direction, ..Walk::default() });
    assert_eq!((y, last), (vec![3.5, 0.0, 2.5, 0.0, 0.0, 0.0], vec![3.5, 0.25]));
}

#[test]
fn directions() {
    let direction = |order| Walk { direction: Direction::Reverse(order), ..Walk::default() };
    let [y, last, h] = walked(direction(Order::Input));
    assert_eq!(y, [6.5, 60.25, 5.5, 50.25, 3.5, 30.25]);
    assert_eq!((&last, &h), (&vec![6.5, 60.25], &last));
    let [y, ..] = walked(direction(Order::Processing));
    assert_eq!(y, [3.5, 30.25, 5.5, 50.25, 6.5, 60.25]);
}

#[test]
fn masks() {
    // Row 0 leaves out its first and last step, row 1 all.
    let mask = vec![false, false, true, false, false, false];
    let of = |masked, direction| walked(Walk { rows: Rows::Mask(mask.clone(), masked), direction, ..Walk::default() });
    let [y, last, h] = of(Masked::Repeat, Direction::Forward);
    assert_eq!(y, [0.0, 0.0, 2.5, 0.0, 2.5, 0.0]);
    assert_eq!((last, h), (vec![2.5, 0.0], vec![2.5, 0.25]));
    let [y, last, _] = of(Masked::Zero, Direction::Forward);
    assert_eq!((y, last), (vec![0.0, 0.0, 2.5, 0.0, 0.0, 0.0], vec![2.5, 0.0]));
    let [y, ..] = of(Masked::Repeat, Direction::Reverse(Order::Input));
    assert_eq!(y, [2.5, 0.0, 2.5, 0.0, 0.0, 0.0]);
}

#[test]
fn stacks() {
    let both = |merge| Level::Both(Box::new([sum(), sum()]), merge);
    let of = |levels: &[Level], walk: &Walk| stack::run(levels, &sequence(3, 1, &[1.0, 2.0, 3.0]), walk, &[]);
    let whole = Walk::default();
    let [y, last, h, c] = of(&[both(Merge::Concat)], &whole);
    assert_eq!(y, [1.0, 6.0, 3.0, 5.0, 6.0, 3.0]);
    assert_eq!((last, h, c), (vec![6.0, 6.0], vec![6.0, 6.0], vec![]));
    for (merge, expected) in
        [(Merge::Sum, [7.0, 8.0, 9.0]), (Merge::Mul, [6.0, 15.0, 18.0]), (Merge::Average, [3.5, 4.0, 4.5])]
    {
        assert_eq!(of(&[both(merge)], &whole)[0], expected);
    }
    // Sums 7, 8, 9 from the last to the first: 9, 17, 24.
    let above = Level::One(Box::new(sum()), Direction::Reverse(Order::Processing));
    let [y, last, h, _] = of(&[both(Merge::Sum), above], &whole);
    assert_eq!((y, last, h), (vec![9.0, 17.0, 24.0], vec![24.0], vec![6.0, 6.0, 24.0]));
    // A step that is left out gives zeros in both directions.
    let walk = Walk { rows: Rows::Mask(vec![true, false, true], Masked::Repeat), ..Walk::default() };
    let [y, last, ..] = of(&[both(Merge::Concat)], &walk);
    assert_eq!((y, last), (vec![1.0, 4.0, 0.0, 0.0, 4.0, 3.0], vec![4.0, 4.0]));
}
