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

/// Simulates the decisions of all vantages in virtual time.
#[derive(Debug, Parser)]
struct Args {
    /// The part to simulate; everything by default.
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Regions, each with a vantage; ignored where several sizes are compared.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=50))]
    regions: u8,
    /// Virtual time, in months of 30 days; a third of it for each trouble by itself. Ignored where several sizes are
    /// compared.
    #[arg(long, default_value_t = 25)]
    months: u64,
    /// The same seed gives the same output.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fraction of probes lost at random, 0 to 1.
    #[arg(long, default_value_t = 0.02)]
    loss: f64,
    /// Multiplier of the rates of trouble.
    #[arg(long, default_value_t = 1.0)]
    trouble: f64,
    /// Outages for each row of the detection times; with 25 regions or more, an eighth of them.
    #[arg(long, default_value_t = 200)]
    outages: u64,
    /// Also print each false alarm, and how much was simulated.
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The time from an outage to the first alarm.
    Detection,
    /// The extra probes without any trouble except random loss.
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
    let Args { months, seed, loss, trouble, outages, regions, .. } = args;
    println!(
        "regionwatch {}, `--regions {regions} --months {months} --seed {seed} --loss {loss} --trouble {trouble} --outages \
         {outages}`\n",
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
