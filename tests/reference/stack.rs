//! Layers on top of one another, in one direction or in both.

use super::{Direction, Layer, Masked, Options, Order, Rows, Sequence, Walk, Walked};

/// One layer of a stack, in one direction or in both.
#[derive(Clone, Debug)]
pub enum Level {
    One(Box<(Layer, Options)>, Direction),
    Both(Box<[(Layer, Options); 2]>, Merge),
}

/// How what comes out of both directions becomes one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Merge {
    Concat,
    Sum,
    Mul,
    Average,
}

/// The initial h and c of a layer in one direction, `[N, C]` and `[N, H]`; zeros if `None`.
pub type Initial = (Option<Vec<f64>>, Option<Vec<f64>>);

/// Runs x through all levels; returns what the last one gives, y `[T, N, C]` and last `[N, C]`, and h and c of every layer
/// and direction.
pub fn run(levels: &[Level], sequence: &Sequence, walk: &Walk, initial: &[Initial]) -> [Vec<f64>; 4] {
    let mut initial = initial.iter().cloned();
    let (mut x, mut last, mut h, mut c) = (sequence.x.clone(), vec![], vec![], vec![]);
    for level in levels {
        let mut one = |layer: &Layer, options: &Options, direction| {
            let (h0, c0) = initial.next().unwrap_or_default();
            let sequence = Sequence { x: x.clone(), h0, c0, ..sequence.clone() };
            // In both directions, a step that is left out gives zeros: then each stands beside its input.
            let rows = match (&walk.rows, level) {
                (Rows::Mask(mask, _), Level::Both(..)) => Rows::Mask(mask.clone(), Masked::Zero),
                (rows, _) => rows.clone(),
            };
            let attention = if options.attended { walk.attention.clone() } else { vec![] };
            let walked = layer.walk(options, &sequence, &Walk { rows, direction, attention });
            h.extend(&walked.h);
            c.extend(&walked.c);
            walked
        };
        (x, last) = match level {
            Level::One(both, direction) => {
                let (layer, options) = &**both;
                let Walked { y, last, .. } = one(layer, options, *direction);
                (y, last)
            }
            Level::Both(directions, merge) => {
                let [(layer, options), (back, back_options)] = &**directions;
                let forward = one(layer, options, Direction::Forward);
                let backward = one(back, back_options, Direction::Reverse(Order::Input));
                let rows = sequence.batch.max(1);
                let per_row = [forward.last.len() / rows, backward.last.len() / rows];
                let merged = |a: &[f64], b: &[f64]| merge.of(a, b, per_row);
                (merged(&forward.y, &backward.y), merged(&forward.last, &backward.last))
            }
        };
    }
    [x, last, h, c]
}

impl Merge {
    /// Of rows `[.., A]` and `[.., B]`.
    fn of(self, a: &[f64], b: &[f64], [channels_a, channels_b]: [usize; 2]) -> Vec<f64> {
        let pairs = || a.iter().zip(b);
        match self {
            Merge::Concat if a.is_empty() => vec![],
            Merge::Concat => {
                let rows = a.chunks_exact(channels_a).zip(b.chunks_exact(channels_b));
                rows.flat_map(|(a, b)| [a, b].concat()).collect()
            }
            Merge::Sum => pairs().map(|(a, b)| a + b).collect(),
            Merge::Mul => pairs().map(|(a, b)| a * b).collect(),
            Merge::Average => pairs().map(|(a, b)| (a + b) / 2.0).collect(),
        }
    }
}
