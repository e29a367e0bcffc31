//! The backward driver: steps from the last one walked to the first, then the products over all of them.

mod factor;
mod noise;
mod products;
mod steps;

pub(crate) use factor::Engine;

use crate::error::Result;
use crate::grads::{Accumulate, Grads, Upstream};
use crate::schedule::{self, Threads};
use crate::tape::{Call, Tape};
use crate::weights::Weights;
use factor::Factors;
use gatefold_kernels::isa::Isa;
use gatefold_kernels::real::Real;

/// A backward pass: over what was recorded of `call`, with the weights that it was recorded with.
pub(crate) struct Pass<'a, T> {
    pub(crate) weights: &'a Weights<T>,
    /// Of what is not a product.
    pub(crate) isa: Isa,
    pub(crate) engine: Engine<'a, T>,
    pub(crate) threads: Threads,
    pub(crate) call: Call,
}

impl<T: Real> Pass<'_, T> {
    /// Fills `grads` with what `upstream`, whose sizes were checked, says. The gates on the tape become their gradients.
    pub(crate) fn run(
        &self,
        tape: &mut Tape<T>,
        upstream: Upstream<'_, T>,
        grads: &mut Grads<T>,
        accumulate: Accumulate,
    ) -> Result<()> {
        let Call { dims, time, batch, .. } = self.call;
        grads.prepare(dims, [time, batch], self.weights, accumulate)?;
        for (to, from) in [(&mut grads.dh0, upstream.dh), (&mut grads.dc0, upstream.dc)] {
            if let Some(from) = from {
                to.copy_from_slice(from);
            }
        }
        if time == 0 || batch == 0 {
            return Ok(());
        }
        let mut panels = tape.take_panels();
        let parts = self.threads.plan(dims, time, batch, size_of::<T>()).parts;
        let result = schedule::inside(parts, || {
            let factors = Factors::new(self, &mut panels)?;
            steps::run(self, &factors, parts, tape, upstream, grads)?;
            products::run(self, &factors, tape, grads, accumulate == Accumulate::Add)
        });
        tape.give_panels(panels);
        result
    }
}
