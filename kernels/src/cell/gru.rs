//! GRU, gates in the order r, z, n; h' = z h + (1 - z) n with r = σ(a_r), z = σ(a_z).
//!
//! Reset after the product (Keras' default, PyTorch, cuDNN): n = tanh(W_n x + b_wn + r (R_n h + b_rn)).
//! Reset before it (Keras' option, ONNX' default): n = tanh(W_n x + b_wn + R_n (r h) + b_rn), which needs
//! r h of all units before the product of any, hence two stages. Large layers have a stage for each gate, so that z can be
//! computed wherever its weights are still in a cache: see [`relay`](crate::relay).

use super::{Chains, Finished, Stage, StageKind, Trace, flush};
use crate::isa::Simd;
use crate::math::{sigmoid, tanh};
use crate::real::Real;

/// z h + (1 - z) n: exactly h where z is 1, exactly n where it is 0.
#[inline(always)]
pub(crate) fn update<T: Real, S: Simd<T>>(s: S, z: S::V, h: S::V, n: S::V) -> S::V {
    let take = s.mul(s.sub(s.splat(T::ONE), z), n);
    flush(s, s.fma(z, h, take))
}

/// Reset after the recurrent product. The input's n stays apart (late), the recurrent n starts from its own bias.
#[derive(Clone, Copy, Debug)]
pub struct GruAfter;

impl Stage for GruAfter {
    type Input<V: Copy> = [V; 3];
    type Recurrent<V: Copy> = [V; 3];
    type Late<V: Copy> = [V; 1];
    type Prev<V: Copy> = [V; 1];
    type Next<V: Copy> = [V; 1];

    const KIND: StageKind = StageKind::GruAfter;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 3], [S::V; 1]>,
        [h]: [S::V; 1],
    ) -> Finished<Self, S::V> {
        let Chains { recurrent: [r, z, rn], late: [xn] } = chains;
        let (r, z) = (sigmoid(s, r), sigmoid(s, z));
        let n = tanh(s, s.fma(r, rn, xn));
        ([update(s, z, h, n)], Trace { gates: [r, z, n], beside: rn })
    }
}

/// Reset before the recurrent product, first stage. Reads h; writes r h, z.
#[derive(Clone, Copy, Debug)]
pub struct GruGates;

impl Stage for GruGates {
    type Input<V: Copy> = [V; 2];
    type Recurrent<V: Copy> = [V; 2];
    type Late<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 1];
    type Next<V: Copy> = [V; 2];

    const KIND: StageKind = StageKind::GruGates;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 2], [S::V; 0]>,
        [h]: [S::V; 1],
    ) -> Finished<Self, S::V> {
        let Chains { recurrent: [r, z], .. } = chains;
        let (r, z) = (sigmoid(s, r), sigmoid(s, z));
        let reset = flush(s, s.mul(r, h));
        ([reset, z], Trace { gates: [r, z], beside: reset })
    }
}

/// Second stage, its product over r h. Reads h, z; writes h'.
#[derive(Clone, Copy, Debug)]
pub struct GruCandidate;

impl Stage for GruCandidate {
    type Input<V: Copy> = [V; 1];
    type Recurrent<V: Copy> = [V; 1];
    type Late<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 2];
    type Next<V: Copy> = [V; 1];

    const KIND: StageKind = StageKind::GruCandidate;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 1], [S::V; 0]>,
        [h, z]: [S::V; 2],
    ) -> Finished<Self, S::V> {
        let Chains { recurrent: [n], .. } = chains;
        let n = tanh(s, n);
        ([update(s, z, h, n)], Trace { gates: [n], beside: n })
    }
}

/// Reset before the recurrent product, r alone. Reads h; writes r h.
#[derive(Clone, Copy, Debug)]
pub struct GruReset;

impl Stage for GruReset {
    type Input<V: Copy> = [V; 1];
    type Recurrent<V: Copy> = [V; 1];
    type Late<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 1];
    type Next<V: Copy> = [V; 1];

    const KIND: StageKind = StageKind::GruReset;
    const ANY_SIZE: bool = false;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 1], [S::V; 0]>,
        [h]: [S::V; 1],
    ) -> Finished<Self, S::V> {
        let Chains { recurrent: [r], .. } = chains;
        let r = sigmoid(s, r);
        let reset = flush(s, s.mul(r, h));
        ([reset], Trace { gates: [r], beside: reset })
    }
}

/// Reset before the recurrent product, z alone. Writes z.
#[derive(Clone, Copy, Debug)]
pub struct GruUpdate;

impl Stage for GruUpdate {
    type Input<V: Copy> = [V; 1];
    type Recurrent<V: Copy> = [V; 1];
    type Late<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 0];
    type Next<V: Copy> = [V; 1];

    const KIND: StageKind = StageKind::GruUpdate;
    const ANY_SIZE: bool = false;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 1], [S::V; 0]>,
        []: [S::V; 0],
    ) -> Finished<Self, S::V> {
        let Chains { recurrent: [z], .. } = chains;
        let z = sigmoid(s, z);
        ([z], Trace { gates: [z], beside: z })
    }
}

/// The candidate of units whose z is computed behind it, its product over r h. Writes n.
#[derive(Clone, Copy, Debug)]
pub struct GruEarlyCandidate;

impl Stage for GruEarlyCandidate {
    type Input<V: Copy> = [V; 1];
    type Recurrent<V: Copy> = [V; 1];
    type Late<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 0];
    type Next<V: Copy> = [V; 1];

    const KIND: StageKind = StageKind::GruEarlyCandidate;
    const ANY_SIZE: bool = false;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 1], [S::V; 0]>,
        []: [S::V; 0],
    ) -> Finished<Self, S::V> {
        let Chains { recurrent: [n], .. } = chains;
        let n = tanh(s, n);
        ([n], Trace { gates: [n], beside: n })
    }
}

/// z of units whose candidate is there already. Reads h, n; writes h'.
#[derive(Clone, Copy, Debug)]
pub struct GruLateUpdate;

impl Stage for GruLateUpdate {
    type Input<V: Copy> = [V; 1];
    type Recurrent<V: Copy> = [V; 1];
    type Late<V: Copy> = [V; 0];
    type Prev<V: Copy> = [V; 2];
    type Next<V: Copy> = [V; 1];

    const KIND: StageKind = StageKind::GruLateUpdate;
    const ANY_SIZE: bool = false;

    #[inline(always)]
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<[S::V; 1], [S::V; 0]>,
        [h, n]: [S::V; 2],
    ) -> Finished<Self, S::V> {
        let Chains { recurrent: [z], .. } = chains;
        let z = sigmoid(s, z);
        ([update(s, z, h, n)], Trace { gates: [z], beside: z })
    }
}
