//! Fixed numbers of vectors, counted by the type.
//!
//! Stable Rust takes no associated constant as an array length; a generic associated type
//! `type Gates<V: Copy>: Block<V>` that an implementation sets to `[V; 3]` does that job.

use std::ops::IndexMut;

/// `[V; N]` seen by generic code, N from 0 to 4.
pub trait Block<V>: Copy + IndexMut<usize, Output = V> {
    /// How many.
    const N: usize;
    /// All of them `v`.
    fn fill(v: V) -> Self;
}

macro_rules! block {
    ($n:literal) => {
        impl<V: Copy> Block<V> for [V; $n] {
            const N: usize = $n;
            #[inline(always)]
            fn fill(v: V) -> Self {
                [v; $n]
            }
        }

        impl Blocks for Length<$n> {
            type Of<V: Copy> = [V; $n];
        }
    };
}

/// A number as a type: `<Length<3> as Blocks>::Of<V>` is `[V; 3]`.
#[derive(Clone, Copy, Debug)]
pub struct Length<const N: usize>;

/// A length that there is a [`Block`] of.
pub trait Blocks: Copy {
    /// The block of this length.
    type Of<V: Copy>: Block<V>;
}

block!(0);
block!(1);
block!(2);
block!(3);
block!(4);
