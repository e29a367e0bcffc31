//! The picture: GFLOP/s against hidden units, a line for each library, a panel for each batch and number of threads.

use super::lines::{Case, Lines, OURS};
use anyhow::{Result, ensure};
use plotters::coord::Shift;
use plotters::element::{DashedPathElement, DynElement, IntoDynElement};
use plotters::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Element<'a, C> = DynElement<'static, SVGBackend<'a>, C>;

/// Pixels of the picture, of its title, of the names at its right, and of one name.
const SIZE: (u32, u32) = (1240, 860);
const TITLE: u32 = 44;
const NAMES: u32 = 190;
const NAME: i32 = 26;

/// Batch rows and threads of the panels, from top left.
const PANELS: [(usize, usize); 4] = [(1, 1), (1, 2), (32, 1), (32, 2)];

const FONT: &str = "sans-serif";

/// The colours of Okabe and Ito, which colour-blind readers tell apart, without the yellow that is lost on white.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
];

/// How a library is drawn.
#[derive(Clone, Copy)]
struct Pen {
    colour: RGBColor,
    width: u32,
    mark: Mark,
}

#[derive(Clone, Copy)]
enum Mark {
    Disc,
    Triangle,
    Cross,
    /// And the line is dashed.
    None,
}

impl Pen {
    const OURS: Pen = Pen { colour: BLACK, width: 4, mark: Mark::Disc };
    const PEAK: Pen = Pen { colour: RGBColor(110, 110, 110), width: 2, mark: Mark::None };

    /// Of the `index`-th other library: after six, the colours come again with another mark.
    fn other(index: usize) -> Pen {
        let mark = [Mark::Disc, Mark::Triangle, Mark::Cross][index / COLOURS.len() % 3];
        Pen { colour: COLOURS[index % COLOURS.len()], width: 2, mark }
    }

    /// A line through points, in any coordinates, with a mark on each.
    fn elements<'a, C: Clone + 'static>(self, points: Vec<C>) -> Vec<Element<'a, C>> {
        let style = self.colour.stroke_width(self.width);
        let (disc, mark) = (self.width + 2, self.width + 5);
        let marks = points.clone().into_iter().filter_map(|point| match self.mark {
            Mark::Disc => Some(Circle::new(point, disc, self.colour.filled()).into_dyn()),
            Mark::Triangle => Some(TriangleMarker::new(point, mark, self.colour.filled()).into_dyn()),
            Mark::Cross => Some(Cross::new(point, disc, style).into_dyn()),
            Mark::None => None,
        });
        let marks: Vec<_> = marks.collect();
        let line = match self.mark {
            Mark::None => DashedPathElement::new(points, 8, 5, style).into_dyn(),
            _ => PathElement::new(points, style).into_dyn(),
        };
        std::iter::once(line).chain(marks).collect()
    }
}

/// The ranges of both axes, the same in the panels of a batch.
struct Axes {
    hidden: Range<f64>,
    gflops: Range<f64>,
}

/// The picture as SVG. `subject` says what all cases have in common. Drawn are the sequences, not the single steps, that
/// were timed of gatefold.
pub fn picture(lines: &Lines, subject: &str) -> Result<String> {
    let panels = PANELS.map(|panel| panel_cases(lines, panel));
    ensure!(
        panels.iter().any(|cases| !cases.is_empty()),
        "no line of gatefold itself is of a sequence of 1 or 32 rows on 1 or 2 threads"
    );
    let mut svg = String::new();
    draw(SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), subject, &panels)?;
    Ok(svg)
}

fn draw(root: Area<'_>, subject: &str, panels: &[Vec<&Case>; 4]) -> Result<()> {
    let others: BTreeSet<&str> =
        panels.iter().flatten().flat_map(|case| case.medians()).map(|(peer, _)| peer).collect();
    let others = others.into_iter().filter(|peer| *peer != OURS).enumerate();
    let others = others.map(|(index, peer)| (peer, Pen::other(index)));
    // Ours last, so that it lies on top.
    let pens: Vec<(&str, Pen)> = others.chain([(OURS, Pen::OURS)]).collect();

    root.fill(&WHITE)?;
    let (title, below) = root.split_vertically(TITLE);
    title.draw(&Text::new(format!("Speed of a sequence: {subject}"), (16, 14), (FONT, 24)))?;
    let (charts, names) = below.split_horizontally(SIZE.0 - NAMES);
    for ((area, cases), panel) in charts.split_evenly((2, 2)).iter().zip(panels).zip(PANELS) {
        let beside = panels.iter().flatten().copied().filter(|case| case.sizes.batch == panel.0);
        let axes = Axes::new(&beside.collect::<Vec<_>>());
        draw_panel(area, panel, cases, peak(cases), &axes, &pens)?;
    }
    draw_names(&names, &pens)?;
    Ok(root.present()?)
}

fn panel_cases(lines: &Lines, (batch, threads): (usize, usize)) -> Vec<&Case> {
    let wanted = |case: &&Case| (case.sizes.batch, case.threads) == (batch, threads) && case.sizes.time > 1;
    lines.cases.iter().filter(wanted).filter(|case| case.ours().is_some()).collect()
}

/// The most GFLOP/s that multiply-adds alone were seen to reach beside these.
fn peak(cases: &[&Case]) -> Option<f64> {
    cases.iter().flat_map(|case| &case.runs).filter_map(|run| run.peak).reduce(f64::max)
}

impl Axes {
    fn new(cases: &[&Case]) -> Axes {
        let speeds = cases.iter().flat_map(|case| case.medians().map(|(_, seconds)| case.gflops(seconds)));
        let peaks = peak(cases).into_iter();
        Axes {
            hidden: around(cases.iter().map(|case| case.sizes.hidden as f64), 1.25),
            gflops: around(speeds.chain(peaks), 1.5),
        }
    }
}

/// From the least to the greatest value, and so many times as far.
fn around(values: impl Iterator<Item = f64>, factor: f64) -> Range<f64> {
    // Without any value, such as in a row of empty panels, any range will do.
    let (least, greatest) = values.fold((f64::INFINITY, 0.0f64), |(a, b), value| (a.min(value), b.max(value)));
    if greatest == 0.0 { 1.0..10.0 } else { least / factor..greatest * factor }
}

fn draw_panel(
    area: &Area<'_>,
    (batch, threads): (usize, usize),
    cases: &[&Case],
    peak: Option<f64>,
    axes: &Axes,
    pens: &[(&str, Pen)],
) -> Result<()> {
    let plural = if threads == 1 { "" } else { "s" };
    let Axes { hidden, gflops } = axes;
    let mut chart = ChartBuilder::on(area)
        .caption(format!("N = {batch}, {threads} thread{plural}"), (FONT, 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(hidden.clone().log_scale().base(2.0), gflops.clone().log_scale())?;
    let short = |value: &f64| if *value < 1.0 { format!("{value}") } else { format!("{value:.0}") };
    chart
        .configure_mesh()
        .x_desc("hidden units, H")
        .y_desc("GFLOP/s")
        .label_style((FONT, 15))
        .x_label_formatter(&short)
        .y_label_formatter(&short)
        .light_line_style(RGBColor(238, 238, 238))
        .draw()?;
    if let Some(peak) = peak {
        chart.draw_series(Pen::PEAK.elements(vec![(hidden.start, peak), (hidden.end, peak)]))?;
    }
    for (peer, pen) in pens {
        // Of several cases of a size, such as inputs of several widths, the last one.
        let points: BTreeMap<usize, f64> = cases
            .iter()
            .filter_map(|case| {
                let (_, seconds) = case.medians().find(|(known, _)| known == peer)?;
                Some((case.sizes.hidden, case.gflops(seconds)))
            })
            .collect();
        if !points.is_empty() {
            chart.draw_series(pen.elements(points.into_iter().map(|(h, speed)| (h as f64, speed)).collect()))?;
        }
    }
    Ok(())
}

/// Which line is whose.
fn draw_names(area: &Area<'_>, pens: &[(&str, Pen)]) -> Result<()> {
    let ours_first = pens.iter().rev().take(1).chain(&pens[..pens.len() - 1]).copied();
    let ours_first = ours_first.chain([("FMA peak", Pen::PEAK)]);
    for (row, (name, pen)) in ours_first.enumerate() {
        let y = 40 + NAME * row as i32;
        for element in pen.elements(vec![(4, y), (24, y), (44, y)]) {
            area.draw(&element)?;
        }
        area.draw(&Text::new(name.to_owned(), (54, y - 7), (FONT, 16)))?;
    }
    Ok(())
}
