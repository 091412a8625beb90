//! What regionwatch says of databases, beside the truth, with a real PostgreSQL: whether the lag is inside its interval and how
//! wide that is, how soon a replica is known to be cut off, how far the latencies of reads and writes are off, and what fifty
//! databases cost.
//!
//! `cargo bench --bench databases -- --quick`, as root. Exit status 2 where a target was missed.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

mod cost;
mod lag;
mod latency;

use std::{fmt::Write as _, process::ExitCode};

use clap::{Parser, ValueEnum};
use testkit::{
    postgres::token_tables,
    rig::{Result, require, sys},
};

#[derive(Parser)]
struct Options {
    /// Some of the parts.
    #[arg(long, value_delimiter = ',', default_value = "lag,latency,cost")]
    only: Vec<Part>,
    /// For how many seconds the lag is measured; 18 readings per second are.
    #[arg(long, default_value_t = 210)]
    lag_seconds: u64,
    /// For how many seconds latencies are; 20 reads and 20 writes per second are.
    #[arg(long, default_value_t = 90)]
    latency_seconds: u64,
    /// For how many seconds the cost is.
    #[arg(long, default_value_t = 45)]
    cost_seconds: u64,
    /// A third of each: less than three minutes.
    #[arg(long)]
    quick: bool,
    /// Given by `cargo bench`, but not by `cargo test --all-targets`, which must not take minutes and root.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Lag,
    Latency,
    Cost,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("databases: runs by `cargo bench --bench databases` (or with --bench) only");
        return ExitCode::SUCCESS;
    }
    sys::catch_signals();
    match require(&["ip"]).and_then(|()| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("databases: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    let share = |seconds: u64| if options.quick { seconds / 3 } else { seconds };
    let mut met = true;
    for part in &options.only {
        eprintln!("databases: {part:?}");
        met &= match part {
            Part::Lag => lag::measure(share(options.lag_seconds))?,
            Part::Latency => latency::measure(share(options.latency_seconds))?,
            Part::Cost => cost::measure(share(options.cost_seconds))?,
        };
    }
    Ok(met)
}

/// The name of a database, and of its table.
fn name(number: usize) -> String {
    format!("d{number:02}")
}

/// The statements that create the tables of so many databases, and a role with as many connections as are needed.
fn tables(count: usize) -> String {
    let names: Vec<_> = (0..count).map(name).collect();
    token_tables(names.iter().map(String::as_str)) + "ALTER ROLE regionwatch CONNECTION LIMIT -1;"
}

/// A configuration with these databases, each with servers of these regions, addresses and ports, and one peer.
fn configuration(head: &str, databases: &[Vec<(String, String, u16)>]) -> String {
    let mut text = format!("{head}\ndatabases:\n");
    for (number, servers) in databases.iter().enumerate() {
        let name = name(number);
        let login = "kind: postgres, user: regionwatch, database: postgres";
        let servers: Vec<_> = servers
            .iter()
            .map(|(region, host, port)| format!("{{region: {region}, host: {host}, port: {port}}}"))
            .collect();
        let _ = writeln!(text, "  - {{name: {name}, {login}, table: {name}, servers: [{}]}}", servers.join(", "));
    }
    let (region, host, port) = &databases[0][0];
    let _ = writeln!(
        text,
        "peers:\n  - {{region: {region}, targets: [{{host: {host}, probes: [{{kind: tcp, port: {port}, interval: 1s}}]}}]}}"
    );
    text
}

/// `PASS` or `MISS`.
const fn verdict(passes: bool) -> &'static str {
    if passes { "PASS" } else { "MISS" }
}
