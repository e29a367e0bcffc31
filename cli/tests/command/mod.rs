//! Running the command, and the sample models.
#![allow(dead_code, reason = "no test file uses all of it")]

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::prelude::*;
use predicates::str::contains;
use std::path::{Path, PathBuf};

pub fn gatefold<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::cargo_bin("gatefold").unwrap();
    command.args(arguments);
    command
}

/// A file of the sample models.
pub fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/data").join(name);
    assert!(path.exists(), "{name}");
    path.to_str().unwrap().to_owned()
}

/// The sample files of a folder whose names end in one of `ends` and in none of `but`, at least `least` of them.
pub fn samples(folder: &str, ends: &[&str], but: &[&str], least: usize) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sample(folder)).unwrap().map(|entry| entry.unwrap().path());
    let wanted = |path: &PathBuf| {
        let name = path.to_str().unwrap();
        ends.iter().any(|end| name.ends_with(end)) && !but.iter().any(|end| name.ends_with(end))
    };
    let mut paths: Vec<PathBuf> = entries.filter(wanted).collect();
    paths.sort();
    assert!(paths.len() >= least, "{folder}: {} samples", paths.len());
    paths
}

/// Asserts a failure that says `message` on standard error in one line, and nothing on standard output.
pub fn refused<'a>(arguments: impl IntoIterator<Item = &'a str>, message: &str) -> Assert {
    let one_line = predicate::function(|text: &str| text.starts_with("error: ") && text.lines().count() == 1);
    let no_backtrace = contains("panicked").or(contains("backtrace")).not();
    gatefold(arguments).assert().code(1).stdout("").stderr(contains(message).and(one_line).and(no_backtrace))
}
