//! What is packed next, asked for while tiles are computed: packing would wait for it.

use crate::buf::LINE;
use crate::isa::Simd;
use crate::seq::{RowWalk, SeqRef};
use std::ops::Range;

/// Lines that each tile asks for: enough for all of A's next columns where a C has ten strips. More at once would fill the
/// queue of what the first cache level misses.
const LINES: usize = 8;

/// Columns of some rows, a cache line after the other.
pub(super) struct Ahead<'a, T> {
    walk: RowWalk<'a, T>,
    /// Rows after this one.
    rows: usize,
    columns: Range<usize>,
    row: *const T,
    /// The next column of this row.
    at: usize,
}

impl<'a, T> Ahead<'a, T> {
    #[inline(always)]
    pub(super) fn new(sequence: SeqRef<'a, T>, rows: Range<usize>, columns: Range<usize>) -> Self {
        let walk = sequence.walk_from(rows.start);
        Ahead { walk, rows: rows.len(), at: columns.end, columns, row: std::ptr::null() }
    }

    /// Asks for the next lines, if there are any.
    #[inline(always)]
    pub(super) fn ask<S: Simd<T>>(&mut self, s: S) {
        for _ in 0..LINES {
            if self.at >= self.columns.end {
                if self.rows == 0 {
                    return;
                }
                self.rows -= 1;
                self.row = self.walk.next().1;
                self.at = self.columns.start;
            }
            s.prefetch(self.row.wrapping_add(self.at));
            self.at += LINE / size_of::<T>();
        }
    }
}
