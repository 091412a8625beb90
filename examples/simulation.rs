//! Simulates years of deciding and prints what came of it as Markdown. `docs/simulation.md` describes the model.
//!
//! ```text
//! cargo run --release --example simulation -- --regions 5 --months 12 --seed 1 --loss 0.02
//! ```

#![allow(missing_docs, reason = "a program")]

#[path = "../tests/simulation/model/mod.rs"]
mod model;

use std::time::Duration;

use clap::Parser;
use model::{
    figures::{self, Worth},
    journal::{Journal, Said},
    places, rivals,
    timeline::{self, DAY, MILLI, SECOND, Span, Time, Trouble, Weather, YEAR},
    truth::{Plight, Truth},
    world::{Setup, World},
};
use regionwatch::vantage::Policy;

/// Simulates deciding.
#[derive(Debug, Parser)]
struct Args {
    /// Regions, each with a vantage.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=50))]
    regions: u8,
    /// Virtual time, in months of 30 days.
    #[arg(long, default_value_t = 1)]
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
    /// The same round trip between all regions, in milliseconds; by distance if not given.
    #[arg(long)]
    rtt: Option<u32>,
    /// How many of the ways to run the product are simulated.
    #[arg(long, default_value_t = MODES.len())]
    modes: usize,
    /// Also tells of each alarm that is false.
    #[arg(long)]
    verbose: bool,
    /// Deaths for the times of detection; 0 leaves that part out.
    #[arg(long, default_value_t = 400)]
    deaths: u64,
}

const HOLD: Time = 30 * SECOND;

/// A way to run the product.
struct Mode {
    name: &'static str,
    burst: bool,
    ask: bool,
    quorum: bool,
}

const MODES: [Mode; 4] = [
    Mode { name: "regionwatch", burst: false, ask: true, quorum: true },
    Mode { name: "regionwatch, edge burst", burst: true, ask: true, quorum: true },
    Mode { name: "regionwatch, votes by the slots alone", burst: false, ask: false, quorum: true },
    Mode { name: "regionwatch, each vantage alone", burst: false, ask: false, quorum: false },
];

fn setup(args: &Args, mode: &Mode) -> Setup {
    let regions = usize::from(args.regions);
    Setup {
        rtt: args
            .rtt
            .map_or_else(|| places::by_distance(regions), |millis| places::even(regions, f64::from(millis) / 1000.0)),
        policy: Policy {
            edge_burst: mode.burst,
            execute_after: Duration::from_micros(HOLD),
            allow_single_vantage: !mode.quorum,
        },
        quorum: mode.quorum,
        ask: mode.ask,
        loss: args.loss,
        skip: true,
        seed: args.seed,
    }
}

fn main() {
    let args = Args::parse();
    let Args { regions, months, seed, loss, trouble, .. } = args;
    println!("`--regions {regions} --months {months} --seed {seed} --loss {loss} --trouble {trouble}`\n");
    alarms(&args);
    if args.deaths > 0 {
        detection(&args);
        cost(&args);
    }
}

fn row(cells: &[String]) {
    println!("| {} |", cells.join(" | "));
}

fn header(cells: &[&str]) {
    row(&cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    println!("|{}", "---|".repeat(cells.len()));
}

/// A rate, with as many digits as say something.
fn rate(count: u64, years: f64) -> String {
    let rate = count as f64 / years;
    if rate >= 100.0 { format!("{rate:.0}") } else { format!("{rate:.2}") }
}

fn alarms(args: &Args) {
    let regions = usize::from(args.regions);
    let length = args.months * 30 * DAY;
    let years = args.regions as f64 * length as f64 / (YEAR * DAY as f64);
    let weather = Weather { loss: args.loss, ..Weather::ROUGH.times(args.trouble) };
    let spans = timeline::draw(&weather, regions, length, args.seed, true);
    let truth = Truth::new(&spans, regions);
    println!("### Alarms in {years:.1} region-years, {} deaths\n", truth.deaths().count());
    header(&["", "alarm", "dead", "cut off", "false", "false a region-year", "missed deaths"]);
    for mode in MODES.iter().take(args.modes) {
        let mut world = World::new(setup(args, mode), spans.clone());
        world.run(length, |_| false);
        let journal = &world.journal;
        let down: Vec<_> = journal.down.iter().map(|(said, _)| *said).collect();
        let print = |stage: &str, worth: Worth, missed: String| {
            let Worth { dead, cut_off, wrong } = worth;
            row(&[
                mode.name.to_owned(),
                stage.to_owned(),
                dead.to_string(),
                cut_off.to_string(),
                wrong.to_string(),
                rate(wrong, years),
                missed,
            ]);
        };
        if args.verbose {
            tell_wrong(journal, &truth);
        }
        let page = figures::page(&truth);
        let (_, missed) = figures::detection(&journal.opened, &down, &truth);
        print("suspect", figures::worth(&journal.suspected, &page), String::new());
        print("prepare", figures::worth(&journal.opened, &page), missed.to_string());
        print("execute", figures::worth(&journal.executed, figures::switch(&truth, HOLD)), String::new());
        eprintln!(
            "{}: {} of {} alarms with one name, {} s of {} s probe by probe, {} probes, {} extra, isolated {} times, \
             restless {}, {:?}",
            mode.name,
            figures::named_alike(&journal.opened).0,
            figures::named_alike(&journal.opened).1,
            journal.watched / SECOND,
            length / SECOND,
            journal.probes,
            journal.extra,
            journal.isolated,
            journal.restless,
            journal.moves
        );
    }
    for rival in &rivals::ALL {
        let alarms = rival.alarms(&spans, regions, args.loss, length, args.seed);
        let Worth { dead, cut_off, wrong } = figures::worth(&alarms, figures::page(&truth));
        let (_, missed) = figures::detection(&alarms, &alarms, &truth);
        row(&[
            rival.name.to_owned(),
            "alarm".to_owned(),
            dead.to_string(),
            cut_off.to_string(),
            wrong.to_string(),
            rate(wrong, years),
            missed.to_string(),
        ]);
    }
    println!();
}

fn tell_wrong(journal: &Journal, truth: &Truth) {
    let tell = |stage: &str, said: &Said| {
        eprintln!("false {stage}: {said:?}");
        for span in truth.between(said.onset.saturating_sub(60 * SECOND), said.at) {
            if span.end + 60 * SECOND > said.onset {
                eprintln!("    {span:?}");
            }
        }
    };
    let page = figures::page(truth);
    journal.opened.iter().filter(|said| page(said) == Plight::InTouch).for_each(|said| tell("prepare", said));
    let switch = figures::switch(truth, HOLD);
    journal.executed.iter().filter(|said| switch(said) == Plight::InTouch).for_each(|said| tell("execute", said));
}

/// From the death of a region until the first alarm that is confirmed, and until the first order to switch, each time
/// in a new world.
fn detection(args: &Args) {
    let regions = usize::from(args.regions);
    println!("### From death to the first vantage's alarm, in seconds, {} deaths\n", args.deaths);
    header(&["", "alarm", "p50", "p90", "p99", "max", "missed"]);
    let print = |name: &str, alarm: &str, times: &mut Vec<Time>| {
        times.sort_unstable();
        let mut cells = vec![name.to_owned(), alarm.to_owned()];
        cells
            .extend([0.5, 0.9, 0.99, 1.0].map(|part| {
                figures::quantile(times, part).map_or_else(String::new, |seconds| format!("{seconds:.2}"))
            }));
        cells.push((args.deaths - times.len() as u64).to_string());
        row(&cells);
    };
    for mode in MODES.iter().take(args.modes) {
        let (mut confirmed, mut executed) = (Vec::new(), Vec::new());
        for n in 0..args.deaths {
            let times = one_death(args, mode, n);
            confirmed.extend(times.0);
            executed.extend(times.1);
        }
        print(mode.name, if mode.quorum { "prepare, confirmed" } else { "suspect" }, &mut confirmed);
        print(mode.name, "execute", &mut executed);
    }
    for rival in &rivals::ALL {
        let mut spans = Vec::new();
        for n in 0..args.deaths {
            let begin = (n + 1) * 3600 * SECOND + (n * 7919 % 60_000) * MILLI;
            spans.push(Span { begin, end: begin + 900 * SECOND, trouble: Trouble::Dead(n as usize % regions) });
        }
        let truth = Truth::new(&spans, regions);
        let length = (args.deaths + 2) * 3600 * SECOND;
        let alarms = rival.alarms(&spans, regions, args.loss, length, args.seed);
        let first = |(region, begin, end): (usize, Time, Time)| {
            let mine = |said: &&Said| said.of == region && said.onset >= begin && said.at < end;
            alarms.iter().find(mine).map(|said| said.at - begin)
        };
        print(rival.name, "alarm", &mut truth.deaths().filter_map(first).collect());
    }
    println!();
}

fn one_death(args: &Args, mode: &Mode, n: u64) -> (Option<Time>, Option<Time>) {
    let seed = args.seed + n * 1000;
    let begin = 8 * SECOND + (n * 7919 % 1000) * MILLI;
    let span =
        Span { begin, end: begin + 3600 * SECOND, trouble: Trouble::Dead(n as usize % usize::from(args.regions)) };
    let mut world = World::new(Setup { seed, skip: false, ..setup(args, mode) }, vec![span]);
    let first = |alarms: &[Said]| alarms.iter().find(|said| said.at >= begin).map(|said| said.at - begin);
    world.run(begin + 120 * SECOND, |journal| !journal.executed.is_empty());
    let Journal { confirmed, suspected, executed, .. } = &world.journal;
    (first(if mode.quorum { confirmed } else { suspected }), first(executed))
}

/// What the extra probes cost where nothing happens but loss by chance.
fn cost(args: &Args) {
    const HOURS: u64 = 2;
    let vantage_hours = f64::from(args.regions) * HOURS as f64;
    println!("### {HOURS} h without any trouble but loss by chance, not skipped; a vantage and hour\n");
    header(&["", "probes", "extra probes", "extra", "suspects", "isolated"]);
    for mode in MODES.iter().take(args.modes) {
        let length = HOURS * 3600 * SECOND;
        let mut world = World::new(Setup { skip: false, ..setup(args, mode) }, Vec::new());
        world.run(length, |_| false);
        let Journal { probes, extra, suspected, isolated, .. } = &world.journal;
        row(&[
            mode.name.to_owned(),
            format!("{:.0}", *probes as f64 / vantage_hours),
            format!("{:.1}", *extra as f64 / vantage_hours),
            format!("{:.3} %", 100.0 * *extra as f64 / *probes as f64),
            rate(suspected.len() as u64, vantage_hours),
            rate(*isolated, vantage_hours),
        ]);
    }
    println!();
}
