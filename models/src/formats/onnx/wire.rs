//! Protocol Buffers' wire format: the fields of a message, none of whose bytes are copied.

use crate::error::{Error, Result};
use std::ops::Range;

/// Where bytes stand in the file.
pub(super) type Span = Range<usize>;

/// What a field holds on the wire.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Span),
}

/// The fields of the message at a [`Span`] of a file, one after the other. Nothing follows an error.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    file: &'a [u8],
    rest: Span,
}

impl<'a> Fields<'a> {
    /// `span` must lie inside of `file`, as those do that this iterator gives.
    pub(super) fn new(file: &'a [u8], span: Span) -> Self {
        Fields { file, rest: span }
    }

    fn take(&mut self, len: u64) -> Result<Span> {
        let start = self.rest.start;
        if len > self.rest.len() as u64 {
            let expected = format_args!("{len} more bytes");
            return Err(Error::malformed(format_args!("byte {start}"), expected, format_args!("{}", self.rest.len())));
        }
        self.rest.start += len as usize;
        Ok(start..self.rest.start)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let span = self.take(N as u64)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.file[span]);
        Ok(bytes)
    }

    /// An integer of seven bits a byte, the lowest first.
    pub(super) fn varint(&mut self) -> Result<u64> {
        let start = self.rest.start;
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.bytes()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::malformed(format_args!("byte {start}"), "an integer of ten bytes at most", "a longer one"))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn field(&mut self) -> Result<(u64, Value)> {
        let start = self.rest.start;
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.bytes()?),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(self.bytes()?),
            other => return Err(Error::malformed(format_args!("byte {start}"), "a wire type", other)),
        };
        Ok((tag >> 3, value))
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<(u64, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest.start = self.rest.end;
        }
        Some(field)
    }
}

impl Value {
    fn wrong(&self, expected: &str) -> Error {
        let found = match self {
            Value::Varint(_) => "an integer",
            Value::Fixed64(_) => "eight bytes",
            Value::Fixed32(_) => "four bytes",
            Value::Bytes(_) => "bytes with a length",
        };
        Error::malformed("field", expected, found)
    }

    pub(super) fn span(self) -> Result<Span> {
        match self {
            Value::Bytes(span) => Ok(span),
            other => Err(other.wrong("bytes with a length")),
        }
    }

    pub(super) fn int(self) -> Result<i64> {
        match self {
            Value::Varint(value) => Ok(value as i64),
            other => Err(other.wrong("an integer")),
        }
    }

    pub(super) fn float(self) -> Result<f32> {
        match self {
            Value::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            other => Err(other.wrong("four bytes")),
        }
    }

    /// A string of `file`.
    pub(super) fn text(self, file: &[u8]) -> Result<String> {
        let text = str::from_utf8(&file[self.span()?]);
        text.map(str::to_owned).map_err(|error| Error::malformed("string", "UTF-8", error))
    }

    /// Hands each integer of a repeated field to `put`, packed or one alone.
    pub(super) fn each_int(self, file: &[u8], mut put: impl FnMut(u64) -> Result<()>) -> Result<()> {
        match self {
            Value::Varint(value) => put(value),
            Value::Bytes(span) => {
                let mut packed = Fields::new(file, span);
                while !packed.is_empty() {
                    put(packed.varint()?)?;
                }
                Ok(())
            }
            other => Err(other.wrong("integers")),
        }
    }

    /// Appends the bytes of a repeated field of values of `N` bytes, packed or one alone.
    pub(super) fn append_fixed<const N: usize>(self, file: &[u8], to: &mut Vec<u8>) -> Result<()> {
        match self {
            Value::Fixed32(bytes) if N == 4 => to.extend(bytes),
            Value::Fixed64(bytes) if N == 8 => to.extend(bytes),
            Value::Bytes(span) if span.len() % N == 0 => to.extend_from_slice(&file[span]),
            other => return Err(other.wrong("values of a fixed size")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u64, String)>> {
        Fields::new(bytes, 0..bytes.len()).map(|field| field.map(|(n, value)| (n, format!("{value:?}")))).collect()
    }

    #[test]
    fn each_wire_type_is_read() {
        let bytes = b"\x08\x96\x01\x12\x02ab\x1d\x01\x02\x03\x04\x21\x01\x02\x03\x04\x05\x06\x07\x08";
        let values: Vec<_> = fields(bytes).unwrap();
        assert_eq!(values[0], (1, "Varint(150)".to_owned()));
        assert_eq!(values[1], (2, "Bytes(5..7)".to_owned()));
        assert_eq!(values[2], (3, "Fixed32([1, 2, 3, 4])".to_owned()));
        assert_eq!(values[3], (4, "Fixed64([1, 2, 3, 4, 5, 6, 7, 8])".to_owned()));
    }

    #[test]
    fn cut_and_overlong_fields_are_refused() {
        let long = [&[0x08][..], &[0xff; 10], &[0x01]].concat();
        for bytes in [&b"\x08"[..], b"\x08\x80", b"\x12\x03ab", b"\x0b", b"\x1d\x01", b"\x21\x01", &long] {
            assert!(fields(bytes).is_err(), "{bytes:?}");
        }
        assert!(fields(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").is_err());
    }

    #[test]
    fn repeated_numbers_are_packed_or_not() {
        let file = b"\x01\x80\x01";
        let mut ints = Vec::new();
        let put = |value| {
            ints.push(value);
            Ok(())
        };
        Value::Bytes(0..3).each_int(file, put).unwrap();
        assert_eq!(ints, [1, 128]);
        let mut bytes = Vec::new();
        assert!(Value::Bytes(0..3).append_fixed::<4>(file, &mut bytes).is_err());
        Value::Fixed32([1, 2, 3, 4]).append_fixed::<4>(file, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 2, 3, 4]);
    }
}
