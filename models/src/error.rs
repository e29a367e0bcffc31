//! The one error type: where in which file or input, and what is wrong there.

use std::fmt;
use std::io;

/// Why a file was not read, or an array not given.
///
/// It is shown as its place and its kind: `model.pt: weight_hh_l0: strides: expected ..., found ...`.
#[derive(Debug)]
pub struct Error {
    place: String,
    kind: ErrorKind,
}

/// What went wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file could not be opened, read or written.
    Io(io::Error),
    /// The bytes are not what the format says: the file is damaged, cut short, or of another format.
    Malformed {
        /// What the format has here.
        expected: String,
        /// What stands here.
        found: String,
    },
    /// Something would take more memory than a file of this size is granted.
    TooLarge {
        /// Bytes that the file claims.
        claimed: u64,
        /// Bytes that were left to it.
        allowed: u64,
    },
    /// A valid file that uses what this crate does not read.
    Unsupported {
        /// What that is, by its name in the file.
        what: String,
    },
    /// The file does not hold what it must.
    Missing {
        /// The name of what is not there.
        what: String,
    },
    /// What [`gatefold`] refused: weights that make no layer, or inputs that do not fit one.
    Layer(gatefold::Error),
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The path through file, tensor and field, joined by `": "`; empty where there is none.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What went wrong there.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    pub(crate) fn new(place: impl fmt::Display, kind: ErrorKind) -> Self {
        Error { place: place.to_string(), kind }
    }

    pub(crate) fn malformed(place: impl fmt::Display, expected: impl fmt::Display, found: impl fmt::Display) -> Self {
        Self::new(place, ErrorKind::Malformed { expected: expected.to_string(), found: found.to_string() })
    }

    pub(crate) fn unsupported(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::new(place, ErrorKind::Unsupported { what: what.to_string() })
    }

    pub(crate) fn missing(place: impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::new(place, ErrorKind::Missing { what: what.to_string() })
    }

    pub(crate) fn layer(place: impl fmt::Display, error: gatefold::Error) -> Self {
        Self::new(place, ErrorKind::Layer(error))
    }

    /// The same error, its place inside of `outer`.
    pub(crate) fn within(mut self, outer: impl fmt::Display) -> Self {
        self.place = if self.place.is_empty() { outer.to_string() } else { format!("{outer}: {}", self.place) };
        self
    }
}

impl From<gatefold::Error> for Error {
    fn from(error: gatefold::Error) -> Self {
        Error::layer("", error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        self.kind.fmt(f)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorKind::Io(error) => error.fmt(f),
            ErrorKind::Malformed { expected, found } => write!(f, "expected {expected}, found {found}"),
            ErrorKind::TooLarge { claimed, allowed } => {
                write!(f, "claims {claimed} bytes, more than the {allowed} that a file of this size is granted")
            }
            ErrorKind::Unsupported { what } => write!(f, "{what} is not supported"),
            ErrorKind::Missing { what } => write!(f, "{what} is missing"),
            ErrorKind::Layer(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ErrorKind::Io(error) => Some(error),
            ErrorKind::Layer(error) => Some(error),
            _ => None,
        }
    }
}
