//! Strided views of matrices, `[rows, cols]`, and of sequences, `[T, N, C]`.
//!
//! A view is checked once, against the slice it is made from; after that kernels reach its elements by pointer.

use crate::shape::ShapeError;
use std::marker::PhantomData;

/// One past the largest offset that `extents` reach with `strides`; 0 where an extent is 0, `None` if it cannot be counted.
fn span<const D: usize>(extents: [usize; D], strides: [usize; D]) -> Option<usize> {
    if extents.contains(&0) {
        return Some(0);
    }
    let last = extents.iter().zip(strides).try_fold(0usize, |sum, (&e, s)| sum.checked_add((e - 1).checked_mul(s)?));
    last.and_then(|last| last.checked_add(1))
}

/// `Ok` if a slice of `found` values has every offset that `extents` reach with `strides`.
pub(crate) fn inside<const D: usize>(
    argument: &'static str,
    extents: [usize; D],
    strides: [usize; D],
    found: usize,
) -> Result<(), ShapeError> {
    match span(extents, strides) {
        Some(expected) => ShapeError::at_least(argument, expected, found),
        None => Err(ShapeError { argument, expected: usize::MAX, found }),
    }
}

/// Whether no two index tuples meet in one element: each dimension steps over all that the finer ones reach.
/// (Sufficient, and true of every view cut out of a dense array; views that interleave are refused.)
pub(crate) fn distinct<const D: usize>(extents: [usize; D], strides: [usize; D]) -> bool {
    if extents.contains(&0) {
        return true;
    }
    let mut order: [usize; D] = std::array::from_fn(|d| d);
    order.sort_unstable_by_key(|&d| strides[d]);
    let mut reach = 0usize;
    for d in order {
        if extents[d] > 1 {
            if strides[d] <= reach {
                return false;
            }
            reach = reach.saturating_add((extents[d] - 1).saturating_mul(strides[d]));
        }
    }
    true
}

/// A matrix that is read, `[rows, cols]`, of any strides.
#[derive(Debug)]
pub struct MatRef<'a, T> {
    ptr: *const T,
    rows: usize,
    cols: usize,
    strides: [usize; 2],
    life: PhantomData<&'a [T]>,
}

// SAFETY: a MatRef is a shared borrow of a slice of T.
unsafe impl<T: Sync> Send for MatRef<'_, T> {}
// SAFETY: a MatRef is a shared borrow of a slice of T.
unsafe impl<T: Sync> Sync for MatRef<'_, T> {}

impl<T> Clone for MatRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for MatRef<'_, T> {}

impl<'a, T> MatRef<'a, T> {
    /// `rows` rows of `cols` values, `row_stride` values from one row's start to the next one's.
    ///
    /// # Errors
    /// `argument: "matrix"` if `data` is too short.
    #[inline]
    pub fn new(data: &'a [T], rows: usize, cols: usize, row_stride: usize) -> Result<Self, ShapeError> {
        let strides = [row_stride, 1];
        inside("matrix", [rows, cols], strides, data.len())?;
        Ok(MatRef { ptr: data.as_ptr(), rows, cols, strides, life: PhantomData })
    }

    /// # Safety
    /// `ptr` reaches the elements of this matrix for reads, and nobody writes them for `'a`.
    pub(crate) unsafe fn from_raw(ptr: *const T, rows: usize, cols: usize, row_stride: usize) -> Self {
        MatRef { ptr, rows, cols, strides: [row_stride, 1], life: PhantomData }
    }

    /// Rows one after the other without a gap.
    ///
    /// # Errors
    /// As [`MatRef::new`].
    pub fn dense(data: &'a [T], rows: usize, cols: usize) -> Result<Self, ShapeError> {
        Self::new(data, rows, cols, cols)
    }

    /// Rows as columns, columns as rows; nothing moves.
    pub fn transposed(self) -> Self {
        let (MatRef { ptr, rows, cols, life, .. }, [r, c]) = (self, self.strides);
        MatRef { ptr, rows: cols, cols: rows, strides: [c, r], life }
    }

    /// The rows `from..from + rows`.
    ///
    /// # Errors
    /// `argument: "rows"` if there are fewer.
    pub fn rows_from(self, from: usize, rows: usize) -> Result<Self, ShapeError> {
        ShapeError::at_least("rows", from.saturating_add(rows), self.rows)?;
        // An empty view may have no allocation behind the offset: its pointer is never read.
        Ok(MatRef { ptr: self.ptr.wrapping_add(from.wrapping_mul(self.strides[0])), rows, ..self })
    }

    /// Number of rows.
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline(always)]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Values from one row's start to the next one's.
    #[inline(always)]
    pub fn row_stride(&self) -> usize {
        self.strides[0]
    }

    /// Values from one column to the next: 1 unless transposed.
    #[inline(always)]
    pub fn col_stride(&self) -> usize {
        self.strides[1]
    }

    /// The first value; valid for reads of every element.
    #[inline(always)]
    pub fn as_ptr(&self) -> *const T {
        self.ptr
    }

    /// The value at `row`, `col`, if there is one.
    #[inline]
    pub fn get(&self, row: usize, col: usize) -> Option<&'a T> {
        let inside = row < self.rows && col < self.cols;
        // SAFETY: the view was checked against its slice when it was made, and the index against the view.
        inside.then(|| unsafe { &*self.ptr.add(row * self.strides[0] + col * self.strides[1]) })
    }

    /// Row `row`, if there is one and its values stand side by side.
    #[inline]
    pub fn row(&self, row: usize) -> Option<&'a [T]> {
        if row >= self.rows || (self.cols > 1 && self.strides[1] != 1) {
            return None;
        }
        if self.cols == 0 {
            // The strides of a view without values were compared with nothing.
            return Some(&[]);
        }
        // SAFETY: a row of the view, side by side, is inside the slice that the view was checked against.
        Some(unsafe { std::slice::from_raw_parts(self.ptr.add(row * self.strides[0]), self.cols) })
    }
}

/// A matrix that is written, `[rows, cols]`; the values of a row stand side by side, and rows do not meet.
#[derive(Debug)]
pub struct MatMut<'a, T> {
    ptr: *mut T,
    rows: usize,
    cols: usize,
    row_stride: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: a MatMut is a unique borrow of the elements it reaches.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: a shared MatMut gives no access to its elements but through pointers.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

impl<'a, T> MatMut<'a, T> {
    /// `rows` rows of `cols` values, `row_stride` values from one row's start to the next one's.
    ///
    /// # Errors
    /// `argument: "matrix"` if `data` is too short, `"row stride"` if rows overlap.
    #[inline]
    pub fn new(data: &'a mut [T], rows: usize, cols: usize, row_stride: usize) -> Result<Self, ShapeError> {
        inside("matrix", [rows, cols], [row_stride, 1], data.len())?;
        if rows > 1 {
            ShapeError::at_least("row stride", cols, row_stride)?;
        }
        Ok(MatMut { ptr: data.as_mut_ptr(), rows, cols, row_stride, life: PhantomData })
    }

    /// # Safety
    /// `ptr` reaches the elements of this matrix for reads and writes, nobody else does for `'a`, and rows do not meet.
    pub(crate) unsafe fn from_raw(ptr: *mut T, rows: usize, cols: usize, row_stride: usize) -> Self {
        MatMut { ptr, rows, cols, row_stride, life: PhantomData }
    }

    /// Rows one after the other without a gap.
    ///
    /// # Errors
    /// As [`MatMut::new`].
    pub fn dense(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self, ShapeError> {
        Self::new(data, rows, cols, cols)
    }

    /// Number of rows.
    #[inline(always)]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline(always)]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Values from one row's start to the next one's.
    #[inline(always)]
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// The first value; valid for reads and writes of every element.
    #[inline(always)]
    pub fn as_mut_ptr(&mut self) -> *mut T {
        self.ptr
    }

    /// The same matrix for a shorter time.
    #[inline(always)]
    pub fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut { life: PhantomData, ..*self }
    }

    /// The same matrix, to read.
    #[inline(always)]
    pub fn as_ref(&self) -> MatRef<'_, T> {
        MatRef { ptr: self.ptr, rows: self.rows, cols: self.cols, strides: [self.row_stride, 1], life: PhantomData }
    }

    /// Row `row`, if there is one.
    pub fn row_mut(&mut self, row: usize) -> Option<&mut [T]> {
        if row >= self.rows {
            return None;
        }
        if self.cols == 0 {
            // The strides of a view without values were compared with nothing.
            return Some(&mut []);
        }
        // SAFETY: a row of the view is inside the slice that the view was checked against, and `&mut self` makes it unique.
        Some(unsafe { std::slice::from_raw_parts_mut(self.ptr.add(row * self.row_stride), self.cols) })
    }

    /// The first `rows` rows, and the rest.
    ///
    /// # Errors
    /// `argument: "rows"` if there are fewer.
    pub fn split_rows(self, rows: usize) -> Result<(Self, Self), ShapeError> {
        ShapeError::at_least("rows", rows, self.rows)?;
        let rest = self.ptr.wrapping_add(rows.wrapping_mul(self.row_stride));
        Ok((MatMut { rows, ..self }, MatMut { ptr: rest, rows: self.rows - rows, ..self }))
    }

    /// The first `cols` columns, and the rest.
    ///
    /// # Errors
    /// `argument: "columns"` if there are fewer.
    pub fn split_cols(self, cols: usize) -> Result<(Self, Self), ShapeError> {
        ShapeError::at_least("columns", cols, self.cols)?;
        let rest = self.ptr.wrapping_add(cols);
        Ok((MatMut { cols, ..self }, MatMut { ptr: rest, cols: self.cols - cols, ..self }))
    }
}
