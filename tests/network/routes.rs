//! What routers say, and what our own routing table says.

use std::time::Duration;

use regionwatch::{model::Failure, probe};
use testkit::space::{Host, Routed, at_once, need_namespaces, with_targets};

use crate::measure::Measurement;

/// One of each kind; nobody listens on the ports. The timeout is far from what an error takes to come back.
const ALL_KINDS: [&str; 4] = [
    "kind: icmp, interval: 100ms, timeout: 5s",
    "kind: dns, port: 4, query: example.com, interval: 100ms, timeout: 5s",
    "kind: tcp, port: 4, interval: 100ms, timeout: 5s",
    "kind: http, url: \"http://TARGET:4/\", interval: 100ms, timeout: 5s",
];

/// The same, in no hurry, but http, which asks as tcp does. A Linux router says not more than five times what a
/// route of its own refuses, and then once a second (`route/error_burst`, which a namespace cannot set).
const FEW: [&str; 3] = [
    "kind: icmp, interval: 2s, timeout: 5s",
    "kind: dns, port: 4, query: example.com, interval: 2s, timeout: 5s",
    "kind: tcp, port: 4, interval: 2s, timeout: 5s",
];

/// Fails unless as many probes of each kind as asked for fail in this way, and soon.
async fn fail_promptly(target: &str, probes: &[&str], count: usize, expected: Failure, context: &str) {
    let host = if target.contains(':') { format!("[{target}]") } else { target.to_owned() };
    let probes: Vec<_> = probes.iter().map(|probe| probe.replace("TARGET", &host)).collect();
    let mut measurement = Measurement::start(target, &probes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut missing: Vec<_> = measurement.kinds().iter().flat_map(|kind| vec![*kind; count]).collect();
    while !missing.is_empty() {
        let (kind, sample) = measurement.sample().await;
        let Some(found) = missing.iter().position(|missing| *missing == kind) else { continue };
        missing.swap_remove(found);
        let took = sample.sent_at.elapsed();
        assert_eq!(sample.outcome, Err(expected), "{context}: {kind} after {took:?}");
        // Here an error comes back while the system call that sent the SYN still owns the socket. The kernel then
        // only remembers it, and hears the one to the next SYN, a second later. Networks take longer than that call.
        let within = Duration::from_secs(if [probe::ICMP, probe::DNS].contains(&kind) { 1 } else { 3 });
        assert!(took < within + measurement.stalls.worst(), "{context}: {kind} took {took:?}");
    }
}

#[test]
fn every_probe_that_a_router_filter_rejects_is_unreachable() {
    need_namespaces();
    const REASONS: [[&str; 3]; 2] = [
        ["icmp-net-unreachable", "icmp-host-unreachable", "icmp-admin-prohibited"],
        ["icmp6-no-route", "icmp6-addr-unreachable", "icmp6-adm-prohibited"],
    ];
    at_once(with_targets(Routed::THERE), |(ping, target)| {
        for reason in REASONS[usize::from(target.contains(':'))] {
            let Routed { here, router, there: _there } = Routed::new(ping);
            let program = if target.contains(':') { "ip6tables" } else { "iptables" };
            router.command(&format!("{program} -w -A FORWARD -j REJECT --reject-with {reason}"), "");
            here.block_on(move || async move {
                let context = format!("{ping:?} {target} {reason}");
                fail_promptly(target, &ALL_KINDS, 3, Failure::Unreachable, &context).await;
            });
        }
    });
}

#[test]
fn a_probe_that_a_router_route_rejects_is_unreachable() {
    need_namespaces();
    let cases = with_targets(Routed::THERE).flat_map(|case| ["unreachable", "prohibit"].map(|route| (case, route)));
    at_once(cases, |((ping, target), route)| {
        let Routed { here, router, there: _there } = Routed::new(ping);
        router.ip(&format!("route add {route} {target}"));
        here.block_on(move || async move {
            fail_promptly(target, &FEW, 1, Failure::Unreachable, &format!("{ping:?} {target} {route}")).await;
        });
    });
}

#[test]
fn a_ping_that_exceeds_its_hop_limit_is_unreachable() {
    need_namespaces();
    at_once(with_targets(Routed::THERE), |(ping, target)| {
        let Routed { here, router: _router, there: _there } = Routed::new(ping);
        here.block_on(move || async move {
            let context = format!("{ping:?} {target}");
            let enough = Measurement::start(target, &["kind: icmp, interval: 50ms, ttl: 2"]).await.outcomes(3).await;
            assert!(enough.iter().all(Result::is_ok), "{context} {enough:?}");
            let probes = ["kind: icmp, interval: 50ms, timeout: 2s, ttl: 1"];
            fail_promptly(target, &probes, 10, Failure::Unreachable, &context).await;
        });
    });
}

#[test]
fn a_blackhole_route_is_a_timeout() {
    need_namespaces();
    let probes = ALL_KINDS.map(|probe| probe.replace("timeout: 5s", "timeout: 300ms"));
    at_once(with_targets(Routed::THERE), |(ping, target)| {
        let Routed { here, router, there: _there } = Routed::new(ping);
        router.ip(&format!("route add blackhole {target}"));
        let probes = probes.clone();
        here.block_on(move || async move {
            let probes: Vec<_> = probes.iter().map(String::as_str).collect();
            fail_promptly(target, &probes, 2, Failure::Timeout, &format!("{ping:?} {target}")).await;
        });
    });
}

#[test]
fn a_missing_local_route_is_a_local_failure_and_counts_for_no_peer() {
    need_namespaces();
    assert!(Failure::Local.is_local());
    at_once(with_targets(Routed::THERE), |(ping, target)| {
        for route in ["", "unreachable", "prohibit", "blackhole", "throw"] {
            let here = Host::new();
            ping.allow_on(&here);
            if !route.is_empty() {
                here.ip(&format!("route add {route} {target}"));
            }
            here.block_on(move || async move {
                let context = format!("{ping:?} {target} {route}");
                fail_promptly(target, &ALL_KINDS, 3, Failure::Local, &context).await;
            });
        }
    });
}

#[test]
fn a_ping_above_the_path_mtu_is_unreachable_each_time_or_fragmented() {
    need_namespaces();
    at_once(with_targets(Routed::THERE), |(ping, target)| {
        let Routed { here, router, there } = Routed::new(ping);
        router.ip("link set net2 mtu 1300");
        there.ip("link set net2 mtu 1300");
        here.block_on(move || async move {
            let context = format!("{ping:?} {target}");
            let probes = ["kind: icmp, interval: 50ms, timeout: 2s, size: 1400, dont_fragment: true"];
            fail_promptly(target, &probes, 20, Failure::Unreachable, &context).await;
            let small = ["kind: icmp, interval: 50ms, size: 1200, dont_fragment: true"];
            let small = Measurement::start(target, &small).await.outcomes(5).await;
            assert!(small.iter().all(Result::is_ok), "{context} {small:?}");
        });
    });
    at_once(with_targets(Routed::THERE), |(ping, target)| {
        let Routed { here, router, there } = Routed::new(ping);
        router.ip("link set net2 mtu 1300");
        there.ip("link set net2 mtu 1300");
        here.block_on(move || async move {
            let pieces = ["kind: icmp, interval: 50ms, timeout: 2s, size: 1400"];
            let mut pieces = Measurement::start(target, &pieces).await;
            // IPv6 routers cut nothing: the first error teaches our own kernel the size.
            let mut outcomes = pieces.outcomes(6).await;
            if target.contains(':') {
                outcomes.remove(0).unwrap_err();
            }
            assert!(outcomes.iter().all(Result::is_ok), "{ping:?} {target} {outcomes:?}");
        });
    });
}

#[test]
fn a_ping_above_the_local_mtu_is_a_local_failure() {
    need_namespaces();
    at_once(with_targets(Routed::THERE), |(ping, target)| {
        let Routed { here, router: _router, there: _there } = Routed::new(ping);
        here.block_on(move || async move {
            let context = format!("{ping:?} {target}");
            let probes = ["kind: icmp, interval: 50ms, timeout: 2s, size: 1600, dont_fragment: true"];
            fail_promptly(target, &probes, 10, Failure::Local, &context).await;
        });
    });
}
