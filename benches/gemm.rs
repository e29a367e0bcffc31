//! How do the products of the backends compare, C = A B with `A: [M, K]` and `B: [K, N]`? `packed` has its B packed once,
//! as layers have; `native` packs it at every call. OpenBLAS (feature `openblas`) is named with the processor whose kernels it
//! chose, such as `Haswell`: see `foreign_backends` in `setup`.

mod setup;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use gatefold::gemm::{Element, Gemm, Native};
use gatefold::seq::{MatMut, MatRef, SeqRef};
use gatefold_kernels::gemm::{Gemm as Packed, Start};
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use setup::{isas, values};

/// M, K, N: one step of one row, of a batch, and the input products of blocks of steps.
const SHAPES: [[usize; 3]; 4] = [[1, 512, 1536], [32, 256, 768], [256, 256, 1024], [1600, 512, 1536]];

struct Operands<T> {
    shape: [usize; 3],
    a: Vec<T>,
    b: Vec<T>,
    c: Vec<T>,
}

impl<T: Element> Operands<T> {
    fn new([m, k, n]: [usize; 3]) -> Self {
        Operands { shape: [m, k, n], a: values(m * k), b: values(k * n), c: values(m * n) }
    }

    fn views(&mut self) -> (MatRef<'_, T>, MatRef<'_, T>, MatMut<'_, T>) {
        let [m, k, n] = self.shape;
        let (a, b) = (MatRef::dense(&self.a, m, k), MatRef::dense(&self.b, k, n));
        (a.unwrap(), b.unwrap(), MatMut::dense(&mut self.c, m, n).unwrap())
    }

    fn id(&self, name: &str, isa: &str) -> String {
        let [m, k, n] = self.shape;
        format!("{name}/{}/{isa}/{m}x{k}x{n}", T::NAME)
    }
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn packed<T: Element>(group: &mut Group<'_>, operands: &mut Operands<T>) {
    let [_, k, n] = operands.shape;
    for isa in isas() {
        let mut panel = Panel::new(isa, PanelShape { heads: 0, gates: 1, k, units: n }).unwrap();
        panel.pack(&[], operands.views().1.transposed()).unwrap();
        group.bench_function(operands.id("packed", isa.name()), |bencher| {
            bencher.iter(|| {
                let (a, _, c) = operands.views();
                let (order, start) = (GateOrder::Major, Start::Heads);
                Packed { isa, a: SeqRef::from_matrix(a).unwrap(), panel: &panel, c, order, start, select: None }
                    .run()
                    .unwrap();
            });
        });
    }
}

fn backend<T: Element>(group: &mut Group<'_>, operands: &mut Operands<T>, id: String, gemm: &dyn Gemm<T>) {
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let (a, b, c) = operands.views();
            gemm.gemm(a, b, T::ZERO, c).unwrap();
        });
    });
}

/// Every backend that is built in, for one element type; backends implement [`Gemm`] type by type.
macro_rules! suite {
    ($t:ty, $group:ident) => {
        for shape in SHAPES {
            let mut operands = Operands::<$t>::new(shape);
            $group.throughput(Throughput::Elements(2 * shape.iter().product::<usize>() as u64));
            packed(&mut $group, &mut operands);
            for isa in isas() {
                let id = operands.id("native", isa.name());
                backend(&mut $group, &mut operands, id, &Native { isa });
            }
            #[cfg(feature = "matrixmultiply")]
            {
                let id = operands.id("matrixmultiply", "own");
                backend(&mut $group, &mut operands, id, &gatefold::gemm::MatrixMultiply);
            }
            #[cfg(feature = "openblas")]
            {
                let openblas = gatefold::gemm::OpenBlas::new();
                let id = operands.id("openblas", &openblas.core_name());
                backend(&mut $group, &mut operands, id, &openblas);
            }
        }
    };
}

fn gemm(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    suite!(f32, group);
    suite!(f64, group);
}

criterion_group! { name = benches; config = setup::criterion(); targets = gemm }
criterion_main!(benches);
