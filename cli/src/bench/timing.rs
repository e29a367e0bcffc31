//! Repetition: medians of calls, and the best of rates.

use anyhow::Result;
use std::time::Instant;

/// A sample takes at least this long, so that reading the clock does not show.
const SHORTEST_SAMPLE: f64 = 2e-5;

const FEWEST_SAMPLES: usize = 5;
const MOST_SAMPLES: usize = 5000;

/// Seconds of a call.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    pub median: f64,
    pub min: f64,
    /// Samples taken, each of one call or, where calls are short, of several.
    pub samples: usize,
}

/// Times `call` for about `budget` seconds, after warming up for a quarter of that.
pub fn median(budget: f64, mut call: impl FnMut() -> Result<()>) -> Result<Timing> {
    let mut sample = |calls: usize| {
        let start = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        Ok::<_, anyhow::Error>(start.elapsed().as_secs_f64() / calls as f64)
    };
    sample(1)?;
    let (warm_up, mut calls, mut fastest) = (Instant::now(), 1, f64::INFINITY);
    while fastest.is_infinite() || warm_up.elapsed().as_secs_f64() < (budget / 4.0).min(0.2) {
        fastest = fastest.min(sample(calls)?);
        calls = (SHORTEST_SAMPLE / fastest.max(1e-9)).ceil() as usize;
    }
    let wanted = (budget / (fastest * calls as f64).max(1e-9)) as usize;
    let wanted = wanted.clamp(FEWEST_SAMPLES, MOST_SAMPLES);
    let (start, mut seconds) = (Instant::now(), Vec::with_capacity(wanted));
    while seconds.len() < wanted {
        seconds.push(sample(calls)?);
        // The estimate may have been far too good.
        if seconds.len() >= FEWEST_SAMPLES && start.elapsed().as_secs_f64() > 2.5 * budget {
            break;
        }
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Timing { median: seconds[seconds.len() / 2], min: seconds[0], samples: seconds.len() })
}

/// How much of what `work` returns is done in a second: the best of some samples, since others on the machine can only
/// slow it down. `before_sample` is called before each.
pub fn best_rate(budget: f64, before_sample: impl Fn(), mut work: impl FnMut() -> f64) -> f64 {
    const SAMPLES: usize = 7;
    let mut sample = |calls: usize| {
        let start = Instant::now();
        let amount: f64 = (0..calls).map(|_| work()).sum();
        (amount, start.elapsed().as_secs_f64())
    };
    let mut calls = 1;
    while sample(calls).1 < budget / SAMPLES as f64 && calls < 1 << 30 {
        calls *= 2;
    }
    let rates = (0..SAMPLES).map(|_| {
        before_sample();
        let (amount, seconds) = sample(calls);
        amount / seconds.max(1e-9)
    });
    rates.fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_sample_is_divided_by_its_calls() {
        let mut calls = 0usize;
        let timing = median(0.01, || {
            calls += 1;
            std::thread::sleep(Duration::from_micros(100));
            Ok(())
        });
        let timing = timing.unwrap();
        assert!(timing.min >= 1e-4 && timing.median >= timing.min, "{timing:?}");
        assert!(timing.samples >= FEWEST_SAMPLES && calls > timing.samples, "{timing:?}, {calls} calls");
    }

    #[test]
    fn an_error_ends_it() {
        assert!(median(0.01, || anyhow::bail!("no")).is_err());
    }

    #[test]
    fn a_rate_is_work_in_a_second() {
        let rate = best_rate(
            1e-3,
            || {},
            || {
                std::thread::sleep(Duration::from_millis(1));
                5.0
            },
        );
        assert!(rate > 0.0 && rate <= 5000.0, "{rate}");
    }
}
