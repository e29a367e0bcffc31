//! Which rows of a batch take part in a step.

use crate::error::Result;
use crate::input::{Input, Rows, Source};

/// The rows of one step after the other. It allocates when it is made large enough, and not while steps go by.
#[derive(Clone, Default)]
pub(crate) struct Roster {
    /// The rows of this step, where they are not the first ones.
    rows: Vec<u32>,
    /// Whether a row took part in the step before.
    was_active: Vec<bool>,
    /// Whether a row took part in any step.
    seen: Vec<bool>,
    /// A step of a packed sequence, and where it starts.
    cursor: (usize, usize),
    /// How many rows this step has, the first ones, where it is not `rows` that says it.
    first: Option<usize>,
    batch: usize,
}

/// The rows that take part in a step: the first `count`, or of them those in `select`.
#[derive(Clone, Copy)]
pub(crate) struct Active<'a> {
    pub(crate) count: usize,
    pub(crate) select: Option<&'a [u32]>,
}

impl Active<'_> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.select.map_or(self.count, <[u32]>::len)
    }
}

impl Roster {
    /// Makes it large enough.
    pub(crate) fn reserve(&mut self, batch: usize) {
        self.rows.reserve(batch.saturating_sub(self.rows.len()));
        for flags in [&mut self.was_active, &mut self.seen] {
            flags.reserve(batch.saturating_sub(flags.len()));
        }
    }

    /// Before the first step of a call.
    pub(crate) fn begin<T: Copy>(&mut self, input: &Input<'_, T>) {
        let [_, batch, _] = input.sizes();
        let ragged = if input.is_whole() { 0 } else { batch };
        self.cursor = (0, 0);
        // As if all had: what a row has been before the call must be in the plane that is written, too.
        self.was_active.clear();
        self.was_active.resize(ragged, true);
        self.seen.clear();
        self.seen.resize(ragged, false);
    }

    /// Where step t of a packed sequence starts; t may be its length. Cost: the steps from the last such call's t to this.
    pub(crate) fn offset<T: Copy>(&mut self, input: &Input<'_, T>, t: usize) -> usize {
        if let Source::Packed { batch_sizes, .. } = input.x {
            let (at, start) = self.cursor;
            let between: usize = batch_sizes[at.min(t)..at.max(t)].iter().sum();
            self.cursor = (t, if t < at { start - between } else { start + between });
        }
        self.cursor.1
    }

    /// Goes to step `t`.
    pub(crate) fn go_to<T: Copy>(&mut self, input: &Input<'_, T>, t: usize) {
        let [_, batch, _] = input.sizes();
        self.batch = batch;
        self.first = match (input.x, input.rows) {
            (Source::Packed { batch_sizes, .. }, _) => Some(batch_sizes[t]),
            (_, Rows::All) => Some(batch),
            _ => None,
        };
        let takes_part = |&n: &u32| match input.rows {
            Rows::All => true,
            Rows::Lengths(lengths) => t < lengths[n as usize],
            Rows::Mask { mask, .. } => mask.row(t, n as usize) == Some(&[true]),
        };
        if self.first.is_none() {
            self.rows.clear();
            self.rows.extend((0..batch as u32).filter(takes_part));
        }
    }

    /// The rows that take part in this step.
    pub(crate) fn active(&self) -> Active<'_> {
        match self.first {
            Some(count) => Active { count, select: None },
            None if self.rows.len() == self.batch => Active { count: self.batch, select: None },
            None => Active { count: self.batch, select: Some(&self.rows) },
        }
    }

    /// Calls `idle` with every row that takes no part in this step, whether it did in the step before, and whether it did
    /// in any; once a step.
    pub(crate) fn each_idle(&mut self, mut idle: impl FnMut(usize, bool, bool) -> Result<()>) -> Result<()> {
        let mut rows = self.rows.iter().peekable();
        for (n, (was_active, seen)) in self.was_active.iter_mut().zip(&mut self.seen).enumerate() {
            let is_active = match self.first {
                Some(count) => n < count,
                None => rows.next_if_eq(&&(n as u32)).is_some(),
            };
            if !is_active {
                idle(n, *was_active, *seen)?;
            }
            *was_active = is_active;
            *seen |= is_active;
        }
        Ok(())
    }

    /// Whether row `n` took part in any step so far.
    pub(crate) fn seen(&self, n: usize) -> bool {
        self.seen.get(n).is_none_or(|&seen| seen)
    }
}
