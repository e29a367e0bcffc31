//! From ONNX: a bidirectional `LSTM` node with lengths and initial states.
//!
//! ```sh
//! cargo run --release -p gatefold-models --example from_onnx
//! ```

use gatefold_models::{Inputs, LoadOptions, Result, Tolerance, compare, load, safetensors};

fn main() -> Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx");
    let loaded = load::<f32>(format!("{folder}/lstm_bidirectional_lens.onnx"), &LoadOptions::default())?;
    for row in loaded.describe() {
        println!("{}: {} of {} {}", row.name, row.cell, row.shapes, row.variant);
    }
    let node = loaded.recurrent_named("lstm_0")?;
    let tensors = safetensors::read(format!("{folder}/lstm_bidirectional_lens.safetensors"))?.tensors;
    let inputs = Inputs {
        h0: tensors.get("initial_h"),
        c0: tensors.get("initial_c"),
        lengths: tensors.get("sequence_lens"),
        ..Inputs::from(&tensors["X"]) // [T, N, I]
    };
    let outputs = node.run(inputs)?; // y: [T, D, N, H], hn and cn: [D, N, H]

    // What ONNX Runtime gave.
    for (name, found) in [("Y", Some(outputs.y)), ("Y_h", outputs.hn), ("Y_c", outputs.cn)] {
        if let Some(found) = found {
            let comparison = compare(&tensors[name], &found, Tolerance::default())?;
            println!("{name} {:?}: largest deviation from ONNX Runtime: {:?}", found.shape(), comparison.largest);
            assert!(comparison.agrees());
        }
    }
    Ok(())
}

#[test]
fn it_agrees_with_onnx_runtime() {
    main().unwrap();
}
