//! Failovers that an operator orders, and what vantages make of them.

use super::{
    statements::{Alice, HOUR},
    *,
};

const MINUTE: Duration = Duration::from_secs(60);

/// To this region, with nothing passed.
fn to(target: &str) -> FailoverTerms {
    FailoverTerms { target: Region::new(target).unwrap(), accept_loss: false, force: None }
}

fn forced(target: &str) -> FailoverTerms {
    FailoverTerms { force: Some("the hall floods".to_owned()), ..to(target) }
}

impl Alice {
    fn signs(
        &self,
        scene: &Scene,
        peer: usize,
        action: Action,
        terms: Option<FailoverTerms>,
        hold: Option<Duration>,
    ) -> Arc<str> {
        let at = scene.clock().unix;
        let command = Command {
            operator: "alice".to_owned(),
            environment: String::new(),
            region: Some(scene.regions[peer].clone()),
            action,
            failover: terms,
            until: hold.map(|hold| UnixMillis(at.0 + hold.as_millis() as u64)),
            at,
        };
        command.sign(&self.0).unwrap().into()
    }

    /// A vantage whose operator orders a failover, which these many of the four others know.
    fn orders(&self, scene: &mut Scene, peer: usize, terms: FailoverTerms, hold: Duration, know: usize) {
        scene.now += MS;
        let text = self.signs(scene, peer, Action::Failover, Some(terms), Some(hold));
        scene.relayed = (know, vec![Arc::clone(&text)]);
        scene.handle(Input::Stated(&text));
        // They learn of it within a second, and it has been open for three.
        scene.live(&recovered(4 * 5));
    }

    fn releases(&self, scene: &mut Scene, peer: usize) {
        scene.now += MS;
        let text = self.signs(scene, peer, Action::Release, None, None);
        scene.relayed = (4, vec![Arc::clone(&text)]);
        scene.handle(Input::Stated(&text));
    }
}

fn status(scene: &Scene, peer: usize) -> Option<OrderStatus> {
    scene.vantage.operator_order(&scene.regions[peer]).map(|order| order.status)
}

fn is_failed_over(scene: &Scene, peer: usize) -> bool {
    scene.vantage.ranking().of(&scene.regions[peer]).unwrap().reasons.contains(&Ineligible::FailedOver)
}

fn p0_to(target: &str) -> Vec<(String, String)> {
    vec![("p0".to_owned(), target.to_owned())]
}

/// The ordered failover of the first peer to another one.
fn ordered_to(alice: &Alice, target: &str) -> Scene {
    let mut scene = alice.scene();
    alice.orders(&mut scene, 0, to(target), HOUR, 4);
    assert_eq!(ordered(&scene), p0_to(target));
    scene
}

#[test]
fn an_order_needs_no_outage_but_most_vantages_that_know_the_command() {
    for (know, counts) in [(0, false), (1, false), (2, true), (4, true)] {
        let alice = Alice::new();
        let mut scene = alice.scene();
        alice.orders(&mut scene, 0, to("p2"), HOUR, know);
        let order = scene.vantage.operator_order(&scene.regions[0]).unwrap();
        assert_eq!((order.is_ordered(), order.known_to), (counts, (1 + know as u32, 5)));
        assert_eq!(order.is_signed(), counts, "a stranger could give the order with signatures of fewer");
        assert_eq!((scene.state(0), ordered(&scene).len()), (PeerState::Healthy, usize::from(counts)));
        assert_eq!(is_failed_over(&scene, 0), counts);
        let Some(reported) = reported(&scene, Stage::Execute) else { continue };
        let at = order.command.at;
        assert_eq!((reported.ordered_by.as_deref(), reported.onset), (Some("alice"), at));
        assert_eq!(*reported.id, format!("p0-operator-{}", at.0));
        assert_eq!(reported.candidates[0].region, scene.regions[2]);
        let message = scene.vantage.vote_message((1, 1), scene.clock()).unwrap();
        let entry = message.peers().iter().find(|entry| entry.region == scene.regions[0]).unwrap();
        assert_eq!((entry.vote, entry.operator_order), (Vote::Up, true));
        assert_eq!(entry.failed_over.as_ref().map(|failover| &failover.target), Some(&scene.regions[2]));
    }
}

#[test]
fn vantages_that_are_down_or_isolated_need_not_know_the_command() {
    for says in [Says::Isolated, Says::Down] {
        let alice = Alice::new();
        let mut scene = alice.scene();
        // Of the four others, two do not count; or only the dead one.
        scene.spared = vec![0, 1, 2];
        let away = |slots| match says {
            Says::Isolated => Part { says: vec![Says::Up, Says::Up, says, says], ..recovered(slots) },
            _ => Part { says: vec![Says::Down; 4], up: vec![true, true, true, false], ..recovered(slots) },
        };
        scene.live(&away(4 * 10));
        scene.now += MS;
        let text = alice.signs(&scene, 0, Action::Failover, Some(to("p1")), Some(HOUR));
        scene.relayed = (1, vec![Arc::clone(&text)]);
        scene.handle(Input::Stated(&text));
        scene.live(&away(4 * 5));
        let order = scene.vantage.operator_order(&scene.regions[0]).unwrap();
        let expected = if says == Says::Isolated { (2, 3) } else { (2, 4) };
        assert_eq!((order.known_to, order.is_ordered()), (expected, says == Says::Isolated), "{says:?}");
    }
}

#[test]
fn a_command_of_a_stranger_orders_nothing() {
    let (alice, mallory) = (Alice::new(), Alice::new());
    let mut scene = alice.scene();
    mallory.orders(&mut scene, 0, to("p2"), HOUR, 4);
    assert_eq!((status(&scene, 0), ordered(&scene)), (None, Vec::new()));
}

#[test]
fn an_order_ends_by_its_time_by_off_and_by_the_release_which_alone_frees_the_slot() {
    for how in ["time", "off", "release"] {
        let alice = Alice::new();
        let mut scene = alice.scene();
        alice.orders(&mut scene, 0, to("p2"), MINUTE, 4);
        assert_eq!(ordered(&scene).len(), 1);
        // Another vantage still gives it, so that its end is not reported yet.
        scene.others_order = true;
        match how {
            "time" => scene.live(&recovered(4 * 60)),
            "off" => {
                scene.now += MS;
                let text = alice.signs(&scene, 0, Action::Failover, None, Some(Duration::ZERO));
                scene.relayed.1 = vec![Arc::clone(&text)];
                scene.handle(Input::Stated(&text));
            }
            _ => alice.releases(&mut scene, 0),
        }
        scene.live(&recovered(4));
        assert_eq!((status(&scene, 0), reported(&scene, Stage::Execute)), (None, None), "{how}");
        scene.others_order = false;
        scene.live(&recovered(8));
        let end = reported(&scene, Stage::Execute).and_then(|reported| reported.resolved);
        assert!(end.is_some(), "{how}");
        assert_eq!(is_failed_over(&scene, 0), how != "release", "{how}");
    }
}

#[test]
fn a_region_that_an_operator_has_failed_over_is_not_released_by_its_health() {
    let alice = Alice::new();
    let mut scene = ordered_to(&alice, "p2");
    scene.live(&recovered(4 * 60 * 32));
    assert!(is_failed_over(&scene, 0));
    alice.releases(&mut scene, 0);
    scene.live(&recovered(8));
    assert!(!is_failed_over(&scene, 0));
    // The votes of others may bring the command again.
    assert_eq!((status(&scene, 0), ordered(&scene)), (None, Vec::new()));
}

#[test]
fn a_vantage_that_learns_of_the_release_first_takes_no_older_order() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    let order = alice.signs(&scene, 0, Action::Failover, Some(to("p2")), Some(HOUR));
    alice.releases(&mut scene, 0);
    scene.relayed = (4, vec![order]);
    scene.live(&recovered(8));
    assert_eq!((status(&scene, 0), ordered(&scene)), (None, Vec::new()));
}

#[test]
fn the_gates_of_the_target_hold_but_for_what_the_command_passes() {
    let blocked = |reason| Some(OrderStatus::Blocked(reason));
    // The target is under maintenance.
    let alice = Alice::new();
    let mut scene = alice.scene();
    alice.states(&mut scene, Action::Maintenance, Some(2), HOUR);
    alice.orders(&mut scene, 0, to("p2"), HOUR, 4);
    assert_eq!(status(&scene, 0), blocked(Blocked::NoTarget));
    assert_eq!(scene.vantage.operator_order(&scene.regions[0]).unwrap().reasons, [Ineligible::Maintenance]);
    alice.orders(&mut scene, 0, to("elsewhere"), HOUR, 4);
    assert_eq!(status(&scene, 0), blocked(Blocked::NoTarget));
    alice.orders(&mut scene, 0, forced("p2"), HOUR, 4);
    assert_eq!(ordered(&scene), p0_to("p2"));
    // Data must not go there, whatever the reason is.
    let mut scene = alice.scene();
    let targets = TargetPolicy { allowed_zones: vec!["eu".into()], ..TargetPolicy::default() };
    scene.vantage.handle(Input::Reconfigured(Setup { targets, ..alice.setup() }), scene.clock());
    alice.orders(&mut scene, 0, forced("p2"), HOUR, 4);
    assert_eq!(status(&scene, 0), blocked(Blocked::NoTarget));
    assert_eq!(scene.vantage.operator_order(&scene.regions[0]).unwrap().reasons, [Ineligible::Residency]);
}

#[test]
fn a_loss_is_passed_only_if_the_command_accepts_it() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    let report = report(&scene, &[(1, 6_000, 7_000), (3, 800, 1_900)]);
    scene.handle(Input::Databases(vec![report]));
    alice.orders(&mut scene, 0, to("p1"), HOUR, 4);
    assert_eq!(status(&scene, 0), Some(OrderStatus::Blocked(Blocked::NoTarget)));
    alice.orders(&mut scene, 0, FailoverTerms { accept_loss: true, ..to("p1") }, HOUR, 4);
    assert_eq!(ordered(&scene), p0_to("p1"));
    assert_eq!(reported(&scene, Stage::Execute).unwrap().loss.unwrap().to_string(), "6.0s..7.0s");
}

#[test]
fn an_order_waits_for_a_slot_unless_it_is_forced() {
    let alice = Alice::new();
    let mut scene = ordered_to(&alice, "p2");
    let first = Arc::clone(&scene.vantage.statements()[0]);
    alice.orders(&mut scene, 1, to("p2"), HOUR, 4);
    scene.relayed.1.push(first);
    assert_eq!((status(&scene, 1), ordered(&scene)), (Some(OrderStatus::Blocked(Blocked::Limit)), p0_to("p2")));
    alice.releases(&mut scene, 0);
    scene.relayed.1 = scene.vantage.statements();
    scene.live(&recovered(4 * 6));
    assert_eq!(ordered(&scene), [("p1".to_owned(), "p2".to_owned())]);
    // Beside it, by force.
    scene.now += MS;
    let text = alice.signs(&scene, 3, Action::Failover, Some(forced("p2")), Some(HOUR));
    scene.vantage.handle(Input::Stated(&text), scene.clock());
    assert_eq!(status(&scene, 3), Some(OrderStatus::Unconfirmed), "nothing prevents it");
}

#[test]
fn the_least_time_between_two_failovers_holds_for_an_order_unless_it_is_forced() {
    let alice = Alice::new();
    for (terms, expected) in
        [(to("p2"), OrderStatus::Blocked(Blocked::Limit)), (forced("p2"), OrderStatus::Unconfirmed)]
    {
        let mut scene = alice.scene();
        let mut setup = alice.setup();
        setup.policy.min_interval = 10 * MINUTE;
        scene.vantage.handle(Input::Reconfigured(setup), scene.clock());
        alice.orders(&mut scene, 0, to("p2"), HOUR, 4);
        assert_eq!(ordered(&scene), p0_to("p2"), "there is none before it");
        alice.releases(&mut scene, 0);
        scene.live(&recovered(8));
        alice.orders(&mut scene, 1, terms, HOUR, 0);
        assert_eq!(status(&scene, 1), Some(expected));
    }
}

#[test]
fn an_order_beats_what_was_commanded_before_and_files_that_disarm_and_a_later_command_withdraws_it() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    let mut setup = alice.setup();
    setup.peers[0].mode = FailoverMode::Disarmed;
    scene.vantage.handle(Input::Reconfigured(setup), scene.clock());
    alice.states(&mut scene, Action::Disarm, Some(0), HOUR);
    alice.orders(&mut scene, 0, to("p2"), HOUR, 4);
    assert_eq!(ordered(&scene), p0_to("p2"));
    for (action, reason) in [(Action::Disarm, Blocked::Disarmed), (Action::Maintenance, Blocked::Maintenance)] {
        alice.states(&mut scene, action, Some(0), MINUTE);
        assert_eq!((status(&scene, 0), ordered(&scene)), (Some(OrderStatus::Blocked(reason)), Vec::new()));
        scene.live(&recovered(4 * 62));
        assert_eq!(ordered(&scene), p0_to("p2"), "the later command has ended");
    }
}

#[test]
fn a_maintenance_of_a_file_gives_way_to_force_only() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    let mut setup = alice.setup();
    setup.peers[0].mode = FailoverMode::Maintenance;
    scene.vantage.handle(Input::Reconfigured(setup), scene.clock());
    alice.orders(&mut scene, 0, to("p2"), HOUR, 4);
    assert_eq!(status(&scene, 0), Some(OrderStatus::Blocked(Blocked::Maintenance)));
    alice.orders(&mut scene, 0, forced("p2"), HOUR, 4);
    assert_eq!(ordered(&scene), p0_to("p2"));
}

#[test]
fn an_order_outlives_a_restart_and_keeps_its_target() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    scene.now += MS;
    let text = alice.signs(&scene, 0, Action::Failover, Some(to("p3")), Some(HOUR));
    scene.relayed = (4, vec![Arc::clone(&text)]);
    scene.handle(Input::Stated(&text));
    scene.live(&recovered(4 * 5));
    assert_eq!(ordered(&scene), p0_to("p3"));
    let at = scene.now;
    let id = Arc::clone(&scene.vantage.operator_order(&scene.regions[0]).unwrap().id);
    let failover = FailedOver { id, onset: scene.clock().unix, target: scene.regions[3].clone(), at };
    for on_disk in [true, false] {
        let mut again = Scene::new(4, false);
        again.vantage.handle(Input::Reconfigured(alice.setup()), again.clock());
        if on_disk {
            let failovers = vec![(again.regions[0].clone(), failover.clone(), Orderer::ThisVantage)];
            let statements = vec![Arc::clone(&text)];
            let before = Remembered { failovers, statements, informed: true, ..Remembered::default() };
            again.vantage.handle(Input::Remembered(&before), again.clock());
            // A later command may have ended it.
            assert_eq!(status(&again, 0), Some(OrderStatus::Blocked(Blocked::ArmingUnknown)));
        }
        again.relayed = (4, vec![Arc::clone(&text)]);
        // Until it knows what can take over.
        again.live(&recovered(4 * 20));
        assert_eq!(ordered(&again), p0_to("p3"), "{on_disk}");
    }
}

#[test]
fn an_outage_of_a_region_that_an_operator_has_failed_over_has_the_same_target() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    alice.orders(&mut scene, 0, to("p3"), 2 * MINUTE, 4);
    scene.live(&dead(4 * 60));
    assert_eq!(scene.state(0), PeerState::Down);
    let told = reported(&scene, Stage::Execute).unwrap();
    assert_eq!((told.ordered_by.as_deref(), ordered(&scene)), (Some("alice"), p0_to("p3")));
    assert!(reported(&scene, Stage::Prepare).is_some());
    scene.live(&dead(4 * 65));
    let told = reported(&scene, Stage::Execute).unwrap();
    assert_eq!((told.ordered_by, ordered(&scene)), (None, p0_to("p3")));
}

#[test]
fn a_failover_to_another_target_needs_the_release_or_force() {
    let alice = Alice::new();
    let mut scene = ordered_to(&alice, "p3");
    let refusal = |scene: &Scene, terms| {
        let text = alice.signs(scene, 0, Action::Failover, Some(terms), Some(HOUR));
        scene.vantage.failover_refusal(&Command::unverified(text.as_bytes()).unwrap().0)
    };
    scene.now += MS;
    let said = refusal(&scene, to("p1")).unwrap();
    assert!(said.starts_with("it was failed over to p3, and is not released"), "{said}");
    assert_eq!(refusal(&scene, forced("p1")), None);
    assert!(refusal(&scene, forced("elsewhere")).unwrap().contains("no region of this instance"));
    alice.orders(&mut scene, 0, to("p1"), HOUR, 4);
    assert_eq!((status(&scene, 0), ordered(&scene)), (Some(OrderStatus::Ordered), p0_to("p3")), "it stands");
    alice.orders(&mut scene, 0, forced("p1"), HOUR, 4);
    assert_eq!(ordered(&scene), p0_to("p1"));
}

#[test]
fn an_order_is_withdrawn_while_its_target_is_down() {
    let alice = Alice::new();
    let mut scene = ordered_to(&alice, "p3");
    let part = |slots| Part { up: vec![true, true, true, false], says: vec![Says::Down; 4], ..recovered(slots) };
    scene.live(&part(4 * 10));
    assert_eq!((status(&scene, 0), ordered(&scene)), (Some(OrderStatus::Blocked(Blocked::TargetDown)), Vec::new()));
    scene.live(&recovered(4 * 10));
    assert_eq!(ordered(&scene), p0_to("p3"), "the target never changes");
}

/// Force passes what was known when it was used.
#[test]
fn an_order_by_force_is_withdrawn_while_a_target_is_down_that_was_not_when_it_was_given() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    alice.orders(&mut scene, 0, forced("p3"), HOUR, 4);
    assert_eq!(ordered(&scene), p0_to("p3"));
    scene.live(&Part { up: vec![true, true, true, false], says: vec![Says::Down; 4], ..recovered(4 * 10) });
    assert_eq!((status(&scene, 0), ordered(&scene)), (Some(OrderStatus::Blocked(Blocked::TargetDown)), Vec::new()));
    scene.live(&recovered(4 * 10));
    assert_eq!(ordered(&scene), p0_to("p3"));
}

#[test]
fn an_isolated_vantage_neither_gives_an_order_nor_reports_its_end() {
    let alice = Alice::new();
    let mut scene = ordered_to(&alice, "p3");
    scene.live(&Part { up: vec![false; 4], says: vec![Says::Nothing; 4], ..recovered(4 * 10) });
    assert!(scene.vantage.is_isolated());
    assert_eq!((status(&scene, 0), reported(&scene, Stage::Execute)), (Some(OrderStatus::Isolated), None));
    scene.live(&recovered(4 * 10));
    assert_eq!(ordered(&scene), p0_to("p3"));
}
