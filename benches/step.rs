//! How long is one step of one row with carried state, I = H, from layers that fit L1 to ones that leave L2?

mod setup;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatefold::Threads;
use gatefold::cell::Cell;
use gatefold::gemm::Element;
use setup::{CELLS, Run, Shape, isas};

const HIDDEN: [usize; 7] = [16, 32, 64, 128, 256, 512, 1024];

fn cell<T: Element>(c: &mut Criterion, name: &str, cell: Cell) {
    let mut group = c.benchmark_group("step");
    for isa in isas() {
        for hidden in HIDDEN {
            let shape = Shape { input: hidden, hidden, batch: 1, time: 1 };
            let mut run = Run::<T>::new(cell, shape, isa, Threads::One);
            group.throughput(Throughput::Elements(run.flops()));
            group.bench_function(format!("{name}/{}/{}/H{hidden}", T::NAME, isa.name()), |b| b.iter(|| run.forward()));
        }
    }
}

fn step(c: &mut Criterion) {
    for (name, kind) in CELLS {
        cell::<f32>(c, name, kind);
    }
    // The kernels are the same for both types: one cell shows what doubles cost.
    let (name, kind) = CELLS[2];
    cell::<f64>(c, name, kind);
}

criterion_group! { name = benches; config = setup::criterion(); targets = step }
criterion_main!(benches);
