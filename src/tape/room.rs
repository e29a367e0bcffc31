//! Scratch memory of a backward pass. It carries no values from call to call.

use crate::error::Result;
use gatefold_kernels::buf::Buf;
use gatefold_kernels::pack::Panel;
use gatefold_kernels::real::Real;

/// What a backward pass needs beside what was recorded.
#[derive(Clone)]
pub(crate) struct Room<T> {
    /// R and W, packed as they stand: what the products of a pass multiply by.
    pub(crate) panels: [Panel<T>; 4],
    /// `[N, H]`, between the stages of a step.
    pub(crate) between: Buf<T>,
    /// What zoneout lets past a step, of dh and dc, and what dropout is to be applied to.
    pub(crate) noise: [Buf<T>; 3],
    pub(crate) parts: Vec<PartRoom<T>>,
}

/// What one thread needs.
#[derive(Clone)]
pub(crate) struct PartRoom<T> {
    /// Packed chunks of sums over time.
    pub(crate) sums: Buf<T>,
    /// The rows that take part in a step.
    pub(crate) rows: Vec<u32>,
}

impl<T: Real> Room<T> {
    pub(crate) const fn new() -> Self {
        Room {
            panels: [const { Panel::empty() }; 4],
            between: Buf::empty(),
            noise: [Buf::empty(), Buf::empty(), Buf::empty()],
            parts: Vec::new(),
        }
    }

    /// Makes room for `parts` parts of so many values of sums and rows.
    pub(crate) fn reserve(&mut self, parts: usize, sums: usize, rows: usize) -> Result<()> {
        if self.parts.len() < parts {
            self.parts.resize_with(parts, || PartRoom { sums: Buf::empty(), rows: Vec::new() });
        }
        for part in &mut self.parts[..parts] {
            part.sums.reserve(sums)?;
            part.rows.clear();
            part.rows.reserve(rows);
        }
        Ok(())
    }
}
