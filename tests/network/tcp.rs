//! SYNs that get lost.

use std::{net::TcpListener, time::Duration};

use regionwatch::model::{Failure, StampSource};
use testkit::space::{Host, Pair, Ping, at_once, need_namespaces};

use crate::measure::Measurement;

/// A peer that loses the first SYN and no other. The listener need not accept: the kernel shakes hands.
fn pair_that_loses_one() -> (Host, Host, TcpListener) {
    let Pair { here, there } = Pair::new(Ping::Datagram);
    let listener = there.run(|| TcpListener::bind("[::]:80").unwrap());
    there.filter("-A INPUT -p tcp --syn -m statistic --mode nth --every 1000000 --packet 0 -j DROP");
    (here, there, listener)
}

#[test]
fn a_lost_syn_adds_its_retransmission_delay_and_is_counted() {
    need_namespaces();
    at_once(Pair::THERE, |target| {
        let (here, _there, _listener) = pair_that_loses_one();
        here.block_on(move || async move {
            let mut probe = Measurement::start(target, &["kind: tcp, port: 80, interval: 1500ms, timeout: 4s"]).await;
            let mut samples = [probe.sample().await.1, probe.sample().await.1];
            // The second may be back before the first.
            samples.sort_by_key(|sample| sample.sent_at);
            let [first, second] = samples.map(|sample| sample.outcome.unwrap());
            let millis = first.total.as_millis();
            assert!((1000..2000).contains(&millis), "{target}: {millis} ms");
            assert_eq!((first.syn_retransmits, first.source), (1, StampSource::Userland), "{target}");
            assert!(second.total < Duration::from_millis(100), "{target}: {:?}", second.total);
            assert_eq!((second.syn_retransmits, second.source), (0, StampSource::Kernel), "{target}");
        });
    });
}

#[test]
fn a_syn_that_is_answered_after_the_deadline_is_a_timeout_and_late() {
    need_namespaces();
    at_once(Pair::THERE, |target| {
        let (here, _there, _listener) = pair_that_loses_one();
        here.block_on(move || async move {
            // A late answer is waited for as long again as the timeout; the kernel sends the SYN again after 1 s.
            let mut probe = Measurement::start(target, &["kind: tcp, port: 80, interval: 1s, timeout: 800ms"]).await;
            assert_eq!(probe.outcomes(1).await, [Err(Failure::Timeout)], "{target}");
            assert_eq!(probe.late, 0, "{target}");
            let next = probe.outcomes(2).await;
            assert!(next.iter().all(Result::is_ok), "{target} {next:?}");
            assert_eq!(probe.late, 1, "{target}");
        });
    });
}
