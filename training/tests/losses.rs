//! Losses against PyTorch and naive formulas, their gradients against central differences.

mod common;

use common::{close, f64s, numbers, reference, roundings, values};
use gatefold::{Element, Error};
use gatefold_training::{Random, cross_entropy, mean_squared_error};

#[test]
fn pytorch_gives_the_same() {
    let reference = reference("pytorch.json");
    for (name, classes) in [("cross_entropy", 3), ("mean_squared_error", 1)] {
        let case = &reference[name];
        let (inputs, target) = (numbers(&case["inputs"]), numbers(&case["target"]));
        let mut gradient = vec![f64::NAN; inputs.len()];
        let loss = match classes {
            1 => mean_squared_error(&inputs, &target, &mut gradient),
            _ => cross_entropy(&inputs, &target.iter().map(|&t| t as usize).collect::<Vec<_>>(), &mut gradient),
        };
        close(name, &[loss.unwrap()], &[case["loss"].as_f64().unwrap()], 1e-14);
        close(name, &gradient, &numbers(&case["gradient"]), 1e-14);
    }
}

/// -log(exp(logit) / sum exp), as it stands in textbooks: only for logits that do not overflow.
fn textbook(logits: &[f64], targets: &[usize]) -> f64 {
    let rows = logits.chunks(logits.len() / targets.len()).zip(targets);
    rows.map(|(row, &target)| -(row[target].exp() / row.iter().map(|l| l.exp()).sum::<f64>()).ln()).sum::<f64>()
        / targets.len() as f64
}

fn agrees_with_textbooks<T: Element>() {
    let mut random = Random::new(2);
    for (rows, classes) in [(1, 1), (1, 2), (3, 5), (7, 16), (4, 67)] {
        let logits: Vec<T> = values(&mut random, rows * classes);
        let targets: Vec<usize> = (0..rows).map(|_| random.below(classes)).collect();
        let mut gradient = vec![T::NAN; logits.len()];
        let loss = cross_entropy(&logits, &targets, &mut gradient).unwrap();
        let logits = f64s(&logits);
        close("loss", &[loss], &[textbook(&logits, &targets)], roundings::<T>(16.0));
        let slope = |k: usize| {
            let at = |step: f64| {
                let mut moved = logits.clone();
                moved[k] += step;
                textbook(&moved, &targets)
            };
            (at(1e-5) - at(-1e-5)) / 2e-5
        };
        close(
            "gradient",
            &gradient,
            &(0..logits.len()).map(slope).collect::<Vec<_>>(),
            1e-8f64.max(roundings::<T>(8.0)),
        );
    }
}

#[test]
fn cross_entropy_is_that_of_textbooks() {
    agrees_with_textbooks::<f32>();
    agrees_with_textbooks::<f64>();
}

/// Where exp would overflow or vanish, the loss is a difference of logits.
#[test]
fn great_logits_are_no_harm() {
    let far = f32::MAX / 4.0;
    let mut gradient = [f32::NAN; 3];
    assert_eq!(cross_entropy(&[far, 0.0, -far], &[0], &mut gradient).unwrap(), 0.0);
    assert_eq!(gradient, [0.0; 3]);
    assert_eq!(cross_entropy(&[far, 0.0, -far], &[1], &mut gradient).unwrap(), f64::from(far));
    assert_eq!(gradient, [1.0, -1.0, 0.0]);
    assert_eq!(cross_entropy(&[f32::NEG_INFINITY, 0.0, 0.0], &[2], &mut gradient).unwrap(), 2f64.ln());
    for bad in [[f32::NAN, 0.0, 0.0], [0.0, f32::INFINITY, 0.0], [f32::NEG_INFINITY; 3], [0.0, 0.0, f32::NAN]] {
        assert!(cross_entropy(&bad, &[0], &mut gradient).unwrap().is_nan(), "{bad:?}");
    }
}

fn squares<T: Element>() {
    let mut random = Random::new(4);
    let (y, target): (Vec<T>, Vec<T>) = (values(&mut random, 13), values(&mut random, 13));
    let mut dy = vec![T::NAN; 13];
    let loss = mean_squared_error(&y, &target, &mut dy).unwrap();
    let differences: Vec<f64> = f64s(&y).iter().zip(f64s(&target)).map(|(y, t)| y - t).collect();
    close("loss", &[loss], &[differences.iter().map(|d| d * d).sum::<f64>() / 13.0], 1e-15);
    close("dy", &dy, &differences.iter().map(|d| 2.0 * d / 13.0).collect::<Vec<_>>(), roundings::<T>(1.0));
}

#[test]
fn the_mean_of_squares() {
    squares::<f32>();
    squares::<f64>();
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let shape = |argument, expected, found| Err(Error::Shape { argument, expected, found });
    let mut out = [7f32; 6];
    assert_eq!(mean_squared_error(&[0.0; 6], &[0.0; 5], &mut out), shape("target", 6, 5));
    assert_eq!(mean_squared_error(&[0.0; 5], &[0.0; 5], &mut out), shape("dy", 5, 6));
    assert_eq!(mean_squared_error::<f32>(&[], &[], &mut []), Err(Error::Zero { argument: "y" }));
    assert_eq!(cross_entropy(&[0.0; 6], &[], &mut out), Err(Error::Zero { argument: "targets" }));
    assert_eq!(cross_entropy(&[0.0; 2], &[0; 3], &mut out), Err(Error::Zero { argument: "classes" }));
    assert_eq!(cross_entropy(&[0.0; 7], &[0; 3], &mut out), shape("logits", 6, 7));
    assert_eq!(cross_entropy(&[0.0; 8], &[0; 2], &mut out), shape("d_logits", 8, 6));
    let beyond = Err(Error::TooGreat { argument: "targets", maximum: 2, found: 3 });
    assert_eq!(cross_entropy(&[0.0; 6], &[2, 3], &mut out), beyond);
    assert_eq!(out, [7.0; 6]);
}
