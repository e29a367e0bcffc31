//! A program without kernels, in which no intrinsic could be found.

fn main() {}
