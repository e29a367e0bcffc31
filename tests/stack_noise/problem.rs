//! A stack, what it is run over, and masks; run as a whole, or layer by layer with masks applied here.

use super::common::Value;
use super::common::choice::{Choice, Chosen};
use super::common::model::Bias;
use super::common::numbers::Random;
use gatefold::cell::Cell;
use gatefold::seq::{MatRef, SeqRef, SeqShape, time_major, time_major_mut};
use gatefold::weights::WeightsMut;
use gatefold::{
    Accumulate, Direction, Element, Grads, Input, Layer, Level, Merge, Noise, Options, Output, Stack, StackGrads,
    StackNoise, StackState, StackTape, StackWorkspace, Tape, Upstream, Workspace,
};

pub const INPUT: usize = 3;

/// What is drawn of one level.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    pub cells: [Cell; 2],
    pub hidden: usize,
    pub projection: Option<usize>,
    /// In both directions, merged so.
    pub merge: Option<Merge>,
    /// Of a level in one.
    pub direction: Direction,
    /// Which masks there are: of dropout, zoneout of h and of c, for each direction.
    pub noise: usize,
    /// Which mask is above: none, one for each timestep, one for all.
    pub above: usize,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub levels: Vec<Drawn>,
    pub time: usize,
    pub batch: usize,
    pub lengths: Option<Vec<usize>>,
    pub seed: u64,
}

/// Of a layer: dropout `[N, C]`, zoneout of h `[T, N, C]` and of c `[T, N, H]`.
type Masks<T> = [Option<Vec<T>>; 3];

/// y, h, c.
pub type Outputs<T> = [Vec<T>; 3];

#[derive(Clone)]
pub struct Problem<T> {
    pub case: Case,
    pub stack: Stack<T>,
    pub x: Vec<T>,
    pub state: StackState<T>,
    masks: Vec<Masks<T>>,
    between: Vec<Option<(SeqShape, Vec<T>)>>,
    /// The weights of y, h and c in the loss.
    pub upstream: Outputs<T>,
}

impl<T: Value> Problem<T> {
    pub fn new(case: Case, options: Options) -> Self {
        let options = Options { keep_weights: true, ..options };
        let (mut levels, mut input) = (vec![], INPUT);
        for (i, level) in case.levels.iter().enumerate() {
            let layer = |which: usize| {
                let seed = case.seed.wrapping_add((2 * i + which) as u64);
                let choice = Choice { projection: level.projection, ..Choice::default() };
                let chosen = Chosen::<T>::random(level.cells[which], [input, level.hidden], Bias::Both, choice, seed);
                Layer::new(chosen.weights(), options).unwrap()
            };
            let level = match (level.merge, level.direction) {
                (Some(merge), _) => Level::bidirectional(layer(0), layer(1), merge).unwrap(),
                (None, Direction::Forward) => layer(0).into(),
                (None, Direction::Reverse(order)) => Level::reverse(layer(0), order),
            };
            input = level.output();
            levels.push(level);
        }
        let (stack, mut random) = (Stack::new(levels).unwrap(), Random(!case.seed));
        let Case { time, batch, .. } = case;
        let x = random.values(time * batch * INPUT, 1.0);
        let mut state = stack.state(batch).unwrap();
        let (h, c) = (state.h_to_vec().len(), state.c_to_vec().len());
        state.set_h(&random.values(h, 1.0)).unwrap();
        state.set_c(&random.values(c, 1.0)).unwrap();
        let mut masks = vec![];
        for (level, drawn) in stack.levels().iter().zip(&case.levels) {
            for (k, (layer, _)) in level.layers().enumerate() {
                let (output, hidden) = (layer.dims().output(), layer.dims().hidden);
                let bits = drawn.noise >> (3 * k);
                let mut mask = |bit: usize, len, values| (bits >> bit & 1 == 1).then(|| mask(&mut random, len, values));
                let dropout = mask(0, batch * output, [0.0, 1.25, 1.25]);
                let of_h = mask(1, time * batch * output, [0.0, 1.0, 0.25]);
                let of_c = mask(2, time * batch * hidden, [0.0, 1.0, 0.25]);
                masks.push([dropout, of_h, of_c.filter(|_| layer.dims().cell.has_cell_state())]);
            }
        }
        let below = stack.levels().iter().zip(&case.levels).take(stack.levels().len() - 1);
        let between = below.map(|(level, drawn)| {
            let dense = SeqShape::time_major(time, batch, level.output());
            let shape = match drawn.above {
                0 => return None,
                1 => dense,
                _ => SeqShape { time_stride: 0, ..dense },
            };
            Some((shape, mask(&mut random, time * batch * level.output(), [0.0, 2.0, 1.5])))
        });
        let between = between.collect();
        let upstream = [time * batch * stack.output(), h, c].map(|len| random.values(len, 1.0));
        Problem { case, stack, x, state, masks, between, upstream }
    }

    fn sizes(&self, channels: usize) -> [usize; 3] {
        [self.case.time, self.case.batch, channels]
    }

    fn lengths_on<'a>(&'a self, input: Input<'a, T>) -> Input<'a, T> {
        self.case.lengths.as_ref().map_or(input, |lengths| input.lengths(lengths))
    }

    /// The masks of the layer that stands at `k`.
    fn noise(&self, k: usize, layer: &Layer<T>) -> Noise<'_, T> {
        let [dropout, of_h, of_c] = &self.masks[k];
        let (output, hidden) = (layer.dims().output(), layer.dims().hidden);
        Noise {
            recurrent_dropout: dropout.as_ref().map(|m| MatRef::dense(m, self.case.batch, output).unwrap()),
            zoneout: of_h.as_ref().map(|m| time_major(m, self.sizes(output)).unwrap()),
            zoneout_cell: of_c.as_ref().map(|m| time_major(m, self.sizes(hidden)).unwrap()),
        }
    }

    /// Calls `run` with the input and all masks.
    pub fn with_input<R>(&self, run: impl FnOnce(Input<'_, T>) -> R) -> R {
        let layers = self.stack.levels().iter().flat_map(Level::layers);
        let layers: Vec<_> = layers.enumerate().map(|(k, (layer, _))| self.noise(k, layer)).collect();
        let between = self.between.iter().map(Option::as_ref);
        let between: Vec<_> = between.map(|mask| mask.map(|(shape, m)| SeqRef::new(m, *shape).unwrap())).collect();
        let input = Input::from(time_major(&self.x, self.sizes(INPUT)).unwrap());
        run(self.lengths_on(input).stack_noise(StackNoise { layers: &layers, between: &between }))
    }

    pub fn forward(&self) -> Outputs<T> {
        self.with_input(|input| {
            let run = self.stack.forward(input, Some(&self.state)).unwrap();
            [run.y, run.state.h_to_vec(), run.state.c_to_vec()]
        })
    }

    /// A recorded call, and its gradients.
    pub fn train(&self) -> (Outputs<T>, StackGrads<T>) {
        let sizes = self.sizes(self.stack.output());
        let (mut state, mut y) = (self.state.clone(), vec![T::NAN; sizes.iter().product()]);
        let (mut tape, mut workspace, mut grads) = (StackTape::new(), StackWorkspace::new(), StackGrads::new());
        let out = Output::Sequence(time_major_mut(&mut y, sizes).unwrap());
        self.with_input(|input| self.stack.record(input, &mut state, out, &mut tape, &mut workspace).unwrap());
        let [dy, dh, dc] = &self.upstream;
        let upstream = Upstream { dy: Some(time_major(dy, sizes).unwrap()), dh: Some(dh), dc: Some(dc) };
        self.stack.backward(&mut tape, upstream, &mut grads, Accumulate::Overwrite).unwrap();
        ([y, state.h_to_vec(), state.c_to_vec()], grads)
    }

    /// Values times the mask above level `i`.
    fn masked(&self, i: usize, values: &mut [T]) {
        let Some(Some((shape, mask))) = self.between.get(i) else { return };
        let step = self.case.batch * self.stack.levels()[i].output();
        for (at, value) in values.iter_mut().enumerate() {
            let m = mask[if shape.time_stride == 0 { at % step } else { at }];
            *value = if m == T::ZERO { T::ZERO } else { *value * m };
        }
    }

    /// The same calls, layer by layer; gradients of all but multiplied directions.
    pub fn by_layers(&self) -> (Outputs<T>, Option<StackGrads<T>>) {
        let (mut x, mut h, mut c, mut k) = (self.x.clone(), vec![], vec![], 0);
        let (mut tapes, multiplies) = (vec![], self.case.levels.iter().any(|level| level.merge == Some(Merge::Mul)));
        for (i, level) in self.stack.levels().iter().enumerate() {
            let mut ys = vec![];
            for (layer, direction) in level.layers() {
                let mut input = Input::from(time_major(&x, self.sizes(level.input())).unwrap());
                input = self.lengths_on(input);
                if let Direction::Reverse(order) = direction {
                    input = input.reverse(order);
                }
                let Noise { recurrent_dropout, zoneout, zoneout_cell } = self.noise(k, layer);
                input = recurrent_dropout.map_or(input, |mask| input.recurrent_dropout(mask));
                input = zoneout.map_or(input, |mask| input.zoneout(mask));
                input = zoneout_cell.map_or(input, |mask| input.zoneout_cell(mask));
                let sizes = self.sizes(layer.dims().output());
                let (mut y, mut tape) = (vec![T::NAN; sizes.iter().product()], Tape::new());
                let mut state = self.state.states()[k].clone();
                let out = Output::Sequence(time_major_mut(&mut y, sizes).unwrap());
                layer.record(input, &mut state, out, &mut tape, &mut Workspace::new()).unwrap();
                h.extend(state.h_to_vec());
                c.extend(state.c_to_vec().unwrap_or_default());
                ys.push(y);
                tapes.push(tape);
                k += 1;
            }
            x = merged(level, &ys);
            self.masked(i, &mut x);
        }
        ([x, h, c], (!multiplies).then(|| self.back(tapes)))
    }

    fn back(&self, mut tapes: Vec<Tape<T>>) -> StackGrads<T> {
        let [dy, dh, dc] = &self.upstream;
        let (mut dy, mut dh, mut dc, mut layers) = (dy.clone(), &dh[..], &dc[..], vec![]);
        for (i, level) in self.stack.levels().iter().enumerate().rev() {
            if i + 1 < self.stack.levels().len() {
                self.masked(i, &mut dy);
            }
            let (mut dx, first) = (vec![], level.layers().next().unwrap().0.dims().output());
            for (which, (layer, _)) in level.layers().enumerate().collect::<Vec<_>>().into_iter().rev() {
                let (output, dims) = (layer.dims().output(), layer.dims());
                let (channels, skip) =
                    if output < level.output() { (level.output(), which * first) } else { (output, 0) };
                let own = dy.chunks_exact(channels).flat_map(|row| &row[skip..][..output]);
                let scale = if matches!(level, Level::Both { merge: Merge::Average, .. }) { 0.5 } else { 1.0 };
                let own: Vec<T> = own.map(|&v| v * T::from_f64(scale)).collect();
                let cells = if dims.cell.has_cell_state() { self.case.batch * dims.hidden } else { 0 };
                let (of_h, of_c);
                (dh, of_h) = dh.split_at(dh.len() - self.case.batch * output);
                (dc, of_c) = dc.split_at(dc.len() - cells);
                let own = Some(time_major(&own, self.sizes(output)).unwrap());
                let upstream = Upstream { dy: own, dh: Some(of_h), dc: (cells > 0).then_some(of_c) };
                let mut grads = Grads::new();
                layer.backward(&mut tapes.pop().unwrap(), upstream, &mut grads, Accumulate::Overwrite).unwrap();
                dx = if dx.is_empty() {
                    grads.dx.clone()
                } else {
                    grads.dx.iter().zip(&dx).map(|(&a, &b)| a + b).collect()
                };
                layers.insert(0, grads);
            }
            dy = dx;
        }
        StackGrads { dx: dy, layers }
    }

    /// Every array of group `k`, in the order of [`of_gradients`]: x; the states; the weights of all layers.
    fn change(&mut self, k: usize, mut change: impl FnMut(&mut [T])) {
        match k {
            0 => change(&mut self.x),
            1 => {
                let (mut h, mut c) = (self.state.h_to_vec(), self.state.c_to_vec());
                let layers = self.stack.levels().iter().flat_map(Level::layers).map(|(layer, _)| layer.dims());
                let (mut rest_h, mut rest_c) = (&mut h[..], &mut c[..]);
                for dims in layers {
                    let cells = if dims.cell.has_cell_state() { dims.hidden } else { 0 };
                    let (of_h, of_c);
                    (of_h, rest_h) = rest_h.split_at_mut(self.case.batch * dims.output());
                    (of_c, rest_c) = rest_c.split_at_mut(self.case.batch * cells);
                    change(of_h);
                    change(of_c);
                }
                self.state.set_h(&h).unwrap();
                self.state.set_c(&c).unwrap();
            }
            _ => {
                let all = |_, WeightsMut { w, r, b_w, b_r, projection, .. }: WeightsMut<'_, T>| {
                    [Some(w), Some(r), b_w, b_r, projection].into_iter().flatten().for_each(&mut change);
                };
                self.stack.update(all).unwrap();
            }
        }
    }

    /// A step along a direction of group `k`.
    pub fn moved(&self, k: usize, step: f64) -> Self {
        let (mut moved, mut random) = (self.clone(), Random(self.case.seed ^ 0xd1ec));
        moved.change(k, |values| {
            let direction = random.values::<T>(values.len(), 1.0);
            values.iter_mut().zip(direction).for_each(|(value, d)| *value = *value + T::from_f64(step) * d);
        });
        moved
    }

    /// The slope of the loss along that direction by gradients, and the sum of their magnitudes.
    pub fn slope(&self, k: usize, grads: &StackGrads<T>) -> [f64; 2] {
        let mut random = Random(self.case.seed ^ 0xd1ec);
        let of_gradients = of_gradients(k, grads);
        let all = of_gradients.into_iter().flat_map(|array| {
            let direction = random.values::<T>(array.len(), 1.0);
            array.iter().zip(direction).map(|(g, d)| g.to_f64() * d.to_f64()).collect::<Vec<_>>()
        });
        all.fold([0.0, 0.0], |[slope, scale], term| [slope + term, scale + term.abs()])
    }

    /// The loss, a sum of all that comes out, each value times a weight.
    pub fn loss(&self) -> f64 {
        let dot = |(a, b): (&Vec<T>, &Vec<T>)| a.iter().zip(b).map(|(a, b)| a.to_f64() * b.to_f64()).sum::<f64>();
        self.forward().iter().zip(&self.upstream).map(dot).sum()
    }
}

/// The gradients of every array of group `k`.
fn of_gradients<T>(k: usize, grads: &StackGrads<T>) -> Vec<&[T]> {
    match k {
        0 => vec![&grads.dx],
        1 => grads.layers.iter().flat_map(|g| [&g.dh0[..], &g.dc0]).collect(),
        _ => grads.layers.iter().flat_map(|g| [&g.dw[..], &g.dr, &g.db_w, &g.db_r, &g.d_projection]).collect(),
    }
}

/// A mask of these values.
fn mask<T: Value>(random: &mut Random, len: usize, values: [f64; 3]) -> Vec<T> {
    (0..len).map(|_| T::from_f64(values[random.below(3)])).collect()
}

/// The outputs of a level's directions, merged.
fn merged<T: Element>(level: &Level<T>, ys: &[Vec<T>]) -> Vec<T> {
    let (Level::Both { forward, backward, merge }, [a, b]) = (level, ys) else { return ys[0].clone() };
    let pairs = || a.iter().zip(b);
    match merge {
        Merge::Concat => {
            let rows = a.chunks_exact(forward.dims().output()).zip(b.chunks_exact(backward.dims().output()));
            rows.flat_map(|(a, b)| [a, b].concat()).collect()
        }
        Merge::Sum => pairs().map(|(&a, &b)| a + b).collect(),
        Merge::Mul => pairs().map(|(&a, &b)| a * b).collect(),
        Merge::Average => pairs().map(|(&a, &b)| (a + b) * T::from_f64(0.5)).collect(),
    }
}
