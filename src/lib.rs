//! regionwatch measures how its region reaches each peer region.
#![warn(missing_docs)]

pub mod config;
pub mod metrics;
pub mod model;
pub mod probe;
pub mod schedule;
pub mod server;
pub mod window;
pub mod wire;
