//! The states of a stack's layers and directions.

use crate::error::{Error, Result};
use crate::gemm::Element;
use crate::layer::Layer;
use crate::state::State;
use crate::weights::expect;

/// The state of every layer and direction of a [`Stack`](super::Stack), in PyTorch's order: that of layer l and direction d
/// stands at l D + d, the forward direction first.
#[derive(Clone, Debug)]
pub struct StackState<T> {
    states: Vec<State<T>>,
}

impl<T: Element> StackState<T> {
    pub(super) fn zeros<'a>(layers: impl Iterator<Item = &'a Layer<T>>, batch: usize) -> Result<Self> {
        Ok(StackState { states: layers.map(|layer| layer.state(batch)).collect::<Result<_>>()? })
    }

    /// The hidden states, one after the other, dense: PyTorch's h_n `[L*D, N, H]` where all sizes are the same.
    pub fn h_to_vec(&self) -> Vec<T> {
        self.states.iter().flat_map(State::h_to_vec).collect()
    }

    /// The cell states of those that have one, likewise: PyTorch's c_n `[L*D, N, H]`.
    pub fn c_to_vec(&self) -> Vec<T> {
        self.states.iter().filter_map(State::c_to_vec).flatten().collect()
    }

    /// Sets the hidden states, laid out as [`StackState::h_to_vec`] gives them.
    ///
    /// # Errors
    /// [`Error::Shape`] if `h` has another length; then nothing was changed.
    pub fn set_h(&mut self, h: &[T]) -> Result<()> {
        let len = |state: &State<T>| state.batch() * state.dims().output();
        expect("h", self.states.iter().map(len).sum(), h)?;
        let mut rest = h;
        for state in &mut self.states {
            let (now, later) = rest.split_at(len(state));
            state.set_h(now)?;
            rest = later;
        }
        Ok(())
    }

    /// Sets the cell states, laid out as [`StackState::c_to_vec`] gives them.
    ///
    /// # Errors
    /// [`Error::Shape`] if `c` has another length; then nothing was changed.
    pub fn set_c(&mut self, c: &[T]) -> Result<()> {
        let len = |state: &State<T>| match state.dims().cell.has_cell_state() {
            true => state.batch() * state.dims().hidden,
            false => 0,
        };
        expect("c", self.states.iter().map(len).sum(), c)?;
        let mut rest = c;
        for state in self.states.iter_mut().filter(|state| len(state) > 0) {
            let (now, later) = rest.split_at(len(state));
            state.set_c(now)?;
            rest = later;
        }
        Ok(())
    }

    /// Sets all of it to zero: the start of new sequences.
    pub fn reset(&mut self) {
        self.states.iter_mut().for_each(State::reset);
    }

    /// Sets row `n` of every state to zero.
    ///
    /// # Errors
    /// [`Error::TooGreat`] if there is no such row.
    pub fn reset_row(&mut self, n: usize) -> Result<()> {
        self.states.iter_mut().try_for_each(|state| state.reset_row(n))
    }

    /// A state of these rows, in this order; see [`State::gather`].
    ///
    /// # Errors
    /// As [`State::gather`].
    pub fn gather(&self, rows: &[usize]) -> Result<Self> {
        Ok(StackState { states: self.states.iter().map(|state| state.gather(rows)).collect::<Result<_>>()? })
    }

    /// Row `i` of `from` becomes row `rows[i]`; see [`State::scatter`].
    ///
    /// # Errors
    /// As [`State::scatter`], and [`Error::Shape`] for the state of another stack; then nothing was changed.
    pub fn scatter(&mut self, rows: &[usize], from: &Self) -> Result<()> {
        expect("states", self.states.len(), &from.states)?;
        let pairs = || self.states.iter().zip(&from.states);
        pairs().try_for_each(|(to, from)| to.check_dims(from.dims()))?;
        self.states.iter_mut().zip(&from.states).try_for_each(|(to, from)| to.scatter(rows, from))
    }

    /// A copy as bytes, those of each state one after the other; see [`State::to_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        self.states.iter().flat_map(State::to_bytes).collect()
    }

    /// Takes up what [`StackState::to_bytes`] gave.
    ///
    /// # Errors
    /// [`Error::Snapshot`] as [`State::restore`]; then nothing was changed.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let mut restored = self.states.clone();
        let mut rest = bytes;
        for state in &mut restored {
            let (now, later) = rest.split_at(state.snapshot_len().min(rest.len()));
            state.restore(now)?;
            rest = later;
        }
        if !rest.is_empty() {
            let (expected, found) = ((bytes.len() - rest.len()) as u64, bytes.len() as u64);
            return Err(Error::Snapshot { what: "length", expected, found });
        }
        self.states = restored;
        Ok(())
    }
}

impl<T> StackState<T> {
    /// The states, layer by layer.
    pub fn states(&self) -> &[State<T>] {
        &self.states
    }

    /// The states, layer by layer, to be changed.
    pub fn states_mut(&mut self) -> &mut [State<T>] {
        &mut self.states
    }
}
