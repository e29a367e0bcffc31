//! `.npy` files a piece at a time, for sequences that should not stand in memory as a whole.
//!
//! Reading takes the header apart only to put another shape into it: each piece is read as a whole file by the reader of
//! whole files. A header of any other form than NumPy itself writes is left to that.

use anyhow::{Context, Result, ensure};
use gatefold_models::{Tensor, numpy};
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

/// Magic and version of the common format.
const START: &[u8; 8] = b"\x93NUMPY\x01\x00";

/// A header is padded to a multiple of this.
const ALIGNMENT: usize = 64;

/// An array in a file whose data is still to be read.
#[derive(Debug)]
pub struct Pieces {
    file: BufReader<File>,
    header: Header,
}

/// What the header says.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    shape: Vec<usize>,
    /// Bytes of a value.
    size: usize,
}

impl Pieces {
    /// Opens the file; none if it cannot be read piece by piece, for a reason that may be an error or not.
    pub fn open(path: &Path) -> Result<Option<Pieces>> {
        let Ok(file) = File::open(path) else { return Ok(None) };
        let bytes = file.metadata()?.len();
        let mut file = BufReader::new(file);
        let mut start = [0; START.len() + 2];
        if file.read_exact(&mut start).is_err() || start[..START.len()] != *START {
            return Ok(None);
        }
        let length = u16::from_le_bytes([start[START.len()], start[START.len() + 1]]);
        let mut text = vec![0; length.into()];
        let read = file.read_exact(&mut text).is_ok();
        let header = str::from_utf8(&text).ok().and_then(Header::parse).filter(|_| read);
        let whole = header.filter(|header| {
            let data = header.bytes(&header.shape);
            data.is_some_and(|data| data <= bytes.saturating_sub(start.len() as u64 + u64::from(length)))
        });
        Ok(whole.map(|header| Pieces { file, header }))
    }

    /// The sizes of the whole.
    pub fn shape(&self) -> &[usize] {
        &self.header.shape
    }

    /// The next values, in `shape`.
    pub fn next(&mut self, shape: &[usize]) -> Result<Tensor> {
        let bytes = self.header.bytes(shape).context("a piece of it is too large")?;
        let mut npy = header(&self.header.descr, shape)?;
        let read = (&mut self.file).take(bytes).read_to_end(&mut npy)?;
        ensure!(read as u64 == bytes, "it ends early");
        Ok(numpy::npy_from_bytes(&npy)?)
    }
}

impl Header {
    /// None if it is not as NumPy writes it, or not in row-major order.
    fn parse(text: &str) -> Option<Header> {
        let between = |before: &str, after: &str| Some(text.split_once(before)?.1.split_once(after)?.0);
        if !text.contains("'fortran_order': False") {
            return None;
        }
        let descr = between("'descr': '", "'")?;
        let sizes = between("'shape': (", ")")?.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
        let size = descr.get(2..)?.parse().ok()?;
        Some(Header { descr: descr.to_owned(), shape, size })
    }

    fn bytes(&self, shape: &[usize]) -> Option<u64> {
        let count = shape.iter().try_fold(self.size, |count, &size| count.checked_mul(size))?;
        u64::try_from(count).ok()
    }
}

/// The bytes before the data of an array.
fn header(descr: &str, shape: &[usize]) -> Result<Vec<u8>> {
    let sizes: String = shape.iter().map(|size| format!("{size},")).collect();
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let length = (START.len() + 2 + text.len() + 1).next_multiple_of(ALIGNMENT) - START.len() - 2;
    text.extend(std::iter::repeat_n(' ', length - text.len() - 1));
    text.push('\n');
    let length = u16::try_from(length).context("too many axes")?;
    Ok([START, &length.to_le_bytes()[..], text.as_bytes()].concat())
}

/// Begins a file of f32 values in `shape`.
pub fn write_header(out: &mut impl Write, shape: &[usize]) -> Result<()> {
    Ok(out.write_all(&header("<f4", shape)?)?)
}

/// Goes on with the values of `tensor`.
pub fn write_values(out: &mut impl Write, tensor: &Tensor) -> Result<()> {
    for value in tensor.to_f32()?.iter() {
        out.write_all(&value.to_le_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatefold_models::Data;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn pieces_are_the_whole() {
        let data = Data::F64((0..24).map(f64::from).collect());
        let whole = Tensor::new(vec![4, 2, 3], data).unwrap();
        let file = file(&numpy::npy_to_bytes(&whole));
        let mut pieces = Pieces::open(file.path()).unwrap().unwrap();
        assert_eq!(pieces.shape(), [4, 2, 3]);
        let (first, rest) = (pieces.next(&[1, 2, 3]).unwrap(), pieces.next(&[3, 2, 3]).unwrap());
        assert_eq!((first.shape(), rest.shape()), (&[1, 2, 3][..], &[3, 2, 3][..]));
        let values = [first.to_f64().unwrap(), rest.to_f64().unwrap()].concat();
        assert_eq!(values, *whole.to_f64().unwrap());
        assert!(pieces.next(&[1]).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        for shape in [vec![], vec![6], vec![2, 3], vec![1, 1, 6, 1]] {
            let count = shape.iter().product::<usize>();
            let tensor = Tensor::new(shape.clone(), Data::F32((0..count).map(|i| i as f32).collect())).unwrap();
            let mut bytes = Vec::new();
            write_header(&mut bytes, &shape).unwrap();
            assert_eq!(bytes.len() % ALIGNMENT, 0);
            write_values(&mut bytes, &tensor).unwrap();
            assert_eq!(numpy::npy_from_bytes(&bytes).unwrap(), tensor);
        }
    }

    #[test]
    fn other_files_are_left_to_the_reader_of_whole_files() {
        let whole = numpy::npy_to_bytes(&Tensor::new(vec![2], Data::F32(vec![0.0; 2])).unwrap());
        assert!(Pieces::open(file(&whole).path()).unwrap().is_some());
        for end in 0..whole.len() {
            assert!(Pieces::open(file(&whole[..end]).path()).unwrap().is_none(), "{end}");
        }
        for text in ["{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }", "{}", "{'shape': (2,)}"] {
            assert_eq!(Header::parse(text), None);
        }
        let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }";
        assert_eq!(Header::parse(text), None);
    }
}
