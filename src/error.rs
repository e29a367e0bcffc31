//! The one error type.

use gatefold_kernels::isa::UnknownIsa;
use gatefold_kernels::shape::ShapeError;
use std::fmt;

/// What is wrong with an argument. Nothing was changed when a function returns one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An argument has the wrong length, or one of its sizes is wrong.
    Shape {
        /// The argument, by the name that its function gives it.
        argument: &'static str,
        /// The number of values, or the size, that the other arguments ask for.
        expected: usize,
        /// What it was.
        found: usize,
    },
    /// An argument is shorter than it must be at least.
    TooSmall {
        /// The argument, by the name that its function gives it.
        argument: &'static str,
        /// The smallest number of values that would do.
        minimum: usize,
        /// What it was.
        found: usize,
    },
    /// A size is greater than it can be.
    TooGreat {
        /// The argument, by the name that its function gives it.
        argument: &'static str,
        /// The greatest that would do.
        maximum: usize,
        /// What it was.
        found: usize,
    },
    /// A number that makes no sense where it stands.
    Number {
        /// The argument, by the name that its function gives it.
        argument: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it was.
        found: f64,
    },
    /// Bytes that are not a snapshot of this state.
    Snapshot {
        /// What about them.
        what: &'static str,
        /// What it must be.
        expected: u64,
        /// What it was.
        found: u64,
    },
    /// A size is 0 that must be at least 1.
    Zero {
        /// The argument, by the name that its function gives it.
        argument: &'static str,
    },
    /// With this size, an array would have more bytes than `isize::MAX`, or more values than `usize` counts.
    TooLarge {
        /// The argument, by the name that its function gives it.
        argument: &'static str,
    },
    /// An instruction set was asked for by a name that is not available.
    Isa(UnknownIsa),
    /// A combination of options that is not computed.
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// Why it is refused.
        why: &'static str,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Refuses an argument of another size than it must have.
pub(crate) fn same(argument: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::Shape { argument, expected, found }) }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = |n: usize| if n == 1 { "value" } else { "values" };
        match self {
            Error::Shape { argument, expected, found } => {
                write!(f, "{argument}: expected {expected} {}, found {found}", values(*expected))
            }
            Error::TooSmall { argument, minimum, found } => {
                write!(f, "{argument}: expected at least {minimum} {}, found {found}", values(*minimum))
            }
            Error::TooGreat { argument, maximum, found } => {
                write!(f, "{argument}: expected at most {maximum}, found {found}")
            }
            Error::Number { argument, expected, found } => write!(f, "{argument}: expected {expected}, found {found}"),
            Error::Snapshot { what, expected, found } => {
                write!(f, "snapshot: {what}: expected {expected}, found {found}")
            }
            Error::Zero { argument } => write!(f, "{argument}: expected at least 1, found 0"),
            Error::TooLarge { argument } => {
                write!(f, "{argument}: too large, an array of this size cannot be addressed")
            }
            Error::Isa(unknown) => unknown.fmt(f),
            Error::Unsupported { what, why } => write!(f, "{what} is not supported: {why}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Isa(unknown) => Some(unknown),
            _ => None,
        }
    }
}

impl From<UnknownIsa> for Error {
    fn from(unknown: UnknownIsa) -> Error {
        Error::Isa(unknown)
    }
}

impl From<ShapeError> for Error {
    fn from(ShapeError { argument, expected, found }: ShapeError) -> Error {
        Error::Shape { argument, expected, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_argument_and_both_numbers() {
        let cases = [
            (
                Error::Shape { argument: "recurrent_kernel", expected: 48, found: 36 },
                "recurrent_kernel: expected 48 values, found 36",
            ),
            (Error::Shape { argument: "bias", expected: 1, found: 0 }, "bias: expected 1 value, found 0"),
            (
                Error::TooSmall { argument: "workspace", minimum: 9, found: 4 },
                "workspace: expected at least 9 values, found 4",
            ),
            (Error::TooGreat { argument: "lengths", maximum: 5, found: 7 }, "lengths: expected at most 5, found 7"),
            (
                Error::Number { argument: "clip", expected: "a positive number", found: -1.0 },
                "clip: expected a positive number, found -1",
            ),
            (Error::Snapshot { what: "version", expected: 1, found: 9 }, "snapshot: version: expected 1, found 9"),
            (Error::Zero { argument: "hidden" }, "hidden: expected at least 1, found 0"),
            (Error::TooLarge { argument: "input" }, "input: too large, an array of this size cannot be addressed"),
            (
                Error::Unsupported { what: "update_gate", why: "an LSTM has none" },
                "update_gate is not supported: an LSTM has none",
            ),
        ];
        for (error, message) in cases {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn an_unknown_isa_is_the_source() {
        let error = Error::from(UnknownIsa { name: "mmx".into() });
        assert!(error.to_string().contains("mmx"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
        assert!(std::error::Error::source(&Error::Zero { argument: "input" }).is_none());
    }
}
