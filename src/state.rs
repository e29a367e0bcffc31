//! The state that a layer carries from step to step.

mod snapshot;

use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::seq::product;
use crate::weights::expect;
use gatefold_kernels::buf::{Buf, padded};
use gatefold_kernels::real::Real;
use std::fmt;

/// Hidden state `[N, H]`, and for an LSTM cell state `[N, H]`, of a batch of N rows. With a projection the hidden state is
/// `[N, P]`.
///
/// Made by [`Layer::state`](crate::Layer::state), and carried from call to call: a sequence may be cut into calls anywhere.
/// Each of h and c stands in two planes whose rows are [`padded`]; a step reads one and writes the other.
///
/// ```
/// use gatefold::cell::Cell;
/// use gatefold::{Lstm, Options, Weights};
///
/// let weights = Weights::new(Cell::Lstm, 1, 2, vec![0.1f32; 8], vec![0.1; 16], None, None)?;
/// let lstm = Lstm::new(weights, Options::default())?;
/// let mut state = lstm.state(2)?;
/// state.set_c(&[1.0, 2.0, 3.0, 4.0])?;
/// assert_eq!(state.c_row(1), Some(&[3.0, 4.0][..]));
/// assert_eq!(state.h_to_vec(), [0.0; 4]);
/// assert_eq!(state.set_h(&[1.0]).unwrap_err().to_string(), "h: expected 4 values, found 1");
/// # Ok::<(), gatefold::Error>(())
/// ```
#[derive(Clone)]
pub struct State<T> {
    dims: Dims,
    batch: usize,
    current: usize,
    h: [Buf<T>; 2],
    c: Option<[Buf<T>; 2]>,
}

impl<T: Real> State<T> {
    pub(crate) fn zeros(dims: Dims, batch: usize) -> Result<Self> {
        let planes = |units| {
            let len = product(&[batch, padded::<T>(units)]).ok_or(Error::TooLarge { argument: "batch" })?;
            Ok::<_, Error>([Buf::filled(len, T::ZERO)?, Buf::scratch(len)?])
        };
        let c = dims.cell.has_cell_state().then(|| planes(dims.hidden)).transpose()?;
        Ok(State { dims, batch, current: 0, h: planes(dims.output())?, c })
    }

    /// It, leaving one without rows.
    pub(crate) fn take(&mut self) -> Self {
        let none = || [Buf::empty(), Buf::empty()];
        let left = State { dims: self.dims, batch: 0, current: 0, h: none(), c: self.c.is_some().then(none) };
        std::mem::replace(self, left)
    }

    /// The number of rows, N.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The cell and sizes of the layer that it was made for; a layer of others refuses it.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// The hidden state of row `n`, `[H]` or `[P]`, if there is such a row.
    pub fn h_row(&self, n: usize) -> Option<&[T]> {
        self.h_rows().nth(n)
    }

    /// The cell state of row `n`, `[H]`, if there is such a row and the layer is an LSTM.
    pub fn c_row(&self, n: usize) -> Option<&[T]> {
        self.c_rows().and_then(|mut rows| rows.nth(n))
    }

    /// A copy of the hidden state, `[N, H]` or `[N, P]` dense.
    pub fn h_to_vec(&self) -> Vec<T> {
        self.h_rows().flatten().copied().collect()
    }

    /// A copy of the cell state of an LSTM, `[N, H]` dense.
    pub fn c_to_vec(&self) -> Option<Vec<T>> {
        self.c_rows().map(|rows| rows.flatten().copied().collect())
    }

    /// Sets the hidden state, `h: [N, H]` or `[N, P]` dense. Values below 2^-100 (f32) or 2^-960 (f64) stay until a step replaces them.
    ///
    /// # Errors
    /// [`Error::Shape`] if `h` has another length.
    pub fn set_h(&mut self, h: &[T]) -> Result<()> {
        let (dims, batch) = (self.dims, self.batch);
        write(&mut self.h[self.current], "h", dims.output(), batch, h)
    }

    /// Sets the cell state, `c: [N, H]` dense.
    ///
    /// # Errors
    /// [`Error::Shape`] if `c` has another length, [`Error::Unsupported`] if the layer is no LSTM.
    pub fn set_c(&mut self, c: &[T]) -> Result<()> {
        let (dims, batch, current) = (self.dims, self.batch, self.current);
        match &mut self.c {
            Some(planes) => write(&mut planes[current], "c", dims.hidden, batch, c),
            None => Err(Error::Unsupported { what: "c", why: "only an LSTM has a cell state" }),
        }
    }

    /// Sets all of it to zero: the start of a new sequence.
    pub fn reset(&mut self) {
        self.h[self.current].fill(T::ZERO);
        if let Some(c) = &mut self.c {
            c[self.current].fill(T::ZERO);
        }
    }

    /// Sets row `n` to zero: the start of a new sequence in that row alone.
    ///
    /// # Errors
    /// [`Error::TooGreat`] if there is no such row.
    pub fn reset_row(&mut self, n: usize) -> Result<()> {
        in_batch("row", n, self.batch)?;
        for (to, units) in self.current_planes() {
            row_of(to, units, n).fill(T::ZERO);
        }
        Ok(())
    }

    /// Row `m` of `from` becomes row `n`. With this, rows of single streams are put together to a batch, and taken apart
    /// again; it allocates nothing.
    ///
    /// # Errors
    /// [`Error::TooGreat`] for a row that is not there, [`Error::Unsupported`] for a state of another cell or size.
    pub fn copy_row(&mut self, n: usize, from: &State<T>, m: usize) -> Result<()> {
        self.check_dims(from.dims)?;
        in_batch("row", n, self.batch)?;
        in_batch("row of the source", m, from.batch)?;
        let sources = [from.h_row(m), from.c_row(m)];
        for ((to, units), from) in self.current_planes().zip(sources.into_iter().flatten()) {
            row_of(to, units, n)[..from.len()].copy_from_slice(from);
        }
        Ok(())
    }

    /// A state of these rows, in this order; a row may come more than once. PyTorch's `hx[:, sorted_indices]`.
    ///
    /// ```
    /// use gatefold::cell::{Activation, Cell};
    /// use gatefold::{Layer, Options, Weights};
    ///
    /// let cell = Cell::SimpleRnn { activation: Activation::Tanh };
    /// let layer = Layer::new(Weights::new(cell, 1, 1, vec![1.0f32], vec![1.0], None, None)?, Options::default())?;
    /// let mut batch = layer.state(3)?;
    /// batch.set_h(&[0.1, 0.2, 0.3])?;
    /// let mut some = batch.gather(&[2, 0])?;
    /// assert_eq!(some.h_to_vec(), [0.3, 0.1]);
    /// some.reset_row(0)?;
    /// batch.scatter(&[2, 0], &some)?;
    /// assert_eq!(batch.h_to_vec(), [0.1, 0.2, 0.0]);
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooGreat`] for a row that is not there; or the state does not fit in memory.
    pub fn gather(&self, rows: &[usize]) -> Result<State<T>> {
        rows.iter().try_for_each(|&row| in_batch("row", row, self.batch))?;
        let mut gathered = State::zeros(self.dims, rows.len())?;
        for (n, &row) in rows.iter().enumerate() {
            gathered.copy_row(n, self, row)?;
        }
        Ok(gathered)
    }

    /// Row `i` of `from` becomes row `rows[i]`: the way back from [`State::gather`].
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not as many `rows` as `from` has, else as [`State::copy_row`]; then nothing was changed.
    pub fn scatter(&mut self, rows: &[usize], from: &State<T>) -> Result<()> {
        self.check_dims(from.dims)?;
        expect("rows", from.batch, rows)?;
        rows.iter().try_for_each(|&row| in_batch("row", row, self.batch))?;
        rows.iter().enumerate().try_for_each(|(m, &n)| self.copy_row(n, from, m))
    }

    /// Refuses the state of another layer.
    pub(crate) fn check_dims(&self, dims: Dims) -> Result<()> {
        if self.dims == dims {
            return Ok(());
        }
        Err(Error::Unsupported { what: "state", why: "it was made for a layer of another cell or size" })
    }

    /// h, and c if there is one, as they are now, each with its units.
    fn current_planes(&mut self) -> impl Iterator<Item = (&mut Buf<T>, usize)> {
        let (current, dims) = (self.current, self.dims);
        let h = (&mut self.h[current], dims.output());
        std::iter::once(h).chain(self.c.as_mut().map(|c| (&mut c[current], dims.hidden)))
    }

    fn h_rows(&self) -> impl Iterator<Item = &[T]> {
        rows(&self.h[self.current], self.dims.output())
    }

    fn c_rows(&self) -> Option<impl Iterator<Item = &[T]>> {
        self.c.as_ref().map(|c| rows(&c[self.current], self.dims.hidden))
    }

    /// The plane that was written in the last of `steps` steps becomes the current one.
    pub(crate) fn advance(&mut self, steps: usize) {
        self.current = (self.current + steps % 2) % 2;
    }

    /// The planes to read from and to write to.
    pub(crate) fn planes(&mut self) -> Planes<'_, T> {
        self.planes_and_turn().0
    }

    /// The planes, and what tells which of them is to be read: 0 or 1, the other one after every step.
    pub(crate) fn planes_and_turn(&mut self) -> (Planes<'_, T>, &mut usize) {
        let current = self.current;
        let strides = [self.dims.output(), self.dims.hidden].map(padded::<T>);
        let (h, c) = (in_order(&mut self.h, current), self.c.as_mut().map(|c| in_order(c, current)));
        (Planes { strides, reverse: current != 0, h, c }, &mut self.current)
    }
}

/// The rows of a plane, without what pads them.
fn rows<T: Real>(plane: &Buf<T>, units: usize) -> impl Iterator<Item = &[T]> {
    plane.chunks_exact(padded::<T>(units)).map(move |row| &row[..units])
}

/// Row `n` of a plane that has it.
fn row_of<T: Real>(plane: &mut Buf<T>, units: usize, n: usize) -> &mut [T] {
    &mut plane[n * padded::<T>(units)..][..units]
}

fn in_batch(argument: &'static str, row: usize, batch: usize) -> Result<()> {
    match batch.checked_sub(1) {
        Some(maximum) if row <= maximum => Ok(()),
        Some(maximum) => Err(Error::TooGreat { argument, maximum, found: row }),
        None => Err(Error::Zero { argument: "batch" }),
    }
}

fn in_order<T>([first, second]: &mut [Buf<T>; 2], current: usize) -> [&mut [T]; 2] {
    if current == 0 { [first, second] } else { [second, first] }
}

fn write<T: Real>(plane: &mut Buf<T>, argument: &'static str, units: usize, batch: usize, from: &[T]) -> Result<()> {
    expect(argument, batch * units, from)?;
    for (row, from) in plane.chunks_exact_mut(padded::<T>(units)).zip(from.chunks_exact(units)) {
        row[..units].copy_from_slice(from);
    }
    Ok(())
}

impl<T> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("dims", &self.dims).field("batch", &self.batch).finish_non_exhaustive()
    }
}

/// The state of some rows while steps run over it.
pub(crate) struct Planes<'a, T> {
    /// Values from one row to the next, of h and of c.
    pub(crate) strides: [usize; 2],
    /// Whether the next step walks over units backwards: every other one does.
    pub(crate) reverse: bool,
    /// Hidden state: to read, to write.
    pub(crate) h: [&'a mut [T]; 2],
    /// Cell state likewise, of an LSTM.
    pub(crate) c: Option<[&'a mut [T]; 2]>,
}

impl<'a, T> Planes<'a, T> {
    /// The first `rows` rows, and the rest.
    pub(crate) fn split(self, rows: usize) -> (Self, Self) {
        let (strides, reverse) = (self.strides, self.reverse);
        let split = |[a, b]: [&'a mut [T]; 2], stride: usize| {
            let ((a0, a1), (b0, b1)) = (a.split_at_mut(rows * stride), b.split_at_mut(rows * stride));
            ([a0, b0], [a1, b1])
        };
        let (h0, h1) = split(self.h, strides[0]);
        let (c0, c1) = self.c.map(|c| split(c, strides[1])).unzip();
        (Planes { strides, reverse, h: h0, c: c0 }, Planes { strides, reverse, h: h1, c: c1 })
    }

    /// A row passes through a step as it is.
    pub(crate) fn carry(&mut self, row: usize)
    where
        T: Copy,
    {
        let planes = [Some(&mut self.h), self.c.as_mut()];
        for (planes, stride) in planes.into_iter().zip(self.strides) {
            if let Some([now, next]) = planes {
                let row = row * stride..(row + 1) * stride;
                next[row.clone()].copy_from_slice(&now[row]);
            }
        }
    }

    /// What was written becomes what is read.
    pub(crate) fn flip(&mut self) {
        self.reverse = !self.reverse;
        self.h.swap(0, 1);
        if let Some(c) = &mut self.c {
            c.swap(0, 1);
        }
    }
}
