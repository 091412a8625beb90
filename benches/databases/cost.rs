//! What fifty databases with three servers each cost, each server read every second and each primary written to.

use std::time::Duration;

use testkit::{
    postgres::Postgres,
    rig::{
        Result,
        cgroup::Cgroup,
        net::Namespace,
        page::sum,
        pause,
        process::{Place, Workspace},
        regionwatch,
        stats::{Table, number},
        sys,
    },
};

use crate::{configuration, tables, verdict};

const DATABASES: usize = 50;
const SERVERS: usize = 3;
/// How long it runs before it is watched.
const WARM_UP: Duration = Duration::from_secs(10);
/// How many times in this time the CPU time is read: other work on the machine only adds to it, so the least counts.
const WINDOWS: u32 = 4;
const MOST_CORES: f64 = 0.2;
const MOST_MIB: f64 = 20.0;

pub(crate) fn measure(seconds: u64) -> Result<bool> {
    let workspace = Workspace::new()?;
    let net = Namespace::new()?;
    let servers = net.run(|| {
        let settings = ["wal_level=replica", "max_connections=200", "hot_standby=on"];
        let primary = Postgres::start("host all regionwatch 127.0.0.1/32 trust\n", &settings);
        primary.run_sql(&tables(DATABASES));
        let replicas = (1..SERVERS).map(|_| Postgres::replica(primary.addr, &settings)).collect::<Vec<_>>();
        Ok([primary].into_iter().chain(replicas).collect::<Vec<_>>())
    })?;
    let of = |(n, server): (usize, &Postgres)| (format!("r{n}"), "127.0.0.1".to_owned(), server.addr.port());
    let listed: Vec<_> = servers.iter().enumerate().map(of).collect();
    let config = configuration("region: vantage\nlisten: 127.0.0.1:9877", &vec![listed; DATABASES]);
    let config = workspace.write("regionwatch.yml", &config)?;
    let cgroup = Cgroup::new(None)?;
    let place = Place { net: &net, cgroup: Some(&cgroup) };
    let mut process = regionwatch::start(&regionwatch::program(), &config, place, &workspace)?;
    pause(WARM_UP)?;
    let mut client = regionwatch::client(&net);
    let done = |page: &str, result: &str| sum(page, "regionwatch_database_probes_total", result);
    let written = |page: &str| sum(page, "regionwatch_database_write_duration_seconds_count", "");
    let before = client.text("/metrics")?;
    let began = sys::monotonic_ns();
    let mut cores = f64::INFINITY;
    for _ in 0..WINDOWS {
        let (from, used) = (sys::monotonic_ns(), cgroup.usage().cpu_us);
        pause(Duration::from_secs(seconds) / WINDOWS)?;
        cores = cores.min((cgroup.usage().cpu_us - used) * 1000.0 / (sys::monotonic_ns() - from) as f64);
    }
    let after = client.text("/metrics")?;
    process.check()?;
    let elapsed = (sys::monotonic_ns() - began) as f64 / 1e9;
    let rate = |now: f64, then: f64| (now - then) / elapsed;
    let readings = rate(done(&after, ""), done(&before, ""));
    let failed = readings - rate(done(&after, "result=\"ok\""), done(&before, "result=\"ok\""));
    let tokens = rate(written(&after), written(&before));
    let mib = |key: &str| process.status(key).map_or(f64::NAN, |kib| kib as f64 / 1024.0);

    println!("\n{DATABASES} databases with {SERVERS} servers each, for {seconds} s\n");
    let mut table = Table::new(&["", "", "target", ""]);
    let all = (DATABASES * SERVERS) as f64;
    let mut met = true;
    for (what, value, target, passes) in [
        ("readings per s", readings, format!(">= {}", 0.98 * all), readings >= 0.98 * all),
        ("of these failed", failed, "<= 0".to_owned(), failed <= 0.0),
        ("tokens per s", tokens, format!(">= {}", 0.98 * DATABASES as f64), tokens >= 0.98 * DATABASES as f64),
        ("CPU, cores", cores, format!("< {MOST_CORES}"), cores < MOST_CORES),
        ("RSS, MiB", mib("VmRSS"), format!("< {MOST_MIB}"), mib("VmRSS") < MOST_MIB),
        ("peak RSS, MiB", mib("VmHWM"), String::new(), true),
        ("of it not file pages, MiB", mib("RssAnon"), String::new(), true),
    ] {
        met &= passes;
        let verdict = if target.is_empty() { "" } else { verdict(passes) };
        table.row(vec![what.to_owned(), number(value), target, verdict.to_owned()]);
    }
    table.print();
    Ok(met)
}
