//! ONNX: the graph of a model, its constants, and its recurrent nodes.
//!
//! Nothing is computed here but constants: what a graph does with its inputs is for others to run.

mod constants;
mod parse;
mod quantized;
mod recurrent;
mod tensors;
mod wire;

pub use recurrent::{Cell, Direction, Input, RecurrentNode};

use super::read_file;
use crate::budget::Budget;
use crate::error::Result;
use crate::tensor::Tensor;
use constants::{Resolver, Scope};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use wire::Span;

/// A model: what its file says but for the values of its tensors, which are read when they are asked for.
#[derive(Clone, Debug)]
pub struct Model {
    /// The version of the file format.
    pub ir_version: i64,
    /// The program that wrote the file.
    pub producer: String,
    /// The operator sets that the nodes are of, as domain and version. The domain of ONNX itself is empty.
    pub opsets: Vec<(String, i64)>,
    /// The graph that is run.
    pub graph: Graph,
    /// Functions that nodes may call.
    pub functions: Vec<Function>,
    bytes: Vec<u8>,
    folder: Option<PathBuf>,
}

/// A graph: the model's own, or one that a node such as `If` or `Loop` runs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Its name, which may be empty.
    pub name: String,
    /// Its nodes, each behind those whose outputs it takes.
    pub nodes: Vec<Node>,
    /// What it takes. Files of IR version 3 and older list the initializers here too.
    pub inputs: Vec<ValueInfo>,
    /// What it gives.
    pub outputs: Vec<ValueInfo>,
    initializers: HashMap<String, StoredTensor>,
    /// Which node makes an output.
    producers: HashMap<String, usize>,
}

/// A function that nodes may call by its name.
#[derive(Clone, Debug)]
pub struct Function {
    /// The domain that its callers name.
    pub domain: String,
    /// Its name.
    pub name: String,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator's name.
    pub op_type: String,
    /// The operator's domain; that of ONNX itself is empty.
    pub domain: String,
    /// The node's name, which may be empty.
    pub name: String,
    /// The names of what it takes; empty for an optional input that is left out.
    pub inputs: Vec<String>,
    /// The names of what it gives; empty for an optional output that is left out.
    pub outputs: Vec<String>,
    /// Its attributes, by name.
    pub attributes: Vec<(String, Attribute)>,
}

/// The value of an attribute.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Attribute {
    /// A number.
    Float(f32),
    /// An integer.
    Int(i64),
    /// A string.
    Text(String),
    /// Numbers.
    Floats(Vec<f32>),
    /// Integers.
    Ints(Vec<i64>),
    /// Strings.
    Texts(Vec<String>),
    /// A tensor, which [`Model::tensor`] reads.
    Tensor(StoredTensor),
    /// A graph.
    Graph(Graph),
    /// Of another type, by the name of that.
    Other(&'static str),
}

/// Where in the file a tensor is described.
#[derive(Clone, Debug)]
pub struct StoredTensor(Span);

/// An input or output of a graph.
#[derive(Clone, Debug)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// The number of the element type in `TensorProto.DataType`, if it is a tensor of a known type.
    pub element_type: Option<i64>,
    /// Its sizes, if their number is known.
    pub shape: Option<Vec<Size>>,
}

/// A size of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size {
    /// Always this.
    Fixed(usize),
    /// The same as others of this name; not known at all if the name is empty.
    Named(String),
}

/// Reads the model at `path`; its external data is looked for in the same folder.
///
/// # Errors
/// If it cannot be opened, and those of [`from_bytes`].
pub fn read(path: impl AsRef<Path>) -> Result<Model> {
    let path = path.as_ref();
    read_file(path, |bytes| from_bytes(bytes, path.parent()))
}

/// Reads a model's bytes, whose external data is in `folder`. Takes time and memory in proportion to them.
///
/// # Errors
/// If they are no model, or graphs lie 16 deep inside of one another.
pub fn from_bytes(bytes: Vec<u8>, folder: Option<&Path>) -> Result<Model> {
    let mut model = parse::Parser::new(&bytes).model()?;
    // The folder of a bare file name is empty, and then the current one.
    model.folder = folder.map(|folder| if folder == Path::new("") { PathBuf::from(".") } else { folder.to_owned() });
    model.bytes = bytes;
    Ok(model)
}

impl Model {
    /// The tensor of an attribute.
    ///
    /// # Errors
    /// If its data is of another length than its shape asks for or cannot be read, its element type is none of
    /// [`Dtype`](crate::Dtype), or external data lies outside of the model's folder.
    pub fn tensor(&self, stored: &StoredTensor) -> Result<Tensor> {
        Resolver::new(self).stored(stored)
    }

    /// The value `name` of [`graph`](Self::graph), if it does not depend on what the graph takes: an initializer or the
    /// output of a node `Constant`, also through `Identity`, `Cast`, `Transpose`, `Unsqueeze`, `Squeeze`, `Slice`,
    /// `Concat` and `Reshape`. None if other nodes are on the way, or it is an input.
    ///
    /// # Errors
    /// If nothing has this name, a tensor cannot be read, or one of these nodes is malformed.
    pub fn constant(&self, name: &str) -> Result<Option<Tensor>> {
        Resolver::new(self).constant(name, &Scope { graph: &self.graph, outer: None })
    }

    /// Every `RNN`, `GRU`, `LSTM` and ONNX Runtime's `DynamicQuantizeLSTM` of the graph and the graphs inside of it, in
    /// their order, each read when it is reached. One that cannot be read does not hide the others.
    ///
    /// Nodes may share weights, of which each gets its own copy: once all copies are some dozens of times the file, the
    /// nodes that are left are refused as too large.
    pub fn recurrent_nodes(&self) -> impl Iterator<Item = Result<RecurrentNode>> + '_ {
        recurrent::nodes(self)
    }
}

impl Node {
    /// The attribute `name`.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| value)
    }

    /// The name of input `index`, if it is there and not left out.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.inputs.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Whether this is the operator `op_type` of ONNX itself.
    fn is(&self, op_type: &str) -> bool {
        ["", "ai.onnx"].contains(&self.domain.as_str()) && self.op_type == op_type
    }
}

/// Memory for what is made of `model`'s own bytes.
fn budget(model: &Model) -> Budget {
    Budget::of_file(model.bytes.len())
}
