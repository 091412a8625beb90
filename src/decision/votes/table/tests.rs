use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

fn table(voters: &[&str]) -> VoteTable {
    let mut table = VoteTable::default();
    table.set_voters(voters.iter().map(|name| (region(name), 3 * SECOND)));
    table
}

fn silent(onset: Instant, decisive: Instant) -> Option<Failing> {
    Some(Failing { cause: Cause::Silence, onset, decisive })
}

fn says(vote: Vote, good_at: Option<Instant>) -> VoteSet {
    let view = PeerVote::plain(vote, good_at);
    VoteSet { isolated: false, peers: [(region("dead"), view)].into(), ..VoteSet::default() }
}

#[test]
fn the_quorum_is_2_of_2_2_of_3_3_of_4_4_of_5_and_4_of_6() {
    let now = Instant::now();
    let names = ["b", "c", "d", "e", "f"];
    for (voters, needed) in [(2, 2), (3, 2), (4, 3), (5, 4), (6, 4)] {
        let mut table = table(&names[..voters - 1]);
        for (n, name) in names[..voters - 1].iter().enumerate() {
            let vote = if n + 1 < needed { Vote::Down } else { Vote::Up };
            table.record(&region(name), now, says(vote, None));
        }
        let tally = table.count(&region("dead"), Vote::Down, None, now);
        assert_eq!((tally.voters, tally.needed, tally.reached), (voters as u32, needed as u32, true), "{voters}");
        let tally = table.count(&region("dead"), Vote::Up, None, now);
        assert!(!tally.reached);
    }
}

#[test]
fn one_liar_stops_a_quorum_of_three_regions_and_not_of_four() {
    let now = Instant::now();
    let lies = says(Vote::Up, Some(now + SECOND));
    let silence = silent(now - SECOND, now);
    for (others, reached) in [(&["dead", "liar"][..], false), (&["dead", "liar", "c"], true)] {
        let mut table = table(others);
        table.record(&region("liar"), now, lies.clone());
        table.record(&region("c"), now, says(Vote::Down, None));
        let tally = table.count(&region("dead"), Vote::Down, silence, now);
        assert_eq!((tally.up, tally.reached, tally.contradicted), (1, reached, !reached), "{others:?}");
    }
}

#[test]
fn one_vantage_alone_has_no_quorum() {
    let tally = table(&[]).count(&region("dead"), Vote::Down, None, Instant::now());
    assert!(!tally.reached && !tally.contradicted);
}

#[test]
fn a_peer_does_not_vote_on_itself() {
    let now = Instant::now();
    let mut table = table(&["dead", "b"]);
    table.record(&region("dead"), now, says(Vote::Up, Some(now)));
    table.record(&region("b"), now, says(Vote::Down, None));
    assert!(table.count(&region("dead"), Vote::Down, silent(now - SECOND, now - SECOND), now).reached);
}

#[test]
fn stale_votes_and_votes_of_isolated_or_undecided_vantages_do_not_count() {
    let now = Instant::now();
    let mut table = table(&["b", "c", "d"]);
    table.record(&region("b"), now - 4 * SECOND, says(Vote::Down, None));
    table.record(&region("c"), now, VoteSet { isolated: true, ..says(Vote::Down, None) });
    table.record(&region("d"), now, VoteSet::default());
    let tally = table.count(&region("dead"), Vote::Down, None, now);
    assert_eq!((tally.voters, tally.abstain, tally.reached), (1, 2, false));
}

#[test]
fn the_minority_of_a_partition_has_no_quorum() {
    let now = Instant::now();
    let mut table = table(&["b", "c", "d", "dead"]);
    table.record(&region("b"), now, says(Vote::Down, None));
    let tally = table.count(&region("dead"), Vote::Down, None, now);
    assert_eq!((tally.down, tally.needed, tally.reached), (2, 2, false));
    table.record(&region("c"), now, says(Vote::Down, None));
    assert!(table.count(&region("dead"), Vote::Down, None, now).reached);
}

#[test]
fn neither_half_of_an_even_partition_has_a_quorum() {
    let now = Instant::now();
    let mut table = table(&["b", "c", "dead"]);
    let silence = silent(now - SECOND, now);
    table.record(&region("b"), now, says(Vote::Down, None));
    assert!(!table.count(&region("dead"), Vote::Down, silence, now).reached);
    // Heard before the cut, it has not said anything about it.
    table.record(&region("c"), now - 2 * SECOND, says(Vote::Up, Some(now - 2 * SECOND)));
    let tally = table.count(&region("dead"), Vote::Down, silence, now);
    assert_eq!((tally.down, tally.needed, tally.reached), (2, 2, false));
    table.record(&region("c"), now, says(Vote::Down, None));
    assert!(table.count(&region("dead"), Vote::Down, silence, now).reached);
}

#[test]
fn an_up_vote_contradicts_only_with_a_probe_sent_after_the_decisive_one() {
    let now = Instant::now();
    let mut table = table(&["b"]);
    let decisive = now - SECOND;
    for (good_at, contradicted) in [(now - 2 * SECOND, false), (decisive, false), (now, true)] {
        table.record(&region("b"), now, says(Vote::Up, Some(good_at)));
        let tally = table.count(&region("dead"), Vote::Down, silent(decisive, decisive), now);
        assert_eq!((tally.contradicted, tally.reached, tally.voters), (contradicted, false, 2));
    }
}

#[test]
fn a_sign_of_life_contradicts_silence_and_not_a_dead_service() {
    let now = Instant::now();
    let mut table = table(&["b"]);
    let mut alive = says(Vote::Up, None);
    alive.peers.values_mut().for_each(|vote| vote.alive_at = Some(now));
    table.record(&region("b"), now, alive);
    for (cause, up) in [(Cause::Silence, 1), (Cause::Service, 0)] {
        let failing = Failing { cause, onset: now - SECOND, decisive: now - SECOND };
        let tally = table.count(&region("dead"), Vote::Down, Some(failing), now);
        assert_eq!((tally.up, tally.voters), (up, 2), "{cause}");
    }
}

#[test]
fn of_four_vantages_one_alone_cannot_report_that_a_region_is_unserved() {
    let now = Instant::now();
    let mut unserved = says(Vote::Up, None);
    unserved.peers.values_mut().for_each(|vote| vote.unserved_since = Some(now));
    for (others, reporting, reported) in
        [(&["b", "c"][..], 1, true), (&["b", "c", "d"], 1, false), (&["b", "c", "d"], 2, true)]
    {
        let mut table = table(others);
        others.iter().for_each(|name| table.record(&region(name), now, says(Vote::Up, None)));
        others[..reporting].iter().for_each(|name| table.record(&region(name), now, unserved.clone()));
        assert_eq!(table.report_unserved(&region("dead"), |_| true, |since| since == now, now), reported, "{others:?}");
        assert!(!table.report_unserved(&region("dead"), |_| true, |since| since > now, now), "{others:?}");
    }
}

#[test]
fn a_down_vote_counts_only_if_requested_after_the_onset() {
    let now = Instant::now();
    let mut table = table(&["b"]);
    let silence = silent(now - SECOND, now);
    for (asked_at, reached) in [(now - 2 * SECOND, false), (now - SECOND, true), (now, true)] {
        table.record(&region("b"), asked_at, says(Vote::Down, None));
        let tally = table.count(&region("dead"), Vote::Down, silence, now);
        assert_eq!((tally.reached, tally.voters, tally.contradicted), (reached, 2, false));
    }
}

#[test]
fn a_vote_of_an_unknown_vantage_is_ignored() {
    let now = Instant::now();
    let mut table = table(&["b"]);
    table.record(&region("stranger"), now, says(Vote::Down, None));
    assert_eq!(table.count(&region("dead"), Vote::Down, None, now).down, 1);
}

proptest! {
    #[test]
    fn votes_commute(votes in proptest::collection::vec((0usize..3, any::<bool>(), 0u64..5000), 1..9), seed: u64) {
        let now = Instant::now() + 100 * SECOND;
        let names: Vec<_> = (0..votes.len()).map(|n| format!("v{n}")).collect();
        let refs: Vec<_> = names.iter().map(String::as_str).collect();
        let mut orders: Vec<Vec<usize>> = vec![(0..votes.len()).collect(), (0..votes.len()).rev().collect()];
        orders[1].rotate_left((seed % votes.len() as u64) as usize);
        let tallies: Vec<_> = orders
            .iter()
            .map(|order| {
                let mut table = table(&refs);
                for &n in order {
                    let (vote, isolated, age) = votes[n];
                    let set = VoteSet { isolated, ..says(Vote::ALL[vote], None) };
                    table.record(&region(&names[n]), now - Duration::from_millis(age), set);
                }
                table.count(&region("dead"), Vote::Down, None, now)
            })
            .collect();
        prop_assert_eq!(tallies[0], tallies[1]);
        prop_assert!(!tallies[0].reached || tallies[0].down >= 2);
        prop_assert!(!(tallies[0].reached && tallies[0].contradicted));
    }
}
