//! SimpleRNN: h' = f(W x + b_w + R h + b_r). Keras' `SimpleRNN`, PyTorch's `RNN`, ONNX' `RNN`.

use super::{Chains, Finished, Stage, StageKind, Trace, flush};
use crate::isa::Simd;
use crate::math;
use crate::real::Real;
use std::fmt::Debug;

/// The activation of a SimpleRNN.
pub trait Activation: Copy + Debug + Send + Sync + 'static {
    /// The stage with this activation.
    const KIND: StageKind;

    /// f(x).
    fn apply<T: Real, S: Simd<T>>(self, s: S, x: S::V) -> S::V;
}

/// Hyperbolic tangent.
#[derive(Clone, Copy, Debug)]
pub struct Tanh;

impl Activation for Tanh {
    const KIND: StageKind = StageKind::SimpleTanh;

    #[inline(always)]
    fn apply<T: Real, S: Simd<T>>(self, s: S, x: S::V) -> S::V {
        math::tanh(s, x)
    }
}

/// max(x, 0), NaN for NaN.
#[derive(Clone, Copy, Debug)]
pub struct Relu;

impl Activation for Relu {
    const KIND: StageKind = StageKind::SimpleRelu;

    #[inline(always)]
    fn apply<T: Real, S: Simd<T>>(self, s: S, x: S::V) -> S::V {
        let zero = s.splat(T::ZERO);
        s.select_lt(x, zero, zero, x)
    }
}

/// SimpleRNN with one of the activations above.
#[derive(Clone, Copy, Debug)]
pub struct Simple<F>(pub F);

impl<F: Activation> Stage for Simple<F> {
    type Input<V: Copy> = [V; 1];
    type Recurrent<V: Copy> = [V; 1];
    type Late<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 0];
    type Next<V: Copy> = [V; 1];

    const KIND: StageKind = F::KIND;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 1], [S::V; 0]>,
        _: [S::V; 0],
    ) -> Finished<Self, S::V> {
        let Chains { recurrent: [a], .. } = chains;
        let h = flush(s, self.0.apply(s, a));
        ([h], Trace { gates: [h], beside: h })
    }
}
