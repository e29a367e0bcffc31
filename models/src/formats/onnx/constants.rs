//! Values of a graph that do not depend on what it takes.

use super::tensors::{self, Granted};
use super::{Attribute, Graph, Model, Node, StoredTensor};
use crate::budget::Budget;
use crate::error::{Error, Result};
use crate::tensor::{Data, Tensor, element_count, row_major_strides};

/// A graph and those that it lies in, whose values it may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) graph: &'a Graph,
    pub(super) outer: Option<&'a Scope<'a>>,
}

/// Nodes on the way to a constant that are followed.
const DEPTH: usize = 64;

/// The operators that are followed, with the attributes that they have.
const FOLLOWED: &[(&str, &[&str])] = &[
    ("Identity", &[]),
    // How to round to the floats of 8 bits, which are refused.
    ("Cast", &["to", "saturate", "round_mode"]),
    ("Transpose", &["perm"]),
    ("Unsqueeze", &["axes"]),
    ("Squeeze", &["axes"]),
    ("Slice", &["starts", "ends", "axes"]),
    ("Concat", &["axis"]),
    ("Reshape", &["shape", "allowzero"]),
];

/// Computes constants, all of them together within one budget.
#[derive(Debug)]
pub(super) struct Resolver<'a> {
    model: &'a Model,
    budget: Budget,
    granted: Granted,
    depth: usize,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        Resolver { model, budget: super::budget(model), granted: Granted::new(), depth: 0 }
    }

    /// The budget of all of its constants.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(super) fn stored(&mut self, stored: &StoredTensor) -> Result<Tensor> {
        tensors::tensor(self.model, stored, &mut self.budget, &mut self.granted)
    }

    /// The value `name` as seen in `scope`; none if it is not constant.
    pub(super) fn constant(&mut self, name: &str, scope: &Scope<'_>) -> Result<Option<Tensor>> {
        // Each value costs something even if it is empty, so that no web of nodes takes forever.
        self.budget.take(64, name)?;
        let graph = scope.graph;
        if let Some(stored) = graph.initializers.get(name) {
            return self.stored(stored).map(Some);
        }
        if let Some(&index) = graph.producers.get(name) {
            let node = &graph.nodes[index];
            if self.depth == DEPTH {
                return Err(Error::unsupported(name, format_args!("a constant behind {DEPTH} nodes")));
            }
            self.depth += 1;
            let value = self.output(node, scope);
            self.depth -= 1;
            return value.map_err(|error| error.within(format_args!("{} that makes {name:?}", node.op_type)));
        }
        if graph.inputs.iter().any(|input| input.name == name) {
            return Ok(None);
        }
        match scope.outer {
            Some(outer) => self.constant(name, outer),
            None => Err(Error::missing("graph", format_args!("the value {name:?}"))),
        }
    }

    /// What `node` makes, if it is one of those that are followed and its inputs are constant.
    fn output(&mut self, node: &Node, scope: &Scope<'_>) -> Result<Option<Tensor>> {
        if node.is("Constant") {
            return self.constant_node(node).map(Some);
        }
        let Some((_, known)) = FOLLOWED.iter().find(|(op_type, _)| node.is(op_type)) else { return Ok(None) };
        if let Some((name, _)) = node.attributes.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            return Err(Error::unsupported("attributes", format_args!("{name:?}")));
        }
        let mut inputs = Vec::new();
        for name in &node.inputs {
            let input = if name.is_empty() { None } else { Some(self.constant(name, scope)?) };
            match input {
                Some(None) => return Ok(None),
                given => inputs.push(given.flatten()),
            }
        }
        if node.op_type != "Concat" && inputs.len() > 5 || inputs.is_empty() {
            return Err(Error::malformed("inputs", "one to five", inputs.len()));
        }
        let size = inputs.iter().flatten().map(|input| input.len() as u64 * 8).sum();
        self.budget.take(size, "output")?;
        if node.op_type == "Concat" {
            return concat(node, inputs).map(Some);
        }
        let mut inputs = inputs.into_iter();
        let first = inputs.next().flatten().ok_or_else(|| Error::missing("inputs", "the first"))?;
        let rest: Vec<Option<Tensor>> = inputs.collect();
        let output = match node.op_type.as_str() {
            "Cast" => first.cast(tensors::dtype(int(node, "to")?.ok_or_else(|| Error::missing("Cast", "to"))?)?),
            "Transpose" => transpose(node, &first),
            "Unsqueeze" => unsqueeze(first, axes(node, rest.first())?),
            "Squeeze" => squeeze(first, axes(node, rest.first())?),
            "Slice" => slice(node, &first, &rest),
            "Reshape" => reshape(node, first, rest.first()),
            _ => Ok(first),
        };
        output.map(Some)
    }

    fn constant_node(&mut self, node: &Node) -> Result<Tensor> {
        let [(name, value)] = &node.attributes[..] else {
            return Err(Error::malformed("attributes", "one value", node.attributes.len()));
        };
        match (name.as_str(), value) {
            ("value", Attribute::Tensor(stored)) => self.stored(stored),
            ("value_float", Attribute::Float(value)) => Tensor::new(vec![], Data::F32(vec![*value])),
            ("value_int", Attribute::Int(value)) => Tensor::new(vec![], Data::I64(vec![*value])),
            ("value_floats", Attribute::Floats(values)) => Tensor::new(vec![values.len()], Data::F32(values.clone())),
            ("value_ints", Attribute::Ints(values)) => Tensor::new(vec![values.len()], Data::I64(values.clone())),
            _ => Err(Error::unsupported("Constant", format_args!("attribute {name}"))),
        }
    }
}

fn int(node: &Node, name: &str) -> Result<Option<i64>> {
    match node.attribute(name) {
        None => Ok(None),
        Some(Attribute::Int(value)) => Ok(Some(*value)),
        Some(_) => Err(Error::malformed(name, "an integer", "an attribute of another type")),
    }
}

fn ints(node: &Node, name: &str) -> Result<Option<Vec<i64>>> {
    match node.attribute(name) {
        None => Ok(None),
        Some(Attribute::Ints(values)) => Ok(Some(values.clone())),
        Some(_) => Err(Error::malformed(name, "integers", "an attribute of another type")),
    }
}

/// Integers that newer operator sets take as an input and older ones as an attribute.
fn given(node: &Node, name: &str, input: Option<&Option<Tensor>>) -> Result<Option<Vec<i64>>> {
    match input {
        Some(Some(tensor)) => {
            tensor.to_i64().map(|values| Some(values.into_owned())).map_err(|error| error.within(name))
        }
        _ => ints(node, name),
    }
}

fn axes(node: &Node, input: Option<&Option<Tensor>>) -> Result<Option<Vec<i64>>> {
    given(node, "axes", input)
}

/// The axis `axis` of `rank`, which counts from the end if it is negative.
fn axis(axis: i64, rank: usize) -> Result<usize> {
    let from_start = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    let from_start = from_start.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
    from_start.ok_or_else(|| Error::malformed("axis", format_args!("one of {rank}"), axis))
}

/// Each of `axes` once, as [`axis`] counts.
fn distinct_axes(axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut distinct = Vec::new();
    for &number in axes {
        let axis = axis(number, rank)?;
        if distinct.contains(&axis) {
            return Err(Error::malformed("axes", "each axis once", format_args!("{number} twice")));
        }
        distinct.push(axis);
    }
    Ok(distinct)
}

fn concat(node: &Node, inputs: Vec<Option<Tensor>>) -> Result<Tensor> {
    let parts = inputs.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| Error::missing("Concat", "an input"))?;
    let rank = parts.first().map_or(0, |part| part.shape().len());
    let along = int(node, "axis")?.ok_or_else(|| Error::missing("Concat", "axis"))?;
    Tensor::concatenated(&parts, axis(along, rank)?)
}

fn transpose(node: &Node, input: &Tensor) -> Result<Tensor> {
    let rank = input.shape().len();
    match ints(node, "perm")? {
        Some(perm) if perm.len() == rank => input.transposed(&distinct_axes(&perm, rank)?),
        Some(perm) => Err(Error::malformed("perm", format_args!("{rank} axes"), perm.len())),
        None => input.transposed(&(0..rank).rev().collect::<Vec<_>>()),
    }
}

fn unsqueeze(input: Tensor, axes: Option<Vec<i64>>) -> Result<Tensor> {
    let axes = axes.ok_or_else(|| Error::missing("Unsqueeze", "axes"))?;
    let rank = input.shape().len() + axes.len();
    let axes = distinct_axes(&axes, rank)?;
    let mut sizes = input.shape().iter().copied();
    let shape = (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { sizes.next().unwrap_or(1) }).collect();
    input.reshaped(shape)
}

fn squeeze(input: Tensor, axes: Option<Vec<i64>>) -> Result<Tensor> {
    let sizes = input.shape().iter().enumerate();
    let axes = match axes {
        Some(axes) => distinct_axes(&axes, input.shape().len())?,
        None => sizes.clone().filter(|&(_, &size)| size == 1).map(|(axis, _)| axis).collect(),
    };
    let shape = sizes.filter(|(axis, _)| !axes.contains(axis)).map(|(_, &size)| size).collect();
    input.reshaped(shape)
}

fn reshape(node: &Node, input: Tensor, target: Option<&Option<Tensor>>) -> Result<Tensor> {
    let target = given(node, "shape", target)?.ok_or_else(|| Error::missing("Reshape", "shape"))?;
    let keep_zero = int(node, "allowzero")?.unwrap_or(0) != 0;
    let wrong = || Error::malformed("shape", format_args!("one of {} values", input.len()), format_args!("{target:?}"));
    let mut shape = Vec::new();
    let mut open = None;
    for (axis, &size) in target.iter().enumerate() {
        shape.push(match size {
            0 if !keep_zero => *input.shape().get(axis).ok_or_else(wrong)?,
            -1 if open.replace(axis).is_none() => 1,
            _ => usize::try_from(size).map_err(|_| wrong())?,
        });
    }
    if let Some(axis) = open {
        let rest = element_count(&shape).filter(|&rest| rest > 0).ok_or_else(wrong)?;
        shape[axis] = input.len() / rest;
    }
    input.reshaped(shape)
}

fn slice(node: &Node, input: &Tensor, rest: &[Option<Tensor>]) -> Result<Tensor> {
    let rank = input.shape().len();
    let part = |name: &str, index: usize| given(node, name, rest.get(index));
    let (Some(starts), Some(ends)) = (part("starts", 0)?, part("ends", 1)?) else {
        return Err(Error::missing("Slice", "starts or ends"));
    };
    let axes = match part("axes", 2)? {
        Some(axes) => distinct_axes(&axes, rank)?,
        None => (0..starts.len()).map(|k| axis(k as i64, rank)).collect::<Result<_>>()?,
    };
    let steps = part("steps", 3)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(Error::malformed("Slice", "as many starts, ends, axes and steps", "other numbers"));
    }
    let (mut shape, mut offset, mut strides) = (input.shape().to_vec(), 0_isize, row_major_strides(input.shape()));
    for (k, &axis) in axes.iter().enumerate() {
        let (start, count) = range(starts[k], ends[k], steps[k], input.shape()[axis])?;
        // With no value left the places do not matter, and might not be counted.
        if count > 0 {
            offset += strides[axis] * start as isize;
            strides[axis] *= if count == 1 { 1 } else { steps[k] as isize };
        }
        shape[axis] = count;
    }
    input.strided(shape, offset as usize, &strides)
}

/// Where a slice of an axis of `size` starts, and how many values it takes.
fn range(start: i64, end: i64, step: i64, size: usize) -> Result<(usize, usize)> {
    let size = size as i64;
    let place = |bound: i64| if bound < 0 { bound.saturating_add(size) } else { bound };
    let (start, end) = match step {
        0 => return Err(Error::malformed("steps", "a step", 0)),
        1.. => (place(start).clamp(0, size), place(end).clamp(0, size)),
        // Backwards, a slice may end before the first value, and cannot start behind the last.
        _ => (place(start).clamp(0, (size - 1).max(0)), place(end).clamp(-1, size - 1)),
    };
    let reach = if step > 0 { end - start } else { start - end };
    let count = if size == 0 || reach <= 0 { 0 } else { (reach as u64).div_ceil(step.unsigned_abs()) };
    Ok((start as usize, count as usize))
}

#[cfg(test)]
mod tests {
    use super::range;

    /// As Python slices: the values of `0..size` that are taken.
    fn taken(start: i64, end: i64, step: i64, size: usize) -> Vec<i64> {
        let (first, count) = range(start, end, step, size).unwrap();
        (0..count as i64).map(|k| first as i64 + k * step).collect()
    }

    #[test]
    fn slices_are_those_of_python() {
        assert_eq!(taken(1, 4, 1, 5), [1, 2, 3]);
        assert_eq!(taken(-2, i64::MAX, 1, 5), [3, 4]);
        assert_eq!(taken(0, -1, 2, 5), [0, 2]);
        assert_eq!(taken(0, 5, 2, 5), [0, 2, 4]);
        assert_eq!(taken(-1, i64::MIN, -1, 4), [3, 2, 1, 0]);
        assert_eq!(taken(9, 0, -2, 4), [3, 1]);
        assert!(taken(3, 1, 1, 5).is_empty());
        assert!(taken(7, 9, 1, 5).is_empty());
        assert_eq!(taken(0, 5, i64::MAX, 5), [0]);
        assert_eq!(taken(4, i64::MIN, i64::MIN, 5), [4]);
        for (start, end, step) in [(0, 1, 1), (-1, -2, -1), (0, i64::MIN, -1)] {
            assert!(taken(start, end, step, 0).is_empty());
        }
        assert!(range(0, 1, 0, 3).is_err());
    }
}
