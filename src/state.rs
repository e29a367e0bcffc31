//! The state that a layer carries from step to step.

use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::seq::product;
use crate::weights::expect;
use gatefold_kernels::buf::{Buf, padded};
use gatefold_kernels::real::Real;
use std::fmt;

/// Hidden state `[N, H]`, and for an LSTM cell state `[N, H]`, of a batch of N rows.
///
/// Made by [`Layer::state`](crate::Layer::state), and carried from call to call: a sequence may be cut into calls anywhere.
/// Each of h and c stands in two planes whose rows are padded to cache lines; a step reads one and writes the other.
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
        let len = product(&[batch, padded::<T>(dims.hidden)]).ok_or(Error::TooLarge { argument: "batch" })?;
        let planes = || Ok::<_, Error>([Buf::filled(len, T::ZERO)?, Buf::scratch(len)?]);
        let c = dims.cell.has_cell_state().then(planes).transpose()?;
        Ok(State { dims, batch, current: 0, h: planes()?, c })
    }

    /// The number of rows, N.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// The cell and sizes of the layer that it was made for; a layer of others refuses it.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// The hidden state of row `n`, `[H]`, if there is such a row.
    pub fn h_row(&self, n: usize) -> Option<&[T]> {
        self.rows(&self.h[self.current]).nth(n)
    }

    /// The cell state of row `n`, `[H]`, if there is such a row and the layer is an LSTM.
    pub fn c_row(&self, n: usize) -> Option<&[T]> {
        self.c.as_ref().and_then(|c| self.rows(&c[self.current]).nth(n))
    }

    /// A copy of the hidden state, `[N, H]` dense.
    pub fn h_to_vec(&self) -> Vec<T> {
        self.rows(&self.h[self.current]).flatten().copied().collect()
    }

    /// A copy of the cell state of an LSTM, `[N, H]` dense.
    pub fn c_to_vec(&self) -> Option<Vec<T>> {
        self.c.as_ref().map(|c| self.rows(&c[self.current]).flatten().copied().collect())
    }

    /// Sets the hidden state, `h: [N, H]` dense. Values below 2^-100 (f32) or 2^-960 (f64) stay until a step replaces them.
    ///
    /// # Errors
    /// [`Error::Shape`] if `h` has another length.
    pub fn set_h(&mut self, h: &[T]) -> Result<()> {
        let (dims, batch) = (self.dims, self.batch);
        write(&mut self.h[self.current], "h", dims.hidden, batch, h)
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

    /// The plane that was written in the last of `steps` steps becomes the current one.
    pub(crate) fn advance(&mut self, steps: usize) {
        self.current = (self.current + steps % 2) % 2;
    }

    /// The planes to read from and to write to.
    pub(crate) fn planes(&mut self) -> Planes<'_, T> {
        let current = self.current;
        let stride = padded::<T>(self.dims.hidden);
        let (h, c) = (in_order(&mut self.h, current), self.c.as_mut().map(|c| in_order(c, current)));
        Planes { stride, reverse: current != 0, h, c }
    }

    fn rows<'a>(&self, plane: &'a Buf<T>) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
        let hidden = self.dims.hidden;
        plane.chunks_exact(padded::<T>(hidden)).map(move |row| &row[..hidden])
    }
}

fn in_order<T>([first, second]: &mut [Buf<T>; 2], current: usize) -> [&mut [T]; 2] {
    if current == 0 { [first, second] } else { [second, first] }
}

fn write<T: Real>(plane: &mut Buf<T>, argument: &'static str, hidden: usize, batch: usize, from: &[T]) -> Result<()> {
    expect(argument, batch * hidden, from)?;
    for (row, from) in plane.chunks_exact_mut(padded::<T>(hidden)).zip(from.chunks_exact(hidden)) {
        row[..hidden].copy_from_slice(from);
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
    /// Values from one row to the next.
    pub(crate) stride: usize,
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
        let (stride, reverse) = (self.stride, self.reverse);
        let split = |[a, b]: [&'a mut [T]; 2]| {
            let ((a0, a1), (b0, b1)) = (a.split_at_mut(rows * stride), b.split_at_mut(rows * stride));
            ([a0, b0], [a1, b1])
        };
        let (h0, h1) = split(self.h);
        let (c0, c1) = self.c.map(split).unzip();
        (Planes { stride, reverse, h: h0, c: c0 }, Planes { stride, reverse, h: h1, c: c1 })
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
