//! Sums over rows against plain loops: chains of fused multiply-adds in the same order, so that the bits are the same.

use gatefold_kernels::diagonal::Diagonal;
use gatefold_kernels::isa::Isa;
use gatefold_kernels::mat::MatMut;
use gatefold_kernels::outer::{Outer, OuterTerm};
use gatefold_kernels::real::Real;
use gatefold_kernels::seq::{SeqRef, SeqShape};
use proptest::prelude::*;
use proptest::sample::select;

/// Around the edges of vectors and tiles.
const SIZES: [usize; 16] = [0, 1, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 33, 48, 65];

/// A type with a fused multiply-add of its own.
trait Fused: Real {
    fn fused(self, b: Self, c: Self) -> Self;
}
impl Fused for f32 {
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}
impl Fused for f64 {
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }
}

fn values<T: Real>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::from_f64((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0)
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// T, N, columns of A, and of each term the first column, rows and columns of C.
#[derive(Clone, Debug)]
struct Sizes {
    time: usize,
    batch: usize,
    columns: usize,
    terms: [[usize; 3]; 2],
}

impl Sizes {
    fn shape(&self, channels: usize, gap: usize) -> SeqShape {
        let batch_stride = channels + gap;
        SeqShape { channels, ..SeqShape::time_major(self.time, self.batch, batch_stride) }
    }
}

/// What a term that holds `start` should become.
fn expected<T: Fused>(sizes: &Sizes, a: SeqRef<'_, T>, b: SeqRef<'_, T>, term: [usize; 3], start: &[T]) -> Vec<T> {
    let ([from, rows, cols], mut c) = (term, start.to_vec());
    for (t, n) in (0..sizes.time).flat_map(|t| (0..sizes.batch).map(move |n| (t, n))) {
        for (i, c) in c.chunks_mut(cols.max(1)).take(rows).enumerate() {
            for (j, c) in c.iter_mut().enumerate() {
                *c = a.row(t, n).unwrap()[from + i].fused(b.row(t, n).unwrap()[j], *c);
            }
        }
    }
    c
}

fn check<T: Fused>(sizes: &Sizes, onto: bool, seed: u64, isa: Isa) -> Result<(), TestCaseError> {
    let bits = |values: &[T]| -> Vec<u64> { values.iter().map(|v| v.to_f64().to_bits()).collect() };
    let Sizes { time, batch, columns, terms } = sizes.clone();
    let rows = time * batch;
    let a = values::<T>(rows * (columns + 3), seed);
    let b = terms.map(|[_, _, cols]| values::<T>(rows * (cols + 2), seed ^ 1));
    let start =
        terms.map(|[_, rows, cols]| if onto { values::<T>(rows * cols, seed ^ 2) } else { vec![T::ZERO; rows * cols] });
    let unread = |values: &[T], value| if onto { values.to_vec() } else { vec![value; values.len()] };
    let first = if onto { T::ONE } else { T::ZERO };
    let mut c = start.clone().map(|c| unread(&c, T::NAN));
    let mut sums = terms.map(|[_, rows, _]| unread(&vec![T::ONE; rows], T::NAN));
    let left = SeqRef::new(&a, sizes.shape(columns, 3)).unwrap();
    let right = [0, 1].map(|i| SeqRef::new(&b[i], sizes.shape(terms[i][2], 2)).unwrap());
    let mut room = vec![T::NAN; Outer::<T>::room(columns)];
    let ([c0, c1], [s0, s1]) = (&mut c, &mut sums);
    let term = |i: usize, c, sums| {
        let [from, rows, cols] = terms[i];
        OuterTerm { from, right: right[i], c: MatMut::dense(c, rows, cols).unwrap(), sums }
    };
    // The second one without sums.
    let mut list = [term(0, c0, s0), term(1, c1, &mut s1[..0])];
    Outer { isa, left, terms: &mut list, onto, room: &mut room }.run().unwrap();
    for i in 0..2 {
        let expected = expected(sizes, left, right[i], terms[i], &start[i]);
        prop_assert_eq!(bits(&c[i]), bits(&expected), "term {} on {}", i, isa.name());
    }
    for (j, sum) in sums[0].iter().enumerate() {
        let column = (0..rows).map(|k| left.row(k / batch, k % batch).unwrap()[terms[0][0] + j]);
        prop_assert_eq!(sum.to_f64(), (first + column.fold(T::ZERO, |sum, v| sum + v)).to_f64(), "sum {}", j);
    }
    let untouched = |sum: &T| if onto { *sum == T::ONE } else { sum.to_f64().is_nan() };
    prop_assert!(sums[1].iter().all(untouched));
    let (mut diagonal, width) = (vec![T::ONE; columns.min(terms[0][2])], columns.min(terms[0][2]));
    let (left, right) = (left.channels(0, width).unwrap(), right[0].channels(0, width).unwrap());
    Diagonal { isa, left, right, sums: &mut diagonal }.run().unwrap();
    for (j, &sum) in diagonal.iter().enumerate() {
        let row = |k: usize| (left.row(k / batch, k % batch).unwrap()[j], right.row(k / batch, k % batch).unwrap()[j]);
        let expected = (0..rows).map(row).fold(T::ONE, |sum, (a, b)| a.fused(b, sum));
        prop_assert_eq!(sum.to_f64().to_bits(), expected.to_f64().to_bits(), "diagonal {}", j);
    }
    Ok(())
}

prop_compose! {
    fn sizes()(
        time in 0usize..5,
        batch in select(SIZES.to_vec()),
        rows in [select(SIZES.to_vec()), select(SIZES.to_vec())],
        cols in [select(SIZES.to_vec()), select(SIZES.to_vec())],
        from in [0usize..20, 0usize..20],
    ) -> Sizes {
        let terms = [0, 1].map(|i| [from[i], rows[i], cols[i]]);
        Sizes { time, batch, columns: 20 + rows[0].max(rows[1]), terms }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chains_are_those_of_plain_loops(sizes in sizes(), onto: bool, seed: u64) {
        for &isa in Isa::available() {
            check::<f32>(&sizes, onto, seed, isa)?;
            check::<f64>(&sizes, onto, seed, isa)?;
        }
    }
}

/// More columns than are packed at once, more rows than a chunk.
#[test]
fn blocks_and_chunks_meet() {
    let sizes = Sizes { time: 43, batch: 19, columns: 1100, terms: [[3, 1000, 5], [470, 630, 70]] };
    for onto in [true, false] {
        check::<f32>(&sizes, onto, 1, Isa::available()[0]).unwrap();
    }
    let narrow = Sizes { columns: 500, terms: [[1, 490, 2], [470, 20, 1]], ..sizes };
    for &isa in Isa::available() {
        check::<f64>(&narrow, false, 1, isa).unwrap();
    }
}

/// A C too large for the caches, over which several chunks of more columns than are packed at once pass: some of its values.
#[test]
fn chunks_pass_over_a_large_c() {
    let sizes = Sizes { time: 13, batch: 51, columns: 530, terms: [[5, 520, 517], [0; 3]] };
    let [from, rows, cols] = sizes.terms[0];
    let (a, b) = (values::<f64>(13 * 51 * (530 + 1), 1), values::<f64>(13 * 51 * cols, 2));
    let left = SeqRef::new(&a, sizes.shape(530, 1)).unwrap();
    let right = SeqRef::new(&b, sizes.shape(cols, 0)).unwrap();
    let mut room = vec![f64::NAN; Outer::<f64>::room(530)];
    for &isa in Isa::available() {
        let mut c = vec![f64::NAN; rows * cols];
        let mut terms = [OuterTerm { from, right, c: MatMut::dense(&mut c, rows, cols).unwrap(), sums: &mut [] }];
        Outer { isa, left, terms: &mut terms, onto: false, room: &mut room }.run().unwrap();
        for at in (0..rows * cols).step_by(97) {
            let (i, j) = (at / cols, at % cols);
            let term =
                |sum, k| left.row(k / 51, k % 51).unwrap()[from + i].fused(right.row(k / 51, k % 51).unwrap()[j], sum);
            assert_eq!(c[at].to_bits(), (0..13 * 51usize).fold(0.0, term).to_bits(), "[{i}, {j}] on {}", isa.name());
        }
        assert!(c.iter().all(|c| c.is_finite()));
    }
}

/// Tiles at the edges of C, and whole ones: nothing between its rows and behind the last is written.
#[test]
fn gaps_between_rows_stay() {
    let (rows, stride) = ([1usize, 4, 7, 8, 9, 17], 64);
    for (rows, cols) in rows.into_iter().flat_map(|rows| [1, 8, 15, 16, 17, 48, 50].map(|cols| (rows, cols))) {
        let (a, b) = (values::<f32>(3 * rows, 1), values::<f32>(3 * cols, 2));
        let left = SeqRef::new(&a, SeqShape::time_major(3, 1, rows)).unwrap();
        let right = SeqRef::new(&b, SeqShape::time_major(3, 1, cols)).unwrap();
        for (&isa, onto) in Isa::available().iter().flat_map(|isa| [(isa, false), (isa, true)]) {
            let mut c = vec![f32::NAN; (rows + 20) * stride];
            (0..rows).for_each(|row| c[row * stride..][..cols].fill(0.5));
            let mut room = vec![f32::NAN; Outer::<f32>::room(rows)];
            let view = MatMut::new(&mut c, rows, cols, stride).unwrap();
            let mut terms = [OuterTerm { from: 0, right, c: view, sums: &mut [] }];
            Outer { isa, left, terms: &mut terms, onto, room: &mut room }.run().unwrap();
            for (at, &c) in c.iter().enumerate() {
                let (i, j) = (at / stride, at % stride);
                let start = if onto { 0.5 } else { 0.0 };
                let sum = || (0..3).fold(start, |sum, k| a[k * rows + i].mul_add(b[k * cols + j], sum));
                let expected = if i < rows && j < cols { sum() } else { f32::NAN };
                assert_eq!(c.to_bits(), expected.to_bits(), "[{i}, {j}] of [{rows}, {cols}] on {}", isa.name());
            }
        }
    }
}

/// Rows of which nothing is to be summed are not walked: without columns there may be any number of them.
#[test]
fn rows_without_columns_are_passed_over() {
    let rows = SeqRef::new(&[], SeqShape::time_major(usize::MAX, 1, 0)).unwrap();
    let mut room = vec![f32::NAN; Outer::<f32>::room(0)];
    for &isa in Isa::available() {
        let mut terms = [OuterTerm { from: 0, right: rows, c: MatMut::dense(&mut [], 0, 0).unwrap(), sums: &mut [] }];
        Outer { isa, left: rows, terms: &mut terms, onto: false, room: &mut room }.run().unwrap();
        Diagonal { isa, left: rows, right: rows, sums: &mut [] }.run().unwrap();
    }
}

#[test]
fn refuses_wrong_sizes() {
    let (isa, data) = (Isa::available()[0], [0.0f32; 64]);
    let seq = |time, channels| SeqRef::new(&data, SeqShape::time_major(time, 2, channels)).unwrap();
    let run = |from, right, [rows, cols]: [usize; 2], sums: usize, room: usize| {
        let (mut c, mut sums, mut room) = (vec![0.0; rows * cols], vec![0.0; sums], vec![0.0; room]);
        let c = MatMut::dense(&mut c, rows, cols).unwrap();
        let mut terms = [OuterTerm { from, right, c, sums: &mut sums }];
        Outer { isa, left: seq(3, 4), terms: &mut terms, onto: true, room: &mut room }.run().err().map(|e| e.argument)
    };
    let room = Outer::<f32>::room(4);
    assert_eq!(run(1, seq(3, 5), [3, 5], 3, room), None);
    assert_eq!(run(1, seq(2, 5), [3, 5], 3, room), Some("right timesteps"));
    assert_eq!(run(1, seq(3, 4), [3, 5], 3, room), Some("c columns"));
    assert_eq!(run(2, seq(3, 5), [3, 5], 3, room), Some("left columns"));
    assert_eq!(run(usize::MAX, seq(3, 5), [3, 5], 3, room), Some("left columns"));
    assert_eq!(run(1, seq(3, 5), [3, 5], 2, room), Some("sums"));
    assert_eq!(run(1, seq(3, 5), [3, 5], 3, room - 1), Some("room"));
    let endless = SeqRef::new(&data, SeqShape::time_major(usize::MAX, 2, 0)).unwrap();
    let mut terms = [OuterTerm { from: 0, right: endless, c: MatMut::dense(&mut [], 0, 0).unwrap(), sums: &mut [] }];
    let refused = Outer { isa, left: endless, terms: &mut terms, onto: true, room: &mut [] }.run().unwrap_err();
    assert_eq!(refused.argument, "left rows");
    let mut sums = [0.0; 3];
    let refused = Diagonal { isa, left: seq(3, 4), right: seq(3, 4), sums: &mut sums }.run().unwrap_err();
    assert_eq!(refused.argument, "sums");
    let refused = Diagonal { isa, left: seq(3, 3), right: seq(3, 4), sums: &mut sums }.run().unwrap_err();
    assert_eq!(refused.argument, "right columns");
}
