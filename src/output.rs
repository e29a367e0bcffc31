//! Where the outputs of a sequence go.

use crate::error::{Error, Result, same};
use crate::seq::{MatMut, SeqMut, SeqShape};

/// Where the outputs of a sequence go. What is to be written must have these sizes; strides are free. H is P where there is
/// a projection.
#[derive(Debug)]
pub enum Output<'a, T> {
    /// Every output, `[T, N, H]` at any strides. Keras: `return_sequences=True`.
    Sequence(SeqMut<'a, T>),
    /// The last output, `[N, H]`; the others are not written anywhere. It is the final hidden state; where T is 0, the
    /// initial one; under a mask zeros for a row without any step. Keras: `return_sequences=False`.
    Last(MatMut<'a, T>),
    /// Every output of a packed sequence, `[sum of the batch sizes, H]`.
    Packed(MatMut<'a, T>),
    /// Nowhere: only the state is wanted.
    StateOnly,
}

impl<T> Output<'_, T> {
    /// Checks the sizes of what is to be written, for a packed sequence of so many rows or for one that is not.
    pub(crate) fn check(&self, time: usize, batch: usize, packed: Option<usize>, channels: usize) -> Result<()> {
        match (self, packed) {
            (Output::Sequence(y), None) => {
                let shape = y.shape();
                same("y timesteps", time, shape.time)?;
                same("y rows", batch, shape.batch)?;
                same("y channels", channels, shape.channels)
            }
            (Output::Packed(y), Some(rows)) => {
                same("y rows", rows, y.rows())?;
                same("y channels", channels, y.cols())
            }
            (Output::Last(y), _) => {
                same("y rows", batch, y.rows())?;
                same("y channels", channels, y.cols())
            }
            (Output::StateOnly, _) => Ok(()),
            (Output::Sequence(_), Some(_)) | (Output::Packed(_), None) => {
                let why = "a packed sequence has packed outputs, another has others";
                Err(Error::Unsupported { what: "this form of y", why })
            }
        }
    }

    /// The first `rows` batch rows, and the rest.
    pub(crate) fn split(self, rows: usize) -> Result<(Self, Self)> {
        Ok(match self {
            Output::Sequence(y) => {
                let (a, b) = y.split_batch(rows)?;
                (Output::Sequence(a), Output::Sequence(b))
            }
            Output::Last(y) => {
                let (a, b) = y.split_rows(rows)?;
                (Output::Last(a), Output::Last(b))
            }
            Output::Packed(_) => {
                return Err(Error::Unsupported { what: "packed outputs", why: "their rows are not cut into parts" });
            }
            Output::StateOnly => (Output::StateOnly, Output::StateOnly),
        })
    }

    /// The first `channels` channels, and the rest.
    pub(crate) fn split_channels(self, channels: usize) -> Result<(Self, Self)> {
        Ok(match self {
            Output::Sequence(y) => {
                let (a, b) = y.split_channels(channels)?;
                (Output::Sequence(a), Output::Sequence(b))
            }
            Output::Last(y) => {
                let (a, b) = y.split_cols(channels)?;
                (Output::Last(a), Output::Last(b))
            }
            Output::Packed(y) => {
                let (a, b) = y.split_cols(channels)?;
                (Output::Packed(a), Output::Packed(b))
            }
            Output::StateOnly => (Output::StateOnly, Output::StateOnly),
        })
    }

    /// Other outputs of so many channels for the same steps and rows, dense in `buf`.
    pub(crate) fn like<'b>(&self, buf: &'b mut [T], channels: usize) -> Result<Output<'b, T>> {
        Ok(match self {
            Output::Sequence(y) => {
                let shape = SeqShape::time_major(y.shape().time, y.shape().batch, channels);
                Output::Sequence(SeqMut::new(buf, shape)?)
            }
            Output::Last(y) => Output::Last(MatMut::dense(buf, y.rows(), channels)?),
            Output::Packed(y) => Output::Packed(MatMut::dense(buf, y.rows(), channels)?),
            Output::StateOnly => Output::StateOnly,
        })
    }

    /// What a call writes that computes the steps `from..from + steps` of `time`.
    pub(crate) fn steps(&mut self, from: usize, steps: usize, time: usize) -> Result<Output<'_, T>> {
        Ok(match self {
            Output::Sequence(y) => Output::Sequence(y.steps(from, steps)?),
            Output::Last(y) if from + steps == time => Output::Last(y.reborrow()),
            Output::Last(_) | Output::StateOnly => Output::StateOnly,
            Output::Packed(_) => {
                return Err(Error::Unsupported { what: "packed outputs", why: "their steps are not cut into blocks" });
            }
        })
    }

    /// The same for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Output<'_, T> {
        match self {
            Output::Sequence(y) => Output::Sequence(y.reborrow()),
            Output::Last(y) => Output::Last(y.reborrow()),
            Output::Packed(y) => Output::Packed(y.reborrow()),
            Output::StateOnly => Output::StateOnly,
        }
    }
}
