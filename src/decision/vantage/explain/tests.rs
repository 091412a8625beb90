use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::{
    decision::{
        Input, PathInfo, PeerSetup, Policy, Setup,
        ranking::{RegionAttributes, TargetPolicy},
        votes::{Ballot, PeerVote, VoteSet},
    },
    model::{
        FailoverMode, Failure, Kind, Outcome, PathId, PeerState, Phase, Sample, StampSource, StateReason, TargetName,
        Timings, UnixMillis, Vote,
    },
    probe,
};

const MS: Duration = Duration::from_millis(1);
const KINDS: [Kind; 3] = [probe::ICMP, probe::TCP, probe::SIDECAR];

fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

/// A vantage with the peers `b` and `c`, in virtual time.
struct World {
    vantage: Vantage,
    now: Instant,
}

impl World {
    fn new() -> Self {
        Self::with(|_| false)
    }

    /// The probes of these kinds are critical.
    fn with(is_critical: impl Fn(Kind) -> bool) -> Self {
        let now = Instant::now();
        let mut world = Self { vantage: Vantage::new(region("a"), now), now };
        let peers = ["b", "c"].iter().zip(0..).map(|(name, n)| PeerSetup {
            region: region(name),
            attributes: RegionAttributes::default(),
            mode: FailoverMode::Armed,
            paths: KINDS
                .into_iter()
                .zip(0..)
                .map(|(kind, k)| PathInfo {
                    path: PathId(3 * n + k),
                    target: TargetName::new("edge").unwrap(),
                    kind,
                    interval: 250 * MS,
                    critical: is_critical(kind),
                    question: 0,
                })
                .collect(),
        });
        let (policy, targets, own) = (Policy::default(), TargetPolicy::default(), RegionAttributes::default());
        let setup = Setup { policy, targets, own, peers: peers.collect(), ..Setup::default() };
        world.handle(Input::Reconfigured(setup));
        for _ in 0..8 {
            (0..6).for_each(|path| world.answers(path));
            world.now += 250 * MS;
        }
        world
    }

    fn now(&self) -> Now {
        Now { instant: self.now, unix: UnixMillis(1_700_000_000_000) }
    }

    fn handle(&mut self, input: Input<'_>) {
        self.vantage.handle(input, self.now());
    }

    fn answers(&mut self, path: u32) {
        self.ends(path, Ok(Timings::single(Phase::Rtt, MS, StampSource::Kernel)));
    }

    fn ends(&mut self, path: u32, outcome: Outcome) {
        let sample = Sample { path: PathId(path), sent_at: self.now, sent_at_unix: 1, outcome };
        self.handle(Input::Result { sample: &sample, start_delay: Duration::ZERO, late: 0 });
    }

    /// `c` votes on `b`.
    fn votes(&mut self, vote: Vote) {
        let peers = [(region("b"), PeerVote::plain(vote, Some(self.now)))].into();
        let (from, requested_at) = (&region("c"), self.now);
        self.handle(Input::Votes { from, requested_at, votes: VoteSet { peers, ..VoteSet::default() } });
    }

    /// `b` is silent, while `c` answers.
    fn silence(&mut self) {
        for _ in 0..3 {
            (3..6).for_each(|path| self.answers(path));
            for path in 0..2 {
                self.handle(Input::Overdue { path: PathId(path), sent_at: self.now });
            }
            self.now += 250 * MS;
        }
    }

    fn explain(&self) -> Explanation {
        self.vantage.explain(&region("b"), self.now()).unwrap()
    }
}

#[test]
fn a_healthy_peer_is_explained_by_its_answers_and_no_vote_would_change_it() {
    let world = World::new();
    let explained = world.explain();
    assert_eq!((explained.state, explained.rule.reason()), (PeerState::Healthy, StateReason::Answers));
    assert_eq!((explained.failing, explained.incident.is_none()), (None, true));
    assert_eq!(explained.ballots, [(region("c"), Ballot::Missing)]);
    assert!(explained.next_votes.iter().all(|next| next.state == PeerState::Healthy));
    assert!(world.vantage.explain(&region("nowhere"), world.now()).is_none());
}

#[test]
fn a_suspicion_is_explained_by_its_silent_probes_and_the_votes_that_are_missing() {
    let mut world = World::new();
    world.votes(Vote::Up);
    world.silence();
    let explained = world.explain();
    assert_eq!((explained.state, explained.rule.reason()), (PeerState::Suspect, StateReason::Silence));
    let silent: Vec<_> = explained.paths.iter().map(|path| (path.silent, path.silence_needs)).collect();
    assert_eq!(silent, [(3, Some((3, true))), (3, Some((3, true))), (0, None)], "a sidecar is no evidence");
    // It reached `b`, but before the silence.
    assert_eq!(explained.ballots, [(region("c"), Ballot::BeforeDecisive)]);
    assert_eq!((explained.tally.down, explained.tally.needed, explained.tally.reached), (1, 2, false));
}

#[test]
fn a_common_mode_is_the_reason_for_as_long_as_it_lasts() {
    let mut world = World::with(|kind| kind == probe::TCP);
    for _ in 0..5 {
        [0, 2, 3, 4, 5].into_iter().for_each(|path| world.answers(path));
        world.ends(1, Err(Failure::Auth));
        world.now += 250 * MS;
    }
    let explained = world.explain();
    assert_eq!((explained.state, explained.rule.reason()), (PeerState::Degraded, StateReason::CommonMode));
    assert_eq!((explained.failing, explained.own), (None, Vote::Up));
    world.answers(1);
    let explained = world.explain();
    assert_eq!((explained.state, explained.rule.reason()), (PeerState::Degraded, StateReason::PathFails));
}

#[test]
fn what_one_more_vote_would_change_is_what_it_changes() {
    for (vote, becomes) in [(Vote::Down, PeerState::Down), (Vote::Up, PeerState::Degraded)] {
        let mut world = World::new();
        world.silence();
        let explained = world.explain();
        let next = explained.next_votes.iter().find(|next| next.vote == vote).unwrap();
        assert_eq!((next.state, &*next.by), (becomes, &[region("c")][..]));
        let unchanged = world.explain();
        assert_eq!(unchanged.state, PeerState::Suspect, "asking changes nothing");
        world.votes(vote);
        let after = world.explain();
        assert_eq!((after.state, after.tally), (next.state, next.tally));
        assert_eq!(after.incident.is_some(), becomes == PeerState::Down);
    }
}
