//! YAML text into typed values with their positions, and back; it knows no key.
//!
//! ```text
//! text ──tree──▶ nodes with line and column ──item──▶ typed values      writer ──▶ text
//!                        └────────── errors ──▶ diagnostics ◀──┘
//! ```
//!
//! A reading function returns a value, or `reason; what to type instead`, and its caller adds the place. An error
//! is collected and reading goes on, so that one run reports all of them.

pub(crate) mod addresses;
mod context;
pub(crate) mod diagnostics;
mod excerpt;
pub(crate) mod file;
mod item;
pub(crate) mod secrets;
pub(crate) mod tree;
pub(crate) mod units;
pub(crate) mod writer;

pub(crate) use self::{
    context::ReadContext,
    diagnostics::{Diagnostics, Place},
    item::{Fields, Item, Spanned},
    units::Parsed,
};
pub use self::{diagnostics::ConfigErrors, secrets::Secret};

#[doc(hidden)]
pub mod hostile {
    //! The parser that sees a file's bytes, for the fuzz targets.
    pub use super::tree::fuzz_tree;
}
