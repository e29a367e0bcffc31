//! The command `gatefold`.
#![deny(unsafe_code)]

mod arguments;
mod bench;
mod compare;
mod inspect;
mod model;
mod npy;
mod printable;
mod progress;
mod run;
mod stream;
mod tensors;
mod verify;

use clap::{Parser, Subcommand};
use printable::printable;
use std::io::{self, Write};
use std::process::ExitCode;

/// Recurrent layers on CPUs: SimpleRNN, LSTM and GRU.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Inspect(inspect::Arguments),
    Run(run::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    Compare(compare::Arguments),
}

fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let done = match Arguments::parse().command {
        Command::Inspect(arguments) => inspect::run(&arguments, &mut out),
        Command::Run(arguments) => run::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments, &mut out),
        Command::Bench(arguments) => bench::run(&arguments, &mut out),
        Command::Compare(arguments) => compare::run(&arguments, &mut out),
    };
    match done.and_then(|code| Ok(out.flush().map(|()| code)?)) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told if this fails.
            let _ = writeln!(io::stderr(), "error: {}", printable(&message(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, but for a cause that what it caused tells already.
fn message(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| match cause.to_string() {
        cause if told.ends_with(&cause) => told,
        cause if told.is_empty() => cause,
        cause => format!("{told}: {cause}"),
    })
}

/// Whether the reader of our output has had enough, as `head` has.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::Error::new(io::Error::other("gone")).context("x.npy: gone").context("--input");
        assert_eq!(message(&error), "--input: x.npy: gone");
        assert_eq!(message(&anyhow::anyhow!("alone")), "alone");
        assert_eq!(message(&anyhow::anyhow!("cause").context("effect")), "effect: cause");
    }
}
