//! How many values a second do the activations take? The slices stay in L1, so that memory is not what is measured.

mod setup;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatefold::gemm::Element;
use gatefold_kernels::activation::Activation;
use gatefold_kernels::elementwise::Elementwise;
use setup::{isas, values};

const LEN: usize = 1024;

fn functions<T: Element>(c: &mut Criterion) {
    let mut group = c.benchmark_group("math");
    group.throughput(Throughput::Elements(LEN as u64));
    // From where tanh is nearly a line to where it is nearly 1.
    let x: Vec<T> = values(LEN).into_iter().map(|v: T| T::from_f64(8.0 * v.to_f64())).collect();
    let mut y = values(LEN);
    for isa in isas() {
        for &function in Activation::ALL {
            // Parameters aside: none changes what is done.
            let name = format!("{function:?}").split(' ').next().unwrap_or_default().to_lowercase();
            let name = format!("{name}/{}/{}/{LEN}", T::NAME, isa.name());
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
