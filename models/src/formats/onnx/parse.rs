//! Messages to the structs of the parent module. Field numbers are those of `onnx.proto`.

use super::wire::{Fields, Span, Value};
use super::{Attribute, Function, Graph, Model, Node, Size, StoredTensor, ValueInfo};
use crate::budget::Budget;
use crate::error::{Error, Result};

/// Graphs inside of one another that are followed.
const DEPTH: usize = 16;

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    file: &'a [u8],
    budget: Budget,
}

impl<'a> Parser<'a> {
    pub(super) fn new(file: &'a [u8]) -> Self {
        Parser { file, budget: Budget::of_file(file.len()) }
    }

    pub(super) fn model(&mut self) -> Result<Model> {
        let mut graph = None;
        let (mut ir_version, mut producer, mut opsets, mut functions) = (0, String::new(), Vec::new(), Vec::new());
        for field in Fields::new(self.file, 0..self.file.len()) {
            match field? {
                (1, value) => ir_version = value.int()?,
                (2, value) => producer = self.text(value)?,
                (7, value) if graph.is_none() => graph = Some(self.graph(value.span()?, DEPTH)?),
                (7, _) => return Err(Error::malformed("model", "one graph", "another")),
                (8, value) => opsets.push(self.opset(value.span()?)?),
                (25, value) => functions.push(self.function(value.span()?)?),
                _ => {}
            }
        }
        let graph = graph.ok_or_else(|| Error::missing("model", "the graph"))?;
        Ok(Model { ir_version, producer, opsets, graph, functions, bytes: Vec::new(), folder: None })
    }

    /// A string, at the cost of its bytes.
    fn text(&mut self, value: Value) -> Result<String> {
        let text = value.text(self.file)?;
        self.budget.take((size_of::<String>() + text.len()) as u64, "strings")?;
        Ok(text)
    }

    fn opset(&mut self, span: Span) -> Result<(String, i64)> {
        let mut opset = (String::new(), 0);
        self.budget.take(size_of_val(&opset) as u64, "operator sets")?;
        for field in Fields::new(self.file, span) {
            match field? {
                (1, value) => opset.0 = self.text(value)?,
                (2, value) => opset.1 = value.int()?,
                _ => {}
            }
        }
        Ok(opset)
    }

    fn function(&mut self, span: Span) -> Result<Function> {
        let mut function = Function { domain: String::new(), name: String::new(), nodes: Vec::new() };
        self.budget.take(size_of_val(&function) as u64, "functions")?;
        for field in Fields::new(self.file, span) {
            match field? {
                (1, value) => function.name = self.text(value)?,
                (7, value) => function.nodes.push(self.node(value.span()?, DEPTH)?),
                (10, value) => function.domain = self.text(value)?,
                _ => {}
            }
        }
        Ok(function)
    }

    fn graph(&mut self, span: Span, depth: usize) -> Result<Graph> {
        let depth =
            depth.checked_sub(1).ok_or_else(|| Error::unsupported("graph", "a graph so deep inside of others"))?;
        let mut graph = Graph::default();
        for field in Fields::new(self.file, span) {
            match field? {
                (1, value) => graph.nodes.push(self.node(value.span()?, depth)?),
                (2, value) => graph.name = self.text(value)?,
                (5, value) => self.initializer(value.span()?, &mut graph)?,
                (11, value) => graph.inputs.push(self.value_info(value.span()?)?),
                (12, value) => graph.outputs.push(self.value_info(value.span()?)?),
                (15, _) => return Err(Error::unsupported("graph", "a sparse initializer")),
                _ => {}
            }
        }
        for (index, node) in graph.nodes.iter().enumerate() {
            for output in node.outputs.iter().filter(|output| !output.is_empty()) {
                self.budget.take((64 + output.len()) as u64, "outputs")?;
                let before = graph.producers.insert(output.clone(), index);
                if before.is_some() || graph.initializers.contains_key(output) {
                    return Err(Error::malformed(output, "a value that is made once", "another"));
                }
            }
        }
        Ok(graph)
    }

    fn initializer(&mut self, span: Span, graph: &mut Graph) -> Result<()> {
        let mut name = String::new();
        for field in Fields::new(self.file, span.clone()) {
            if let (8, value) = field? {
                name = self.text(value)?;
            }
        }
        self.budget.take(64, "initializers")?;
        match graph.initializers.insert(name.clone(), StoredTensor(span)) {
            None => Ok(()),
            Some(_) => Err(Error::malformed(name, "an initializer that is given once", "another")),
        }
    }

    fn node(&mut self, span: Span, depth: usize) -> Result<Node> {
        let mut node = Node {
            op_type: String::new(),
            domain: String::new(),
            name: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: Vec::new(),
        };
        self.budget.take(size_of::<Node>() as u64, "nodes")?;
        for field in Fields::new(self.file, span) {
            match field? {
                (1, value) => node.inputs.push(self.text(value)?),
                (2, value) => node.outputs.push(self.text(value)?),
                (3, value) => node.name = self.text(value)?,
                (4, value) => node.op_type = self.text(value)?,
                (5, value) => node.attributes.push(self.attribute(value.span()?, depth)?),
                (7, value) => node.domain = self.text(value)?,
                _ => {}
            }
        }
        if node.op_type.is_empty() {
            return Err(Error::missing(format_args!("node {:?}", node.name), "op_type"));
        }
        Ok(node)
    }

    fn attribute(&mut self, span: Span, depth: usize) -> Result<(String, Attribute)> {
        self.budget.take(size_of::<(String, Attribute)>() as u64, "attributes")?;
        let (mut name, mut stated, mut value) = (String::new(), 0, None);
        for field in Fields::new(self.file, span) {
            let (number, content) = field?;
            match number {
                1 => name = self.text(content)?,
                20 => stated = content.int()?,
                21 => value = Some(Attribute::Other("reference to a function's attribute")),
                2..=11 | 14 | 15 | 22 | 23 => self.attribute_value(&mut value, number, content, depth)?,
                _ => {}
            }
        }
        // A number of 0, an empty string and an empty list may be left out of the file.
        let value = value.unwrap_or(match stated {
            1 => Attribute::Float(0.0),
            2 => Attribute::Int(0),
            3 => Attribute::Text(String::new()),
            6 => Attribute::Floats(Vec::new()),
            7 => Attribute::Ints(Vec::new()),
            8 => Attribute::Texts(Vec::new()),
            _ => Attribute::Other("attribute without a value"),
        });
        Ok((name, value))
    }

    /// Puts field `number` of an attribute into its value: a list grows, all else is replaced.
    fn attribute_value(
        &mut self,
        value: &mut Option<Attribute>,
        number: u64,
        content: Value,
        depth: usize,
    ) -> Result<()> {
        match (number, &mut *value) {
            (7, Some(Attribute::Floats(floats))) => return self.floats(content, floats),
            (8, Some(Attribute::Ints(ints))) => return self.ints(content, ints),
            (9, Some(Attribute::Texts(texts))) => {
                texts.push(self.text(content)?);
                return Ok(());
            }
            _ => {}
        }
        *value = Some(match number {
            2 => Attribute::Float(content.float()?),
            3 => Attribute::Int(content.int()?),
            4 => self.string(content)?,
            5 => Attribute::Tensor(StoredTensor(content.span()?)),
            6 => Attribute::Graph(self.graph(content.span()?, depth)?),
            7 => {
                let mut floats = Vec::new();
                self.floats(content, &mut floats)?;
                Attribute::Floats(floats)
            }
            8 => {
                let mut ints = Vec::new();
                self.ints(content, &mut ints)?;
                Attribute::Ints(ints)
            }
            9 => Attribute::Texts(vec![self.text(content)?]),
            10 => Attribute::Other("list of tensors"),
            11 => Attribute::Other("list of graphs"),
            14 | 15 => Attribute::Other("type"),
            _ => Attribute::Other("sparse tensor"),
        });
        Ok(())
    }

    /// The bytes of an attribute need not be UTF-8, as those of other domains' operators.
    fn string(&mut self, content: Value) -> Result<Attribute> {
        match self.text(content.clone()) {
            Err(_) if str::from_utf8(&self.file[content.span()?]).is_err() => Ok(Attribute::Other("bytes")),
            text => text.map(Attribute::Text),
        }
    }

    fn floats(&mut self, content: Value, floats: &mut Vec<f32>) -> Result<()> {
        let mut bytes = Vec::new();
        content.append_fixed::<4>(self.file, &mut bytes)?;
        floats.extend(bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)));
        Ok(())
    }

    fn ints(&mut self, content: Value, ints: &mut Vec<i64>) -> Result<()> {
        content.each_int(self.file, |value| {
            ints.push(value as i64);
            Ok(())
        })
    }

    fn value_info(&mut self, span: Span) -> Result<ValueInfo> {
        let mut info = ValueInfo { name: String::new(), element_type: None, shape: None };
        self.budget.take(size_of::<ValueInfo>() as u64, "values")?;
        for field in Fields::new(self.file, span) {
            match field? {
                (1, value) => info.name = self.text(value)?,
                (2, value) => self.value_type(value.span()?, &mut info)?,
                _ => {}
            }
        }
        Ok(info)
    }

    /// The type of a tensor; other types leave `info` as it is.
    fn value_type(&mut self, span: Span, info: &mut ValueInfo) -> Result<()> {
        for field in Fields::new(self.file, span) {
            let (1, tensor) = field? else { continue };
            for field in Fields::new(self.file, tensor.span()?) {
                match field? {
                    (1, value) => info.element_type = Some(value.int()?),
                    (2, value) => info.shape = Some(self.sizes(value.span()?)?),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn sizes(&mut self, span: Span) -> Result<Vec<Size>> {
        let mut sizes = Vec::new();
        for field in Fields::new(self.file, span) {
            let (1, dim) = field? else { continue };
            self.budget.take(size_of::<Size>() as u64, "sizes")?;
            let mut size = Size::Named(String::new());
            for field in Fields::new(self.file, dim.span()?) {
                match field? {
                    (1, value) => size = usize::try_from(value.int()?).map_or(size, Size::Fixed),
                    (2, value) => size = Size::Named(self.text(value)?),
                    _ => {}
                }
            }
            sizes.push(size);
        }
        Ok(sizes)
    }
}
