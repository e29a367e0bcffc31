//! How long is a training step, forward and backward: from weights that fit L1 to ones that leave L2?

mod setup;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatefold::Threads;
use setup::training::Training;
use setup::{CELLS, Shape, isas};

const SHAPES: [Shape; 5] = [
    Shape { input: 8, hidden: 4, batch: 32, time: 10 },
    Shape { input: 64, hidden: 128, batch: 1, time: 100 },
    Shape { input: 64, hidden: 128, batch: 32, time: 50 },
    Shape { input: 256, hidden: 256, batch: 32, time: 50 },
    Shape { input: 512, hidden: 512, batch: 32, time: 50 },
];

fn training(c: &mut Criterion) {
    let mut group = c.benchmark_group("training");
    for (name, cell) in CELLS {
        for isa in isas() {
            for shape in SHAPES {
                let mut step = Training::<f32>::new(cell, shape, isa, Threads::One);
                group.throughput(Throughput::Elements(step.flops()));
                group.bench_function(format!("{name}/f32/{}/{}", isa.name(), shape.name()), |b| b.iter(|| step.run()));
            }
        }
    }
}

criterion_group! { name = benches; config = setup::criterion().sample_size(10); targets = training }
criterion_main!(benches);
