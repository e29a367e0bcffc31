//! How many instructions do the hot operations take? Times on a shared machine differ by a fifth from run to run, and a slow
//! drift hides in that; counts under valgrind do not differ.
//!
//! `.ci/instructions` runs this under callgrind, which counts inside [`counted`] alone and writes a profile whenever it is
//! left, and compares the counts with recorded ones. Run by itself it computes each operation and counts nothing.
//!
//! It prints a line for each operation, `name TAB floating-point operations`; the profiles are in the same order. Arguments:
//! `parts` or `layers` for only those, `--twice` to run each operation twice where it is counted, a regression to test
//! the comparison with.

#[path = "instructions/layers.rs"]
mod layers;
#[path = "instructions/parts.rs"]
mod parts;
mod setup;

use gatefold::Isa;
use std::hint::black_box;

/// What callgrind counts: this function and what it calls. It knows it by its name.
#[inline(never)]
fn counted(operation: &mut dyn FnMut()) {
    operation();
    // Keeps the call above from becoming a jump, after which nobody would return here.
    black_box(());
}

/// Where the operations run.
struct Meter {
    /// One instruction set, which `.ci/instructions` sets to AVX2, since valgrind knows no AVX-512.
    isa: Isa,
    twice: bool,
}

impl Meter {
    /// Runs an operation uncounted, so that its memory is there and what is done once is done, and then counted. `flops`:
    /// floating-point operations of its products, as speeds count them; 0 where none says how long it takes.
    fn measure(&self, name: &str, flops: u64, mut operation: impl FnMut()) {
        operation();
        match self.twice {
            false => counted(&mut operation),
            true => counted(&mut || {
                operation();
                operation();
            }),
        }
        println!("{name}\t{flops}");
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let isa = Isa::chosen().expect("the instruction set that GATEFOLD_ISA names");
    let meter = Meter { isa, twice: has("--twice") };
    if has("parts") || !has("layers") {
        parts::all(&meter);
    }
    if has("layers") || !has("parts") {
        layers::all(&meter);
    }
}
