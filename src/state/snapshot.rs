//! States as bytes, to be kept and taken up again.
//!
//! Little-endian: `GFST`, version (u32), bytes of a value, the cell, then N, channels of h, H (u64 each), h `[N, H]`,
//! c `[N, H]`, and a checksum (u64, FNV-1a) of all that comes before it.

use super::State;
use crate::cell::Cell;
use crate::error::{Error, Result};
use gatefold_kernels::real::Real;

const MAGIC: [u8; 4] = *b"GFST";
const VERSION: u32 = 1;
const HEAD: usize = 40;

impl<T: Real> State<T> {
    /// A copy as bytes, for [`State::restore`] on any machine and instruction set.
    ///
    /// ```
    /// use gatefold::cell::Cell;
    /// use gatefold::{Layer, Options, Weights};
    ///
    /// let weights = Weights::new(Cell::Lstm, 1, 1, vec![0.5f32; 4], vec![0.1; 4], None, None)?;
    /// let lstm = Layer::new(weights, Options::default())?;
    /// let mut state = lstm.state(1)?;
    /// state.set_c(&[0.25])?;
    /// let mut bytes = state.to_bytes();
    ///
    /// let mut other = lstm.state(1)?;
    /// other.restore(&bytes)?;
    /// assert_eq!(other.c_to_vec(), Some(vec![0.25]));
    /// bytes[45] ^= 1;
    /// assert!(other.restore(&bytes).is_err());
    /// # Ok::<(), gatefold::Error>(())
    /// ```
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.head().to_vec();
        for value in self.h_rows().flatten().chain(self.c_rows().into_iter().flatten().flatten()) {
            // The bits of an f32 are those of its value as f64, rounded back: exact, but a NaN keeps no payload.
            match size_of::<T>() {
                4 => bytes.extend((value.to_f64() as f32).to_le_bytes()),
                _ => bytes.extend(value.to_f64().to_le_bytes()),
            }
        }
        bytes.extend(checksum(&bytes).to_le_bytes());
        bytes
    }

    /// Takes up what [`State::to_bytes`] gave of a state of the same cell (SimpleRNN, LSTM or GRU), sizes and element type.
    ///
    /// # Errors
    /// [`Error::Snapshot`] if the bytes are none, are damaged, or are those of another state; then nothing was changed.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let head = self.head();
        let wrong = |what, expected: u64, found: u64| Err(Error::Snapshot { what, expected, found });
        let length = self.snapshot_len();
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, &byte| word << 8 | u64::from(byte));
        if bytes.get(..4) != Some(&MAGIC) {
            return wrong("first bytes", word(&MAGIC), word(bytes.get(..4).unwrap_or_default()));
        }
        let fields = [
            ("version", 4..8),
            ("bytes of a value", 8..12),
            ("cell", 12..16),
            ("rows", 16..24),
            ("channels of h", 24..32),
            ("units of c", 32..40),
        ];
        for (what, place) in fields {
            let (expected, found) = (word(&head[place.clone()]), word(bytes.get(place).unwrap_or_default()));
            if expected != found {
                return wrong(what, expected, found);
            }
        }
        if bytes.len() != length {
            return wrong("length", length as u64, bytes.len() as u64);
        }
        let (body, sum) = bytes.split_at(length - 8);
        if checksum(body) != word(sum) {
            return wrong("checksum", checksum(body), word(sum));
        }
        let mut values = body[HEAD..].chunks_exact(size_of::<T>()).map(|bytes| match size_of::<T>() {
            4 => T::from_f64(f32::from_bits(word(bytes) as u32).into()),
            _ => T::from_f64(f64::from_bits(word(bytes))),
        });
        let batch = self.batch;
        for (plane, units) in self.current_planes() {
            for n in 0..batch {
                super::row_of(plane, units, n).iter_mut().zip(&mut values).for_each(|(to, value)| *to = value);
            }
        }
        Ok(())
    }

    /// Bytes that [`State::to_bytes`] gives.
    pub(crate) fn snapshot_len(&self) -> usize {
        let values = self.h_rows().chain(self.c_rows().into_iter().flatten()).map(<[T]>::len).sum::<usize>();
        HEAD + values * size_of::<T>() + 8
    }

    fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&MAGIC);
        head[4..8].copy_from_slice(&VERSION.to_le_bytes());
        head[8..12].copy_from_slice(&(size_of::<T>() as u32).to_le_bytes());
        head[12..16].copy_from_slice(&number(self.dims.cell).to_le_bytes());
        let sizes = [self.batch, self.dims.output(), self.dims.hidden];
        for (place, size) in head[16..].chunks_exact_mut(8).zip(sizes) {
            place.copy_from_slice(&(size as u64).to_le_bytes());
        }
        head
    }
}

/// By which a snapshot tells cells apart whose states look alike.
fn number(cell: Cell) -> u32 {
    match cell {
        Cell::SimpleRnn { .. } => 0,
        Cell::Lstm => 1,
        Cell::Gru { .. } => 2,
    }
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
