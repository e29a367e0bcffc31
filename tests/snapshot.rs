//! Snapshots of states: taken up as they were, or refused.

use gatefold::cell::{Activation, Cell, Reset};
use gatefold::{Error, Layer, Options, Weights};

#[test]
fn every_changed_byte_and_every_length_is_refused() {
    let weights = Weights::new(Cell::Lstm, 1, 2, vec![0.5f64; 8], vec![0.1; 16], None, None).unwrap();
    let layer = Layer::new(weights, Options::default()).unwrap();
    let mut state = layer.state(3).unwrap();
    state.set_h(&[0.1, -0.2, 0.3, -0.0, 1e-300, 7.0]).unwrap();
    state.set_c(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let bytes = state.to_bytes();
    let mut other = layer.state(3).unwrap();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0x10;
        assert!(other.restore(&changed).is_err(), "byte {place}");
        assert!(other.restore(&bytes[..place]).is_err(), "length {place}");
    }
    assert_eq!(other.h_to_vec(), [0.0; 6]);
    other.restore(&bytes).unwrap();
    let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(other.h_to_vec()), bits(state.h_to_vec()));
    assert_eq!(other.c_to_vec(), state.c_to_vec());
    assert!(layer.state(2).unwrap().restore(&bytes).is_err());
}

#[test]
fn the_state_of_another_cell_is_refused() {
    let state = |cell: Cell| {
        let rows = cell.gates();
        let weights = Weights::new(cell, 1, 1, vec![0.5f32; rows], vec![0.1; rows], None, None).unwrap();
        Layer::new(weights, Options::default()).unwrap().state(2).unwrap()
    };
    let gru = state(Cell::Gru { reset: Reset::After });
    let error = state(Cell::SimpleRnn { activation: Activation::Tanh }).restore(&gru.to_bytes()).unwrap_err();
    assert_eq!(error, Error::Snapshot { what: "cell", expected: 0, found: 2 });
}
