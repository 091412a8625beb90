//! Reported latencies of reads and writes against what a delay line saw.
//!
//! Every database has its server behind another address, so that a packet tells whose it is. The page has sums, of which two
//! that are one reading apart give that reading.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
    time::Duration,
};

use testkit::{
    postgres::Postgres,
    rig::{
        Result,
        line::Line,
        net::{Pair, server_address},
        packet::Content,
        pause,
        process::{Place, Workspace},
        regionwatch,
        selfcheck::SelfCheck,
        stats::{Table, number, quantile, spread},
        sys,
        tap::{Seen, Tap},
    },
};

use crate::{configuration, name, tables, verdict};

const DATABASES: usize = 20;
/// Round trips of the line, ms.
const DELAYS: [i64; 5] = [1, 5, 20, 80, 200];
const POLL: Duration = Duration::from_millis(200);
/// How long after its answer a reading may appear on the page. The next one comes a second later.
const SLACK_NS: i64 = 500_000_000;
/// The most that the 99th percentile of the error may be, µs.
const TARGET_US: f64 = 100.0;

/// A statement and its result on the line.
#[derive(Debug, Clone, Copy)]
struct Exchange {
    sent: i64,
    answered: i64,
    length: u32,
}

impl Exchange {
    /// A login is shorter, and the statement that reads is twice as long as the one that writes.
    const fn what(&self) -> Option<&'static str> {
        match self.length {
            0..150 => None,
            150..500 => Some("write"),
            500.. => Some("read"),
        }
    }
}

/// A reading as the page had it for the first time, between two polls.
struct Reported {
    database: usize,
    what: &'static str,
    nanos: f64,
    polls: (i64, i64),
}

pub(crate) fn measure(seconds: u64) -> Result<bool> {
    let workspace = Workspace::new()?;
    let (pair, near, far) = Pair::new(DATABASES)?;
    let round_trips =
        (0..DATABASES).map(|n| (server_address(n), DELAYS[n % DELAYS.len()] * 1_000_000)).collect::<HashMap<_, _>>();
    let line = Line::start(near, far, round_trips)?;
    let tap = Tap::start(&pair.prober)?;
    let server = pair.servers.run(|| {
        let server = Postgres::start("host all regionwatch 10.76.0.0/16 trust\n", &["listen_addresses=0.0.0.0"]);
        server.run_sql(&tables(DATABASES));
        Ok(server)
    })?;
    let port = server.addr.port();
    let databases: Vec<_> =
        (0..DATABASES).map(|n| vec![(format!("r{n:02}"), server_address(n).to_string(), port)]).collect();
    let config = configuration("region: vantage\nlisten: 127.0.0.1:9877", &databases);
    let config = workspace.write("regionwatch.yml", &config)?;
    let place = Place { net: &pair.prober, cgroup: None };
    let mut process = regionwatch::start(&regionwatch::program(), &config, place, &workspace)?;
    // Until every server was read, and is written to.
    pause(Duration::from_secs(5))?;
    drop((tap.take()?, line.take()));

    let mut client = regionwatch::client(&pair.prober);
    let mut before = sums(&client.text("/metrics")?);
    let (mut reported, mut skipped) = (Vec::new(), 0);
    let began = sys::realtime_ns();
    let mut last = began;
    while sys::realtime_ns() - began < Duration::from_secs(seconds).as_nanos() as i64 {
        pause(POLL)?;
        process.check()?;
        let page = sums(&client.text("/metrics")?);
        let now = sys::realtime_ns();
        for (key, (sum, count)) in &page {
            let (old_sum, old_count) = before.get(key).copied().unwrap_or_default();
            match count - old_count {
                0 => {}
                1 => reported.push(Reported {
                    database: key.0,
                    what: key.1,
                    nanos: (sum - old_sum) * 1e9,
                    polls: (last, now),
                }),
                more => skipped += more,
            }
        }
        (before, last) = (page, now);
    }
    let (seen, passages) = (tap.take()?, line.take());
    drop(process);
    let mut own = SelfCheck::default();
    own.add(&seen, &passages);

    let truths = exchanges(&seen, port);
    let mut errors = BTreeMap::<_, Vec<f64>>::new();
    let mut unmatched = 0;
    for Reported { database, what, nanos, polls } in &reported {
        let may = |exchange: &&Exchange| {
            exchange.what() == Some(*what) && (polls.0 - SLACK_NS..=polls.1).contains(&exchange.answered)
        };
        let mut found = truths.get(&server_address(*database)).into_iter().flatten().filter(may);
        match (found.next(), found.next()) {
            (Some(exchange), None) => {
                let true_nanos = (exchange.answered - exchange.sent) as f64;
                errors.entry(*what).or_default().push((nanos - true_nanos) / 1000.0);
            }
            _ => unmatched += 1,
        }
    }
    let met = report(&errors);
    println!("\nreadings that no exchange or more than one could be: {unmatched}; seen too late: {skipped}");
    own.print();
    Ok(met && unmatched * 20 < reported.len())
}

/// The sums and counts of reads and writes, by the number of the database.
fn sums(page: &str) -> HashMap<(usize, &'static str), (f64, u64)> {
    let mut found = HashMap::<_, (f64, u64)>::new();
    for line in page.lines() {
        let Some(rest) = line.strip_prefix("regionwatch_database_") else { continue };
        for what in ["read", "write"] {
            let Some(rest) = rest.strip_prefix(what).and_then(|rest| rest.strip_prefix("_duration_seconds_")) else {
                continue;
            };
            let database = (0..DATABASES).find(|n| rest.contains(&format!("database=\"{}\"", name(*n))));
            let value = rest.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
            let (Some(database), Some(value)) = (database, value) else { continue };
            let entry = found.entry((database, what)).or_default();
            if rest.starts_with("sum{") {
                entry.0 = value;
            } else if rest.starts_with("count{") {
                entry.1 = value as u64;
            }
        }
    }
    found
}

/// What every server was asked, and when the last of the answer had come.
fn exchanges(seen: &[Seen], port: u16) -> HashMap<Ipv4Addr, Vec<Exchange>> {
    #[derive(Default)]
    struct Connection {
        /// The end of what was seen, in and out: what is below was sent again.
        ends: [Option<u32>; 2],
        current: Option<(Exchange, bool)>,
    }
    let mut connections = HashMap::<(Ipv4Addr, u16), Connection>::new();
    let mut all = HashMap::<Ipv4Addr, Vec<Exchange>>::new();
    for Seen { at, packet } in seen {
        let Content::Tcp(segment) = packet.content else { continue };
        if segment.server_port != port || segment.length == 0 || segment.syn {
            continue;
        }
        let connection = connections.entry((packet.server, segment.local_port)).or_default();
        let end = segment.sequence.wrapping_add(segment.length);
        let known = &mut connection.ends[usize::from(packet.outgoing)];
        if known.is_some_and(|known| end.wrapping_sub(known) as i32 <= 0) {
            continue;
        }
        *known = Some(end);
        match (&mut connection.current, packet.outgoing) {
            (Some((exchange, false)), true) => {
                exchange.sent = *at;
                exchange.length += segment.length;
            }
            (current, true) => {
                let done = current.replace((Exchange { sent: *at, answered: *at, length: segment.length }, false));
                all.entry(packet.server).or_default().extend(done.map(|(exchange, _)| exchange));
            }
            (Some((exchange, is_answered)), false) => {
                exchange.answered = *at;
                *is_answered = true;
            }
            (None, false) => {}
        }
    }
    for ((server, _), connection) in connections {
        let done = connection.current.filter(|(_, is_answered)| *is_answered);
        all.entry(server).or_default().extend(done.map(|(exchange, _)| exchange));
    }
    all
}

fn report(errors: &BTreeMap<&'static str, Vec<f64>>) -> bool {
    println!("\nError of reported latencies (reported - true), µs; round trips of {DELAYS:?} ms\n");
    let mut table = Table::new(&["", "n", "p50", "p99", "max", "signed p50", "target", ""]);
    let mut met = true;
    for what in ["read", "write"] {
        let mut signed = errors.get(what).cloned().unwrap_or_default();
        let absolute = spread(signed.iter().map(|error| error.abs()).collect());
        let passes = absolute[1] <= TARGET_US;
        met &= passes;
        let mut row = vec![what.to_owned(), signed.len().to_string()];
        row.extend(absolute.map(number));
        row.extend([number(quantile(&mut signed, 0.5)), format!("p99 <= {TARGET_US}"), verdict(passes).to_owned()]);
        table.row(row);
    }
    table.print();
    met
}
