//! Votes of the vantages: who may vote, what they say, and whether we are the ones who are cut off.

mod ballots;
mod isolation;

pub use ballots::{Ballots, View, Views};
pub use isolation::Isolation;
