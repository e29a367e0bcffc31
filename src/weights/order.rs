//! Orders of gates and axes. Canonical: gates i, f, g, o or r, z, n; rows gate-major `[G*H, C]`.
//! No other file knows another order.

use crate::cell::Cell;

/// The place of the update gate z among a GRU's canonical gates r, z, n.
pub(super) const GRU_UPDATE: usize = 1;

/// For each canonical gate, its place in Keras' order: i, f, c, o and z, r, h.
pub(super) fn keras(cell: Cell) -> &'static [usize] {
    match cell {
        Cell::SimpleRnn { .. } => &[0],
        Cell::Lstm => &[0, 1, 2, 3],
        Cell::Gru { .. } => &[1, 0, 2],
    }
}

/// For each canonical gate, its place in ONNX' order: i, o, f, c and z, r, h.
pub(super) fn onnx(cell: Cell) -> &'static [usize] {
    match cell {
        Cell::SimpleRnn { .. } => &[0],
        Cell::Lstm => &[0, 2, 3, 1],
        Cell::Gru { .. } => &[1, 0, 2],
    }
}

/// For each of the peepholes i, f, o, its place in ONNX' order: i, o, f.
pub(super) const ONNX_PEEPHOLES: [usize; 3] = [0, 2, 1];

/// The blocks of `source`, as many as `order` has entries and of equal length, in another order: block k of the
/// result is block `order[k]`.
pub(super) fn blocks<T: Copy>(source: &[T], order: &[usize]) -> Vec<T> {
    let length = source.len() / order.len();
    order.iter().flat_map(|&k| &source[k * length..][..length]).copied().collect()
}

/// The columns of `source: [C, G*H]` as rows `[G*H, C]`, their blocks of H in another order: block k of the
/// result is block `order[k]`.
pub(super) fn transposed_blocks<T: Copy>(source: &[T], columns: usize, order: &[usize]) -> Vec<T> {
    let hidden = columns / order.len();
    let rows = order.iter().flat_map(|&k| k * hidden..(k + 1) * hidden);
    rows.flat_map(|row| source[row..].iter().step_by(columns)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Activation, Reset};

    #[test]
    fn each_order_lists_each_gate_once() {
        let activation = Activation::Tanh;
        for cell in [Cell::SimpleRnn { activation }, Cell::Lstm, Cell::Gru { reset: Reset::After }] {
            for order in [keras(cell), onnx(cell)] {
                let mut order = order.to_vec();
                order.sort_unstable();
                assert_eq!(order, (0..cell.gates()).collect::<Vec<_>>(), "{cell:?}");
            }
        }
    }

    #[test]
    fn blocks_move_whole() {
        assert_eq!(blocks(&[1, 2, 3, 4, 5, 6], &[1, 0, 2]), [3, 4, 1, 2, 5, 6]);
        // Block k of the result is block order[k], not the other way round.
        assert_eq!(blocks(&[1, 2, 3, 4], &[0, 2, 3, 1]), [1, 3, 4, 2]);
    }

    #[test]
    fn columns_become_rows() {
        // C = 2, G = 3, H = 2: entry (c, j) is 10 c + j.
        let source = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15];
        let rows = [2, 12, 3, 13, 0, 10, 1, 11, 4, 14, 5, 15];
        assert_eq!(transposed_blocks(&source, 6, &[1, 0, 2]), rows);
    }
}
