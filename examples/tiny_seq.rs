use gatefold::cell::{Cell, Reset};
use gatefold::seq::{time_major, time_major_mut};
use gatefold::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (i, h, t): (usize, usize, usize) = (a[1].parse().unwrap(), a[2].parse().unwrap(), a[3].parse().unwrap());
    let cell = match a.get(4).map(|s| s.as_str()) {
        Some("lstm") => Cell::Lstm,
        Some("gruv") => Cell::Gru { reset: Reset::Before },
        Some("rnn") => Cell::SimpleRnn { activation: cell::Activation::Tanh },
        _ => Cell::Gru { reset: Reset::After },
    };
    let g = cell.gates();
    let v = |n: usize, s: f32| (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0 * s).collect::<Vec<f32>>();
    let s = 1.0 / (h as f32).sqrt();
    let w = Weights::new(cell, i, h, v(g * h * i, s), v(g * h * h, s), Some(v(g * h, s)), Some(v(g * h, s))).unwrap();
    let l = Layer::new(w, Options { threads: Threads::One, ..Options::default() }).unwrap();
    let mut st = l.state(1).unwrap();
    let mut ws = l.workspace(t, 1).unwrap();
    let x = v(t * i, 1.0);
    let mut y = vec![0f32; t * h];
    let mut all = Vec::new();
    for _ in 0..300 {
        let c = std::time::Instant::now();
        let yy = Output::Sequence(time_major_mut(&mut y, [t, 1, h]).unwrap());
        l.forward_into(time_major(std::hint::black_box(&x), [t, 1, i]).unwrap(), &mut st, yy, &mut ws).unwrap();
        all.push(c.elapsed().as_nanos() as f64 / t as f64);
    }
    all.sort_by(f64::total_cmp);
    println!(
        "{} {i} {h} T={t}: median {:.1} min {:.1} ns a step",
        a.get(4).map_or("gru", |s| s),
        all[all.len() / 2],
        all[0]
    );
}
