//! The product itself, as a process that others restrict.

use std::{fs, path::PathBuf, process::Command};

use regionwatch::{model::Kind, probe};
use tempfile::TempDir;
use testkit::{
    needs::require,
    space::{Host, Pair, Ping, at_once, need_namespaces},
};

use crate::servers::{PROGRAMS, Process, Servers, folder, get, wait_for, write};

/// A user without any right.
const NOBODY: &str = "setpriv --reuid 65532 --regid 65532 --clear-groups --bounding-set -all --inh-caps -all \
                      --no-new-privs --pdeathsig KILL";

/// The address that the product serves on.
pub(crate) const LISTEN: &str = "127.0.0.1:9877";

/// The product's binary where any user may run it; the folder of the build need not be open to all.
pub(crate) fn binary(folder: &TempDir) -> PathBuf {
    let built = testkit::binary();
    let path = folder.path().join("regionwatch");
    if fs::hard_link(built, &path).is_err() {
        fs::copy(built, &path).unwrap();
    }
    path
}

/// A configuration of all four kinds to as many targets as asked for. A server on a busy machine may need a second.
pub(crate) fn configuration(targets: usize, interval: &str) -> String {
    let mut text = format!("region: here\nlisten: {LISTEN}\npeers:\n  - region: there\n    targets:\n");
    for n in 1..=targets {
        text.push_str(&format!(
            "      - host: 127.0.0.{n}\n        probes:\n\
             \x20         - {{kind: icmp, interval: {interval}, timeout: 5s}}\n\
             \x20         - {{kind: dns, port: 53, query: example.com, interval: {interval}, timeout: 5s}}\n\
             \x20         - {{kind: tcp, port: 80, interval: {interval}, timeout: 5s}}\n\
             \x20         - {{kind: http, url: \"http://127.0.0.{n}/\", interval: {interval}, timeout: 5s}}\n"
        ));
    }
    text
}

/// The sum of all series of a name whose labels contain all these texts.
pub(crate) fn total(page: &str, name: &str, labels: &[&str]) -> f64 {
    page.lines()
        .filter(|line| line.split('{').next() == Some(name) && labels.iter().all(|label| line.contains(label)))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

fn probes(page: &str, kind: Kind, result: &str) -> f64 {
    let labels = [format!("probe=\"{kind}\""), format!("result=\"{result}\"")];
    total(page, "regionwatch_probes_total", &labels.each_ref().map(String::as_str))
}

/// Runs the product as nobody until each kind was probed at least five times; its page, its log, and what doctor
/// says, with its exit status.
fn as_nobody(ping_group_range: &'static str) -> (String, String, String, Option<i32>) {
    let host = Host::new();
    host.set("net/ipv4/ping_group_range", ping_group_range);
    let _servers = Servers::start(&host);
    let folder = folder();
    let binary = binary(&folder).display().to_string();
    let config = write(&folder, "regionwatch.yaml", &configuration(1, "100ms"));
    let log = folder.path().join("log");
    let run = Process::start(&host, &format!("exec {NOBODY} {binary} run --config {config}"), &log);
    let page = wait_for("five probes of each kind", || {
        let page = get(&host, LISTEN, "/metrics")?;
        let enough = |kind: &str| total(&page, "regionwatch_probes_total", &[&format!("probe=\"{kind}\"")]) >= 5.0;
        ["icmp", "dns", "tcp", "http"].iter().all(|kind| enough(kind)).then_some(page)
    });
    drop(run);
    let log = fs::read_to_string(log).unwrap();
    let line = format!("{NOBODY} {binary} doctor");
    let doctor = host.run(move || Command::new("sh").args(["-c", &line]).output().unwrap());
    (page, log, String::from_utf8(doctor.stdout).unwrap(), doctor.status.code())
}

fn need_another_user() {
    need_namespaces();
    require(&PROGRAMS);
}

const OTHERS: [Kind; 3] = [probe::DNS, probe::TCP, probe::HTTP];

#[test]
fn without_permission_to_ping_the_rest_works_and_the_log_and_doctor_name_the_fix() {
    need_another_user();
    let (page, log, doctor, status) = as_nobody("1 0");
    assert!(probes(&page, probe::ICMP, "local") >= 5.0, "{page}");
    for result in ["ok", "timeout", "unreachable"] {
        assert_eq!(probes(&page, probe::ICMP, result), 0.0, "{page}");
    }
    for kind in OTHERS {
        assert!(probes(&page, kind, "ok") >= 5.0, "{kind} {page}");
    }
    assert_eq!(log.matches("sysctl net.ipv4.ping_group_range=\"0 2147483647\"").count(), 1, "{log}");
    for family in ["icmp over IPv4", "icmp over IPv6"] {
        let line = doctor.lines().find(|line| line.contains(family)).unwrap();
        assert!(line.starts_with("missing") && line.contains("net.ipv4.ping_group_range=\"0 2147483647\""), "{line}");
    }
    assert_eq!(status, Some(1), "{doctor}");
}

/// A sysctl would not help there.
#[test]
fn a_broadcast_address_is_not_taken_for_a_missing_permission_to_ping() {
    need_another_user();
    at_once(Ping::ALL, |ping| {
        let Pair { here, there: _there } = Pair::new(ping);
        let folder = folder();
        let text = format!(
            "region: here\nlisten: {LISTEN}\nlog: {{level: debug}}\npeers: [{{region: there, targets: [\
             {{host: 10.0.1.255, probes: [{{kind: icmp}}]}}, {{host: 10.0.1.2, probes: [{{kind: icmp}}]}}]}}]\n"
        );
        let (config, log) = (write(&folder, "regionwatch.yaml", &text), folder.path().join("log"));
        let line = format!("exec {} run --config {config}", binary(&folder).display());
        let _run = Process::start(&here, &line, &log);
        let page = wait_for("five probes of each target", || {
            let page = get(&here, LISTEN, "/metrics")?;
            let of = |target: &str| total(&page, "regionwatch_probes_total", &[&format!("target=\"{target}\"")]);
            (of("10.0.1.255") >= 5.0 && of("10.0.1.2") >= 5.0).then_some(page)
        });
        for (target, result) in [("10.0.1.255", "local"), ("10.0.1.2", "ok")] {
            let labels = [format!("target=\"{target}\""), format!("result=\"{result}\"")];
            let count = total(&page, "regionwatch_probes_total", &labels.each_ref().map(String::as_str));
            assert!(count >= 5.0, "{ping:?} {target} {page}");
        }
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains("it is a broadcast address, or a route prohibits it"), "{ping:?} {log}");
        assert!(!log.contains("ping_group_range"), "{ping:?} {log}");
    });
}

#[test]
fn any_user_may_ping_if_ping_group_range_allows_it() {
    need_another_user();
    let (page, log, doctor, _) = as_nobody("0 2147483647");
    for kind in [probe::ICMP].iter().chain(&OTHERS) {
        assert!(probes(&page, *kind, "ok") >= 5.0, "{kind} {page}");
        let all = total(&page, "regionwatch_probes_total", &[&format!("probe=\"{kind}\"")]);
        assert_eq!(all, probes(&page, *kind, "ok"), "{page}");
    }
    assert!(!log.contains("ping_group_range"), "{log}");
    for what in ["icmp over IPv4", "icmp over IPv6", "kernel timestamps"] {
        let line = doctor.lines().find(|line| line.contains(what)).unwrap();
        assert!(line.starts_with("ok"), "{line}");
    }
}
