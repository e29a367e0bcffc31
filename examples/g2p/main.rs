//! Spells English words as ARPAbet phonemes, by a trained GRU encoder and decoder.
//!
//! ```text
//! cargo run --release --example g2p -- recurrent neural network
//! ```

mod speller;

use speller::Speller;
use std::error::Error;
use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Instant;

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/g2p/data/g2p_en.safetensors");

const DEFAULT: &str = "a gated recurrent unit spells every word of this sentence";

fn main() -> ExitCode {
    let mut words: Vec<_> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if words.is_empty() {
        words = DEFAULT.split(' ').map(String::from).collect();
    }
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("g2p: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[String]) -> Result<(), Box<dyn Error>> {
    let file = std::fs::read(WEIGHTS).map_err(|error| format!("{WEIGHTS}: {error}"))?;
    let mut speller = Speller::new(&file, None)?;
    let width = words.iter().map(|word| word.chars().count()).max().unwrap_or(0);
    let mut out = stdout().lock();
    for word in words {
        let start = Instant::now();
        let phonemes = speller.spell(word)?.join(" ");
        let time = start.elapsed();
        writeln!(out, "{word:width$}  {:>5} us  {phonemes}", time.as_micros())?;
    }
    writeln!(out, "computed by {} on one core", speller.isa().name())?;
    Ok(())
}
