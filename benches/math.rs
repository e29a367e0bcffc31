//! How many values a second do exp, sigmoid and tanh take? The slices stay in L1, so that memory is not what is measured.

mod setup;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatefold::gemm::Element;
use gatefold_kernels::elementwise::{Elementwise, Function};
use setup::{isas, values};

const LEN: usize = 1024;

fn functions<T: Element>(c: &mut Criterion) {
    let mut group = c.benchmark_group("math");
    group.throughput(Throughput::Elements(LEN as u64));
    // From where tanh is nearly a line to where it is nearly 1.
    let x: Vec<T> = values(LEN).into_iter().map(|v: T| T::from_f64(8.0 * v.to_f64())).collect();
    let mut y = values(LEN);
    for isa in isas() {
        for &function in Function::ALL {
            let name = format!("{function:?}/{}/{}/{LEN}", T::NAME, isa.name()).to_lowercase();
            group.bench_function(name, |b| b.iter(|| Elementwise { isa, function, x: &x, y: &mut y }.run().unwrap()));
        }
    }
}

fn math(c: &mut Criterion) {
    functions::<f32>(c);
    functions::<f64>(c);
}

criterion_group! { name = benches; config = setup::criterion(); targets = math }
criterion_main!(benches);
