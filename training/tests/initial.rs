//! Initial weights have the shapes, bounds and moments of Keras' and PyTorch's.

mod common;

use common::{bits, f64s};
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::{Element, Error, Weights};
use gatefold_training::{Dense, Random, initial};

const CELLS: [Cell; 4] = [
    Cell::SimpleRnn { activation: Activation::Tanh },
    Cell::Lstm,
    Cell::Gru { reset: Reset::After },
    Cell::Gru { reset: Reset::Before },
];

/// Row vectors of a matrix.
fn rows(matrix: &[f64], columns: usize) -> Vec<Vec<f64>> {
    matrix.chunks(columns).map(<[f64]>::to_vec).collect()
}

fn transposed(matrix: &[f64], columns: usize) -> Vec<Vec<f64>> {
    (0..columns).map(|c| matrix[c..].iter().step_by(columns).copied().collect()).collect()
}

fn orthonormal(vectors: &[Vec<f64>], bound: f64) {
    for (i, a) in vectors.iter().enumerate() {
        for (j, b) in vectors.iter().enumerate() {
            let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            assert!((product - f64::from(u8::from(i == j))).abs() <= bound, "{i} {j}: {product}");
        }
    }
}

#[test]
fn the_shorter_side_is_orthonormal() {
    for (n, m) in [(1, 1), (1, 7), (7, 1), (5, 5), (3, 19), (19, 3), (64, 64), (40, 41)] {
        let matrix: Vec<f64> = initial::orthogonal(n, m, &mut Random::new(n as u64)).unwrap();
        assert_eq!(matrix.len(), n * m);
        orthonormal(&if n <= m { rows(&matrix, m) } else { transposed(&matrix, m) }, 1e-14);
    }
    let single: Vec<f32> = initial::orthogonal(8, 24, &mut Random::new(1)).unwrap();
    let double: Vec<f64> = initial::orthogonal(8, 24, &mut Random::new(1)).unwrap();
    assert_eq!(single, double.iter().map(|&v| v as f32).collect::<Vec<_>>());
}

/// No direction is preferred: means of elements and of traces of 2000 rotations are 0, of squares 1/n.
#[test]
fn every_rotation_is_as_likely() {
    let (mut random, count, n) = (Random::new(8), 2000, 4);
    let mut sums = [0.0; 4];
    for _ in 0..count {
        let q: Vec<f64> = initial::orthogonal(n, n, &mut random).unwrap();
        let trace: f64 = q.iter().step_by(n + 1).sum();
        for (sum, value) in sums.iter_mut().zip([q[0], q[15], q[6] * q[6] - 0.25, trace]) {
            *sum += value;
        }
    }
    // Each has a deviation of at most 1: five of them of the mean.
    for (k, sum) in sums.iter().enumerate() {
        assert!((sum / f64::from(count)).abs() < 5.0 / f64::from(count).sqrt(), "{k}: {sum}");
    }
}

/// Within ±bound, and with the moments of a uniform distribution there.
fn uniform_in<T: Element>(values: &[T], bound: f64) {
    let values = f64s(values);
    let n = values.len() as f64;
    let (mean, square) = (values.iter().sum::<f64>() / n, values.iter().map(|v| v * v).sum::<f64>() / n);
    assert!(values.iter().all(|v| v.abs() <= bound * (1.0 + 1e-6)));
    let deviation = bound / 3f64.sqrt();
    assert!(mean.abs() < 5.0 * deviation / n.sqrt(), "mean {mean}");
    assert!((square - deviation * deviation).abs() < 5.0 * bound * bound * (4.0 / 45.0 / n).sqrt(), "square {square}");
}

fn keras_like<T: Element>() {
    let (input, units) = (30, 20);
    for cell in CELLS {
        let weights: Weights<T> = initial::keras(cell, input, units, &mut Random::new(5)).unwrap();
        let gates = cell.gates();
        uniform_in(weights.w(), (6.0 / (input + gates * units) as f64).sqrt());
        // Keras' recurrent_kernel [H, G*H] has orthonormal rows: r [G*H, H] has such columns, over all gates as a whole.
        orthonormal(&transposed(&f64s(weights.r()), units), common::roundings::<T>(10.0));
        let bias = weights.b_w().unwrap();
        let forget = if cell == Cell::Lstm { units..2 * units } else { 0..0 };
        for (k, value) in bias.iter().enumerate() {
            assert_eq!(value.to_f64(), f64::from(u8::from(forget.contains(&k))));
        }
        let second = weights.b_r().map(f64s);
        assert_eq!(second, (cell == Cell::Gru { reset: Reset::After }).then(|| vec![0.0; 3 * units]));
    }
    let dense = Dense::<T>::keras(30, 50, &mut Random::new(5)).unwrap();
    uniform_in(dense.weight(), (6.0f64 / 80.0).sqrt());
    assert!(dense.bias().unwrap().iter().all(|&b| b == T::ZERO));
}

fn pytorch_like<T: Element>() {
    for cell in CELLS {
        let weights: Weights<T> = initial::pytorch(cell, 30, 20, &mut Random::new(6)).unwrap();
        let bound = 20f64.sqrt().recip();
        let arrays = [weights.w(), weights.r(), weights.b_w().unwrap(), weights.b_r().unwrap()];
        arrays.iter().for_each(|array| uniform_in(array, bound));
        assert_ne!(arrays[2], arrays[3]);
    }
    let weights: Weights<T> = initial::pytorch_projected(3, 20, 10, &mut Random::new(6)).unwrap();
    assert_eq!((weights.r().len(), weights.projection().unwrap().len()), (4 * 20 * 10, 200));
    uniform_in(weights.r(), 20f64.sqrt().recip());
    uniform_in(weights.projection().unwrap(), 20f64.sqrt().recip());
    let dense = Dense::<T>::pytorch(25, 60, &mut Random::new(5)).unwrap();
    uniform_in(dense.weight(), 0.2);
    uniform_in(dense.bias().unwrap(), 0.2);
}

#[test]
fn as_keras_does() {
    keras_like::<f32>();
    keras_like::<f64>();
}

#[test]
fn as_pytorch_does() {
    pytorch_like::<f32>();
    pytorch_like::<f64>();
}

#[test]
fn a_seed_decides_all() {
    let draw = |seed| {
        let mut random = Random::new(seed);
        let weights = initial::keras::<f32>(Cell::Lstm, 5, 7, &mut random).unwrap();
        let dense = Dense::<f32>::pytorch(7, 3, &mut random).unwrap();
        [bits(weights.w()), bits(weights.r()), bits(dense.weight())]
    };
    assert_eq!(draw(1), draw(1));
    let (one, other) = (draw(1), draw(2));
    assert!(one.iter().zip(&other).all(|(a, b)| a != b));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let random = &mut Random::new(0);
    let zero = |argument| Some(Error::Zero { argument });
    let large = |argument| Some(Error::TooLarge { argument });
    let most = usize::MAX;
    assert_eq!(initial::keras::<f32>(Cell::Lstm, 0, 1, random).err(), zero("input"));
    assert_eq!(initial::keras::<f32>(Cell::Lstm, 1, 0, random).err(), zero("units"));
    assert_eq!(initial::keras::<f32>(Cell::Lstm, most, 1, random).err(), large("input"));
    assert_eq!(initial::keras::<f32>(Cell::Lstm, 1, most, random).err(), large("units"));
    assert_eq!(initial::pytorch::<f32>(Cell::Lstm, 0, 1, random).err(), zero("input_size"));
    assert_eq!(initial::pytorch::<f32>(Cell::Lstm, 1, 0, random).err(), zero("hidden_size"));
    assert_eq!(initial::pytorch::<f32>(Cell::Lstm, 1, most / 8, random).err(), large("hidden_size"));
    assert_eq!(initial::pytorch::<f32>(Cell::Lstm, most / 64, 16, random).err(), large("input_size"));
    assert_eq!(initial::pytorch_projected::<f32>(1, 1, 0, random).err(), zero("proj_size"));
    assert_eq!(initial::pytorch_projected::<f32>(1, 1, most, random).err(), large("proj_size"));
    assert_eq!(initial::orthogonal::<f32>(0, 3, random).err(), zero("columns"));
    assert_eq!(initial::orthogonal::<f32>(3, most, random).err(), large("columns"));
    assert_eq!(initial::uniform::<f32>(usize::MAX / 2, 1.0, random).err(), large("len"));
    for found in [-1.0, f64::INFINITY, f64::NAN] {
        let refused = initial::uniform::<f32>(1, found, random);
        assert!(matches!(refused, Err(Error::Number { argument: "bound", .. })), "{refused:?}");
    }
    assert!(initial::uniform::<f32>(0, 1.0, random).unwrap().is_empty());
}
