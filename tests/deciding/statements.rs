//! What operators state, and what vantages make of it.

use super::*;

pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// The operator of all vantages.
pub(super) struct Alice(pub(super) PrivateKey);

impl Alice {
    pub(super) fn new() -> Self {
        Self(PrivateKey::generate().unwrap().0)
    }

    fn operators(&self) -> Operators {
        Operators { environment: String::new(), keys: vec![("alice".to_owned(), self.0.public())] }
    }

    pub(super) fn setup(&self) -> Setup {
        Setup { operators: self.operators(), ..setup(false, watched(4)) }
    }

    /// A signed statement from now on.
    fn says(&self, scene: &Scene, action: Action, peer: Option<usize>, hold: Duration) -> Arc<str> {
        let at = scene.clock().unix;
        let command = Command {
            operator: "alice".to_owned(),
            environment: String::new(),
            region: peer.map(|peer| scene.regions[peer].clone()),
            action,
            failover: None,
            until: Some(UnixMillis(at.0 + hold.as_millis() as u64)),
            at,
        };
        command.sign(&self.0).unwrap().into()
    }

    /// A vantage to which it says this.
    pub(super) fn states(&self, scene: &mut Scene, action: Action, peer: Option<usize>, hold: Duration) {
        scene.now += MS;
        let text = self.says(scene, action, peer, hold);
        scene.handle(Input::Stated(&text));
    }

    /// A vantage whose peers are well.
    pub(super) fn scene(&self) -> Scene {
        let mut scene = Scene::well(4, false);
        scene.vantage.handle(Input::Reconfigured(self.setup()), scene.clock());
        scene
    }
}

/// The votes of another vantage, with what it relays.
fn relaying(scene: &Scene, statements: Vec<Arc<str>>) -> VoteSet {
    VoteSet { statements, ..scene.views(Says::Down) }
}

#[test]
fn a_region_that_an_operator_disarms_or_maintains_is_reported_and_never_failed_over_until_it_is_armed() {
    for (action, reason) in [(Action::Disarm, Blocked::Disarmed), (Action::Maintenance, Blocked::Maintenance)] {
        for peer in [Some(0), None] {
            let alice = Alice::new();
            let mut scene = alice.scene();
            alice.states(&mut scene, action, peer, HOUR);
            scene.live(&dead(4 * 60));
            assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(reason), Vec::new()));
            // Back to the files, and to a hold from the beginning.
            alice.states(&mut scene, action, peer, Duration::ZERO);
            scene.live(&dead(4 * 28));
            assert_eq!((blocked(&scene, 0), ordered(&scene)), (None, Vec::new()));
            scene.live(&dead(4 * 5));
            assert_eq!(ordered(&scene).len(), 1);
        }
    }
}

#[test]
fn to_disarm_a_region_withdraws_its_order_and_what_it_was_like_meanwhile_orders_nothing() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    scene.live(&dead(4 * 40));
    assert_eq!(ordered(&scene).len(), 1);
    alice.states(&mut scene, Action::Disarm, Some(0), 60 * SECOND);
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(Blocked::Disarmed), Vec::new()));
    scene.live(&dead(4 * 59));
    assert_eq!(blocked(&scene, 0), Some(Blocked::Disarmed));
    // It ends by itself. The order was given before, and still the hold begins anew.
    scene.live(&dead(4 * 29));
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (None, Vec::new()));
    scene.live(&dead(4 * 6));
    assert_eq!(ordered(&scene).len(), 1);
}

#[test]
fn an_operator_arms_a_region_that_the_files_disarm_and_ends_no_maintenance_of_a_file() {
    for (mode, orders) in [(FailoverMode::Disarmed, 1), (FailoverMode::Maintenance, 0)] {
        let alice = Alice::new();
        let mut scene = alice.scene();
        let mut setup = alice.setup();
        setup.peers[0].mode = mode;
        scene.vantage.handle(Input::Reconfigured(setup), scene.clock());
        alice.states(&mut scene, Action::Arm, Some(0), HOUR);
        scene.live(&dead(4 * 40));
        assert_eq!(ordered(&scene).len(), orders, "{mode}");
        // The votes say what the file says, and not what holds.
        let message = scene.vantage.vote_message((1, 1), scene.clock()).unwrap();
        let entry = message.peers().iter().find(|entry| entry.region == scene.regions[0]).unwrap();
        assert_eq!(entry.mode, Some(mode));
    }
}

#[test]
fn a_region_that_an_operator_maintains_is_no_target() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    let eligible = |scene: &Scene| {
        (0..4).filter(|n| scene.vantage.ranking().of(&scene.regions[*n]).unwrap().eligible()).collect::<Vec<_>>()
    };
    alice.states(&mut scene, Action::Maintenance, Some(1), HOUR);
    assert_eq!(eligible(&scene), [0, 2, 3]);
    alice.states(&mut scene, Action::Disarm, Some(2), HOUR);
    assert_eq!(eligible(&scene), [0, 2, 3], "a region that is not armed may take over");
    alice.states(&mut scene, Action::Maintenance, Some(1), Duration::ZERO);
    assert_eq!(eligible(&scene), [0, 1, 2, 3]);
    // With all of them, and the own one, there is none.
    alice.states(&mut scene, Action::Maintenance, None, HOUR);
    assert_eq!(eligible(&scene), [0; 0]);
    alice.states(&mut scene, Action::Maintenance, None, Duration::ZERO);
    for peer in 1..4 {
        alice.states(&mut scene, Action::Maintenance, Some(peer), HOUR);
    }
    scene.live(&dead(4 * 40));
    assert_eq!(ordered(&scene), [("p0".to_owned(), "here".to_owned())]);
}

#[test]
fn a_vantage_takes_what_another_one_relays_and_relays_it_unchanged() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    scene.live(&dead(4 * 20));
    let disarm = alice.says(&scene, Action::Disarm, Some(0), HOUR);
    let (from, requested_at) = (scene.regions[1].clone(), scene.now);
    let votes = relaying(&scene, vec![Arc::clone(&disarm)]);
    // From a stranger it is nothing.
    let stranger = Region::new("stranger").unwrap();
    scene.handle(Input::Votes { from: &stranger, requested_at, votes: votes.clone() });
    assert_eq!(scene.vantage.statements(), [] as [Arc<str>; 0]);
    scene.handle(Input::Votes { from: &from, requested_at, votes });
    let message = scene.vantage.vote_message((1, 1), scene.clock()).unwrap();
    let wire = regionwatch::decision::votes::VoteMessage::decode(&message.encode().unwrap()).unwrap();
    assert_eq!(wire.votes(scene.now).statements, [disarm]);
    scene.live(&dead(4 * 20));
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(Blocked::Disarmed), Vec::new()));
}

#[test]
fn what_operators_have_stated_outlives_a_restart_on_disk() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    let text = alice.says(&scene, Action::Disarm, Some(0), HOUR);
    let remember = scene.vantage.handle(Input::Stated(&text), scene.clock()).remember.expect("it is new");
    assert_eq!(remember.statements, [Arc::clone(&text)]);
    let mut again = alice.scene();
    again.vantage.handle(Input::Remembered(&remember), again.clock());
    assert_eq!(again.vantage.statements(), [text]);
}

#[test]
fn a_configuration_that_ends_a_statement_reports_it() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    alice.states(&mut scene, Action::Disarm, Some(0), HOUR);
    let without = Setup { operators: Operators::default(), ..alice.setup() };
    let changes = scene.vantage.handle(Input::Reconfigured(without), scene.clock()).changes;
    let reports = |change: &StateChange| matches!(change, StateChange::Statement { command, news, .. } if command.action == Action::Disarm && *news == StatementNews::Forgotten);
    assert_eq!(changes.iter().filter(|change| reports(change)).count(), 1, "{changes:?}");
}

#[test]
fn a_refusal_names_who_has_commanded_later_and_when() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    let command = |text: &str| Command::unverified(text.as_bytes()).unwrap().0;
    let earlier = command(&alice.says(&scene, Action::Arm, Some(0), HOUR));
    alice.states(&mut scene, Action::Disarm, Some(0), HOUR);
    let refusal = scene.vantage.statement_refusal(&earlier).unwrap();
    assert!(refusal.contains(&format!("of alice at {}", scene.clock().unix)), "{refusal}");
    assert_eq!(scene.vantage.statement_refusal(&command(&scene.vantage.statements()[0])), None);
}

/// Statements are known to the others, or to the disk, or to nobody.
#[test]
fn a_vantage_that_has_started_orders_nothing_before_it_knows_what_operators_have_stated() {
    // Nobody else says anything.
    let alone = |slots| Part { says: vec![Says::Nothing; 4], ..dead(slots) };
    // There is no folder; no file in it, or one by a vantage that had heard nobody; one by a vantage that had.
    for (record, has_operators, first, orders) in [
        (None, true, Some(Blocked::ArmingUnknown), 0),
        (Some(false), true, Some(Blocked::ArmingUnknown), 0),
        (Some(true), true, Some(Blocked::ArmingUnknown), 1),
        (None, false, None, 1),
    ] {
        let alice = Alice::new();
        let mut scene = Scene::new(4, false);
        scene.alone = true;
        let mut setup = alice.setup();
        setup.policy.allow_single_vantage = true;
        if !has_operators {
            setup.operators = Operators::default();
        }
        scene.vantage.handle(Input::Reconfigured(setup), scene.clock());
        if let Some(informed) = record {
            let before = Remembered { informed, ..Remembered::default() };
            scene.vantage.handle(Input::Remembered(&before), scene.clock());
        }
        scene.live(&Part { up: vec![true; 4], ..alone(20) });
        scene.live(&alone(4 * 20));
        assert_eq!(blocked(&scene, 0), first, "{record:?} {has_operators}");
        scene.live(&alone(4 * 35));
        assert_eq!(ordered(&scene).len(), orders, "{record:?} {has_operators}");
        if orders == 0 {
            assert_eq!(blocked(&scene, 0), first);
            alice.states(&mut scene, Action::Arm, Some(0), HOUR);
            scene.live(&alone(4 * 5));
            assert_eq!(ordered(&scene).len(), 1, "now it is known");
        }
    }
}

#[test]
fn a_vantage_that_hears_another_one_for_the_first_time_leaves_a_record_of_that() {
    let alice = Alice::new();
    let heard = |mut scene: Scene| {
        let mut effects = scene.vantage.handle(Input::Reconfigured(alice.setup()), scene.clock());
        let again = scene.vantage.handle(Input::Tick, scene.clock());
        assert_eq!(again.remember, None);
        effects.remember.take().map(|remember| remember.informed)
    };
    assert_eq!(heard(Scene::new(4, false)), None, "it has heard nobody");
    assert_eq!(heard(Scene::well(4, false)), Some(true));
}

#[test]
fn a_maintenance_of_a_file_ends_at_its_time_and_the_hold_begins_anew() {
    let mut scene = Scene::well(4, false);
    let own = scene.vantage.region().clone();
    let until = UnixMillis(scene.clock().unix.0 + 60_000);
    let maintained = vec![(scene.regions[0].clone(), until), (scene.regions[1].clone(), until), (own, until)];
    scene.vantage.handle(Input::Reconfigured(Setup { maintained, ..setup(false, watched(4)) }), scene.clock());
    let mode = |scene: &Scene| scene.vantage.peers().next().unwrap().mode;
    let is_target = |scene: &Scene| {
        !scene.vantage.ranking().of(&scene.regions[1]).unwrap().reasons.contains(&Ineligible::Maintenance)
    };
    assert_eq!(mode(&scene), FailoverMode::Maintenance, "the votes say so");
    assert!(!is_target(&scene));
    scene.live(&dead(4 * 58));
    assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(Blocked::Maintenance), Vec::new()));
    scene.live(&dead(4 * 30));
    assert_eq!((blocked(&scene, 0), ordered(&scene), mode(&scene)), (None, Vec::new(), FailoverMode::Armed));
    assert!(is_target(&scene));
    scene.live(&dead(4 * 6));
    assert_eq!(ordered(&scene).len(), 1);
}

/// No command lifts a maintenance of a file, so an operator must know whose it is.
#[test]
fn a_block_by_a_file_names_the_vantage_until_three_say_that_the_region_is_armed() {
    for mode in [FailoverMode::Maintenance, FailoverMode::Disarmed] {
        let alice = Alice::new();
        let mut scene = alice.scene();
        let restrictions = |scene: &Scene| scene.vantage.restrictions(&scene.regions[0], scene.now);
        let says = |scene: &mut Scene, voter: usize, mode| {
            let mut votes = scene.views(Says::Up);
            votes.peers.get_mut(&scene.regions[0]).unwrap().mode = Some(mode);
            let (from, requested_at) = (scene.regions[voter].clone(), scene.now);
            scene.handle(Input::Votes { from: &from, requested_at, votes });
        };
        assert_eq!(restrictions(&scene), []);
        says(&mut scene, 1, mode);
        let file = Restriction::File { vantage: scene.regions[1].clone(), mode };
        assert_eq!(restrictions(&scene), std::slice::from_ref(&file));
        alice.states(&mut scene, Action::Arm, Some(0), HOUR);
        let is_maintained = mode == FailoverMode::Maintenance;
        assert_eq!(restrictions(&scene).contains(&file), is_maintained, "a command lifts the other");
        let stated = scene.vantage.statement(&scene.regions[0], scene.now).cloned().unwrap();
        let of_peer = scene.vantage.stated(&stated, scene.now);
        assert_eq!(of_peer.len(), 1);
        assert_eq!((of_peer[0].newest.as_ref(), of_peer[0].restrictions.len()), (Some(&stated), is_maintained.into()));
        alice.states(&mut scene, Action::Arm, Some(0), Duration::ZERO);
        alice.states(&mut scene, Action::Disarm, None, HOUR);
        let all = restrictions(&scene);
        assert!(matches!(&all[0], Restriction::Command(command) if command.action == Action::Disarm), "{all:?}");
        let all = scene.vantage.stated(&Command { region: None, ..stated.clone() }, scene.now);
        assert_eq!(all.iter().filter(|of| of.newest.is_some()).count(), 5, "each peer, and the own region");
        alice.states(&mut scene, Action::Disarm, None, Duration::ZERO);
        assert_eq!(restrictions(&scene), [file]);
        says(&mut scene, 2, FailoverMode::Armed);
        says(&mut scene, 3, FailoverMode::Armed);
        assert_eq!(restrictions(&scene), [], "of the three others, only its own vantage is restricted");
    }
}

#[test]
fn an_incident_that_a_file_blocks_says_whose_file() {
    let mut scene = Scene::well(4, false);
    let mut peers = watched(4);
    peers[0].mode = FailoverMode::Disarmed;
    scene.vantage.handle(Input::Reconfigured(setup(false, peers)), scene.clock());
    scene.live(&dead(4 * 60));
    assert_eq!(reported(&scene, Stage::Prepare).unwrap().blocked_by, [scene.vantage.region().clone()]);
    scene.vantage.handle(Input::Reconfigured(setup(false, watched(4))), scene.clock());
    scene.live(&dead(8));
    assert_eq!(reported(&scene, Stage::Prepare).unwrap().blocked_by, [] as [Region; 0]);
}

#[test]
fn a_disarm_outlasts_a_clock_that_is_hours_ahead() {
    let alice = Alice::new();
    for ahead in [0, 3 * 3_600_000_i64] {
        let mut scene = alice.scene();
        // The others stated it three hours ago by this clock.
        let at = UnixMillis(scene.clock().unix.0.saturating_add_signed(-ahead));
        let command = Command {
            operator: "alice".to_owned(),
            environment: String::new(),
            region: Some(scene.regions[0].clone()),
            action: Action::Disarm,
            failover: None,
            until: Some(UnixMillis(at.0 + 3_600_000)),
            at,
        };
        let text: Arc<str> = command.sign(&alice.0).unwrap().into();
        for n in 1..4 {
            let votes = VoteSet { clock_offset_ms: Some(-ahead), ..relaying(&scene, vec![Arc::clone(&text)]) };
            let (from, requested_at) = (scene.regions[n].clone(), scene.now);
            scene.handle(Input::Votes { from: &from, requested_at, votes });
        }
        assert_eq!(scene.vantage.statement(&scene.regions[0], scene.now), Some(&command), "{ahead}");
        scene.live(&dead(4 * 50));
        assert_eq!((blocked(&scene, 0), ordered(&scene)), (Some(Blocked::Disarmed), Vec::new()), "{ahead}");
    }
}

/// Whichever operator commanded it, and for how long.
#[test]
fn a_statement_that_takes_another_one_back_reports_which() {
    let alice = Alice::new();
    let mut scene = alice.scene();
    let mut ended = |action, hold| {
        scene.now += MS;
        let text = alice.says(&scene, action, Some(0), hold);
        let changes = scene.vantage.handle(Input::Stated(&text), scene.clock()).changes;
        let ended = changes.into_iter().find_map(|change| match change {
            StateChange::Statement { ended, .. } => Some(ended.map(|ended| ended.action)),
            _ => None,
        });
        ended.expect("it was taken")
    };
    assert_eq!(ended(Action::Disarm, 4 * HOUR), None);
    assert_eq!(ended(Action::Maintenance, HOUR), None, "of another subject");
    assert_eq!(ended(Action::Disarm, HOUR), Some(Action::Disarm), "for a shorter time");
    assert_eq!(ended(Action::Arm, Duration::ZERO), Some(Action::Disarm));
    assert_eq!(ended(Action::Arm, HOUR), None, "nothing held");
}
