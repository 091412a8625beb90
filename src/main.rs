//! The regionwatch binary.
fn main() {}
