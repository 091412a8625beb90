//! The data of records: what a message has of it, what dig prints of it, and how the two are compared.
//!
//! A layout for each type says what its data consists of, and reading, printing and parsing follow from it. A type without one
//! is the bytes that it is (RFC 3597). The data of a record stands here as it does in a message, but with whole names in
//! lower case, and with the pieces of a TXT record joined: so equal bytes are equal data.

mod layout;
mod params;
mod parse;
mod present;
#[cfg(test)]
mod tests;
mod text;
mod wire;

pub(super) use self::{
    parse::parse,
    present::present,
    wire::{answers, read},
};
