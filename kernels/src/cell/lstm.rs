//! LSTM, gates in the order i, f, g, o:
//! i = σ(a_i), f = σ(a_f), g = tanh(a_g), o = σ(a_o); c' = f c + i g; h' = o tanh(c').
//! Keras', PyTorch's and ONNX' `LSTM` with standard activations.
//! With projection (Sak, Senior and Beaufays, arXiv:1402.1128; PyTorch's `proj_size`): h' = W_hr (o tanh(c')), as many
//! units as W_hr has rows, a second stage.

use super::{Chains, Finished, Stage, StageKind, Trace, flush};
use crate::isa::Simd;
use crate::math::{sigmoid, sigmoid_tanh, tanh};
use crate::real::Real;

/// The plain LSTM. Reads c; writes h', c'.
#[derive(Clone, Copy, Debug)]
pub struct Lstm;

impl Stage for Lstm {
    type Input<V: Copy> = [V; 4];
    type Recurrent<V: Copy> = [V; 4];
    type Late<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 1];
    type Next<V: Copy> = [V; 2];

    const KIND: StageKind = StageKind::Lstm;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 4], [S::V; 0]>,
        [c]: [S::V; 1],
    ) -> Finished<Self, S::V> {
        let Chains { recurrent: [i, f, g, o], .. } = chains;
        let forget = sigmoid(s, f);
        let c = s.fma(forget, c, sigmoid_tanh(s, i, g));
        // h does not wait for c to be flushed: of a c that is, it is next to nothing, too.
        let (h, c) = (flush(s, sigmoid_tanh(s, o, c)), flush(s, c));
        // Inference does not compute what it does not keep.
        ([h, c], Trace { gates: [sigmoid(s, i), forget, tanh(s, g), sigmoid(s, o)], beside: h })
    }
}

/// The projection of an LSTM's output: h' = W_hr m, where m = o tanh(c') comes from the first stage. Nothing of the input
/// takes part; its one chain starts from a bias that is zero.
#[derive(Clone, Copy, Debug)]
pub struct Projection;

impl Stage for Projection {
    type Input<V: Copy> = [V; 0];
    type Recurrent<V: Copy> = [V; 1];
    type Late<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 0];
    type Next<V: Copy> = [V; 1];

    const KIND: StageKind = StageKind::Projection;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 1], [S::V; 0]>,
        _: [S::V; 0],
    ) -> Finished<Self, S::V> {
        let h = flush(s, chains.recurrent[0]);
        ([h], Trace { gates: [h], beside: h })
    }
}
