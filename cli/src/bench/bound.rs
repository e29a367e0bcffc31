//! The time that a case takes at least on this machine.

use super::case::{Case, CellName, Dtype, Mode, Sizes};
use super::level::Level;
use super::{epilogue, limits};
use anyhow::Result;
use gatefold::{Caches, Isa};
use gatefold_kernels::isa::Dispatch;

/// The limits of the machine, each measured when it is first asked for.
#[derive(Debug)]
pub struct Bounds {
    pub isa: Isa,
    caches: Caches,
    /// Seconds for each measurement.
    budget: f64,
    measured: Vec<(Limit, f64)>,
}

/// What the machine could do of a case at most.
#[derive(Clone, Copy, Debug)]
pub struct AtMost {
    /// The least time of a call.
    pub seconds: f64,
    /// Floating-point operations a second of its threads' multiply-adds.
    pub rate: f64,
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Floating-point operations a second, of so many threads together.
    MultiplyAdds(Dtype, usize),
    /// Seconds until the result of a multiply-add can be used.
    Latency(Dtype),
    /// Bytes a second, of so many threads together.
    Reading(Level, usize),
    /// Seconds of one thread for a vector of hidden units, beside the products.
    Epilogue(Dtype, CellName),
}

impl Bounds {
    /// `budget`: seconds for a case, a fifth of which goes to each limit.
    pub fn new(isa: Isa, budget: f64) -> Self {
        Bounds { isa, caches: Caches::of_machine(), budget: (budget / 5.0).min(0.2), measured: Vec::new() }
    }

    /// The value of a limit.
    pub fn get(&mut self, limit: Limit) -> Result<f64> {
        if let Some((_, value)) = self.measured.iter().find(|(known, _)| *known == limit) {
            return Ok(*value);
        }
        let (isa, budget) = (self.isa, self.budget);
        let value = match limit {
            Limit::MultiplyAdds(Dtype::F32, threads) => limits::multiply_adds::<f32>(isa, threads, budget)?,
            Limit::MultiplyAdds(Dtype::F64, threads) => limits::multiply_adds::<f64>(isa, threads, budget)?,
            Limit::Latency(Dtype::F32) => limits::latency::<f32>(isa, budget),
            Limit::Latency(Dtype::F64) => limits::latency::<f64>(isa, budget),
            Limit::Reading(level, threads) => limits::reading(isa, level, threads, budget)?,
            Limit::Epilogue(Dtype::F32, cell) => epilogue::seconds_a_vector::<f32>(isa, cell, budget)?,
            Limit::Epilogue(Dtype::F64, cell) => epilogue::seconds_a_vector::<f64>(isa, cell, budget)?,
        };
        self.measured.push((limit, value));
        Ok(value)
    }

    /// Floating-point operations a second that multiply-adds of a case's type on its threads reach.
    pub fn peak(&mut self, case: Case) -> Result<f64> {
        self.get(Limit::MultiplyAdds(case.dtype, case.threads))
    }

    /// The input product at the peak of multiply-adds; then in each step the longest of the recurrent product at that
    /// peak, reading R and the state from the level that they sit in, and a chain of H multiply-adds each waiting for
    /// the one before; and the activations. Threads share everything but the chain. Of training only the products at the
    /// peak of multiply-adds count.
    pub fn seconds(&mut self, case: Case) -> Result<f64> {
        let Case { cell, sizes: Sizes { hidden, batch, time, .. }, threads, dtype, mode } = case;
        let peak = self.peak(case)?;
        if mode == Mode::Train {
            return Ok(case.flops() / peak);
        }
        let lanes = match dtype {
            Dtype::F32 => <f32 as Dispatch>::lanes(self.isa),
            Dtype::F64 => <f64 as Dispatch>::lanes(self.isa),
        };
        let level = Level::of(self.caches, case.step_bytes(), threads);
        let terms = Terms {
            peak,
            bandwidth: self.get(Limit::Reading(level, threads))?,
            chain: hidden as f64 * self.get(Limit::Latency(dtype))?,
            epilogue: (batch * hidden.div_ceil(lanes)) as f64 * self.get(Limit::Epilogue(dtype, cell))?
                / threads as f64,
        };
        Ok(time as f64 * terms.step(case.input_flops(), case.recurrent_flops(), case.step_bytes()))
    }
}

/// What bounds a step.
struct Terms {
    /// Operations a second.
    peak: f64,
    /// Bytes a second.
    bandwidth: f64,
    /// Seconds.
    chain: f64,
    /// Seconds.
    epilogue: f64,
}

impl Terms {
    fn step(&self, input_flops: f64, recurrent_flops: f64, bytes: f64) -> f64 {
        let recurrent = (recurrent_flops / self.peak).max(bytes / self.bandwidth).max(self.chain);
        input_flops / self.peak + recurrent + self.epilogue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_term_of_the_recurrence_counts() {
        let terms = Terms { peak: 10.0, bandwidth: 100.0, chain: 3.0, epilogue: 0.5 };
        assert_eq!(terms.step(20.0, 50.0, 100.0), 2.0 + 5.0 + 0.5);
        assert_eq!(terms.step(20.0, 10.0, 700.0), 2.0 + 7.0 + 0.5);
        assert_eq!(terms.step(20.0, 10.0, 100.0), 2.0 + 3.0 + 0.5);
    }

    #[test]
    fn a_limit_is_measured_once() {
        let mut bounds = Bounds::new(Isa::available()[0], 1e-3);
        let limit = Limit::Latency(Dtype::F32);
        let first = bounds.get(limit).unwrap();
        assert!(first > 0.0 && first < 1e-3, "{first}");
        assert_eq!(bounds.get(limit).unwrap().to_bits(), first.to_bits());
    }
}
