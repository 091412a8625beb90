//! Guarantees of what operators state.

use super::*;
use crate::{
    decision::Now,
    signing::{FailoverTerms, PrivateKey},
};

use FailoverMode::{Armed, Disarmed, Maintenance};

const HOUR: u64 = 3_600_000;
const EPOCH: u64 = 1_795_230_245_123;

fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

/// What a vantage of the regions `x` and `y` knows. Times are milliseconds since it began.
struct Fixture {
    key: PrivateKey,
    start: Instant,
    statements: Statements,
}

impl Fixture {
    fn new() -> Self {
        let (key, _) = PrivateKey::generate().unwrap();
        let mut fixture = Self { key, start: Instant::now(), statements: Statements::default() };
        fixture.statements.reconfigure(fixture.operators(), is_region);
        fixture
    }

    fn operators(&self) -> Operators {
        Operators { environment: "prod".to_owned(), keys: vec![("alice".to_owned(), self.key.public())] }
    }

    fn now(&self, millis: u64) -> Times {
        self.skewed(millis, 0, &[])
    }

    /// The own clock is ahead by so many milliseconds, and those of others that were compared are ahead of it.
    fn skewed(&self, millis: u64, ahead: i64, offsets: &[i64]) -> Times {
        let unix = UnixMillis((EPOCH + millis).saturating_add_signed(ahead));
        let now = Now { instant: self.start + Duration::from_millis(millis), unix };
        Times::new(now, offsets.iter().copied())
    }

    fn text(&self, action: Action, scope: Option<&str>, at: u64, until: u64) -> Arc<str> {
        let command = Command {
            operator: "alice".to_owned(),
            environment: "prod".to_owned(),
            region: scope.map(region),
            action,
            failover: None,
            until: Some(UnixMillis(EPOCH + until)),
            at: UnixMillis(EPOCH + at),
        };
        command.sign(&self.key).unwrap().into()
    }

    /// The failover of a region to `y`, or its release.
    fn order(&self, action: Action, of: &str, at: u64, until: Option<u64>) -> Arc<str> {
        let terms = FailoverTerms { target: region("y"), accept_loss: false, force: None };
        let command = Command {
            operator: "alice".to_owned(),
            environment: "prod".to_owned(),
            region: Some(region(of)),
            action,
            failover: (action == Action::Failover).then_some(terms),
            until: until.map(|until| UnixMillis(EPOCH + until)),
            at: UnixMillis(EPOCH + at),
        };
        command.sign(&self.key).unwrap().into()
    }

    /// States this at a time, until another one. Says whether that was new.
    fn state(&mut self, action: Action, scope: Option<&str>, at: u64, until: u64) -> bool {
        let text = self.text(action, scope, at, until);
        self.statements.take(&text, is_region, self.now(at)).is_some()
    }

    fn mode(&self, name: &str, files: FailoverMode, millis: u64) -> FailoverMode {
        self.statements.mode(&region(name), files, self.now(millis).instant)
    }
}

fn is_region(region: &Region) -> bool {
    ["x", "y"].contains(&region.as_str())
}

#[test]
fn a_failover_holds_until_its_end_or_the_release_and_no_older_one_takes_the_place_of_that() {
    let mut fixture = Fixture::new();
    let [older, order] = [1, 5].map(|at| fixture.order(Action::Failover, "x", at, Some(HOUR)));
    let release = fixture.order(Action::Release, "x", 10, None);
    assert!(fixture.statements.take(&order, is_region, fixture.now(5)).is_some());
    let holding = |fixture: &Fixture, at| fixture.statements.failovers(fixture.now(at).instant).len();
    assert_eq!((holding(&fixture, 6), holding(&fixture, HOUR + 6)), (1, 0));
    assert_eq!(fixture.mode("x", Disarmed, 6), Disarmed, "it arms nothing");
    let ended = fixture.statements.take(&release, is_region, fixture.now(10)).unwrap().ended;
    assert_eq!(ended.map(|ended| ended.action), Some(Action::Failover));
    assert_eq!(holding(&fixture, 10), 0);
    assert_eq!(fixture.statements.adopt(&[older, order], true, is_region, fixture.now(20)), []);
    assert_eq!(fixture.statements.texts(), [release], "as it travels");
}

#[test]
fn the_newest_statement_beats_files_until_it_ends() {
    let mut fixture = Fixture::new();
    assert!(fixture.state(Action::Disarm, Some("x"), 10, HOUR));
    assert_eq!((fixture.mode("x", Armed, 20), fixture.mode("y", Armed, 20)), (Disarmed, Armed));
    assert!(fixture.state(Action::Arm, Some("x"), 30, HOUR));
    assert_eq!([Armed, Disarmed].map(|files| fixture.mode("x", files, 40)), [Armed, Armed]);
    assert!(!fixture.state(Action::Disarm, Some("x"), 20, HOUR), "an older one comes late");
    assert_eq!(fixture.mode("x", Disarmed, HOUR - 1), Armed);
    assert_eq!([Armed, Disarmed].map(|files| fixture.mode("x", files, HOUR)), [Armed, Disarmed], "it has ended");
}

#[test]
fn a_maintenance_outweighs_an_arming_and_its_end_ends_no_disarming() {
    let mut fixture = Fixture::new();
    fixture.state(Action::Disarm, Some("x"), 1, 4 * HOUR);
    fixture.state(Action::Maintenance, Some("x"), 2, HOUR);
    assert_eq!(fixture.mode("x", Armed, 3), Maintenance);
    assert_eq!(fixture.mode("x", Armed, HOUR), Disarmed);
    fixture.state(Action::Maintenance, Some("x"), HOUR + 1, 3 * HOUR);
    fixture.state(Action::Arm, Some("x"), HOUR + 2, 3 * HOUR);
    assert_eq!(fixture.mode("x", Armed, HOUR + 3), Maintenance, "arming ends no maintenance");
    // Taken back.
    fixture.state(Action::Maintenance, Some("x"), HOUR + 4, HOUR + 4);
    assert_eq!(fixture.mode("x", Disarmed, HOUR + 5), Armed);
    assert_eq!(fixture.mode("x", Maintenance, HOUR + 5), Maintenance, "operators end no maintenance of a file");
}

#[test]
fn a_disarming_of_all_regions_holds_again_once_the_arming_of_one_has_ended() {
    let mut fixture = Fixture::new();
    fixture.state(Action::Disarm, None, 1, 4 * HOUR);
    fixture.state(Action::Arm, Some("x"), 2, HOUR);
    assert_eq!((fixture.mode("x", Armed, 3), fixture.mode("y", Armed, 3)), (Armed, Disarmed));
    assert_eq!(fixture.mode("x", Armed, HOUR), Disarmed);
    // To take back what was said of one region says nothing of all.
    fixture.state(Action::Arm, Some("y"), HOUR + 1, HOUR + 1);
    assert_eq!(fixture.mode("y", Armed, HOUR + 2), Disarmed);
}

#[test]
fn vantages_that_hear_statements_in_another_order_agree() {
    let both = [(Action::Arm, 7), (Action::Disarm, 7)];
    for (first, second) in [(0, 1), (1, 0)] {
        let mut fixture = Fixture::new();
        for n in [first, second] {
            fixture.state(both[n].0, Some("x"), both[n].1, HOUR);
        }
        assert_eq!(fixture.mode("x", Armed, 8), Disarmed, "of the same moment, the one that restricts");
    }
}

#[test]
fn a_statement_of_a_stranger_another_environment_or_about_another_region_is_not_taken() {
    let mut fixture = Fixture::new();
    assert!(!fixture.state(Action::Disarm, Some("elsewhere"), 1, HOUR));
    let text = fixture.text(Action::Disarm, Some("x"), 1, HOUR);
    let now = fixture.now(2);
    let operators = fixture.operators();
    let (stranger, _) = PrivateKey::generate().unwrap();
    let keys = vec![("alice".to_owned(), stranger.public())];
    for other in [
        Operators::default(),
        Operators { environment: "test".to_owned(), ..operators.clone() },
        Operators { keys, ..operators.clone() },
    ] {
        fixture.statements.reconfigure(other, is_region);
        assert_eq!(fixture.statements.take(&text, is_region, now), None);
    }
    fixture.statements.reconfigure(operators, is_region);
    assert!(fixture.statements.take(&text, is_region, now).is_some());
}

#[test]
fn a_statement_is_forgotten_with_its_operator_or_its_region() {
    let mut fixture = Fixture::new();
    let operators = fixture.operators();
    fixture.state(Action::Disarm, Some("x"), 1, HOUR);
    fixture.state(Action::Maintenance, Some("x"), 1, 1);
    let forgotten = fixture.statements.reconfigure(operators.clone(), |region| region.as_str() == "y");
    assert_eq!(
        forgotten.iter().map(|command| command.action).collect::<Vec<_>>(),
        [Action::Disarm],
        "the other has ended"
    );
    assert_eq!(fixture.mode("x", Armed, 2), Armed);
    fixture.state(Action::Arm, Some("y"), 3, HOUR);
    let forgotten = fixture.statements.reconfigure(Operators { keys: Vec::new(), ..operators }, is_region);
    assert_eq!(forgotten.iter().map(|command| command.action).collect::<Vec<_>>(), [Action::Arm]);
    assert_eq!((fixture.mode("y", Disarmed, 4), fixture.statements.texts().len()), (Disarmed, 0));
}

/// A vantage that was away brings the older one back.
#[test]
fn a_statement_that_was_taken_back_is_known_for_as_long_as_the_older_one_could_hold() {
    let mut fixture = Fixture::new();
    let longest = Command::LONGEST.as_millis() as u64;
    let disarm = fixture.text(Action::Disarm, Some("x"), 1, longest);
    fixture.statements.take(&disarm, is_region, fixture.now(1));
    assert!(fixture.state(Action::Disarm, Some("x"), 5, 5));
    assert_eq!(fixture.statements.expire(fixture.now(6).instant), [], "its end was no news");
    for millis in [HOUR, longest - HOUR, longest + 4] {
        fixture.statements.expire(fixture.now(millis).instant);
        assert_eq!(fixture.statements.take(&disarm, is_region, fixture.now(millis)), None, "{millis}");
        assert_eq!(fixture.mode("x", Armed, millis), Armed);
    }
    fixture.statements.expire(fixture.now(longest + 5).instant);
    assert_eq!(fixture.statements.texts().len(), 0);
    assert_eq!(fixture.statements.take(&disarm, is_region, fixture.now(longest + 5)), None);
}

#[test]
fn the_end_of_a_statement_is_reported_once() {
    let mut fixture = Fixture::new();
    fixture.state(Action::Maintenance, Some("x"), 1, HOUR);
    let mut ended = |millis| {
        let now = fixture.now(millis).instant;
        fixture.statements.expire(now).len()
    };
    assert_eq!([HOUR - 1, HOUR, HOUR + 1].map(&mut ended), [0, 1, 0]);
}

/// A clock of a vantage that is behind must not make a statement hold for longer, nor one that is set back.
#[test]
fn a_statement_holds_for_no_longer_than_it_says_whatever_the_clock() {
    let mut fixture = Fixture::new();
    let text = fixture.text(Action::Disarm, Some("x"), 3 * HOUR, 4 * HOUR);
    fixture.statements.take(&text, is_region, fixture.now(0));
    assert_eq!([HOUR - 1, HOUR].map(|millis| fixture.mode("x", Armed, millis)), [Disarmed, Armed]);
}

/// Signatures cost time, and a vantage that lies may relay what it likes.
#[test]
fn few_signatures_are_verified_per_vote_message_and_the_rest_comes_with_the_next_ones() {
    let mut fixture = Fixture::new();
    let scopes = [Some("x"), Some("y"), None];
    let actions = [Action::Arm, Action::Maintenance];
    let texts: Vec<_> = scopes
        .into_iter()
        .flat_map(|scope| actions.map(|action| (action, scope)))
        .map(|(action, scope)| fixture.text(action, scope, 1, HOUR))
        .collect();
    let mut adopted = || {
        let now = fixture.now(2);
        fixture.statements.adopt(&texts, false, is_region, now).len()
    };
    assert_eq!([adopted(), adopted(), adopted()], [MAX_VERIFIED, 2, 0]);
    let mut relayed = fixture.statements.texts();
    relayed.sort();
    let mut texts = texts.clone();
    texts.sort();
    assert_eq!(relayed, texts, "unchanged");
}

/// What permits and is of the future would beat each later command; one that restricts does no harm.
#[test]
fn what_permits_is_taken_only_once_its_time_has_come_and_what_restricts_at_once() {
    for (action, until, restricts) in [
        (Action::Arm, 2 * HOUR, false),
        (Action::Arm, HOUR, false),
        (Action::Disarm, HOUR, false),
        (Action::Maintenance, HOUR, false),
        (Action::Disarm, 2 * HOUR, true),
        (Action::Maintenance, 2 * HOUR, true),
    ] {
        let mut fixture = Fixture::new();
        let text = [fixture.text(action, Some("x"), HOUR, until)];
        let mut adopted = |millis| {
            let now = fixture.now(millis);
            fixture.statements.adopt(&text, false, is_region, now).len()
        };
        let taken = [0, HOUR - 60_001, HOUR - 60_000].map(&mut adopted);
        assert_eq!(taken, if restricts { [1, 0, 0] } else { [0, 0, 1] }, "{action} {until}");
    }
}

#[test]
fn a_clock_that_was_ahead_makes_no_vantage_ignore_a_statement_for_ever() {
    let mut fixture = Fixture::new();
    let longest = Command::LONGEST.as_millis() as u64;
    let text = [fixture.text(Action::Disarm, Some("x"), 0, HOUR)];
    for (millis, taken) in [(longest, 0), (1, 1)] {
        let now = fixture.skewed(1, millis as i64 - 1, &[]);
        assert_eq!(fixture.statements.adopt(&text, false, is_region, now).len(), taken);
    }
}

/// Only the first of them fit into a vote message.
#[test]
fn what_restricts_is_relayed_first_then_what_was_taken_back() {
    let mut fixture = Fixture::new();
    fixture.state(Action::Maintenance, None, 1, HOUR);
    fixture.state(Action::Disarm, Some("x"), 2, 4 * HOUR);
    fixture.state(Action::Maintenance, Some("x"), 3, 3);
    fixture.state(Action::Arm, Some("y"), 4, 4 * HOUR);
    fixture.state(Action::Maintenance, Some("y"), 5, 4 * HOUR);
    let expected = |fixture: &Fixture, order: &[usize]| {
        let all = [
            fixture.text(Action::Maintenance, None, 1, HOUR),
            fixture.text(Action::Disarm, Some("x"), 2, 4 * HOUR),
            fixture.text(Action::Maintenance, Some("x"), 3, 3),
            fixture.text(Action::Arm, Some("y"), 4, 4 * HOUR),
            fixture.text(Action::Maintenance, Some("y"), 5, 4 * HOUR),
        ];
        order.iter().map(|n| Arc::clone(&all[n - 1])).collect::<Vec<_>>()
    };
    assert_eq!(fixture.statements.texts(), expected(&fixture, &[5, 2, 1, 3, 4]));
    fixture.statements.expire(fixture.now(HOUR).instant);
    assert_eq!(fixture.statements.texts(), expected(&fixture, &[5, 2, 3, 4, 1]), "one has ended");
}

/// The votes or the disk may bring it before any clock was compared.
#[test]
fn a_clock_that_is_ahead_ends_no_block_early_once_it_is_compared() {
    const AHEAD: i64 = 3 * HOUR as i64;
    for action in [Action::Disarm, Action::Maintenance] {
        let mut fixture = Fixture::new();
        let text = fixture.text(action, Some("x"), 0, HOUR);
        let restricts = |fixture: &Fixture, millis| fixture.mode("x", Armed, millis) != Armed;
        let alone = fixture.skewed(0, AHEAD, &[]);
        assert!(fixture.statements.take(&text, is_region, alone).is_some());
        assert!(!restricts(&fixture, 1), "no other clock is known");
        let compared = fixture.skewed(1, AHEAD, &[-AHEAD, -AHEAD, 7]);
        assert_eq!(fixture.statements.correct(compared).0.len(), 1, "it holds again");
        assert_eq!([1, HOUR - 1, HOUR].map(|millis| restricts(&fixture, millis)), [true, true, false]);
        // It stays so if the others are not heard any more, or the clock is set.
        for times in [fixture.skewed(2, AHEAD, &[]), fixture.skewed(3, 0, &[0, 0, 7])] {
            assert_eq!(fixture.statements.correct(times), (Vec::new(), false));
            assert!(restricts(&fixture, HOUR - 1));
        }
        // Taken from votes, with a clock that was compared.
        let mut fixture = Fixture::new();
        let text = [fixture.text(action, Some("x"), 0, HOUR)];
        let compared = fixture.skewed(0, 200 * AHEAD, &[-200 * AHEAD, -200 * AHEAD]);
        assert_eq!(fixture.statements.adopt(&text, false, is_region, compared).len(), 1);
        assert_eq!([1, HOUR - 1, HOUR].map(|millis| restricts(&fixture, millis)), [true, true, false]);
    }
}

#[test]
fn a_clock_that_is_ahead_ends_no_maintenance_of_a_file_early_once_it_is_compared() {
    const AHEAD: i64 = 3 * HOUR as i64;
    let mut fixture = Fixture::new();
    let alone = fixture.skewed(0, AHEAD, &[]);
    fixture.statements.maintain(vec![(region("x"), UnixMillis(EPOCH + HOUR))], alone);
    assert!(!fixture.statements.is_maintained(&region("x")));
    let compared = fixture.skewed(1, AHEAD, &[-AHEAD, -AHEAD]);
    assert_eq!(fixture.statements.correct(compared), (Vec::new(), true));
    let mut ends = |millis| fixture.statements.end_maintenance(fixture.start + Duration::from_millis(millis));
    assert_eq!([HOUR - 1, HOUR, HOUR + 1].map(&mut ends), [false, true, false]);
}

#[test]
fn an_arming_lasts_no_longer_than_by_the_later_one_of_two_clocks() {
    let mut fixture = Fixture::new();
    let text = fixture.text(Action::Arm, Some("x"), 0, HOUR);
    let behind = -50_000;
    let alone = fixture.skewed(HOUR / 2, behind, &[]);
    assert!(fixture.statements.take(&text, is_region, alone).is_some());
    assert_eq!(fixture.mode("x", Disarmed, HOUR), Armed);
    fixture.statements.correct(fixture.skewed(HOUR / 2 + 1, behind, &[-behind]));
    assert_eq!([HOUR - 1, HOUR].map(|millis| fixture.mode("x", Disarmed, millis)), [Armed, Disarmed]);
}

/// By a wrong clock of an operator, or a lie: it would end the longer one long before its own time.
#[test]
fn what_forbids_for_a_short_time_far_ahead_ends_nothing_that_forbids_for_longer_before_that_time() {
    for first in [0, 1] {
        let mut fixture = Fixture::new();
        let long = fixture.text(Action::Disarm, Some("x"), 1, 24 * HOUR);
        let short = fixture.text(Action::Disarm, Some("x"), HOUR, HOUR + 1);
        let both = [long, short];
        for text in [first, 1 - first] {
            let now = fixture.now(2);
            fixture.statements.adopt(&both[text..=text], false, is_region, now);
        }
        assert_eq!([3, HOUR - 60_001].map(|millis| fixture.mode("x", Armed, millis)), [Disarmed; 2]);
        assert_eq!(fixture.statements.texts(), [Arc::clone(&both[0])]);
        // At its time it is the newest.
        let now = fixture.now(HOUR);
        assert_eq!(fixture.statements.adopt(&both, false, is_region, now).len(), 1);
        assert_eq!(fixture.mode("x", Armed, HOUR + 2), Armed);
    }
}
