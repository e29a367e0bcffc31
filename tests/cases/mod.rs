//! The conformance cases under `tests/data`, and how to compare with them.
//!
//! [`verify_all`] runs a check over every case of a folder, [`verify`] over those that are in the naive reference's scope.
//! What a case asks for is read from its options; one that is not known here is a panic, so that none is ever skipped in
//! silence. Nothing of the crate under test is used.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod forward;
pub mod graph;
mod keras;
mod onnx;
mod options;
pub mod pass;
pub mod tensor;
mod torch;

use forward::Forward;
use pass::Pass;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::Path;
use tensor::Tensor;

/// The largest deviation of an f32 output, relative to the largest magnitude of its tensor.
pub const F32_TOLERANCE: f64 = 2e-5;
/// The largest deviation of an f64 output, relative to the largest magnitude of its tensor.
pub const F64_TOLERANCE: f64 = 1e-10;

/// One file: what a framework computed from what.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name of the file, without its extension.
    pub name: String,
    /// The options, a JSON object.
    pub options: serde_json::Value,
    /// All tensors by their names in the file, and in the graph beside it.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Why a case is left for another test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutOfScope(pub &'static str);

impl Case {
    /// Reads a file of safetensors whose metadata has an entry `case`, and the initializers of the `.onnx` file of the
    /// same name, if there is one.
    pub fn read(path: &Path) -> Case {
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, head) = SafeTensors::read_metadata(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let case = head.metadata().as_ref().and_then(|entries| entries.get("case"));
        let case = case.unwrap_or_else(|| panic!("{name}: no metadata entry `case`"));
        let options = serde_json::from_str(case).unwrap_or_else(|e| panic!("{name}: {e}"));
        let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut tensors: BTreeMap<_, _> =
            file.iter().map(|(name, view)| (name.to_owned(), Tensor::new(&view))).collect();
        if let Ok(model) = std::fs::read(path.with_extension("onnx")) {
            for (initializer, tensor) in graph::initializers(&model) {
                let twice = tensors.insert(initializer, tensor);
                assert!(twice.is_none(), "{name}: an initializer that is a tensor of the case too");
            }
        }
        Case { name, options, tensors }
    }

    /// All cases of a folder under `tests/data`, by name.
    ///
    /// # Panics
    /// On a file that is neither a case nor the graph of one.
    pub fn read_all(folder: &str) -> Vec<Case> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let is_graph = |path: &Path| path.extension().is_some_and(|extension| extension == "onnx");
        for path in paths.iter().filter(|path| is_graph(path)) {
            assert!(paths.contains(&path.with_extension("safetensors")), "{}: no case beside it", path.display());
        }
        paths.iter().filter(|path| !is_graph(path)).map(|path| Case::read(path)).collect()
    }

    /// A tensor that must be there.
    pub fn tensor(&self, name: &str) -> &Tensor {
        self.tensors.get(name).unwrap_or_else(|| panic!("{}: no tensor `{name}`", self.name))
    }
}

/// Runs `check` over all cases of a folder, and panics with the name of each that fails and why, or if there are not
/// exactly `files`.
pub fn verify_all(folder: &str, files: usize, check: impl FnMut(&Pass) -> Result<(), String>) {
    run(&Case::read_all(folder), files, |case| Ok(Pass::new(case)), check);
}

/// Runs `check` over every case that is in scope for a forward pass of one layer, and panics with the name of each that
/// fails and why, or if not exactly `in_scope` cases were run.
pub fn verify(cases: &[Case], in_scope: usize, check: impl FnMut(&Forward) -> Result<(), String>) {
    run(cases, in_scope, Forward::new, check);
}

fn run<'a, D>(
    cases: &'a [Case],
    in_scope: usize,
    describe: impl Fn(&'a Case) -> Result<D, OutOfScope>,
    mut check: impl FnMut(&D) -> Result<(), String>,
) {
    let mut left = BTreeMap::<OutOfScope, usize>::new();
    let (mut run, mut failures) = (0, Vec::new());
    for case in cases {
        match describe(case) {
            Err(reason) => *left.entry(reason).or_default() += 1,
            Ok(described) => {
                run += 1;
                failures.extend(check(&described).err().map(|why| format!("{}: {why}", case.name)));
            }
        }
    }
    println!("{run} of {} cases run; not in scope: {left:?}", cases.len());
    assert!(failures.is_empty(), "{} of {run} cases fail:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(run, in_scope, "cases in scope; not in scope: {left:?}");
}
