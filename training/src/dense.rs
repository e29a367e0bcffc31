//! A dense layer: y = x W^T + b.

use crate::initial;
use crate::parameters::{Gradients, Parameters, given, same};
use crate::random::Random;
use gatefold::gemm::{Gemm, Native};
use gatefold::seq::{MatMut, MatRef};
use gatefold::{Accumulate, Element, Error, Isa, Result};

/// A dense layer over rows, `[rows, I]` to `[rows, O]`: y = x W^T + b. PyTorch's `nn.Linear`, Keras' `Dense` without an
/// activation.
///
/// Every value is one chain of fused multiply-adds in ascending order, forward from the bias; so its bits are the same on every
/// instruction set, and a row's whatever the rows around it. One thread computes it, by [`gatefold::gemm::Native`], which
/// packs one operand at every call.
///
/// ```
/// use gatefold::Accumulate;
/// use gatefold_training::{Dense, DenseGrads};
///
/// let dense = Dense::new(2, 1, vec![3.0, 4.0], Some(vec![0.5]))?;
/// let x = [1.0, 2.0, 10.0, 20.0]; // two rows
/// let mut y = [0.0; 2];
/// dense.forward(&x, 2, &mut y)?;
/// assert_eq!(y, [11.5, 110.5]);
///
/// let mut grads = DenseGrads::new();
/// dense.backward(&x, 2, &[1.0, -1.0], &mut grads, Accumulate::Overwrite)?;
/// assert_eq!(grads.dx, [3.0, 4.0, -3.0, -4.0]);
/// assert_eq!((&grads.d_weight[..], &grads.d_bias[..]), (&[-9.0, -18.0][..], &[0.0][..]));
/// # Ok::<(), gatefold::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dense<T> {
    input: usize,
    output: usize,
    weight: Vec<T>,
    bias: Option<Vec<T>>,
    product: Native,
}

/// The gradients of a [`Dense`], which [`Dense::backward`] makes as long as they must be.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseGrads<T> {
    /// Of the input, `[rows, I]`. Always overwritten.
    pub dx: Vec<T>,
    /// Of W, `[O, I]`.
    pub d_weight: Vec<T>,
    /// Of the bias, `[O]`; empty if there is none.
    pub d_bias: Vec<T>,
}

impl<T> DenseGrads<T> {
    /// Without values.
    pub const fn new() -> Self {
        DenseGrads { dx: Vec::new(), d_weight: Vec::new(), d_bias: Vec::new() }
    }
}

impl<T> Default for DenseGrads<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Element> Dense<T> {
    /// Of `weight: [O, I]` and `bias: [O]`: PyTorch's layout, the transpose of Keras' `kernel`.
    ///
    /// # Errors
    /// [`Error::Zero`] if `input` or `output` is 0, [`Error::TooLarge`] if no array could have so many values,
    /// [`Error::Shape`] if an array has another length, [`Error::Isa`] if `GATEFOLD_ISA` names none that is available.
    pub fn new(input: usize, output: usize, weight: Vec<T>, bias: Option<Vec<T>>) -> Result<Self> {
        same("weight", values::<T>(("input", input), ("output", output))?, weight.len())?;
        if let Some(bias) = &bias {
            same("bias", output, bias.len())?;
        }
        Ok(Dense { input, output, weight, bias, product: Native { isa: Isa::chosen()? } })
    }

    /// As PyTorch initialises `nn.Linear(input, output)`: weight and bias uniform in ±1/√I. Draws O I + O numbers.
    ///
    /// # Errors
    /// As [`Dense::new`].
    pub fn pytorch(input: usize, output: usize, random: &mut Random) -> Result<Self> {
        let len = values::<T>(("input", input), ("output", output))?;
        let bound = (input as f64).sqrt().recip();
        let weight = initial::uniform(len, bound, random)?;
        Self::new(input, output, weight, Some(initial::uniform(output, bound, random)?))
    }

    /// As Keras initialises `Dense(output)`: Glorot uniform, and a bias of zeros. Draws O I numbers.
    ///
    /// # Errors
    /// As [`Dense::new`].
    pub fn keras(input: usize, output: usize, random: &mut Random) -> Result<Self> {
        let len = values::<T>(("input", input), ("output", output))?;
        let weight = initial::uniform(len, initial::glorot(input, output), random)?;
        Self::new(input, output, weight, Some(vec![T::ZERO; output]))
    }

    /// y = x W^T + b of `x: [rows, I]`, into `y: [rows, O]`. Cost: 2 rows I O floating-point operations.
    ///
    /// # Errors
    /// [`Error::Shape`] for `x` or `y` of another length; then nothing was written.
    pub fn forward(&self, x: &[T], rows: usize, y: &mut [T]) -> Result<()> {
        same("x", self.sized("rows", rows, self.input)?, x.len())?;
        same("y", self.sized("rows", rows, self.output)?, y.len())?;
        let beta = match &self.bias {
            Some(bias) => {
                y.chunks_exact_mut(self.output).for_each(|row| row.copy_from_slice(bias));
                T::ONE
            }
            None => T::ZERO,
        };
        let weight = MatRef::dense(&self.weight, self.output, self.input)?.transposed();
        self.product.gemm(MatRef::dense(x, rows, self.input)?, weight, beta, MatMut::dense(y, rows, self.output)?)
    }

    /// The gradients, from `dy: [rows, O]` of the outputs for `x: [rows, I]`. Cost: twice that of [`Dense::forward`].
    ///
    /// # Errors
    /// [`Error::Shape`] for `x` or `dy` of another length, and for gradients to be added to that are not of this layer;
    /// then nothing was written.
    pub fn backward(
        &self,
        x: &[T],
        rows: usize,
        dy: &[T],
        grads: &mut DenseGrads<T>,
        accumulate: Accumulate,
    ) -> Result<()> {
        let of_x = self.sized("rows", rows, self.input)?;
        same("x", of_x, x.len())?;
        same("dy", self.sized("rows", rows, self.output)?, dy.len())?;
        let add = accumulate == Accumulate::Add;
        let of_bias = self.bias.as_ref().map_or(0, Vec::len);
        let arrays = [("d_weight", &mut grads.d_weight, self.weight.len()), ("d_bias", &mut grads.d_bias, of_bias)];
        if add {
            for (argument, array, len) in &arrays {
                if !array.is_empty() {
                    same(argument, *len, array.len())?;
                }
            }
        }
        for (_, array, len) in arrays {
            if !add || array.is_empty() {
                zeros(array, len)?;
            }
        }
        zeros(&mut grads.dx, of_x)?;
        if rows == 0 {
            return Ok(());
        }
        let (input, output) = (self.input, self.output);
        let [x, dy_rows] = [MatRef::dense(x, rows, input)?, MatRef::dense(dy, rows, output)?];
        let weight = MatRef::dense(&self.weight, output, input)?;
        self.product.gemm(dy_rows, weight, T::ZERO, MatMut::dense(&mut grads.dx, rows, input)?)?;
        let d_weight = MatMut::dense(&mut grads.d_weight, output, input)?;
        self.product.gemm(dy_rows.transposed(), x, T::ONE, d_weight)?;
        if of_bias > 0 {
            for dy in dy.chunks_exact(output) {
                grads.d_bias.iter_mut().zip(dy).for_each(|(sum, &dy)| *sum = *sum + dy);
            }
        }
        Ok(())
    }

    fn sized(&self, argument: &'static str, rows: usize, channels: usize) -> Result<usize> {
        rows.checked_mul(channels).ok_or(Error::TooLarge { argument })
    }
}

impl<T> Dense<T> {
    /// I, the channels that it takes.
    pub fn input(&self) -> usize {
        self.input
    }

    /// O, the channels that it gives.
    pub fn output(&self) -> usize {
        self.output
    }

    /// W, `[O, I]`.
    pub fn weight(&self) -> &[T] {
        &self.weight
    }

    /// The bias, `[O]`.
    pub fn bias(&self) -> Option<&[T]> {
        self.bias.as_deref()
    }

    /// W and the bias, to be changed in place.
    pub fn values_mut(&mut self) -> (&mut [T], Option<&mut [T]>) {
        (&mut self.weight, self.bias.as_deref_mut())
    }
}

impl<T> Gradients<T> for DenseGrads<T> {
    fn arrays(&self) -> Vec<(&'static str, &[T])> {
        given([("d_weight", &self.d_weight), ("d_bias", &self.d_bias)])
    }

    fn arrays_mut(&mut self) -> Vec<(&'static str, &mut [T])> {
        let all = [("d_weight", &mut self.d_weight[..]), ("d_bias", &mut self.d_bias)];
        all.into_iter().filter(|(_, array)| !array.is_empty()).collect()
    }
}

impl<T: Element> Parameters<T> for Dense<T> {
    type Gradients = DenseGrads<T>;

    fn arrays(&self) -> Result<Vec<&[T]>> {
        Ok([Some(self.weight()), self.bias()].into_iter().flatten().collect())
    }

    fn update(&mut self, change: &mut dyn FnMut(&mut [T])) -> Result<()> {
        let (weight, bias) = self.values_mut();
        change(weight);
        bias.into_iter().for_each(change);
        Ok(())
    }
}

/// Values of a matrix of such sizes, which must be positive, if they can be addressed.
fn values<T>(input: (&'static str, usize), output: (&'static str, usize)) -> Result<usize> {
    for (argument, size) in [input, output] {
        if size == 0 {
            return Err(Error::Zero { argument });
        }
    }
    let most = isize::MAX as usize / size_of::<T>().max(1);
    input.1.checked_mul(output.1).filter(|&len| len <= most).ok_or(Error::TooLarge { argument: output.0 })
}

fn zeros<T: Element>(array: &mut Vec<T>, len: usize) -> Result<()> {
    array.clear();
    array.try_reserve(len).map_err(|_| Error::TooLarge { argument: "rows" })?;
    array.resize(len, T::ZERO);
    Ok(())
}
