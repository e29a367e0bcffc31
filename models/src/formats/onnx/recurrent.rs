//! The recurrent nodes of a graph: every attribute understood or refused by name, every array checked.

use super::constants::{Resolver, Scope};
use super::{Attribute, Graph, Model, Node, quantized};
use crate::budget::Budget;
use crate::error::{Error, ErrorKind, Result};
use crate::tensor::{Dtype, Tensor};

/// Which of the three operators a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the operator of its name")]
pub enum Cell {
    Rnn,
    Gru,
    Lstm,
}

/// The order in which the steps are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the first to the last.
    Forward,
    /// From the last to the first.
    Reverse,
    /// Both, each with its own weights.
    Bidirectional,
}

/// An optional input of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// It is left out.
    Absent,
    /// It is always this.
    Constant(Tensor),
    /// The value of this name, which depends on what the graph takes.
    Computed(String),
}

/// A node `RNN`, `GRU` or `LSTM`, with D directions, G gates (1, 3 or 4), I inputs and H units.
#[derive(Clone, Debug)]
pub struct RecurrentNode {
    /// The node's name; those of nodes whose graphs it lies in stand before it, joined by `/`. A node without a name
    /// has its operator and its index, as `LSTM#3`.
    pub path: String,
    /// The operator.
    pub cell: Cell,
    /// Whether it is ONNX Runtime's `DynamicQuantizeLSTM`, whose weights are given as the f32 that they stand for.
    pub quantized: bool,
    /// D is 2 if it is [`Direction::Bidirectional`].
    pub direction: Direction,
    /// H.
    pub hidden_size: usize,
    /// The names of the activations of each direction, one behind the other; those of ONNX if the node gives none.
    pub activations: Vec<String>,
    /// Parameters for those of the activations that take one, in their order; all others have their defaults.
    pub activation_alpha: Vec<f32>,
    /// As `activation_alpha`.
    pub activation_beta: Vec<f32>,
    /// The bound of what goes into the activations of the gates.
    pub clip: Option<f32>,
    /// LSTM: whether the forget gate is 1 minus the input gate.
    pub input_forget: bool,
    /// GRU: whether the reset gate acts behind the recurrent product rather than before it.
    pub linear_before_reset: bool,
    /// Whether batches come first (layout 1) rather than steps.
    pub batch_first: bool,
    /// Input weights, `[D, G*H, I]`.
    pub w: Tensor,
    /// Recurrent weights, `[D, G*H, H]`.
    pub r: Tensor,
    /// Biases of both, `[D, 2*G*H]`.
    pub b: Option<Tensor>,
    /// LSTM: peephole weights, `[D, 3*H]`.
    pub p: Option<Tensor>,
    /// The name of the value X.
    pub x: String,
    /// Lengths of the sequences, `[N]`.
    pub sequence_lens: Input,
    /// The hidden state to start from.
    pub initial_h: Input,
    /// LSTM: the cell state to start from.
    pub initial_c: Input,
    /// The names of Y, Y_h and Y_c; empty for those that are left out.
    pub outputs: [String; 3],
}

/// Every recurrent node of `model`, read when it is reached.
pub(super) fn nodes(model: &Model) -> impl Iterator<Item = Result<RecurrentNode>> + '_ {
    let mut places = Vec::new();
    let collected = collect(&model.graph, "", &mut Vec::new(), &mut places, &mut super::budget(model));
    // Of each function the first stands for all, whose errors would repeat the function's name.
    let in_functions = model.functions.iter().filter_map(|function| {
        let (index, node) = function.nodes.iter().enumerate().find(|(_, node)| kind(node).is_some())?;
        let place = format!("function {}: {}", function.name, label(node, index));
        Some(Err(Error::unsupported(place, "a recurrent node of a function")))
    });
    let mut ledger = Ledger::default();
    let read = move |place| ledger.read(model, &place);
    places.into_iter().map(read).chain(collected.err().map(Err)).chain(in_functions)
}

/// What was spent on the nodes of a model, which may all have the same weights.
#[derive(Debug, Default)]
struct Ledger {
    spent: u64,
    allowed: u64,
    closed: bool,
}

impl Ledger {
    /// How many nodes may spend all that one may. A node whose weights are the whole file and stand in it as they are
    /// spends little, so that a recurrence may be unrolled into some dozens that share them.
    const SHARING: u64 = 2;

    fn read(&mut self, model: &Model, place: &Place<'_>) -> Result<RecurrentNode> {
        let mut resolver = Resolver::new(model);
        let mut node = if self.closed { Err(self.too_much()) } else { read(&mut resolver, place) };
        let (granted, spent) = resolver.budget().state();
        self.allowed = self.allowed.max(granted.saturating_mul(Self::SHARING));
        self.spent = self.spent.saturating_add(spent);
        if self.spent > self.allowed && !self.closed {
            self.closed = true;
            node = Err(self.too_much());
        }
        node.map_err(|error| error.within(format_args!("node {}", place.path)))
    }

    fn too_much(&self) -> Error {
        Error::new("weights that nodes share", ErrorKind::TooLarge { claimed: self.spent, allowed: self.allowed })
    }
}

/// A recurrent node, and the graphs that it lies in, the outermost first.
struct Place<'a> {
    path: String,
    graphs: Vec<&'a Graph>,
    node: &'a Node,
}

fn collect<'a>(
    graph: &'a Graph,
    prefix: &str,
    graphs: &mut Vec<&'a Graph>,
    places: &mut Vec<Place<'a>>,
    budget: &mut Budget,
) -> Result<()> {
    graphs.push(graph);
    for (index, node) in graph.nodes.iter().enumerate() {
        if kind(node).is_some() {
            let path = format!("{prefix}{}", label(node, index));
            // Also in what is read, made ready or refused.
            budget.take(4 * path.len() as u64 + 8 * graphs.len() as u64, "names of nodes")?;
            places.push(Place { path, graphs: graphs.clone(), node });
        }
        for (name, attribute) in &node.attributes {
            if let Attribute::Graph(inner) = attribute {
                let prefix = format!("{prefix}{}/{name}/", label(node, index));
                budget.take(prefix.len() as u64, "names of nodes")?;
                collect(inner, &prefix, graphs, places, budget)?;
            }
        }
    }
    graphs.pop();
    Ok(())
}

fn label(node: &Node, index: usize) -> String {
    if node.name.is_empty() { format!("{}#{index}", node.op_type) } else { node.name.clone() }
}

/// The operator of a recurrent node, and whether it is quantised.
fn kind(node: &Node) -> Option<(Cell, bool)> {
    if node.domain == "com.microsoft" && node.op_type == "DynamicQuantizeLSTM" {
        return Some((Cell::Lstm, true));
    }
    let kinds = [("RNN", Cell::Rnn), ("GRU", Cell::Gru), ("LSTM", Cell::Lstm)];
    kinds.into_iter().find(|(op_type, _)| node.is(op_type)).map(|(_, cell)| (cell, false))
}

fn read(resolver: &mut Resolver<'_>, place: &Place<'_>) -> Result<RecurrentNode> {
    fn with_scope<T>(graphs: &[&Graph], outer: Option<&Scope<'_>>, f: &mut dyn FnMut(&Scope<'_>) -> T) -> Option<T> {
        let (graph, inner) = graphs.split_first()?;
        let scope = Scope { graph, outer };
        if inner.is_empty() { Some(f(&scope)) } else { with_scope(inner, Some(&scope), f) }
    }
    let (cell, quantized) = kind(place.node).ok_or_else(|| Error::unsupported("", &place.node.op_type))?;
    let mut reader = |scope: &Scope<'_>| {
        Reader { node: place.node, cell, quantized, resolver: &mut *resolver, scope: *scope }.read(&place.path)
    };
    with_scope(&place.graphs, None, &mut reader).ok_or_else(|| Error::missing("", "the graph"))?
}

/// A node that is being read.
struct Reader<'a, 'm> {
    node: &'a Node,
    cell: Cell,
    quantized: bool,
    resolver: &'a mut Resolver<'m>,
    scope: Scope<'a>,
}

impl Reader<'_, '_> {
    fn read(&mut self, path: &str) -> Result<RecurrentNode> {
        self.check_names()?;
        let direction = match self.text("direction")?.unwrap_or("forward") {
            "forward" => Direction::Forward,
            "reverse" => Direction::Reverse,
            "bidirectional" => Direction::Bidirectional,
            other => return Err(Error::unsupported("direction", format_args!("{other:?}"))),
        };
        let batch_first = match self.int("layout")?.unwrap_or(0) {
            0 => false,
            1 => true,
            other => return Err(Error::unsupported("layout", other)),
        };
        let (w, r) = self.weights()?;
        let hidden_size = match (self.int("hidden_size")?, r.shape()) {
            (Some(size), _) => usize::try_from(size).map_err(|_| Error::malformed("hidden_size", "a size", size))?,
            (None, &[_, _, size]) => size,
            (None, shape) => return Err(Error::malformed("R: shape", "three sizes", format_args!("{shape:?}"))),
        };
        let directions = if direction == Direction::Bidirectional { 2 } else { 1 };
        let (activations, activation_alpha, activation_beta) = self.activations(directions)?;
        let output = |index: usize| self.node.outputs.get(index).cloned().unwrap_or_default();
        let node = RecurrentNode {
            path: path.to_owned(),
            cell: self.cell,
            quantized: self.quantized,
            direction,
            hidden_size,
            activations,
            activation_alpha,
            activation_beta,
            clip: self.clip()?,
            input_forget: self.int("input_forget")?.unwrap_or(0) != 0,
            linear_before_reset: self.int("linear_before_reset")?.unwrap_or(0) != 0,
            batch_first,
            outputs: [output(0), output(1), output(2)],
            w,
            r,
            b: self.array(3, "B")?,
            p: self.array(7, "P")?,
            x: self.node.input(0).map(str::to_owned).ok_or_else(|| Error::missing("inputs", "X"))?,
            sequence_lens: self.input(4)?,
            initial_h: self.input(5)?,
            initial_c: self.input(6)?,
        };
        self.check_shapes(&node, directions)?;
        Ok(node)
    }

    /// Refuses attributes and inputs that the operator does not have.
    fn check_names(&self) -> Result<()> {
        let common = ["activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size"];
        let own: &[&str] = match (self.quantized, self.cell) {
            (true, _) => &["input_forget"],
            (false, Cell::Rnn) => &["layout"],
            (false, Cell::Gru) => &["layout", "linear_before_reset"],
            (false, Cell::Lstm) => &["layout", "input_forget"],
        };
        for (index, (name, _)) in self.node.attributes.iter().enumerate() {
            if !common.contains(&name.as_str()) && !own.contains(&name.as_str()) {
                return Err(Error::unsupported("attributes", format_args!("{name:?}")));
            }
            if self.node.attributes[..index].iter().any(|(before, _)| before == name) {
                return Err(Error::malformed("attributes", "each once", format_args!("{name} twice")));
            }
        }
        let most = match (self.quantized, self.cell) {
            (true, _) => 12,
            (false, Cell::Lstm) => 8,
            (false, _) => 6,
        };
        if self.node.inputs.len() > most {
            return Err(Error::malformed("inputs", format_args!("up to {most}"), self.node.inputs.len()));
        }
        Ok(())
    }

    fn weights(&mut self) -> Result<(Tensor, Tensor)> {
        let mut weights = |index, name: &str, more: usize| {
            let array = if self.quantized {
                let mut part = |index| self.required(index, name);
                quantized::weights(&part(index)?, &part(more)?, &part(more + 1)?).map_err(|error| error.within(name))
            } else {
                self.required(index, name)
            };
            array.and_then(|array| floating(array, name))
        };
        Ok((weights(1, "W", 8)?, weights(2, "R", 10)?))
    }

    /// A constant input that must be there.
    fn required(&mut self, index: usize, name: &str) -> Result<Tensor> {
        match self.input(index)? {
            Input::Constant(tensor) => Ok(tensor),
            Input::Absent => Err(Error::missing("inputs", name)),
            Input::Computed(value) => Err(Error::unsupported(name, format_args!("{value:?}, which is not constant,"))),
        }
    }

    /// An array of weights that may be left out, but not computed.
    fn array(&mut self, index: usize, name: &str) -> Result<Option<Tensor>> {
        match self.node.input(index) {
            None => Ok(None),
            Some(_) => floating(self.required(index, name)?, name).map(Some),
        }
    }

    fn input(&mut self, index: usize) -> Result<Input> {
        let Some(name) = self.node.input(index) else { return Ok(Input::Absent) };
        let constant = self.resolver.constant(name, &self.scope)?;
        Ok(constant.map_or_else(|| Input::Computed(name.to_owned()), Input::Constant))
    }

    fn int(&self, name: &str) -> Result<Option<i64>> {
        match self.node.attribute(name) {
            None => Ok(None),
            Some(Attribute::Int(value)) => Ok(Some(*value)),
            Some(_) => Err(Error::malformed(name, "an integer", "an attribute of another type")),
        }
    }

    fn text(&self, name: &str) -> Result<Option<&str>> {
        match self.node.attribute(name) {
            None => Ok(None),
            Some(Attribute::Text(value)) => Ok(Some(value)),
            Some(_) => Err(Error::malformed(name, "a string", "an attribute of another type")),
        }
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>> {
        match self.node.attribute(name) {
            None => Ok(Vec::new()),
            Some(Attribute::Floats(values)) => Ok(values.clone()),
            Some(_) => Err(Error::malformed(name, "numbers", "an attribute of another type")),
        }
    }

    fn clip(&self) -> Result<Option<f32>> {
        match self.node.attribute("clip") {
            None => Ok(None),
            Some(Attribute::Float(bound)) if *bound > 0.0 => Ok(Some(*bound)),
            Some(Attribute::Float(bound)) => Err(Error::malformed("clip", "a bound above 0", bound)),
            Some(_) => Err(Error::malformed("clip", "a number", "an attribute of another type")),
        }
    }

    /// The activations and their alphas and betas.
    fn activations(&self, directions: usize) -> Result<(Vec<String>, Vec<f32>, Vec<f32>)> {
        let own: &[&str] = match self.cell {
            Cell::Rnn => &["Tanh"],
            Cell::Gru => &["Sigmoid", "Tanh"],
            Cell::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        };
        let count = own.len() * directions;
        let names = match self.node.attribute("activations") {
            None => own.repeat(directions).into_iter().map(str::to_owned).collect(),
            Some(Attribute::Texts(names)) if names.len() == count => names.clone(),
            Some(_) => return Err(Error::malformed("activations", format_args!("{count} names"), "others")),
        };
        let parameters = |name| {
            let values = self.floats(name)?;
            match values.len() {
                len if len <= count => Ok(values),
                len => Err(Error::malformed(name, format_args!("up to {count} numbers"), len)),
            }
        };
        Ok((names, parameters("activation_alpha")?, parameters("activation_beta")?))
    }

    fn check_shapes(&self, node: &RecurrentNode, directions: usize) -> Result<()> {
        let gates = match self.cell {
            Cell::Rnn => 1,
            Cell::Gru => 3,
            Cell::Lstm => 4,
        };
        let (Some(rows), Some(biases)) = (node.hidden_size.checked_mul(gates), node.hidden_size.checked_mul(2 * gates))
        else {
            return Err(Error::malformed("hidden_size", "a size that can be addressed", node.hidden_size));
        };
        if node.hidden_size == 0 {
            return Err(Error::malformed("hidden_size", "at least 1", 0));
        }
        let inputs = node.w.shape().last().copied().unwrap_or(0);
        let check = |name, tensor: &Tensor, expected: &[usize]| match tensor.shape() == expected {
            true => Ok(()),
            false => {
                let place = format_args!("{name}: shape").to_string();
                Err(Error::malformed(place, format_args!("{expected:?}"), format_args!("{:?}", tensor.shape())))
            }
        };
        check("W", &node.w, &[directions, rows, inputs])?;
        check("R", &node.r, &[directions, rows, node.hidden_size])?;
        node.b.iter().try_for_each(|b| check("B", b, &[directions, biases]))?;
        node.p.iter().try_for_each(|p| check("P", p, &[directions, 3 * node.hidden_size]))
    }
}

fn floating(tensor: Tensor, name: &str) -> Result<Tensor> {
    match tensor.dtype() {
        Dtype::F16 | Dtype::Bf16 | Dtype::F32 | Dtype::F64 => Ok(tensor),
        other => Err(Error::malformed(format_args!("{name}: dtype"), "floating-point values", other)),
    }
}
