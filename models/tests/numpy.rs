//! NumPy's arrays are read, and written as they are read.
#![cfg(feature = "numpy")]

mod samples;

use gatefold_models::{Data, Tensor, numpy};
use std::collections::BTreeMap;

#[test]
fn every_sample_array_is_read() {
    let folders = ["keras_models", "keras2_models", "torch_models"];
    let names: Vec<_> = folders.iter().flat_map(|folder| samples::ending(folder, ".npy")).collect();
    assert_eq!(names.len(), 41);
    for name in names {
        let tensor = numpy::read_npy(samples::path(&name)).unwrap_or_else(|error| panic!("{error}"));
        assert!(!tensor.is_empty());
        // Written again it is the same file, but for the padding of the header.
        assert_eq!(numpy::npy_from_bytes(&numpy::npy_to_bytes(&tensor)).unwrap(), tensor);
    }
}

#[test]
fn arrays_of_every_kind_are_read_as_numpy_wrote_them() {
    let tensors = numpy::read_npz(samples::path("numpy/arrays.npz")).unwrap();
    let deflated = numpy::read_npz(samples::path("numpy/deflated.npz")).unwrap();
    assert_eq!(tensors, deflated);
    let kinds = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"];
    for kind in kinds {
        for order in ["little", "big", "fortran"] {
            let tensor = &tensors[&format!("{kind}_{order}")];
            assert_eq!(tensor.shape(), [2, 3], "{kind} {order}");
            match tensor.to_f64() {
                Ok(values) => assert_eq!(values[..], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "{kind} {order}"),
                Err(_) => assert_eq!(tensor.to_i64().unwrap()[..], [0, 1, 2, 3, 4, 5], "{kind} {order}"),
            }
        }
    }
    assert_eq!(tensors["bool"].data(), &Data::Bool(vec![true, false]));
    assert_eq!((tensors["scalar"].shape(), tensors["scalar"].data()), (&[][..], &Data::F64(vec![1.5])));
    assert_eq!((tensors["empty"].shape(), tensors["empty"].len()), (&[0, 3][..], 0));
    assert_eq!(tensors.len(), 36);
}

#[test]
fn archives_are_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let y = Tensor::new(vec![2, 1], Data::F32(vec![1.5, f32::NEG_INFINITY])).unwrap();
    let hn = Tensor::new(vec![], Data::I64(vec![-1])).unwrap();
    let path = folder.path().join("out.npz");
    numpy::write_npz(&path, [("y", &y), ("hn", &hn)]).unwrap();
    let expected = BTreeMap::from([("y".to_owned(), y.clone()), ("hn".to_owned(), hn.clone())]);
    assert_eq!(numpy::read_npz(&path).unwrap(), expected);
    numpy::write_npy(folder.path().join("y.npy"), &y).unwrap();
    assert_eq!(numpy::read_npy(folder.path().join("y.npy")).unwrap(), y);
    assert!(numpy::npz_to_bytes([("y", &y), ("y", &hn)]).is_err());
    assert!(numpy::write_npy(folder.path().join("none/y.npy"), &y).is_err());
}

#[test]
fn others_are_refused_by_name() {
    for (name, message) in [
        ("objects.npz", "objects: npy header: dtype \"|O\" is not supported"),
        ("records.npz", "records: npy header: a structured dtype is not supported"),
        ("complex.npz", "complex: npy header: dtype \"<c8\" is not supported"),
        ("text.npz", "text: npy header: dtype \"<U1\" is not supported"),
    ] {
        let error = numpy::read_npz(samples::path(&format!("numpy/{name}"))).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let error = numpy::read_npy(samples::path("nothing.npy")).unwrap_err();
    assert!(matches!(error.kind(), gatefold_models::ErrorKind::Io(_)) && error.place().contains("nothing.npy"));
    // A deflated quarter of a gigabyte of zeros is more than a file of its size is granted.
    let error = numpy::read_npz(samples::path("numpy/bomb.npz")).unwrap_err().to_string();
    assert!(error.contains("claims 268435584 bytes"), "{error}");
}
