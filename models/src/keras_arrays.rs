//! Recurrent layers of Keras among arrays of a `.npz`, found by their names.
//!
//! Such a file has no configuration. A layer is `kernel`, `recurrent_kernel` and maybe `bias` below one path, or the
//! numbered variables `cell/vars/0`, `1`, `2` of Keras 3. The number of gates follows from the shapes, and from the shape of
//! the bias whether a GRU resets before or after its product. Activations are taken to be Keras' defaults, tanh and sigmoid,
//! and every output is given. A path with a part `backward_...`, or `backward_layer`, is that half of a `Bidirectional`: it
//! goes backwards, with its outputs in the order in which they are computed.

use crate::element::Element;
use crate::error::{Error, Result};
use crate::recurrent::{Packed, Recurrent, Source};
use crate::tensor::Tensor;
use gatefold::cell::{Activation, Reset};
use gatefold::weights::keras::{self, Arrays};
use gatefold::{Level, Options, Order, Weights};
use std::collections::BTreeMap;

/// The arrays of a layer: kernel, recurrent kernel and bias.
type Found<'a> = [Option<&'a Tensor>; 3];

/// Every recurrent layer of `tensors`, in the order of their paths; those that cannot be run as errors.
pub(crate) fn find<T: Element>(tensors: &BTreeMap<String, Tensor>, options: Options) -> Vec<Result<Recurrent<T>>> {
    let mut layers: BTreeMap<String, Found<'_>> = BTreeMap::new();
    for (name, tensor) in tensors {
        if let Some((path, index)) = parse(name) {
            layers.entry(path.to_owned()).or_default()[index] = Some(tensor);
        }
    }
    let build = |(path, found): (String, Found<'_>)| match found {
        // A kernel and a bias are those of a layer that is not recurrent.
        [_, None, _] => None,
        [Some(kernel), Some(recurrent), bias] => {
            let layer = layer(&path, kernel, recurrent, bias, options);
            Some(layer.map_err(|error| error.within(&path)))
        }
        [None, Some(_), _] => Some(Err(Error::missing(&path, "kernel"))),
    };
    layers.into_iter().filter_map(build).collect()
}

/// The path of the layer, and which of its arrays this is.
fn parse(name: &str) -> Option<(&str, usize)> {
    let name = name.strip_suffix(":0").unwrap_or(name);
    let (path, leaf) = name.rsplit_once(['/', '.']).unwrap_or(("", name));
    match leaf {
        "kernel" => Some((path, 0)),
        "recurrent_kernel" => Some((path, 1)),
        "bias" => Some((path, 2)),
        _ => {
            let path = path.strip_suffix("/vars").filter(|path| path.ends_with("cell"))?;
            ["0", "1", "2"].iter().position(|number| *number == leaf).map(|index| (path, index))
        }
    }
}

fn layer<T: Element>(
    path: &str,
    kernel: &Tensor,
    recurrent: &Tensor,
    bias: Option<&Tensor>,
    options: Options,
) -> Result<Recurrent<T>> {
    let (&[input, columns], &[units, recurrent_columns]) = (kernel.shape(), recurrent.shape()) else {
        let found = format_args!("{:?} and {:?}", kernel.shape(), recurrent.shape()).to_string();
        return Err(Error::malformed("kernel and recurrent_kernel: shape", "two sizes each", found));
    };
    let gates = if units > 0 && columns % units == 0 { columns / units } else { 0 };
    if columns != recurrent_columns || ![1, 3, 4].contains(&gates) {
        let expected = "[I, G*H] and [H, G*H] with G 1, 3 or 4";
        let found = format_args!("{:?} and {:?}", kernel.shape(), recurrent.shape()).to_string();
        return Err(Error::malformed("kernel and recurrent_kernel: shape", expected, found));
    }
    let reset = match (gates, bias.map(Tensor::shape)) {
        (3, Some(&[2, width])) if width == columns => Some(Reset::After),
        (3, Some(&[width])) if width == columns => Some(Reset::Before),
        (3, None) => {
            let what = "a GRU without bias in a file without configuration, where its reset_after is not known,";
            return Err(Error::unsupported("", what));
        }
        (_, None) => None,
        (_, Some(&[width])) if width == columns => None,
        (_, Some(shape)) => {
            return Err(Error::malformed("bias: shape", format_args!("[{columns}]"), format_args!("{shape:?}")));
        }
    };
    let (kernel, recurrent, bias) = (T::values(kernel)?, T::values(recurrent)?, bias.map(T::values).transpose()?);
    let arrays = Arrays { kernel: &kernel, recurrent_kernel: &recurrent, bias: bias.as_deref() };
    let weights: Weights<T> = match (reset, gates) {
        (Some(reset), _) => keras::gru(input, units, reset, arrays)?,
        (None, 1) => keras::simple_rnn(input, units, Activation::Tanh, arrays)?,
        (None, _) => keras::lstm(input, units, arrays)?,
    };
    let Packed { layer, part } = Packed::new("", weights, options)?;
    let backwards = path.split(['/', '.']).any(|part| part.starts_with("backward_"));
    let level = if backwards { Level::reverse(layer, Order::Processing) } else { layer.into() };
    let source = Source::Keras { return_sequences: true, zero_output_for_mask: false };
    Recurrent::new(path, source, vec![level], vec![part])
}
