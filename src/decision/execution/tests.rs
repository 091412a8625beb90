//! Guarantees of arming, limits and targets.

use super::*;
use crate::{
    decision::votes::{PeerVote, VoteSet},
    model::Vote,
};

const SECOND: Duration = Duration::from_secs(1);

fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

fn vote() -> PeerVote {
    PeerVote {
        vote: Vote::Down,
        good_at: None,
        alive_at: None,
        unserved_since: None,
        incident: None,
        held: true,
        mode: Some(Armed),
        target: None,
        failed_over: None,
        operator_order: false,
    }
}

/// This vantage, `m`, with what the others say of regions.
struct Fixture {
    executions: Executions,
    votes: VoteTable,
    statements: Statements,
    informed: bool,
    policy: Policy,
    now: Instant,
    down: Vec<Region>,
}

impl Fixture {
    fn new() -> Self {
        let mut votes = VoteTable::default();
        votes.set_voters(["a", "b", "c", "x", "y", "z"].map(|name| (region(name), 3 * SECOND)));
        let policy = Policy { min_interval: Duration::ZERO, ..Policy::default() };
        Self {
            executions: Executions::default(),
            votes,
            statements: Statements::default(),
            informed: true,
            policy,
            now: Instant::now() + 3600 * SECOND,
            down: Vec::new(),
        }
    }

    fn says(&mut self, vantage: &str, of: &str, vote: PeerVote) {
        let peers = [(region(of), vote)].into();
        self.votes.record(&region(vantage), self.now, VoteSet { peers, ..VoteSet::default() });
    }

    /// The gate of the first of some regions with an incident: name, onset, mode, candidates.
    fn gate(&self, regions: &[(&str, u64, FailoverMode, &[&str])]) -> Gate {
        let names: Vec<_> = regions.iter().map(|(name, ..)| region(name)).collect();
        let candidate = |name: &&str| Candidate { region: region(name), rank: 1, score: None };
        let candidates: Vec<Vec<_>> = regions.iter().map(|(.., names)| names.iter().map(candidate).collect()).collect();
        let contender = |n: usize| Contender {
            region: &names[n],
            onset: UnixMillis(regions[n].1),
            mode: regions[n].2,
            held: true,
            candidates: &candidates[n],
            proposed: None,
        };
        let contenders: Vec<_> = (0..regions.len()).map(contender).collect();
        let own = region("m");
        let situation = Situation {
            own: &own,
            contenders: &contenders,
            votes: &self.votes,
            statements: &self.statements,
            informed: self.informed,
            policy: self.policy,
            now: self.now,
        };
        self.executions.gate(&contender(0), situation, |region| self.down.contains(region))
    }

    fn blocked(&self, regions: &[(&str, u64, FailoverMode, &[&str])]) -> Option<Blocked> {
        self.gate(regions).blocked
    }

    fn failed_over(&mut self, name: &str, target: &str) -> FailedOver {
        let failover = FailedOver { id: name.into(), onset: UnixMillis(1), target: region(target), at: self.now };
        self.executions.record(&region(name), &failover);
        failover
    }
}

use FailoverMode::{Armed, Disarmed, Maintenance};

#[test]
fn a_vantage_orders_no_other_region_while_its_own_is_failed_over() {
    let mut fixture = Fixture::new();
    let failover = FailedOver { id: "m-1".into(), onset: UnixMillis(1), target: region("a"), at: fixture.now };
    let x: (&str, u64, FailoverMode, &[&str]) = ("x", 1, Armed, &["b"]);
    fixture.says("a", "m", PeerVote { held: false, failed_over: Some(failover), ..vote() });
    assert_eq!(fixture.blocked(&[x]), Some(Blocked::Limit));
    // The last word of a vantage that is silent counts, and no longer once another one knows better.
    fixture.now += 3600 * SECOND;
    assert_eq!(fixture.blocked(&[x]), Some(Blocked::Limit));
    fixture.says("b", "m", PeerVote { held: false, ..vote() });
    assert_eq!(fixture.blocked(&[x]), None);
    fixture.policy.max_down = 2;
    fixture.says("b", "m", vote());
    assert_eq!(fixture.blocked(&[x]), None);
}

#[test]
fn a_vantage_that_does_not_know_what_operators_have_commanded_orders_nothing() {
    let mut fixture = Fixture::new();
    fixture.informed = false;
    let blocked = |fixture: &Fixture, own| fixture.blocked(&[("x", 1, own, &["a"])]);
    assert_eq!(blocked(&fixture, Armed), Some(Blocked::ArmingUnknown));
    assert_eq!(blocked(&fixture, Disarmed), Some(Blocked::Disarmed), "the file is known");
    // Nor what it has ordered before.
    fixture.failed_over("x", "a");
    assert_eq!(blocked(&fixture, Armed), Some(Blocked::ArmingUnknown));
    fixture.informed = true;
    assert_eq!(blocked(&fixture, Armed), None);
}

#[test]
fn a_restriction_of_one_vantage_holds_for_all_unless_three_contradict_it() {
    let mut fixture = Fixture::new();
    let blocked = |fixture: &Fixture, own| fixture.blocked(&[("x", 1, own, &["a"])]);
    assert_eq!(blocked(&fixture, Armed), None);
    assert_eq!(blocked(&fixture, Disarmed), Some(Blocked::Disarmed));
    assert_eq!(blocked(&fixture, Maintenance), Some(Blocked::Maintenance));
    fixture.says("a", "x", PeerVote { mode: Some(Disarmed), ..vote() });
    assert_eq!(blocked(&fixture, Armed), Some(Blocked::Disarmed));
    fixture.says("b", "x", PeerVote { mode: Some(Maintenance), ..vote() });
    assert_eq!(blocked(&fixture, Armed), Some(Blocked::Maintenance));
    fixture.says("c", "x", vote());
    assert_eq!(blocked(&fixture, Armed), Some(Blocked::Maintenance), "two say armed");
    fixture.says("b", "x", vote());
    assert_eq!(blocked(&fixture, Armed), None, "three say armed");
    assert_eq!(blocked(&fixture, Disarmed), Some(Blocked::Disarmed), "the own value restricts whatever others say");
    // A vantage of 0.2.0 says nothing, and the region does not vote on itself.
    fixture.says("b", "x", PeerVote { mode: None, ..vote() });
    fixture.says("x", "x", vote());
    assert_eq!(blocked(&fixture, Armed), Some(Blocked::Disarmed));
    fixture.now += MODE_AGE;
    assert_eq!(blocked(&fixture, Armed), Some(Blocked::Disarmed));
    fixture.now += SECOND;
    assert_eq!(blocked(&fixture, Armed), None, "the vantage that said so is gone");
}

#[test]
fn the_oldest_onset_and_then_the_name_gets_the_slot_and_only_regions_that_could_use_it_compete() {
    let fixture = Fixture::new();
    let x = ("x", 5, Armed, &["a"][..]);
    assert_eq!(fixture.blocked(&[x, ("y", 5, Armed, &["a"])]), None);
    assert_eq!(fixture.blocked(&[("y", 5, Armed, &["a"]), x]), Some(Blocked::Limit));
    assert_eq!(fixture.blocked(&[x, ("y", 4, Armed, &["a"])]), Some(Blocked::Limit));
    assert_eq!(fixture.blocked(&[x, ("y", 4, Disarmed, &["a"])]), None);
    assert_eq!(fixture.blocked(&[x, ("y", 4, Armed, &[])]), None);
}

#[test]
fn a_region_holds_its_slot_until_it_is_released() {
    let mut fixture = Fixture::new();
    fixture.failed_over("y", "a");
    let x = ("x", 5, Armed, &["a"][..]);
    assert_eq!(fixture.blocked(&[x]), Some(Blocked::Limit));
    fixture.policy.max_down = 2;
    assert_eq!(fixture.blocked(&[x]), None);
    assert_eq!(fixture.blocked(&[x, ("z", 1, Armed, &["a"])]), Some(Blocked::Limit));
    fixture.policy.min_interval = 600 * SECOND;
    assert_eq!(fixture.blocked(&[x]), Some(Blocked::Limit));
    fixture.now += 600 * SECOND;
    assert_eq!(fixture.blocked(&[x]), None);
    // Other vantages have failed over this vantage's own region.
    fixture.policy.max_down = 1;
    fixture.executions = Executions::default();
    assert_eq!(fixture.blocked(&[x]), None);
    let failover = FailedOver { id: "m".into(), onset: UnixMillis(1), target: region("a"), at: fixture.now };
    fixture.says("a", "m", PeerVote { failed_over: Some(failover), ..vote() });
    assert_eq!(fixture.blocked(&[x]), Some(Blocked::Limit));
}

#[test]
fn the_target_of_a_failover_never_changes_and_blocks_it_when_it_is_down() {
    let mut fixture = Fixture::new();
    fixture.failed_over("x", "b");
    let other = FailedOver {
        id: "other".into(),
        target: region("c"),
        ..fixture.executions.records[&region("x")].failover.clone()
    };
    assert!(!fixture.executions.record(&region("x"), &other));
    for candidates in [&["a"][..], &[]] {
        let gate = fixture.gate(&[("x", 9, Armed, candidates)]);
        assert_eq!((gate.blocked, gate.target), (None, Some(region("b"))), "it needs no slot but its own");
    }
    // Released here, and not by two other vantages.
    let first = fixture.executions.records[&region("x")].failover.clone();
    fixture.executions = Executions::default();
    for vantage in ["c", "a"] {
        fixture.says(vantage, "x", PeerVote { failed_over: Some(first.clone()), ..vote() });
    }
    assert_eq!(fixture.gate(&[("x", 9, Armed, &["a"])]).target, Some(region("b")));
    fixture.down.push(region("b"));
    let gate = fixture.gate(&[("x", 9, Armed, &["a"])]);
    assert_eq!((gate.blocked, gate.target), (Some(Blocked::TargetDown), Some(region("b"))));
}

/// One vantage that lies about failovers of healthy regions chooses no target that the gates refuse, and passes no limit.
#[test]
fn the_word_of_one_vantage_about_a_failover_orders_nothing_that_would_not_be_ordered_anyway() {
    let mut fixture = Fixture::new();
    let lie = |id: &str| FailedOver { id: id.into(), onset: UnixMillis(1), target: region("b"), at: fixture.now };
    let (of_x, of_y) = (lie("x-1"), lie("y-1"));
    fixture.says("c", "x", PeerVote { failed_over: Some(of_x.clone()), ..vote() });
    assert!(fixture.executions.adopt(&region("x"), &of_x));
    let gate = |fixture: &Fixture, candidates| {
        let gate = fixture.gate(&[("x", 9, Armed, candidates)]);
        (gate.blocked, gate.target.map(|target| target.to_string()))
    };
    assert_eq!(
        gate(&fixture, &["a"]),
        (Some(Blocked::NoTarget), None),
        "b does not pass here, and nothing else is ordered"
    );
    assert_eq!(gate(&fixture, &["a", "b"]), (None, Some("b".to_owned())));
    let reported = |fixture: &mut Fixture| {
        fixture.executions.count_reports(&fixture.votes, fixture.now);
        fixture.executions.reported(&region("x"), true).is_some()
    };
    assert!(!reported(&mut fixture), "repeated, it would be a second report");
    fixture.executions.adopt(&region("y"), &of_y);
    assert_eq!(gate(&fixture, &["a", "b"]).0, Some(Blocked::Limit));
    // A second one, or an order of its own.
    fixture.says("z", "x", PeerVote { failed_over: Some(of_x.clone()), ..vote() });
    assert_eq!(gate(&fixture, &["a"]), (None, Some("b".to_owned())));
    assert!(reported(&mut fixture));
    let other = FailedOver { target: region("a"), ..of_x };
    fixture.executions.record(&region("x"), &other);
    assert_eq!(gate(&fixture, &["a"]), (None, Some("a".to_owned())));
}

#[test]
fn a_vantage_that_tells_each_other_one_another_target_proposes_none() {
    let mut fixture = Fixture::new();
    let proposes = |target: &str, by: &str| PeerVote { target: Some((region(target), region(by))), ..vote() };
    fixture.says("a", "x", proposes("b", "a"));
    fixture.says("z", "x", proposes("c", "a"));
    let gate = fixture.gate(&[("x", 1, Armed, &["c", "b"])]);
    assert_eq!(gate.proposal.map(|proposal| proposal.by), Some(region("m")));
    fixture.says("a", "x", proposes("b", "0"));
    fixture.says("z", "x", vote());
    let gate = fixture.gate(&[("x", 1, Armed, &["c", "b"])]);
    assert_eq!(gate.target, Some(region("c")), "no vantage is called 0");
}

#[test]
fn vantages_take_the_proposal_of_the_first_one_by_name() {
    let mut fixture = Fixture::new();
    let gate = |fixture: &Fixture, candidates| {
        let gate = fixture.gate(&[("x", 1, Armed, candidates)]);
        (gate.blocked, gate.target.map(|target| target.to_string()), gate.settled)
    };
    let target = |name: &str| Some(name.to_owned());
    assert_eq!(gate(&fixture, &[]), (Some(Blocked::NoTarget), None, false));
    assert_eq!(gate(&fixture, &["c", "b"]), (None, target("c"), true));
    let proposes = |name: &str| PeerVote { target: Some((region("b"), region(name))), ..vote() };
    fixture.says("z", "x", proposes("z"));
    assert_eq!(gate(&fixture, &["c", "b"]), (None, target("c"), true), "m comes before z");
    fixture.says("z", "x", proposes("a"));
    assert_eq!(gate(&fixture, &["c", "b"]), (None, target("b"), true), "z passes on what a proposes");
    fixture.says("a", "x", PeerVote { target: Some((region("c"), region("a"))), ..vote() });
    assert_eq!(gate(&fixture, &["c", "b"]), (None, target("c"), true), "what it says itself counts");
    fixture.says("a", "x", proposes("a"));
    assert_eq!(gate(&fixture, &["c", "b"]), (None, target("b"), true));
    assert_eq!(gate(&fixture, &["c"]), (None, target("c"), false), "b does not pass the gates here");
    fixture.says("z", "x", vote());
    fixture.says("a", "x", PeerVote { held: false, ..proposes("a") });
    assert_eq!(gate(&fixture, &["c", "b"]), (None, target("c"), true), "it does not hold the region down");
}

#[test]
fn a_region_waits_for_an_older_one_that_only_another_vantage_holds_down() {
    let mut fixture = Fixture::new();
    let claim = |onset| PeerVote {
        incident: Some((UnixMillis(onset), "y".into())),
        target: Some((region("a"), region("b"))),
        ..vote()
    };
    fixture.says("b", "y", claim(6));
    assert!(fixture.gate(&[("x", 5, Armed, &["a"])]).settled);
    fixture.says("b", "y", claim(4));
    let gate = fixture.gate(&[("x", 5, Armed, &["a"])]);
    assert_eq!((gate.blocked, gate.settled), (None, false));
    fixture.policy.max_down = 2;
    assert!(fixture.gate(&[("x", 5, Armed, &["a"])]).settled);
}

#[test]
fn a_region_is_released_after_half_an_hour_of_health_and_stays_so_whatever_others_still_report() {
    let mut fixture = Fixture::new();
    let x = region("x");
    let failover = fixture.failed_over("x", "a");
    let mut release = |state, after| {
        fixture.now += after;
        let well = matches!(state, PeerState::Healthy | PeerState::Degraded);
        let stands = [Standing { region: &x, state, well, open: false }];
        fixture.executions.release(stands.into_iter(), &fixture.votes, fixture.now);
        !fixture.executions.records.contains_key(&x)
    };
    assert!(!release(PeerState::Healthy, SECOND));
    assert!(!release(PeerState::Healthy, RELEASE_AFTER - SECOND));
    assert!(!release(PeerState::Suspect, SECOND), "it counts from zero again");
    assert!(!release(PeerState::Degraded, SECOND), "it takes traffic");
    assert!(release(PeerState::Healthy, RELEASE_AFTER));
    assert!(!fixture.executions.record(&x, &failover), "another vantage that releases it a moment later");
    let next = FailedOver { id: "next".into(), at: fixture.now + SECOND, ..failover };
    assert!(fixture.executions.record(&x, &next));
}

#[test]
fn a_failover_outlives_a_restart_of_all_vantages_with_its_target_and_its_slot() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.executions.changed(false), None);
    let of_x = fixture.failed_over("x", "a");
    let left = fixture.executions.changed(false).unwrap();
    assert_eq!(
        left,
        Remembered { failovers: vec![(region("x"), of_x, Orderer::ThisVantage)], ..Remembered::default() }
    );
    assert_eq!(fixture.executions.changed(false), None, "it is reported once");

    let mut fixture = Fixture::new();
    fixture.executions.remember(&left);
    let gate = fixture.gate(&[("x", 1, Armed, &["b"])]);
    assert_eq!((gate.blocked, gate.target), (None, Some(region("a"))), "the target never changes");
    assert_eq!(fixture.blocked(&[("y", 1, Armed, &["b"])]), Some(Blocked::Limit));
    assert_eq!(fixture.executions.changed(false), None);
}

#[test]
fn a_region_that_is_released_by_hand_frees_its_slot_and_stays_released() {
    let mut fixture = Fixture::new();
    let of_x = fixture.failed_over("x", "a");
    fixture.executions.release_now(&region("x"), fixture.now);
    assert_eq!(fixture.executions.of(&region("x")), None);
    assert_eq!(fixture.blocked(&[("y", 1, Armed, &["b"])]), None);
    assert!(!fixture.executions.adopt(&region("x"), &of_x), "another vantage still reports it");
    let released = Released { id: "x".into(), at: fixture.now };
    assert_eq!(fixture.executions.changed(false).unwrap().released, [(region("x"), released)]);
    let renamed = FailedOver { id: "x-5".into(), ..of_x.clone() };
    assert!(!fixture.executions.adopt(&region("x"), &renamed), "another vantage knows it by another name");
    // As long as another vantage has not released it, its slot is taken.
    fixture.says("b", "x", PeerVote { failed_over: Some(of_x), ..vote() });
    assert_eq!(fixture.blocked(&[("y", 1, Armed, &["b"])]), Some(Blocked::Limit));
}

#[test]
fn what_one_other_vantage_says_is_not_remembered_and_what_was_released_stays_released() {
    let mut fixture = Fixture::new();
    let told = FailedOver { id: "x-1".into(), onset: UnixMillis(1), target: region("a"), at: fixture.now };
    fixture.executions.adopt(&region("x"), &told);
    assert_eq!(fixture.executions.changed(false), None);
    for vantage in ["b", "c"] {
        fixture.says(vantage, "x", PeerVote { failed_over: Some(told.clone()), ..vote() });
    }
    fixture.executions.count_reports(&fixture.votes, fixture.now);
    assert_eq!(fixture.executions.changed(false).unwrap().failovers.len(), 1, "two have said so");

    let x = region("x");
    let stands = |state, well, open| [Standing { region: &x, state, well, open }].into_iter();
    let later = fixture.now + RELEASE_AFTER;
    fixture.executions.release(stands(PeerState::Healthy, true, true), &fixture.votes, fixture.now);
    assert!(
        !fixture.executions.release(stands(PeerState::Healthy, true, true), &fixture.votes, later),
        "it may relapse"
    );
    assert!(fixture.executions.release(stands(PeerState::Healthy, true, false), &fixture.votes, later));
    let left = fixture.executions.changed(false).unwrap();
    let released = Released { id: "x-1".into(), at: later };
    assert_eq!(left, Remembered { released: vec![(x.clone(), released)], ..Remembered::default() });
    let mut fixture = Fixture::new();
    fixture.executions.remember(&left);
    assert!(!fixture.executions.adopt(&x, &told), "another vantage may still report it");
}

/// It was well when it was ordered.
#[test]
fn what_an_operator_has_failed_over_is_not_released_by_health_unless_one_other_vantage_alone_says_so() {
    let x = region("x");
    let ordered = |at| FailedOver { id: "x-operator-1".into(), onset: UnixMillis(1), target: region("a"), at };
    for is_own in [true, false] {
        let mut fixture = Fixture::new();
        let failover = ordered(fixture.now);
        match is_own {
            true => fixture.executions.command(&x, failover.clone()),
            false => assert!(fixture.executions.adopt(&x, &failover)),
        }
        assert_eq!(fixture.executions.has_ordered(&x, "x-operator-1", &region("a")), is_own);
        for minutes in [0, 31, 62] {
            let stands = [Standing { region: &x, state: PeerState::Healthy, well: true, open: false }];
            let at = fixture.now + minutes * 60 * SECOND;
            fixture.executions.release(stands.into_iter(), &fixture.votes, at);
        }
        assert_eq!(fixture.executions.of(&x), Some(&failover).filter(|_| is_own));
    }
}

#[test]
fn a_region_that_stays_dead_over_a_restart_of_all_vantages_is_not_released() {
    let (x, mut fixture) = (region("x"), Fixture::new());
    fixture.failed_over("x", "a");
    let left = fixture.executions.changed(false).unwrap();
    let mut fixture = Fixture::new();
    fixture.executions.remember(&left);
    assert!(fixture.executions.reported(&x, false).is_some(), "the others must know of it");
    // Unknown, because it never answered; and then degraded, because its critical probes never succeeded.
    for (state, minutes) in [(PeerState::Unknown, 0), (PeerState::Unknown, 31), (PeerState::Degraded, 62)] {
        let at = fixture.now + minutes * 60 * SECOND;
        let stands = [Standing { region: &x, state, well: false, open: false }];
        assert!(!fixture.executions.release(stands.into_iter(), &fixture.votes, at), "{state:?}");
    }
    assert!(fixture.executions.of(&x).is_some());
}

#[test]
fn a_failover_that_others_have_ordered_of_a_region_that_is_never_reached_ends_with_their_last_word() {
    let (x, mut fixture) = (region("x"), Fixture::new());
    let told = FailedOver { id: "x-1".into(), onset: UnixMillis(1), target: region("a"), at: fixture.now };
    for vantage in ["b", "c"] {
        fixture.says(vantage, "x", PeerVote { failed_over: Some(told.clone()), ..vote() });
    }
    fixture.executions.adopt(&x, &told);
    fixture.executions.count_reports(&fixture.votes, fixture.now);
    assert!(fixture.executions.reported(&x, false).is_none() && fixture.executions.reported(&x, true).is_some());
    let release = |fixture: &mut Fixture, at| {
        let stands = [Standing { region: &x, state: PeerState::Unknown, well: false, open: false }];
        fixture.executions.release(stands.into_iter(), &fixture.votes, at)
    };
    let now = fixture.now;
    assert!(!release(&mut fixture, now), "they say so");
    assert!(!release(&mut fixture, now + 10 * SECOND), "they are silent");
    assert!(release(&mut fixture, now + 10 * SECOND + RELEASE_AFTER));
}

#[test]
fn what_is_on_disk_is_not_released_although_the_clock_was_behind_at_the_start() {
    let (x, mut fixture) = (region("x"), Fixture::new());
    let told = FailedOver { id: "x-2".into(), onset: UnixMillis(1), target: region("a"), at: fixture.now };
    let released = Released { id: "x-1".into(), at: fixture.now };
    let failovers = vec![(x.clone(), told.clone(), Orderer::ThisVantage)];
    fixture.executions.remember(&Remembered {
        failovers,
        released: vec![(x.clone(), released)],
        ..Remembered::default()
    });
    assert_eq!(fixture.executions.of(&x), Some(&told));
}
