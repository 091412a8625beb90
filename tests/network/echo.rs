//! Peers that answer twice, late, slowly, or never again to those they knew before an outage.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use regionwatch::model::{Failure, StampSource};
use testkit::space::{Pair, Ping, at_once, need_namespaces, with_targets};
use tokio::time::Instant;

use crate::{
    measure::Measurement,
    responder::{Answer, Responder},
};

/// What the way to the peer and back takes at most, and a peer's clock differs.
const SLACK: Duration = Duration::from_millis(5);

/// Both kinds of ping socket, each with the client's and the peer's addresses of both families.
fn cases() -> impl Iterator<Item = (Ping, &'static str, &'static str)> {
    with_targets(Pair::THERE)
        .map(|(ping, there)| (ping, if there.contains(':') { "fd00:1::1" } else { "10.0.1.1" }, there))
}

#[test]
fn pings_recover_after_an_outage_despite_a_stale_conntrack_entry() {
    need_namespaces();
    at_once(cases(), |(ping, client, target)| {
        let Pair { here, there } = Pair::new(ping);
        let outage = Arc::new(AtomicBool::new(false));
        let stale = Arc::new(Mutex::new(HashSet::new()));
        let (down, swallowed) = (Arc::clone(&outage), Arc::clone(&stale));
        // As a stateful firewall whose entry dates from the outage: who was known then is never heard again.
        let _responder = Responder::start(&there, target, client, move |request| {
            let mut stale = swallowed.lock().unwrap();
            if down.load(Ordering::Relaxed) {
                stale.insert(request.identifier);
            }
            if stale.contains(&request.identifier) { vec![] } else { vec![Answer::NOW] }
        });
        here.block_on(move || async move {
            let context = format!("{ping:?} {target}");
            let mut probe = Measurement::start(target, &["kind: icmp, interval: 100ms, timeout: 400ms"]).await;
            assert!(probe.outcomes(3).await.iter().all(Result::is_ok), "{context}");
            outage.store(true, Ordering::Relaxed);
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(2) {
                probe.sample().await;
            }
            outage.store(false, Ordering::Relaxed);
            let over = Instant::now();
            let recovered = loop {
                let sample = probe.sample().await.1;
                if sample.outcome.is_ok() {
                    break sample.sent_at;
                }
            };
            let took = over.elapsed();
            assert!(took < Duration::from_secs(7), "{context}: recovered {took:?} after the outage");
            let known = stale.lock().unwrap().len();
            assert!((1..=3).contains(&known), "{context}: {known} identifiers in an outage of 2 s");
            for _ in 0..10 {
                let sample = probe.sample().await.1;
                // What was sent before the recovery times out after it.
                assert!(sample.outcome.is_ok() || sample.sent_at < recovered, "{context}");
            }
        });
    });
}

#[test]
fn a_duplicated_reply_is_one_sample_and_one_duplicate() {
    need_namespaces();
    at_once(cases(), |(ping, client, target)| {
        let Pair { here, there } = Pair::new(ping);
        let _responder = Responder::start(&there, target, client, |_| vec![Answer::NOW, Answer::NOW]);
        here.block_on(move || async move {
            let mut probe = Measurement::start(target, &["kind: icmp, interval: 50ms, timeout: 1s"]).await;
            let outcomes = probe.outcomes(10).await;
            assert!(outcomes.iter().all(Result::is_ok), "{ping:?} {target} {outcomes:?}");
            // A duplicate is read with the answer after it, and told by the probe after that.
            let mut samples = 10;
            while probe.duplicates < 10 {
                assert!(probe.sample().await.1.outcome.is_ok(), "{ping:?} {target}");
                samples += 1;
            }
            assert!(probe.duplicates <= samples, "{ping:?} {target}: {} of {samples}", probe.duplicates);
            assert_eq!(probe.late, 0, "{ping:?} {target}");
        });
    });
}

#[test]
fn replies_after_the_deadline_are_timeouts_and_late_even_if_all_are() {
    need_namespaces();
    at_once(cases(), |(ping, client, target)| {
        let Pair { here, there } = Pair::new(ping);
        let delay = Duration::from_millis(300);
        let answered = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&answered);
        let _responder = Responder::start(&there, target, client, move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            vec![Answer::Reply(delay)]
        });
        here.block_on(move || async move {
            let context = format!("{ping:?} {target}");
            let mut probe = Measurement::start(target, &["kind: icmp, interval: 50ms, timeout: 100ms"]).await;
            // Long enough for the socket to be renewed twice, which must not lose what is on its way to the old one.
            let began = Instant::now();
            let mut samples = 0;
            while began.elapsed() < Duration::from_secs(7) {
                assert_eq!(probe.sample().await.1.outcome, Err(Failure::Timeout), "{context}");
                samples += 1;
            }
            // Those of the last 300 ms and the probes under way are reported with the next ones.
            let first = answered.load(Ordering::Relaxed);
            assert!(samples >= 70, "{context}: {samples} samples");
            while probe.late + 20 < first {
                assert_eq!(probe.sample().await.1.outcome, Err(Failure::Timeout), "{context}");
            }
            let answered = answered.load(Ordering::Relaxed);
            assert!(probe.late <= answered, "{context}: {} of {answered}", probe.late);
            assert_eq!(probe.duplicates, 0, "{context}");
        });
    });
}

#[test]
fn each_of_many_replies_in_flight_matches_its_request() {
    need_namespaces();
    at_once(cases(), |(ping, client, target)| {
        let Pair { here, there } = Pair::new(ping);
        let delay = Duration::from_millis(300);
        let responder = Responder::start(&there, target, client, move |_| vec![Answer::Reply(delay)]);
        let replies = responder.replies();
        here.block_on(move || async move {
            let mut probe = Measurement::start(target, &["kind: icmp, interval: 100ms, timeout: 5s"]).await;
            let mut samples = Vec::new();
            while samples.len() < 25 {
                samples.push(probe.sample().await.1);
            }
            // Two that came at the same moment may be reported in any order. All answers wait equally long.
            samples.sort_by_key(|sample| sample.sent_at);
            let replies = replies.lock().unwrap().clone();
            for (sample, took) in samples.into_iter().zip(replies).take(20) {
                let timings = sample.outcome.unwrap_or_else(|failure| panic!("{ping:?} {target}: {failure}"));
                // A responder on a busy machine answers late, and knows by how much.
                let between = timings.total + SLACK >= took.start && timings.total <= took.end + SLACK;
                assert!(between, "{ping:?} {target}: {:?} of {took:?}", timings.total);
                assert_eq!(timings.source, StampSource::Kernel, "{ping:?} {target}");
                assert_eq!(timings.hop_limit, Some(64), "{ping:?} {target}");
            }
            assert_eq!((probe.late, probe.duplicates), (0, 0), "{ping:?} {target}");
        });
    });
}

/// The kernel drops it on its own sockets; on raw ones that is left to us.
#[test]
fn a_reply_with_a_wrong_checksum_is_none() {
    need_namespaces();
    at_once(Ping::ALL, |ping| {
        let Pair { here, there } = Pair::new(ping);
        let delay = Duration::from_millis(60);
        let _responder =
            Responder::start(&there, Pair::THERE[0], "10.0.1.1", move |_| vec![Answer::Corrupt, Answer::Reply(delay)]);
        here.block_on(move || async move {
            let probes = ["kind: icmp, interval: 100ms, timeout: 1s"];
            let mut probe = Measurement::start(Pair::THERE[0], &probes).await;
            for outcome in probe.outcomes(5).await {
                let timings = outcome.unwrap_or_else(|failure| panic!("{ping:?}: {failure}"));
                assert!(timings.total >= delay - Duration::from_millis(5), "{ping:?} {:?}", timings.total);
            }
            assert_eq!(probe.duplicates, 0, "{ping:?}");
        });
    });
}

#[test]
fn an_icmp_redirect_or_source_quench_is_no_failure() {
    need_namespaces();
    at_once(Ping::ALL, |ping| {
        let Pair { here, there } = Pair::new(ping);
        // Redirect (RFC 792), and the source quench that RFC 6633 took out of use.
        let advice = [Answer::Error(5, 1), Answer::Error(4, 0)];
        let _responder = Responder::start(&there, Pair::THERE[0], "10.0.1.1", move |_| {
            advice.iter().cloned().chain([Answer::Reply(Duration::from_millis(20))]).collect()
        });
        here.block_on(move || async move {
            let probes = ["kind: icmp, interval: 50ms, timeout: 1s"];
            let outcomes = Measurement::start(Pair::THERE[0], &probes).await.outcomes(5).await;
            assert!(outcomes.iter().all(Result::is_ok), "{ping:?} {outcomes:?}");
        });
    });
}

#[test]
fn an_icmp_error_fails_only_the_probe_that_it_quotes() {
    need_namespaces();
    at_once(Ping::ALL, |ping| {
        let Pair { here, there } = Pair::new(ping);
        let _responder = Responder::start(&there, Pair::THERE[0], "10.0.1.1", |request| match request.bytes.len() {
            // Fragmentation needed.
            500.. => vec![Answer::Error(3, 4)],
            _ => vec![Answer::Reply(Duration::from_millis(60))],
        });
        here.block_on(move || async move {
            // On raw sockets the kernel tells an error to all that are connected to the peer.
            let large = "kind: icmp, interval: 50ms, timeout: 1s, size: 1000, dont_fragment: true";
            let small = "kind: icmp, interval: 50ms, timeout: 1s, size: 100, dont_fragment: true";
            let mut large = Measurement::start(Pair::THERE[0], &[large]).await;
            let mut small = Measurement::start(Pair::THERE[0], &[small]).await;
            for _ in 0..20 {
                let (large, small) = (large.outcomes(1).await, small.outcomes(1).await);
                assert_eq!(large, [Err(Failure::Unreachable)], "{ping:?}");
                assert!(small[0].is_ok(), "{ping:?} {small:?}");
            }
        });
    });
}
