//! A point in the space of everything that a loss depends on, and a direction to move in.

use super::common::choice::{Choice, Chosen};
use super::common::model::{Bias, CELLS, Model};
use super::common::numbers::{Random, Scalar};
use gatefold::cell::{Activation, Cell};
use gatefold::seq::{MatRef, time_major, time_major_mut};
use gatefold::{
    Accumulate, Dims, Direction, Element, Grads, Input, Layer, Options, Output, State, Tape, Upstream, Workspace,
};

/// Which steps a call walks over, and how.
#[derive(Clone, Debug)]
pub struct Walk {
    pub time: usize,
    pub batch: usize,
    pub direction: Direction,
    pub lengths: Option<Vec<usize>>,
}

/// Masks of a call.
#[derive(Clone, Debug, Default)]
pub struct Noise<T> {
    /// `[N, C]`
    pub dropout: Option<Vec<T>>,
    /// `[T, N, C]`
    pub zoneout: Option<Vec<T>>,
    /// `[T, N, H]`
    pub zoneout_cell: Option<Vec<T>>,
}

impl<T: Element> Noise<T> {
    fn rounded<U: Element>(&self) -> Noise<U> {
        let to = |mask: &Option<Vec<T>>| mask.as_ref().map(|m| m.iter().map(|v| U::from_f64(v.to_f64())).collect());
        Noise { dropout: to(&self.dropout), zoneout: to(&self.zoneout), zoneout_cell: to(&self.zoneout_cell) }
    }

    /// `input` with these masks.
    fn on<'a>(&'a self, mut input: Input<'a, T>, dims: Dims, [time, batch]: [usize; 2]) -> Input<'a, T> {
        let (output, hidden) = (dims.output(), dims.hidden);
        if let Some(mask) = &self.dropout {
            input = input.recurrent_dropout(MatRef::dense(mask, batch, output).expect("a mask"));
        }
        if let Some(mask) = &self.zoneout {
            input = input.zoneout(time_major(mask, [time, batch, output]).expect("a mask"));
        }
        if let Some(mask) = &self.zoneout_cell {
            input = input.zoneout_cell(time_major(mask, [time, batch, hidden]).expect("a mask"));
        }
        input
    }
}

/// A layer, what it is run over, and the loss: the sum of outputs and final states, each times a weight.
#[derive(Clone, Debug)]
pub struct Point<T> {
    pub chosen: Chosen<T>,
    walk: Walk,
    noise: Noise<T>,
    seed: u64,
    x: Vec<T>,
    h0: Vec<T>,
    c0: Vec<T>,
    /// The weights of y, h and c in the loss.
    upstream: [Vec<T>; 3],
    /// Of each array; see [`Point::arrays`].
    directions: Vec<Vec<T>>,
}

impl<T: Element + Scalar> Point<T> {
    pub fn new(chosen: Chosen<T>, walk: Walk, seed: u64) -> Self {
        let mut random = Random(seed ^ 0xbeef);
        let Walk { time, batch, .. } = walk;
        let (h, c) =
            (batch * chosen.output(), if chosen.model.cell == Cell::Lstm { batch * chosen.model.hidden } else { 0 });
        let [x, h0, c0] = [time * batch * chosen.model.input, h, c].map(|len| random.values(len, 1.0));
        let upstream = [time * h, h, c].map(|len| random.values(len, 1.0));
        let mut point =
            Point { chosen, walk, noise: Noise::default(), seed, x, h0, c0, upstream, directions: Vec::new() };
        point.directions = point.clone().arrays().iter().map(|array| random.values(array.len(), 1.0)).collect();
        point
    }

    /// With masks, as many of the three as there are bits; values that are kept are scaled, and zoneout mixes here and there.
    pub fn with_noise(mut self, bits: usize) -> Self {
        let Walk { time, batch, .. } = self.walk;
        let (output, Model { cell, hidden, .. }) = (self.chosen.output(), &self.chosen.model);
        let mut random = Random(self.seed ^ 0xd20);
        let mut mask = |bit: usize, len: usize, values: [f64; 3]| {
            let draw = random.values::<T>(len, 3.0);
            let of = |v: &T| T::from_f64(values[(v.to_f64().abs() as usize).min(2)]);
            (bits >> bit & 1 == 1).then(|| draw.iter().map(of).collect::<Vec<T>>())
        };
        let dropout = mask(0, batch * output, [0.0, 1.25, 1.25]);
        let zoneout = mask(1, time * batch * output, [0.0, 1.0, 0.25]);
        let zoneout_cell = mask(2, time * batch * hidden, [0.0, 1.0, 0.25]);
        let has_cell = *cell == Cell::Lstm && self.chosen.peepholes.is_none();
        self.noise = Noise { dropout, zoneout, zoneout_cell: zoneout_cell.filter(|_| has_cell) };
        self
    }

    /// x, h0, c0, W, R, both biases, the projection and the peepholes; empty where there is none.
    fn arrays(&mut self) -> [&mut [T]; 9] {
        let Chosen { model, projection, peepholes, .. } = &mut self.chosen;
        let [b_w, b_r, projection, peepholes] =
            [&mut model.b_w, &mut model.b_r, projection, peepholes].map(|a| a.as_deref_mut());
        [
            &mut self.x,
            &mut self.h0,
            &mut self.c0,
            &mut model.w,
            &mut model.r,
            b_w.unwrap_or_default(),
            b_r.unwrap_or_default(),
            projection.unwrap_or_default(),
            peepholes.unwrap_or_default(),
        ]
    }

    /// A step along the direction of array `k`.
    pub fn moved(&self, k: usize, step: f64) -> Self {
        let mut moved = self.clone();
        for (value, direction) in moved.arrays()[k].iter_mut().zip(&self.directions[k]) {
            *value = *value + T::from_f64(step) * *direction;
        }
        moved
    }

    /// The slope of the loss along the direction of array `k`, whose gradient this is.
    pub fn slope(&self, k: usize, gradient: &[T]) -> f64 {
        assert_eq!(gradient.len(), self.directions[k].len(), "array {k}");
        dot(gradient, &self.directions[k])
    }

    /// The loss.
    pub fn loss(&self) -> f64 {
        self.outputs(Options::default()).iter().zip(&self.upstream).map(|(a, b)| dot(a, b)).sum()
    }

    /// The same where no pre-activation of a ReLU is near 0, half of them on either side.
    pub fn away_from_kinks(mut self) -> Self {
        if self.chosen.model.cell == CELLS[1] {
            let bias = (0..self.chosen.model.hidden).map(|i| T::from_f64(if i % 3 == 1 { -8.0 } else { 8.0 }));
            self.chosen.model.b_w = Some(bias.collect());
            self.directions = Point::new(self.chosen.clone(), self.walk.clone(), self.seed).directions;
        }
        self
    }

    /// Another of these sizes, where every ReLU passes, so that it is linear in x and h0.
    pub fn linear(&self) -> Self {
        let Model { input, hidden, .. } = self.chosen.model;
        let cell = Cell::SimpleRnn { activation: Activation::Relu };
        let mut chosen = Chosen::random(cell, [input, hidden], Bias::Input, Choice::default(), self.seed);
        chosen.model.b_w = Some(vec![T::from_f64(30.0); hidden]);
        Point::new(chosen, self.walk.clone(), self.seed)
    }

    /// More than what the terms of the loss of [`Point::linear`] sum to.
    pub fn magnitude(&self) -> f64 {
        50.0 * self.upstream.iter().flatten().map(|v| v.to_f64().abs()).sum::<f64>().max(1.0)
    }

    /// The same with this past the end of rows.
    pub fn with_padding(mut self, padding: T) -> Self {
        let Walk { batch, lengths, .. } = self.walk.clone();
        let (input, output) = (self.chosen.model.input, self.chosen.output());
        for (values, channels) in [(&mut self.x, input), (&mut self.upstream[0], output)] {
            for (i, row) in values.chunks_exact_mut(channels).enumerate() {
                if lengths.as_ref().is_some_and(|lengths| i / batch >= lengths[i % batch]) {
                    row.fill(padding);
                }
            }
        }
        self
    }

    /// The same in another element type.
    pub fn rounded<U: Element + Scalar>(&self) -> Point<U> {
        let to = |values: &Vec<T>| values.iter().map(|v| U::from_f64(v.to_f64())).collect::<Vec<U>>();
        let Model { cell, input, hidden, w, r, b_w, b_r, update } = &self.chosen.model;
        let (b_w, b_r) = (b_w.as_ref().map(to), b_r.as_ref().map(to));
        let model =
            Model { cell: *cell, input: *input, hidden: *hidden, w: to(w), r: to(r), b_w, b_r, update: *update };
        let [projection, peepholes] = [&self.chosen.projection, &self.chosen.peepholes].map(|a| a.as_ref().map(to));
        Point {
            chosen: Chosen { model, choice: self.chosen.choice, peepholes, projection },
            walk: self.walk.clone(),
            noise: self.noise.rounded(),
            seed: self.seed,
            x: to(&self.x),
            h0: to(&self.h0),
            c0: to(&self.c0),
            upstream: self.upstream.each_ref().map(to),
            directions: self.directions.iter().map(to).collect(),
        }
    }

    /// y and the final states of a forward call.
    pub fn outputs(&self, options: Options) -> Vec<Vec<T>> {
        let run = |layer: &Layer<T>, input: Input<'_, T>, state: &mut State<T>, y: Output<'_, T>| {
            layer.forward_into(input, state, y, &mut Workspace::new())
        };
        self.call(options, run)
    }

    /// The same of a recorded one.
    pub fn recorded(&self, options: Options) -> Vec<Vec<T>> {
        let run = |layer: &Layer<T>, input: Input<'_, T>, state: &mut State<T>, y: Output<'_, T>| {
            layer.record(input, state, y, &mut Tape::new(), &mut Workspace::new())
        };
        self.call(options, run)
    }

    /// The gradients of the loss with respect to all arrays, in their order.
    pub fn gradients(&self, options: Options) -> Vec<Vec<T>> {
        let Walk { time, batch, .. } = self.walk;
        let mut grads = Grads::new();
        let run = |layer: &Layer<T>, input: Input<'_, T>, state: &mut State<T>, y: Output<'_, T>| {
            let [dy, dh, dc] = &self.upstream;
            let dy = time_major(dy, [time, batch, self.chosen.output()])?;
            let dc = layer.dims().cell.has_cell_state().then_some(&dc[..]);
            let (mut tape, upstream) = (Tape::new(), Upstream { dy: Some(dy), dh: Some(dh), dc });
            layer.record(input, state, y, &mut tape, &mut Workspace::new())?;
            layer.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite)
        };
        self.call(options, run);
        let Grads { dx, dh0, dc0, dw, dr, db_w, db_r, d_projection, d_peepholes } = grads;
        vec![dx, dh0, dc0, dw, dr, db_w, db_r, d_projection, d_peepholes]
    }

    fn call(
        &self,
        options: Options,
        run: impl FnOnce(&Layer<T>, Input<'_, T>, &mut State<T>, Output<'_, T>) -> gatefold::Result<()>,
    ) -> Vec<Vec<T>> {
        let layer = Layer::new(self.chosen.weights(), Options { keep_weights: true, ..options }).expect("a layer");
        let Walk { time, batch, direction, lengths } = &self.walk;
        let mut state = layer.state(*batch).expect("a state");
        state.set_h(&self.h0).expect("h");
        if layer.dims().cell.has_cell_state() {
            state.set_c(&self.c0).expect("c");
        }
        let mut input = Input::from(time_major(&self.x, [*time, *batch, layer.dims().input]).expect("x"));
        if let Some(lengths) = lengths {
            input = input.lengths(lengths);
        }
        if let Direction::Reverse(order) = direction {
            input = input.reverse(*order);
        }
        input = self.noise.on(input, layer.dims(), [*time, *batch]);
        let shape = [*time, *batch, layer.dims().output()];
        let mut y = vec![T::NAN; shape.iter().product()];
        let out = Output::Sequence(time_major_mut(&mut y, shape).expect("y"));
        run(&layer, input, &mut state, out).expect("a call");
        vec![y, state.h_to_vec(), state.c_to_vec().unwrap_or_default()]
    }
}

fn dot<T: Element>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum()
}
