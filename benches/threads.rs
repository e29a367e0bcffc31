//! Does the pool ever cost time? The plan wakes it only where there is enough work, so that `pool` should be as fast as
//! `one` for the first shapes and faster for the last ones.

mod setup;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatefold::Threads;
use setup::{CELLS, Run, Shape, isas};

/// From a few thousand operations to billions: rows that are shared, then the units of one row or a few.
const SHAPES: [Shape; 13] = [
    Shape { input: 8, hidden: 4, batch: 32, time: 10 },
    Shape { input: 32, hidden: 32, batch: 8, time: 1 },
    Shape { input: 64, hidden: 64, batch: 16, time: 1 },
    Shape { input: 64, hidden: 64, batch: 16, time: 5 },
    Shape { input: 64, hidden: 64, batch: 32, time: 20 },
    Shape { input: 256, hidden: 256, batch: 32, time: 50 },
    Shape { input: 256, hidden: 256, batch: 256, time: 25 },
    Shape { input: 64, hidden: 128, batch: 1, time: 100 },
    Shape { input: 128, hidden: 256, batch: 1, time: 100 },
    Shape { input: 256, hidden: 256, batch: 4, time: 50 },
    Shape { input: 512, hidden: 512, batch: 1, time: 8 },
    Shape { input: 512, hidden: 512, batch: 1, time: 50 },
    Shape { input: 1024, hidden: 1024, batch: 1, time: 25 },
];

fn threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("threads");
    let (name, cell) = CELLS[2];
    let isa = isas()[0];
    for shape in SHAPES {
        for (count, threads) in [("one", Threads::One), ("pool", Threads::Pool)] {
            let mut run = Run::<f32>::new(cell, shape, isa, threads);
            group.throughput(Throughput::Elements(run.flops()));
            let id = format!("{name}/f32/{}/{}/{count}", isa.name(), shape.name());
            group.bench_function(id, |b| b.iter(|| run.forward()));
        }
    }
}

criterion_group! { name = benches; config = setup::criterion(); targets = threads }
criterion_main!(benches);
