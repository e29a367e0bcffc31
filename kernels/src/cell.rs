//! The cells: what a step does with its finished products.
//!
//! A step of a layer is one [`Stage`] or a few. Each stage continues the chains that the input product began with one
//! recurrent product, and turns the accumulators into state. A stage knows nothing of memory, threads, instruction
//! sets or weight formats. A new cell is a file under `cell/` and its stages' lines in the list below.

mod gru;
mod lstm;
mod simple;

pub(crate) use gru::update;
pub use gru::{GruAfter, GruCandidate, GruEarlyCandidate, GruGates, GruLateUpdate, GruReset, GruUpdate};
pub use lstm::{Lstm, Projection};
pub use simple::{Relu, Simple, Tanh};

use crate::block::Block;
use crate::isa::Simd;
use crate::real::Real;
use std::fmt::Debug;

/// One recurrent product and the arithmetic that follows it.
pub trait Stage: Copy + Debug + Send + Sync + 'static {
    /// Gates of the input product, each starting from its bias in the input panel's head.
    type Input<V: Copy>: Block<V>;
    /// Gates of the recurrent product. The first ones continue the input's chains, as many as `Input` has that are
    /// not in `Late`; the others start from a bias in the recurrent panel's head.
    type Recurrent<V: Copy>: Block<V>;
    /// The last gates of `Input`, which no recurrent gate continues.
    type Late<V: Copy>: Block<V>;
    /// State that is read at this unit, before the step.
    type Prev<V: Copy>: Block<V>;
    /// State that is written at this unit; the first is what the layer outputs.
    type Next<V: Copy>: Block<V>;

    /// The stage as a value.
    const KIND: StageKind;
    /// Whether layers of any size have it; else large ones alone, and what small ones need is not compiled for it:
    /// [`Solo`](crate::solo::Solo), and many unit blocks of a row at once.
    const ANY_SIZE: bool = true;

    /// The equations: the state after the step, and what the backward pass needs of it.
    fn finish<T: Real, S: Simd<T>>(
        self,
        s: S,
        chains: Chains<Self::Recurrent<S::V>, Self::Late<S::V>>,
        prev: Self::Prev<S::V>,
    ) -> Finished<Self, S::V>;
}

/// The state after a step, and what the backward pass needs of the step.
pub type Finished<C, V> = (<C as Stage>::Next<V>, TraceOf<C, V>);

/// The trace of a stage.
pub type TraceOf<C, V> = Trace<<C as Stage>::Recurrent<V>, V>;

/// What a step leaves for the backward pass.
#[derive(Clone, Copy, Debug)]
pub struct Trace<R, V> {
    /// The activated gates, in the order of the recurrent product.
    pub gates: R,
    /// What cannot be had from them again: R_n h + b_rn of a GRU whose reset gate acts after the product, r h of one where it
    /// acts before, h' of others; z or n of a stage that computes it alone or last.
    pub beside: V,
}

/// The finished chains of a unit.
#[derive(Clone, Copy, Debug)]
pub struct Chains<R, L> {
    /// Gates of the recurrent product.
    pub recurrent: R,
    /// Gates of the input product alone.
    pub late: L,
}

/// Magnitudes below [`Real::FLUSH`] become +0.
#[inline(always)]
pub(crate) fn flush<T: Real, S: Simd<T>>(s: S, state: S::V) -> S::V {
    s.select_lt(s.abs(state), s.splat(T::FLUSH), s.splat(T::ZERO), state)
}

/// How many vectors of each sort a stage has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageShape {
    /// Gates of the input product.
    pub input: usize,
    /// Gates of the recurrent product.
    pub recurrent: usize,
    /// Gates of the input product that the recurrent product does not continue.
    pub late: usize,
    /// State planes read.
    pub prev: usize,
    /// State planes written.
    pub next: usize,
}

impl StageShape {
    const fn of<C: Stage>() -> Self {
        StageShape {
            input: <C::Input<()> as Block<()>>::N,
            recurrent: <C::Recurrent<()> as Block<()>>::N,
            late: <C::Late<()> as Block<()>>::N,
            prev: <C::Prev<()> as Block<()>>::N,
            next: <C::Next<()> as Block<()>>::N,
        }
    }

    /// Gates of both products that are one chain.
    pub const fn chained(self) -> usize {
        self.input - self.late
    }

    /// Heads of the recurrent panel: a bias for each gate that continues no chain.
    pub const fn heads(self) -> usize {
        self.recurrent - self.chained()
    }
}

/// Something done with a stage whose type is known.
pub(crate) trait StageVisitor {
    type Out;
    fn visit<C: Stage>(self, stage: C) -> Self::Out;
}

/// Declares [`StageKind`] from one line per stage; dispatch, tests and benches all read this list.
macro_rules! stages {
    ($($(#[doc = $doc:literal])+ $name:ident = $type:ty { $value:expr })+) => {
        /// A stage as a value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum StageKind { $($(#[doc = $doc])+ $name,)+ }

        $(const _: () = assert!(matches!(<$type as Stage>::KIND, StageKind::$name), "the list names another stage");)+

        impl StageKind {
            /// Every stage there is.
            pub const ALL: &'static [StageKind] = &[$(StageKind::$name),+];

            /// How many vectors of each sort it has.
            pub const fn shape(self) -> StageShape {
                match self { $(StageKind::$name => StageShape::of::<$type>(),)+ }
            }

            /// Calls `visitor` with the stage of this kind.
            #[inline(always)]
            pub(crate) fn visit<V: StageVisitor>(self, visitor: V) -> V::Out {
                match self { $(StageKind::$name => visitor.visit::<$type>($value),)+ }
            }
        }
    };
}

stages! {
    /// SimpleRNN with tanh.
    SimpleTanh = Simple<Tanh> { Simple(Tanh) }
    /// SimpleRNN with ReLU.
    SimpleRelu = Simple<Relu> { Simple(Relu) }
    /// LSTM.
    Lstm = Lstm { Lstm }
    /// Second stage of an LSTM with projection: P units from the H that the first one output.
    Projection = Projection { Projection }
    /// GRU whose reset gate is applied after the recurrent product.
    GruAfter = GruAfter { GruAfter }
    /// GRU whose reset gate is applied before the recurrent product, first stage: both gates.
    GruGates = GruGates { GruGates }
    /// The same, second stage: candidate and state.
    GruCandidate = GruCandidate { GruCandidate }
    /// The reset gate of the first stage alone.
    GruReset = GruReset { GruReset }
    /// The update gate of the first stage alone.
    GruUpdate = GruUpdate { GruUpdate }
    /// The second stage without the state, where the update gate comes last.
    GruEarlyCandidate = GruEarlyCandidate { GruEarlyCandidate }
    /// The update gate and the state, where the candidate came first.
    GruLateUpdate = GruLateUpdate { GruLateUpdate }
}
