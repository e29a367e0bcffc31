//! State_dicts of `.pt` files hold what their twins in safetensors hold; anything else is refused.
#![cfg(all(feature = "pytorch", feature = "safetensors"))]

mod samples;

use gatefold_models::pytorch::{self, Contents};
use gatefold_models::{Data, Dtype, Tensor, safetensors};

fn read(name: &str) -> Contents {
    pytorch::read(samples::path(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn f32s(tensor: &Tensor) -> (&[usize], Vec<f32>) {
    (tensor.shape(), tensor.to_f32().unwrap().into_owned())
}

#[test]
fn twins_hold_the_same_tensors() {
    let names = samples::ending("torch_models", ".pt");
    assert_eq!(names.len(), 5);
    for name in names {
        let twin = safetensors::read(samples::path(&name.replace(".pt", ".safetensors"))).unwrap();
        let contents = read(&name);
        assert!(!contents.tensors.is_empty() && contents.others.is_empty());
        assert_eq!(contents.tensors, twin.tensors, "{name}");
    }
}

#[test]
fn every_type_is_read() {
    let tensors = read("torch_more/types.pt").tensors;
    let types =
        [Dtype::F32, Dtype::F64, Dtype::F16, Dtype::Bf16, Dtype::I64, Dtype::I32, Dtype::I16, Dtype::I8, Dtype::U8];
    let names = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"];
    for (name, dtype) in names.into_iter().zip(types) {
        let tensor = &tensors[name];
        assert_eq!((tensor.shape(), tensor.dtype()), (&[3, 4][..], dtype));
        match tensor.to_f64() {
            Ok(values) => assert!(values.iter().copied().eq((0..12).map(f64::from)), "{name}"),
            Err(_) => assert!(tensor.to_i64().unwrap().iter().copied().eq(0..12), "{name}"),
        }
    }
    assert_eq!(tensors["bool"].data(), &Data::Bool([false, true].repeat(6)));
    assert_eq!(tensors.len(), 10);
}

#[test]
fn views_of_a_storage_are_read() {
    let tensors = read("torch_more/views.pt").tensors;
    let counted = |range: std::ops::Range<u8>| range.map(f32::from).collect::<Vec<_>>();
    assert_eq!(f32s(&tensors["whole"]), (&[3, 4][..], counted(0..12)));
    let turned = vec![0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0];
    assert_eq!(f32s(&tensors["transposed"]), (&[4, 3][..], turned));
    assert_eq!(f32s(&tensors["row"]), (&[4][..], counted(4..8)));
    assert_eq!(f32s(&tensors["column"]), (&[3][..], vec![1.0, 5.0, 9.0]));
    assert_eq!(f32s(&tensors["scalar"]), (&[][..], vec![7.0]));
    assert_eq!(f32s(&tensors["empty"]), (&[0, 4][..], vec![]));
}

#[test]
fn the_byte_order_is_honoured() {
    let tensors = read("torch_more/big_endian.pt").tensors;
    assert_eq!(f32s(&tensors["w"]), (&[2, 3][..], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
    assert_eq!(tensors["n"].data(), &Data::I64(vec![0, 1, 2]));
}

#[test]
fn checkpoints_have_their_state_dicts_by_prefix() {
    let contents = read("torch_more/checkpoint.pt");
    let names: Vec<_> = contents.tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["model.gru.weight_ih_l0", "optimizer.state.0.exp_avg"]);
    assert_eq!(f32s(&contents.tensors["model.gru.weight_ih_l0"]), (&[3, 2][..], vec![1.0; 6]));
    let others =
        ["epoch", "loss", "done", "note", "history", "sizes", "optimizer.state.0.step", "optimizer.param_groups"];
    assert_eq!(contents.others, others);
    assert_eq!(f32s(&read("torch_more/protocol_4.pt").tensors["w"]).0, [2, 3]);
}

#[test]
fn everything_else_is_refused_by_name() {
    for (name, message) in [
        ("broadcast", "w: shape: shape [1000, 1000] of a storage of 1 values is not supported"),
        ("outside", "w: strides: expected places inside of 4 values"),
        ("quantised", "torch._utils._rebuild_qtensor is not supported"),
        ("metadata", "the metadata of a tensor is not supported"),
        ("torchscript", "a TorchScript archive is not supported"),
        ("list", "data.pkl: expected a dictionary of tensors, found a list"),
        ("module", "the Python object __main__.Net is not supported"),
        ("code", "system is not supported"),
        ("short", "expected the bytes of f32 values of shape [4], found 12 bytes"),
        ("before_1_6", "the file format of PyTorch before 1.6"),
    ] {
        let error = pytorch::read(samples::path(&format!("torch_more/refused_{name}.pt"))).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(error.contains(&format!("refused_{name}.pt: ")), "{error}");
    }
    let error = pytorch::from_bytes(b"?").unwrap_err().to_string();
    assert_eq!(error, "expected a zip archive, found other bytes");
}
