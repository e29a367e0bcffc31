use gatefold::cell::{Cell, Reset};
use gatefold::seq::{time_major, time_major_mut};
use gatefold::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (h, n): (usize, usize) = (a[1].parse().unwrap(), a[2].parse().unwrap());
    let cell = match a.get(3).map(|s| s.as_str()) {
        Some("lstm") => Cell::Lstm,
        Some("gruv") => Cell::Gru { reset: Reset::Before },
        Some("rnn") => Cell::SimpleRnn { activation: cell::Activation::Tanh },
        _ => Cell::Gru { reset: Reset::After },
    };
    let g = cell.gates();
    let v = |n: usize, s: f32| (0..n).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0 * s).collect::<Vec<f32>>();
    let s = 1.0 / (h as f32).sqrt();
    let w = Weights::new(cell, h, h, v(g * h * h, s), v(g * h * h, s), Some(v(g * h, s)), Some(v(g * h, s))).unwrap();
    let l = Layer::new(w, Options { threads: Threads::One, ..Options::default() }).unwrap();
    let mut st = l.state(1).unwrap();
    let mut ws = l.workspace(1, 1).unwrap();
    let x = v(h, 1.0);
    let mut y = vec![0f32; h];
    let mut best = f64::INFINITY;
    let mut all = Vec::new();
    for _ in 0..n.div_ceil(1000) {
        let t = std::time::Instant::now();
        for _ in 0..n.min(1000) {
            let yy = Output::Sequence(time_major_mut(&mut y, [1, 1, h]).unwrap());
            l.forward_into(time_major(std::hint::black_box(&x), [1, 1, h]).unwrap(), &mut st, yy, &mut ws).unwrap();
        }
        let e = t.elapsed().as_nanos() as f64 / n.min(1000) as f64;
        best = best.min(e);
        all.push(e);
    }
    all.sort_by(f64::total_cmp);
    println!("{} {h}: median {:.1} min {best:.1} ns a step", a.get(3).map_or("gru", |s| s), all[all.len() / 2]);
}
