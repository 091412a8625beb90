//! What alarms were worth.

use testkit::simulation::{
    figures::{self, Worth},
    journal::{Journal, Said},
    places, rivals,
    timeline::{self, DAY, SECOND, Span, Time, Weather, YEAR},
    truth::{Plight, Truth},
    world::World,
};

use crate::{
    Args,
    table::{counts, header, rate, row},
    ways::{ALONE, BURST, HOLD, USUAL, Way},
};

/// What happens, and for how long.
struct History {
    regions: usize,
    length: Time,
    loss: f64,
    seed: u64,
    verbose: bool,
    spans: Vec<Span>,
    truth: Truth,
}

/// What came of one way to run the product.
struct Outcome {
    suspect: Worth,
    prepare: Worth,
    execute: Worth,
    missed: u64,
}

impl History {
    fn new(args: &Args, weather: &Weather, regions: usize, length: Time) -> Self {
        let spans = timeline::draw(weather, regions, length, args.seed, true);
        let truth = Truth::new(&spans, regions);
        let Args { seed, verbose, .. } = *args;
        Self { regions, length, loss: weather.loss, seed, verbose, spans, truth }
    }

    fn region_years(&self) -> f64 {
        self.regions as f64 * self.length as f64 / (YEAR * DAY as f64)
    }

    fn live(&self, way: &Way) -> Outcome {
        let rtt = places::by_distance(self.regions);
        let mut world = World::new(way.setup(rtt, self.loss, self.seed), self.spans.clone());
        world.run(self.length, |_| false);
        let journal = &world.journal;
        if self.verbose {
            tell(way, journal, &self.truth);
        }
        let down: Vec<_> = journal.down.iter().map(|(said, _)| *said).collect();
        let page = figures::page(&self.truth);
        Outcome {
            suspect: figures::worth(&journal.suspected, &page),
            prepare: figures::worth(&journal.opened, &page),
            execute: figures::worth(&journal.executed, figures::switch(&self.truth, HOLD)),
            missed: figures::detection(&journal.opened, &down, &self.truth).1,
        }
    }

    fn endure(&self, rival: &rivals::Rival) -> (Worth, u64) {
        let alarms = rival.alarms(&self.spans, self.regions, self.loss, self.length, self.seed);
        let missed = figures::detection(&alarms, &alarms, &self.truth).1;
        (figures::worth(&alarms, figures::page(&self.truth)), missed)
    }
}

/// Which alarms were false, and of what they consisted.
fn tell(way: &Way, journal: &Journal, truth: &Truth) {
    let tell = |stage: &str, said: &Said| {
        eprintln!("false {stage}: {said:?}");
        for span in truth.between(said.onset.saturating_sub(60 * SECOND), said.at) {
            if span.end + 60 * SECOND > said.onset {
                eprintln!("    {span:?}");
            }
        }
    };
    let (page, switch) = (figures::page(truth), figures::switch(truth, HOLD));
    journal.opened.iter().filter(|said| page(said) == Plight::InTouch).for_each(|said| tell("prepare", said));
    journal.executed.iter().filter(|said| switch(said) == Plight::InTouch).for_each(|said| tell("execute", said));
    let Journal { probes, extra, watched, isolated, restless, moves, .. } = journal;
    let (alike, executed) = figures::named_alike(&journal.executed);
    eprintln!(
        "{}: {alike} of {executed} extra_probes with one name, {} s probe by probe, {probes} probes, {extra} extra, isolated \
         {isolated} times, restless {restless}, {moves:?}",
        way.name,
        watched / SECOND
    );
}

pub(crate) fn all_troubles(args: &Args) {
    let weather = Weather { loss: args.loss, ..Weather::ROUGH.times(args.trouble) };
    let history = History::new(args, &weather, usize::from(args.regions), args.months * 30 * DAY);
    let years = history.region_years();
    let outages = history.truth.deaths().count();
    println!("### Alarms in {years:.1} region-years of {} regions, with {outages} outages\n", args.regions);
    header(&["", "alarm", "down", "cut off", "false", "false per region-year", "missed outages"]);
    let print = |name: &str, alarm: &str, worth: Worth, missed: String| {
        let names = [name, alarm].map(str::to_owned);
        row(names.into_iter().chain(counts(worth)).chain([rate(worth.wrong, years), missed]));
    };
    for way in [USUAL, BURST, ALONE] {
        let Outcome { suspect, prepare, execute, missed } = history.live(&way);
        print(way.name, "suspect", suspect, String::new());
        print(way.name, "prepare", prepare, missed.to_string());
        print(way.name, "execute", execute, String::new());
    }
    for rival in &rivals::ALL {
        let (worth, missed) = history.endure(rival);
        print(rival.name, "alarm", worth, missed.to_string());
    }
    println!();
}

pub(crate) fn one_by_one(args: &Args) {
    let regions = usize::from(args.regions);
    let length = args.months * 10 * DAY;
    let kinds = Weather { loss: args.loss, ..Weather::ROUGH.times(args.trouble) }.one_by_one();
    let histories: Vec<_> =
        kinds.iter().map(|(name, weather)| (*name, History::new(args, weather, regions, length))).collect();
    let years = regions as f64 * length as f64 / (YEAR * DAY as f64);
    println!("### False alarms per region-year, each trouble by itself for {years:.1} region-years\n");
    let names: Vec<_> = [""].into_iter().chain(histories.iter().map(|(name, _)| *name)).collect();
    header(&names);
    let print = |name: String, wrong: Vec<u64>| {
        row([name].into_iter().chain(wrong.into_iter().map(|wrong| rate(wrong, years))));
    };
    for way in [USUAL, ALONE] {
        let outcomes: Vec<_> = histories.iter().map(|(_, history)| history.live(&way)).collect();
        print(format!("{}: prepare", way.name), outcomes.iter().map(|outcome| outcome.prepare.wrong).collect());
        print(format!("{}: execute", way.name), outcomes.iter().map(|outcome| outcome.execute.wrong).collect());
    }
    for rival in &rivals::ALL {
        print(rival.name.to_owned(), histories.iter().map(|(_, history)| history.endure(rival).0.wrong).collect());
    }
    println!();
}

/// How many regions, for how long, with how many times as much trouble. More regions have so many paths that hardly any
/// time is calm.
const SIZES: [(usize, Time, f64); 2] = [(3, 12 * 30 * DAY, 1.0), (10, 10 * DAY, 2.0)];

pub(crate) fn by_regions(args: &Args) {
    println!("### Alarms by number of regions: down / cut off / false\n");
    header(&[
        "regions",
        "trouble",
        "region-years",
        "outages",
        "prepare",
        "execute",
        "missed outages",
        "single vantage: prepare",
        "execute",
    ]);
    for (regions, length, times) in SIZES {
        let weather = Weather { loss: args.loss, ..Weather::ROUGH.times(times * args.trouble) };
        let history = History::new(args, &weather, regions, length);
        let (usual, alone) = (history.live(&USUAL), history.live(&ALONE));
        let all = |worth| counts(worth).join(" / ");
        row([
            regions.to_string(),
            format!("x {times}"),
            format!("{:.4}", history.region_years()),
            history.truth.deaths().count().to_string(),
            all(usual.prepare),
            all(usual.execute),
            usual.missed.to_string(),
            all(alone.prepare),
            all(alone.execute),
        ]);
    }
    println!();
}
