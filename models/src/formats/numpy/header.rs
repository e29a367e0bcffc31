//! The header of a `.npy` file: magic, version, length, and a Python dictionary.

use crate::error::{Error, Result};
use crate::tensor::{ByteOrder, Dtype};

/// What the header says of the data behind it.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) dtype: Dtype,
    pub(super) byte_order: ByteOrder,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// The header, and the bytes behind it.
pub(super) fn parse(bytes: &[u8]) -> Result<(Header, &[u8])> {
    let short = || Error::malformed("npy header", "a whole header", format_args!("{} bytes", bytes.len()));
    let Some((version, rest)) = bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<2>()) else {
        return Err(Error::malformed("npy header", "the magic \\x93NUMPY", "other bytes"));
    };
    let (length, rest) = match version {
        [1, 0] => rest.split_first_chunk().map(|(length, rest)| (u16::from_le_bytes(*length).into(), rest)),
        [2 | 3, 0] => rest.split_first_chunk().map(|(length, rest)| (u32::from_le_bytes(*length), rest)),
        [major, minor] => return Err(Error::unsupported("npy header", format_args!("format {major}.{minor}"))),
    }
    .ok_or_else(short)?;
    let (text, data) = rest.split_at_checked(length as usize).ok_or_else(short)?;
    let text = str::from_utf8(text).map_err(|error| Error::malformed("npy header", "UTF-8", error))?;
    Ok((Dictionary { rest: text }.read()?, data))
}

/// The text of a dictionary that is still to be read.
struct Dictionary<'a> {
    rest: &'a str,
}

impl<'a> Dictionary<'a> {
    fn read(mut self) -> Result<Header> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.accept("}") {
            let key = self.string()?;
            self.expect(":")?;
            let twice = match key {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.tuple()?).is_some(),
                _ => return Err(Error::unsupported("npy header", format_args!("key {key:?}"))),
            };
            if twice {
                return Err(Error::malformed("npy header", "each key once", format_args!("{key} twice")));
            }
            if !self.accept(",") {
                self.expect("}")?;
                break;
            }
        }
        if !self.rest.trim_start().is_empty() {
            return Err(self.unexpected("the end"));
        }
        let missing = |key| Error::missing("npy header", key);
        let (dtype, byte_order) = descr.ok_or_else(|| missing("descr"))?;
        let fortran_order = fortran_order.ok_or_else(|| missing("fortran_order"))?;
        Ok(Header { dtype, byte_order, fortran_order, shape: shape.ok_or_else(|| missing("shape"))? })
    }

    fn accept(&mut self, token: &str) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<()> {
        if self.accept(token) { Ok(()) } else { Err(self.unexpected(token)) }
    }

    fn unexpected(&self, expected: &str) -> Error {
        let found: String = self.rest.trim_start().chars().take(20).collect();
        Error::malformed("npy header", expected, format_args!("{found:?}"))
    }

    /// A string without escapes, which none of the known keys and types needs.
    fn string(&mut self) -> Result<&'a str> {
        for quote in ["'", "\""] {
            if self.accept(quote) {
                let (string, rest) = self.rest.split_once(quote).ok_or_else(|| self.unexpected(quote))?;
                self.rest = rest;
                return Ok(string);
            }
        }
        Err(self.unexpected("a string"))
    }

    fn boolean(&mut self) -> Result<bool> {
        if self.accept("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn tuple(&mut self) -> Result<Vec<usize>> {
        let mut sizes = Vec::new();
        self.expect("(")?;
        while !self.accept(")") {
            let text = self.rest.trim_start();
            let (digits, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
            sizes.push(digits.parse().map_err(|_| self.unexpected("a size"))?);
            self.rest = rest;
            // Python 2 wrote long integers.
            self.accept("L");
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(sizes)
    }

    fn descr(&mut self) -> Result<(Dtype, ByteOrder)> {
        if self.rest.trim_start().starts_with('[') {
            return Err(Error::unsupported("npy header", "a structured dtype"));
        }
        let descr = self.string()?;
        let unsupported = || Error::unsupported("npy header", format_args!("dtype {descr:?}"));
        let (order, kind) = descr.split_at_checked(1).ok_or_else(unsupported)?;
        let dtype = match kind {
            "b1" => Dtype::Bool,
            "i1" => Dtype::I8,
            "i2" => Dtype::I16,
            "i4" => Dtype::I32,
            "i8" => Dtype::I64,
            "u1" => Dtype::U8,
            "u2" => Dtype::U16,
            "u4" => Dtype::U32,
            "u8" => Dtype::U64,
            "f2" => Dtype::F16,
            "f4" => Dtype::F32,
            "f8" => Dtype::F64,
            _ => return Err(unsupported()),
        };
        match order {
            "<" => Ok((dtype, ByteOrder::Little)),
            ">" => Ok((dtype, ByteOrder::Big)),
            "|" if dtype.size() == 1 => Ok((dtype, ByteOrder::Little)),
            _ => Err(unsupported()),
        }
    }
}

/// The header of `shape` in C order, little-endian, padded so that the data is aligned.
pub(super) fn written(dtype: Dtype, shape: &[usize]) -> Vec<u8> {
    let descr = match dtype {
        Dtype::Bool => "|b1",
        Dtype::I8 => "|i1",
        Dtype::I16 => "<i2",
        Dtype::I32 => "<i4",
        Dtype::I64 => "<i8",
        Dtype::U8 => "|u1",
        Dtype::U16 => "<u2",
        Dtype::U32 => "<u4",
        Dtype::U64 => "<u8",
        Dtype::F64 => "<f8",
        // bf16 has no name in NumPy; the data of both halves is f32.
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 => "<f4",
    };
    let sizes: String = shape.iter().map(|size| format!("{size}, ")).collect();
    // A tuple of one keeps its comma, others end without.
    let sizes = if shape.len() == 1 { sizes.trim_end() } else { sizes.trim_end_matches(", ") };
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    // Format 1 has a length of two bytes, enough for some three thousand axes; NumPy has at most 64.
    let length = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    let mut header = [MAGIC, &[1, 0], &(length as u16).to_le_bytes(), text.as_bytes()].concat();
    header.resize(MAGIC.len() + 4 + length - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Header> {
        let bytes = [MAGIC, &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
        parse(&bytes).map(|(header, _)| header)
    }

    #[test]
    fn headers_are_read() {
        let header = parsed("{'descr': '>f8', 'fortran_order': True, 'shape': (3, 40), }   \n").unwrap();
        assert_eq!((header.dtype, header.byte_order), (Dtype::F64, ByteOrder::Big));
        assert_eq!((header.fortran_order, header.shape), (true, vec![3, 40]));
        let header = parsed("{\"shape\":(7L,),\"descr\":\"|u1\",\"fortran_order\":False}").unwrap();
        assert_eq!((header.dtype, header.shape), (Dtype::U8, vec![7]));
        assert!(parsed("{'descr': '<f4', 'fortran_order': False, 'shape': ()}").unwrap().shape.is_empty());
    }

    #[test]
    fn written_headers_are_read_back() {
        for shape in [&[][..], &[5], &[2, 3], &[0, 1, 2, 3]] {
            let written = written(Dtype::I32, shape);
            assert_eq!(written.len() % 64, 0);
            let (header, rest) = parse(&written).unwrap();
            assert_eq!((header.dtype, &header.shape[..], rest.len()), (Dtype::I32, shape, 0));
        }
    }

    #[test]
    fn other_headers_are_refused_by_name() {
        for (text, message) in [
            ("", "{"),
            ("{'descr': '<f4', 'fortran_order': False}", "shape is missing"),
            ("{'descr': '<f4', 'shape': (1,)}", "fortran_order is missing"),
            ("{'fortran_order': False, 'shape': (1,)}", "descr is missing"),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "\"|O\""),
            ("{'descr': '=f4', 'fortran_order': False, 'shape': (1,)}", "\"=f4\""),
            ("{'descr': '|f4', 'fortran_order': False, 'shape': (1,)}", "\"|f4\""),
            ("{'descr': '', 'fortran_order': False, 'shape': (1,)}", "\"\""),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "structured"),
            ("{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}", "expected False"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "a size"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "a size"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", "expected )"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'shape': (2,)}", "shape twice"),
            ("{'other': '<f4'}", "\"other\""),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", "the end"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
        assert!(parse(b"\x93NUMPY\x04\x00").unwrap_err().to_string().contains("format 4.0"));
        assert!(parse(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{").is_err());
        assert!(parse(b"PK").is_err());
    }
}
