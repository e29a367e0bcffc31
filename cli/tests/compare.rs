//! `gatefold compare` from outside, on lines made up for it.

mod command;

#[cfg(all(feature = "plot", target_os = "linux"))]
use assert_cmd::Command;
use command::{gatefold, refused};
use std::path::PathBuf;
use tempfile::TempDir;

/// A line as benchmarks print it; `[I, H, N, T, threads]`.
fn line(peer: &str, cell: &str, sizes: [usize; 5], median: f64, more: &str) -> String {
    let [i, h, n, t, threads] = sizes;
    format!(
        r#"{{"peer": "{peer}", "mode": "infer", "dtype": "f32", "cell": "{cell}", "I": {i}, "H": {h}, "B": {n}, "T": {t}, "threads": {threads}, "median_s": {median}{more}}}"#
    )
}

const STREAM: [usize; 5] = [32, 64, 1, 100, 1];
const BATCH: [usize; 5] = [64, 128, 32, 50, 2];

/// Files of our lines, and of the others'.
fn samples(folder: &TempDir) -> [String; 2] {
    let ours = [
        r#"{"limit": "f32_fma_avx512_gflops", "c1": 100.0, "c2": 200.0}"#.to_owned(),
        // A run that was disturbed does not count.
        line("gatefold", "gru", STREAM, 9e-4, ", \"limit_s\": 4e-5, \"peak_gflops\": 100.0"),
        line("gatefold", "gru", STREAM, 5e-5, ", \"limit_s\": 4e-5, \"peak_gflops\": 100.0"),
        line("gatefold", "gru", STREAM, 5e-5, ", \"limit_s\": 4e-5, \"peak_gflops\": 100.0"),
        line("gatefold", "gru", BATCH, 2e-3, ", \"peak_gflops\": 200.0"),
        line("gatefold", "rnn", STREAM, 2e-5, ", \"peak_gflops\": 100.0"),
        line("gatefold", "gru", STREAM, 8e-5, ", \"backend\": \"openblas\""),
    ];
    let others = [
        line("slow", "gru", STREAM, 1e-3, ""),
        line("quick", "gru", STREAM, 6e-5, ""),
        String::new(),
        line("slow", "gru", BATCH, 1e-3, ""),
        r#"{"peer": "none", "mode": "infer", "dtype": "f32", "cell": "gru", "error": "no such cell"}"#.to_owned(),
        line("quick", "gru", STREAM, 1e-9, "").replace("f32", "int8"),
    ];
    [("ours.jsonl", ours.join("\n")), ("others.jsonl", others.join("\n"))].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

fn table(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let files = samples(&folder);
    let arguments = ["compare", &files[0], &files[1]].into_iter().chain(arguments.iter().copied());
    let output = gatefold(arguments).assert().success().stderr("").get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

#[test]
fn a_table_has_a_row_for_each_case_of_ours() {
    // 2 T N G H (I + H): 3.6864 and 235.93 million operations, and 1.2288 of the RNN.
    let expected = "\
| cell | I, H, N, T | threads | gatefold | best other | ratio | GFLOP/s | of FMA peak | of limit |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| gru | 32, 64, 1, 100 | 1 | 50.00 us | 60.00 us, quick | 1.20 | 73.7 | 74 % | 80 % |
| gru | 64, 128, 32, 50 | 2 | 2.00 ms | 1.00 ms, slow | 0.50 | 118.0 | 59 % | – |
| rnn | 32, 64, 1, 100 | 1 | 20.00 us | – | – | 61.4 | 61 % | – |

Ratios to the best other, geometric means:

- 1 thread, one row: 1.20 over 1 case, behind in 0
- 2 threads, batches: 0.50 over 1 case, behind in 1
";
    assert_eq!(table(&[]), expected);
}

#[test]
fn options_choose_lines() {
    assert!(table(&["--cell", "rnn"]).lines().count() == 3);
    assert!(table(&["--peers", "slow"]).contains("| 1.00 ms, slow | 20.00 |"));
    // Another backend stands beside other libraries.
    assert!(table(&["--peers", "gatefold+openblas"]).contains("| 80.00 us, gatefold+openblas | 1.60 |"));
}

#[test]
fn what_cannot_be_compared_is_refused_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.jsonl").to_str().unwrap().to_owned();
    let good = line("gatefold", "gru", STREAM, 5e-5, "");
    for (text, message) in [
        (good.clone() + "\nno JSON", "lines.jsonl, line 2: expected"),
        (line("gatefold", "mut1", STREAM, 5e-5, ""), "line 1: cell \"mut1\" is unknown"),
        (line("gatefold", "gru", [1, 0, 1, 1, 1], 5e-5, ""), "line 1: H is 0"),
        (line("gatefold", "gru", STREAM, 0.0, ""), "line 1: median_s is 0"),
        (line("gatefold", "gru", STREAM, 5e-5, ", \"limit_s\": 0"), "line 1: limit_s is 0"),
        (line("gatefold", "gru", STREAM, 5e-5, ", \"peak_gflops\": -1"), "line 1: peak_gflops is -1"),
        (good.replace("\"median_s\"", "\"mean_s\""), "line 1: missing field `median_s`"),
        (good.replace("\"infer\"", "\"train\""), "no line has a time for --mode infer --dtype f32"),
        (good.replace("gatefold", "other"), "no line is of gatefold itself"),
        (String::new(), "no line has a time"),
    ] {
        std::fs::write(&path, text).unwrap();
        refused(["compare", &path], message);
    }
    refused(["compare", "nowhere.jsonl"], "nowhere.jsonl: No such file");
    gatefold(["compare"]).assert().code(2);
}

fn plot(more: &[&str]) -> (TempDir, PathBuf, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (files, picture) = (samples(&folder), folder.path().join("speed.svg"));
    let mut arguments: Vec<String> = vec!["compare".into(), "--plot".into(), picture.to_str().unwrap().into()];
    arguments.extend(files);
    arguments.extend(more.iter().map(|argument| argument.to_string()));
    (folder, picture, arguments)
}

#[test]
#[cfg(feature = "plot")]
fn a_picture_shows_every_library() {
    let (_folder, picture, arguments) = plot(&[]);
    gatefold(arguments.iter().map(String::as_str)).assert().success().stdout("").stderr("");
    let svg = std::fs::read_to_string(picture).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    for text in ["gru, f32, infer", "N = 1, 1 thread", "N = 32, 2 threads", "hidden units, H", "GFLOP/s", "FMA peak"] {
        assert!(svg.contains(text), "{text}");
    }
    let names = ["gatefold", "gatefold+openblas", "quick", "slow"];
    for name in names {
        assert_eq!(svg.lines().filter(|line| *line == name).count(), 1, "{name}");
    }
    // Marks: ours in two panels; quick in one, slow in two, our other backend in one; three each in the names.
    assert_eq!(svg.matches("<circle").count(), 2 + 1 + 2 + 1 + names.len() * 3);
}

#[test]
#[cfg(feature = "plot")]
fn a_picture_of_nothing_is_refused() {
    for (more, message) in [
        (["--cell", "gru,lstm"], "--plot draws one --cell"),
        (["--cell", "lstm"], "no line has a time"),
        (["--mode", "train"], "no line has a time for --mode train"),
    ] {
        let (_folder, picture, arguments) = plot(&more);
        refused(arguments.iter().map(String::as_str), message);
        assert!(!picture.exists());
    }
}

#[test]
#[cfg(not(feature = "plot"))]
fn without_the_feature_a_picture_is_refused() {
    let (_folder, picture, arguments) = plot(&[]);
    refused(arguments.iter().map(String::as_str), "built without the feature plot");
    assert!(!picture.exists());
}

#[test]
#[cfg(all(feature = "plot", target_os = "linux"))]
fn a_record_is_made_of_both_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let line = line("other", "gru", [3, 64, 1, 2, 1], 1e-9, "");
    std::fs::write(
        path("peers"),
        format!("[ \"$CELL$THREADS $CASE\" != 'gru1 3-64-1-2' ] || echo '{line}' >>\"$1\"\n"),
    )
    .unwrap();
    std::fs::write(path("versions"), "other 1.2.3\n").unwrap();
    let made = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/record/make"))
        .args([format!("sh {}", path("peers").display()), path("versions").to_str().unwrap().to_owned()])
        .env("GATEFOLD", assert_cmd::cargo::cargo_bin("gatefold"))
        .envs([("BENCH", "--budget 0.002"), ("CASES", "3-64-1-2")])
        .envs([("ROUNDS", "2"), ("CELLS", "gru rnn"), ("LIMITS", ""), ("RECORDS", folder.path().to_str().unwrap())])
        .assert()
        .success();
    let record = String::from_utf8(made.get_output().stdout.clone()).unwrap();
    let record = std::path::Path::new(record.trim());
    let text = std::fs::read_to_string(record).unwrap();
    for found in ["# Speeds on 2", "- processor: ", "other 1.2.3", "| 3, 64, 1, 2 | 1 |", "1.0 ns, other | 0.00 |"] {
        assert!(text.contains(found), "{found}: {text}");
    }
    let lines = std::fs::read_to_string(record.with_extension("jsonl")).unwrap();
    let count = |text: &str| lines.lines().filter(|line| line.contains(text)).count();
    // Two rounds, ours on one thread and perhaps on two.
    assert_eq!(count("\"other\""), 2, "{lines}");
    assert!([2, 4].contains(&count("\"cell\":\"rnn\"")), "{lines}");
    let pictures = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(pictures.filter(|path| path.extension().is_some_and(|end| end == "svg")).count(), 2);
}
