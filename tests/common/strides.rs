//! Sequences of every layout, between canaries.

use super::numbers::{Canaries, Scalar};
use gatefold::seq::SeqShape;

/// How a sequence stands in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    /// Dense `[T, N, C]`.
    TimeMajor,
    /// Dense `[N, T, C]`.
    BatchMajor,
    /// `[T, N, C]` with room behind each row and each step.
    TimeMajorPadded,
    /// `[N, T, C]` with room behind each step and each row.
    BatchMajorPadded,
}

pub const LAYOUTS: [Layout; 4] =
    [Layout::TimeMajor, Layout::BatchMajor, Layout::TimeMajorPadded, Layout::BatchMajorPadded];

impl Layout {
    /// Sizes and strides of `[T, N, C]`.
    pub fn shape(self, [time, batch, channels]: [usize; 3]) -> SeqShape {
        let padded = channels + 3;
        let strided = |time_stride, batch_stride| SeqShape { time, batch, channels, time_stride, batch_stride };
        match self {
            Layout::TimeMajor => SeqShape::time_major(time, batch, channels),
            Layout::BatchMajor => SeqShape::batch_major(batch, time, channels),
            Layout::TimeMajorPadded => strided(batch * padded + 5, padded),
            Layout::BatchMajorPadded => strided(padded, time * padded + 5),
        }
    }

    /// Memory for `[T, N, C]`; its rows are those of time-major order.
    pub fn memory<T: Scalar>(self, sizes: [usize; 3]) -> Canaries<T> {
        let SeqShape { time, batch, channels, time_stride, batch_stride } = self.shape(sizes);
        let starts = (0..time).flat_map(|t| (0..batch).map(move |n| t * time_stride + n * batch_stride));
        Canaries::at(starts.collect(), channels)
    }
}
