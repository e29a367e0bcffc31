//! Products with a matrix of weights.

use super::config::Config;
use super::function::Function;
use super::step::{Context, Step, arrays, values};
use super::value::Value;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::recurrent::room;
use crate::tensor::Tensor;
use gatefold::gemm::{Gemm, Native};
use gatefold::seq::{MatMut, MatRef};

/// Keras' `Dense`: activation(x.kernel + bias), over the last axis.
#[derive(Debug)]
pub(super) struct Dense<T> {
    pub(super) affine: Affine<T>,
    function: Function,
    context: Context,
}

/// x.kernel + bias for rows x.
#[derive(Debug)]
pub(super) struct Affine<T> {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// `[inputs, outputs]`.
    kernel: Vec<T>,
    /// `[outputs]`.
    bias: Vec<T>,
}

impl<T: Element> Affine<T> {
    /// Of the arrays kernel, in any shape of as many rows as `inputs`, and bias if there is one.
    pub(super) fn new(kernel: &Tensor, bias: Option<&Tensor>, outputs: usize) -> Result<Self> {
        let shape = kernel.shape();
        let inputs = shape.iter().take(shape.len().saturating_sub(1)).product();
        let bias = match bias {
            Some(bias) => values("bias", bias, &[outputs])?,
            None => vec![T::ZERO; outputs],
        };
        Ok(Affine { inputs, outputs, kernel: values("kernel", kernel, shape)?, bias })
    }

    /// `[rows, outputs]` of `x: [rows, inputs]`.
    pub(super) fn apply(&self, x: &[T], rows: usize, context: &Context) -> Result<Vec<T>> {
        let mut y: Vec<T> = room(&[rows, self.outputs])?;
        y.chunks_mut(self.outputs.max(1)).for_each(|row| row.copy_from_slice(&self.bias));
        let matrix = |values, rows, columns| MatRef::dense(values, rows, columns).map_err(gatefold::Error::from);
        let (a, b) = (matrix(x, rows, self.inputs)?, matrix(&self.kernel, self.inputs, self.outputs)?);
        let c = MatMut::dense(&mut y, rows, self.outputs).map_err(gatefold::Error::from)?;
        Native { isa: context.isa }.gemm(a, b, T::ONE, c)?;
        Ok(y)
    }
}

/// Kernel and bias, which is there if `use_bias` says so.
pub(super) fn kernel_and_bias<'a>(
    config: &Config<'_>,
    weights: &'a [(String, Tensor)],
) -> Result<(&'a Tensor, Option<&'a Tensor>)> {
    if config.boolean("use_bias", true)? {
        let [kernel, bias] = arrays(weights, ["kernel", "bias"])?;
        Ok((kernel, Some(bias)))
    } else {
        let [kernel] = arrays(weights, ["kernel"])?;
        Ok((kernel, None))
    }
}

impl<T: Element> Dense<T> {
    pub(super) fn new(config: &Config<'_>, weights: &[(String, Tensor)], context: &Context) -> Result<Self> {
        let (units, function) = (config.size("units")?, Function::of(config, context)?);
        let (kernel, bias) = kernel_and_bias(config, weights)?;
        match *kernel.shape() {
            [_, outputs] if outputs == units && units > 0 => {}
            _ => {
                let found = format_args!("{:?}", kernel.shape());
                return Err(Error::malformed("kernel: shape", format_args!("[inputs, {units}]"), found));
            }
        }
        Ok(Dense { affine: Affine::new(kernel, bias, units)?, function, context: context.clone() })
    }
}

impl<T: Element> Step<T> for Dense<T> {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        x.last(self.affine.inputs)?;
        let rows: usize = x.shape[..x.shape.len() - 1].iter().product();
        let y = self.affine.apply(&x.data, rows, &self.context)?;
        let data = self.function.apply(y, self.affine.outputs, &self.context)?;
        let mut shape = x.shape;
        shape.pop();
        shape.push(self.affine.outputs);
        Ok(Value { shape, data, mask: x.mask })
    }

    fn macs(&self) -> usize {
        self.affine.inputs * self.affine.outputs
    }
}
