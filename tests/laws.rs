//! The laws of the sources: which module may use which, and where the dangerous things stand.
//!
//! A law that cannot fail is worse than none, so each has examples that break it, beside examples that come close and keep it.

#[path = "laws/source.rs"]
mod source;

use source::{Source, enclosing, matches, read_all};

/// A law, and what shows that it works.
struct Law {
    name: &'static str,
    /// The places that break it.
    check: fn(&Source) -> Vec<String>,
    /// Files, as path and text, that break it.
    broken_by: &'static [(&'static str, &'static str)],
    /// Files that look alike and keep it.
    kept_by: &'static [(&'static str, &'static str)],
}

/// The modules of a package from the bottom up; a module uses those of lower layers only.
struct Layers {
    root: &'static str,
    layers: &'static [&'static [&'static str]],
    /// Uses that go up, `from` and `to`, each with its reason.
    upward: &'static [(&'static str, &'static str)],
}

const PACKAGES: &[Layers] = &[
    Layers {
        root: "kernels/src/",
        layers: &[
            &["block", "gang", "isa", "shape"],
            &["mat", "real"],
            &["buf", "math", "seq"],
            &["activation"],
            &["cell", "pack"],
            &["micro"],
            &["tile"],
            &["gemm"],
            &["epilogue"],
            &["elementwise", "limits", "outer", "pointwise", "relay", "step"],
            &["solo"],
            &["general"],
            &["backward", "blend", "diagonal"],
        ],
        // An element type carries what others define for it: the constants of the elementary functions, and the
        // operations, so that they are compiled here and not in the crates that call them.
        upward: &[
            ("real", "backward"),
            ("real", "blend"),
            ("real", "diagonal"),
            ("real", "elementwise"),
            ("real", "gemm"),
            ("real", "general"),
            ("real", "limits"),
            ("real", "math"),
            ("real", "outer"),
            ("real", "pointwise"),
            ("real", "relay"),
            ("real", "solo"),
            ("real", "step"),
        ],
    },
    Layers {
        root: "src/",
        layers: &[
            &["caches", "cell", "error"],
            &["dims", "gemm", "seq"],
            &["input", "output", "schedule", "weights"],
            &["grads", "roster", "state", "tape"],
            &["stages"],
            &["workspace"],
            &["backward", "sequence", "solo"],
            &["layer"],
            &["stack", "steps"],
            &["ndarray", "stream"],
        ],
        upward: &[],
    },
    Layers {
        root: "training/src/",
        layers: &[
            &["parameters", "random"],
            &["clip", "dropout", "initial", "loss", "optimizer"],
            &["dense", "stack_dropout"],
        ],
        upward: &[],
    },
];

/// The files that call foreign products or take foreign memory, the only ones with `unsafe` outside the kernels and the
/// tests.
const FOREIGN: &[&str] = &["src/gemm/matrixmultiply.rs", "src/gemm/openblas.rs", "src/ndarray.rs"];

/// Lines that a source file stays under.
const LINES: usize = 500;

/// 500 lines.
const LONG: &str = match str::from_utf8(&[b'\n'; LINES]) {
    Ok(lines) => lines,
    Err(_) => panic!(),
};

const LAWS: &[Law] = &[
    Law {
        name: "a module uses lower layers only",
        check: imports,
        broken_by: &[
            ("kernels/src/isa/avx2.rs", "use crate::math::exp;"),
            ("kernels/src/tile.rs", "fn f() { crate::step::step() }"),
            ("kernels/src/tile.rs", "use super::step::Step;"),
            ("kernels/src/gemm.rs", "use crate::step::Step;"),
            ("kernels/src/mat.rs", "use crate::{shape, tile};"),
            ("kernels/src/unheard_of.rs", ""),
            ("src/error.rs", "use crate::dims::Dims;"),
            ("src/gemm/native.rs", "use super::super::layer::Layer;"),
            ("src/weights/keras.rs", "use crate::Error;"),
            ("training/src/parameters.rs", "use crate::dense::Dense;"),
        ],
        kept_by: &[
            ("kernels/src/tile.rs", "use crate::pack::Panel; // crate::step"),
            ("kernels/src/cell/gru.rs", "use super::Stage; use crate::math::tanh;"),
            ("src/lib.rs", "pub use layer::Layer;"),
            ("training/src/dense.rs", "use crate::parameters::Parameters;"),
            ("src/error.rs", "#[cfg(test)] mod tests { use super::*; }"),
        ],
    },
    Law {
        name: "intrinsics stand in the file of their instruction set",
        check: intrinsics,
        broken_by: &[
            ("kernels/src/tile.rs", "use core::arch::x86_64::*;"),
            ("kernels/src/isa.rs", "use std::arch::x86_64::_mm_prefetch;"),
            ("kernels/src/isa/simd.rs", "use core::{arch, fmt};"),
            ("src/layer.rs", "core::arch::asm!()"),
        ],
        kept_by: &[
            ("kernels/src/isa/avx2.rs", "use core::arch::x86_64::*;"),
            ("kernels/src/isa/simd.rs", "std::arch::$detected!($feature)"),
            ("kernels/src/isa.rs", "#[cfg(target_arch = \"x86_64\")] // core::arch"),
        ],
    },
    Law {
        name: "target features are enabled by the tokens alone",
        check: |s| outside(s, &["target_feature"], &["kernels/src/isa.rs", "kernels/src/isa/"]),
        broken_by: &[
            ("kernels/src/step.rs", "#[target_feature(enable = \"avx2\")] fn f() {}"),
            ("src/layer.rs", "#[target_feature(enable = \"avx2\")] fn f() {}"),
        ],
        kept_by: &[
            ("kernels/src/isa/simd.rs", "#[target_feature(enable = \"avx2\")] fn go() {}"),
            ("kernels/src/step.rs", "// No #[target_feature] here."),
        ],
    },
    Law {
        name: "the schedule alone uses rayon",
        check: |s| outside(s, &["rayon"], &["src/schedule.rs"]),
        broken_by: &[("src/layer.rs", "use rayon::join;"), ("kernels/src/gemm.rs", "rayon::current_num_threads()")],
        kept_by: &[("src/schedule.rs", "use rayon::join;"), ("src/layer.rs", "#[cfg(feature = \"rayon\")]")],
    },
    Law {
        name: "crates of foreign products are called by their backend's file alone",
        check: |s| outside(s, &["matrixmultiply::", "cblas_sys"], FOREIGN),
        broken_by: &[
            ("src/stages.rs", "unsafe { matrixmultiply::sgemm() }"),
            ("src/gemm.rs", "use ::matrixmultiply::sgemm;"),
            ("src/gemm/native.rs", "use cblas_sys::cblas_sgemm;"),
            ("src/lib.rs", "extern crate cblas_sys;"),
        ],
        kept_by: &[
            ("src/gemm.rs", "mod matrixmultiply; pub use self::matrixmultiply::MatrixMultiply;"),
            ("src/gemm/openblas.rs", "use cblas_sys::cblas_sgemm;"),
        ],
    },
    Law {
        name: "unsafe code stands in the kernels and in two backends",
        check: unsafe_code,
        broken_by: &[
            ("src/layer.rs", "fn f() { unsafe { g() } }"),
            ("src/gemm.rs", "unsafe impl Send for Native {}"),
            ("benches/step.rs", "unsafe fn f() {}"),
        ],
        kept_by: &[
            ("src/lib.rs", "#![deny(unsafe_code)] // no unsafe here: \"unsafe\""),
            ("src/gemm/openblas.rs", "unsafe { g() }"),
            ("kernels/src/tile.rs", "unsafe { g() }"),
        ],
    },
    Law {
        // Blocks and impls are clippy's: `undocumented_unsafe_blocks`.
        name: "what is unsafe to call says under which conditions it is safe",
        check: safety,
        broken_by: &[
            ("kernels/src/a.rs", "/// Loads.\nunsafe fn load() {}"),
            ("kernels/src/a.rs", "// SAFETY: fine.\n\nunsafe fn load() {}"),
            ("kernels/src/a.rs", "impl A {\n    #[inline]\n    pub(crate) unsafe fn load() {}\n}"),
            ("kernels/src/a.rs", "pub unsafe trait Epilogue {}"),
            ("src/gemm/openblas.rs", "unsafe extern \"C\" {\n    fn f();\n}"),
        ],
        kept_by: &[
            ("kernels/src/a.rs", "/// # Safety\n/// `p` is valid.\n#[inline]\nunsafe fn load() {}"),
            ("kernels/src/a.rs", "impl Simd<f32> for A {\n    unsafe fn load() {}\n}"),
            ("src/gemm/openblas.rs", "// SAFETY: as in cblas.h.\nunsafe extern \"C\" {\n    fn f();\n}"),
        ],
    },
    Law {
        name: "a source file is shorter than 500 lines",
        check: length,
        broken_by: &[("src/layer.rs", LONG), (".ci/run", LONG), ("tests/data/generate.py", LONG)],
        kept_by: &[("tests/data/words.json", LONG), ("src/layer.rs", "\n\n")],
    },
    Law {
        name: "a file is named after its job",
        check: |s| {
            let none = ["util", "utils", "helper", "helpers", "misc"];
            s.path.split(['/', '.']).filter(|part| none.contains(part)).map(|_| s.path.clone()).collect()
        },
        broken_by: &[("src/utils.rs", ""), ("tests/helpers/mod.rs", "")],
        kept_by: &[("src/utilisation.rs", "")],
    },
    Law {
        name: "no file speaks of one machine's directories",
        check: |s| {
            let places = [concat!("/wo", "rk/"), concat!("/tm", "p/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
            places.iter().flat_map(|place| matches(&s.text, place).map(|at| s.place(at, place))).collect()
        },
        broken_by: &[("README.md", concat!("cd /wo", "rk/main")), ("src/a.rs", concat!("// see /tm", "p/a"))],
        kept_by: &[("README.md", "framework/a")],
    },
];

/// Breaches of the order of [`PACKAGES`].
fn imports(source: &Source) -> Vec<String> {
    let Some(package) = PACKAGES.iter().find(|package| source.path.starts_with(package.root)) else {
        return Vec::new();
    };
    let file = &source.path[package.root.len()..];
    let module = file.split(['/', '.']).next().unwrap_or_default();
    if file == "lib.rs" {
        return Vec::new();
    }
    let layer = |module| package.layers.iter().position(|layer| layer.contains(&module));
    let Some(own) = layer(module) else {
        return vec![format!("{}: module {module} is in no layer", source.path)];
    };
    let mut found = Vec::new();
    // Of a file at the top, `super` is the crate, but in its unit tests.
    let unit_tests = source.code.find("cfg(test)").unwrap_or(source.code.len());
    let top = !file.contains('/');
    let uses = matches(&source.code, "crate::").map(|at| (at, "crate::"));
    let uses =
        uses.chain(matches(&source.code, "super::").filter(|&at| top && at < unit_tests).map(|at| (at, "super::")));
    for (at, from) in uses {
        let path = &source.code[at + from.len()..];
        let used = &path[..path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len())];
        match layer(used) {
            _ if used == module || package.upward.contains(&(module, used)) => {}
            Some(layer) if layer < own => {}
            Some(_) => found.push(source.place(at, &format!("{module} uses {used}"))),
            None => found.push(source.place(at, &format!("{used:?} after {from} is no module"))),
        }
    }
    found.extend(matches(&source.code, "super::super").map(|at| source.place(at, "name the module from crate:: on")));
    found
}

/// Uses of `core::arch`, but for the detection macros that `isa/simd.rs` calls.
fn intrinsics(source: &Source) -> Vec<String> {
    if !is_product(source) || source.path.starts_with("kernels/src/isa/") && !source.path.ends_with("/simd.rs") {
        return Vec::new();
    }
    let detection = |at: usize| source.path.ends_with("/simd.rs") && source.code[at..].starts_with("arch::$detected!");
    matches(&source.code, "arch").filter(|&at| !detection(at)).map(|at| source.place(at, "arch")).collect()
}

/// The places where one of `words` stands in the product, but in a file whose path starts like one of `places`.
fn outside(source: &Source, words: &[&str], places: &[&str]) -> Vec<String> {
    if !is_product(source) || places.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    // `self::matrixmultiply` is our own module.
    let foreign = |at: &usize| !source.code[..*at].ends_with("self::");
    words.iter().flat_map(|word| matches(&source.code, word).filter(foreign).map(|at| source.place(at, word))).collect()
}

fn is_product(source: &Source) -> bool {
    source.path.ends_with(".rs") && (source.path.starts_with("src/") || source.path.starts_with("kernels/src/"))
}

fn unsafe_code(source: &Source) -> Vec<String> {
    let free = source.path.starts_with("kernels/") || source.path.starts_with("tests/");
    if !source.path.ends_with(".rs") || free || FOREIGN.contains(&source.path.as_str()) {
        return Vec::new();
    }
    matches(&source.code, "unsafe").map(|at| source.place(at, "unsafe")).collect()
}

/// Unsafe functions, traits and foreign blocks without a word on safety right above.
fn safety(source: &Source) -> Vec<String> {
    if !source.path.ends_with(".rs") {
        return Vec::new();
    }
    let silent = |at: &usize| {
        let after = source.code[at + "unsafe".len()..].trim_start();
        let owes = match after.split_whitespace().next() {
            // What a trait asks for stands in the trait.
            Some("fn") => {
                !enclosing(&source.code, *at).is_some_and(|header| header.contains("impl") && header.contains(" for "))
            }
            Some("trait" | "extern") => true,
            _ => false,
        };
        let line = source.text[..*at].rfind('\n').map_or(0, |end| end + 1);
        let above = source.text[..line].lines().rev().map(str::trim_start);
        let mut above = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
        owes && !above.any(|line| line.contains("# Safety") || line.contains("SAFETY:"))
    };
    matches(&source.code, "unsafe").filter(silent).map(|at| source.place(at, "unsafe")).collect()
}

fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let written = [".rs", ".py", ".sh"].iter().any(|end| source.path.ends_with(end)) || source.path.starts_with(".ci/");
    if written && lines >= LINES { vec![format!("{}: {lines} lines", source.path)] } else { Vec::new() }
}

#[test]
fn the_sources_keep_the_laws() {
    let sources = read_all();
    for package in PACKAGES {
        for module in package.layers.iter().copied().flatten() {
            let path = format!("{}{module}.rs", package.root);
            assert!(sources.iter().any(|s| s.path == path), "the layers name {path}, which was not read");
        }
    }
    let mut broken = Vec::new();
    for law in LAWS {
        broken.extend(sources.iter().flat_map(law.check).map(|place| format!("{}: {place}", law.name)));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn each_law_can_be_broken() {
    for law in LAWS {
        assert!(!law.broken_by.is_empty() && !law.kept_by.is_empty(), "{}: no examples", law.name);
        for (path, text) in law.broken_by {
            assert!(!(law.check)(&Source::new(path, text)).is_empty(), "{}: missed in {path}: {text}", law.name);
        }
        for (path, text) in law.kept_by {
            let found = (law.check)(&Source::new(path, text));
            assert!(found.is_empty(), "{}: found in {path}: {text}: {found:?}", law.name);
        }
    }
}
