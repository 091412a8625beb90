//! The regionwatch binary: a list of steps, all of them in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    regionwatch::cli::main()
}
