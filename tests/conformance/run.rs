//! A case through the library, in every form that its sequence can take.

use crate::cases::pass::{Call, Found, Merge, Pass, Rows, Sizes};
use crate::model::{stack, to};
use gatefold::seq::{MatRef, batch_major, batch_major_mut, directions_mut, time_major, time_major_mut};
use gatefold::{Direction as Walk, Element, Input, Level, Masked, Options, Output, Result, Stack, StackState};

/// Runs every call of a case and compares.
pub fn check<T: Element>(pass: &Pass<'_>, options: Options) -> std::result::Result<(), String> {
    let text = |e: gatefold::Error| e.to_string();
    let stack = stack::<T>(pass, options).map_err(text)?;
    let x = to::<T>(&pass.x);
    for (k, call) in pass.calls.iter().enumerate() {
        let initial = initial(&stack, pass, call).map_err(text)?;
        let run = Run { pass, stack: &stack, x: &x, initial: &initial };
        let whole = run.whole().map_err(text)?;
        pass.compare(k, &whole)?;
        if run.alone().map_err(text)?.is_some_and(|alone| alone != whole) {
            return Err(format!("call {k}: the layer alone gives other bits"));
        }
        if let Rows::Lengths(lengths) = &pass.rows {
            let packed = run.packed(lengths).map_err(text)?;
            pass.compare(k, &packed).map_err(|e| format!("packed: {e}"))?;
        }
    }
    Ok(())
}

/// All outputs of the first call, computed in f64.
pub fn exact(pass: &Pass<'_>) -> Result<Vec<f64>> {
    let (stack, x) = (stack::<f64>(pass, Options::default())?, to::<f64>(&pass.x));
    let initial = initial(&stack, pass, &pass.calls[0])?;
    Ok(Run { pass, stack: &stack, x: &x, initial: &initial }.whole()?.y)
}

fn initial<T: Element>(stack: &Stack<T>, pass: &Pass<'_>, call: &Call) -> Result<StackState<T>> {
    let mut state = stack.state(pass.sizes.batch)?;
    if let Some(h0) = &call.h0 {
        state.set_h(&to::<T>(h0))?;
    }
    if let Some(c0) = &call.c0 {
        state.set_c(&to::<T>(c0))?;
    }
    Ok(state)
}

/// What a call has.
struct Run<'a, T> {
    pass: &'a Pass<'a>,
    stack: &'a Stack<T>,
    x: &'a [T],
    initial: &'a StackState<T>,
}

impl<T: Element> Run<'_, T> {
    /// As the case has it: outputs in the layout of its y, and the last one.
    fn whole(&self) -> Result<Found> {
        self.with_input(|input| {
            let Sizes { time, batch, .. } = self.pass.sizes;
            let channels = self.pass.channels();
            let mut y = vec![T::NAN; time * batch * channels];
            let (mut state, mut workspace) = (self.initial.clone(), self.stack.workspace(time, batch)?);
            let both = self.pass.levels.last().is_some_and(|top| top.len() == 2);
            match self.pass.merge {
                Merge::Directions if both => {
                    let ys = directions_mut(&mut y, [time, batch, channels / 2])?.map(Output::Sequence);
                    self.stack.forward_apart(input, &mut state, ys, &mut workspace)?;
                }
                Merge::Apart => {
                    let (forward, backward) = y.split_at_mut(time * batch * channels / 2);
                    let sequence = |y| batch_major_mut(y, [batch, time, channels / 2]).map(Output::Sequence);
                    let ys = [sequence(forward)?, sequence(backward)?];
                    self.stack.forward_apart(input, &mut state, ys, &mut workspace)?;
                }
                _ => {
                    let y = match self.pass.batch_first {
                        true => batch_major_mut(&mut y, [batch, time, channels])?,
                        false => time_major_mut(&mut y, [time, batch, channels])?,
                    };
                    self.stack.forward_into(input, &mut state, Output::Sequence(y), &mut workspace)?;
                }
            }
            let last = self.stack.forward_last(input, Some(self.initial))?;
            assert_eq!(found(vec![], vec![], &last.state), found(vec![], vec![], &state), "{}", self.pass.name);
            Ok(found(y, last.y, &state))
        })
    }

    /// Without a stack, if there is one layer in one direction.
    fn alone(&self) -> Result<Option<Found>> {
        let [Level::One { layer, direction }] = self.stack.levels() else { return Ok(None) };
        let mut states = self.initial.clone();
        self.with_input(|input| {
            let input = match direction {
                Walk::Forward => input,
                Walk::Reverse(order) => input.reverse(*order),
            };
            let initial = &self.initial.states()[0];
            let (all, last) = (layer.forward(input, Some(initial))?, layer.forward_last(input, Some(initial))?);
            states.states_mut()[0] = all.state;
            Ok(Some(found(all.y, last.y, &states)))
        })
    }

    /// Packed: rows by decreasing length, and no padding.
    fn packed(&self, lengths: &[usize]) -> Result<Found> {
        let Sizes { time, input, .. } = self.pass.sizes;
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&n| std::cmp::Reverse(lengths[n]));
        let rows_at = |t: usize| order.iter().copied().filter(move |&n| lengths[n] > t);
        let steps: Vec<(usize, usize)> = (0..time).flat_map(|t| rows_at(t).map(move |n| (t, n))).collect();
        let batch_sizes: Vec<usize> = (0..time).map(|t| rows_at(t).count()).collect();

        let x = self.sequence()?;
        let data: Vec<T> = steps.iter().flat_map(|&(t, n)| x.row(t, n).expect("a row")).copied().collect();
        let packed = Input::packed(MatRef::dense(&data, steps.len(), input)?, &batch_sizes);
        let initial = self.initial.gather(&order)?;
        let all = self.stack.forward(packed, Some(&initial))?;
        let last = self.stack.forward_last(packed, Some(&initial))?;

        let channels = self.pass.channels();
        let mut y = vec![T::ZERO; time * lengths.len() * channels];
        for (&(t, n), row) in steps.iter().zip(all.y.chunks_exact(channels)) {
            for (c, &value) in row.iter().enumerate() {
                y[self.pass.place(t, n, c)] = value;
            }
        }
        let mut last_y = vec![T::NAN; last.y.len()];
        for (&n, row) in order.iter().zip(last.y.chunks_exact(channels)) {
            last_y[n * channels..][..channels].copy_from_slice(row);
        }
        let mut state = self.initial.clone();
        state.scatter(&order, &all.state)?;
        Ok(found(y, last_y, &state))
    }

    fn sequence(&self) -> Result<gatefold::seq::SeqRef<'_, T>> {
        let Sizes { time, batch, input } = self.pass.sizes;
        match self.pass.batch_first {
            true => batch_major(self.x, [batch, time, input]),
            false => time_major(self.x, [time, batch, input]),
        }
    }

    /// x and what the case says about its rows.
    fn with_input<R>(&self, run: impl FnOnce(Input<'_, T>) -> Result<R>) -> Result<R> {
        let Sizes { time, batch, .. } = self.pass.sizes;
        let x = Input::from(self.sequence()?);
        match &self.pass.rows {
            Rows::All => run(x),
            Rows::Lengths(lengths) => run(x.lengths(lengths)),
            Rows::Mask(mask, zero) => {
                let masked = if *zero { Masked::Zero } else { Masked::Repeat };
                run(x.mask(batch_major(mask, [batch, time, 1])?, masked))
            }
        }
    }
}

fn found<T: Element>(y: Vec<T>, last: Vec<T>, state: &StackState<T>) -> Found {
    let [y, last, h, c] =
        [y, last, state.h_to_vec(), state.c_to_vec()].map(|values| values.iter().map(|v| v.to_f64()).collect());
    Found { y, last, h, c }
}
