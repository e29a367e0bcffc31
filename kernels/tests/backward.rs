//! The pointwise part of back-propagation: what it refuses, and what it leaves alone. The gradients themselves are compared
//! where there are layers, with PyTorch's and with differences.

use gatefold_kernels::backward::{Backward, BackwardKind, Join};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::mat::{MatMut, MatRef};

const KINDS: [BackwardKind; 6] = [
    BackwardKind::SimpleTanh,
    BackwardKind::SimpleRelu,
    BackwardKind::Lstm,
    BackwardKind::GruAfter,
    BackwardKind::GruCandidate,
    BackwardKind::GruGates,
];

/// Sizes of the arguments of a step: rows and columns.
#[derive(Clone, Copy)]
struct Sizes {
    gates: [usize; 2],
    before: [usize; 2],
    peepholes: usize,
    other: [usize; 2],
}

/// A step of 2 rows of 3 units; dh holds 1/4, everything else 1/2. Returns the gates afterwards.
fn run(isa: Isa, kind: BackwardKind, sizes: Sizes, select: Option<&[u32]>) -> Result<Vec<f32>, &'static str> {
    let half = |[rows, cols]: [usize; 2]| vec![0.5f32; rows * cols];
    let (mut gates, before, peepholes) = (half(sizes.gates), half(sizes.before), half([1, sizes.peepholes]));
    let (mut dh, mut other) = (vec![0.25; 6], half(sizes.other));
    let matrix = |values, [rows, cols]: [usize; 2]| MatRef::dense(values, rows, cols).unwrap();
    Backward {
        isa,
        kind,
        gates: MatMut::dense(&mut gates, sizes.gates[0], sizes.gates[1]).unwrap(),
        before: matrix(&before, sizes.before),
        peepholes: &peepholes,
        dh: MatMut::dense(&mut dh, 2, 3).unwrap(),
        other: MatMut::dense(&mut other, sizes.other[0], sizes.other[1]).unwrap(),
        select,
    }
    .run()
    .map_err(|e| e.argument)?;
    Ok(gates)
}

#[test]
fn refuses_wrong_sizes() {
    let isa = Isa::available()[0];
    let fit = Sizes { gates: [2, 12], before: [2, 3], peepholes: 0, other: [2, 3] };
    for kind in KINDS {
        let refused = |sizes| run(isa, kind, sizes, None).err();
        assert_eq!(refused(fit), None, "{kind:?}");
        assert_eq!(refused(Sizes { gates: [1, 12], ..fit }), Some("gates rows"));
        assert_eq!(refused(Sizes { gates: [2, 3 * kind.gates() - 1], ..fit }), Some("gates columns"));
        let is_simple = kind.gates() == 1;
        let is_lstm = kind == BackwardKind::Lstm;
        let has_other = is_lstm || kind == BackwardKind::GruGates;
        let expected = |is: bool, name| is.then_some(name);
        assert_eq!(refused(Sizes { before: [1, 3], ..fit }), expected(!is_simple, "before rows"));
        assert_eq!(refused(Sizes { before: [2, 2], ..fit }), expected(!is_simple, "before columns"));
        assert_eq!(refused(Sizes { peepholes: 9, ..fit }), expected(!is_lstm, "peepholes"));
        assert_eq!(refused(Sizes { peepholes: 8, ..fit }), Some("peepholes"));
        assert_eq!(refused(Sizes { other: [2, 4], ..fit }), expected(has_other, "other columns"));
        assert_eq!(run(isa, kind, fit, Some(&[2])).err(), Some("selected row"));
    }
    let mut dh = [0.0f64; 2];
    let dh = MatMut::dense(&mut dh, 1, 2).unwrap();
    let dy = Some(MatRef::dense(&[0.0; 3], 1, 3).unwrap());
    assert_eq!(Join { isa, dh, dy, select: None }.run().unwrap_err().argument, "dy columns");
}

#[test]
fn leaves_other_rows_and_columns_alone() {
    for &isa in Isa::available() {
        for kind in KINDS {
            let sizes = Sizes { gates: [2, 13], before: [2, 3], peepholes: 0, other: [2, 3] };
            let gates = run(isa, kind, sizes, Some(&[1])).unwrap();
            assert!(gates[..13].iter().all(|&v| v == 0.5), "{kind:?}: a row that was not selected");
            assert_eq!(gates[25], 0.5, "{kind:?}: a column past the gates");
            assert_ne!(gates[13..25], [0.5; 12], "{kind:?}: nothing was computed");
        }
    }
}

#[test]
fn small_gradients_of_states_become_zero() {
    for &isa in Isa::available() {
        let (mut dh, dy) = ([2f32.powi(-101), -(2f32.powi(-101)), 2f32.powi(-100)], [0.0, 0.0, 0.0]);
        let dy = Some(MatRef::dense(&dy, 1, 3).unwrap());
        Join { isa, dh: MatMut::dense(&mut dh, 1, 3).unwrap(), dy, select: None }.run().unwrap();
        assert_eq!(dh.map(f32::to_bits), [0.0, 0.0, 2f32.powi(-100)].map(f32::to_bits));
    }
}
