//! The versions of Prometheus, Alertmanager and blackbox_exporter: the system has the floor, and the newest lie unpacked
//! beside it, where `tests/install-newest` puts them.

use std::{
    env,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use crate::root;

/// Runs a suite on the newest programs, if its value is `newest`: `REGIONWATCH_TEST_SUITE=newest cargo test --test alerts`.
pub const VARIABLE: &str = "REGIONWATCH_TEST_SUITE";

/// The folder of the newest programs.
pub fn newest() -> PathBuf {
    root().join("target/tools/newest/usr/bin")
}

/// Starts this program again with the newest programs first on its PATH and with more options, where the environment asks
/// for that. Returns only where nothing has to be done, or where it cannot be.
pub fn choose(options: &[String]) -> Result<(), ExitCode> {
    match env::var(VARIABLE).as_deref() {
        Err(_) | Ok("floor") => return Ok(()),
        Ok("newest") => {}
        Ok(other) => {
            eprintln!("{VARIABLE}={other}: it is floor or newest");
            return Err(ExitCode::FAILURE);
        }
    }
    let folder = newest();
    if !folder.join("prometheus").is_file() {
        println!(
            "ignored (needs the newest Prometheus and Alertmanager; tests/run unpacks them in target/tools/newest)"
        );
        return Err(if env::var_os("CI").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([folder].into_iter().chain(env::split_paths(&path))).unwrap();
    let error = Command::new(env::current_exe().unwrap())
        .args(env::args_os().skip(1))
        .args(options)
        .env_remove(VARIABLE)
        .env("PATH", path)
        .exec();
    panic!("this program does not start again: {error}");
}

/// The newest of a program that is here, by its path.
pub fn newest_of(program: &str) -> PathBuf {
    let unpacked = newest().join(program);
    if unpacked.is_file() { unpacked } else { program.into() }
}

/// What a program says about its version, such as `0.28.0`.
pub fn version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output().unwrap();
    // Some of them write it to the standard error.
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    said.split("version ").nth(1).and_then(|rest| rest.split([' ', '+']).next()).unwrap_or("unknown").to_owned()
}
