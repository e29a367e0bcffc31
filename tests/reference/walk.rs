//! A sequence, row by row and step by step: lengths, masks, directions.

use super::cells::{State, Steps};
use super::{Cell, Largest, Layer, Options, Sequence};

/// What there is to say about a sequence beside its values.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    pub rows: Rows,
    pub direction: Direction,
    /// `[T, N]`; empty: 0 everywhere.
    pub attention: Vec<f64>,
}

/// Which rows take part in which steps.
#[derive(Clone, Debug, Default)]
pub enum Rows {
    #[default]
    All,
    /// Row n has `lengths[n]` steps.
    Lengths(Vec<usize>),
    /// `[T, N]`
    Mask(Vec<bool>, Masked),
}

/// What comes out where a mask is false.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Masked {
    /// What came out last, zeros at first.
    Repeat,
    Zero,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Direction {
    #[default]
    Forward,
    Reverse(Order),
}

/// Where what comes out of a walk from the last step to the first stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// Where its input stands.
    Input,
    /// In the order in which it came.
    Processing,
}

/// What comes out. C is P where there is a projection, else H.
#[derive(Clone, Debug, PartialEq)]
pub struct Walked {
    /// `[T, N, C]`
    pub y: Vec<f64>,
    /// `[N, C]`: the final h, but under a mask zeros for a row without a step.
    pub last: Vec<f64>,
    /// `[N, C]`
    pub h: Vec<f64>,
    /// `[N, H]` of an LSTM, else empty.
    pub c: Vec<f64>,
    pub largest: Largest,
}

impl Layer {
    /// Runs the layer with options over a sequence of which there is more to say.
    pub fn walk(&self, options: &Options, sequence: &Sequence, walk: &Walk) -> Walked {
        let channels = options.projection.as_ref().map_or(self.hidden, |p| p.len() / self.hidden);
        self.check(options, sequence, walk, channels);
        let mut steps = Steps::new(self, options);
        let mut out = Walked {
            y: vec![f64::NAN; sequence.time * sequence.batch * channels],
            last: vec![],
            h: vec![],
            c: vec![],
            largest: Largest::default(),
        };
        for n in 0..sequence.batch {
            self.row(&mut steps, sequence, walk, n, channels, &mut out);
        }
        Walked { largest: steps.largest, ..out }
    }

    /// Row n from its first step to its last, or the other way.
    fn row(&self, steps: &mut Steps, sequence: &Sequence, walk: &Walk, n: usize, channels: usize, out: &mut Walked) {
        let (time, batch) = (sequence.time, sequence.batch);
        let row_of = |plane: &Option<Vec<f64>>, units: usize| match plane {
            Some(values) => values[n * units..(n + 1) * units].to_vec(),
            None => vec![0.0; units],
        };
        let mut state = State { h: row_of(&sequence.h0, channels), c: row_of(&sequence.c0, self.hidden) };
        let mut output = vec![0.0; channels];
        let mut any = false;
        for s in 0..time {
            let t = if walk.direction == Direction::Forward { s } else { time - 1 - s };
            let takes_part = match &walk.rows {
                Rows::All => true,
                Rows::Lengths(lengths) => t < lengths[n],
                Rows::Mask(mask, _) => mask[t * batch + n],
            };
            if takes_part {
                let x = &sequence.x[(t * batch + n) * self.input..][..self.input];
                let attention = walk.attention.get(t * batch + n).copied().unwrap_or(0.0);
                state = steps.step(x, attention, &state);
                for value in state.h.iter_mut().chain(&mut state.c) {
                    if value.abs() < sequence.flush {
                        *value = 0.0;
                    }
                }
                output.copy_from_slice(&state.h);
                any = true;
            } else if !matches!(walk.rows, Rows::Mask(_, Masked::Repeat)) {
                output.fill(0.0);
            }
            let place = if walk.direction == Direction::Reverse(Order::Processing) { s } else { t };
            out.y[(place * batch + n) * channels..][..channels].copy_from_slice(&output);
        }
        let masked_out = matches!(walk.rows, Rows::Mask(..)) && !any;
        out.last.extend(state.h.iter().map(|h| if masked_out { 0.0 } else { *h }));
        out.h.extend(state.h);
        out.c.extend(state.c.into_iter().filter(|_| self.cell == Cell::Lstm));
    }

    /// Panics where lengths do not fit: a test is wrong then.
    fn check(&self, options: &Options, sequence: &Sequence, walk: &Walk, channels: usize) {
        let (rows, steps) = (self.cell.gates() * self.hidden, sequence.time * sequence.batch);
        assert_eq!(self.w.len(), rows * self.input, "w [G*H, I]");
        assert_eq!(self.r.len(), rows * channels, "r [G*H, C]");
        assert_eq!(self.b_w.len(), rows, "b_w [G*H]");
        assert_eq!(self.b_r.len(), rows, "b_r [G*H]");
        assert_eq!(sequence.x.len(), steps * self.input, "x [T, N, I]");
        let lstm = self.cell == Cell::Lstm;
        assert!(sequence.c0.is_none() || lstm, "c0 is for an LSTM");
        for (plane, units) in [(&sequence.h0, channels), (&sequence.c0, self.hidden)] {
            assert!(plane.as_ref().is_none_or(|plane| plane.len() == sequence.batch * units), "h0 [N, C], c0 [N, H]");
        }
        let of_lstm = options.coupled || options.peepholes.is_some() || options.projection.is_some();
        assert!(lstm || !of_lstm, "coupled gates, peepholes and projections are for an LSTM");
        assert!(options.peepholes.as_ref().is_none_or(|peepholes| peepholes.len() == 3 * self.hidden), "[3*H]");
        assert!(matches!(self.cell, Cell::Gru(..)) || !options.attended, "attention is for a GRU");
        assert_eq!(walk.attention.len(), if options.attended { steps } else { 0 }, "attention [T, N]");
        match &walk.rows {
            Rows::All => {}
            Rows::Lengths(lengths) => {
                assert_eq!(lengths.len(), sequence.batch, "lengths [N]");
                assert!(lengths.iter().all(|&length| length <= sequence.time), "lengths are at most T");
            }
            Rows::Mask(mask, _) => assert_eq!(mask.len(), steps, "mask [T, N]"),
        }
    }
}
