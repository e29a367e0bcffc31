//! From PyTorch: a state_dict with an `nn.LSTM` of three layers.
//!
//! ```sh
//! cargo run --release -p gatefold-models --example from_pytorch
//! ```

use gatefold_models::{LoadOptions, Result, Tolerance, compare, load, numpy};

fn main() -> Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/torch_models");
    // `batch_first=False` would be the option `time_major`.
    let loaded = load::<f32>(format!("{folder}/lstm_layers3.pt"), &LoadOptions::default())?;
    for row in loaded.describe() {
        println!("{:?}: {} of {}, {} parameters", row.name, row.cell, row.shapes, row.parameters);
    }
    // The only module of the file; of several, one by its prefix: loaded.recurrent_named("encoder.lstm").
    let lstm = &loaded.recurrent()[0];
    let x = numpy::read_npy(format!("{folder}/lstm_layers3.x.npy"))?; // [N, T, I]
    let outputs = lstm.run(&x)?; // y: [N, T, H], hn and cn: [L, N, H]

    // What PyTorch gave.
    for (name, found) in [("y", Some(outputs.y)), ("hn", outputs.hn), ("cn", outputs.cn)] {
        let expected = numpy::read_npy(format!("{folder}/lstm_layers3.{name}.npy"))?;
        if let Some(found) = found {
            let comparison = compare(&expected, &found, Tolerance::default())?;
            println!("{name} {:?}: largest deviation from PyTorch: {:?}", found.shape(), comparison.largest);
            assert!(comparison.agrees());
        }
    }
    Ok(())
}

#[test]
fn it_agrees_with_pytorch() {
    main().unwrap();
}
