//! How a kernel says no.

use std::fmt;

/// An argument of a kernel has the wrong size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// Which argument, as the documentation of the call names it.
    pub argument: &'static str,
    /// The size it must have, or the least it may have.
    pub expected: usize,
    /// The size it has.
    pub found: usize,
}

impl ShapeError {
    /// `Ok` if `found` is `expected`.
    pub fn same(argument: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
        Self::when(found != expected, argument, expected, found)
    }

    /// `Ok` if `found` is at least `expected`.
    pub fn at_least(argument: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
        Self::when(found < expected, argument, expected, found)
    }

    fn when(wrong: bool, argument: &'static str, expected: usize, found: usize) -> Result<(), ShapeError> {
        if wrong { Err(ShapeError { argument, expected, found }) } else { Ok(()) }
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.argument, self.expected, self.found)
    }
}

impl std::error::Error for ShapeError {}
