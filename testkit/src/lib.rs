//! What the tests, the benchmarks and the simulation share: programs to start, networks to put them in, and what a
//! machine must have for that. Not a part of the product.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::new_without_default, reason = "making a host or a network has effects, which a default must not have")]
#![allow(missing_docs, reason = "for the tests of this project alone, where most names say what they are")]

pub mod cpu;
pub mod engine;
pub mod harness;
pub mod images;
pub mod kubernetes;
pub mod lease;
pub mod mariadb;
pub mod needs;
pub mod peers;
pub mod ports;
pub mod postgres;
pub mod probing;
pub mod process;
pub mod programs;
pub mod redis;
pub mod regions;
pub mod rig;
pub mod simulation;
pub mod sink;
pub mod source;
pub mod space;
pub mod stalls;
pub mod versions;
pub mod way;
pub mod web;

pub use inventory;
pub use testkit_macros::test;

use std::{env, path::Path, sync::LazyLock};

/// The folder of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is in a folder of the project")
}

/// The binary of the product, of the profile in which the test or benchmark that asks was built.
///
/// # Panics
/// Where it is not there. Cargo builds it before it runs a test or a benchmark of the product.
pub fn binary() -> &'static str {
    static BINARY: LazyLock<String> = LazyLock::new(|| {
        let own = env::current_exe().unwrap();
        // The program that asks is in `deps`, beside which the binaries are.
        let binary = own.parent().and_then(Path::parent).unwrap().join("regionwatch");
        assert!(binary.is_file(), "{} is missing; cargo build makes it", binary.display());
        binary.into_os_string().into_string().unwrap()
    });
    &BINARY
}
