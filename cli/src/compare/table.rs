//! The table, in Markdown.

use super::lines::{Case, Lines};
use crate::bench::case::Sizes;
use crate::bench::report::seconds;
use crate::printable::printable;
use anyhow::{Result, ensure};
use std::io::Write;

const HEAD: &str = "\
| cell | I, H, N, T | threads | gatefold | best other | ratio | GFLOP/s | of FMA peak | of limit |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |";

/// A row for each case of ours, and the geometric means of the ratios.
pub fn write(out: &mut dyn Write, lines: &Lines) -> Result<()> {
    let mut means: Vec<(String, Vec<f64>)> = Vec::new();
    let mut rows = 0;
    for case in &lines.cases {
        let Some(ours) = case.ours() else { continue };
        if rows == 0 {
            writeln!(out, "{HEAD}")?;
        }
        rows += 1;
        writeln!(out, "{}", row(case, ours))?;
        if let Some((_, best)) = case.best_peer() {
            let (threads, rows) =
                (plural(case.threads, "thread"), if case.sizes.batch == 1 { "one row" } else { "batches" });
            let group = format!("{threads}, {rows}");
            match means.iter_mut().find(|(known, _)| *known == group) {
                Some((_, ratios)) => ratios.push(best / ours),
                None => means.push((group, vec![best / ours])),
            }
        }
    }
    ensure!(rows > 0, "no line is of gatefold itself");
    if !means.is_empty() {
        writeln!(out, "\nRatios to the best other, geometric means:\n")?;
    }
    for (group, ratios) in means {
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let behind = ratios.iter().filter(|ratio| **ratio < 1.0).count();
        writeln!(out, "- {group}: {mean:.2} over {}, behind in {behind}", plural(ratios.len(), "case"))?;
    }
    Ok(())
}

fn row(case: &Case, ours: f64) -> String {
    let Sizes { input, hidden, batch, time } = case.sizes;
    let (best, ratio) = match case.best_peer() {
        Some((peer, best)) => (format!("{}, {}", seconds(best), printable(peer)), format!("{:.2}", best / ours)),
        None => ("–".to_owned(), "–".to_owned()),
    };
    let gflops = case.gflops(ours);
    let percent = |part: Option<f64>| part.map_or("–".to_owned(), |part| format!("{:.0} %", 100.0 * part));
    let (of_peak, of_limit) = (percent(case.of_peak()), percent(case.of_limit()));
    format!(
        "| {} | {input}, {hidden}, {batch}, {time} | {} | {} | {best} | {ratio} | {gflops:.1} | {of_peak} | {of_limit} |",
        case.cell.name(),
        case.threads,
        seconds(ours),
    )
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
