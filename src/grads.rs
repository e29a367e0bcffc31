//! Gradients: those that a backward pass starts from, and those that it gives.

use crate::dims::Dims;
use crate::error::{Error, Result};
use crate::seq::{SeqRef, product};
use crate::weights::{Weights, expect};
use gatefold_kernels::buf::ask_for_huge_pages;
use gatefold_kernels::real::Real;

/// The gradients that a backward pass starts from: of a loss with respect to what the recorded call returned. What is not
/// given is zero.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a, T> {
    /// Of the outputs, `[T, N, H]` or `[T, N, P]` at any strides, in the order in which the call wrote them. What stands
    /// past the end of a row that has a length is not read.
    pub dy: Option<SeqRef<'a, T>>,
    /// Of the final hidden state, `[N, H]` or `[N, P]` dense.
    pub dh: Option<&'a [T]>,
    /// Of the final cell state of an LSTM, `[N, H]` dense.
    pub dc: Option<&'a [T]>,
}

impl<T> Default for Upstream<'_, T> {
    fn default() -> Self {
        Upstream { dy: None, dh: None, dc: None }
    }
}

impl<'a, T> From<SeqRef<'a, T>> for Upstream<'a, T> {
    /// Of the outputs alone.
    fn from(dy: SeqRef<'a, T>) -> Self {
        Upstream { dy: Some(dy), ..Upstream::default() }
    }
}

/// What becomes of the gradients of weights that a [`Grads`] holds already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accumulate {
    /// They are overwritten.
    #[default]
    Overwrite,
    /// The new ones are added to them, where there are any: batches in several calls, or a sequence in several.
    Add,
}

/// The gradients of a layer. Those of weights are in the canonical layout of [`Weights`], and with respect to the canonical
/// values: where [`Weights::update_gate`] negated those of z, a gradient of z is to be negated as well to be one of the
/// values before that.
///
/// [`Layer::backward`](crate::Layer::backward) makes every array as long as it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Grads<T> {
    /// Of the input, `[T, N, I]` dense, whatever the strides of x were; zeros past the end of a row. Always overwritten.
    pub dx: Vec<T>,
    /// Of the initial hidden state, `[N, H]` or `[N, P]`. Always overwritten.
    pub dh0: Vec<T>,
    /// Of the initial cell state of an LSTM, `[N, H]`; else empty. Always overwritten.
    pub dc0: Vec<T>,
    /// Of W, `[G*H, I]`.
    pub dw: Vec<T>,
    /// Of R, `[G*H, H]` or `[G*H, P]`.
    pub dr: Vec<T>,
    /// Of the bias beside W, `[G*H]`; empty if the layer has none.
    pub db_w: Vec<T>,
    /// Of the bias beside R, `[G*H]`; empty if the layer has none.
    pub db_r: Vec<T>,
    /// Of the projection, `[P, H]`; empty if the layer has none.
    pub d_projection: Vec<T>,
    /// Of the peepholes of an LSTM, `[3*H]` in the order i, f, o; empty if the layer has none.
    pub d_peepholes: Vec<T>,
}

impl<T> Default for Grads<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Grads<T> {
    /// Without values.
    pub const fn new() -> Self {
        Grads {
            dx: Vec::new(),
            dh0: Vec::new(),
            dc0: Vec::new(),
            dw: Vec::new(),
            dr: Vec::new(),
            db_w: Vec::new(),
            db_r: Vec::new(),
            d_projection: Vec::new(),
            d_peepholes: Vec::new(),
        }
    }
}

impl<T: Real> Grads<T> {
    /// The gradients of weights, with their names and lengths.
    fn of_weights(&mut self, weights: &Weights<T>) -> [(&'static str, &mut Vec<T>, usize); 6] {
        let len = |array: Option<&[T]>| array.map_or(0, <[T]>::len);
        [
            ("dw", &mut self.dw, weights.w().len()),
            ("dr", &mut self.dr, weights.r().len()),
            ("db_w", &mut self.db_w, len(weights.b_w())),
            ("db_r", &mut self.db_r, len(weights.b_r())),
            ("d_projection", &mut self.d_projection, len(weights.projection())),
            ("d_peepholes", &mut self.d_peepholes, len(weights.peepholes())),
        ]
    }

    /// Refuses gradients that are to be added to and are not of such weights.
    pub(crate) fn check(&mut self, weights: &Weights<T>, accumulate: Accumulate) -> Result<()> {
        for (argument, values, len) in self.of_weights(weights) {
            if accumulate == Accumulate::Add && !values.is_empty() {
                expect(argument, len, values)?;
            }
        }
        Ok(())
    }

    /// Gives every array its length. Gradients of states are zeros, and those of weights what they were, or zeros where that
    /// is nothing. What is overwritten, as dx is, may hold anything, unless no step follows to overwrite it.
    pub(crate) fn prepare(
        &mut self,
        dims: Dims,
        [time, batch]: [usize; 2],
        weights: &Weights<T>,
        accumulate: Accumulate,
    ) -> Result<()> {
        let cell = if dims.cell.has_cell_state() { dims.hidden } else { 0 };
        let count = |sizes: &[usize]| product(sizes).ok_or(Error::TooLarge { argument: "batch" });
        lengthen(&mut self.dx, count(&[time, batch, dims.input])?)?;
        zeros(&mut self.dh0, count(&[batch, dims.output()])?)?;
        zeros(&mut self.dc0, count(&[batch, cell])?)?;
        let nothing_follows = time == 0 || batch == 0;
        for (_, values, len) in self.of_weights(weights) {
            match accumulate {
                Accumulate::Add if !values.is_empty() => {}
                Accumulate::Overwrite if !nothing_follows => lengthen(values, len)?,
                _ => zeros(values, len)?,
            }
        }
        Ok(())
    }
}

/// Sets a length, whatever the values are.
fn lengthen<T: Real>(values: &mut Vec<T>, len: usize) -> Result<()> {
    if values.capacity() < len {
        let mut longer = Vec::new();
        longer.try_reserve_exact(len).map_err(|_| Error::TooLarge { argument: "batch" })?;
        ask_for_huge_pages(longer.spare_capacity_mut());
        *values = longer;
    }
    values.resize(len, T::ZERO);
    Ok(())
}

fn zeros<T: Real>(values: &mut Vec<T>, len: usize) -> Result<()> {
    values.clear();
    lengthen(values, len)
}
