//! Fixed numbers of vectors, counted by the type.
//!
//! Stable Rust takes no associated constant as an array length; a generic associated type
//! `type Gates<V: Copy>: Block<V>` that an implementation sets to `[V; 3]` does that job.

use std::ops::IndexMut;

/// `[V; N]` seen by generic code.
pub trait Block<V>: Copy + IndexMut<usize, Output = V> {
    /// How many.
    const N: usize;
    /// All of them `v`.
    fn fill(v: V) -> Self;
}

impl<V: Copy, const LEN: usize> Block<V> for [V; LEN] {
    const N: usize = LEN;
    #[inline(always)]
    fn fill(v: V) -> Self {
        [v; LEN]
    }
}
