use super::*;
use crate::{
    model::{Phase, StampSource, Timings},
    probe,
};

const MS: Duration = Duration::from_millis(1);

fn info(n: u32, target: &str, kind: Kind, interval: u32, critical: bool) -> PathInfo {
    PathInfo {
        path: PathId(n),
        target: TargetName::new(target).unwrap(),
        kind,
        interval: MS * interval,
        critical,
        question: 0,
    }
}

fn usual() -> Vec<PathInfo> {
    vec![
        info(1, "a", probe::ICMP, 250, false),
        info(2, "a", probe::TCP, 250, false),
        info(3, "a", probe::HTTP, 1000, false),
    ]
}

fn ok() -> Outcome {
    Ok(Timings::single(Phase::Rtt, MS, StampSource::Kernel))
}

struct Scene {
    evidence: Evidence,
    start: Instant,
}

impl Scene {
    fn new(paths: Vec<PathInfo>, burst: bool) -> Self {
        let mut scene = Self { evidence: Evidence::new(paths.clone(), burst), start: Instant::now() };
        for info in paths {
            scene.ends(info.path.0, 0, ok());
        }
        scene
    }

    fn at(&self, ms: u32) -> Instant {
        self.start + MS * ms
    }

    fn ends(&mut self, path: u32, sent: u32, outcome: Outcome) {
        self.evidence.on_result(PathId(path), self.start + MS * sent, &outcome);
    }

    fn overdue(&mut self, path: u32, sent: &[u32]) {
        for ms in sent {
            self.evidence.on_overdue(PathId(path), self.start + MS * *ms);
        }
    }
}

#[test]
fn three_silent_probes_of_two_kinds_are_a_silence_since_the_first_of_them() {
    let mut scene = Scene::new(usual(), false);
    scene.overdue(1, &[250, 500, 750]);
    scene.overdue(2, &[251, 501]);
    assert_eq!(scene.evidence.failing(), None);
    scene.overdue(2, &[751]);
    let (onset, decisive) = (scene.at(250), scene.at(751));
    assert_eq!(scene.evidence.failing(), Some(Failing { cause: Cause::Silence, onset, decisive }));
}

#[test]
fn an_answer_on_any_layer_ends_a_silence() {
    for (path, outcome) in [(3, ok()), (1, ok()), (2, Err(Failure::Refused)), (3, Err(Failure::Status))] {
        let mut scene = Scene::new(usual(), false);
        scene.overdue(1, &[250, 500, 750]);
        scene.overdue(2, &[250, 500, 750]);
        scene.ends(path, 800, outcome);
        assert_eq!(scene.evidence.failing(), None, "{path} {outcome:?}");
    }
}

/// It is upgraded, has crashed, or listens on another port.
#[test]
fn a_sidecar_that_is_away_says_nothing_about_its_region() {
    for failure in [Failure::Refused, Failure::Timeout, Failure::Tls, Failure::Status] {
        let mut paths = usual();
        paths.push(info(4, "sidecar", probe::SIDECAR, 1000, false));
        let mut scene = Scene { evidence: Evidence::new(paths, false), start: Instant::now() };
        for n in 0..20 {
            (1..=3).for_each(|path| scene.ends(path, n * 1000, ok()));
            scene.ends(4, n * 1000, Err(failure));
        }
        scene.overdue(4, &[19_500]);
        assert!(scene.evidence.is_enough(), "{failure:?}");
        assert!(!scene.evidence.is_partly_dead() && !scene.evidence.is_silent(), "{failure:?}");
        assert!(scene.evidence.has_recovered(), "{failure:?}");
    }
}

#[test]
fn a_silent_sidecar_confirms_no_silence_of_a_single_kind() {
    let paths = vec![info(1, "a", probe::ICMP, 250, false), info(2, "a", probe::SIDECAR, 1000, false)];
    let mut scene = Scene::new(paths, false);
    scene.overdue(1, &[250, 500, 750]);
    scene.overdue(2, &[250, 1250]);
    assert_eq!(scene.evidence.failing(), None);
    scene.overdue(1, &[1000, 1250, 1500]);
    assert!(scene.evidence.failing().is_some());
}

#[test]
fn an_answer_of_the_sidecar_is_a_sign_of_life() {
    let mut paths = usual();
    paths.push(info(4, "a", probe::SIDECAR, 1000, false));
    for outcome in [ok(), Err(Failure::Status), Err(Failure::Auth)] {
        let mut scene = Scene::new(paths.clone(), false);
        scene.overdue(1, &[250, 500, 750]);
        scene.overdue(2, &[250, 500, 750]);
        assert!(scene.evidence.failing().is_some());
        scene.ends(4, 800, outcome);
        assert_eq!(scene.evidence.failing(), None, "{outcome:?}");
    }
}

#[test]
fn a_critical_probe_that_never_succeeded_leaves_a_region_unproven_and_not_down() {
    let mut paths = usual();
    paths.push(info(4, "a", probe::HTTP, 1000, true));
    let mut scene = Scene { evidence: Evidence::new(paths, false), start: Instant::now() };
    for n in 0..20 {
        (1..=3).for_each(|path| scene.ends(path, n * 1000, ok()));
        scene.ends(4, n * 1000, Err(Failure::Status));
    }
    assert!(scene.evidence.is_unproven() && scene.evidence.is_partly_dead());
    assert_eq!(scene.evidence.failing(), None);
    scene.ends(4, 21_000, ok());
    assert!(!scene.evidence.is_unproven());
}

#[test]
fn a_reply_to_an_earlier_probe_does_not_end_a_later_silence() {
    let mut scene = Scene::new(usual(), false);
    scene.overdue(1, &[250, 500, 750]);
    scene.overdue(2, &[250, 500, 750]);
    scene.ends(3, 200, ok());
    assert!(scene.evidence.failing().is_some());
}

#[test]
fn a_probe_that_is_overdue_and_then_times_out_counts_once() {
    let mut scene = Scene::new(usual(), false);
    for path in [1, 2] {
        scene.overdue(path, &[250, 500]);
        scene.ends(path, 250, Err(Failure::Timeout));
        scene.ends(path, 500, Err(Failure::Timeout));
    }
    assert_eq!(scene.evidence.failing(), None);
}

#[test]
fn one_kind_alone_must_be_silent_for_twice_as_long() {
    let mut scene = Scene::new(vec![info(1, "a", probe::ICMP, 250, false)], false);
    scene.overdue(1, &[1, 2, 3, 4, 5]);
    assert_eq!(scene.evidence.failing(), None);
    scene.overdue(1, &[6]);
    assert!(scene.evidence.failing().is_some());
}

#[test]
fn if_pings_are_filtered_tcp_and_http_confirm_a_silence() {
    let mut scene = Scene::new(usual()[1..].to_vec(), false);
    scene.evidence.reconfigure(usual(), false);
    scene.overdue(1, &[250, 500, 750]);
    scene.overdue(2, &[250, 500, 750]);
    assert_eq!(scene.evidence.failing(), None);
    scene.overdue(3, &[900]);
    assert!(scene.evidence.failing().is_some());
}

#[test]
fn every_target_must_be_silent() {
    let mut paths = usual();
    paths.push(info(4, "b", probe::ICMP, 250, false));
    let mut scene = Scene::new(paths, false);
    scene.overdue(1, &[250, 500, 750]);
    scene.overdue(2, &[250, 500, 750]);
    assert_eq!(scene.evidence.failing(), None);
    scene.overdue(4, &[260, 510, 760]);
    assert!(scene.evidence.failing().is_some());
}

#[test]
fn local_failures_are_no_silence() {
    let mut scene = Scene::new(usual(), false);
    for n in 1..20 {
        scene.ends(1, n, Err(Failure::Local));
        scene.ends(2, n, Err(Failure::Local));
    }
    assert_eq!(scene.evidence.failing(), None);
    assert!(!scene.evidence.is_silent());
}

#[test]
fn a_critical_service_that_fails_five_times_is_down_while_the_network_answers() {
    let mut paths = usual();
    paths[2].critical = true;
    let mut scene = Scene::new(paths, false);
    for n in 1..=5 {
        assert_eq!(scene.evidence.failing(), None);
        scene.ends(3, n * 1000, Err(Failure::Status));
        scene.ends(1, n * 1000, ok());
    }
    let (onset, decisive) = (scene.at(1000), scene.at(5000));
    assert_eq!(scene.evidence.failing(), Some(Failing { cause: Cause::Service, onset, decisive }));
    assert_eq!(scene.evidence.good_at(), Some(scene.at(0)));
    scene.ends(3, 6000, ok());
    assert_eq!(scene.evidence.failing(), None);
}

#[test]
fn an_unreachable_region_is_silent_even_if_its_critical_service_is_the_first_to_fail_five_times() {
    let mut paths = usual();
    paths[2].critical = true;
    let mut scene = Scene::new(paths, false);
    scene.ends(1, 900, ok());
    for n in 1..=5 {
        scene.ends(3, n * 1000, Err(Failure::Timeout));
    }
    let (onset, decisive) = (scene.at(1000), scene.at(5000));
    assert_eq!(scene.evidence.failing(), Some(Failing { cause: Cause::Silence, onset, decisive }));
}

#[test]
fn a_ping_reply_after_the_first_failed_request_does_not_turn_a_silence_into_a_service_failure() {
    let mut paths = usual();
    paths[2].critical = true;
    let mut scene = Scene::new(paths, false);
    scene.ends(1, 1100, ok());
    for n in 1..=5 {
        scene.ends(3, n * 1000, Err(Failure::Timeout));
    }
    let (onset, decisive) = (scene.at(2000), scene.at(5000));
    assert_eq!(scene.evidence.failing(), Some(Failing { cause: Cause::Silence, onset, decisive }));
}

#[test]
fn a_service_that_a_firewall_rejects_is_down_and_the_region_is_not_silent() {
    let mut paths = usual();
    paths[2].critical = true;
    let mut scene = Scene::new(paths, false);
    for n in 1..=5 {
        scene.ends(1, n * 1000 - 250, ok());
        scene.ends(3, n * 1000, Err(Failure::Unreachable));
    }
    assert_eq!(scene.evidence.failing().map(|failing| failing.cause), Some(Cause::Service));
}

#[test]
fn a_late_answer_ends_a_silence() {
    let mut scene = Scene::new(usual(), false);
    scene.overdue(1, &[250, 500, 750]);
    scene.overdue(2, &[250, 500, 750]);
    scene.evidence.on_late_reply(scene.at(1300));
    assert_eq!(scene.evidence.failing(), None);
}

#[test]
fn a_new_interval_keeps_a_silence_and_a_new_question_forgets_it() {
    let mut scene = Scene::new(usual(), false);
    for at in [250, 500, 750, 1000] {
        [1, 2].into_iter().for_each(|path| scene.ends(path, at, Err(Failure::Timeout)));
    }
    scene.ends(3, 1000, Err(Failure::Timeout));
    assert!(scene.evidence.failing().is_some());

    let faster = usual().into_iter().map(|info| PathInfo { interval: info.interval / 2, critical: true, ..info });
    scene.evidence.reconfigure(faster.clone(), false);
    assert!(scene.evidence.failing().is_some() && !scene.evidence.is_forgotten());

    let others = faster.map(|info| PathInfo { question: 1, ..info });
    scene.evidence.reconfigure(others, false);
    assert!(scene.evidence.failing().is_none() && scene.evidence.is_forgotten());
    // A typo in the new question fails for ever, and shows nothing.
    (2..20).for_each(|n| (1..4).for_each(|path| scene.ends(path, 1000 * n, Err(Failure::Timeout))));
    assert!(scene.evidence.failing().is_none() && scene.evidence.is_forgotten());
    for at in [20_000, 20_250, 20_500] {
        assert!(scene.evidence.is_forgotten());
        (1..4).for_each(|path| scene.ends(path, at, ok()));
    }
    assert!(!scene.evidence.is_forgotten());
}

#[test]
fn a_healthy_peer_that_is_asked_something_else_is_not_suspected_before_it_has_answered() {
    let mut scene = Scene::new(usual(), false);
    scene.evidence.reconfigure(usual().into_iter().map(|info| PathInfo { question: 1, critical: true, ..info }), false);
    (1..20).for_each(|n| (1..4).for_each(|path| scene.ends(path, 1000 * n, Err(Failure::Status))));
    assert!(scene.evidence.failing().is_none() && scene.evidence.is_unproven());
}

/// A token or an authority that expires, or a zone that is broken or has lost a record, looks so in all regions.
#[test]
fn failures_that_often_have_a_common_cause_are_no_outage_alone() {
    for failure in [Failure::Auth, Failure::Tls, Failure::Resolve, Failure::Empty] {
        let mut paths = usual();
        paths[2].critical = true;
        let mut scene = Scene::new(paths, false);
        let fails = |scene: &mut Scene, seconds: std::ops::RangeInclusive<u32>, failure| {
            for second in seconds {
                scene.ends(3, second * 1000, Err(failure));
                scene.ends(1, second * 1000, ok());
            }
        };
        fails(&mut scene, 1..=8, failure);
        // A probe that is lost now and then is none of five in a row.
        for second in [9, 13, 17, 21, 25] {
            fails(&mut scene, second..=second, Failure::Timeout);
            fails(&mut scene, second + 1..=second + 3, failure);
        }
        assert_eq!(scene.evidence.failing(), None, "{failure}");
        assert!(scene.evidence.service_failure().is_some_and(|service| service.is_common), "{failure}");
        assert_eq!(scene.evidence.unserved_since(), Some(scene.at(1000)), "{failure}");
        fails(&mut scene, 29..=33, Failure::Status);
        fails(&mut scene, 34..=36, failure);
        assert_eq!(scene.evidence.failing().map(|failing| failing.cause), Some(Cause::Service), "{failure}");
    }
}

#[test]
fn a_region_without_an_address_for_its_services_is_silent_only_if_its_network_is() {
    let mut paths = usual();
    paths[2].critical = true;
    let mut scene = Scene::new(paths, false);
    for second in 1..=8 {
        scene.ends(3, second * 1000, Err(Failure::Resolve));
    }
    assert_eq!(scene.evidence.failing(), None);
    scene.overdue(1, &[8250, 8500, 8750]);
    scene.overdue(2, &[8250, 8500, 8750]);
    assert_eq!(scene.evidence.failing().map(|failing| failing.cause), Some(Cause::Silence));
    assert_eq!(scene.evidence.unserved_since(), None, "a silent region is judged alone");
}

#[test]
fn services_are_failing_since_the_last_of_them_fails() {
    let paths = vec![
        info(1, "a", probe::ICMP, 250, false),
        info(2, "a", probe::TCP, 250, true),
        info(3, "b", probe::TCP, 250, true),
    ];
    let mut scene = Scene { evidence: Evidence::new(paths, false), start: Instant::now() };
    (1..=3).for_each(|path| scene.ends(path, 0, ok()));
    let refused = Err(Failure::Refused);
    for n in 1..20 {
        scene.ends(1, n * 250, ok());
        scene.ends(2, n * 250, refused);
        scene.ends(3, n * 250, if n < 10 { ok() } else { refused });
    }
    assert_eq!(scene.evidence.unserved_since(), Some(scene.at(2_500)));
    assert_eq!(scene.evidence.service_failure().unwrap().since, scene.at(2_500));
}
