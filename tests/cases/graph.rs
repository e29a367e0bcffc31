//! The initializers of an ONNX file, and no more: a reader of protocol buffers for a few fields.
//!
//! Source: the fields' numbers in onnx.proto, and the encoding at protobuf.dev.

use super::tensor::Tensor;
use safetensors::Dtype;

// ModelProto, GraphProto and TensorProto.
const GRAPH: u64 = 7;
const INITIALIZER: u64 = 5;
const DIMS: u64 = 1;
const DATA_TYPE: u64 = 2;
const NAME: u64 = 8;
const RAW_DATA: u64 = 9;
/// `TensorProto.DataType.FLOAT`
const FLOAT: u64 = 1;

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The initializers of a model with their names.
///
/// # Panics
/// If the file is broken, or has an initializer that is not f32 in `raw_data`.
pub fn initializers(model: &[u8]) -> Vec<(String, Tensor)> {
    let graphs = fields(model).filter(|(number, _)| *number == GRAPH).map(|(_, field)| field.bytes());
    graphs
        .flat_map(fields)
        .filter(|(number, _)| *number == INITIALIZER)
        .map(|(_, field)| tensor(field.bytes()))
        .collect()
}

fn tensor(bytes: &[u8]) -> (String, Tensor) {
    let (mut shape, mut name, mut values) = (vec![], String::new(), vec![]);
    for (number, field) in fields(bytes) {
        match (number, field) {
            (DIMS, Field::Number(size)) => shape.push(size as usize),
            (DATA_TYPE, Field::Number(FLOAT)) => {}
            (NAME, Field::Bytes(bytes)) => name = String::from_utf8(bytes.to_vec()).expect("a name in UTF-8"),
            (RAW_DATA, Field::Bytes(bytes)) => {
                values = super::tensor::decode(bytes, |b| f64::from(f32::from_le_bytes(b)))
            }
            (other, _) => panic!("field {other} of an initializer is not read here"),
        }
    }
    assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
    (name, Tensor { shape, dtype: Dtype::F32, values })
}

impl<'a> Field<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Field::Bytes(bytes) => bytes,
            Field::Number(number) => panic!("{number} in the place of a message"),
        }
    }
}

/// The fields of a message with their numbers.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let key = varint(&mut rest);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut rest)),
            2 => {
                let length = varint(&mut rest) as usize;
                Field::Bytes(rest.split_off(..length).expect("as many bytes as were announced"))
            }
            other => panic!("fields of wire type {other} are not read here"),
        };
        Some((key >> 3, field))
    })
}

/// Seven bits a byte, the lowest first; the eighth tells that more follow.
fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first().expect("a number that ends");
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number of more than 64 bits")
}
