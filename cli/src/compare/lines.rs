//! Lines of results, of gatefold and of others, as cases with the times of each library.

use crate::bench::case::{CellName, Sizes};
use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// What gatefold's own lines name as the library.
pub const OURS: &str = "gatefold";

/// Which lines count.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    /// None: all.
    pub cells: &'a [CellName],
    pub mode: &'a str,
    pub dtype: &'a str,
    /// Beside gatefold; none: all.
    pub peers: &'a [String],
}

/// A line that has a time.
#[derive(Debug, Deserialize)]
struct Timed {
    peer: String,
    mode: String,
    dtype: String,
    cell: String,
    #[serde(flatten)]
    sizes: Sizes,
    threads: usize,
    median_s: f64,
    limit_s: Option<f64>,
    peak_gflops: Option<f64>,
    backend: Option<String>,
}

/// What was measured, in the order of the lines.
#[derive(Debug, Default)]
pub struct Lines {
    pub cases: Vec<Case>,
}

/// A case, and what each library took for it.
#[derive(Debug)]
pub struct Case {
    pub cell: CellName,
    pub sizes: Sizes,
    pub threads: usize,
    /// Of the products: 2 T N G H (I + H), three times that in training.
    flops: f64,
    /// Seconds of each library, of every run.
    times: Vec<(String, Vec<f64>)>,
    /// Each of ours.
    pub runs: Vec<Run>,
}

/// A run of ours, and what was measured beside it.
#[derive(Debug)]
pub struct Run {
    seconds: f64,
    /// Seconds that the machine needs at least.
    limit: Option<f64>,
    /// GFLOP/s of multiply-adds alone.
    pub peak: Option<f64>,
}

impl Lines {
    /// Reads files of lines. Lines of other modes, types and libraries than `filter` wants are left out, and so are lines
    /// that say why there is no time.
    pub fn read(files: &[PathBuf], filter: Filter<'_>) -> Result<Lines> {
        let mut lines = Lines::default();
        for path in files {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                lines.add(line, filter).with_context(|| format!("{}, line {}", path.display(), index + 1))?;
            }
        }
        ensure!(!lines.cases.is_empty(), "no line has a time for --mode {} --dtype {}", filter.mode, filter.dtype);
        Ok(lines)
    }

    fn add(&mut self, line: &str, filter: Filter<'_>) -> Result<()> {
        let line: Value = serde_json::from_str(line)?;
        if line.get("limit").is_some() || line.get("error").is_some() {
            return Ok(());
        }
        let timed = Timed::deserialize(line)?;
        if timed.mode != filter.mode || timed.dtype != filter.dtype {
            return Ok(());
        }
        let Ok(cell) = CellName::from_str(&timed.cell, false) else { bail!("cell {:?} is unknown", timed.cell) };
        // Our layers with other libraries' products are libraries of their own.
        let peer = match &timed.backend {
            Some(backend) if timed.peer == OURS && backend != "native" => format!("{OURS}+{backend}"),
            _ => timed.peer.clone(),
        };
        let wanted = peer == OURS || filter.peers.is_empty() || filter.peers.contains(&peer);
        if wanted && (filter.cells.is_empty() || filter.cells.contains(&cell)) {
            self.case(cell, &timed)?.add(peer, &timed);
        }
        Ok(())
    }

    /// The case that a line is of.
    fn case(&mut self, cell: CellName, timed: &Timed) -> Result<&mut Case> {
        let &Timed { sizes, threads, median_s, .. } = timed;
        let Sizes { input, hidden, batch, time } = sizes;
        let rates = [("median_s", Some(median_s)), ("limit_s", timed.limit_s), ("peak_gflops", timed.peak_gflops)];
        for (name, value) in rates.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            ensure!(value > 0.0 && value.is_finite(), "{name} is {value}");
        }
        for (name, size) in [("I", input), ("H", hidden), ("B", batch), ("T", time), ("threads", threads)] {
            ensure!(size > 0, "{name} is 0");
        }
        let found = self.cases.iter().position(|c| (c.cell, c.sizes, c.threads) == (cell, sizes, threads));
        let at = found.unwrap_or_else(|| {
            let passes = if timed.mode == "train" { 3 } else { 1 };
            let [t, n, i, h, g] = [time, batch, input, hidden, passes * cell.cell().gates()].map(|size| size as f64);
            let flops = 2.0 * t * n * g * h * (i + h);
            self.cases.push(Case { cell, sizes, threads, flops, times: Vec::new(), runs: Vec::new() });
            self.cases.len() - 1
        });
        Ok(&mut self.cases[at])
    }
}

impl Case {
    fn add(&mut self, peer: String, timed: &Timed) {
        let seconds = timed.median_s;
        if peer == OURS {
            self.runs.push(Run { seconds, limit: timed.limit_s, peak: timed.peak_gflops });
        }
        match self.times.iter_mut().find(|(known, _)| *known == peer) {
            Some((_, times)) => times.push(seconds),
            None => self.times.push((peer, vec![seconds])),
        }
    }

    /// Every library that was timed, with its seconds.
    pub fn medians(&self) -> impl Iterator<Item = (&str, f64)> {
        self.times.iter().map(|(peer, times)| (peer.as_str(), median(times)))
    }

    /// Our seconds.
    pub fn ours(&self) -> Option<f64> {
        self.medians().find(|(peer, _)| *peer == OURS).map(|(_, seconds)| seconds)
    }

    /// The fastest other library and its seconds.
    pub fn best_peer(&self) -> Option<(&str, f64)> {
        self.medians().filter(|(peer, _)| *peer != OURS).min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// The part of the peak of multiply-adds that is reached.
    pub fn of_peak(&self) -> Option<f64> {
        self.part(|run| run.peak.map(|peak| self.gflops(run.seconds) / peak))
    }

    /// The part of the machine's limit that is reached.
    pub fn of_limit(&self) -> Option<f64> {
        self.part(|run| run.limit.map(|limit| limit / run.seconds))
    }

    /// The median of what runs reached.
    fn part(&self, of: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        let parts: Vec<f64> = self.runs.iter().filter_map(of).collect();
        (!parts.is_empty()).then(|| median(&parts))
    }

    /// Speed of a call that takes so many seconds.
    pub fn gflops(&self, seconds: f64) -> f64 {
        self.flops / seconds / 1e9
    }
}

/// The middle one, or between the middle two; there is at least one.
fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Filter<'_> = Filter { cells: &[], mode: "infer", dtype: "f32", peers: &[] };

    fn line(peer: &str, median: f64) -> String {
        format!(
            r#"{{"peer": "{peer}", "mode": "infer", "dtype": "f32", "cell": "gru", "I": 3, "H": 5, "B": 2, "T": 4,
            "threads": 1, "median_s": {median}, "limit_s": 0.5, "peak_gflops": 1e-6}}"#
        )
    }

    #[test]
    fn runs_of_a_case_become_their_median() {
        let mut lines = Lines::default();
        for (peer, median) in [("gatefold", 3.0), ("slow", 9.0), ("gatefold", 1.0), ("fast", 2.0), ("gatefold", 8.0)] {
            lines.add(&line(peer, median), ALL).unwrap();
        }
        let [case] = &lines.cases[..] else { panic!("{lines:?}") };
        assert_eq!((case.ours(), case.best_peer(), case.of_limit()), (Some(3.0), Some(("fast", 2.0)), Some(0.5 / 3.0)));
        assert_eq!(case.of_peak(), Some(case.gflops(3.0) / 1e-6));
        // 2 T N G H (I + H) in 3 seconds.
        assert_eq!(case.gflops(3.0), 2.0 * 4.0 * 2.0 * 3.0 * 5.0 * 8.0 / 3.0 / 1e9);
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), 3.0);
    }

    #[test]
    fn a_filter_leaves_out() {
        let (cells, peers) = ([CellName::Lstm], ["fast".to_owned()]);
        for (filter, cases, others) in [
            (ALL, 1, 3),
            (Filter { mode: "train", ..ALL }, 0, 0),
            (Filter { dtype: "f64", ..ALL }, 0, 0),
            (Filter { cells: &cells, ..ALL }, 0, 0),
            (Filter { peers: &peers, ..ALL }, 1, 2),
        ] {
            let mut lines = Lines::default();
            for peer in ["gatefold", "slow", "fast"] {
                lines.add(&line(peer, 1.0), filter).unwrap();
            }
            let found = lines.cases.iter().map(|case| case.medians().count()).sum::<usize>();
            assert_eq!((lines.cases.len(), found), (cases, others), "{filter:?}");
        }
    }

    #[test]
    fn limits_and_errors_are_passed_over() {
        let mut lines = Lines::default();
        for line in [r#"{"limit": "f32_fma_avx2_gflops", "c1": 90.0}"#, r#"{"peer": "x", "error": "no such cell"}"#] {
            lines.add(line, ALL).unwrap();
        }
        assert!(lines.cases.is_empty());
    }
}
