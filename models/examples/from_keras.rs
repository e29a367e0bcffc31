//! From Keras to Rust in five lines: a text classifier of `Embedding`, `GRU` and `Dense` that Keras 3 saved.
//!
//! ```sh
//! cargo run --release -p gatefold-models --example from_keras
//! ```

use gatefold_models::{Result, Tolerance, compare, keras, numpy};

fn main() -> Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keras_models");
    let model = keras::Model::<f32>::load(format!("{folder}/text_classifier.keras"), Default::default())?;
    let tokens = numpy::read_npy(format!("{folder}/text_classifier.x.npy"))?; // [N, T], 0 is padding
    let classes = model.predict(&tokens)?; // [N, 5]
    println!("{:?} tokens, {:?} probabilities: {:.3?}", tokens.shape(), classes.shape(), classes.to_f32()?);

    // What Keras predicted.
    let expected = numpy::read_npy(format!("{folder}/text_classifier.y.npy"))?;
    let comparison = compare(&expected, &classes, Tolerance::default())?;
    println!("largest deviation from Keras: {:?}", comparison.largest);
    assert!(comparison.agrees());
    Ok(())
}

#[test]
fn it_agrees_with_keras() {
    main().unwrap();
}
