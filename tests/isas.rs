//! Every instruction set of the machine runs layers, and the one that `GATEFOLD_ISA` names is the one that runs.
//!
//! What this prints is how `.ci/run` knows that none was left out: it has its own list of what the machine should have.

use gatefold::cell::{Cell, Reset};
use gatefold::seq::time_major;
use gatefold::{Isa, Layer, Options, Weights};

/// Neither is a multiple of a vector's width.
const SIZES: [usize; 3] = [5, 3, 7];
const HIDDEN: usize = 19;

fn layer(isa: Option<Isa>) -> Layer<f32> {
    let cell = Cell::Gru { reset: Reset::After };
    let values = |len: usize| (0..len).map(|i| (i as f32 * 0.7).sin() / 4.0).collect::<Vec<_>>();
    let (w, r) = (values(3 * HIDDEN * SIZES[2]), values(3 * HIDDEN * HIDDEN));
    let weights = Weights::new(cell, SIZES[2], HIDDEN, w, r, None, None).unwrap();
    Layer::new(weights, Options { isa, ..Options::default() }).unwrap()
}

fn output_bits(layer: &Layer<f32>) -> Vec<u32> {
    let x: Vec<f32> = (0..SIZES.iter().product()).map(|i| (i as f32).cos()).collect();
    let y = layer.forward(time_major(&x, SIZES).unwrap(), None).unwrap().y;
    assert!(y.iter().all(|y| y.is_finite() && *y != 0.0));
    y.iter().map(|y| y.to_bits()).collect()
}

#[test]
fn every_available_isa_runs_layers() {
    let portable = output_bits(&layer(Some(Isa::named("portable").unwrap())));
    let mut tested = Vec::new();
    for &isa in Isa::available() {
        let layer = layer(Some(isa));
        assert_eq!(layer.isa(), isa);
        assert_eq!(output_bits(&layer), portable, "{}", isa.name());
        tested.push(isa.name());
    }
    println!("\nisas tested: {}", tested.join(" "));
}

#[test]
fn the_variable_decides() {
    let isa = layer(None).isa();
    match std::env::var("GATEFOLD_ISA") {
        Ok(name) => assert_eq!(isa.name(), name),
        Err(_) => assert_eq!(isa, Isa::available()[0]),
    }
    println!("\nisa chosen: {}", isa.name());
}
