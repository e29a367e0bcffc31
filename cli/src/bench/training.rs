//! Training steps: a layer with all that a forward and a backward pass need, its error, and its time.

use super::case::{Case, Sizes};
use super::subject::{Random, Work, largest, layer};
use anyhow::Result;
use gatefold::gemm::Element;
use gatefold::seq::{time_major, time_major_mut};
use gatefold::{Accumulate, Backend, Grads, Layer, Options, Output, State, Tape, Upstream, Workspace};

/// A forward and a backward pass.
pub struct Training<T> {
    case: Case,
    layer: Layer<T>,
    x: Vec<T>,
    y: Vec<T>,
    /// The gradient of y.
    dy: Vec<T>,
    state: State<T>,
    tape: Tape<T>,
    workspace: Workspace<T>,
    grads: Grads<T>,
}

impl<T: Element> Work for Training<T> {
    fn new(case: Case, options: Options) -> Result<Self> {
        let Sizes { input, hidden, batch, time } = case.sizes;
        let mut random = Random(1);
        let layer = layer(case, options, &mut random)?;
        let x = random.values(&[time, batch, input], 1.0)?;
        let dy = random.values(&[time, batch, hidden], 1.0)?;
        let y = random.values(&[time, batch, hidden], 0.0)?;
        let (state, workspace) = (layer.state(batch)?, layer.workspace(time, batch)?);
        Ok(Training { case, layer, x, y, dy, state, tape: Tape::new(), workspace, grads: Grads::new() })
    }

    /// The whole sequence from zeros, and back.
    fn call(&mut self) -> Result<()> {
        let Sizes { input, hidden, batch, time } = self.case.sizes;
        self.state.reset();
        let x = time_major(&self.x, [time, batch, input])?;
        let y = Output::Sequence(time_major_mut(&mut self.y, [time, batch, hidden])?);
        self.layer.record(x, &mut self.state, y, &mut self.tape, &mut self.workspace)?;
        let upstream = Upstream::from(time_major(&self.dy, [time, batch, hidden])?);
        Ok(self.layer.backward(&mut self.tape, upstream, &mut self.grads, Accumulate::Overwrite)?)
    }

    /// Of the gradients of x, W, R and both biases.
    fn error(&mut self, options: Options) -> Result<f64> {
        let mut exact = Training::<f64>::new(self.case, Options { backend: Backend::Native, ..options })?;
        exact.call()?;
        self.call()?;
        let (own, exact) = (&self.grads, &exact.grads);
        let of_arrays = [
            distance(&own.dx, &exact.dx),
            distance(&own.dw, &exact.dw),
            distance(&own.dr, &exact.dr),
            distance(&own.db_w, &exact.db_w),
            distance(&own.db_r, &exact.db_r),
        ];
        Ok(of_arrays.into_iter().fold(0.0, largest))
    }
}

/// The largest distance of a value, as a part of the largest value.
fn distance<T: Element>(values: &[T], exact: &[f64]) -> f64 {
    let most = exact.iter().fold(0.0f64, |most, value| most.max(value.abs()));
    let distances = values.iter().zip(exact).map(|(value, exact)| (value.to_f64() - exact).abs() / most);
    distances.fold(0.0, largest)
}
