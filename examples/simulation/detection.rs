//! How long a death takes to be found, and what the extra probes for that cost.

use testkit::simulation::{
    journal::{Journal, Said},
    places, rivals,
    timeline::{MILLI, SECOND, Span, Time, Trouble},
    truth::Truth,
    world::{Setup, World},
};

use crate::{
    Args,
    table::{header, rate, row, spread},
    ways::{ALONE, BURST, BURST_UNASKED, UNASKED, USUAL, Way},
};

/// Until a new world is settled.
const WARM_UP: Time = 8 * SECOND;

/// Until when a death is looked at.
#[derive(Clone, Copy, PartialEq)]
enum Until {
    Confirmed,
    Executed,
}

/// From the death of a region until the first alarm that is confirmed (without other vantages: until the first
/// suspicion), and until the first order to switch, in a new world.
fn one_death(setup: Setup, n: u64, until: Until) -> (Option<Time>, Option<Time>) {
    let quorum = setup.quorum;
    let begin = WARM_UP + (n * 7919 % 1000) * MILLI;
    let dead = n as usize % setup.rtt.len();
    let span = Span { begin, end: begin + 3600 * SECOND, trouble: Trouble::Dead(dead) };
    let mut world = World::new(Setup { seed: setup.seed + n * 1000, skip: false, ..setup }, vec![span]);
    let first = |alarms: &[Said]| alarms.iter().find(|said| said.at >= begin).map(|said| said.at - begin);
    let alarmed = |Journal { confirmed, suspected, .. }: &Journal| first(if quorum { confirmed } else { suspected });
    world.run(begin + 120 * SECOND, |journal| match until {
        Until::Confirmed => alarmed(journal).is_some(),
        Until::Executed => first(&journal.executed).is_some(),
    });
    (alarmed(&world.journal), first(&world.journal.executed))
}

fn print(names: impl IntoIterator<Item = String>, mut times: Vec<Time>, deaths: u64) {
    let missed = deaths - times.len() as u64;
    row(names.into_iter().chain(spread(&mut times)).chain([missed.to_string()]));
}

pub(crate) fn by_regions(args: &Args) {
    println!("### From outage to the first confirmed `prepare`, in seconds\n");
    header(&["regions", "round trip", "outages", "min", "p50", "p99", "max", "missed"]);
    for regions in [3, 5, 10, 25, 50] {
        for millis in [30, 100, 250] {
            let deaths = if regions < 25 { args.outages } else { args.outages / 8 };
            let rtt = places::even(regions, f64::from(millis) / 1000.0);
            let setup = USUAL.setup(rtt, args.loss, args.seed);
            let times = (0..deaths).filter_map(|n| one_death(setup.clone(), n, Until::Confirmed).0).collect();
            print([regions.to_string(), format!("{millis} ms"), deaths.to_string()], times, deaths);
        }
    }
    println!();
}

pub(crate) fn by_rule(args: &Args) {
    let regions = usize::from(args.regions);
    println!("### The same by rule, {regions} regions at a round trip of 100 ms, {} outages\n", args.outages);
    header(&["", "alarm", "min", "p50", "p99", "max", "missed"]);
    for way in [USUAL, BURST, UNASKED, BURST_UNASKED, ALONE] {
        let (mut alarmed, mut executed) = (Vec::new(), Vec::new());
        for n in 0..args.outages {
            let setup = way.setup(places::even(regions, 0.1), args.loss, args.seed);
            let times = one_death(setup, n, Until::Executed);
            alarmed.extend(times.0);
            executed.extend(times.1);
        }
        let Way { name, quorum, .. } = way;
        print([name, if quorum { "prepare, confirmed" } else { "suspect" }].map(str::to_owned), alarmed, args.outages);
        print([name, "execute"].map(str::to_owned), executed, args.outages);
    }
    for rival in &rivals::ALL {
        let times = deaths_of(rival, args, regions);
        print([rival.name, "alarm"].map(str::to_owned), times, args.outages);
    }
    println!();
}

/// From each death to the first alarm of whoever watches; one death an hour, for a quarter of it.
fn deaths_of(rival: &rivals::Rival, args: &Args, regions: usize) -> Vec<Time> {
    let spans: Vec<_> = (0..args.outages)
        .map(|n| {
            let begin = (n + 1) * 3600 * SECOND + (n * 7919 % 60_000) * MILLI;
            Span { begin, end: begin + 900 * SECOND, trouble: Trouble::Dead(n as usize % regions) }
        })
        .collect();
    let alarms = rival.alarms(&spans, regions, args.loss, (args.outages + 2) * 3600 * SECOND, args.seed);
    let first = |(region, begin, end): (usize, Time, Time)| {
        let mine = |said: &&Said| said.of == region && said.onset >= begin && said.at < end;
        alarms.iter().find(mine).map(|said| said.at - begin)
    };
    Truth::new(&spans, regions).deaths().filter_map(first).collect()
}

/// What the extra probes cost where nothing happens but loss by chance.
pub(crate) fn cost(args: &Args) {
    const HOURS: u64 = 2;
    let regions = usize::from(args.regions);
    let vantage_hours = (regions as u64 * HOURS) as f64;
    println!("### {HOURS} h without any trouble except random loss; per vantage and hour\n");
    header(&["", "probes", "extra probes", "extra", "suspects", "isolated"]);
    for way in [USUAL, BURST, UNASKED, ALONE] {
        let setup = way.setup(places::even(regions, 0.1), args.loss, args.seed);
        let mut world = World::new(Setup { skip: false, ..setup }, Vec::new());
        world.run(HOURS * 3600 * SECOND, |_| false);
        let Journal { probes, extra, suspected, isolated, .. } = &world.journal;
        row([
            way.name.to_owned(),
            format!("{:.0}", *probes as f64 / vantage_hours),
            format!("{:.1}", *extra as f64 / vantage_hours),
            format!("{:.3}%", 100.0 * *extra as f64 / *probes as f64),
            rate(suspected.len() as u64, vantage_hours),
            rate(*isolated, vantage_hours),
        ]);
    }
    println!();
}
