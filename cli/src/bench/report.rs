//! Results: tables with bars for people, lines of JSON for programs.

use super::bars::bar;
use super::bound::{AtMost, Bounds, Limit};
use super::case::{Case, CellName, Dtype, Sizes};
use super::level::Level;
use super::subject::Timed;
use crate::arguments::Engine;
use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use std::io::Write;

/// Characters of a whole bar.
const BAR: usize = 25;

/// A result as programs read it, field by field what comparable benchmarks print of other libraries.
#[derive(Debug, Serialize)]
struct Line<'a> {
    peer: &'a str,
    mode: &'a str,
    dtype: &'a str,
    cell: &'a str,
    #[serde(flatten)]
    sizes: Sizes,
    threads: usize,
    median_s: f64,
    min_s: f64,
    n: usize,
    err: f64,
    gflops: f64,
    percent_of_limit: f64,
    limit_s: f64,
    /// Of multiply-adds in registers alone, beside this case.
    peak_gflops: f64,
    isa: &'a str,
    backend: &'a str,
    /// Of OpenBLAS: the processor whose kernels ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    blas_core: Option<String>,
}

/// What stands above the table.
pub fn header(out: &mut dyn Write, engine: &Engine) -> Result<()> {
    let kernels = match engine.blas_core() {
        // It may have chosen those of a processor much older than this one.
        Some(core) if std::env::var_os("OPENBLAS_CORETYPE").is_none() => {
            format!(" (kernels for {core}; OPENBLAS_CORETYPE, which would choose others, is not set)")
        }
        Some(core) => format!(" (kernels for {core})"),
        None => String::new(),
    };
    writeln!(out, "{}{kernels} on {}", engine.backend_name(), engine.isa()?.name())?;
    let columns = ("cell", "dtype", "threads", "I-H-N-T", "median", "GFLOP/s", "of limit", "error");
    let (cell, dtype, threads, sizes, median, gflops, limit, error) = columns;
    let empty = "";
    Ok(writeln!(
        out,
        "{cell:4} {dtype:5} {threads:7} {sizes:>16} {median:>11} {gflops:>8} {limit:>9} {empty:BAR$} {error:>8}"
    )?)
}

/// One result.
pub fn result(
    out: &mut dyn Write,
    case: Case,
    engine: &Engine,
    timed: Timed,
    at_most: AtMost,
    json: bool,
) -> Result<()> {
    let (timing, limit) = (timed.timing, at_most.seconds);
    let gflops = case.flops() / timing.median / 1e9;
    let (cell, dtype, threads, err) = (case.cell.name(), case.dtype.name(), case.threads, timed.error);
    if json {
        let line = Line {
            peer: "gatefold",
            mode: case.mode.name(),
            dtype,
            cell,
            sizes: case.sizes,
            threads,
            median_s: timing.median,
            min_s: timing.min,
            n: timing.samples,
            err,
            gflops,
            percent_of_limit: 100.0 * limit / timing.median,
            limit_s: limit,
            peak_gflops: at_most.rate / 1e9,
            isa: engine.isa()?.name(),
            backend: engine.backend_name(),
            blas_core: engine.blas_core(),
        };
        return Ok(writeln!(out, "{}", serde_json::to_string(&line)?)?);
    }
    let (sizes, median, part) = (case.sizes_name(), seconds(timing.median), limit / timing.median);
    let (percent, bar) = (format!("{:.0} %", 100.0 * part), bar(part, BAR));
    Ok(writeln!(
        out,
        "{cell:4} {dtype:5} {threads:7} {sizes:>16} {median:>11} {gflops:8.1} {percent:>9} {bar:BAR$} {err:8.1e}"
    )?)
}

/// Measures and prints every limit, a column for each number of threads.
pub fn limits(out: &mut dyn Write, bounds: &mut Bounds, dtype: Dtype, threads: &[usize], json: bool) -> Result<()> {
    let isa = bounds.isa.name();
    if !json {
        let columns: String = threads.iter().map(|n| format!("{:>12}", format!("{n} thr"))).collect();
        writeln!(out, "{:22}{columns}", format!("limits of {isa}, {}", dtype.name()))?;
    }
    let peak = Row { name: "multiply-adds".into(), key: format!("{}_fma_{isa}_gflops", dtype.name()), unit: "GFLOP/s" };
    let peaks = each(bounds, threads, |threads| Limit::MultiplyAdds(dtype, threads))?;
    peak.write(out, threads, &peaks, 0.0, json)?;
    let mut fastest: f64 = 0.0;
    for level in Level::ALL {
        let rates = each(bounds, threads, |threads| Limit::Reading(level, threads))?;
        fastest = rates.iter().copied().fold(fastest, f64::max);
        let size = bytes(level.sample_bytes());
        let row = Row {
            name: format!("read {}, {size}", level.name()),
            key: format!("read_{}_{}_GBps", level.name(), size.replace(' ', "")),
            unit: "GB/s",
        };
        row.write(out, threads, &rates, fastest, json)?;
    }
    let latency = bounds.get(Limit::Latency(dtype))?;
    time(out, "latency", &format!("{}_fma_latency", dtype.name()), latency, json)?;
    for cell in CellName::ALL {
        let epilogue = bounds.get(Limit::Epilogue(dtype, cell))?;
        let name = cell.name();
        time(out, &format!("epilogue {name}"), &format!("{}_epilogue_{name}", dtype.name()), epilogue, json)?;
    }
    if !json {
        writeln!(out)?;
    }
    Ok(())
}

fn each(bounds: &mut Bounds, threads: &[usize], limit: impl Fn(usize) -> Limit) -> Result<Vec<f64>> {
    threads.iter().map(|&threads| Ok(bounds.get(limit(threads))? / 1e9)).collect()
}

/// Rates on several numbers of threads.
struct Row {
    name: String,
    key: String,
    unit: &'static str,
}

impl Row {
    /// With a bar for the last rate where `whole` is not 0.
    fn write(&self, out: &mut dyn Write, threads: &[usize], rates: &[f64], whole: f64, json: bool) -> Result<()> {
        let Row { name, key, unit } = self;
        if json {
            let mut line = json!({ "limit": key });
            for (threads, rate) in threads.iter().zip(rates) {
                line[format!("c{threads}")] = json!(rate);
            }
            return Ok(writeln!(out, "{line}")?);
        }
        let columns: String = rates.iter().map(|rate| format!("{rate:12.1}")).collect();
        let part = rates.last().map_or(0.0, |rate| rate / whole);
        let bar = if whole > 0.0 { bar(part, BAR) } else { String::new() };
        Ok(writeln!(out, "{name:22}{columns} {unit:8}{bar}")?)
    }
}

/// A limit that is a time.
fn time(out: &mut dyn Write, name: &str, key: &str, value: f64, json: bool) -> Result<()> {
    if json {
        let line = json!({ "limit": format!("{key}_ns"), "c1": 1e9 * value });
        return Ok(writeln!(out, "{line}")?);
    }
    Ok(writeln!(out, "{name:22}{:12.2} ns", 1e9 * value)?)
}

/// A time in the unit that suits it.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.1} ns", 1e9 * s),
        s if s < 1e-3 => format!("{:.2} us", 1e6 * s),
        s if s < 1.0 => format!("{:.2} ms", 1e3 * s),
        s => format!("{s:.2} s"),
    }
}

fn bytes(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KB", bytes >> 10) } else { format!("{} MB", bytes >> 20) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_suit_the_numbers() {
        assert_eq!([5e-8, 5e-5, 0.05, 5.0].map(seconds), ["50.0 ns", "50.00 us", "50.00 ms", "5.00 s"]);
        assert_eq!([16 << 10, 1 << 20].map(bytes), ["16 KB", "1 MB"]);
    }
}
