//! Arrays of the crate ndarray: views in, arrays out; feature `ndarray`.
//!
//! Arrays are `[T, N, C]`. A batch-major `[N, T, C]` is `x.view().permuted_axes([1, 0, 2])`: a matter of strides. Nothing
//! is copied where the channels of a step stand side by side and no axis runs backwards, whatever the other strides.
//!
//! ```
//! use gatefold::cell::{Activation, Cell};
//! use gatefold::{Layer, Options, Weights};
//! use ndarray::{Array3, s};
//!
//! // h' = relu(x + h): a running sum.
//! let cell = Cell::SimpleRnn { activation: Activation::Relu };
//! let sum = Layer::new(Weights::new(cell, 1, 1, vec![1.0f32], vec![1.0], None, None)?, Options::default())?;
//!
//! let x = Array3::from_shape_fn([2, 4, 1], |(n, t, _)| (10 * n + t) as f32); // [N, T, I]
//! let (y, state) = sum.forward_array(x.slice(s![.., 1.., ..]).permuted_axes([1, 0, 2]), None)?;
//! assert_eq!(y.dim(), (3, 2, 1)); // [T, N, H]
//! assert_eq!(y.slice(s![.., 1, 0]).to_vec(), [11.0, 23.0, 36.0]);
//! assert_eq!(state.h_array().column(0).to_vec(), [6.0, 36.0]);
//! # Ok::<(), gatefold::Error>(())
//! ```

#![allow(unsafe_code)]

use crate::error::{Error, Result, same};
use crate::gemm::Element;
use crate::layer::{Layer, values};
use crate::output::Output;
use crate::seq::{SeqMut, SeqRef, SeqShape, time_major, time_major_mut};
use crate::stack::{Stack, StackState, StackWorkspace};
use crate::state::State;
use crate::workspace::Workspace;
use ndarray::{Array2, Array3, ArrayView2, ArrayView3, ArrayViewMut3};

/// A view of an array as a sequence; of a copy, if its channels do not stand side by side or an axis runs backwards. For
/// what an [`Input`](crate::Input) says beside x: `Input::from(array.seq()?).lengths(..)`. A mask is one of `bool`.
#[derive(Debug)]
pub struct SeqArray<'a, T> {
    view: ArrayView3<'a, T>,
    copy: Option<Vec<T>>,
}

impl<'a, T: Copy> SeqArray<'a, T> {
    /// Of `x: [T, N, C]`. Cost: nothing, or a copy.
    pub fn new(x: ArrayView3<'a, T>) -> Self {
        let copy = shape(x.dim(), x.strides()).is_none().then(|| x.iter().copied().collect());
        SeqArray { view: x, copy }
    }

    /// Whether it had to be copied.
    pub fn is_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// The sequence.
    ///
    /// # Errors
    /// None that an array can have.
    pub fn seq(&self) -> Result<SeqRef<'_, T>> {
        let (time, batch, channels) = self.view.dim();
        match (&self.copy, shape(self.view.dim(), self.view.strides())) {
            (None, Some(shape)) => {
                // SAFETY: the view reaches these elements by these strides from its first one, for as long as it is borrowed.
                Ok(unsafe { SeqRef::from_raw_parts(self.view.as_ptr(), shape) })
            }
            (copy, _) => time_major(copy.as_deref().unwrap_or_default(), [time, batch, channels]),
        }
    }
}

/// The sizes and strides of a sequence, if an array's are such: channels side by side, no axis backwards.
fn shape((time, batch, channels): (usize, usize, usize), strides: &[isize]) -> Option<SeqShape> {
    let stride = |axis: usize, extent: usize| match strides.get(axis).copied()?.try_into() {
        Ok(stride) => Some(stride),
        Err(_) => (extent <= 1).then_some(0),
    };
    let side_by_side = channels <= 1 || strides.get(2) == Some(&1);
    let (time_stride, batch_stride) = (stride(0, time)?, stride(1, batch)?);
    side_by_side.then_some(SeqShape { time, batch, channels, time_stride, batch_stride })
}

/// Calls `forward` with `y` as a sequence; through a copy, if its channels do not stand side by side.
fn write<T: Element>(mut y: ArrayViewMut3<'_, T>, forward: impl FnOnce(SeqMut<'_, T>) -> Result<()>) -> Result<()> {
    let (time, batch, channels) = y.dim();
    if let Some(shape) = shape(y.dim(), y.strides()) {
        // SAFETY: the view reaches these elements by these strides from its first one, alone, for as long as it is borrowed;
        // a view that can be written reaches each of them once.
        return forward(unsafe { SeqMut::from_raw_parts(y.as_mut_ptr(), shape) });
    }
    let mut copy = vec![T::NAN; y.len()];
    forward(time_major_mut(&mut copy, [time, batch, channels])?)?;
    y.iter_mut().zip(copy).for_each(|(to, value)| *to = value);
    Ok(())
}

/// An array for outputs.
fn room<T: Element>(sizes: (usize, usize, usize)) -> Result<Array3<T>> {
    let y = values(&[sizes.0, sizes.1, sizes.2])?;
    Array3::from_shape_vec(sizes, y).map_err(|_| Error::TooLarge { argument: "y" })
}

impl<T: Element> Layer<T> {
    /// [`Layer::forward`] for an array: `x: [T, N, I]` gives `[T, N, H]`.
    ///
    /// # Errors
    /// As [`Layer::forward_into`].
    pub fn forward_array(&self, x: ArrayView3<'_, T>, initial: Option<&State<T>>) -> Result<(Array3<T>, State<T>)> {
        let (time, batch, _) = x.dim();
        let mut state = initial.map_or_else(|| self.state(batch), |state| Ok(state.clone()))?;
        let mut y = room((time, batch, self.dims().output()))?;
        self.forward_array_into(x, &mut state, y.view_mut(), &mut Workspace::new())?;
        Ok((y, state))
    }

    /// [`Layer::forward_into`] for arrays: `x: [T, N, I]`, `y: [T, N, H]`.
    ///
    /// # Errors
    /// As [`Layer::forward_into`].
    pub fn forward_array_into(
        &self,
        x: ArrayView3<'_, T>,
        state: &mut State<T>,
        y: ArrayViewMut3<'_, T>,
        workspace: &mut Workspace<T>,
    ) -> Result<()> {
        let x = SeqArray::new(x);
        write(y, |y| self.forward_into(x.seq()?, state, Output::Sequence(y), workspace))
    }
}

impl<T: Element> Stack<T> {
    /// [`Stack::forward`] for an array: `x: [T, N, I]` gives `[T, N, C]`.
    ///
    /// # Errors
    /// As [`Stack::forward_into`].
    pub fn forward_array(
        &self,
        x: ArrayView3<'_, T>,
        initial: Option<&StackState<T>>,
    ) -> Result<(Array3<T>, StackState<T>)> {
        let (time, batch, _) = x.dim();
        let mut state = initial.map_or_else(|| self.state(batch), |state| Ok(state.clone()))?;
        let mut y = room((time, batch, self.output()))?;
        self.forward_array_into(x, &mut state, y.view_mut(), &mut StackWorkspace::new())?;
        Ok((y, state))
    }

    /// [`Stack::forward_into`] for arrays: `x: [T, N, I]`, `y: [T, N, C]`.
    ///
    /// # Errors
    /// As [`Stack::forward_into`].
    pub fn forward_array_into(
        &self,
        x: ArrayView3<'_, T>,
        state: &mut StackState<T>,
        y: ArrayViewMut3<'_, T>,
        workspace: &mut StackWorkspace<T>,
    ) -> Result<()> {
        let x = SeqArray::new(x);
        write(y, |y| self.forward_into(x.seq()?, state, Output::Sequence(y), workspace))
    }
}

impl<T: Element> State<T> {
    /// A copy of the hidden state, `[N, H]`.
    pub fn h_array(&self) -> Array2<T> {
        Array2::from_shape_fn((self.batch(), self.dims().output()), |(n, unit)| {
            self.h_row(n).and_then(|row| row.get(unit).copied()).unwrap_or(T::NAN)
        })
    }

    /// A copy of the cell state of an LSTM, `[N, H]`.
    pub fn c_array(&self) -> Option<Array2<T>> {
        let value = |(n, unit)| self.c_row(n).and_then(|row| row.get(unit).copied()).unwrap_or(T::NAN);
        let sizes = (self.batch(), self.dims().hidden);
        self.dims().cell.has_cell_state().then(|| Array2::from_shape_fn(sizes, value))
    }

    /// Sets the hidden state, `h: [N, H]`.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if `h` has other sizes.
    pub fn set_h_array(&mut self, h: ArrayView2<'_, T>) -> Result<()> {
        rows(self.batch(), h)?;
        self.set_h(&h.iter().copied().collect::<Vec<_>>())
    }

    /// Sets the cell state, `c: [N, H]`.
    ///
    /// # Errors
    /// As [`State::set_c`].
    pub fn set_c_array(&mut self, c: ArrayView2<'_, T>) -> Result<()> {
        rows(self.batch(), c)?;
        self.set_c(&c.iter().copied().collect::<Vec<_>>())
    }
}

/// An array of other rows may have as many values.
fn rows<T>(expected: usize, array: ArrayView2<'_, T>) -> Result<()> {
    same("rows", expected, array.nrows())
}
