//! All kinds of probe over both address families, against real servers.

use regionwatch::{
    model::{Failure, Phase, StampSource},
    probe,
};
use testkit::{
    needs::require,
    space::{Host, Ping, at_once, need_namespaces, with_targets},
};

use crate::{
    measure::Measurement,
    servers::{PROGRAMS, Servers},
};

#[test]
fn every_kind_measures_over_ipv6_as_over_ipv4() {
    need_namespaces();
    require(&PROGRAMS);
    at_once(with_targets(["127.0.0.1", "::1"]), |(ping, target)| {
        let host = Host::new();
        ping.allow_on(&host);
        let _servers = Servers::start(&host);
        host.block_on(move || async move {
            let authority = if target.contains(':') { format!("[{target}]") } else { target.to_owned() };
            let url = format!(
                "kind: http, url: \"http://{authority}/\", expect: {{body: fine}}, interval: 200ms, timeout: 5s"
            );
            let probes = [
                "kind: icmp, interval: 200ms, timeout: 5s",
                "kind: dns, port: 53, query: example.com, record: A, interval: 200ms, timeout: 5s",
                "kind: tcp, port: 80, interval: 200ms, timeout: 5s",
                &url,
            ];
            let mut measurement = Measurement::start(target, &probes).await;
            let mut seen = Vec::new();
            while seen.len() < 40 {
                let (kind, sample) = measurement.sample().await;
                let timings = sample.outcome.unwrap_or_else(|failure| panic!("{ping:?} {target} {kind}: {failure}"));
                seen.push(kind);
                // The first may still come before the kernel stamps what arrives.
                if seen.len() > 8 {
                    assert_eq!(timings.source, StampSource::Kernel, "{ping:?} {target} {kind}");
                }
                let phases: Vec<_> = timings.phases.iter().map(|(phase, _)| phase).collect();
                let expected: &[Phase] = match kind.as_str() {
                    "icmp" => &[Phase::Rtt],
                    "dns" => &[Phase::Request],
                    "tcp" => &[Phase::Connect],
                    _ => &[Phase::Connect, Phase::Processing, Phase::Transfer],
                };
                assert_eq!(phases, expected, "{ping:?} {target} {kind}");
                assert_eq!(timings.hop_limit.is_some(), kind == probe::ICMP, "{ping:?} {target} {kind}");
            }
            for kind in [probe::ICMP, probe::DNS, probe::TCP, probe::HTTP] {
                assert!(seen.iter().filter(|seen| **seen == kind).count() >= 5, "{ping:?} {target} {kind}");
            }
        });
    });
}

/// As `ping fe80::1%eth0` and `curl http://[fe80::1%25eth0]/` reach it.
#[test]
fn every_kind_reaches_a_link_local_address_by_its_zone() {
    need_namespaces();
    require(&PROGRAMS);
    at_once(Ping::ALL, |ping| {
        let (here, there) = (Host::new(), Host::new());
        ping.allow_on(&here);
        here.join(&there, 1);
        here.ip("addr add fe80::a:1/64 dev net1 nodad");
        there.ip("addr add fe80::a:2/64 dev net1 nodad");
        let _servers = Servers::start(&there);
        here.block_on(move || async move {
            let url =
                "kind: http, url: \"http://[fe80::a:2%25net1]/\", expect: {body: fine}, interval: 200ms, timeout: 5s";
            let probes = [
                "kind: icmp, interval: 200ms, timeout: 5s",
                "kind: dns, port: 53, query: example.com, record: A, interval: 200ms, timeout: 5s",
                "kind: tcp, port: 80, interval: 200ms, timeout: 5s",
                url,
            ];
            let mut measurement = Measurement::start("fe80::a:2%net1", &probes).await;
            let mut seen = std::collections::BTreeSet::new();
            while seen.len() < probes.len() {
                let (kind, sample) = measurement.sample().await;
                // The first ones may be lost while the neighbour is being discovered.
                assert_ne!(sample.outcome, Err(Failure::Local), "{ping:?} {kind}");
                if sample.outcome.is_ok() {
                    seen.insert(kind);
                }
            }
        });
    });
}
