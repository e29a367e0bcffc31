//! LSTM, gates in the order i, f, g, o:
//! i = σ(a_i), f = σ(a_f), g = tanh(a_g), o = σ(a_o); c' = f c + i g; h' = o tanh(c').
//! Keras', PyTorch's and ONNX' `LSTM` with standard activations.

use super::{Own, Stage, Sums, flush};
use crate::isa::Simd;
use crate::math::{sigmoid, tanh};
use crate::real::Real;

/// The plain LSTM. Reads c; writes h', c'.
#[derive(Clone, Copy, Debug)]
pub struct Lstm;

impl Stage for Lstm {
    type Input<V: Copy> = [V; 4];
    type Recurrent<V: Copy> = [V; 4];
    type Late<V: Copy> = [V; 0];
    type Unit<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 1];
    type Next<V: Copy> = [V; 2];

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        sums: Sums<[S::V; 4], [S::V; 0]>,
        _: Own<[S::V; 0], S::V>,
        [c]: [S::V; 1],
    ) -> [S::V; 2] {
        let Sums { recurrent: [i, f, g, o], .. } = sums;
        let write = s.mul(sigmoid(s, i), tanh(s, g));
        let c = flush(s, s.fma(sigmoid(s, f), c, write));
        let h = flush(s, s.mul(sigmoid(s, o), tanh(s, c)));
        [h, c]
    }
}
