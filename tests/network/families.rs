//! All kinds of probe over both address families, against real servers.

use regionwatch::{
    model::{Phase, StampSource},
    probe,
};
use testkit::{
    needs::require,
    space::{Host, at_once, need_namespaces, with_targets},
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
            let url = format!("kind: http, url: \"http://{authority}/\", expect: {{body: fine}}, interval: 200ms");
            let probes = [
                "kind: icmp, interval: 200ms",
                "kind: dns, port: 53, query: example.com, record: A, interval: 200ms",
                "kind: tcp, port: 80, interval: 200ms",
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
