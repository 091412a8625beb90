//! What is lost has no latency.

use regionwatch::model::Failure;
use testkit::space::{Pair, at_once, need_namespaces, with_targets};

use crate::measure::Measurement;

#[test]
fn a_lost_ping_is_a_timeout_and_has_no_latency() {
    need_namespaces();
    at_once(with_targets(Pair::THERE), |(ping, target)| {
        let Pair { here, there } = Pair::new(ping);
        here.block_on(move || async move {
            let mut probe = Measurement::start(target, &["kind: icmp, interval: 50ms, timeout: 400ms"]).await;
            let first = probe.outcomes(3).await;
            assert!(first.iter().all(Result::is_ok), "{ping:?} {target} {first:?}");
            there.filter("-A INPUT -p icmp -j DROP");
            let mut lost = 0;
            while lost < 5 {
                match probe.sample().await.1.outcome {
                    // It was sent before the filter was in place.
                    Ok(_) => assert_eq!(lost, 0, "{ping:?} {target}"),
                    Err(failure) => {
                        assert_eq!(failure, Failure::Timeout, "{ping:?} {target}");
                        lost += 1;
                    }
                }
            }
            there.filter("-F INPUT");
            while probe.sample().await.1.outcome.is_err() {}
            assert_eq!((probe.late, probe.duplicates), (0, 0), "{ping:?} {target}");
        });
    });
}
