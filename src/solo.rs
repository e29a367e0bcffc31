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
use gatefold_kernels::seq::SeqRef;
use gatefold_kernels::solo::{Solo, SoloStage};

/// A row, and the stages that it goes through.
pub(crate) struct Row<'a, T> {
    isa: Isa,
    x: SeqRef<'a, T>,
    walk: Walk,
    first: SoloStage<'a, T>,
    second: Option<SoloStage<'a, T>>,
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
        let (first, second) = match stages {
            [one] => (one, None),
            [one, two] => (one, Some(two.solo()?)),
            _ => return None,
        };
        Some(Row { isa: first.isa(), x, walk: input.direction.walk(), first: first.solo()?, second })
    }

    /// Takes it through all timesteps. Sizes were checked.
    pub(crate) fn run(self, state: &mut State<T>, mut y: Output<'_, T>, workspace: &mut Workspace<T>) -> Result<()> {
        let Row { isa, x, walk, first, second } = self;
        let (dims, time) = (state.dims(), x.shape().time);
        let between = match second {
            Some(_) => workspace.between(dims)?.each_mut().map(|plane| &mut **plane),
            None => [&mut [][..], &mut [][..]],
        };
        let Planes { reverse, h, c, .. } = state.planes();
        let c = c.unwrap_or([&mut [], &mut []]);
        let each = match &mut y {
            Output::Sequence(y) => Some(y.reborrow()),
            _ => None,
        };
        Solo { isa, first, second, x, h, c, between, y: each, walk, reverse }.run()?;
        state.advance(time);
        if let (Output::Last(y), Some(h)) = (&mut y, state.h_row(0))
            && let Some(y) = y.row_mut(0)
        {
            y.copy_from_slice(h);
        }
        Ok(())
    }
}
