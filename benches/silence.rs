//! Does silence cost more than sound? Without biases every state fades; a state that ran into subnormal numbers would make
//! each step many times slower. `loud` is 100 steps of noise, `silent` as many steps of zeros after 10 000 of them.

mod setup;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use gatefold::cell::{Activation, Cell, Reset};
use gatefold::seq::time_major;
use gatefold::{Input, Isa, Layer, Options, Output, Result, Threads, Weights};
use setup::{CELLS, isas, values};

const INPUT: usize = 32;
const HIDDEN: usize = 64;
const STEPS: usize = 100;

/// Every cell, and every option that changes its equations.
fn variants() -> Result<Vec<(&'static str, Weights<f32>)>> {
    let weights = |cell: Cell| {
        let scale = |len| values::<f32>(len).into_iter().map(|v| v / 8.0).collect::<Vec<_>>();
        let rows = cell.gates() * HIDDEN;
        Weights::new(cell, INPUT, HIDDEN, scale(rows * INPUT), scale(rows * HIDDEN), None, None)
    };
    let (after, before) = (Cell::Gru { reset: Reset::After }, Cell::Gru { reset: Reset::Before });
    let relu = Cell::SimpleRnn { activation: Activation::Relu };
    let hard = Activation::HardSigmoid { alpha: 0.2, beta: 0.5 };
    let mut list = CELLS.map(|(name, cell)| Ok((name, weights(cell)?))).into_iter().collect::<Result<Vec<_>>>()?;
    let quarter = |len| values::<f32>(len).into_iter().map(|v| v / 4.0).collect::<Vec<_>>();
    list.extend([
        ("rnn-relu", weights(relu)?),
        ("rnn-softsign", weights(relu)?.with_activations(&[Activation::Softsign])?),
        ("rnn-elu", weights(relu)?.with_activations(&[Activation::Elu { alpha: 1.0 }])?),
        ("lstm-peepholes", weights(Cell::Lstm)?.with_peepholes(quarter(3 * HIDDEN))?),
        ("lstm-coupled", weights(Cell::Lstm)?.coupled()?),
        ("lstm-clip", weights(Cell::Lstm)?.with_clip(2.0)?),
        ("lstm-hard", weights(Cell::Lstm)?.with_activations(&[hard, Activation::Tanh, Activation::Tanh])?),
        ("gru-attended", weights(after)?.attended()?),
        ("gruv-attended", weights(before)?.attended()?),
        ("gru-hard", weights(after)?.with_activations(&[hard, Activation::Tanh])?),
    ]);
    let projected = Weights::projected(
        INPUT,
        HIDDEN,
        quarter(4 * HIDDEN * INPUT),
        quarter(4 * HIDDEN * 32),
        [None, None],
        quarter(32 * HIDDEN),
    )?;
    list.push(("lstm-projected", projected));
    Ok(list)
}

fn bench(c: &mut Criterion, name: &str, weights: Weights<f32>, isa: Isa) -> Result<()> {
    let mut group = c.benchmark_group("silence");
    group.throughput(Throughput::Elements(STEPS as u64));
    let layer = Layer::new(weights, Options { isa: Some(isa), threads: Threads::One, ..Options::default() })?;
    let (mut state, mut workspace) = (layer.state(1)?, layer.workspace(STEPS, 1)?);
    let (loud, silent, attention) = (values(STEPS * INPUT), vec![0.0; STEPS * INPUT], vec![0.25; STEPS]);
    let mut run = |x: &[f32]| {
        let mut input = Input::from(time_major(x, [STEPS, 1, INPUT])?);
        if layer.dims().variant.attention {
            input = input.attention(time_major(&attention, [STEPS, 1, 1])?);
        }
        layer.forward_into(input, &mut state, Output::StateOnly, &mut workspace)
    };
    run(&loud)?;
    group.bench_function(format!("{name}/f32/{}/loud", isa.name()), |b| b.iter(|| run(&loud)));
    for _ in 0..10_000 / STEPS {
        run(&silent)?;
    }
    group.bench_function(format!("{name}/f32/{}/silent", isa.name()), |b| b.iter(|| run(&silent)));
    Ok(())
}

fn silence(c: &mut Criterion) {
    for (name, weights) in variants().expect("sizes that fit") {
        for isa in isas() {
            bench(c, name, weights.clone(), isa).expect("sizes that fit");
        }
    }
}

criterion_group! { name = benches; config = setup::criterion(); targets = silence }
criterion_main!(benches);
