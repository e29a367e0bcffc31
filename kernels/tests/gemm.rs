//! The product: every value is one chain of fused multiply-adds over k in ascending order, so scalar Rust tells its bits.

mod common;

use common::{Canaries, Random, Scalar, assert_same, everywhere};
use gatefold_kernels::gemm::{Gemm, Start};
use gatefold_kernels::isa::Isa;
use gatefold_kernels::mat::{MatMut, MatRef};
use gatefold_kernels::pack::{GateOrder, Panel, PanelShape};
use gatefold_kernels::seq::{SeqRef, SeqShape};
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    /// Heads, as many as there are gates and some more, or none.
    Heads(usize),
    C,
    /// This many gates of an input product of one gate more.
    Continue(usize),
}

#[derive(Clone, Copy, Debug)]
struct Case {
    gates: usize,
    /// Units as whole vectors and some more or less.
    vectors: usize,
    more: isize,
    k: usize,
    time: usize,
    batch: usize,
    batch_major: bool,
    /// Values between rows of A and of C.
    gap: usize,
    order: GateOrder,
    from: From,
    /// Whether a selection of rows is computed, of one timestep.
    select: bool,
    seed: u64,
}

prop_compose! {
    fn cases()(
        gates in 1usize..=4,
        (vectors, more) in (select(vec![0usize, 1, 2, 3, 4, 5, 7, 8, 11]), -1isize..=1),
        k in select(vec![0usize, 1, 2, 3, 8, 17, 40]),
        (time, batch) in select(vec![
            // Tiles are 2 to 8 rows high, and a chunk of them has up to 64.
            (1usize, 0usize), (0, 3), (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7), (1, 8), (1, 9), (1, 11),
            (1, 13), (1, 15), (1, 17), (2, 1), (7, 1), (3, 2), (4, 4), (2, 9), (1, 64), (5, 13), (1, 130),
        ]),
        batch_major: bool,
        gap in select(vec![0usize, 0, 1, 3]),
        order in select(vec![GateOrder::Panel, GateOrder::Major]),
        from in prop_oneof![(0usize..3).prop_map(From::Heads), Just(From::C), (0usize..=4).prop_map(From::Continue)],
        select: bool,
        seed: u64,
    ) -> Case {
        Case { gates, vectors, more, k, time, batch, batch_major, gap, order, from, select, seed }
    }
}

/// A case for the vectors of one instruction set, with its values.
struct Problem<T> {
    case: Case,
    lanes: usize,
    units: usize,
    rows: usize,
    /// `[T*N, K]`
    a: Vec<T>,
    /// `[G*H, K]`
    weights: Vec<T>,
    heads: Vec<Vec<T>>,
    c_cols: usize,
    /// `[T*N, columns of C]`
    c: Vec<T>,
    /// `[T*N, gates of the input product in panel order]`
    input: Vec<T>,
    selected: Option<Vec<u32>>,
}

/// Where gate `gate` of unit `unit` stands in a row.
fn place(order: GateOrder, lanes: usize, gates: usize, units: usize, gate: usize, unit: usize) -> usize {
    match order {
        GateOrder::Panel => (unit / lanes * gates + gate) * lanes + unit % lanes,
        GateOrder::Major => gate * units + unit,
    }
}

impl<T: Scalar> Problem<T> {
    fn new(case: Case, isa: Isa) -> Self {
        let lanes = T::lanes(isa);
        let units = (case.vectors * lanes).saturating_add_signed(case.more);
        let (rows, padded) = (case.time * case.batch, units.next_multiple_of(lanes));
        let heads = match case.from {
            From::Heads(0) | From::C => 0,
            From::Heads(more) => case.gates + more - 1,
            From::Continue(gates) => case.gates - gates.min(case.gates),
        };
        let c_cols = if case.order == GateOrder::Panel { case.gates * padded } else { case.gates * units };
        let mut random = Random(case.seed);
        let mut values = |n| random.values(n, 1.0);
        Problem {
            a: values(rows * case.k),
            weights: values(case.gates * units * case.k),
            heads: (0..heads).map(|_| values(units)).collect(),
            c_cols,
            c: if case.from == From::C { values(rows * c_cols) } else { vec![T::CANARY; rows * c_cols] },
            input: values(rows * (case.gates + 1) * padded),
            selected: (case.select && case.time == 1)
                .then(|| random.permutation(rows).into_iter().take(rows.div_ceil(2)).map(|row| row as u32).collect()),
            case,
            lanes,
            units,
            rows,
        }
    }

    /// C after the product, by scalar chains.
    fn expected(&self) -> Vec<T> {
        let Case { gates, k, order, from, .. } = self.case;
        let mut c = self.c.clone();
        let all: Vec<u32> = (0..self.rows as u32).collect();
        for &row in self.selected.as_ref().unwrap_or(&all) {
            let row = row as usize;
            for (gate, unit) in (0..gates).flat_map(|gate| (0..self.units).map(move |unit| (gate, unit))) {
                let at = row * self.c_cols + place(order, self.lanes, gates, self.units, gate, unit);
                let head = |i: usize| self.heads.get(i).map_or(T::ZERO, |head| head[unit]);
                let start = match from {
                    From::Heads(_) => head(gate),
                    From::C => c[at],
                    From::Continue(continued) if gate >= continued => head(gate - continued),
                    From::Continue(_) => {
                        let cols = self.input.len() / self.rows;
                        self.input[row * cols + place(GateOrder::Panel, self.lanes, gates + 1, self.units, gate, unit)]
                    }
                };
                let (a, w) = (&self.a[row * k..][..k], &self.weights[(gate * self.units + unit) * k..][..k]);
                c[at] = a.iter().zip(w).fold(start, |sum, (&a, &w)| a.fma(w, sum));
            }
        }
        c
    }

    /// C after the product by the kernel. The columns that pad C in panel order may hold anything: they are given the
    /// values of `expected`.
    fn found(&self, isa: Isa, expected: &[T]) -> Vec<T> {
        let Case { gates, k, time, batch, batch_major, gap, order, from, .. } = self.case;
        let mut panel = Panel::new(isa, PanelShape { heads: self.heads.len(), gates, k, units: self.units }).unwrap();
        let heads: Vec<&[T]> = self.heads.iter().map(Vec::as_slice).collect();
        panel.pack(&heads, MatRef::dense(&self.weights, gates * self.units, k).unwrap()).unwrap();

        let (near, far) = (k + gap, k + 2 * gap);
        let (time_stride, batch_stride) = if batch_major { (near, time * far) } else { (batch * far, near) };
        let shape = SeqShape { time, batch, channels: k, time_stride, batch_stride };
        let starts = (0..time).flat_map(|t| (0..batch).map(move |n| t * time_stride + n * batch_stride)).collect();
        let a = Canaries::at(starts, k).holding(&self.a);

        let cols = self.c_cols;
        let mut c = Canaries::rows(self.rows, cols, cols + gap).holding(&self.c);
        let input_cols = (gates + 1) * self.units.next_multiple_of(self.lanes);
        let start = match from {
            From::Heads(_) => Start::Heads,
            From::C => Start::C,
            From::Continue(gates) => Start::Continue {
                input: MatRef::dense(&self.input, self.rows, input_cols).unwrap(),
                gates: gates.min(self.case.gates),
            },
        };
        let gemm = Gemm {
            isa,
            a: SeqRef::new(&a.data, shape).unwrap(),
            panel: &panel,
            c: MatMut::new(&mut c.data, self.rows, cols, cols + gap).unwrap(),
            order,
            start,
            select: self.selected.as_deref(),
        };
        gemm.run().unwrap();
        let mut found = c.take("c");
        let mut padding = vec![order == GateOrder::Panel; cols];
        for (gate, unit) in (0..gates).flat_map(|gate| (0..self.units).map(move |unit| (gate, unit))) {
            padding[place(order, self.lanes, gates, self.units, gate, unit)] = false;
        }
        for (i, found) in found.iter_mut().enumerate().filter(|(i, _)| padding[i % cols]) {
            *found = expected[i];
        }
        found
    }
}

fn check<T: Scalar>(case: Case) {
    everywhere(|isa| {
        let problem = Problem::<T>::new(case, isa);
        let expected = problem.expected();
        assert_same(&expected, &problem.found(isa, &expected), isa.name());
    });
}

proptest! {
    #![proptest_config(common::proptest(400))]

    #[test]
    fn f32_has_the_bits_of_scalar_chains(case in cases()) {
        check::<f32>(case);
    }

    #[test]
    fn f64_has_the_bits_of_scalar_chains(case in cases()) {
        check::<f64>(case);
    }
}

/// The oracle computes what it should, and would notice a value that is off.
#[test]
fn the_oracle_multiplies() {
    let case = Case {
        gates: 2,
        vectors: 0,
        more: 1,
        k: 2,
        time: 1,
        batch: 1,
        batch_major: false,
        gap: 0,
        order: GateOrder::Major,
        from: From::Heads(1),
        select: false,
        seed: 0,
    };
    let isa = Isa::named("portable").unwrap();
    let mut problem = Problem::<f64>::new(case, isa);
    problem.a = vec![2.0, 3.0];
    problem.weights = vec![5.0, 7.0, 11.0, 13.0];
    problem.heads = vec![vec![1.0], vec![-1.0]];
    let expected = problem.expected();
    assert_eq!(expected, [32.0, 60.0]);
    assert_eq!(problem.found(isa, &expected), [32.0, 60.0]);
    problem.weights[3] = f64::from_bits(13f64.to_bits() + 1);
    assert_ne!(problem.found(isa, &expected), expected);
}

/// Rows that overlap, as frames that hop by less than their length, and one row for all.
#[test]
fn rows_of_the_left_operand_may_overlap() {
    everywhere(|isa| {
        for batch_stride in 0..3 {
            let (data, weights) = (Random(1).values::<f32>(3 + 8 * 2, 1.0), Random(2).values::<f32>(5 * 3, 1.0));
            let mut panel = Panel::new(isa, PanelShape { heads: 0, gates: 1, k: 3, units: 5 }).unwrap();
            panel.pack(&[], MatRef::dense(&weights, 5, 3).unwrap()).unwrap();
            let mut c = vec![f32::CANARY; 9 * 5];
            let shape = SeqShape { time: 1, batch: 9, channels: 3, time_stride: 0, batch_stride };
            let (a, order, start) = (SeqRef::new(&data, shape).unwrap(), GateOrder::Major, Start::Heads);
            let c_view = MatMut::dense(&mut c, 9, 5).unwrap();
            Gemm { isa, a, panel: &panel, c: c_view, order, start, select: None }.run().unwrap();
            let sum = |row: usize, unit: usize| {
                (0..3).fold(0.0f32, |sum, k| data[row * batch_stride + k].mul_add(weights[unit * 3 + k], sum))
            };
            let expected: Vec<f32> =
                (0..9).flat_map(|row| (0..5).map(move |unit| (row, unit))).map(|(r, u)| sum(r, u)).collect();
            assert_same(&expected, &c, isa.name());
        }
    });
}

/// A chain long enough that any other order of its terms would show.
#[test]
fn long_chains_are_not_split() {
    everywhere(|isa| {
        let case = Case {
            gates: 3,
            vectors: 2,
            more: 1,
            k: 3000,
            time: 1,
            batch: 4,
            batch_major: false,
            gap: 0,
            order: GateOrder::Panel,
            from: From::Heads(1),
            select: false,
            seed: 7,
        };
        let problem = Problem::<f32>::new(case, isa);
        let expected = problem.expected();
        assert_same(&expected, &problem.found(isa, &expected), isa.name());
        let mut reversed = Problem::<f32>::new(case, isa);
        for row in reversed.a.chunks_exact_mut(case.k).chain(reversed.weights.chunks_exact_mut(case.k)) {
            row.reverse();
        }
        let other = reversed.expected();
        assert!(
            expected.iter().zip(&other).any(|(a, b)| a.bits() != b.bits()),
            "the order of these terms shows nothing"
        );
    });
}

/// Chains that are cut into spans of k go on from C, whatever they started from.
#[test]
fn spans_of_long_chains_go_on() {
    let starts = [From::Heads(0), From::Heads(2), From::C, From::Continue(1)];
    // 8 kB of f32, more by one, and three spans; of f64 twice as many.
    let mut cases = Vec::new();
    for (from, k) in starts.into_iter().flat_map(|from| [2048usize, 2049, 4097].map(move |k| (from, k))) {
        for (select, batch, order) in
            [(false, 1, GateOrder::Major), (false, 5, GateOrder::Panel), (true, 5, GateOrder::Major)]
        {
            let (gap, seed) = (1, k as u64);
            cases.push(Case {
                gates: 2,
                vectors: 1,
                more: 1,
                k,
                time: 1,
                batch,
                batch_major: false,
                gap,
                order,
                from,
                select,
                seed,
            });
        }
    }
    for case in cases {
        check::<f32>(case);
        check::<f64>(case);
    }
}

/// Of no units K may be any number, for a panel has no weights then; a row may be selected twice.
#[test]
fn long_chains_of_nothing_and_of_rows_selected_twice() {
    everywhere(|isa| {
        let panel = Panel::<f64>::new(isa, PanelShape { heads: 0, gates: 1, k: 1 << 58, units: 0 }).unwrap();
        let a = SeqRef::new(&[], SeqShape::time_major(1, 0, 1 << 58)).unwrap();
        let (c, order, start) = (MatMut::dense(&mut [], 0, 0).unwrap(), GateOrder::Major, Start::Heads);
        Gemm { isa, a, panel: &panel, c, order, start, select: None }.run().unwrap();

        let (data, weights) = (Random(1).values::<f32>(4097, 1.0), Random(2).values::<f32>(4097, 1.0));
        let mut panel = Panel::new(isa, PanelShape { heads: 0, gates: 1, k: 4097, units: 1 }).unwrap();
        panel.pack(&[], MatRef::dense(&weights, 1, 4097).unwrap()).unwrap();
        let a = SeqRef::new(&data, SeqShape::time_major(1, 1, 4097)).unwrap();
        let mut c = [f32::CANARY];
        let c_view = MatMut::dense(&mut c, 1, 1).unwrap();
        Gemm { isa, a, panel: &panel, c: c_view, order, start: Start::Heads, select: Some(&[0; 130]) }.run().unwrap();
        let expected = data.iter().zip(&weights).fold(0.0f32, |sum, (a, w)| a.mul_add(*w, sum));
        assert_same(&[expected], &c, isa.name());
    });
}
