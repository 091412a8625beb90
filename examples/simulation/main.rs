//! Simulates years of deciding and prints what came of it as Markdown. `docs/simulation.md` describes the model, and
//! has what this prints where it is given no options:
//!
//! ```text
//! cargo run --release --example simulation
//! ```

#![allow(missing_docs, reason = "a program")]

mod alarms;
mod detection;
mod table;
mod ways;

use clap::{Parser, ValueEnum};

/// Simulates deciding.
#[derive(Debug, Parser)]
struct Args {
    /// What is simulated; everything if not given.
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Regions, each with a vantage, where not several sizes are compared.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=50))]
    regions: u8,
    /// Virtual time, in months of 30 days, where not several sizes are compared; for each
    /// trouble by itself a third of it.
    #[arg(long, default_value_t = 25)]
    months: u64,
    /// The same seed gives the same output.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The share of probes that is lost by chance.
    #[arg(long, default_value_t = 0.02)]
    loss: f64,
    /// How many times as much trouble as usual.
    #[arg(long, default_value_t = 1.0)]
    trouble: f64,
    /// Deaths for each line of the times of detection; where there are 25 regions or more, an eighth of them.
    #[arg(long, default_value_t = 200)]
    deaths: u64,
    /// Also tells of each alarm that is false, and how much was simulated.
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The time from a death until the first alarm.
    Detection,
    /// The extra probes where nothing happens but loss by chance.
    Cost,
    /// The alarms in all troubles at once.
    Alarms,
    /// The alarms in each kind of trouble by itself.
    Troubles,
    /// The alarms by number of regions.
    Sizes,
}

fn main() {
    let args = Args::parse();
    let Args { months, seed, loss, trouble, deaths, regions, .. } = args;
    println!(
        "regionwatch {}, `--regions {regions} --months {months} --seed {seed} --loss {loss} --trouble {trouble} --deaths \
         {deaths}`\n",
        env!("CARGO_PKG_VERSION")
    );
    for (part, print) in [
        (Part::Detection, detection::by_regions as fn(&Args)),
        (Part::Detection, detection::by_rule),
        (Part::Cost, detection::cost),
        (Part::Alarms, alarms::all_troubles),
        (Part::Troubles, alarms::one_by_one),
        (Part::Sizes, alarms::by_regions),
    ] {
        if args.part.is_none_or(|asked| asked == part) {
            print(&args);
        }
    }
}
