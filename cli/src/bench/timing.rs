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

/// A sample of a rate: long enough for the clock, and so short that some are not interrupted on a busy machine.
const SAMPLE: f64 = 5e-4;

const FEWEST_ROUNDS: usize = 7;

/// How often to repeat something.
#[derive(Clone, Copy, Debug)]
pub struct Repetition {
    /// Calls in a sample.
    pub calls: usize,
    /// Samples.
    pub rounds: usize,
}

impl Repetition {
    /// Samples of half a millisecond, or of one call that takes longer, for about `budget` seconds.
    pub fn calibrated(budget: f64, work: &mut impl FnMut() -> f64) -> Repetition {
        let mut calls = 1;
        let seconds = loop {
            let start = Instant::now();
            Sample::of(calls, work);
            let seconds = start.elapsed().as_secs_f64();
            if seconds >= SAMPLE || calls >= 1 << 30 {
                break seconds;
            }
            calls *= 2;
        };
        Repetition { calls, rounds: ((budget / seconds) as usize).max(FEWEST_ROUNDS) }
    }
}

/// What some calls did, and when.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub start: Instant,
    pub end: Instant,
    /// The sum of what the calls returned.
    pub amount: f64,
}

impl Sample {
    pub fn of(calls: usize, work: &mut impl FnMut() -> f64) -> Sample {
        let start = Instant::now();
        let amount = (0..calls).map(|_| work()).sum();
        Sample { start, end: Instant::now(), amount }
    }

    /// What samples beside each other did in a second, from the first start to the last end.
    pub fn rate(samples: &[Sample]) -> f64 {
        let start = samples.iter().map(|sample| sample.start).min();
        let end = samples.iter().map(|sample| sample.end).max();
        let seconds = start.zip(end).map_or(0.0, |(start, end)| end.duration_since(start).as_secs_f64());
        samples.iter().map(|sample| sample.amount).sum::<f64>() / seconds.max(1e-9)
    }
}

/// How much of what `work` returns is done in a second: the best of many samples, since others on the machine can only
/// slow it down.
pub fn best_rate(budget: f64, mut work: impl FnMut() -> f64) -> f64 {
    let Repetition { calls, rounds } = Repetition::calibrated(budget, &mut work);
    (0..rounds).map(|_| Sample::rate(&[Sample::of(calls, &mut work)])).fold(0.0, f64::max)
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
        let rate = best_rate(1e-3, || {
            std::thread::sleep(Duration::from_millis(1));
            5.0
        });
        assert!(rate > 0.0 && rate <= 5000.0, "{rate}");
    }

    #[test]
    fn samples_beside_each_other_add_up_from_first_to_last() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let sample = |from, to, amount| Sample { start: at(from), end: at(to), amount };
        assert_eq!(Sample::rate(&[sample(0, 2, 6.0), sample(1, 4, 2.0)]), 2.0);
        assert_eq!(Sample::rate(&[]), 0.0);
    }
}
