use proptest::prelude::*;

use super::*;

mod loss;

const MS: Duration = Duration::from_millis(1);

fn database() -> (Database, Instant) {
    (Database::new(1), Instant::now())
}

fn reading(at: Instant, sequence: Option<u64>) -> Reading {
    Reading {
        began: at,
        ended: at + 2 * MS,
        writable: false,
        token: sequence,
        received: None,
        receiver: true,
        paused: false,
        engine_lag: Some(Duration::ZERO),
    }
}

/// The primary is the second server, of which most tests say nothing.
fn write_to(database: &mut Database, server: usize, sequence: u64, at: Instant) -> Option<Promoted> {
    database.handle(&DatabaseNews::Sent { server, sequence, at });
    database.handle(&DatabaseNews::Acknowledged { server, sequence, at: at + 5 * MS })
}

fn write(database: &mut Database, sequence: u64, at: Instant) {
    write_to(database, 1, sequence, at);
}

fn read(database: &mut Database, reading: Reading) -> Status {
    database.handle(&DatabaseNews::Read { server: 0, reading: Ok(reading) });
    database.status(0, reading.ended)
}

/// One token a second, and a read half a second after each; `seen` says which token is there in which second.
fn run(seconds: u64, seen: impl Fn(u64) -> (Option<u64>, Option<u64>)) -> (Database, Status) {
    let (mut database, start) = database();
    let mut status = database.status(0, start);
    for second in 1..=seconds {
        let at = start + Duration::from_secs(second);
        write(&mut database, second, at);
        let (token, received) = seen(second);
        status = read(&mut database, Reading { received, ..reading(at + 500 * MS, token) });
    }
    (database, status)
}

#[test]
fn nothing_is_known_before_the_first_read_and_before_the_first_token() {
    let (mut database, start) = database();
    assert_eq!(database.status(0, start).state, ReplicaState::Unknown);
    let status = read(&mut database, reading(start, None));
    assert_eq!((status.state, status.lag), (ReplicaState::Unknown, Lag::default()));
}

#[test]
fn an_idle_primary_makes_no_lag() {
    let (_, status) = run(20, |second| (Some(second), Some(second)));
    let expected = Lag { lower: Some(Duration::ZERO), upper: Some(502 * MS) };
    assert_eq!((status.state, status.lag), (ReplicaState::CaughtUp, expected));
}

/// Such as by FLUSHALL of Redis or TRUNCATE of SQL: the last that was known of it was seconds ago, and the tokens are as old as
/// this process.
#[test]
fn a_replica_that_shows_first_that_all_tokens_were_deleted_is_not_as_far_behind_as_the_process_is_old() {
    let (mut database, status) = run(20, |second| (Some(second), Some(second)));
    assert_eq!(status.state, ReplicaState::CaughtUp);
    let at = database.servers[0].reading.unwrap().began + Duration::from_secs(1);
    let status = read(&mut database, reading(at, None));
    assert_eq!(status.lag.lower, None, "{status:?}");
    let status = read(&mut database, reading(at + Duration::from_secs(3), None));
    assert_eq!(status.lag.lower, None, "{status:?}");
}

/// Such as while two servers take writes: a replica that is cut off then must not look well.
#[test]
fn nothing_is_said_of_a_replica_while_no_token_is_acknowledged() {
    let (mut database, status) = run(20, |second| (Some(second), Some(second)));
    assert_eq!(status.state, ReplicaState::CaughtUp);
    let at = database.servers[0].reading.unwrap().began + Duration::from_secs(4);
    let status = read(&mut database, reading(at, Some(20)));
    assert_eq!((status.state, status.lag.lower), (ReplicaState::Unknown, None));
    assert_eq!(status.lag.upper, Some(4502 * MS));
}

#[test]
fn two_instances_of_a_region_report_no_lag_instead_of_their_uptime() {
    let mut database = Database::new(2);
    let start = Instant::now();
    for second in 1..=20 {
        let at = start + Duration::from_secs(second);
        write(&mut database, second, at);
        let primary = Reading { writable: true, ..reading(at + 400 * MS, None) };
        database.handle(&DatabaseNews::Read { server: 1, reading: Ok(primary) });
        let status = read(&mut database, reading(at + 500 * MS, None));
        assert_eq!((status.state, status.lag.lower), (ReplicaState::Unknown, None), "{second}");
    }
}

#[test]
fn a_replica_that_is_behind_and_goes_on_lags() {
    let (_, status) = run(20, |second| (Some(second.saturating_sub(4).max(1)), Some(second)));
    // Token 17 was acknowledged 3.495 s before the read, and token 16 sent 4.502 s before its end.
    let expected = Lag { lower: Some(3495 * MS), upper: Some(4502 * MS) };
    assert_eq!((status.state, status.lag), (ReplicaState::Lagging, expected));
}

#[test]
fn a_replica_that_is_cut_off_is_known_within_three_seconds_and_falls_behind_by_the_second() {
    let cut = |second: u64| (Some(second.min(10)), Some(second.min(10)));
    assert_eq!(run(11, cut).1.state, ReplicaState::CaughtUp);
    let (mut database, status) = run(12, cut);
    assert_eq!(status.state, ReplicaState::CutOff, "{status:?}");
    let before = status.lag.upper.unwrap();
    let at = database.servers[0].reading.unwrap().began + Duration::from_secs(100);
    let status = read(&mut database, Reading { received: Some(10), ..reading(at, Some(10)) });
    assert_eq!(status.lag.upper.unwrap() - before, Duration::from_secs(100));
    // The engine still says that all is well.
    assert_eq!(status.engine_lag, Some(Duration::ZERO));
}

/// A token every second, which is acknowledged and at the replica after 80 ms, and a read every second, which takes as long. The
/// replica is cut off at any moment, and reads are at any distance from tokens.
#[test]
fn half_a_second_of_the_three_is_left_whenever_a_replica_is_cut_off() {
    let (trip, start) = (80 * MS, Instant::now());
    for (cut, phase) in (0..20).flat_map(|cut| (0..20).map(move |phase| (50 * cut, 50 * phase))) {
        let mut database = Database::new(1);
        let cut = start + Duration::from_millis(10_000 + cut);
        let written = |second: u64| start + Duration::from_secs(second);
        let known = (1..20).find_map(|second| {
            let sent = written(second);
            database.handle(&DatabaseNews::Sent { server: 1, sequence: second, at: sent });
            // It is read before or after this token is acknowledged.
            let began = sent + Duration::from_millis(phase);
            let acknowledged = DatabaseNews::Acknowledged { server: 1, sequence: second, at: sent + trip };
            if began >= sent + trip {
                database.handle(&acknowledged);
            }
            let arrived = |second: &u64| written(*second) + trip <= began.min(cut);
            let token = (1..=second).rev().find(arrived);
            let seen = Reading { ended: began + trip, received: token, ..reading(began, token) };
            let state = read(&mut database, seen).state;
            if began < sent + trip {
                database.handle(&acknowledged);
            }
            let is_known = state == ReplicaState::CutOff;
            assert!(!is_known || began > cut, "{state:?} before the cut");
            is_known.then_some(seen.ended)
        });
        let after = known.unwrap().saturating_duration_since(cut);
        assert!(after <= 2_700 * MS, "{after:?}: {phase} ms");
    }
}

#[test]
fn what_arrives_and_is_not_applied_is_lag_and_what_is_paused_or_disconnected_does_not_replicate() {
    let held = |second: u64| (Some(second.min(10)), Some(second));
    assert_eq!(run(20, held).1.state, ReplicaState::Lagging);
    let (mut database, status) = run(20, |second| (Some(second.min(10)), None));
    assert_eq!(status.state, ReplicaState::CutOff);
    let last = database.servers[0].reading.unwrap();
    for changed in [Reading { paused: true, ..last }, Reading { receiver: false, ..last }] {
        assert_eq!(read(&mut database, changed).state, ReplicaState::NotReplicating);
    }
    // One that never had a token, although many were written.
    assert_eq!(run(20, |_| (None, None)).1.state, ReplicaState::CutOff);
    assert_eq!(run(20, |_| (None, None)).1.lag.upper, None);
}

#[test]
fn what_cannot_be_read_is_unknown_and_at_most_as_far_behind_as_the_time_says() {
    let (mut database, _) = run(20, |second| (Some(second), None));
    database.handle(&DatabaseNews::Read { server: 0, reading: Err(Failure::Timeout) });
    let last = database.servers[0].reading.unwrap().ended;
    let status = database.status(0, last + Duration::from_secs(7));
    assert_eq!((status.state, status.writable), (ReplicaState::Unknown, None));
    assert_eq!(status.lag, Lag { lower: None, upper: Some(7502 * MS) });
    // As it is where its reader has ended.
    let (database, _) = run(20, |second| (Some(second), None));
    assert_eq!(database.status(0, last + Duration::from_secs(7)).state, ReplicaState::Unknown);
}

#[test]
fn a_promoted_replica_is_writable_and_has_no_lag_and_a_rebuilt_one_has_what_it_has() {
    let (mut database, _) = run(20, |second| (Some(second), None));
    let at = database.servers[0].reading.unwrap().began + Duration::from_secs(1);
    let promoted = Reading { writable: true, ..reading(at, Some(20)) };
    let status = read(&mut database, promoted);
    assert_eq!((status.state, status.lag, status.writable), (ReplicaState::Writable, Lag::default(), Some(true)));
    let rebuilt = reading(at + Duration::from_secs(1), Some(5));
    let status = read(&mut database, rebuilt);
    assert!(status.lag.lower.unwrap() > Duration::from_secs(15), "{status:?}");
}

#[test]
fn an_older_read_that_comes_late_changes_nothing() {
    let (mut database, _) = run(20, |second| (Some(second), None));
    let last = database.servers[0].reading.unwrap();
    let late = reading(last.began - Duration::from_secs(3), Some(3));
    assert_eq!(read(&mut database, late).lag, database.status(0, last.ended).lag);
    assert_eq!(database.servers[0].token.unwrap().0, 20);
}

proptest! {
    /// A primary that takes writes at random times, a replica that applies them in order and late at random, and tokens
    /// among them. The time since the oldest change that is missing is what is asked for.
    #[test]
    fn the_true_lag_is_inside_and_never_negative(
        steps in proptest::collection::vec((1..1500_u64, 0..40_u64, 0..40_u64, 0..20_u64, any::<u8>()), 1..120),
        skew in 0..1500_u64,
    ) {
        let (mut database, start) = database();
        let mut now = start + Duration::from_millis(skew);
        // When each token was committed, and which of them are applied.
        let mut commits = Vec::new();
        let mut applied = 0;
        for (sequence, (pause, way, back, apply, luck)) in (1..).zip(steps) {
            now += Duration::from_millis(pause);
            let sent = now;
            database.handle(&DatabaseNews::Sent { server: 1, sequence, at: sent });
            let lost = luck % 7 == 0;
            // Lost on the way there, or on the way back.
            if !(lost && luck % 2 == 0) {
                now += Duration::from_millis(way);
                commits.push((sequence, now));
            }
            now += Duration::from_millis(back);
            if !lost {
                database.handle(&DatabaseNews::Acknowledged { server: 1, sequence, at: now });
            }
            applied = (applied + usize::try_from(apply).unwrap() / 8).min(commits.len());
            let began = now;
            now += Duration::from_millis(way);
            let seen = applied.checked_sub(1).map(|last| commits[last].0);
            let truth = commits.get(applied).map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at));
            let ended = now + Duration::from_millis(back);
            let status = read(&mut database, Reading { began, ended, ..reading(began, seen) });
            now = ended;
            if let Some(lower) = status.lag.lower {
                prop_assert!(lower <= truth, "{lower:?} <= {truth:?}");
            }
            match status.lag.upper {
                Some(upper) => prop_assert!(upper >= truth, "{upper:?} >= {truth:?}"),
                None => prop_assert!(seen.is_none()),
            }
        }
    }
}
