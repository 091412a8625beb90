//! Whether the true lag lies inside the interval, how wide that is, and how soon a replica is known to be cut off.
//!
//! The truth is what this process writes at the primary and reads at each replica, some hundred times a second and by its own
//! clock. When regionwatch read is known from the page, on which its bounds change.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use testkit::{
    postgres::{Postgres, Session},
    process::{Running, eventually, free, request},
    rig::{
        Result, pause, regionwatch,
        stats::{Table, number, quantile},
    },
    way::Way,
};
use tokio::time::Instant;

use crate::{configuration, name, tables, verdict};

/// Each reads every replica for itself, at its own moments.
const DATABASES: usize = 6;
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// The replicas, by what is done to them.
const REPLICAS: [&str; 3] = ["paused", "delayed", "cut"];
const CUT: usize = 2;

/// How long each is disturbed, and left in peace.
const PAUSED: (Duration, Duration) = (Duration::from_millis(10_500), Duration::from_secs(4));
const CUT_OFF: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(5));
/// `recovery_min_apply_delay` in seconds, one after the other.
const DELAYS: [u64; 6] = [3, 10, 1, 6, 0, 8];
const DELAYED: Duration = Duration::from_secs(12);

/// What the interval may be wider than one interval of the schedule, a write and a read.
const MARGIN: Duration = Duration::from_millis(50);
/// What is known of a read before its result is on the page, besides what a read of this process takes.
const PAGE: Duration = Duration::from_millis(10);
const MOST_UNTIL_KNOWN: f64 = 3.0;
/// The upper ends of the rows of the table, s.
const BANDS: [f64; 5] = [1.0, 3.0, 6.0, 9.0, 12.0];
const LEAST_READINGS: usize = 1_000;

/// Something that took time.
#[derive(Debug, Clone, Copy)]
struct Span {
    began: Instant,
    ended: Instant,
}

impl Span {
    fn duration(self) -> Duration {
        self.ended - self.began
    }
}

/// What was at a replica: the number of the newest write.
#[derive(Debug, Clone, Copy)]
struct Seen {
    read: Span,
    newest: usize,
}

/// What this process knows by itself.
struct Truth {
    /// The write of number n is the one at n - 1.
    writes: Vec<Span>,
    replicas: [Vec<Seen>; REPLICAS.len()],
}

/// What the page says of a replica.
#[derive(Debug, Clone, Default, PartialEq)]
struct View {
    bounds: Option<(f64, f64)>,
    state: String,
}

/// A reading of regionwatch, which ended between two looks at the page.
struct Reading {
    replica: usize,
    since: Instant,
    until: Instant,
    lower: f64,
    upper: f64,
}

/// What was seen of regionwatch.
#[derive(Default)]
struct Story {
    readings: Vec<Reading>,
    /// When the state of the replica that is cut changed, by database.
    states: Vec<(usize, Instant, String)>,
}

struct World {
    primary: Postgres,
    replicas: Vec<Postgres>,
    way: Way,
    page: SocketAddr,
    _instance: Running,
    _folder: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let primary = Postgres::start("host all regionwatch 127.0.0.1/32 trust\n", &["wal_level=replica"]);
        primary.run_sql(&tables(DATABASES));
        primary.run_sql("CREATE TABLE truth (n int) WITH (fillfactor = 20)");
        primary.run_sql("INSERT INTO truth VALUES (0)");
        let way = Way::to(primary.addr);
        let replicas: Vec<_> =
            [primary.addr, primary.addr, way.addr].map(|from| Postgres::replica(from, &["hot_standby=on"])).into();
        let regions = ["primary"].into_iter().chain(REPLICAS);
        let servers = regions.zip([&primary].into_iter().chain(&replicas));
        let servers: Vec<_> =
            servers.map(|(region, server)| (region.to_owned(), "127.0.0.1".to_owned(), server.addr.port())).collect();
        let page = free();
        let config = configuration(&format!("region: vantage\nlisten: {page}"), &vec![servers; DATABASES]);
        let folder = tempfile::tempdir().unwrap();
        let config = testkit::process::write(folder.path(), "regionwatch.yaml", &config);
        let program = regionwatch::program();
        let instance = Running::start(program.to_str().unwrap(), &["run", "--config", &config], &[]);
        let world = Self { primary, replicas, way, page, _instance: instance, _folder: folder };
        eventually("every replica has a token of every database", 60 * SECOND, || {
            let views = world.look();
            let known = views.values().filter(|view| view.bounds.is_some() && view.state == "caught_up").count();
            (known == DATABASES * REPLICAS.len()).then_some(())
        });
        world
    }

    /// What the page says, by database and replica.
    fn look(&self) -> HashMap<(usize, usize), View> {
        let page = request(self.page, "GET", "/metrics").map(|answer| answer.body).unwrap_or_default();
        let mut lower = HashMap::new();
        let mut views = HashMap::<_, View>::new();
        let label = |line: &str, name: &str| -> Option<String> {
            Some(line.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.to_owned())
        };
        for line in page.lines() {
            let Some(line) = line.strip_prefix("regionwatch_database_") else { continue };
            if !line.starts_with("replication_lag_seconds{") && !line.starts_with("state{") {
                continue;
            }
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (Some(database), Some(region), Ok(value)) =
                (label(series, "database"), label(series, "peer_region"), value.parse::<f64>())
            else {
                continue;
            };
            let database = (0..DATABASES).find(|n| name(*n) == database);
            let replica = REPLICAS.iter().position(|name| *name == region);
            let (Some(database), Some(replica)) = (database, replica) else { continue };
            let key = (database, replica);
            if series.starts_with("replication_lag_seconds") && series.contains("lower") {
                lower.insert(key, value);
            } else if series.starts_with("replication_lag_seconds") {
                let view = views.entry(key).or_default();
                view.bounds = lower.get(&key).map(|lower| (*lower, value));
            } else if series.starts_with("state{") && value == 1.0 {
                views.entry(key).or_default().state = label(series, "state").unwrap_or_default();
            }
        }
        views
    }
}

pub(crate) fn measure(seconds: u64) -> Result<bool> {
    let world = World::start();
    let stop = AtomicBool::new(false);
    let (truth, cuts, story) = thread::scope(|scope| {
        let world = &world;
        let stop = &stop;
        let write = scope.spawn(move || write(world, stop));
        let readers = [0, 1, 2].map(|replica| scope.spawn(move || read(world, replica, stop)));
        let disturb = [
            scope.spawn(move || pause_and_resume(world, stop)),
            scope.spawn(move || delay(world, stop)),
            scope.spawn(move || cut(world, stop)),
        ];
        let story = watch(world, Instant::now() + Duration::from_secs(seconds));
        stop.store(true, Ordering::Relaxed);
        let mut cuts = Vec::new();
        for disturbed in disturb {
            cuts.extend(disturbed.join().unwrap());
        }
        let replicas = readers.map(|reader| reader.join().unwrap());
        (Truth { writes: write.join().unwrap(), replicas }, cuts, story)
    });
    let story = story?;
    Ok(report(&truth, &story) & report_cuts(&cuts, &story))
}

/// Writes one number after the other.
fn write(world: &World, stop: &AtomicBool) -> Vec<Span> {
    let mut session = Session::open(world.primary.addr).unwrap();
    let mut writes = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        session.ask(&format!("UPDATE truth SET n = {}", writes.len() + 1)).unwrap();
        writes.push(Span { began, ended: Instant::now() });
        thread::sleep(5 * MS);
    }
    writes
}

/// Reads which number is at a replica.
fn read(world: &World, replica: usize, stop: &AtomicBool) -> Vec<Seen> {
    let server = world.replicas[replica].addr;
    let mut session = Session::open(server).unwrap();
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        match session.ask("SELECT n FROM truth") {
            Ok(newest) => {
                let newest = newest.unwrap().parse().unwrap();
                seen.push(Seen { read: Span { began, ended: Instant::now() }, newest });
            }
            // A replica ends statements that its replay has to wait for.
            Err(_) => session = Session::open(server).unwrap(),
        }
        thread::sleep(5 * MS);
    }
    seen
}

/// Waits, unless it is over. Says whether it waited for all of the time.
fn stay(duration: Duration, stop: &AtomicBool) -> bool {
    let until = Instant::now() + duration;
    while !stop.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(50 * MS));
    }
    false
}

fn pause_and_resume(world: &World, stop: &AtomicBool) -> Vec<Instant> {
    let mut session = Session::open(world.replicas[0].addr).unwrap();
    loop {
        session.ask("SELECT pg_wal_replay_pause()").unwrap();
        let goes_on = stay(PAUSED.0, stop);
        session.ask("SELECT pg_wal_replay_resume()").unwrap();
        if !goes_on || !stay(PAUSED.1, stop) {
            return Vec::new();
        }
    }
}

fn delay(world: &World, stop: &AtomicBool) -> Vec<Instant> {
    let mut session = Session::open(world.replicas[1].addr).unwrap();
    for seconds in DELAYS.iter().cycle() {
        session.ask(&format!("ALTER SYSTEM SET recovery_min_apply_delay = '{seconds}s'")).unwrap();
        session.ask("SELECT pg_reload_conf()").unwrap();
        if !stay(DELAYED, stop) {
            break;
        }
    }
    Vec::new()
}

/// Cuts the way of a replica again and again. Returns when, of those times that lasted.
fn cut(world: &World, stop: &AtomicBool) -> Vec<Instant> {
    let mut cuts = Vec::new();
    // Not in step with the schedule of the tokens.
    for extra in (0..).map(|n: u32| n * 137 % 1000) {
        if !stay(CUT_OFF.1 + extra * MS, stop) {
            break;
        }
        let at = Instant::now();
        world.way.cut(true);
        let lasted = stay(CUT_OFF.0, stop);
        world.way.cut(false);
        if !lasted {
            break;
        }
        cuts.push(at);
    }
    cuts
}

/// Looks at the page until it is over.
fn watch(world: &World, end: Instant) -> Result<Story> {
    let mut story = Story::default();
    let mut before = world.look();
    let mut since = Instant::now();
    while Instant::now() < end {
        pause(5 * MS)?;
        let asked = Instant::now();
        let views = world.look();
        let until = Instant::now();
        for (key, view) in &views {
            let (database, replica) = *key;
            let known = before.get(key);
            if replica == CUT && known.is_none_or(|known| known.state != view.state) {
                story.states.push((database, until, view.state.clone()));
            }
            let is_new = known.is_some_and(|known| known.bounds != view.bounds) && view.state != "unknown";
            if let (true, Some((lower, upper))) = (is_new, view.bounds) {
                story.readings.push(Reading { replica, since, until, lower, upper });
            }
        }
        (before, since) = (views, asked);
    }
    Ok(story)
}

impl Truth {
    /// The longest of these spans that was under way in a time.
    fn longest(spans: impl Iterator<Item = Span>, from: Instant, until: Instant) -> Duration {
        spans.filter(|span| span.ended >= from && span.began <= until).map(Span::duration).max().unwrap_or_default()
    }

    fn longest_write(&self, from: Instant, until: Instant) -> Duration {
        let first = self.writes.partition_point(|write| write.ended < from);
        Self::longest(self.writes[first..].iter().copied().take_while(|write| write.began <= until), from, until)
    }

    fn longest_read(&self, replica: usize, from: Instant, until: Instant) -> Duration {
        let seen = &self.replicas[replica];
        let first = seen.partition_point(|seen| seen.read.ended < from);
        let reads = seen[first..].iter().map(|seen| seen.read).take_while(|read| read.began <= until);
        Self::longest(reads, from, until)
    }

    /// What the lag was at the least and at the most in a time; nothing where it is not known.
    fn lag(&self, replica: usize, from: Instant, until: Instant) -> Option<(f64, f64)> {
        let seen = &self.replicas[replica];
        let before = seen.partition_point(|seen| seen.read.ended <= from).checked_sub(1)?;
        let after = seen.partition_point(|seen| seen.read.began < until);
        let (least, most) = (seen[before].newest, seen.get(after)?.newest);
        // The next write after the newest is missing at the least. At the most, so is a token that was written just after the
        // one that was there.
        let least_lag =
            self.writes.get(most).map_or(Duration::ZERO, |missing| from.saturating_duration_since(missing.ended));
        let most_lag =
            self.writes.get(least.checked_sub(1)?).map(|there| until.saturating_duration_since(there.began))?;
        Some((least_lag.as_secs_f64(), most_lag.as_secs_f64()))
    }
}

#[derive(Default)]
struct Band {
    inside: usize,
    widths: Vec<f64>,
    known_to: Vec<f64>,
}

fn report(truth: &Truth, story: &Story) -> bool {
    let mut bands: Vec<_> = BANDS.iter().map(|_| Band::default()).collect();
    let (mut outside, mut too_wide, mut count) = (Vec::new(), Vec::new(), 0);
    for Reading { replica, since, until, lower, upper } in &story.readings {
        let back = Duration::from_secs_f64(upper + 2.5);
        let slowest_read = truth.longest_read(*replica, *until - 2 * SECOND, *until);
        // It began at most one read, and some way to the page, before the page had not yet the result of it.
        let from = *since - PAGE - 2 * slowest_read;
        let Some((least, most)) = truth.lag(*replica, from, *until) else { continue };
        let Some(place) = BANDS.iter().position(|end| most < *end) else { continue };
        count += 1;
        let band = &mut bands[place];
        let is_inside = *lower <= most && least <= *upper;
        band.inside += usize::from(is_inside);
        if !is_inside {
            outside.push(format!("{}: {lower:.3}..{upper:.3} s, and {least:.3}..{most:.3} s", REPLICAS[*replica]));
        }
        let allowed = SECOND + truth.longest_write(*until - back, *until) + slowest_read + MARGIN;
        if upper - lower > allowed.as_secs_f64() {
            too_wide.push(format!("{}: {lower:.3}..{upper:.3} s, where {allowed:.3?} are allowed", REPLICAS[*replica]));
        }
        band.widths.push(upper - lower);
        band.known_to.push(most - least);
    }
    let ms = |values: &[f64], q| number(quantile(&mut values.to_vec(), q) * 1000.0);
    let mut table =
        Table::new(&["lag, s", "readings", "inside", "width p50, ms", "p99", "max", "truth known to, p50, ms", "p99"]);
    let mut start = 0.0;
    for (end, band) in BANDS.iter().zip(&bands) {
        let mut row = vec![format!("{start} to {end}"), band.widths.len().to_string(), band.inside.to_string()];
        row.extend([0.5, 0.99, 1.0].map(|q| ms(&band.widths, q)));
        row.extend([0.5, 0.99].map(|q| ms(&band.known_to, q)));
        table.row(row);
        start = *end;
    }
    table.print();
    let writes: Vec<_> = truth.writes.iter().map(|write| write.duration().as_secs_f64()).collect();
    println!(
        "\nwrites of this process, ms: p50 {}, p99 {}, max {}",
        ms(&writes, 0.5),
        ms(&writes, 0.99),
        ms(&writes, 1.0)
    );
    for line in outside.iter().chain(&too_wide).take(10) {
        println!("{line}");
    }
    let mut met = true;
    for (what, passes) in [
        (format!("{count} readings, at least {LEAST_READINGS}"), count >= LEAST_READINGS),
        (format!("{} of them outside of the interval", outside.len()), outside.is_empty()),
        (format!("{} wider than interval + write + read + 50 ms", too_wide.len()), too_wide.is_empty()),
    ] {
        met &= passes;
        println!("{what}: {}", verdict(passes));
    }
    met
}

fn report_cuts(cuts: &[Instant], story: &Story) -> bool {
    let mut times = Vec::new();
    let mut missed = 0;
    for (at, database) in cuts.iter().flat_map(|at| (0..DATABASES).map(move |database| (*at, database))) {
        let mut known = story.states.iter().filter(|(of, since, state)| {
            *of == database && *since >= at && ["cut_off", "not_replicating"].contains(&&**state)
        });
        match known.next().map(|(_, since, _)| *since - at).filter(|time| *time <= CUT_OFF.0) {
            Some(time) => times.push(time.as_secs_f64()),
            None => missed += 1,
        }
    }
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|q| number(quantile(&mut times, q)));
    let passes = missed == 0 && !times.is_empty() && times.iter().all(|time| *time <= MOST_UNTIL_KNOWN);
    println!(
        "\n{} cuts, {} databases: known to be cut off after p50 {p50}, p99 {p99}, max {max} s (at most \
         {MOST_UNTIL_KNOWN}); not at all {missed}: {}",
        cuts.len(),
        DATABASES,
        verdict(passes)
    );
    passes
}
