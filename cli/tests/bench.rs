//! `gatefold bench` from outside. Sizes and budgets are tiny, and no time is asserted: whether a machine is fast is not
//! what a test can say.

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

fn bench(arguments: &str) -> Command {
    let mut command = Command::cargo_bin("gatefold").unwrap();
    command.arg("bench").args(arguments.split_whitespace());
    command
}

/// Standard output of a run that succeeds, as lines.
fn lines(arguments: &str) -> Vec<String> {
    let output = bench(arguments).assert().success().stderr("").get_output().stdout.clone();
    String::from_utf8(output).unwrap().lines().map(str::to_owned).collect()
}

fn json(arguments: &str) -> Vec<Value> {
    lines(arguments).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn refused(arguments: &str, message: &str) {
    let no_backtrace = contains("panicked").or(contains("backtrace")).not();
    bench(arguments).assert().failure().stdout("").stderr(contains(message).and(no_backtrace));
}

const TINY: &str = "--input 3 --hidden 5 --budget 0.002";

#[test]
fn a_line_has_every_field() {
    let found = json(&format!("--cell gru,gruv,lstm,rnn --batch 2 --time 4 --threads 1,2 --json {TINY}"));
    assert_eq!(found.len(), 8);
    for (index, line) in found.iter().enumerate() {
        let fields = |name: &str| line[name].clone();
        let texts = ["peer", "mode", "dtype", "backend"].map(fields);
        assert_eq!(texts, ["gatefold", "infer", "f32", "native"], "{line}");
        assert_eq!(line["cell"], ["gru", "gruv", "lstm", "rnn"][index / 2]);
        assert_eq!(["I", "H", "B", "T"].map(fields), [3, 5, 2, 4], "{line}");
        assert_eq!(line["threads"], 1 + index % 2);
        for name in ["median_s", "min_s", "gflops", "percent_of_limit", "limit_s"] {
            assert!(line[name].as_f64().is_some_and(|value| value > 0.0 && value.is_finite()), "{name}: {line}");
        }
        assert!(line["min_s"].as_f64() <= line["median_s"].as_f64(), "{line}");
        assert!(line["n"].as_u64() >= Some(5), "{line}");
        // Not 0: f32 was compared with f64.
        assert!(line["err"].as_f64().is_some_and(|error| error > 0.0 && error < 1e-6), "{line}");
        let gates = [3.0, 3.0, 4.0, 1.0][index / 2];
        let flops = line["gflops"].as_f64().unwrap() * 1e9 * line["median_s"].as_f64().unwrap();
        assert!((flops / (2.0 * 4.0 * 2.0 * gates * 5.0 * 8.0) - 1.0).abs() < 1e-9, "{line}");
    }
}

#[test]
fn options_reach_the_layer() {
    let of = |arguments: &str| json(&format!("--cell gru --json {TINY} {arguments}")).remove(0);
    assert_eq!(of("--reset-before")["cell"], "gruv");
    assert_eq!(of("--isa portable")["isa"], "portable");
    assert_eq!(of("--backend matrixmultiply")["backend"], "matrixmultiply");
    // The native f64 run is what it is compared with.
    let double = of("--dtype f64");
    assert_eq!((&double["dtype"], &double["err"]), (&Value::from("f64"), &Value::from(0.0)));
    assert!(of("--dtype f64 --backend matrixmultiply --time 9")["err"].as_f64().unwrap() < 1e-15);
}

#[test]
#[cfg(feature = "openblas")]
fn openblas_says_whose_kernels_ran() {
    let arguments = format!("--cell gru --backend openblas {TINY}");
    let lines = |core: Option<&str>, more: &str| {
        let mut command = bench(&format!("{arguments} {more}"));
        command.env_remove("OPENBLAS_CORETYPE").envs(core.map(|core| ("OPENBLAS_CORETYPE", core)));
        String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
    };
    let line: Value = serde_json::from_str(&lines(None, "--json")).unwrap();
    let chosen = line["blas_core"].as_str().unwrap().to_owned();
    assert_eq!(line["backend"], "openblas");
    let hint = format!("openblas (kernels for {chosen}; OPENBLAS_CORETYPE, which would choose others, is not set) on ");
    assert!(lines(None, "").starts_with(&hint), "{hint}");
    // Any build of OpenBLAS that chooses at all has generic kernels of its architecture.
    let other = if cfg!(target_arch = "x86_64") { "Prescott" } else { "ARMV8" };
    assert!(
        lines(Some(other), "").to_lowercase().starts_with(&format!("openblas (kernels for {other}) ").to_lowercase())
    );
}

#[test]
#[cfg(not(feature = "openblas"))]
fn a_backend_that_is_not_built_in_is_refused() {
    refused(&format!("--cell gru --backend openblas {TINY}"), "the library was built without its feature");
}

#[test]
fn other_backends_name_no_kernels_of_openblas() {
    assert!(json(&format!("--cell gru --json {TINY}"))[0].get("blas_core").is_none());
}

#[test]
fn training_is_timed_forward_and_back() {
    let found = json(&format!("--mode train --cell gru,gruv,lstm,rnn --batch 2 --time 4 --threads 1,2 --json {TINY}"));
    assert_eq!(found.len(), 8);
    for (index, line) in found.iter().enumerate() {
        assert_eq!((&line["mode"], &line["peer"]), (&Value::from("train"), &Value::from("gatefold")), "{line}");
        assert!(line["err"].as_f64().is_some_and(|error| error > 0.0 && error < 1e-5), "{line}");
        let gates = [3.0, 3.0, 4.0, 1.0][index / 2];
        let of = |name: &str| line[name].as_f64().unwrap();
        let flops = of("gflops") * 1e9 * of("median_s");
        assert!((flops / (3.0 * 2.0 * 4.0 * 2.0 * gates * 5.0 * 8.0) - 1.0).abs() < 1e-9, "{line}");
        // The limit is the peak of multiply-adds alone.
        assert!((of("limit_s") * of("peak_gflops") * 1e9 / flops - 1.0).abs() < 1e-9, "{line}");
        assert!((of("percent_of_limit") / (100.0 * of("limit_s") / of("median_s")) - 1.0).abs() < 1e-9, "{line}");
    }
    let of = |arguments: &str| json(&format!("--mode train --cell lstm --json {TINY} {arguments}")).remove(0);
    assert_eq!(of("--dtype f64")["err"], 0.0);
    assert!(of("--dtype f64 --backend matrixmultiply --time 9")["err"].as_f64().unwrap() < 1e-14);
    let table = lines(&format!("--mode train --cell lstm --time 2 {TINY}"));
    assert!(table[2].contains(" % "), "{table:?}");
}

#[test]
fn a_person_sees_a_table_with_bars() {
    let found = lines(&format!("--cell lstm --time 2 {TINY}"));
    assert_eq!(found.len(), 3, "{found:?}");
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&found[1])[..4], ["cell", "dtype", "threads", "I-H-N-T"]);
    assert_eq!(words(&found[2])[..4], ["lstm", "f32", "1", "3-5-1-2"]);
    assert!(found[2].contains(" % "), "{}", found[2]);
}

#[test]
fn limits_are_lines_that_comparisons_read() {
    let found = json("--limits --json --threads 1,2 --isa portable --budget 0.002");
    let of =
        |name: &str| found.iter().find(|line| line["limit"] == name).unwrap_or_else(|| panic!("{name}: {found:?}"));
    for name in ["f32_fma_portable_gflops", "read_L1_16KB_GBps", "read_L2_1MB_GBps", "read_memory_256MB_GBps"] {
        assert!(of(name)["c1"].as_f64() > Some(0.0) && of(name)["c2"].as_f64() > Some(0.0), "{name}: {found:?}");
    }
    for name in ["f32_fma_latency_ns", "f32_epilogue_gru_ns", "f32_epilogue_lstm_ns", "f32_epilogue_rnn_ns"] {
        assert!(of(name)["c1"].as_f64() > Some(0.0), "{name}: {found:?}");
    }
}

#[test]
fn what_cannot_be_timed_is_refused_by_name() {
    let sized = format!("--cell gru {TINY}");
    for (arguments, message) in [
        (format!("--cell lstm --reset-before {TINY}"), "--reset-before is for --cell gru, not lstm"),
        (format!("{sized} --isa mmx"), "instruction set \"mmx\" is not available here; available: "),
        (format!("{sized} --backend cuda"), "there are native, matrixmultiply, openblas"),
        (format!("{sized} --threads 0"), "--threads"),
        (format!("{sized} --threads 100000"), "--threads"),
        (format!("{sized} --time 0"), "--time"),
        (format!("{sized} --budget nan"), "--budget"),
        (format!("{sized} --colour"), "--colour"),
        ("--cell gruu --input 1 --hidden 1".to_owned(), "gruu"),
        ("--cell gru --input 3".to_owned(), "--hidden"),
        ("--grid --input 3".to_owned(), "--grid"),
    ] {
        refused(&arguments, message);
    }
}

#[test]
fn what_does_not_fit_in_memory_is_an_error() {
    let message = "does not fit in memory";
    refused("--cell gru --input 1 --hidden 4000000000 --json", message);
    refused("--cell gru --input 18446744073709551615 --hidden 2 --json", message);
}
