//! What a failover would lose, and what it has lost.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A primary, which is the second server, and a replica. The primary takes a token every second, and the replica has all up to
/// `replicated`.
fn running(seconds: u64, replicated: u64) -> (Database, Instant) {
    let (mut database, start) = (Database::new(2), Instant::now());
    for second in 1..=seconds {
        let at = start + Duration::from_secs(second);
        write(&mut database, second, at);
        read(&mut database, reading(at + 500 * MS, Some(second.min(replicated))));
    }
    (database, start)
}

fn millis(bounds: Option<LossBounds>) -> Option<(u128, u128)> {
    bounds.map(|bounds| (bounds.lower.as_millis(), bounds.upper.as_millis()))
}

#[test]
fn the_loss_is_known_before_any_outage_and_grows_while_the_replica_is_cut_off() {
    let (database, start) = running(10, 10);
    assert_eq!(database.primary(None, start + 11 * SECOND), Some(1));
    let loss = |database: &Database, start: Instant| millis(database.loss(0, None, start + 10_600 * MS));
    assert_eq!(loss(&database, start), Some((0, 600)));
    let (database, start) = running(10, 7);
    // Tokens 8 to 10 are missing: they were acknowledged from 8.005 s on, and the last one was sent at 10 s.
    assert_eq!(loss(&database, start), Some((1_995, 3_600)));
    // A failover from the primary to itself loses nothing that is known.
    assert_eq!(database.loss(1, None, start + 11 * SECOND), None);
}

#[test]
fn the_loss_is_frozen_at_the_onset_and_shrinks_where_more_arrives() {
    let (mut database, start) = running(10, 7);
    let onset = Some(start + 10_300 * MS);
    let at = |database: &Database, second: u32| millis(database.loss(0, onset, start + second * SECOND));
    // The first probe without an answer may have been on its way for 5 ms, as a write is.
    assert_eq!((at(&database, 11), at(&database, 3_600)), (Some((1_995, 3_305)), Some((1_995, 3_305))));
    read(&mut database, reading(start + 12 * SECOND, Some(9)));
    assert_eq!(at(&database, 3_600), Some((0, 1_305)));
    // The replica cannot be read any more: what it had, it has.
    database.handle(&DatabaseNews::Read { server: 0, reading: Err(Failure::Timeout) });
    assert_eq!(at(&database, 3_600), Some((0, 1_305)));
    // A token that was never acknowledged has arrived: something may have been written after it.
    database.handle(&DatabaseNews::Sent { server: 1, sequence: 11, at: start + 10_400 * MS });
    read(&mut database, reading(start + 13 * SECOND, Some(11)));
    assert_eq!(at(&database, 3_600), Some((0, 5)));
}

#[test]
fn a_loss_that_nobody_could_measure_for_half_a_minute_is_unknown_and_not_small() {
    let (database, start) = running(10, 10);
    let at = |database: &Database, onset: Option<u32>, second: u32| {
        database.loss(0, onset.map(|second| start + second * SECOND), start + second * SECOND)
    };
    // Neither tokens nor readings since.
    assert!(at(&database, None, 39).is_some_and(|loss| loss.upper == 29 * SECOND));
    assert_eq!(at(&database, None, 42), None);
    assert_eq!(at(&database, Some(45), 46), None);
    assert!(at(&database, Some(12), 46).is_some(), "it was known at the onset");
    // The primary takes no token, and the replica is read.
    let mut blind = database;
    for second in 11..60 {
        read(&mut blind, reading(start + second * SECOND, Some(10)));
    }
    assert_eq!(at(&blind, None, 60), None);
    assert_eq!((blind.primary(None, start + 60 * SECOND), blind.last_primary()), (None, Some(1)));
    assert_eq!(blind.primary(Some(start + 12 * SECOND), start + 60 * SECOND), Some(1));
    // A replica without a token of this process.
    let (mut rebuilt, start) = running(10, 10);
    read(&mut rebuilt, reading(start + 11 * SECOND, None));
    assert_eq!(rebuilt.loss(0, None, start + 11 * SECOND), None);
    // No token was ever acknowledged.
    assert_eq!(Database::new(2).loss(0, None, start), None);
}

#[test]
fn what_was_acknowledged_and_is_missing_after_a_promotion_is_counted() {
    for (had, tokens, bounds) in [(10, 0, (0, 5)), (7, 3, (1_995, 3_005)), (1, 9, (7_995, 9_005))] {
        let (mut database, start) = running(10, had);
        // One write has no answer: it may be committed or not, and it is not acknowledged.
        database.handle(&DatabaseNews::Sent { server: 1, sequence: 11, at: start + 11 * SECOND });
        let promoted = Reading { writable: true, ..reading(start + 20 * SECOND, Some(had)) };
        read(&mut database, promoted);
        // The first token has no answer either.
        let sent = DatabaseNews::Sent { server: 0, sequence: 12, at: start + 30 * SECOND };
        assert_eq!(database.handle(&sent), None);
        read(&mut database, Reading { token: Some(12), ..promoted });
        let promoted = write_to(&mut database, 0, 13, start + 31 * SECOND).unwrap();
        assert_eq!((promoted.from, promoted.to, database.last_primary()), (1, 0, Some(0)));
        let lost = promoted.lost.unwrap();
        assert_eq!((lost.tokens, millis(Some(lost.bounds))), (tokens, Some(bounds)), "{had}");
        assert_eq!(write_to(&mut database, 0, 14, start + 32 * SECOND), None, "it is counted once");
        // The old primary comes back as a replica that has what the new one has: nothing counts as missing there.
        database.handle(&DatabaseNews::Read { server: 1, reading: Ok(reading(start + 33 * SECOND, Some(14))) });
        assert_eq!(database.status(1, start + 33 * SECOND).lag.lower, Some(Duration::ZERO));
        // And it takes over again, without any loss.
        assert_eq!(write_to(&mut database, 1, 15, start + 40 * SECOND).unwrap().lost.unwrap().tokens, 0);
    }
}

#[test]
fn a_promotion_of_a_server_without_a_token_says_that_the_loss_is_unknown() {
    let (mut database, start) = running(10, 10);
    read(&mut database, reading(start + 11 * SECOND, None));
    let promoted = write_to(&mut database, 0, 11, start + 12 * SECOND).unwrap();
    assert_eq!((promoted.to, promoted.lost), (0, None));
}

proptest! {
    /// The primary dies at a random time, and the replica has what it has. What is lost spans the time from the first change that is
    /// missing to the death.
    #[test]
    fn the_true_loss_is_inside_whenever_the_primary_dies(
        steps in proptest::collection::vec((200..1500_u64, 1..40_u64, 1..40_u64), 2..20),
        (applied, death, unanswered) in (0..20_usize, 0..1500_u64, 0..250_u64),
    ) {
        let (mut database, start) = (Database::new(2), Instant::now());
        let (mut now, mut commits, mut way) = (start, Vec::new(), 0);
        for (sequence, (pause, there, back)) in (1..).zip(&steps) {
            now += Duration::from_millis(*pause);
            database.handle(&DatabaseNews::Sent { server: 1, sequence, at: now });
            now += Duration::from_millis(*there);
            commits.push((sequence, now));
            now += Duration::from_millis(*back);
            way = there + back;
            database.handle(&DatabaseNews::Acknowledged { server: 1, sequence, at: now });
        }
        let last = applied.min(commits.len() - 1);
        read(&mut database, reading(now, Some(commits[last].0)));
        let died = now + Duration::from_millis(death);
        // The first probe without an answer was sent before or after, and was not answered before on its way there.
        let onset = died + Duration::from_millis(unanswered) - Duration::from_millis(way);
        let loss = database.loss(0, Some(onset), died + 60 * SECOND).unwrap();
        let before = |at: Instant| died.saturating_duration_since(at);
        // The first change that is missing was made after the token that is there, and not after the next one.
        let (most, least) = (before(commits[last].1), commits.get(last + 1).map_or(Duration::ZERO, |next| before(next.1)));
        prop_assert!(loss.lower <= least, "{loss:?} {least:?}");
        prop_assert!(loss.upper >= most, "{loss:?} {most:?}");
    }
}
