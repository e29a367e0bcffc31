//! An operation that is not inlined into the trampoline, as when `#[inline(always)]` was forgotten.

use gatefold_kernels::isa::{Dispatch, Isa, Op, Simd};
use std::hint::black_box;

struct Apart(f32);

impl Op<f32> for Apart {
    type Out = ();

    #[inline(never)]
    fn run<S: Simd<f32>>(self, s: S) {
        let v = s.splat(self.0);
        black_box(s.fma(v, v, v));
    }
}

fn main() {
    f32::dispatch(Isa::available()[0], Apart(black_box(1.0)));
}
