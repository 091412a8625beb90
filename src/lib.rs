//! regionwatch measures how its region reaches each peer region.
#![warn(missing_docs)]

pub mod config;
pub mod model;
pub mod probe;
pub mod wire;
