//! Each example runs with `--quick`, and says no in a sentence.
#![allow(missing_docs, reason = "the examples are no library")]

#[path = "../examples/char_rnn/main.rs"]
mod char_rnn;
#[path = "../examples/long_memory/main.rs"]
mod long_memory;

use clap::Parser;
use gatefold_models::safetensors;
use std::path::Path;

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write(more: &[&str]) -> anyhow::Result<String> {
    char_rnn::run(&char_rnn::Arguments::parse_from([&["char_rnn", "--quick", "--sample", "20"], more].concat()))
}

fn remember(more: &[&str]) -> anyhow::Result<String> {
    long_memory::run(&long_memory::Arguments::parse_from([&["long_memory", "--quick"], more].concat()))
}

/// What was printed after the line that says how long it took.
fn untimed(printed: &str) -> String {
    printed.lines().filter(|line| !line.starts_with("trained") && !line.starts_with("saved")).collect()
}

#[test]
fn char_rnn_trains_saves_loads_and_samples() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    let printed = write(&["--out", path(&weights)]).unwrap();
    assert!(printed.starts_with("trained on 18000 characters in "), "{printed}");
    let bits = printed.split("2000 characters held out: ").nth(1).and_then(|rest| rest.split(' ').next());
    let bits: f64 = bits.unwrap().parse().unwrap();
    // Little was learnt, but more than how often each character occurs: that takes 4.4 bits.
    assert!(bits > 1.0 && bits < 4.2, "{printed}");

    let shapes: Vec<_> = safetensors::read(&weights).unwrap().tensors.into_iter().collect();
    let shapes: Vec<_> = shapes.iter().map(|(name, tensor)| (&name[..], tensor.shape())).collect();
    let kinds = shapes[4].1[0];
    let expected: [(&str, &[usize]); 6] = [
        ("gru.bias_hh_l0", &[48]),
        ("gru.bias_ih_l0", &[48]),
        ("gru.weight_hh_l0", &[48, 16]),
        ("gru.weight_ih_l0", &[48, kinds]),
        ("head.bias", &[kinds]),
        ("head.weight", &[kinds, 16]),
    ];
    assert_eq!(shapes, expected);

    // What was trained, once more; and what was saved: the same bits per character.
    let again = folder.path().join("again.safetensors");
    assert_eq!(untimed(&write(&["--out", path(&again)]).unwrap()), untimed(&printed));
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&weights).unwrap());
    let loaded = write(&["--load", path(&weights)]).unwrap();
    assert_eq!(loaded.lines().next(), printed.lines().nth(2));
}

#[test]
fn char_rnn_says_what_is_wrong() {
    let refused = |more: &[&str], what: &str| {
        let error = format!("{:#}", write(more).expect_err("a refusal"));
        assert!(error.contains(what), "{more:?}: {error}");
    };
    refused(&["--text", "nowhere.txt"], "cannot read nowhere.txt");
    refused(&["--load", "nowhere.safetensors"], "cannot load nowhere.safetensors");
    refused(&["--batch", "0"], "at least 1");
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short.txt");
    std::fs::write(&short, "ab").unwrap();
    refused(&["--text", path(&short), "--prompt", "a"], "too short for 4 rows");
    refused(&["--temperature", "0"], "the temperature is positive");
    refused(&["--prompt", ""], "at least one character");
    refused(&["--dropout", "2"], "rate: expected a number from 0 to 1, found 2");
    let out = folder.path().join("weights.safetensors");
    refused(&["--out", path(&out), "--prompt", "\u{3bb}"], "'\u{3bb}' does not occur in the text");
}

#[test]
fn long_memory_prints_a_table_and_draws() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("picture.svg");
    let printed = remember(&["--out", path(&out)]).unwrap();
    for task in ["adding problem: mean squared error, median of 2 seeds", "delayed copy: wrong symbols"] {
        assert!(printed.contains(task), "{printed}");
    }
    // Five networks at two delays of two tasks.
    let of = |cell: &str| printed.lines().filter(|line| line.starts_with(cell)).count();
    assert_eq!([of("SimpleRNN"), of("GRU"), of("LSTM")], [8, 4, 8]);
    let drawn = std::fs::read_to_string(&out).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"));
    assert!(drawn.contains("delay in steps") && drawn.contains("GRU 8") && !drawn.contains("NaN"));
}

#[test]
fn long_memory_says_what_is_wrong() {
    let refused = |more: &[&str], what: &str| {
        let error = format!("{:#}", remember(more).expect_err("a refusal"));
        assert!(error.contains(what), "{more:?}: {error}");
    };
    refused(&["--seeds", "0"], "at least 1");
    refused(&["--delays", "1"], "delays are at least 2");
    refused(&["--out", "nowhere/at/all.svg"], "cannot draw nowhere/at/all.svg");
}
