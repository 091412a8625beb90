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
        incident: None,
        held: true,
        mode: Some(Armed),
        target: None,
        failed_over: None,
    }
}

/// This vantage, `m`, with what the others say of regions.
struct Fixture {
    executions: Executions,
    votes: VoteTable,
    policy: Policy,
    now: Instant,
    down: Vec<Region>,
}

impl Fixture {
    fn new() -> Self {
        let mut votes = VoteTable::default();
        votes.set_voters(["a", "b", "c", "x", "y", "z"].map(|name| (region(name), 3 * SECOND)));
        let policy = Policy { min_interval: Duration::ZERO, ..Policy::default() };
        Self { executions: Executions::default(), votes, policy, now: Instant::now() + 3600 * SECOND, down: Vec::new() }
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
        let situation =
            Situation { own: &own, contenders: &contenders, votes: &self.votes, policy: self.policy, now: self.now };
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
        fixture.executions.count_witnesses(&fixture.votes, fixture.now);
        fixture.executions.reported(&region("x")).is_some()
    };
    assert!(!reported(&mut fixture), "repeated, it would be a second witness");
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
        fixture.executions.release([(&x, state)].into_iter(), &fixture.votes, fixture.now);
        !fixture.executions.records.contains_key(&x)
    };
    assert!(!release(PeerState::Healthy, SECOND));
    assert!(!release(PeerState::Healthy, RELEASE_AFTER - SECOND));
    assert!(!release(PeerState::Suspect, SECOND), "it counts from zero again");
    assert!(!release(PeerState::Degraded, SECOND), "it takes traffic");
    assert!(release(PeerState::Healthy, RELEASE_AFTER));
    assert!(!fixture.executions.record(&x, &failover), "another vantage that releases it a moment later");
    let next = FailedOver { id: "next".into(), ..failover };
    assert!(fixture.executions.record(&x, &next));
}
