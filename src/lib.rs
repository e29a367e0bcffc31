//! Recurrent layers on CPUs.
pub mod cell;
pub mod error;
pub mod weights;
pub use error::{Error, Result};
