//! What tiles prefetch of what is written behind them.
//!
//! Outputs and what is recorded of a step stand where nobody has been since the last call: a store waits there until the
//! line has come from memory. So while the tiles of a group are multiplied, each asks for some of the lines that the
//! epilogue writes in the end.

use super::{At, Epilogue, Product};
use crate::isa::Simd;
use crate::micro::{PLACES, Prefetch, STRETCH};
use crate::real::Real;
use std::ops::Range;

impl<T: Real, E: Epilogue<T>> Product<'_, T, E> {
    /// `reads` with what a tile prefetches of what is written behind the tiles of its group, which starts at `at` and has so
    /// many unit blocks and rows.
    #[inline(always)]
    pub(super) fn behind<S: Simd<T>>(
        &self,
        s: S,
        at: At<T>,
        [blocks, rows]: [usize; 2],
        tile: usize,
        reads: Prefetch<T>,
    ) -> Prefetch<T> {
        let Some((which, part)) = share(tile, rows, self.links.1) else { return reads };
        let at = At { block: at.block + which % blocks, ..at };
        let Some((place, stride)) = self.epilogue.cold(s, at, which / blocks) else { return reads };
        Prefetch { write: place.wrapping_add(part.start.wrapping_mul(stride)), stride, count: part.len(), ..reads }
    }
}

/// The share of a tile with so many columns: which place of a row, and of which rows. There is none where columns are few.
#[inline(always)]
fn share(tile: usize, rows: usize, columns: usize) -> Option<(usize, Range<usize>)> {
    let most = rows.min(columns / STRETCH * PLACES);
    if most == 0 {
        return None;
    }
    let parts = rows.div_ceil(most);
    let first = tile % parts * most;
    Some((tile / parts, first..rows.min(first + most)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::CHUNK;

    #[test]
    fn tiles_go_over_every_place_once() {
        for columns in [STRETCH, 100, 128, 256, 1000] {
            for rows in 2..=CHUNK {
                let mut next = (0, 0);
                for tile in 0..100 {
                    let (which, part) = share(tile, rows, columns).unwrap();
                    assert_eq!((which, part.start), next, "{columns} columns, {rows} rows, tile {tile}");
                    assert!(!part.is_empty() && part.end <= rows && part.len() <= columns / STRETCH * PLACES);
                    next = if part.end == rows { (which + 1, 0) } else { (which, part.end) };
                }
            }
        }
    }

    #[test]
    fn few_columns_have_no_time_for_it() {
        assert_eq!(share(0, 8, STRETCH - 1), None);
        assert_eq!(share(0, 8, 0), None);
    }
}
