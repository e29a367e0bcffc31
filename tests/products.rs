//! The products of all backends: matrices of any strides, C as it is, scaled or never read, and what is refused.

mod common;
mod reference;

use common::numbers::{Canaries, Random, Scalar, proptest};
use common::{Value, backends};
use gatefold::gemm::{Gemm, Native};
use gatefold::seq::{MatMut, MatRef};
use gatefold::{Error, Isa};
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

/// Every product that the library was built with.
fn products<T: Value>() -> Vec<Arc<dyn Gemm<T>>> {
    let native = Isa::available().iter().map(|&isa| Arc::new(Native { isa }) as Arc<dyn Gemm<T>>);
    native.chain(backends().into_iter().filter_map(|backend| T::foreign(backend).unwrap())).collect()
}

/// How the rows of a matrix stand.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stand {
    /// With so many values between rows.
    Apart(usize),
    /// Its columns stand so.
    Transposed(usize),
    /// Each row starts one value after the one before.
    Overlapping,
    /// All rows are one.
    Repeated,
}

/// Values enough for any matrix here, and the view of one.
fn view<T>(data: &[T], rows: usize, cols: usize, stand: Stand) -> MatRef<'_, T> {
    match stand {
        Stand::Apart(gap) => MatRef::new(data, rows, cols, cols + gap).unwrap(),
        Stand::Transposed(gap) => MatRef::new(data, cols, rows, rows + gap).unwrap().transposed(),
        Stand::Overlapping => MatRef::new(data, rows, cols, 1).unwrap(),
        Stand::Repeated => MatRef::new(data, rows, cols, 0).unwrap(),
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    sizes: [usize; 3],
    a: Stand,
    b: Stand,
    gap: usize,
    beta: f64,
    seed: u64,
}

prop_compose! {
    fn cases()(
        m in select(vec![0usize, 1, 2, 3, 7, 8, 9, 17]),
        k in select(vec![0usize, 1, 2, 5, 16, 33]),
        n in select(vec![0usize, 1, 3, 4, 8, 15, 17, 33]),
        a in select(vec![
            Stand::Apart(0), Stand::Apart(3), Stand::Transposed(0), Stand::Transposed(2), Stand::Overlapping, Stand::Repeated,
        ]),
        b in select(vec![Stand::Apart(0), Stand::Apart(3), Stand::Transposed(0), Stand::Transposed(2)]),
        gap in 0usize..3,
        beta in select(vec![0.0, 1.0, 0.5]),
        seed: u64,
    ) -> Case {
        Case { sizes: [m, k, n], a, b, gap, beta, seed }
    }
}

/// C = A B + beta C within the rounding of sums in any order.
fn check<T: Value>(case: Case, product: &dyn Gemm<T>) {
    let Case { sizes: [m, k, n], beta, gap, .. } = case;
    let mut random = Random(case.seed);
    let [a, b, c] = [1000, 1500, m * n].map(|n| random.values::<T>(n, 1.0));
    let (a, b) = (view(&a, m, k, case.a), view(&b, k, n, case.b));
    let mut memory = Canaries::rows(m, n, n + gap);
    if beta != 0.0 {
        memory = memory.holding(&c);
    }
    let view = MatMut::new(&mut memory.data, m, n, n + gap).unwrap();
    product.gemm(a, b, T::from_f64(beta), view).unwrap();
    for (i, found) in memory.take("c").into_iter().enumerate() {
        let terms = (0..k).map(|k| a.get(i / n, k).unwrap().to_f64() * b.get(k, i % n).unwrap().to_f64());
        let old = if beta == 0.0 { 0.0 } else { beta * c[i].to_f64() };
        let (sum, magnitude) = terms.fold((old, old.abs()), |(s, m), term| (s + term, m + term.abs()));
        let (off, bound) = ((sum - found.to_f64()).abs(), 2.0 * (k + 2) as f64 * T::ROUNDING * magnitude);
        assert!(off <= bound, "{product:?}, value {i}: expected {sum}, found {found:?}, bound {bound:e}");
    }
}

proptest! {
    #![proptest_config(proptest(500))]

    #[test]
    fn f32_products(case in cases()) {
        products::<f32>().iter().for_each(|product| check(case, &**product));
    }

    #[test]
    fn f64_products(case in cases()) {
        products::<f64>().iter().for_each(|product| check(case, &**product));
    }
}

/// A product with one value that is off.
#[derive(Debug)]
struct Spoilt(f64);

impl Gemm<f64> for Spoilt {
    fn gemm(&self, a: MatRef<'_, f64>, b: MatRef<'_, f64>, beta: f64, mut c: MatMut<'_, f64>) -> gatefold::Result<()> {
        products::<f64>()[0].gemm(a, b, beta, c.reborrow())?;
        c.row_mut(1).unwrap()[2] += self.0;
        Ok(())
    }
}

const SMALL: Case = Case { sizes: [3, 5, 4], a: Stand::Apart(0), b: Stand::Transposed(1), gap: 1, beta: 0.5, seed: 1 };

#[test]
#[should_panic(expected = "value 6: expected")]
fn a_wrong_value_is_noticed() {
    check(SMALL, &Spoilt(0.0));
    check(SMALL, &Spoilt(1e-14));
}

#[test]
#[should_panic(expected = "found NaN")]
fn nan_is_noticed() {
    check(SMALL, &Spoilt(f64::NAN));
}

#[test]
fn a_wrong_size_is_named() {
    for product in products::<f64>() {
        let (data, mut memory) = (vec![1.0; 100], vec![f64::CANARY; 100]);
        let mut run = |[m, k]: [usize; 2], [k2, n]: [usize; 2], [m2, n2]: [usize; 2]| {
            let (a, b) = (MatRef::dense(&data, m, k).unwrap(), MatRef::dense(&data, k2, n).unwrap());
            let result = product.gemm(a, b, 0.0, MatMut::dense(&mut memory, m2, n2).unwrap());
            assert_eq!(result.is_err(), memory.iter().all(|value| value.bits() == f64::CANARY.bits()));
            result
        };
        let shape = |argument, expected, found| Err(Error::Shape { argument, expected, found });
        assert_eq!(run([2, 3], [4, 5], [2, 5]), shape("b rows", 3, 4));
        assert_eq!(run([2, 3], [3, 5], [3, 5]), shape("c rows", 2, 3));
        assert_eq!(run([2, 3], [3, 5], [2, 4]), shape("c columns", 5, 4));
        assert_eq!(run([2, 3], [3, 5], [2, 5]), Ok(()));
    }
}

/// Sizes that are small, or larger than any memory.
fn sizes() -> impl Strategy<Value = usize> {
    let huge = [16, 1, 0].map(|less| usize::MAX - less);
    let parts = [1, 2, 3, 4].map(|shift| (usize::MAX >> shift) + 1);
    prop_oneof![3 => 0usize..5, 1 => select(huge.to_vec()), 1 => select(parts.to_vec())]
}

proptest! {
    #![proptest_config(proptest(20_000))]

    #[test]
    fn no_sizes_panic(
        [m, k, n] in [sizes(), sizes(), sizes()],
        [a_stride, b_stride, c_stride] in [sizes(), sizes(), sizes()],
        [a_turned, b_turned]: [bool; 2],
        beta in select(vec![0.0f32, 1.0, 0.5]),
    ) {
        let (data, mut memory) = (vec![1f32; 40], vec![1f32; 40]);
        let view = |rows, cols, stride, turned| match turned {
            true => MatRef::new(&data, cols, rows, stride).map(MatRef::transposed),
            false => MatRef::new(&data, rows, cols, stride),
        };
        let (Ok(a), Ok(b)) = (view(m, k, a_stride, a_turned), view(k, n, b_stride, b_turned)) else { return Ok(()) };
        // A sum of so many values would take for ever, as it should.
        if k > 1000 && m > 0 && n > 0 {
            return Ok(());
        }
        for product in products::<f32>() {
            let Ok(c) = MatMut::new(&mut memory, m, n, c_stride) else { continue };
            _ = product.gemm(a, b, beta, c);
        }
    }
}
