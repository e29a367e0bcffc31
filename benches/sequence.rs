//! How long is a whole sequence on one thread: one row, small batches, large batches? With the native backend on every
//! instruction set, and on the best one with each foreign backend that is built in: the same cells behind their products.

mod setup;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use gatefold::{Options, Threads};
use setup::{CELLS, Run, Shape, foreign_backends, isas};

/// One row, then batches; from weights that fit L1 to weights and scratch that leave L2.
const SHAPES: [Shape; 7] = [
    Shape { input: 32, hidden: 64, batch: 1, time: 100 },
    Shape { input: 128, hidden: 256, batch: 1, time: 100 },
    Shape { input: 512, hidden: 512, batch: 1, time: 50 },
    Shape { input: 256, hidden: 256, batch: 32, time: 50 },
    Shape { input: 512, hidden: 512, batch: 32, time: 50 },
    Shape { input: 1024, hidden: 1024, batch: 64, time: 25 },
    Shape { input: 256, hidden: 256, batch: 256, time: 25 },
];

fn sequence(c: &mut Criterion) {
    let mut group = c.benchmark_group("sequence");
    for (name, cell) in CELLS {
        for isa in isas() {
            for shape in SHAPES {
                let run = Run::<f32>::new(cell, shape, isa, Threads::One);
                time(&mut group, format!("{name}/f32/{}/{}", isa.name(), shape.name()), run);
            }
        }
        let isa = isas()[0];
        for (backend_name, backend) in foreign_backends() {
            for shape in SHAPES {
                let options = Options { backend, isa: Some(isa), threads: Threads::One, ..Options::default() };
                let id = format!("{name}/f32/{}+{backend_name}/{}", isa.name(), shape.name());
                time(&mut group, id, Run::<f32>::with_options(cell, shape, options));
            }
        }
    }
}

fn time(group: &mut BenchmarkGroup<'_, WallTime>, id: String, mut run: Run<f32>) {
    group.throughput(Throughput::Elements(run.flops()));
    group.bench_function(id, |b| b.iter(|| run.forward()));
}

criterion_group! { name = benches; config = setup::criterion().sample_size(10); targets = sequence }
criterion_main!(benches);
