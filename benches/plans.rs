//! Is the plan that is chosen the fastest? Every other way to cut a call is timed beside it, in turn, and cases where the
//! choice loses more than 10 % are reported.
//!
//! `cargo bench --bench plans [FILTER]`, e.g. `gru/I512`. Not a criterion benchmark: the alternatives of a case must be
//! timed in turn, for the machine's speed drifts.

mod setup;

use gatefold::cell::Cell;
use gatefold::{Isa, Options, Plan, Threads};
use rayon::ThreadPoolBuilder;
use setup::{CELLS, Run, Shape, isas};
use std::time::{Duration, Instant};

/// Loss from which on a choice is reported.
const MUCH: f64 = 0.1;

/// Rows that are shared, units that are shared, and sizes where neither pays.
const SHAPES: [Shape; 16] = [
    Shape { input: 8, hidden: 4, batch: 32, time: 10 },
    Shape { input: 32, hidden: 64, batch: 1, time: 100 },
    Shape { input: 64, hidden: 128, batch: 1, time: 100 },
    Shape { input: 128, hidden: 256, batch: 1, time: 100 },
    Shape { input: 512, hidden: 512, batch: 1, time: 50 },
    Shape { input: 1024, hidden: 1024, batch: 1, time: 25 },
    Shape { input: 256, hidden: 256, batch: 4, time: 50 },
    Shape { input: 64, hidden: 128, batch: 8, time: 50 },
    Shape { input: 256, hidden: 256, batch: 16, time: 50 },
    Shape { input: 64, hidden: 128, batch: 32, time: 50 },
    Shape { input: 256, hidden: 256, batch: 32, time: 50 },
    Shape { input: 512, hidden: 512, batch: 32, time: 50 },
    Shape { input: 1024, hidden: 1024, batch: 64, time: 10 },
    Shape { input: 256, hidden: 256, batch: 256, time: 25 },
    Shape { input: 100, hidden: 200, batch: 24, time: 40 },
    Shape { input: 40, hidden: 330, batch: 3, time: 60 },
];

/// The chosen plan first, then what else could be done with so many threads over so many steps.
fn alternatives(chosen: Plan, threads: usize, time: usize) -> Vec<Plan> {
    let mut plans = vec![chosen];
    for (parts, gang) in [(1, 1), (threads, 1), (1, threads)] {
        for block in [1, chosen.block / 2, chosen.block, 2 * chosen.block, 4 * chosen.block] {
            let plan = Plan { parts, block: block.clamp(1, time), gang };
            if !plans.contains(&plan) {
                plans.push(plan);
            }
        }
    }
    plans
}

fn planned(cell: Cell, shape: Shape, isa: Isa, plan: Plan) -> Run<f32> {
    let options = Options { isa: Some(isa), threads: Threads::Pool, plan: Some(plan), ..Options::default() };
    Run::with_options(cell, shape, options)
}

/// Median seconds of each run, all timed in turn.
fn medians(runs: &mut [Run<f32>], budget: Duration) -> Vec<f64> {
    let mut samples = vec![Vec::new(); runs.len()];
    let start = Instant::now();
    let least = if budget.is_zero() { 1 } else { 5 };
    while start.elapsed() < budget * runs.len() as u32 || samples[0].len() < least {
        for (run, samples) in runs.iter_mut().zip(&mut samples) {
            run.forward();
            let start = Instant::now();
            run.forward();
            samples.push(start.elapsed().as_secs_f64());
        }
    }
    let median = |samples: &mut Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    };
    samples.iter_mut().map(median).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let budget = if arguments.iter().any(|a| a == "--test") { Duration::ZERO } else { Duration::from_millis(60) };
    let filter = arguments.iter().find(|a| !a.starts_with("--")).map_or("", String::as_str);
    let isa = isas()[0];
    let mut losses = 0;
    for threads in [1, 2] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        for ((cell_name, cell), shape) in CELLS.iter().flat_map(|cell| SHAPES.map(|shape| (*cell, shape))) {
            let name = format!("plan/{cell_name}/f32/{}/{}/threads{threads}", isa.name(), shape.name());
            // To see that all of it runs, small cases are enough.
            if !name.contains(filter) || budget.is_zero() && shape.hidden * shape.batch > 4096 {
                continue;
            }
            pool.install(|| {
                let mut runs = vec![Run::<f32>::new(cell, shape, isa, Threads::Pool)];
                let plans = alternatives(runs[0].plan(), threads, shape.time);
                runs.extend(plans[1..].iter().map(|&plan| planned(cell, shape, isa, plan)));
                let medians = medians(&mut runs, budget);
                let (best, least) = medians.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).unwrap();
                let loss = medians[0] / least - 1.0;
                let said = if loss > MUCH { "LOSES" } else { "loses" };
                losses += usize::from(loss > MUCH);
                let rate = runs[0].flops() as f64 / medians[0] / 1e9;
                println!("{name}: {:.1} us, {rate:.0} GFLOP/s with {:?}", medians[0] * 1e6, plans[0]);
                println!("    {said} {:.0} % to {:?}", 100.0 * loss, plans[best]);
                if arguments.iter().any(|a| a == "--all") {
                    for (plan, median) in plans.iter().zip(&medians) {
                        println!("    {:8.1} us {plan:?}", median * 1e6);
                    }
                }
            });
        }
    }
    println!("{losses} choices lose more than {:.0} %", 100.0 * MUCH);
}
