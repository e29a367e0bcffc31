//! The results as text.

use super::experiment::{Plan, Run};
use super::tasks::Task;
use anyhow::Result;
use std::fmt::Write;

/// The middle of some values, of an even number the lower one.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// A row for each network and delay: medians over the seeds.
pub fn of(task: Task, plan: &Plan, runs: &[Run]) -> Result<String> {
    let mut text = format!(
        "{}: {}, median of {} seeds; chance is {:.3}\n",
        task.name(),
        task.measure(),
        plan.seeds,
        task.chance()
    );
    writeln!(text, "cell       hidden  parameters  MACs a step  delay  s an epoch   error  solved after")?;
    for kind in plan.kinds(task)? {
        for &delay in &plan.delays {
            let own: Vec<&Run> = runs.iter().filter(|run| run.kind == kind && run.delay == delay).collect();
            let solved = own.iter().filter(|run| run.last() < task.solved());
            let epochs = median(solved.clone().map(|run| run.errors.len() as f64));
            let epochs = if epochs.is_nan() { "-".to_owned() } else { format!("{epochs} epochs ({})", solved.count()) };
            writeln!(
                text,
                "{:<9}  {:>6}  {:>10}  {:>11}  {delay:>5}  {:>10.3}  {:>6.4}  {epochs}",
                kind.cell,
                kind.hidden,
                kind.parameters,
                kind.macs,
                median(own.iter().map(|run| run.seconds_per_epoch())),
                median(own.iter().map(|run| run.last())),
            )?;
        }
    }
    writeln!(text)?;
    Ok(text)
}
