//! A seed decides every bit of a training, whatever the threads and the instruction set.

mod common;

use common::bits;
use gatefold::cell::{Cell, Reset};
use gatefold::seq::{time_major, time_major_mut};
use gatefold::{
    Accumulate, Element, Isa, Layer, Level, Merge, Options, Output, Stack, StackGrads, StackTape, StackWorkspace,
    Upstream,
};
use gatefold_training::{
    Adam, AdamOptions, Dense, DenseGrads, Dropout, Parameters, Random, Share, clip_grad_norm, cross_entropy, initial,
};
use std::process::Command;

const TIME: usize = 12;
const BATCH: usize = 48;
const INPUT: usize = 8;
const HIDDEN: usize = 32;
const CLASSES: usize = 19;

/// Two layers with dropout between, a dense layer on each step.
type Model<T> = (Vec<Stack<T>>, Dense<T>);

fn model<T: Element>(random: &mut Random) -> Model<T> {
    let options = Options { keep_weights: true, ..Options::default() };
    let mut layer = |cell, input| {
        let weights = initial::keras(cell, input, HIDDEN, random).unwrap();
        Layer::new(weights, options).unwrap()
    };
    let gru = Cell::Gru { reset: Reset::After };
    let below = Level::bidirectional(layer(gru, INPUT), layer(gru, INPUT), Merge::Concat).unwrap();
    let above = Level::from(layer(Cell::Lstm, 2 * HIDDEN));
    let stacks = [below, above].map(|level| Stack::new(vec![level]).unwrap()).into_iter().collect();
    (stacks, Dense::pytorch(HIDDEN, CLASSES, random).unwrap())
}

/// A few steps of Adam. The losses are among the bits that come back.
fn trained<T: Element>() -> Vec<u64> {
    let random = &mut Random::new(1);
    let mut model = model::<T>(random);
    let mut adam = Adam::new(AdamOptions { learning_rate: 0.01, ..AdamOptions::PYTORCH }).unwrap();
    let mut dropout = Dropout::new(0.2, Share::Timesteps, 2).unwrap();
    let (mut tapes, mut workspace) = (vec![StackTape::new(); 2], StackWorkspace::new());
    let mut grads = (vec![StackGrads::new(); 2], DenseGrads::new());
    let mut losses = Vec::new();
    for _ in 0..4 {
        let mut run = |k: usize, stack: &Stack<T>, x: &[T]| {
            let (rows, channels) = (TIME * BATCH, stack.output());
            let mut y = vec![T::NAN; rows * channels];
            let output = Output::Sequence(time_major_mut(&mut y, [TIME, BATCH, channels]).unwrap());
            let x = time_major(x, [TIME, BATCH, stack.input()]).unwrap();
            stack.record(x, &mut stack.state(BATCH).unwrap(), output, &mut tapes[k], &mut workspace).unwrap();
            y
        };
        let x = common::values(random, TIME * BATCH * INPUT);
        let targets: Vec<usize> = (0..TIME * BATCH).map(|_| random.below(CLASSES)).collect();
        let (stacks, dense) = &model;
        let mut between = run(0, &stacks[0], &x);
        dropout.forward(&mut between, [TIME, BATCH, 2 * HIDDEN]).unwrap();
        let features = run(1, &stacks[1], &between);
        let (mut logits, mut d_logits) = (vec![T::NAN; targets.len() * CLASSES], vec![T::NAN; targets.len() * CLASSES]);
        dense.forward(&features, targets.len(), &mut logits).unwrap();
        losses.push(cross_entropy(&logits, &targets, &mut d_logits).unwrap());

        dense.backward(&features, targets.len(), &d_logits, &mut grads.1, Accumulate::Overwrite).unwrap();
        let mut back = |k: usize, dy: &[T]| {
            let dy = time_major(dy, [TIME, BATCH, stacks[k].output()]).unwrap();
            stacks[k].backward(&mut tapes[k], Upstream::from(dy), &mut grads.0[k], Accumulate::Overwrite).unwrap();
            grads.0[k].dx.clone()
        };
        let mut d_between = back(1, &grads.1.dx);
        dropout.backward(&mut d_between).unwrap();
        back(0, &d_between);
        clip_grad_norm(&mut grads, 0.5).unwrap();
        adam.step(&mut model, &grads).unwrap();
    }
    assert!(losses.iter().all(|loss| loss.is_finite()));
    model.arrays().unwrap().into_iter().flat_map(bits).chain(bits(&losses)).collect()
}

fn on_threads(threads: usize, train: fn() -> Vec<u64>) -> Vec<u64> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(train)
}

#[test]
fn threads_change_nothing() {
    for train in [trained::<f32>, trained::<f64>] {
        let one = on_threads(1, train);
        for threads in [2, 3] {
            assert!(on_threads(threads, train) == one, "{threads} threads");
        }
    }
}

/// The same bits, in few: FNV-1a.
#[test]
fn fingerprint() {
    let both = [trained::<f32>(), trained::<f64>()].concat();
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = both.iter().flat_map(|bits| bits.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, mix);
    println!("fingerprint of a training: {hash:016x}");
}

/// In a process of its own for each, since it is chosen once.
#[test]
fn instruction_sets_change_nothing() {
    let said = Isa::available().iter().map(|isa| {
        let mut test = Command::new(std::env::current_exe().unwrap());
        let test = test.args(["--exact", "fingerprint", "--nocapture"]).env("GATEFOLD_ISA", isa.name());
        let output = String::from_utf8(test.output().unwrap().stdout).unwrap();
        let line = output.lines().find_map(|line| line.split_once("fingerprint of a training: "));
        (isa.name(), line.unwrap_or_else(|| panic!("{output}")).1.to_owned())
    });
    let said: Vec<_> = said.collect();
    assert!(!said.is_empty() && said.iter().all(|(_, hash)| *hash == said[0].1), "{said:?}");
}
