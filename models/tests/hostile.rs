//! Damaged files: no reader panics, hangs, or allocates more than a small multiple of the file.
#![cfg(all(feature = "keras", feature = "numpy", feature = "onnx", feature = "pytorch", feature = "safetensors"))]

mod samples;

use gatefold_models::{Error, keras, numpy, onnx, pytorch, safetensors};
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::sample::Index;
use std::io::{Cursor, Read, Write};
use std::sync::Mutex;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Memory is measured for the whole process, so one reader runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes that may be allocated for each byte of a file, and for any file: somewhat more than a reader's own bounds.
const FACTOR: usize = 80;
const FLOOR: usize = 2 << 20;

fn measured<T>(bytes: &[u8], read: impl Fn(Vec<u8>) -> Result<T, Error>) -> Result<T, Error> {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let file = bytes.to_vec();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = read(file);
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(peak <= FACTOR * bytes.len() + FLOOR, "{peak} bytes for a file of {}", bytes.len());
    if let Err(error) = &result {
        assert!(!error.to_string().is_empty());
    }
    result
}

/// What is done to a file.
#[derive(Clone, Debug)]
enum Damage {
    Cut(Index),
    Flip(Index, u8),
    Fill(Index, usize, u8),
    Repeat(Index, Index, usize),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        1 => any::<Index>().prop_map(Damage::Cut),
        6 => (any::<Index>(), 0..8_u32).prop_map(|(at, bit)| Damage::Flip(at, 1 << bit)),
        3 => (any::<Index>(), 1..9_usize, prop_oneof![Just(0), Just(0x7f), Just(0xff), any::<u8>()])
            .prop_map(|(at, len, byte)| Damage::Fill(at, len, byte)),
        1 => (any::<Index>(), any::<Index>(), 1..64_usize).prop_map(|(from, to, len)| Damage::Repeat(from, to, len)),
    ];
    prop::collection::vec(one, 1..5)
}

fn damaged(mut bytes: Vec<u8>, damage: &[Damage]) -> Vec<u8> {
    for one in damage {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match *one {
            Damage::Cut(at) => bytes.truncate(at.index(len)),
            Damage::Flip(at, bits) => bytes[at.index(len)] ^= bits,
            Damage::Fill(at, count, byte) => bytes.iter_mut().skip(at.index(len)).take(count).for_each(|b| *b = byte),
            Damage::Repeat(from, to, count) => {
                let from = from.index(len);
                let part = bytes[from..(from + count).min(len)].to_vec();
                let to = to.index(len);
                bytes.splice(to..to, part);
            }
        }
    }
    bytes
}

/// The archive with one of its members damaged, under a checksum that is right.
fn damaged_member(bytes: &[u8], end: &str, damage: &[Damage]) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut written = ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let (name, mut content) = (member.name().unwrap().into_owned(), Vec::new());
        member.read_to_end(&mut content).unwrap();
        let content = if name.ends_with(end) { damaged(content, damage) } else { content };
        written
            .start_file(name, SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored))
            .unwrap();
        written.write_all(&content).unwrap();
    }
    written.finish().unwrap().into_inner()
}

fn all_of_onnx(bytes: Vec<u8>) -> Result<(), Error> {
    let model = onnx::from_bytes(bytes, Some(&samples::path("onnx_more")))?;
    model.recurrent_nodes().try_for_each(|node| node.map(drop))
}

/// Both ways to read a Keras file.
fn all_of_keras(bytes: Vec<u8>) -> Result<(), Error> {
    keras::weights_from_bytes(bytes.clone()).map(drop)?;
    keras::from_bytes(bytes).map(drop)
}

/// One of the samples of `folders` that end in `end`.
fn sample(folders: &[&str], end: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let names: Vec<_> = folders.iter().flat_map(|folder| samples::ending(folder, end)).collect();
    prop::sample::select(names).prop_map(|name| samples::bytes(&name))
}

fn cases(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn safetensors_files(bytes in sample(&["torch_models", "keras_more", "onnx"], ".safetensors"), damage in damage()) {
        measured(&damaged(bytes, &damage), |bytes| safetensors::from_bytes(&bytes)).ok();
    }

    #[test]
    fn safetensors_headers(bytes in sample(&["torch_models", "keras_more"], ".safetensors"), damage in damage()) {
        let len = 8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        let broken = [damaged(bytes[..len].to_vec(), &damage), bytes[len..].to_vec()].concat();
        measured(&broken, |bytes| safetensors::from_bytes(&bytes)).ok();
    }

    #[test]
    fn npy_files(bytes in sample(&["keras_models", "torch_models"], ".npy"), damage in damage()) {
        measured(&damaged(bytes, &damage), |bytes| numpy::npy_from_bytes(&bytes)).ok();
    }

    #[test]
    fn npy_headers(bytes in sample(&["keras_models", "torch_models"], ".npy"), damage in damage()) {
        let broken = [damaged(bytes[..128].to_vec(), &damage), bytes[128..].to_vec()].concat();
        measured(&broken, |bytes| numpy::npy_from_bytes(&bytes)).ok();
    }

    #[test]
    fn npz_files(bytes in sample(&["numpy"], ".npz"), damage in damage()) {
        measured(&damaged(bytes, &damage), |bytes| numpy::npz_from_bytes(&bytes)).ok();
    }

    #[test]
    fn pt_files(bytes in sample(&["torch_models", "torch_more"], ".pt"), damage in damage()) {
        measured(&damaged(bytes, &damage), |bytes| pytorch::from_bytes(&bytes)).ok();
    }

    #[test]
    fn pickles(bytes in sample(&["torch_more"], "s.pt"), damage in damage()) {
        measured(&damaged_member(&bytes, "data.pkl", &damage), |bytes| pytorch::from_bytes(&bytes)).ok();
    }

    #[test]
    fn onnx_files(bytes in sample(&["onnx", "onnx_more"], ".onnx"), damage in damage()) {
        measured(&damaged(bytes, &damage), all_of_onnx).ok();
    }

    #[test]
    fn small_onnx_files(bytes in sample(&["onnx_more"], ".onnx"), damage in damage()) {
        measured(&damaged(bytes, &damage), all_of_onnx).ok();
    }

    #[test]
    fn keras_files(bytes in sample(&["keras_models", "keras2_models", "keras_more"], ".keras"), damage in damage()) {
        measured(&damaged(bytes, &damage), all_of_keras).ok();
    }

    #[test]
    fn keras_configurations(bytes in sample(&["keras_more"], "n.keras"), damage in damage()) {
        measured(&damaged_member(&bytes, "config.json", &damage), all_of_keras).ok();
    }

    #[test]
    fn hdf5_files(bytes in sample(&["keras_models", "keras2_models", "keras_more"], ".h5"), damage in damage()) {
        measured(&damaged(bytes, &damage), all_of_keras).ok();
    }

    #[test]
    fn small_hdf5_files(bytes in sample(&["keras_more"], ".h5"), damage in damage()) {
        measured(&damaged(bytes, &damage), all_of_keras).ok();
    }
}

#[test]
fn valid_files_stay_within_the_bounds() {
    for folder in ["keras_models", "keras2_models", "keras_more"] {
        for name in [samples::ending(folder, ".keras"), samples::ending(folder, ".h5")].concat() {
            measured(&samples::bytes(&name), all_of_keras).ok();
        }
    }
    samples::ending("onnx", ".onnx").iter().for_each(|name| drop(measured(&samples::bytes(name), all_of_onnx)));
    let pickled = samples::ending("torch_models", ".pt");
    pickled.iter().for_each(|name| drop(measured(&samples::bytes(name), |bytes| pytorch::from_bytes(&bytes))));
}

/// A list of thousands of names, each of which refers to the same long string.
#[test]
fn repeated_strings_are_bounded() {
    let bytes = samples::bytes("keras_more/refused_repeated_string.h5");
    let error = measured(&bytes, keras::weights_from_bytes).unwrap_err().to_string();
    assert!(error.contains("read too often"), "{error}");
}

/// A field of a protocol buffer that has a length.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 1 << 21);
    let length = [content.len() as u8 | 0x80, (content.len() >> 7) as u8 | 0x80, (content.len() >> 14) as u8];
    [&[number << 3 | 2][..], &length, content].concat()
}

/// An ONNX model of nothing but a graph.
fn graph_alone(graph: &[u8]) -> Vec<u8> {
    field(7, graph)
}

/// A graph in which each node doubles the value before it is stopped, whether the value is large or empty.
#[test]
fn doubling_is_bounded() {
    for size in [0_u8, 100] {
        let dims = [0x08, size, 0x10, 0x02];
        let data = field(9, &vec![1; size.into()]);
        let mut graph = field(5, &[&dims[..], &data, &field(8, b"0")].concat());
        for k in 0..60 {
            let input = field(1, k.to_string().as_bytes());
            let output = field(2, (k + 1).to_string().as_bytes());
            let axis = field(5, &[field(1, b"axis"), vec![0x18, 0, 0xa0, 0x01, 2]].concat());
            graph.extend(field(1, &[input.clone(), input, output, field(4, b"Concat"), axis].concat()));
        }
        let file = graph_alone(&graph);
        let constant = |name| measured(&file, |bytes| onnx::from_bytes(bytes, None)?.constant(name));
        assert_eq!(constant("3").unwrap().unwrap().shape(), [usize::from(size) * 8]);
        let error = constant("60").unwrap_err().to_string();
        assert!(error.contains("than the"), "{error}");
    }
}

/// All that there is to tell of the recurrent nodes of a file, kept.
fn kept_nodes(file: &[u8]) -> Vec<Result<onnx::RecurrentNode, Error>> {
    measured(file, |bytes| Ok(onnx::from_bytes(bytes, None)?.recurrent_nodes().collect())).unwrap()
}

/// Thousands of nodes that share the weights which are most of the file.
#[test]
fn shared_weights_are_bounded() {
    let weights = |name: &[u8]| {
        let description = [0x08, 1, 0x08, 0xc0, 0x01, 0x08, 64, 0x10, 1];
        field(5, &[&description, &field(9, &[0; 192 * 64 * 4])[..], &field(8, name)].concat())
    };
    let node = field(1, &[field(1, b"X"), field(1, b"W"), field(1, b"R"), field(4, b"GRU")].concat());
    let file = |count| graph_alone(&[weights(b"W"), weights(b"R"), node.repeat(count)].concat());
    assert!(kept_nodes(&file(50)).iter().all(Result::is_ok));
    let nodes = kept_nodes(&file(3000));
    assert_eq!(nodes.len(), 3000);
    let error = nodes.last().unwrap().as_ref().unwrap_err().to_string();
    assert!(error.contains("node GRU#2999: weights that nodes share: claims"), "{error}");
}

/// A thousand nodes inside of one whose name is most of the file, and stands in the path of each.
#[test]
fn long_paths_are_bounded() {
    let inner = field(1, &field(4, b"GRU")).repeat(1000);
    let body = [field(1, b"then_branch"), field(6, &inner), vec![0xa0, 0x01, 5]].concat();
    let outer = [field(3, &[b'n'; 50_000]), field(4, b"If"), field(5, &body)].concat();
    let nodes = kept_nodes(&graph_alone(&field(1, &outer)));
    let error = nodes.last().unwrap().as_ref().unwrap_err().to_string();
    assert!(error.contains("names of nodes"), "{error}");
}
