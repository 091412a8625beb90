//! What happens to the regions and the paths between them, drawn before the simulation begins, so that several
//! machines of deciding are judged by the same input.

use super::random::Random;

/// Microseconds since the simulation began.
pub type Time = u64;
pub const MILLI: Time = 1000;
pub const SECOND: Time = 1000 * MILLI;
pub const DAY: Time = 86_400 * SECOND;
pub const YEAR: f64 = 365.25;

/// How the network and the regions behave.
#[derive(Debug, Clone)]
pub struct Weather {
    /// The share of probes that is lost, each independently of every other.
    pub loss: f64,
    /// Short outages of one direction between two regions, a day.
    pub blips: f64,
    /// Short outages of all paths of a region at once, a year and region.
    pub region_blips: f64,
    /// Deaths of a region, a year and region.
    pub deaths: f64,
    /// The network falling in two, a year.
    pub partitions: f64,
    /// One direction between two regions cut for minutes, a year and region.
    pub one_way_cuts: f64,
    /// A vantage whose own probes are lost while it can be reached, a year and region.
    pub blind_observers: f64,
    /// A sidecar that cannot run for 0.1 to 10 s, a day and region.
    pub freezes: f64,
    /// A sidecar that is started again, a year and region.
    pub restarts: f64,
}

impl Weather {
    /// Worse than what is usual between the regions of a public cloud.
    pub const ROUGH: Self = Self {
        loss: 0.02,
        blips: 2.0,
        region_blips: 52.0,
        deaths: 4.0,
        partitions: 4.0,
        one_way_cuts: 6.0,
        blind_observers: 12.0,
        freezes: 1.0,
        restarts: 26.0,
    };

    /// Nothing ever happens.
    pub const CALM: Self = Self {
        loss: 0.0,
        blips: 0.0,
        region_blips: 0.0,
        deaths: 0.0,
        partitions: 0.0,
        one_way_cuts: 0.0,
        blind_observers: 0.0,
        freezes: 0.0,
        restarts: 0.0,
    };
}

impl Weather {
    /// So many times as much trouble, with the same loss by chance.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            loss: self.loss,
            blips: self.blips * factor,
            region_blips: self.region_blips * factor,
            deaths: self.deaths * factor,
            partitions: self.partitions * factor,
            one_way_cuts: self.one_way_cuts * factor,
            blind_observers: self.blind_observers * factor,
            freezes: self.freezes * factor,
            restarts: self.restarts * factor,
        }
    }
}

impl Weather {
    /// Each kind of trouble by itself, as often as in this weather. Only the first has loss by chance.
    pub fn one_by_one(&self) -> [(&'static str, Self); 9] {
        let calm = Self::CALM;
        [
            ("random loss", Self { loss: self.loss, ..calm }),
            ("blips of one direction", Self { blips: self.blips, ..calm }),
            ("blips of a region", Self { region_blips: self.region_blips, ..calm }),
            ("outages", Self { deaths: self.deaths, ..calm }),
            ("partitions", Self { partitions: self.partitions, ..calm }),
            ("one-way cuts", Self { one_way_cuts: self.one_way_cuts, ..calm }),
            ("blind observers", Self { blind_observers: self.blind_observers, ..calm }),
            ("starved sidecars", Self { freezes: self.freezes, ..calm }),
            ("restarted sidecars", Self { restarts: self.restarts, ..calm }),
        ]
    }
}

/// What goes wrong. Regions are numbers from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing gets from the one to the other.
    Path { from: usize, to: usize },
    /// Nothing gets into or out of the region.
    Cut(usize),
    /// The region is dead.
    Dead(usize),
    /// Nothing gets from the regions in the set to those that are not, or back.
    Partition(u64),
    /// Nothing that the region's sidecar sends arrives; what others ask is answered.
    Blind(usize),
    /// The sidecar does not run.
    Frozen(usize),
    /// The sidecar does not run, and knows nothing afterwards.
    Restart(usize),
    /// The services of the region answer with an error, while its network and its sidecar go on.
    Service(usize),
    /// The services of all regions refuse what the vantages present.
    Token,
    /// So many slots running of the path from the one to the other are lost by chance.
    Run { from: usize, to: usize, slots: u32 },
}

#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub begin: Time,
    pub end: Time,
    pub trouble: Trouble,
}

impl Span {
    pub const fn covers(&self, at: Time) -> bool {
        self.begin <= at && at < self.end
    }

    /// Whether it keeps packets from getting from the one region to the other.
    pub const fn stops(&self, from: usize, to: usize) -> bool {
        match self.trouble {
            Trouble::Path { from: a, to: b } => a == from && b == to,
            Trouble::Cut(region) | Trouble::Dead(region) => region == from || region == to,
            Trouble::Partition(part) => (part >> from) & 1 != (part >> to) & 1,
            Trouble::Blind(_)
            | Trouble::Frozen(_)
            | Trouble::Restart(_)
            | Trouble::Service(_)
            | Trouble::Token
            | Trouble::Run { .. } => false,
        }
    }
}

/// How many losses running are worth a look. Five silent probes make a silence where three come from a burst, so that
/// two slots are always among them.
pub const RUN: u32 = 2;

/// From one slot of a path to the next.
const SLOT: Time = 250 * MILLI;

/// Everything that will happen, in the order in which it begins.
pub fn draw(weather: &Weather, regions: usize, length: Time, seed: u64, runs: bool) -> Vec<Span> {
    let mut spans = Vec::new();
    let pairs = || (0..regions).flat_map(|from| (0..regions).filter(move |to| *to != from).map(move |to| (from, to)));
    let mut events = |name: String, a_year: f64, span: &mut dyn FnMut(&mut Random) -> (f64, Trouble)| {
        let mut random = Random::stream(seed, &name);
        let mean = YEAR * DAY as f64 / a_year;
        let mut at = random.exponential(mean);
        while a_year > 0.0 && at < length as f64 {
            let (seconds, trouble) = span(&mut random);
            let (begin, lasts) = (at as Time, seconds * SECOND as f64);
            spans.push(Span { begin, end: begin + lasts as Time, trouble });
            at += lasts + random.exponential(mean);
        }
    };
    for (from, to) in pairs() {
        events(format!("blip {from} {to}"), weather.blips * YEAR, &mut |random| {
            (random.log_normal(1.5, 1.2).min(600.0), Trouble::Path { from, to })
        });
    }
    for region in 0..regions {
        events(format!("cut {region}"), weather.region_blips, &mut |random| {
            (random.log_normal(5.0, 1.0).min(600.0), Trouble::Cut(region))
        });
        events(format!("death {region}"), weather.deaths, &mut |random| {
            (random.log_normal(900.0, 1.2).clamp(90.0, 6.0 * 3600.0), Trouble::Dead(region))
        });
        events(format!("one way {region}"), weather.one_way_cuts, &mut |random| {
            let to = (region + 1 + random.below(regions as u64 - 1) as usize) % regions;
            (random.log_uniform(30.0, 1800.0), Trouble::Path { from: region, to })
        });
        events(format!("blind {region}"), weather.blind_observers, &mut |random| {
            (random.log_uniform(2.0, 600.0), Trouble::Blind(region))
        });
        events(format!("frozen {region}"), weather.freezes * YEAR, &mut |random| {
            (random.log_uniform(0.1, 10.0), Trouble::Frozen(region))
        });
        events(format!("restart {region}"), weather.restarts, &mut |random| {
            (random.log_uniform(0.2, 10.0), Trouble::Restart(region))
        });
    }
    events("partition".to_owned(), weather.partitions, &mut |random| {
        let all = (1u64 << regions) - 1;
        let part = 1 + random.below(all - 1);
        (random.log_uniform(60.0, 900.0), Trouble::Partition(part & all))
    });
    if runs && weather.loss > 0.0 {
        for (from, to) in pairs() {
            draw_runs(weather.loss, (from, to), length, seed, &mut spans);
        }
    }
    spans.sort_by_key(|span| span.begin);
    spans
}

/// Slots in which both kinds are lost come in runs; each slot that is answered ends one and begins the next, which may
/// be empty. The runs are independent, so that the number of shorter ones before one of [`RUN`] or more is geometric,
/// and how much longer it is than that is again.
fn draw_runs(loss: f64, (from, to): (usize, usize), length: Time, seed: u64, spans: &mut Vec<Span>) {
    let mut random = Random::stream(seed, &format!("run {from} {to}"));
    let lost = loss * loss;
    let mut at = 0.0;
    loop {
        // A run that is too short takes a slot for its end, and this many lost ones on average.
        let short = (1..RUN).map(|n| f64::from(n) * (1.0 - lost) * lost.powi(n as i32)).sum::<f64>();
        let slots = random.geometric(lost.powi(RUN as i32)) * (1.0 + short / (1.0 - lost.powi(RUN as i32)));
        let run = RUN + random.geometric(1.0 - lost) as u32;
        at += slots * SLOT as f64;
        if at >= length as f64 {
            return;
        }
        let begin = at as Time;
        spans.push(Span {
            begin,
            end: begin + Time::from(run + 1) * SLOT,
            trouble: Trouble::Run { from, to, slots: run },
        });
        at += f64::from(run + 1) * SLOT as f64;
    }
}
