//! The results as a picture: for each task the error against the delay, and against the time of training.

use super::experiment::{Kind, Plan, Run};
use super::table::median;
use super::tasks::Task;
use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::path::Path;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Errors below this are drawn here.
const FLOOR: f64 = 5e-4;

/// Pixels above the panels.
const LEGEND: u32 = 30;

fn colour(kind: &Kind) -> RGBColor {
    match kind.cell {
        "SimpleRNN" => RGBColor(0x99, 0x99, 0x99),
        "GRU" => RGBColor(0xd5, 0x5e, 0x00),
        _ => RGBColor(0x00, 0x72, 0xb2),
    }
}

fn label(kind: &Kind) -> String {
    match kind.same_hidden {
        true => format!("{} {}", kind.cell, kind.hidden),
        false => format!("{} of as many parameters", kind.cell),
    }
}

/// Of the decades 1, 2, 5: there is no room for more.
fn delay_label(delay: &f64) -> String {
    let delay = delay.round() as u64;
    let fits = [1, 2, 5].iter().any(|digit| (0..6).any(|power| digit * 10u64.pow(power) == delay));
    if fits { delay.to_string() } else { String::new() }
}

pub fn draw(path: &Path, plan: &Plan, results: &[(Task, Vec<Run>)]) -> Result<()> {
    let height = LEGEND + 400 * results.len() as u32;
    let root = SVGBackend::new(path, (1040, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let (legend, root) = root.split_vertically(LEGEND);
    if let Some((task, _)) = results.first() {
        explain(&legend, &plan.kinds(*task)?)?;
    }
    for ((task, runs), panels) in results.iter().zip(root.split_evenly((results.len(), 2)).chunks(2)) {
        against_delay(&panels[0], plan, *task, runs)?;
        against_time(&panels[1], plan, *task, runs)?;
    }
    root.present()?;
    Ok(())
}

/// What the lines are.
fn explain(area: &Area<'_>, kinds: &[Kind]) -> Result<()> {
    let mut x = 56;
    let mut add = |label: &str, style: ShapeStyle, dashes: [i32; 2]| -> Result<()> {
        for start in (0..24).step_by((dashes[0] + dashes[1]) as usize) {
            area.draw(&PathElement::new([(x + start, 18), (x + (start + dashes[0]).min(24), 18)], style))?;
        }
        area.draw(&Text::new(label.to_owned(), (x + 30, 11), ("sans-serif", 13)))?;
        x += 60 + 7 * label.len() as i32;
        Ok(())
    };
    for kind in kinds {
        let dashes = if kind.same_hidden { [24, 0] } else { [5, 4] };
        add(&label(kind), colour(kind).stroke_width(2), dashes)?;
    }
    add("no memory", BLACK.stroke_width(1), [1, 3])
}

/// The median error in the end of each kind of network, and a dot for each seed.
fn against_delay(area: &Area<'_>, plan: &Plan, task: Task, runs: &[Run]) -> Result<()> {
    let of = |kind: &Kind, delay: usize| {
        let runs = runs.iter().filter(move |run| run.delay == delay);
        runs.filter(|run| run.kind == *kind).map(|run| run.last().max(FLOOR)).collect::<Vec<_>>()
    };
    let mut delays = plan.delays.clone();
    delays.sort_unstable();
    let ends = [delays.first(), delays.last()].map(|delay| delay.copied().unwrap_or(1) as f64);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}: {} in the end", task.name(), task.measure()), ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d((ends[0] * 0.9..ends[1] * 1.1).log_scale(), (FLOOR * 0.8..1.0).log_scale())?;
    chart.configure_mesh().x_desc("delay in steps").x_label_formatter(&delay_label).disable_mesh().draw()?;
    for kind in plan.kinds(task)? {
        let median_of = |&delay: &usize| (delay as f64, median(of(&kind, delay)));
        let points: Vec<_> = delays.iter().map(median_of).collect();
        let dots: Vec<_> =
            delays.iter().flat_map(|&delay| of(&kind, delay).into_iter().map(move |e| (delay as f64, e))).collect();
        let (colour, dashed) = (colour(&kind), !kind.same_hidden);
        chart.draw_series(dots.into_iter().map(|dot| Circle::new(dot, 2, colour.mix(0.5).filled())))?;
        let style = colour.stroke_width(2);
        match dashed {
            true => chart.draw_series(DashedLineSeries::new(points, 5, 4, style))?,
            false => chart.draw_series(LineSeries::new(points, style))?,
        };
    }
    let chance = ends.map(|delay| (delay, task.chance()));
    chart.draw_series(DashedLineSeries::new(chance, 1, 3, BLACK.stroke_width(1)))?;
    Ok(())
}

/// The error of every run at one delay as training goes on.
fn against_time(area: &Area<'_>, plan: &Plan, task: Task, runs: &[Run]) -> Result<()> {
    let mut delays = plan.delays.clone();
    delays.sort_unstable();
    let delay = delays.get(delays.len() * 3 / 4).copied().unwrap_or_default();
    let runs = || runs.iter().filter(|run| run.delay == delay);
    let longest = runs().flat_map(|run| run.errors.last()).map(|&(seconds, _)| seconds).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{}: {} at a delay of {delay}", task.name(), task.measure()), ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..longest * 1.02, (FLOOR * 0.8..1.0).log_scale())?;
    chart.configure_mesh().x_desc("seconds of training, of processor time").disable_mesh().draw()?;
    for run in runs() {
        let points: Vec<_> = run.errors.iter().map(|&(seconds, error)| (seconds, error.max(FLOOR))).collect();
        let style = colour(&run.kind).stroke_width(1);
        match run.kind.same_hidden {
            true => chart.draw_series(LineSeries::new(points, style))?,
            false => chart.draw_series(DashedLineSeries::new(points, 5, 4, style))?,
        };
    }
    Ok(())
}
