//! Dropout: how much is dropped, by what the rest is scaled, and what shares a mask.

mod common;

use common::bits;
use gatefold::{Element, Error};
use gatefold_training::{Dropout, Share};

const SIZES: [usize; 3] = [5, 40, 50];

fn applied<T: Element>(rate: f64, share: Share, seed: u64) -> (Dropout<T>, Vec<T>) {
    let mut dropout = Dropout::new(rate, share, seed).unwrap();
    let mut x = vec![T::from_f64(3.0); SIZES.iter().product()];
    dropout.forward(&mut x, SIZES).unwrap();
    (dropout, x)
}

fn drops<T: Element>() {
    for rate in [0.0, 0.1, 0.5, 0.9, 1.0] {
        for (share, drawn) in [(Share::Nothing, 10_000.0), (Share::Timesteps, 2_000.0)] {
            let (_, x) = applied::<T>(rate, share, 1);
            let kept = T::from_f64(3.0) * T::from_f64(1.0 / (1.0 - rate));
            assert!(x.iter().all(|&value| value == T::ZERO || value == kept), "{rate}");
            let dropped = x.iter().filter(|&&value| value == T::ZERO).count() as f64 / x.len() as f64;
            let deviation = (rate * (1.0 - rate) / drawn).sqrt();
            assert!((dropped - rate).abs() <= 5.0 * deviation, "{rate} {share:?}: {dropped}");
        }
    }
}

#[test]
fn as_much_as_the_rate_says_is_dropped() {
    drops::<f32>();
    drops::<f64>();
}

#[test]
fn timesteps_share_a_mask_or_do_not() {
    let step = SIZES[1] * SIZES[2];
    let (_, shared) = applied::<f32>(0.5, Share::Timesteps, 1);
    assert!(shared.chunks(step).all(|values| values == &shared[..step]));
    let (_, apart) = applied::<f32>(0.5, Share::Nothing, 1);
    assert!(apart.chunks(step).skip(1).all(|values| values != &apart[..step]));
}

#[test]
fn a_seed_decides_and_each_call_draws_anew() {
    for share in [Share::Nothing, Share::Timesteps] {
        let (mut dropout, first) = applied::<f64>(0.5, share, 1);
        assert_eq!(bits(&first), bits(&applied::<f64>(0.5, share, 1).1));
        assert_ne!(bits(&first), bits(&applied::<f64>(0.5, share, 2).1));
        let mut second = vec![3.0; first.len()];
        dropout.forward(&mut second, SIZES).unwrap();
        assert_ne!(bits(&first), bits(&second));
    }
}

#[test]
fn gradients_go_through_the_mask_of_the_last_call() {
    for share in [Share::Nothing, Share::Timesteps] {
        let (mut dropout, _) = applied::<f32>(0.3, share, 4);
        let (mut y, mut dx) = (vec![1.0; 24], vec![1.0; 24]);
        dropout.forward(&mut y, [2, 3, 4]).unwrap();
        dropout.backward(&mut dx).unwrap();
        assert_eq!(bits(&y), bits(&dx));
    }
}

/// 0 times infinity would be NaN.
#[test]
fn what_is_dropped_is_zero_whatever_it_was() {
    let mut dropout = Dropout::new(1.0, Share::Nothing, 0).unwrap();
    let mut x = [f32::INFINITY, f32::NAN, 1.0];
    dropout.forward(&mut x, [1, 1, 3]).unwrap();
    assert_eq!(x, [0.0; 3]);
}

#[test]
fn what_does_not_fit_is_refused() {
    for found in [-0.1, 1.1, f64::NAN] {
        let refused = Dropout::<f32>::new(found, Share::Nothing, 0);
        assert!(matches!(refused, Err(Error::Number { argument: "rate", .. })), "{refused:?}");
    }
    let (mut dropout, mut x) = (Dropout::new(0.5, Share::Timesteps, 0).unwrap(), [1f32; 6]);
    let shape = |argument, expected, found| Err(Error::Shape { argument, expected, found });
    assert_eq!(dropout.backward(&mut x), shape("dy", 0, 6));
    assert_eq!(dropout.forward(&mut x, [1, 2, 4]), shape("x", 8, 6));
    for sizes in [[usize::MAX, 2, 1], [1, usize::MAX, 2]] {
        assert_eq!(dropout.forward(&mut x, sizes), Err(Error::TooLarge { argument: "sizes" }));
    }
    assert_eq!(x, [1.0; 6]);
    assert_eq!(dropout.forward(&mut [], [0, 2, 3]), Ok(()));
    assert_eq!(dropout.backward(&mut x), shape("dy", 0, 6));
}
