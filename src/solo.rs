//! One row through a layer: the short way, for streams of frames and for layers of a few units, where whatever is done
//! beside the arithmetic counts.

use crate::caches::Caches;
use crate::error::Result;
use crate::input::{Input, Rows, Source};
use crate::output::Output;
use crate::stages::Stage;
use crate::state::{Planes, State};
use crate::workspace::Workspace;
use gatefold_kernels::isa::Isa;
use gatefold_kernels::real::Real;
use gatefold_kernels::relay::Walk;
use gatefold_kernels::seq::{SeqMut, SeqRef, SeqShape};
use gatefold_kernels::solo::{Ready, Solo, SoloStage};

/// The stages that a row goes through.
pub(crate) struct Short<'a, T> {
    isa: Isa,
    first: SoloStage<'a, T>,
    second: Option<SoloStage<'a, T>>,
}

impl<'a, T: Real> Short<'a, T> {
    /// Of a layer whose standard equations native kernels compute.
    pub(crate) fn of(stages: &'a [Stage<T>]) -> Option<Self> {
        let (first, second) = match stages {
            [one] => (one, None),
            [one, two] => (one, Some(two.solo()?)),
            _ => return None,
        };
        Some(Short { isa: first.isa(), first: first.solo()?, second })
    }

    /// With memory for all that it reads and writes; also what tells which planes of the state are to be read. What comes back
    /// is large: inline, so that it is made where it is used.
    #[inline(always)]
    fn over<'b>(
        self,
        x: SeqRef<'a, T>,
        walk: Walk,
        state: &'b mut State<T>,
        y: Option<SeqMut<'b, T>>,
        workspace: &'b mut Workspace<T>,
        threads: usize,
    ) -> Result<(Solo<'a, 'b, T>, &'b mut usize)> {
        let Short { isa, first, second } = self;
        let between = match second {
            Some(_) => workspace.between(state.dims())?.each_mut().map(|plane| &mut **plane),
            None => [&mut [][..], &mut [][..]],
        };
        let (Planes { reverse, h, c, .. }, turn) = state.planes_and_turn();
        let c = c.unwrap_or([&mut [], &mut []]);
        Ok((Solo { isa, threads, first, second, x, h, c, between, y, walk, reverse }, turn))
    }
}

/// A row, and the stages that it goes through.
pub(crate) struct Row<'a, T> {
    x: SeqRef<'a, T>,
    walk: Walk,
    short: Short<'a, T>,
}

impl<'a, T: Real> Row<'a, T> {
    /// The row of `input`, if it has one that is whole, and native kernels compute standard equations. Of one timestep any
    /// layer, of more those whose packed `bytes` stay in the first cache: others had better multiply W with many steps at
    /// once.
    pub(crate) fn of(input: &Input<'a, T>, stages: &'a [Stage<T>], bytes: usize) -> Option<Self> {
        let (Source::Padded(x), Rows::All, None) = (input.x, input.rows, input.attention) else { return None };
        if !input.noise.is_none() || x.shape().batch != 1 || x.shape().time > 1 && bytes > Caches::of_machine().l1 {
            return None;
        }
        Some(Row { x, walk: input.direction.walk(), short: Short::of(stages)? })
    }

    /// Takes it through all timesteps, whose units so many threads may share. Sizes were checked.
    pub(crate) fn run(
        self,
        state: &mut State<T>,
        mut y: Output<'_, T>,
        workspace: &mut Workspace<T>,
        threads: usize,
    ) -> Result<()> {
        let Row { x, walk, short } = self;
        let each = match &mut y {
            Output::Sequence(y) => Some(y.reborrow()),
            _ => None,
        };
        short.over(x, walk, state, each, workspace, threads)?.0.run()?;
        state.advance(x.shape().time);
        if let (Output::Last(y), Some(h)) = (&mut y, state.h_row(0))
            && let Some(y) = y.row_mut(0)
        {
            y.copy_from_slice(h);
        }
        Ok(())
    }
}

/// Steps whose sizes were compared.
#[derive(Debug)]
pub(crate) struct Frames<'a, T> {
    ready: Ready<'a, 'a, T>,
    turn: &'a mut usize,
}

impl<'a, T: Real> Frames<'a, T> {
    /// Steps of `input` features from `state`, which was checked; so many threads may share their units.
    pub(crate) fn new(
        short: Short<'a, T>,
        input: usize,
        state: &'a mut State<T>,
        workspace: &'a mut Workspace<T>,
        threads: usize,
    ) -> Result<Self> {
        let none = SeqRef::new(&[], SeqShape::time_major(0, 1, input))?;
        let (solo, turn) = short.over(none, Walk::Forward, state, None, workspace, threads)?;
        Ok(Frames { ready: solo.ready()?, turn })
    }

    /// The next one.
    #[inline]
    pub(crate) fn step(&mut self, x: &[T], y: &mut [T]) -> Result<()> {
        self.ready.step(x, y)?;
        *self.turn ^= 1;
        Ok(())
    }
}
