//! Strided views of sequences, `[T, N, C]`: time, batch, channels.

use crate::mat::{MatMut, MatRef, distinct, inside};
use crate::shape::ShapeError;
use std::marker::PhantomData;

/// Sizes and strides of a sequence; the channels of a step stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeqShape {
    /// Timesteps, T.
    pub time: usize,
    /// Batch rows, N.
    pub batch: usize,
    /// Channels, C.
    pub channels: usize,
    /// Values from one timestep to the next.
    pub time_stride: usize,
    /// Values from one batch row to the next.
    pub batch_stride: usize,
}

impl SeqShape {
    /// Dense `[T, N, C]`. Strides that overflow become `usize::MAX`, which no slice satisfies.
    pub fn time_major(time: usize, batch: usize, channels: usize) -> Self {
        SeqShape { time, batch, channels, time_stride: batch.saturating_mul(channels), batch_stride: channels }
    }

    /// Dense `[N, T, C]`.
    pub fn batch_major(batch: usize, time: usize, channels: usize) -> Self {
        SeqShape { time, batch, channels, time_stride: channels, batch_stride: time.saturating_mul(channels) }
    }

    fn extents(&self) -> [usize; 3] {
        [self.time, self.batch, self.channels]
    }

    fn strides(&self) -> [usize; 3] {
        [self.time_stride, self.batch_stride, 1]
    }

    /// As few timesteps as the strides allow, each with more rows: the order of the rows (t, n) stays.
    fn folded(self) -> Self {
        let Some(rows) = self.time.checked_mul(self.batch) else { return self };
        let once = |batch_stride| SeqShape { time: rows.min(1), batch: rows, batch_stride, ..self };
        if self.batch == 1 {
            once(self.time_stride)
        } else if self.time_stride == self.batch.saturating_mul(self.batch_stride) {
            once(self.batch_stride)
        } else {
            self
        }
    }
}

/// A sequence that is read.
#[derive(Debug)]
pub struct SeqRef<'a, T> {
    ptr: *const T,
    shape: SeqShape,
    life: PhantomData<&'a [T]>,
}

// SAFETY: a SeqRef is a shared borrow of a slice of T.
unsafe impl<T: Sync> Send for SeqRef<'_, T> {}
// SAFETY: a SeqRef is a shared borrow of a slice of T.
unsafe impl<T: Sync> Sync for SeqRef<'_, T> {}

impl<T> Clone for SeqRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SeqRef<'_, T> {}

impl<'a, T> SeqRef<'a, T> {
    /// A view of `data` with these sizes and strides.
    ///
    /// # Errors
    /// `argument: "sequence"` if `data` is too short.
    pub fn new(data: &'a [T], shape: SeqShape) -> Result<Self, ShapeError> {
        inside("sequence", shape.extents(), shape.strides(), data.len())?;
        Ok(SeqRef { ptr: data.as_ptr(), shape, life: PhantomData })
    }

    /// A view of memory that is not behind a slice, or not all of it.
    ///
    /// # Safety
    /// For `'a`, every element that `shape` reaches from `ptr` is initialised and nobody writes it. Other values may stand
    /// between them: they are not touched.
    pub unsafe fn from_raw_parts(ptr: *const T, shape: SeqShape) -> Self {
        SeqRef { ptr, shape, life: PhantomData }
    }

    /// A matrix as one timestep.
    ///
    /// # Errors
    /// `argument: "column stride"` if the values of a row do not stand side by side.
    pub fn from_matrix(m: MatRef<'a, T>) -> Result<Self, ShapeError> {
        if m.cols() > 1 {
            ShapeError::same("column stride", 1, m.col_stride())?;
        }
        let (batch, channels, batch_stride) = (m.rows(), m.cols(), m.row_stride());
        let shape = SeqShape { time: 1, batch, channels, time_stride: 0, batch_stride };
        Ok(SeqRef { ptr: m.as_ptr(), shape, life: PhantomData })
    }

    /// Sizes and strides.
    #[inline(always)]
    pub fn shape(&self) -> SeqShape {
        self.shape
    }

    /// The first value; dangling if there is none.
    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *const T {
        self.ptr
    }

    /// The timesteps `from..from + time`.
    ///
    /// # Errors
    /// `argument: "timesteps"` if there are fewer.
    pub fn steps(self, from: usize, time: usize) -> Result<Self, ShapeError> {
        ShapeError::at_least("timesteps", from.saturating_add(time), self.shape.time)?;
        // An empty view may have no allocation behind the offset: its pointer is never read.
        let ptr = self.ptr.wrapping_add(from.wrapping_mul(self.shape.time_stride));
        Ok(SeqRef { ptr, shape: SeqShape { time, ..self.shape }, ..self })
    }

    /// The batch rows `from..from + batch`.
    ///
    /// # Errors
    /// `argument: "batch rows"` if there are fewer.
    pub fn rows(self, from: usize, batch: usize) -> Result<Self, ShapeError> {
        ShapeError::at_least("batch rows", from.saturating_add(batch), self.shape.batch)?;
        let ptr = self.ptr.wrapping_add(from.wrapping_mul(self.shape.batch_stride));
        Ok(SeqRef { ptr, shape: SeqShape { batch, ..self.shape }, ..self })
    }

    /// The channels `from..from + channels` of every row.
    ///
    /// # Errors
    /// `argument: "channels"` if there are fewer.
    pub fn channels(self, from: usize, channels: usize) -> Result<Self, ShapeError> {
        ShapeError::at_least("channels", from.saturating_add(channels), self.shape.channels)?;
        let shape = SeqShape { channels, ..self.shape };
        Ok(SeqRef { ptr: self.ptr.wrapping_add(from), shape, ..self })
    }

    /// The channels of row `n` at time `t`, if there is such a row.
    pub fn row(&self, t: usize, n: usize) -> Option<&'a [T]> {
        let SeqShape { time, batch, channels, time_stride, batch_stride } = self.shape;
        if t >= time || n >= batch {
            return None;
        }
        if channels == 0 {
            // The strides of a view without values were compared with nothing.
            return Some(&[]);
        }
        let row = self.ptr.wrapping_add(t * time_stride + n * batch_stride);
        // SAFETY: the view was checked against its slice when it was made, and the index against the view.
        Some(unsafe { std::slice::from_raw_parts(row, channels) })
    }

    /// The same rows in the same order, in as few timesteps as the strides allow.
    pub fn folded(self) -> Self {
        SeqRef { shape: self.shape.folded(), ..self }
    }

    /// The timesteps as matrices, `[N, C]` each.
    pub fn matrices(self) -> impl Iterator<Item = MatRef<'a, T>> {
        let SeqShape { time, batch, channels, time_stride, batch_stride } = self.shape;
        // SAFETY: the rows of a step lie inside the slice that the view was checked against.
        (0..time).map(move |t| unsafe {
            MatRef::from_raw(self.ptr.wrapping_add(t.wrapping_mul(time_stride)), batch, channels, batch_stride)
        })
    }

    /// The rows (t, n), t outermost, or of one timestep those in `select`, with their numbers.
    #[inline(always)]
    pub(crate) fn walk(&self, select: Option<&'a [u32]>) -> RowWalk<'a, T> {
        let shape = self.shape.folded();
        RowWalk { base: self.ptr, step: self.ptr, row: self.ptr, shape, left: shape.batch, number: 0, select }
    }

    /// All rows from this one on.
    #[inline(always)]
    pub(crate) fn walk_from(&self, row: usize) -> RowWalk<'a, T> {
        let mut walk = self.walk(None);
        walk.skip(row);
        walk
    }
}

/// Walks over the rows of a sequence without a division a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowWalk<'a, T> {
    base: *const T,
    step: *const T,
    row: *const T,
    shape: SeqShape,
    left: usize,
    number: usize,
    select: Option<&'a [u32]>,
}

impl<T> RowWalk<'_, T> {
    /// How many rows there are.
    #[inline(always)]
    pub(crate) fn count(&self) -> usize {
        self.select.map_or(self.shape.time * self.shape.batch, <[u32]>::len)
    }

    /// Goes past the next `rows` rows of a sequence that has as many; not for selected ones.
    #[inline(always)]
    pub(crate) fn skip(&mut self, rows: usize) {
        let (number, batch) = (self.number + rows, self.shape.batch.max(1));
        let (t, n) = (number / batch, number % batch);
        self.step = self.base.wrapping_add(t.wrapping_mul(self.shape.time_stride));
        self.row = self.step.wrapping_add(n.wrapping_mul(self.shape.batch_stride));
        (self.number, self.left) = (number, self.shape.batch - n);
    }

    /// The next row's number and its first value. Valid for reads of C values as often as there are rows, if the
    /// selected ones are rows; what comes after is only an address.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> (usize, *const T) {
        let number = self.number;
        self.number += 1;
        if let Some(select) = self.select {
            let row = select.get(number).map_or(0, |&row| row as usize);
            return (row, self.base.wrapping_add(row.wrapping_mul(self.shape.batch_stride)));
        }
        let row = self.row;
        self.left = self.left.wrapping_sub(1);
        if self.left == 0 {
            self.step = self.step.wrapping_add(self.shape.time_stride);
            (self.row, self.left) = (self.step, self.shape.batch);
        } else {
            self.row = row.wrapping_add(self.shape.batch_stride);
        }
        (number, row)
    }
}

/// A sequence that is written; no two of its elements are the same.
#[derive(Debug)]
pub struct SeqMut<'a, T> {
    ptr: *mut T,
    shape: SeqShape,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: a SeqMut is a unique borrow of the elements it reaches.
unsafe impl<T: Send> Send for SeqMut<'_, T> {}
// SAFETY: a shared SeqMut gives no access to its elements.
unsafe impl<T: Sync> Sync for SeqMut<'_, T> {}

impl<'a, T> SeqMut<'a, T> {
    /// A view of `data` with these sizes and strides.
    ///
    /// # Errors
    /// `argument: "sequence"` if `data` is too short, `"strides"` if elements could meet.
    pub fn new(data: &'a mut [T], shape: SeqShape) -> Result<Self, ShapeError> {
        inside("sequence", shape.extents(), shape.strides(), data.len())?;
        if !distinct(shape.extents(), shape.strides()) {
            return Err(ShapeError {
                argument: "strides",
                expected: shape.channels,
                found: shape.batch_stride.min(shape.time_stride),
            });
        }
        Ok(SeqMut { ptr: data.as_mut_ptr(), shape, life: PhantomData })
    }

    /// A view of memory that is not behind a slice, or not all of it.
    ///
    /// # Safety
    /// For `'a`, every element that `shape` reaches from `ptr` is initialised, no two index tuples reach the same one, and
    /// nobody else reads or writes it. Other values may stand between them: they are not touched.
    pub unsafe fn from_raw_parts(ptr: *mut T, shape: SeqShape) -> Self {
        SeqMut { ptr, shape, life: PhantomData }
    }

    /// Sizes and strides.
    #[inline(always)]
    pub fn shape(&self) -> SeqShape {
        self.shape
    }

    /// The first value; valid for reads and writes of every element.
    #[inline(always)]
    pub(crate) fn as_mut_ptr(&mut self) -> *mut T {
        self.ptr
    }

    /// The same sequence, to read.
    pub fn into_ref(self) -> SeqRef<'a, T> {
        SeqRef { ptr: self.ptr, shape: self.shape, life: PhantomData }
    }

    /// The same sequence for a shorter time.
    pub fn reborrow(&mut self) -> SeqMut<'_, T> {
        SeqMut { ptr: self.ptr, shape: self.shape, life: PhantomData }
    }

    /// The rows of timestep `t`, `[N, C]`.
    ///
    /// # Errors
    /// `argument: "timesteps"` if there is no such step.
    #[inline]
    pub fn step(&mut self, t: usize) -> Result<MatMut<'_, T>, ShapeError> {
        ShapeError::at_least("timesteps", t.saturating_add(1), self.shape.time)?;
        let SeqShape { batch, channels, time_stride, batch_stride, .. } = self.shape;
        // SAFETY: the elements of a step lie inside the slice the view was checked against and do not meet;
        // the borrow of self makes them unique for the life of the matrix.
        Ok(unsafe {
            MatMut::from_raw(self.ptr.wrapping_add(t.wrapping_mul(time_stride)), batch, channels, batch_stride)
        })
    }

    /// The timesteps `from..from + time`, for a shorter time.
    ///
    /// # Errors
    /// `argument: "timesteps"` if there are fewer.
    pub fn steps(&mut self, from: usize, time: usize) -> Result<SeqMut<'_, T>, ShapeError> {
        ShapeError::at_least("timesteps", from.saturating_add(time), self.shape.time)?;
        let ptr = self.ptr.wrapping_add(from.wrapping_mul(self.shape.time_stride));
        Ok(SeqMut { ptr, shape: SeqShape { time, ..self.shape }, life: PhantomData })
    }

    /// The first `batch` rows of every step, and the rest of them.
    ///
    /// # Errors
    /// `argument: "batch rows"` if there are fewer.
    pub fn split_batch(self, batch: usize) -> Result<(Self, Self), ShapeError> {
        ShapeError::at_least("batch rows", batch, self.shape.batch)?;
        let rest = self.ptr.wrapping_add(batch.wrapping_mul(self.shape.batch_stride));
        let part = |ptr, batch| SeqMut { ptr, shape: SeqShape { batch, ..self.shape }, life: PhantomData };
        Ok((part(self.ptr, batch), part(rest, self.shape.batch - batch)))
    }

    /// The first `channels` channels of every row, and the rest of them.
    ///
    /// # Errors
    /// `argument: "channels"` if there are fewer.
    pub fn split_channels(self, channels: usize) -> Result<(Self, Self), ShapeError> {
        ShapeError::at_least("channels", channels, self.shape.channels)?;
        let rest = self.ptr.wrapping_add(channels);
        let part = |ptr, channels| SeqMut { ptr, shape: SeqShape { channels, ..self.shape }, life: PhantomData };
        Ok((part(self.ptr, channels), part(rest, self.shape.channels - channels)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(seq: SeqRef<'_, f32>) -> Vec<f32> {
        let mut walk = seq.walk(None);
        // SAFETY: as many rows are read as there are, each at its first channel.
        (0..walk.count()).map(|_| unsafe { *walk.next().1 }).collect()
    }

    #[test]
    fn rows_come_time_first_whatever_the_strides() {
        let data: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let time_major = SeqRef::new(&data, SeqShape::time_major(3, 4, 2)).unwrap();
        assert_eq!(rows(time_major), [0., 2., 4., 6., 8., 10., 12., 14., 16., 18., 20., 22.]);
        let batch_major = SeqRef::new(&data, SeqShape::batch_major(4, 3, 2)).unwrap();
        assert_eq!(rows(batch_major), [0., 6., 12., 18., 2., 8., 14., 20., 4., 10., 16., 22.]);
        assert_eq!(rows(batch_major.rows(1, 2).unwrap().steps(1, 2).unwrap()), [8., 14., 10., 16.]);
        let alone = SeqRef::new(&data, SeqShape::batch_major(1, 12, 2)).unwrap();
        assert_eq!(rows(alone).len(), 12);
        assert_eq!(rows(SeqRef::new(&data, SeqShape::time_major(0, 4, 2)).unwrap()), []);
        assert_eq!(rows(SeqRef::new(&data, SeqShape::time_major(3, 0, 2)).unwrap()), []);
    }

    #[test]
    fn rows_can_be_skipped() {
        let data: Vec<f32> = (0..24).map(|i| i as f32).collect();
        for shape in [SeqShape::time_major(3, 4, 2), SeqShape::batch_major(4, 3, 2)] {
            let seq = SeqRef::new(&data, shape).unwrap();
            for (first, skipped) in (0..12).flat_map(|first| (0..12 - first).map(move |skipped| (first, skipped))) {
                let (mut walk, mut other) = (seq.walk(None), seq.walk(None));
                (0..first).for_each(|_| assert_eq!(walk.next(), other.next()));
                for _ in 0..skipped {
                    walk.next();
                }
                other.skip(skipped);
                (first + skipped..12).for_each(|_| assert_eq!(walk.next(), other.next(), "{first} {skipped}"));
            }
        }
    }

    #[test]
    fn selected_rows_come_in_their_order() {
        let data: Vec<f32> = (0..8).map(|i| i as f32).collect();
        let seq = SeqRef::new(&data, SeqShape::time_major(1, 4, 2)).unwrap();
        let mut walk = seq.walk(Some(&[3, 1]));
        assert_eq!(walk.count(), 2);
        assert_eq!(walk.next(), (3, &raw const data[6]));
        assert_eq!(walk.next(), (1, &raw const data[2]));
    }

    #[test]
    fn checks_what_it_is_made_of() {
        let mut data = vec![0f32; 23];
        assert!(SeqRef::new(&data, SeqShape::time_major(3, 4, 2)).is_err());
        assert!(SeqRef::new(&data, SeqShape::time_major(usize::MAX, usize::MAX, 2)).is_err());
        let overlapping = SeqShape { time: 3, batch: 4, channels: 2, time_stride: 3, batch_stride: 2 };
        assert!(SeqRef::new(&data, overlapping).is_ok());
        assert!(SeqMut::new(&mut data, overlapping).is_err());
        let still = SeqShape { time: 3, batch: 1, channels: 2, time_stride: 0, batch_stride: 2 };
        assert!(SeqMut::new(&mut data, still).is_err());
        assert!(SeqMut::new(&mut data, SeqShape::batch_major(2, 5, 2)).is_ok());
        assert!(SeqMut::new(&mut data, SeqShape::time_major(3, 0, 2)).is_ok());
    }

    #[test]
    fn splits_by_batch() {
        let mut data: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let seq = SeqMut::new(&mut data, SeqShape::time_major(2, 3, 2)).unwrap();
        let (mut a, mut b) = seq.split_batch(1).unwrap();
        assert_eq!(a.step(1).unwrap().row_mut(0).unwrap(), [6., 7.]);
        assert_eq!(b.step(1).unwrap().row_mut(1).unwrap(), [10., 11.]);
        assert!(b.step(2).is_err());
        assert!(b.split_batch(3).is_err());
    }
}
