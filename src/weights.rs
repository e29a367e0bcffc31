//! Weights in the canonical layout, and the layouts of frameworks that lead to it.

pub mod keras;
pub mod onnx;
mod options;
mod order;
pub mod pytorch;
mod values;

pub use values::WeightsMut;

use crate::cell::{Activation, Cell};
use crate::dims::Dims;
use crate::error::{Error, Result, same};
use gatefold_kernels::real::Real;
use std::fmt;

/// The weights of one layer in the canonical layout: rows gate by gate, gates in the order i, f, g, o (LSTM) or r, z, n (GRU).
///
/// I is the number of input features, H of hidden units, G of [gates](Cell::gates).
#[derive(Clone, PartialEq)]
pub struct Weights<T> {
    dims: Dims,
    w: Vec<T>,
    r: Vec<T>,
    b_w: Option<Vec<T>>,
    b_r: Option<Vec<T>>,
    peepholes: Option<Vec<T>>,
    projection: Option<Vec<T>>,
    /// Whether z is 1 minus what was trained.
    turned: bool,
}

/// What the update gate z of a GRU does, by which sources differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpdateGate {
    /// h' = z*h + (1-z)*n: Keras, PyTorch, ONNX, oneDNN, and Cho et al. (arXiv:1406.1078). The canonical one.
    KeepsPast,
    /// h' = (1-z)*h + z*n: Chung et al. (arXiv:1412.3555) and many tutorials.
    TakesNew,
}

impl<T: Real> Weights<T> {
    /// Weights that are canonical already: `w: [G*H, I]`, `r: [G*H, H]`, and the biases beside them,
    /// `b_w: [G*H]` and `b_r: [G*H]`.
    ///
    /// ```
    /// use gatefold::cell::{Activation, Cell};
    /// use gatefold::weights::Weights;
    ///
    /// let cell = Cell::SimpleRnn { activation: Activation::Tanh };
    /// let weights = Weights::new(cell, 3, 1, vec![0.5, -1.0, 2.0], vec![0.25], Some(vec![0.1]), None)?;
    /// assert_eq!(weights.w(), [0.5, -1.0, 2.0]);
    ///
    /// let error = Weights::new(cell, 3, 1, vec![0.5, -1.0], vec![0.25], None, None).unwrap_err();
    /// assert_eq!(error.to_string(), "w: expected 3 values, found 2");
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] if an array has another length, [`Error::Zero`] if `input` or `hidden` is 0, [`Error::TooLarge`] if
    /// no array could have so many values.
    pub fn new(
        cell: Cell,
        input: usize,
        hidden: usize,
        w: Vec<T>,
        r: Vec<T>,
        b_w: Option<Vec<T>>,
        b_r: Option<Vec<T>>,
    ) -> Result<Self> {
        Self::sized(cell, input, hidden, ("hidden", hidden), w, r, [b_w, b_r])
    }

    /// The same with an output of other channels than H; the caller adds the projection that makes them.
    fn sized(
        cell: Cell,
        input: usize,
        hidden: usize,
        output: (&'static str, usize),
        w: Vec<T>,
        r: Vec<T>,
        [b_w, b_r]: [Option<Vec<T>>; 2],
    ) -> Result<Self> {
        let sizes = Sizes::new::<T>(cell, ("input", input), ("hidden", hidden), output)?;
        expect("w", sizes.w, &w)?;
        expect("r", sizes.r, &r)?;
        for (name, bias) in [("b_w", &b_w), ("b_r", &b_r)] {
            if let Some(bias) = bias {
                expect(name, sizes.b, bias)?;
            }
        }
        Ok(Self::of(cell, input, hidden, w, r, [b_w, b_r]))
    }

    /// Of arrays whose lengths were checked.
    fn of(cell: Cell, input: usize, hidden: usize, w: Vec<T>, r: Vec<T>, [b_w, b_r]: [Option<Vec<T>>; 2]) -> Self {
        let dims = Dims { cell, variant: cell.standard(), input, hidden, projection: None };
        Weights { dims, w, r, b_w, b_r, peepholes: None, projection: None, turned: false }
    }

    /// Says by which convention these weights of a GRU were trained, and converts them to the canonical
    /// [`UpdateGate::KeepsPast`] where it was the other: W_z, R_z and b_z are negated, since 1 - sigmoid(a) = sigmoid(-a).
    ///
    /// ```
    /// use gatefold::cell::Reset;
    /// use gatefold::weights::{UpdateGate, keras};
    ///
    /// let arrays = keras::Arrays { kernel: &[0.1, 0.2, 0.3], recurrent_kernel: &[1.1, 1.2, 1.3], bias: None };
    /// let weights = keras::gru(1, 1, Reset::Before, arrays)?.update_gate(UpdateGate::TakesNew)?;
    /// assert_eq!(weights.w(), [0.2, -0.1, 0.3]); // r, z, n
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a cell that is not a GRU; for [`UpdateGate::TakesNew`] also with an activation of gates
    /// for which 1 - f(a) = f(-a) does not hold, and with attention.
    pub fn update_gate(mut self, convention: UpdateGate) -> Result<Self> {
        let Cell::Gru { .. } = self.dims.cell else {
            return Err(Error::Unsupported { what: "update_gate", why: "only a GRU has an update gate" });
        };
        if convention == UpdateGate::TakesNew {
            let arrays = [Some(&mut self.w), Some(&mut self.r), self.b_w.as_mut(), self.b_r.as_mut()];
            for array in arrays.into_iter().flatten() {
                let block = array.len() / self.dims.cell.gates();
                for value in &mut array[order::GRU_UPDATE * block..][..block] {
                    *value = T::from_f64(-value.to_f64());
                }
            }
            self.turned = !self.turned;
        }
        self.check_turned()?;
        Ok(self)
    }

    /// Refuses options with which an update gate of negated weights is not 1 minus the one that was trained.
    fn check_turned(&self) -> Result<()> {
        let symmetric = match self.dims.variant.activations[0] {
            Activation::Sigmoid => true,
            Activation::HardSigmoid { beta, .. } => beta == 0.5,
            _ => false,
        };
        if !self.turned || symmetric && !self.dims.variant.attention {
            return Ok(());
        }
        let why = "the conversion needs an activation with 1 - f(a) = f(-a), and no attention";
        Err(Error::Unsupported { what: "update_gate", why })
    }
}

impl<T> Weights<T> {
    /// The equations that these weights are for.
    pub fn cell(&self) -> Cell {
        self.dims.cell
    }

    /// The equations and the sizes.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// I, the number of input features.
    pub fn input(&self) -> usize {
        self.dims.input
    }

    /// H, the number of hidden units.
    pub fn hidden(&self) -> usize {
        self.dims.hidden
    }

    /// The input weights `[G*H, I]`.
    pub fn w(&self) -> &[T] {
        &self.w
    }

    /// The recurrent weights `[G*H, H]`, or `[G*H, P]` with a projection.
    pub fn r(&self) -> &[T] {
        &self.r
    }

    /// The bias beside W `[G*H]`.
    pub fn b_w(&self) -> Option<&[T]> {
        self.b_w.as_deref()
    }

    /// The bias beside R `[G*H]`.
    pub fn b_r(&self) -> Option<&[T]> {
        self.b_r.as_deref()
    }

    /// The peepholes of an LSTM `[3*H]`, in the order i, f, o.
    pub fn peepholes(&self) -> Option<&[T]> {
        self.peepholes.as_deref()
    }

    /// The projection of an LSTM's output `[P, H]`.
    pub fn projection(&self) -> Option<&[T]> {
        self.projection.as_deref()
    }
}

/// The sizes, not the values, of which there may be millions.
impl<T> fmt::Debug for Weights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights")
            .field("cell", &self.dims.cell)
            .field("input", &self.dims.input)
            .field("hidden", &self.dims.hidden)
            .field("b_w", &self.b_w.is_some())
            .field("b_r", &self.b_r.is_some())
            .finish_non_exhaustive()
    }
}

/// How many values each array has.
struct Sizes {
    /// G*H*I.
    w: usize,
    /// G*H*H, or G*H*P.
    r: usize,
    /// G*H.
    b: usize,
}

impl Sizes {
    /// For an input, a hidden and an output size with the names that errors are to give them. Twice the values of
    /// an array can be counted and their bytes addressed.
    fn new<T>(
        cell: Cell,
        input: (&'static str, usize),
        hidden: (&'static str, usize),
        output: (&'static str, usize),
    ) -> Result<Sizes> {
        for (argument, size) in [input, hidden, output] {
            if size == 0 {
                return Err(Error::Zero { argument });
            }
        }
        let most = isize::MAX as usize / size_of::<T>().max(1);
        let times = |a: usize, (argument, b): (&'static str, usize)| {
            a.checked_mul(b).filter(|&n| n <= most).ok_or(Error::TooLarge { argument })
        };
        let b = times(cell.gates(), hidden)?;
        Ok(Sizes { w: times(b, input)?, r: times(b, output)?, b })
    }
}

/// Checks that an array has as many values as it must.
pub(crate) fn expect<T>(argument: &'static str, expected: usize, values: &[T]) -> Result<()> {
    same(argument, expected, values.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Reset;

    const CELLS: [Cell; 4] = [
        Cell::SimpleRnn { activation: Activation::Relu },
        Cell::Lstm,
        Cell::Gru { reset: Reset::After },
        Cell::Gru { reset: Reset::Before },
    ];

    /// Weights of input 3, hidden 2 with the lengths as given for w, r, b_w, b_r.
    fn build(cell: Cell, lengths: [usize; 4]) -> Result<Weights<f64>> {
        let [w, r, b_w, b_r] = lengths.map(|n| (0..n).map(|k| k as f64 + 0.5).collect());
        Weights::new(cell, 3, 2, w, r, Some(b_w), Some(b_r))
    }

    #[test]
    fn every_length_is_checked() {
        for cell in CELLS {
            let g = cell.gates();
            let lengths = [6 * g, 4 * g, 2 * g, 2 * g];
            let weights = build(cell, lengths).unwrap();
            assert_eq!([weights.w().len(), weights.r().len()], lengths[..2]);
            assert_eq!([weights.b_w().unwrap().len(), weights.b_r().unwrap().len()], lengths[2..]);
            for (k, argument) in ["w", "r", "b_w", "b_r"].into_iter().enumerate() {
                for found in [0, lengths[k] - 1, lengths[k] + 1] {
                    let mut wrong = lengths;
                    wrong[k] = found;
                    let error = build(cell, wrong).unwrap_err();
                    assert_eq!(error, Error::Shape { argument, expected: lengths[k], found });
                }
            }
        }
    }

    #[test]
    fn sizes_must_be_positive_and_countable() {
        let build = |input, hidden| Weights::<f32>::new(Cell::Lstm, input, hidden, vec![], vec![], None, None);
        assert_eq!(build(0, 1).unwrap_err(), Error::Zero { argument: "input" });
        assert_eq!(build(1, 0).unwrap_err(), Error::Zero { argument: "hidden" });
        assert_eq!(build(usize::MAX, 1).unwrap_err(), Error::TooLarge { argument: "input" });
        assert_eq!(build(1, usize::MAX).unwrap_err(), Error::TooLarge { argument: "hidden" });
        assert_eq!(build(1, 1 << (usize::BITS / 2)).unwrap_err(), Error::TooLarge { argument: "hidden" });
        // 2^(bits - 5) values of w can be counted, their 4 * 2^(bits - 3) bytes cannot be addressed.
        assert_eq!(build(1 << (usize::BITS - 5), 1).unwrap_err(), Error::TooLarge { argument: "input" });
    }

    #[test]
    fn other_update_gate_negates_only_z() {
        for reset in [Reset::After, Reset::Before] {
            let weights = build(Cell::Gru { reset }, [18, 12, 6, 6]).unwrap();
            let kept = weights.clone().update_gate(UpdateGate::KeepsPast).unwrap();
            assert_eq!(kept, weights);
            let turned = weights.clone().update_gate(UpdateGate::TakesNew).unwrap();
            let arrays = |w: &Weights<f64>| {
                [w.w().to_vec(), w.r().to_vec(), w.b_w().unwrap().to_vec(), w.b_r().unwrap().to_vec()]
            };
            for (before, after) in arrays(&weights).iter().zip(&arrays(&turned)) {
                let block = before.len() / 3;
                for (k, (b, a)) in before.iter().zip(after).enumerate() {
                    assert_eq!(*a, if k / block == 1 { -b } else { *b });
                }
            }
            assert_eq!(turned.update_gate(UpdateGate::TakesNew).unwrap(), weights);
        }
    }

    #[test]
    fn the_other_update_gate_needs_a_symmetric_activation() {
        let weights = || build(Cell::Gru { reset: Reset::After }, [18, 12, 6, 6]).unwrap();
        let turned = || weights().update_gate(UpdateGate::TakesNew).unwrap();
        let hard = |beta| [Activation::HardSigmoid { alpha: 0.2, beta }, Activation::Tanh];
        let refused = |result| matches!(result, Err(Error::Unsupported { what: "update_gate", .. }));
        assert!(turned().with_activations(&hard(0.5)).is_ok());
        assert!(weights().with_activations(&hard(0.5)).unwrap().update_gate(UpdateGate::TakesNew).is_ok());
        assert!(refused(turned().with_activations(&hard(0.4))));
        assert!(refused(weights().with_activations(&hard(0.4)).unwrap().update_gate(UpdateGate::TakesNew)));
        assert!(refused(turned().attended()));
        assert!(refused(weights().attended().unwrap().update_gate(UpdateGate::TakesNew)));
        assert!(weights().attended().unwrap().update_gate(UpdateGate::KeepsPast).is_ok());
    }

    #[test]
    fn other_cells_have_no_update_gate() {
        for cell in [CELLS[0], CELLS[1]] {
            let g = cell.gates();
            for convention in [UpdateGate::KeepsPast, UpdateGate::TakesNew] {
                let weights = build(cell, [6 * g, 4 * g, 2 * g, 2 * g]).unwrap();
                assert!(matches!(weights.update_gate(convention), Err(Error::Unsupported { what: "update_gate", .. })));
            }
        }
    }

    #[test]
    fn debug_shows_sizes() {
        let text = format!("{:?}", build(Cell::Lstm, [24, 16, 8, 8]).unwrap());
        assert_eq!(text, "Weights { cell: Lstm, input: 3, hidden: 2, b_w: true, b_r: true, .. }");
    }
}
