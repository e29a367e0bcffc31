//! The helpers of the tests: what must fail does.

mod common;

use common::{Canaries, Random, Scalar, assert_same};

fn fails(test: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(test).expect_err("the helper let it pass");
    panic.downcast_ref::<String>().expect("a message").clone()
}

#[test]
fn assert_same_compares_bits() {
    assert_same(&[1.0f32, -0.0, f32::NAN], &[1.0, -0.0, -f32::NAN], "good");
    assert!(fails(|| assert_same(&[0.0f32], &[-0.0], "signs")).contains("signs: value 0"));
    assert!(fails(|| assert_same(&[1.0, 1.0], &[1.0, 1.0 + f64::EPSILON], "last bit")).contains("last bit: value 1"));
    assert!(fails(|| assert_same(&[1.0], &[1.0, 2.0], "longer")).contains("longer: lengths"));
    assert!(fails(|| assert_same(&[1.0], &[f64::NAN], "nan")).contains("found NaN"));
}

#[test]
fn assert_same_knows_what_was_never_written() {
    assert_same(&[f32::CANARY], &[f32::CANARY], "good");
    fails(|| assert_same(&[f32::NAN], &[f32::CANARY], "canary"));
    fails(|| assert_same(&[f64::CANARY], &[f64::NAN], "canary"));
    assert!(f32::CANARY.is_nan() && f64::CANARY.is_nan());
    assert_ne!(f32::CANARY.bits(), f32::NAN.bits());
}

#[test]
fn canaries_tell_what_was_written_between_rows() {
    let rows = Canaries::<f32>::rows(2, 3, 5).holding(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(rows.take("good"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(rows.data.len(), 13);
    for i in [3, 4, 8, 12] {
        for value in [0.0, f32::NAN] {
            let mut rows = rows.clone();
            rows.data[i] = value;
            assert!(fails(move || drop(rows.take("spoilt"))).contains("spoilt"));
        }
    }
}

#[test]
fn random_numbers_fill_their_range() {
    let mut random = Random(1);
    let values: Vec<f64> = random.values(10_000, 2.0);
    assert!(
        values.iter().all(|v| v.abs() <= 2.0) && values.iter().any(|&v| v > 1.9) && values.iter().any(|&v| v < -1.9)
    );
    let mut order = random.permutation(9);
    assert_ne!(order, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    order.sort_unstable();
    assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert!((0..100).all(|_| random.below(7) < 7));
}
