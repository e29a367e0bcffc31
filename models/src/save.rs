//! Weights written with PyTorch's names.

use crate::element::{Element, tensor};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::safetensors;
use crate::tensor::Tensor;
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::{Direction, Layer, Level, Merge, Stack, Weights};
use std::collections::BTreeMap;
use std::path::Path;

/// Weights under the names and in the shapes of a `state_dict`, to be saved as safetensors: PyTorch reads them with
/// `safetensors.torch.load_file` and `load_state_dict`, this crate with [`load`](crate::load()).
///
/// Names are those of the module with a prefix and a dot before them, or alone where the prefix is empty:
/// `encoder.weight_ih_l0`, `weight_hh_l0_reverse`.
///
/// ```
/// use gatefold::cell::{Cell, Reset};
/// use gatefold::{Layer, Options, Stack, Weights};
/// use gatefold_models::{StateDict, safetensors};
///
/// let gru = Cell::Gru { reset: Reset::After };
/// let weights = Weights::new(gru, 2, 1, vec![0.5f32; 6], vec![0.25; 3], None, None)?;
/// let layer = Layer::new(weights, Options { keep_weights: true, ..Options::default() })?;
///
/// let mut state_dict = StateDict::new();
/// state_dict.recurrent("gru", &Stack::new(vec![layer.into()])?)?;
/// state_dict.linear("head", [1, 1], &[2.0f32], Some(&[1.0]))?;
/// let file = safetensors::from_bytes(&state_dict.to_bytes()?)?;
/// let shapes: Vec<_> = file.tensors.iter().map(|(name, tensor)| (&name[..], tensor.shape())).collect();
/// let expected: [(&str, &[usize]); 4] =
///     [("gru.weight_hh_l0", &[3, 1]), ("gru.weight_ih_l0", &[3, 2]), ("head.bias", &[1]), ("head.weight", &[1, 1])];
/// assert_eq!(shapes, expected);
/// # Ok::<(), gatefold_models::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    tensors: BTreeMap<String, Tensor>,
}

impl StateDict {
    /// Without tensors.
    pub const fn new() -> Self {
        StateDict { tensors: BTreeMap::new() }
    }

    /// Its tensors by their names.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// Adds the weights of `stack` as those of an `nn.RNN`, `nn.LSTM` or `nn.GRU` that computes the same: `weight_ih_l0`,
    /// `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, `weight_hr_l0` of a projection, `_reverse` for the backward direction,
    /// `_l1` and so on. Such a module has both biases or none: where a layer has one, or none beside others that have, the
    /// others are written as zeros. Copies each array once.
    ///
    /// That an `nn.RNN` is to have ReLU stands in no state_dict.
    ///
    /// # Errors
    /// What such a module cannot compute is unsupported, by its name: layers of different cells or sizes, a layer that goes
    /// backwards alone, merges other than [`Merge::Concat`], a GRU whose reset gate acts before the product, peepholes,
    /// coupled gates, attention, clipping, and activations other than PyTorch's; likewise layers without their weights, see
    /// [`Options::keep_weights`](gatefold::Options::keep_weights). Names that are there already are malformed. Nothing was
    /// added then.
    pub fn recurrent<T: Element>(&mut self, prefix: &str, stack: &Stack<T>) -> Result<()> {
        let added = of_stack(stack).map_err(|error| if prefix.is_empty() { error } else { error.within(prefix) })?;
        self.add(prefix, added)
    }

    /// Adds an `nn.Linear`: `weight: [O, I]`, and `bias: [O]` if there is one.
    ///
    /// # Errors
    /// Arrays that are not as long as `[O, I]` says, and names that are there already, are malformed. Nothing was added then.
    pub fn linear<T: Element>(
        &mut self,
        prefix: &str,
        [output, input]: [usize; 2],
        weight: &[T],
        bias: Option<&[T]>,
    ) -> Result<()> {
        let mut added = vec![named("weight", vec![output, input], weight)?];
        if let Some(bias) = bias {
            added.push(named("bias", vec![output], bias)?);
        }
        self.add(prefix, added)
    }

    /// Adds any array, row by row.
    ///
    /// # Errors
    /// Values that are not as many as `shape` says, and a name that is there already, are malformed.
    pub fn tensor<T: Element>(&mut self, name: &str, shape: &[usize], values: &[T]) -> Result<()> {
        let added = vec![named(name, shape.to_vec(), values)?];
        self.add("", added)
    }

    /// Writes them to a new file at `path`, with the metadata `format: pt` that PyTorch's own tools expect.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let (path, bytes) = (path.as_ref(), self.to_bytes()?);
        std::fs::write(path, bytes).map_err(|error| Error::new(path.display(), ErrorKind::Io(error)))
    }

    /// The bytes that [`StateDict::save`] writes.
    ///
    /// # Errors
    /// If the arrays together are more than the format can count.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::encode(self.tensors.iter().map(|(name, tensor)| (&name[..], tensor)), metadata)
    }

    fn add(&mut self, prefix: &str, added: Vec<(String, Tensor)>) -> Result<()> {
        let dot = if prefix.is_empty() { "" } else { "." };
        let full = |name: &str| format!("{prefix}{dot}{name}");
        if let Some((name, _)) = added.iter().find(|(name, _)| self.tensors.contains_key(&full(name))) {
            return Err(Error::malformed("names", "names that differ", format_args!("{} twice", full(name))));
        }
        self.tensors.extend(added.into_iter().map(|(name, tensor)| (full(&name), tensor)));
        Ok(())
    }
}

fn named<T: Element>(name: impl Into<String>, shape: Vec<usize>, values: &[T]) -> Result<(String, Tensor)> {
    let name = name.into();
    let tensor = tensor(shape, values.to_vec()).map_err(|error| error.within(&name))?;
    Ok((name, tensor))
}

/// The tensors of all layers and directions.
fn of_stack<T: Element>(stack: &Stack<T>) -> Result<Vec<(String, Tensor)>> {
    let mut layers = Vec::new();
    for (l, level) in stack.levels().iter().enumerate() {
        let suffixes = [format!("_l{l}"), format!("_l{l}_reverse")];
        check_level(level).map_err(|error| error.within(format_args!("layer {l}")))?;
        for ((layer, _), suffix) in level.layers().zip(suffixes) {
            let weights = standard(layer).map_err(|error| error.within(format_args!("weight_ih{suffix}")))?;
            layers.push((suffix, weights));
        }
        let directions = stack.levels().first().map_or(0, Level::directions);
        if level.directions() != directions {
            return Err(Error::unsupported(format_args!("layer {l}"), "another number of directions than the first's"));
        }
    }
    let Some(&(_, first)) = layers.first() else { return Ok(Vec::new()) };
    let biased = layers.iter().any(|(_, weights)| weights.b_w().is_some() || weights.b_r().is_some());
    let mut added = Vec::new();
    for (suffix, weights) in &layers {
        if !alike(first, weights) {
            let what = "another cell or size than the first layer's";
            return Err(Error::unsupported(format_args!("weight_ih{suffix}"), what));
        }
        of_weights(weights, suffix, biased, &mut added)?;
    }
    Ok(added)
}

/// Whether one module of PyTorch can hold both.
fn alike<T>(a: &Weights<T>, b: &Weights<T>) -> bool {
    let (a, b) = (a.dims(), b.dims());
    (a.cell, a.hidden, a.projection) == (b.cell, b.hidden, b.projection)
}

fn check_level<T>(level: &Level<T>) -> Result<()> {
    match level {
        Level::One { direction: Direction::Forward, .. } | Level::Both { merge: Merge::Concat, .. } => Ok(()),
        Level::One { .. } => Err(Error::unsupported("direction", "a layer that goes backwards alone")),
        Level::Both { merge, .. } => Err(Error::unsupported("merge", format_args!("{merge:?}"))),
        _ => Err(Error::unsupported("level", "a kind of layer that PyTorch does not have")),
    }
}

/// The weights of a layer, if they are those of equations that PyTorch has.
fn standard<T>(layer: &Layer<T>) -> Result<&Weights<T>> {
    let Some(weights) = layer.weights() else {
        return Err(Error::unsupported("", "a layer built without Options::keep_weights"));
    };
    let (cell, variant) = (weights.dims().cell, weights.dims().variant);
    let departs = [
        ("a GRU whose reset gate acts before the product", cell == Cell::Gru { reset: Reset::Before }),
        ("peepholes", variant.peepholes),
        ("coupled gates", variant.coupled),
        ("attention", variant.attention),
        ("clipping", variant.clip.is_some()),
        ("activations that differ from PyTorch's", !activations_of_pytorch(cell) || variant != cell.standard()),
    ];
    match departs.into_iter().find(|(_, departs)| *departs) {
        Some((what, _)) => Err(Error::unsupported("", what)),
        None => Ok(weights),
    }
}

fn activations_of_pytorch(cell: Cell) -> bool {
    match cell {
        Cell::SimpleRnn { activation } => matches!(activation, Activation::Tanh | Activation::Relu),
        Cell::Lstm | Cell::Gru { .. } => true,
        _ => false,
    }
}

/// The tensors of one layer and direction; canonical weights stand in PyTorch's order.
fn of_weights<T: Element>(
    weights: &Weights<T>,
    suffix: &str,
    biased: bool,
    added: &mut Vec<(String, Tensor)>,
) -> Result<()> {
    let dims = weights.dims();
    let rows = dims.cell.gates() * dims.hidden;
    let mut add = |base: &str, shape: Vec<usize>, values: &[T]| {
        named(format!("{base}{suffix}"), shape, values).map(|tensor| added.push(tensor))
    };
    add("weight_ih", vec![rows, dims.input], weights.w())?;
    add("weight_hh", vec![rows, dims.output()], weights.r())?;
    if biased {
        let zeros = vec![T::ZERO; rows];
        for (base, bias) in [("bias_ih", weights.b_w()), ("bias_hh", weights.b_r())] {
            add(base, vec![rows], bias.unwrap_or(&zeros))?;
        }
    }
    if let Some(projection) = weights.projection() {
        add("weight_hr", vec![dims.output(), dims.hidden], projection)?;
    }
    Ok(())
}
