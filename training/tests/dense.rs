//! The dense layer against three loops in f64.

mod common;

use common::{bits, close, f64s, roundings, values};
use gatefold::{Accumulate, Element, Error};
use gatefold_training::{Dense, DenseGrads, Random};
use proptest::prelude::*;
use proptest::sample::select;

/// Around the edges of vectors and tiles.
const SIZES: [usize; 10] = [1, 2, 3, 4, 7, 8, 9, 16, 17, 33];

struct Case<T> {
    dense: Dense<T>,
    rows: usize,
    x: Vec<T>,
    dy: Vec<T>,
}

impl<T: Element> Case<T> {
    fn new([rows, input, output]: [usize; 3], biased: bool, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (weight, bias) = (values(&mut random, input * output), values(&mut random, output));
        let dense = Dense::new(input, output, weight, biased.then_some(bias)).unwrap();
        let (x, dy) = (values(&mut random, rows * input), values(&mut random, rows * output));
        Case { dense, rows, x, dy }
    }

    fn forward(&self) -> Vec<T> {
        let mut y = vec![T::NAN; self.dy.len()];
        self.dense.forward(&self.x, self.rows, &mut y).unwrap();
        y
    }

    fn backward(&self, grads: &mut DenseGrads<T>, accumulate: Accumulate) {
        self.dense.backward(&self.x, self.rows, &self.dy, grads, accumulate).unwrap();
    }

    /// y, dx, d_weight, d_bias.
    fn naive(&self) -> [Vec<f64>; 4] {
        let (input, output) = (self.dense.input(), self.dense.output());
        let [x, dy, weight] = [&self.x, &self.dy, self.dense.weight()].map(f64s);
        let bias = self.dense.bias().map(f64s);
        let mut y: Vec<f64> = (0..dy.len()).map(|k| bias.as_ref().map_or(0.0, |bias| bias[k % output])).collect();
        let (mut dx, mut d_weight) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
        let mut d_bias = vec![0.0; bias.as_ref().map_or(0, Vec::len)];
        for n in 0..self.rows {
            for o in 0..output {
                for i in 0..input {
                    y[n * output + o] += x[n * input + i] * weight[o * input + i];
                    dx[n * input + i] += dy[n * output + o] * weight[o * input + i];
                    d_weight[o * input + i] += dy[n * output + o] * x[n * input + i];
                }
                d_bias.iter_mut().skip(o).take(1).for_each(|sum| *sum += dy[n * output + o]);
            }
        }
        [y, dx, d_weight, d_bias]
    }
}

fn agrees<T: Element>(sizes: [usize; 3], biased: bool, seed: u64) {
    let case = Case::<T>::new(sizes, biased, seed);
    let [y, dx, d_weight, d_bias] = case.naive();
    // As many roundings as a chain is long, of sums of a few dozens.
    let bound = roundings::<T>(8.0 * (1 + sizes[0] + sizes[1] + sizes[2]) as f64);
    close("y", &case.forward(), &y, bound);

    let stale = |len| vec![T::NAN; len];
    let mut grads = DenseGrads { dx: stale(3), d_weight: stale(1), d_bias: stale(99) };
    case.backward(&mut grads, Accumulate::Overwrite);
    close("dx", &grads.dx, &dx, bound);
    close("d_weight", &grads.d_weight, &d_weight, bound);
    close("d_bias", &grads.d_bias, &d_bias, bound);

    let twice = |values: Vec<f64>| values.into_iter().map(|value| 2.0 * value).collect::<Vec<_>>();
    case.backward(&mut grads, Accumulate::Add);
    close("dx", &grads.dx, &dx, bound);
    close("d_weight twice", &grads.d_weight, &twice(d_weight), 2.0 * bound);
    close("d_bias twice", &grads.d_bias, &twice(d_bias), 2.0 * bound);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn three_loops(
        rows in 0usize..40,
        input in select(SIZES.to_vec()),
        output in select(SIZES.to_vec()),
        biased: bool,
        seed: u64,
    ) {
        agrees::<f32>([rows, input, output], biased, seed);
        agrees::<f64>([rows, input, output], biased, seed);
    }
}

#[test]
fn a_row_has_the_same_bits_alone() {
    let case = Case::<f32>::new([37, 19, 23], true, 5);
    let together = case.forward();
    for (x, y) in case.x.chunks(19).zip(together.chunks(23)) {
        let mut alone = [f32::NAN; 23];
        case.dense.forward(x, 1, &mut alone).unwrap();
        assert_eq!(bits(&alone), bits(y));
    }
}

#[test]
fn gradients_are_added_to_nothing_at_first() {
    let case = Case::<f64>::new([5, 3, 2], true, 1);
    let (mut first, mut fresh) = (DenseGrads::new(), DenseGrads::new());
    case.backward(&mut first, Accumulate::Overwrite);
    case.backward(&mut fresh, Accumulate::Add);
    assert_eq!(first, fresh);
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let shape = |argument, expected, found| Err(Error::Shape { argument, expected, found });
    let new = |input, output, weight: usize, bias: Option<usize>| {
        Dense::new(input, output, vec![0f32; weight], bias.map(|len| vec![0.0; len])).map(|_| ())
    };
    assert_eq!(new(3, 2, 6, Some(2)), Ok(()));
    assert_eq!(new(3, 2, 5, Some(2)), shape("weight", 6, 5));
    assert_eq!(new(3, 2, 6, Some(3)), shape("bias", 2, 3));
    assert_eq!(new(0, 2, 0, None), Err(Error::Zero { argument: "input" }));
    assert_eq!(new(3, 0, 0, None), Err(Error::Zero { argument: "output" }));
    assert_eq!(new(usize::MAX, 2, 0, None), Err(Error::TooLarge { argument: "output" }));
    assert_eq!(
        Dense::<f32>::keras(usize::MAX, 1, &mut Random::new(0)).map(|_| ()),
        Err(Error::TooLarge { argument: "output" })
    );
    assert_eq!(Dense::<f32>::pytorch(1, 0, &mut Random::new(0)).map(|_| ()), Err(Error::Zero { argument: "output" }));

    let dense = Dense::new(3, 2, vec![1f32; 6], Some(vec![0.0; 2])).unwrap();
    let mut y = [7.0; 4];
    assert_eq!(dense.forward(&[0.0; 5], 2, &mut y), shape("x", 6, 5));
    assert_eq!(dense.forward(&[0.0; 9], 3, &mut y), shape("y", 6, 4));
    assert_eq!(dense.forward(&[], usize::MAX, &mut y), Err(Error::TooLarge { argument: "rows" }));
    assert_eq!(y, [7.0; 4]);

    let before = DenseGrads { dx: vec![1.0], d_weight: vec![2.0; 6], d_bias: vec![3.0; 3] };
    let mut grads = before.clone();
    let mut back = |x: usize, rows, dy: usize, accumulate| {
        dense.backward(&vec![0.0; x], rows, &vec![0.0; dy], &mut grads, accumulate)
    };
    assert_eq!(back(5, 2, 4, Accumulate::Overwrite), shape("x", 6, 5));
    assert_eq!(back(6, 2, 3, Accumulate::Overwrite), shape("dy", 4, 3));
    assert_eq!(back(6, 2, 4, Accumulate::Add), shape("d_bias", 2, 3));
    assert_eq!(back(0, usize::MAX, 0, Accumulate::Add), Err(Error::TooLarge { argument: "rows" }));
    assert_eq!(grads, before);
}
