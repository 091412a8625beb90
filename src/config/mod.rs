//! YAML file and environment into one valid [`Config`]; every mistake is told at once.

mod types;

pub use types::*;
