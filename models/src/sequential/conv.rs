//! Convolutions over time.

use super::config::Config;
use super::dense::{Affine, kernel_and_bias};
use super::function::Function;
use super::step::{Context, Step};
use super::value::Value;
use crate::element::Element;
use crate::error::{Error, Result};
use crate::recurrent::room;
use crate::tensor::Tensor;

/// Keras' `Conv1D` over `[N, T, C]`: for each output step, a product of the window `[K, C]` before it with the kernel
/// `[K, C, filters]`. It ends a mask.
#[derive(Debug)]
pub(super) struct Conv1d<T> {
    affine: Affine<T>,
    window: Window,
    channels: usize,
    function: Function,
    context: Context,
}

/// Which steps an output is made of.
#[derive(Clone, Copy, Debug)]
struct Window {
    size: usize,
    stride: usize,
    dilation: usize,
    padding: Padding,
}

#[derive(Clone, Copy, Debug)]
enum Padding {
    Valid,
    Same,
    Causal,
}

impl Window {
    /// The number of outputs of `time` steps, and how many zeros stand before the first step.
    fn outputs(self, time: usize) -> (usize, usize) {
        let reach = (self.size - 1) * self.dilation;
        match self.padding {
            Padding::Valid => (time.saturating_sub(reach).div_ceil(self.stride), 0),
            Padding::Causal => (time.div_ceil(self.stride), reach),
            Padding::Same => {
                let outputs = time.div_ceil(self.stride);
                // As many zeros as the last window asks for, the odd one behind.
                let padded = (outputs.saturating_sub(1) * self.stride + reach + 1).saturating_sub(time);
                (outputs, padded / 2)
            }
        }
    }
}

impl<T: Element> Conv1d<T> {
    pub(super) fn new(config: &Config<'_>, weights: &[(String, Tensor)], context: &Context) -> Result<Self> {
        config.only("data_format", "channels_last")?;
        config.only("groups", "1")?;
        let padding = match config.text("padding", "valid")? {
            "valid" => Padding::Valid,
            "same" => Padding::Same,
            "causal" => Padding::Causal,
            other => return Err(Error::unsupported("config", format_args!("padding = {other:?}"))),
        };
        let window = Window {
            size: config.one_size("kernel_size", 0)?,
            stride: config.one_size("strides", 1)?,
            dilation: config.one_size("dilation_rate", 1)?,
            padding,
        };
        for (name, size) in
            [("kernel_size", window.size), ("strides", window.stride), ("dilation_rate", window.dilation)]
        {
            // Steps of windows are counted in products of two of these.
            if !(1..=1 << 24).contains(&size) {
                return Err(Error::malformed(name, "1 to 16777216", size));
            }
        }
        let (filters, function) = (config.size("filters")?, Function::of(config, context)?);
        let (kernel, bias) = kernel_and_bias(config, weights)?;
        let channels = match *kernel.shape() {
            [size, channels, outputs] if size == window.size && outputs == filters && filters > 0 && channels > 0 => {
                channels
            }
            _ => {
                let expected = format_args!("[{}, channels, {filters}]", window.size);
                return Err(Error::malformed("kernel: shape", expected, format_args!("{:?}", kernel.shape())));
            }
        };
        Ok(Conv1d { affine: Affine::new(kernel, bias, filters)?, window, channels, function, context: context.clone() })
    }
}

impl<T: Element> Step<T> for Conv1d<T> {
    fn run(&self, x: Value<T>) -> Result<Value<T>> {
        x.last(self.channels)?;
        let [batch, time, channels] = x.sequence()?;
        let Window { size, stride, dilation, .. } = self.window;
        let (outputs, before) = self.window.outputs(time);
        // The windows side by side, [N, outputs, K, C].
        let mut windows: Vec<T> = room(&[batch, outputs, size, channels])?;
        windows.fill(T::ZERO);
        for (index, window) in windows.chunks_mut((size * channels).max(1)).enumerate() {
            let (row, start) = (index / outputs, (index % outputs) * stride);
            for (k, to) in window.chunks_mut(channels).enumerate() {
                let step = (start + k * dilation).checked_sub(before).filter(|&step| step < time);
                if let Some(step) = step {
                    to.copy_from_slice(&x.data[(row * time + step) * channels..][..channels]);
                }
            }
        }
        let y = self.affine.apply(&windows, batch * outputs, &self.context)?;
        let filters = self.affine.outputs;
        Ok(Value::new(vec![batch, outputs, filters], self.function.apply(y, filters, &self.context)?))
    }

    fn macs(&self) -> usize {
        self.affine.inputs * self.affine.outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(padding: Padding, [size, stride, dilation]: [usize; 3], time: usize) -> (usize, usize) {
        Window { size, stride, dilation, padding }.outputs(time)
    }

    #[test]
    fn windows_are_those_of_tensorflow() {
        assert_eq!(outputs(Padding::Valid, [3, 1, 1], 10), (8, 0));
        assert_eq!(outputs(Padding::Valid, [3, 2, 1], 10), (4, 0));
        assert_eq!(outputs(Padding::Valid, [3, 1, 2], 10), (6, 0));
        assert_eq!(outputs(Padding::Valid, [3, 1, 1], 2), (0, 0));
        assert_eq!(outputs(Padding::Causal, [3, 1, 2], 10), (10, 4));
        assert_eq!(outputs(Padding::Causal, [3, 3, 1], 10), (4, 2));
        assert_eq!(outputs(Padding::Same, [3, 1, 1], 10), (10, 1));
        assert_eq!(outputs(Padding::Same, [4, 1, 1], 10), (10, 1));
        // The last window starts at step 8, so that of 4 steps 2 are padding.
        assert_eq!(outputs(Padding::Same, [4, 2, 1], 10), (5, 1));
        assert_eq!(outputs(Padding::Same, [2, 3, 1], 9), (3, 0));
    }
}
