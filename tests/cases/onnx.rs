//! Cases of an ONNX operator. Its weights are the initializers of the graph beside the case.

use super::Case;
use super::options::{members, number, size, string, unknown, unknown_tensor};
use super::pass::{Activation, Arrays, Call, Cell, Direction, Layer, Merge, Pass, Sizes};
use super::tensor::Tensor;
use super::torch::lengths;
use serde_json::Value;

/// A node's attributes, with the defaults of the operator.
struct Node {
    cell: Cell,
    hidden: usize,
    direction: Direction,
    directions: usize,
    /// Whether the batch comes first.
    layout: bool,
    /// Of each direction.
    activations: Vec<Vec<Activation>>,
    clip: Option<f64>,
    input_forget: bool,
}

impl Node {
    fn new(case: &Case) -> Node {
        let op = string(case, "op", &case.options["op"]);
        let mut node = Node {
            cell: match op {
                "RNN" => Cell::SimpleRnn,
                "LSTM" => Cell::Lstm,
                "GRU" => Cell::Gru { reset_after: false, keeps_past: true },
                _ => unknown(case, "op", &case.options["op"]),
            },
            hidden: 0,
            direction: Direction::Forward,
            directions: 1,
            layout: false,
            activations: vec![],
            clip: None,
            input_forget: false,
        };
        for (key, value) in members(case, &case.options) {
            match (key, value.as_str()) {
                ("framework" | "peer" | "op" | "attributes", _) | ("direction", Some("forward")) => {}
                ("direction", Some("reverse")) => node.direction = Direction::Reverse,
                ("direction", Some("bidirectional")) => node.directions = 2,
                ("hidden_size", _) => node.hidden = size(case, key, value),
                ("layout", _) => node.layout = flag(case, key, value),
                _ => unknown(case, key, value),
            }
        }
        let (mut names, mut alpha, mut beta) = (None, vec![], vec![]);
        for (key, value) in members(case, &case.options["attributes"]) {
            match (key, node.cell) {
                ("clip", _) => node.clip = Some(single(case, key, value)),
                ("input_forget", Cell::Lstm) => node.input_forget = flag(case, key, value),
                ("linear_before_reset", Cell::Gru { .. }) => {
                    node.cell = Cell::Gru { reset_after: flag(case, key, value), keeps_past: true };
                }
                ("activations", _) => names = Some(list(case, key, value)),
                ("activation_alpha", _) => alpha = numbers(case, key, value),
                ("activation_beta", _) => beta = numbers(case, key, value),
                _ => unknown(case, key, value),
            }
        }
        let standard = node.cell.standard();
        node.activations = match names {
            None => vec![standard; node.directions],
            Some(names) => {
                assert_eq!(names.len(), node.directions * standard.len(), "{}: activations", case.name);
                let (mut alpha, mut beta) = (alpha.into_iter(), beta.into_iter());
                let all: Vec<_> = names.iter().map(|name| activation(case, name, &mut alpha, &mut beta)).collect();
                all.chunks(standard.len()).map(<[_]>::to_vec).collect()
            }
        };
        node
    }

    /// The layer of direction `d`.
    fn layer<'a>(&self, case: &'a Case, d: usize, input: usize) -> Layer<'a> {
        let (rows, hidden) = (self.cell.gates() * self.hidden, self.hidden);
        let part = |name: &str, sizes: &[usize]| {
            let tensor = case.tensors.get(name)?;
            assert_eq!(tensor.shape, [&[self.directions], sizes].concat(), "{}: {name}", case.name);
            let len = sizes.iter().product::<usize>();
            Some(&tensor.values[d * len..][..len])
        };
        let must = |name: &str, sizes: &[usize]| part(name, sizes).unwrap_or_else(|| panic!("{}: {name}", case.name));
        let arrays = Arrays::Onnx {
            w: must("W", &[rows, input]),
            r: must("R", &[rows, hidden]),
            b: part("B", &[2 * rows]),
            p: part("P", &[3 * hidden]),
        };
        let (activations, clip, input_forget) = (self.activations[d].clone(), self.clip, self.input_forget);
        Layer { activations, clip, input_forget, ..Layer::standard(self.cell, [input, hidden], arrays) }
    }
}

/// By ONNX' names. Only one that has a parameter takes the next of its list, and the default where the list has ended.
fn activation(
    case: &Case,
    name: &Value,
    alpha: &mut impl Iterator<Item = f64>,
    beta: &mut impl Iterator<Item = f64>,
) -> Activation {
    let mut alpha = |default| alpha.next().unwrap_or(default);
    let mut beta = |default| beta.next().unwrap_or(default);
    match string(case, "activations", name) {
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "Relu" => Activation::Relu,
        "Softplus" => Activation::Softplus,
        "Softsign" => Activation::Softsign,
        "LeakyRelu" => Activation::LeakyRelu(alpha(f64::from(0.01f32))),
        "ThresholdedRelu" => Activation::ThresholdedRelu(alpha(1.0)),
        "Elu" => Activation::Elu(alpha(1.0)),
        "HardSigmoid" => Activation::HardSigmoid(alpha(f64::from(0.2f32)), beta(0.5)),
        "Affine" => Activation::Affine(alpha(1.0), beta(0.0)),
        "ScaledTanh" => Activation::ScaledTanh(alpha(1.0), beta(1.0)),
        _ => unknown(case, "activations", name),
    }
}

fn flag(case: &Case, key: &str, value: &Value) -> bool {
    match value.as_u64() {
        Some(0) => false,
        Some(1) => true,
        _ => unknown(case, key, value),
    }
}

fn list(case: &Case, key: &str, value: &Value) -> Vec<Value> {
    value.as_array().unwrap_or_else(|| unknown(case, key, value)).clone()
}

fn numbers(case: &Case, key: &str, value: &Value) -> Vec<f64> {
    list(case, key, value).iter().map(|value| single(case, key, value)).collect()
}

/// A graph holds its numbers in f32.
fn single(case: &Case, key: &str, value: &Value) -> f64 {
    f64::from(number(case, key, value) as f32)
}

/// What a case asks for.
pub fn pass(case: &Case) -> Pass<'_> {
    let node = Node::new(case);
    let lstm = node.cell == Cell::Lstm;
    for name in case.tensors.keys() {
        match name.as_str() {
            "X" | "W" | "R" | "B" | "sequence_lens" | "initial_h" | "Y" | "Y_h" => {}
            "initial_c" | "P" | "Y_c" if lstm => {}
            _ => unknown_tensor(case, name),
        }
    }
    let x = case.tensor("X");
    let sizes = Sizes::of(case, x, node.layout);
    // [N, D, H] as [D, N, H].
    let state = |tensor: &Tensor| if node.layout { tensor.swap_outer() } else { tensor.clone() };
    let call = Call {
        h0: case.tensors.get("initial_h").map(state),
        c0: case.tensors.get("initial_c").map(state),
        y: Some(case.tensor("Y").clone()),
        last: None,
        h: Some(state(case.tensor("Y_h"))),
        c: lstm.then(|| state(case.tensor("Y_c"))),
    };
    let mut pass = Pass {
        name: &case.name,
        levels: vec![(0..node.directions).map(|d| node.layer(case, d, sizes.input)).collect()],
        direction: node.direction,
        // [N, T, D, H] are the channels of both side by side.
        merge: if node.layout { Merge::Concat } else { Merge::Directions },
        sizes,
        x: x.clone(),
        batch_first: node.layout,
        rows: lengths(case.tensors.get("sequence_lens")),
        calls: vec![call],
    };
    end_before_overflow(&mut pass);
    pass
}

/// Ends a pass before the first step of which ONNX Runtime gives no number. Its Softplus is infinite for arguments past 88,
/// where exp overflows in f32; that of 89 is 89.
fn end_before_overflow(pass: &mut Pass<'_>) {
    let (name, Sizes { time, batch, .. }) = (pass.name, pass.sizes);
    let y = pass.calls[0].y.as_mut().expect("Y");
    let step = y.values.len() / time;
    let steps = y.values.chunks_exact(step).take_while(|step| step.iter().all(|v| v.is_finite())).count();
    if steps == time {
        return;
    }
    let [level] = &pass.levels[..] else { panic!("{name}: levels") };
    let [layer] = &level[..] else { panic!("{name}: not finite in two directions") };
    let simple = (layer.cell, pass.direction, pass.batch_first) == (Cell::SimpleRnn, Direction::Forward, false);
    assert!(simple && steps > 0 && layer.activations == [Activation::Softplus], "{name}: not finite");
    y.shape[0] = steps;
    y.values.truncate(steps * step);
    let last = y.values[(steps - 1) * step..].to_vec();
    pass.calls[0].h = Some(Tensor { shape: vec![1, batch, layer.hidden], dtype: pass.x.dtype, values: last });
    pass.x.values.truncate(steps * batch * layer.input);
    pass.x.shape[0] = steps;
    pass.sizes.time = steps;
}
