//! How much memory a file may ask for.

use crate::error::{Error, ErrorKind, Result};

/// Bytes that reading a file may still allocate: what it claims is taken from here before it is allocated.
///
/// Deflated members, shared storages and graph operators let few bytes claim many. The grant is far above what
/// trained weights reach, and below what would exhaust a machine that can hold the file.
#[derive(Debug)]
pub(crate) struct Budget {
    granted: u64,
    left: u64,
}

impl Budget {
    /// Bytes granted for each byte of the file.
    const FACTOR: u64 = 64;
    /// Bytes granted to any file, so that small files of zeros may be compressed well.
    const FLOOR: u64 = 1 << 20;

    pub(crate) fn of_file(len: usize) -> Self {
        let granted = Self::granted(len);
        Budget { granted, left: granted }
    }

    /// All that was granted, and how much of it was taken.
    pub(crate) fn state(&self) -> (u64, u64) {
        (self.granted, self.granted - self.left)
    }

    /// What a file of `len` bytes is granted.
    pub(crate) fn granted(len: usize) -> u64 {
        (len as u64).saturating_mul(Self::FACTOR).saturating_add(Self::FLOOR)
    }

    /// Adds what another file of `len` bytes grants.
    pub(crate) fn grant(&mut self, len: u64) {
        let more = len.saturating_mul(Self::FACTOR).min(u64::MAX - self.granted);
        self.granted += more;
        self.left += more;
    }

    /// Takes `bytes` for what stands at `place`.
    pub(crate) fn take(&mut self, bytes: u64, place: &str) -> Result<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::new(place, ErrorKind::TooLarge { claimed: bytes, allowed: self.left })),
        }
    }
}
