//! The rivals' rules, as their documentation has them.

use testkit::simulation::{
    rivals::{ALL, Rival},
    timeline::{SECOND, Span, Trouble},
};

fn alarms(rival: &Rival, outage: u64) -> usize {
    let span = Span { begin: 1000 * SECOND, end: (1000 + outage) * SECOND, trouble: Trouble::Dead(1) };
    rival.alarms(&[span], 2, 0.0, 3000 * SECOND, 1).iter().filter(|said| said.by == 0).count()
}

#[test]
fn without_loss_each_rule_alerts_once_for_a_long_outage_and_never_without_one() {
    for rival in &ALL {
        assert_eq!((alarms(rival, 0), alarms(rival, 600)), (0, 1), "{}", rival.name);
    }
}

#[test]
fn an_observer_in_a_down_region_raises_no_alert() {
    let span = Span { begin: 1000 * SECOND, end: 1600 * SECOND, trouble: Trouble::Dead(1) };
    for rival in &ALL {
        let alarms = rival.alarms(&[span], 3, 0.0, 3000 * SECOND, 1);
        assert!(alarms.iter().all(|said| said.of == 1 && said.by != 1), "{}: {alarms:?}", rival.name);
    }
}

#[test]
fn an_outage_shorter_than_the_rule_requires_raises_no_alert() {
    let [stock, tuned, .., three_of_six, _] = &ALL;
    assert_eq!((alarms(stock, 89), alarms(tuned, 1), alarms(three_of_six, 19)), (0, 0, 0));
    assert_eq!((alarms(stock, 120), alarms(tuned, 4), alarms(three_of_six, 31)), (1, 1, 1));
}

#[test]
fn loss_alone_alerts_at_the_rate_that_the_rule_implies() {
    let days = 20;
    let count = |rival: &Rival, loss: f64| {
        rival.alarms(&[], 2, loss, days * 86_400 * SECOND, 3).iter().filter(|said| said.by == 0).count() as f64
    };
    let probes = |seconds: f64| days as f64 * 86_400.0 / seconds;
    let [_, tuned, edge, edge_all, one_of_one, _, k8gb] = &ALL;
    for (rival, loss, expected) in [
        // A run of n begins with an answer, and has n losses.
        (tuned, 0.1, probes(1.0) * 0.9 * 0.1f64.powi(3)),
        (edge, 0.1, probes(1.0) * 0.9 * 0.1),
        (edge_all, 0.1, probes(1.0) * 0.1f64.powi(3)),
        (one_of_one, 0.02, probes(10.0) * 0.98 * 0.02),
        (k8gb, 0.02, probes(30.0) * 0.98 * 0.02),
    ] {
        let seen = count(rival, loss);
        assert!((seen - expected).abs() < 4.0 * expected.sqrt(), "{}: {seen}, {expected} expected", rival.name);
    }
}
