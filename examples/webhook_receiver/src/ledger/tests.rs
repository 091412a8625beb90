//! What is decided about one order after another.

use super::*;
use crate::order::tests::order;

const HOUR: u64 = 3_600_000;

fn ledger(folder: &tempfile::TempDir, regions: &[&str]) -> Ledger {
    let regions = regions.iter().map(|name| (*name).to_owned()).collect();
    Ledger::open(&folder.path().join("record"), Rules { regions, block_millis: HOUR }).unwrap()
}

fn take(ledger: &mut Ledger, order: &Order, at: u64) -> String {
    match ledger.take(order, None, UnixMillis(at)).unwrap() {
        None => "known".to_owned(),
        Some(Decision::Accepted { target }) => format!("to {}", target.unwrap_or_default()),
        Some(Decision::Refused { reason }) => reason,
        Some(Decision::SameOutage { order }) => format!("as {order}"),
        Some(other) => panic!("{other:?}"),
    }
}

#[test]
fn an_order_is_accepted_once_even_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let execute = order("a", "execute", "1");
    assert_eq!(take(&mut ledger(&folder, &[]), &execute, 5), "to b");
    assert_eq!(take(&mut ledger(&folder, &[]), &execute, 6), "known");
    ledger(&folder, &[]).resolve(&execute, UnixMillis(7)).unwrap();
    assert_eq!(take(&mut ledger(&folder, &[]), &execute, 9 * HOUR), "known");
    let prepare = order("a", "prepare", "1");
    assert_eq!(take(&mut ledger(&folder, &[]), &prepare, 8), "to b");
}

#[test]
fn a_region_is_failed_over_once_per_block_period() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(&folder, &[]);
    assert_eq!(take(&mut ledger, &order("a", "execute", "1"), 0), "to b");
    let again = order("a", "execute", "2");
    assert_eq!(
        take(&mut ledger, &again, 1),
        "a was ordered to execute already; blocked until 1970-01-01T01:00:00.000Z"
    );
    assert_eq!(take(&mut ledger, &again, 2), "known");
    assert_eq!(take(&mut ledger, &order("c", "execute", "3"), 3), "to b");
    assert_eq!(take(&mut ledger, &again, HOUR), "to b");
}

#[test]
fn by_rules_alone_a_second_incident_is_an_order_although_the_end_of_the_first_was_never_received() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(&folder, &[]);
    let from = |starts_at: u64| {
        let mut order = order("a", "execute", "");
        (order.incident_id, order.onset) = (None, UnixMillis(starts_at).to_string());
        order
    };
    assert_eq!(take(&mut ledger, &from(0), 1), "to b");
    // The same one, later, and as another vantage reports it.
    assert_eq!(take(&mut ledger, &from(0), 3 * HOUR), "known");
    assert_eq!(take(&mut ledger, &from(9_000), 3 * HOUR), "known");
    assert_eq!(take(&mut ledger, &from(2 * HOUR), 3 * HOUR), "to b");
}

#[test]
fn at_least_one_region_stays_in_service() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(&folder, &["a", "b", "c"]);
    assert_eq!(take(&mut ledger, &order("x", "execute", "0"), 0), "x is not among --regions");
    let mut elsewhere = order("a", "execute", "0");
    elsewhere.candidates = vec!["y".into(), "a".into()];
    assert_eq!(take(&mut ledger, &elsewhere, 0), "no region that is in service can take over");
    assert_eq!(take(&mut ledger, &order("a", "execute", "1"), 1), "to b");
    // The best candidate is off itself.
    assert_eq!(take(&mut ledger, &order("b", "execute", "2"), 2), "to c");
    let last = order("c", "execute", "3");
    assert_eq!(take(&mut ledger, &last, 3), "without c no region would stay in service");
    assert_eq!(take(&mut ledger, &order("c", "prepare", "3"), 3), "to b");
    assert_eq!(ledger.back_on("b", None, UnixMillis(4)).unwrap(), Release::Done);
    assert_eq!(ledger.back_on("b", None, UnixMillis(4)).unwrap(), Release::NotOff);
    assert_eq!(take(&mut ledger, &last, 5), "to b");
}

#[test]
fn one_outage_with_two_names_is_carried_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(&folder, &[]);
    let onset = UnixMillis::parse("2026-11-21T03:04:05.123Z").unwrap().0;
    let of = |id: &str, onset: u64| Order { onset: UnixMillis(onset).to_string(), ..order("a", "execute", id) };
    assert_eq!(take(&mut ledger, &of("1", onset), onset + 31_000), "to b");
    // Named by a vantage that saw it begin later, and long after the block period.
    assert_eq!(take(&mut ledger, &of("2", onset + 9_000), onset + 5 * HOUR), "as 1 execute");
    assert_eq!(take(&mut ledger, &of("2", onset + 9_000), onset + 5 * HOUR), "known");
    // A region that was switched back can fail again, and an outage that began later is another one.
    assert_eq!(take(&mut ledger, &of("3", onset + 4 * HOUR), onset + 5 * HOUR), "to b");
    assert_eq!(ledger.back_on("a", None, UnixMillis(onset + 6 * HOUR)).unwrap(), Release::Done);
    assert_eq!(take(&mut ledger, &of("4", onset + 5 * HOUR), onset + 7 * HOUR), "as 3 execute", "that one was over");
    assert_eq!(take(&mut ledger, &of("5", onset + 6 * HOUR + 1), onset + 7 * HOUR), "to b");
}

#[test]
fn a_late_copy_of_an_order_is_not_carried_out_again_after_its_region_was_released() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(&folder, &[]);
    let from = |starts_at: u64| {
        let mut order = order("a", "execute", "");
        (order.incident_id, order.onset) = (None, UnixMillis(starts_at).to_string());
        order
    };
    assert_eq!(take(&mut ledger, &from(0), 1), "to b");
    assert_eq!(ledger.back_on("a", None, UnixMillis(2)).unwrap(), Release::Done);
    assert_eq!(take(&mut ledger, &from(0), 3), "as a execute");
    assert_eq!(take(&mut ledger, &from(0), 4 * HOUR), "known");
    assert_eq!(take(&mut ledger, &from(3), 5 * HOUR), "to b", "another outage");
    assert_eq!(ledger.back_on("a", None, UnixMillis(6 * HOUR)).unwrap(), Release::Done);
    assert_eq!(take(&mut ledger, &from(0), 7 * HOUR), "as a execute", "also after a second one");
}

#[test]
fn an_outage_that_the_rules_reported_first_is_carried_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(&folder, &[]);
    let rules = Order { incident_id: None, onset: UnixMillis(5_000).to_string(), ..order("a", "execute", "") };
    let push = |id: &str, onset: u64| Order { onset: UnixMillis(onset).to_string(), ..order("a", "execute", id) };
    assert_eq!(take(&mut ledger, &rules, 6_000), "to b");
    for at in [7_000, 2 * HOUR] {
        assert!(["as a execute", "known"].contains(&&*take(&mut ledger, &push("1", 5_000), at)), "{at}");
    }
    assert_eq!(take(&mut ledger, &push("2", HOUR), 2 * HOUR), "to b", "another outage");
}

#[test]
fn an_order_that_waits_for_approval_is_recorded_once_and_hides_no_signed_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut rules = order("a", "execute", "1");
    (rules.incident_id, rules.onset) = (None, String::new());
    let ask = |ledger: &mut Ledger, at| ledger.take(&rules, Some("unsigned".to_owned()), UnixMillis(at)).unwrap();
    let waits = Decision::AwaitsApproval { reason: "unsigned".to_owned() };
    assert_eq!(ask(&mut ledger(&folder, &[]), 0), Some(waits.clone()));
    assert_eq!(ask(&mut ledger(&folder, &[]), 1), None);
    assert_eq!(take(&mut ledger(&folder, &[]), &order("a", "execute", "1"), 2), "to b");
    assert!(ledger(&folder, &[]).unfinished().iter().all(|order| order.incident_id.is_some()));
    ledger(&folder, &[]).resolve(&rules, UnixMillis(3)).unwrap();
    assert_eq!(ask(&mut ledger(&folder, &[]), 4), Some(waits), "another outage");
}

#[test]
fn a_dry_run_takes_no_region_out_of_service() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(&folder, &["a", "b"]);
    let mut drill = order("b", "execute", "1");
    drill.dry_run = true;
    drill.candidates = vec!["a".into()];
    assert_eq!(take(&mut ledger, &drill, 0), "to a");
    assert_eq!(take(&mut ledger, &order("a", "execute", "2"), 1), "to b");
}

#[test]
fn an_incomplete_last_line_of_the_record_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("record");
    take(&mut ledger(&folder, &[]), &order("a", "execute", "1"), 0);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
    assert_eq!(take(&mut ledger(&folder, &[]), &order("c", "execute", "2"), 1), "to b");
    assert_eq!(ledger(&folder, &[]).entries.len(), 2);
    std::fs::write(&path, [b"{}\n", &whole[..]].concat()).unwrap();
    let error = Ledger::open(&path, Rules::default()).unwrap_err();
    assert!(error.contains("line 1 is none of ours"), "{error}");
}

#[test]
fn an_order_that_cannot_be_recorded_is_not_accepted() {
    let order = order("a", "execute", "1");
    let mut full = Ledger::on_a_full_disk();
    assert!(full.take(&order, None, UnixMillis(0)).is_err());
    assert!(full.entries.is_empty());
}

#[test]
fn an_unfinished_command_is_found_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = ledger(&folder, &[]);
    let (done, lost) = (order("a", "execute", "1"), order("c", "execute", "2"));
    take(&mut first, &done, 0);
    first.end(&done, true, UnixMillis(1)).unwrap();
    take(&mut first, &lost, 2);
    assert_eq!(ledger(&folder, &[]).unfinished(), [&lost]);
}

#[test]
fn alerts_that_nobody_signs_push_no_executed_order_out_of_memory() {
    let folder = tempfile::tempdir().unwrap();
    let executed = order("a", "execute", "1");
    let mut first = ledger(&folder, &[]);
    take(&mut first, &executed, 0);
    first.end(&executed, true, UnixMillis(1)).unwrap();
    take(&mut first, &order("c", "execute", "2"), 2);
    assert_eq!(first.back_on("c", None, UnixMillis(3)).unwrap(), Release::Done);
    let planted = |n: usize| Entry {
        at: 4,
        order: order("p", "prepare", &n.to_string()),
        decision: Decision::Refused { reason: "blocked".to_owned() },
    };
    for n in 0..=REMEMBERED {
        remember(&mut first.entries, planted(n));
    }
    assert_eq!(first.entries.len(), REMEMBERED);
    assert_eq!(take(&mut first, &executed, 9 * HOUR), "known");
    assert_eq!(first.unfinished().len(), 1);
    let off: Vec<_> = first.off().iter().map(|order| order.peer_region.clone()).collect();
    assert_eq!(off, ["a"]);
}

#[test]
fn by_rules_a_region_is_asked_about_once_in_a_block_period_whenever_it_is_said_to_have_begun() {
    let folder = tempfile::tempdir().unwrap();
    let mut ledger = ledger(&folder, &["a", "b"]);
    let mut ask = |region: &str, onset: u64| {
        let mut rules = order(region, "execute", "");
        (rules.incident_id, rules.onset) = (None, UnixMillis(onset).to_string());
        ledger.take(&rules, Some("unsigned".to_owned()), UnixMillis(1)).unwrap()
    };
    assert!(matches!(ask("a", 0), Some(Decision::AwaitsApproval { .. })));
    for planted in [9 * HOUR, 99 * HOUR] {
        assert_eq!(ask("a", planted), None);
    }
    assert_eq!(ask("x", 0), Some(Decision::not_ours("x")));
}

#[test]
fn each_environment_has_its_own_orders_and_regions() {
    let folder = tempfile::tempdir().unwrap();
    let of = |environment: &str, peer: &str, id: &str| Order {
        environment: Some(environment.to_owned()),
        ..order(peer, "execute", id)
    };
    let mut ledger = ledger(&folder, &["a", "b"]);
    assert_eq!(take(&mut ledger, &of("staging", "a", "1"), 0), "to b");
    assert_eq!(take(&mut ledger, &of("prod", "a", "1"), 1), "to b");
    assert_eq!(take(&mut ledger, &of("prod", "a", "1"), 2), "known");
    assert_eq!(take(&mut ledger, &of("prod", "b", "2"), 3), "without b no region would stay in service");
    let both = Release::Ambiguous(vec!["prod".to_owned(), "staging".to_owned()]);
    assert_eq!(ledger.back_on("a", None, UnixMillis(4)).unwrap(), both);
    assert_eq!(ledger.back_on("a", Some("test"), UnixMillis(4)).unwrap(), Release::NotOff);
    assert_eq!(ledger.back_on("a", Some("staging"), UnixMillis(4)).unwrap(), Release::Done);
    assert_eq!(take(&mut ledger, &of("prod", "b", "2"), 5), "known");
    assert_eq!(ledger.back_on("a", None, UnixMillis(6)).unwrap(), Release::Done);
    let mut back = of("prod", "b", "2");
    back.candidates = vec!["a".to_owned()];
    assert_eq!(take(&mut ledger, &back, 7), "to a");
}

#[test]
fn a_record_of_an_earlier_version_is_that_of_every_environment() {
    let folder = tempfile::tempdir().unwrap();
    let old = Order { environment: None, ..order("a", "execute", "1") };
    take(&mut ledger(&folder, &[]), &old, 0);
    assert!(!std::fs::read_to_string(folder.path().join("record")).unwrap().contains("environment"));
    let mut ledger = ledger(&folder, &[]);
    assert_eq!(take(&mut ledger, &Order { environment: Some("prod".to_owned()), ..old }, 1), "known");
    assert_eq!(ledger.back_on("a", Some("prod"), UnixMillis(2)).unwrap(), Release::Done);
    assert_eq!(ledger.back_on("a", None, UnixMillis(3)).unwrap(), Release::NotOff);
}
