use std::time::Duration;

use super::*;

#[test]
fn a_name_needs_no_escaping_anywhere() {
    assert!(Region::new("eu-west-1").is_ok());
    assert_eq!(Region::new(""), Err(NameError::Empty));
    assert_eq!(Region::new("a\"b"), Err(NameError::Character('"')));
    assert_eq!(Region::new("ü"), Err(NameError::Character('ü')));
    assert_eq!(Region::new(&"a".repeat(64)), Err(NameError::TooLong));
}

#[test]
fn a_cadence_bounds_the_probes_in_flight() {
    let ms = Duration::from_millis;
    assert_eq!(Cadence::new(ms(250), ms(1000)).map(Cadence::in_flight), Some(5));
    assert_eq!(Cadence::new(ms(300), ms(1000)).map(Cadence::in_flight), Some(4));
    assert_eq!(Cadence::new(ms(1000), ms(250)).map(Cadence::in_flight), Some(1));
    assert_eq!(Cadence::new(ms(0), ms(250)), None);
    assert_eq!(Cadence::new(ms(10), ms(3_600_000)), None);
}

#[test]
fn label_values_are_distinct() {
    let mut results: Vec<_> = Failure::ALL.iter().map(|f| f.as_str()).collect();
    results.sort_unstable();
    results.dedup();
    assert_eq!(results.len(), Failure::ALL.len());
}

#[test]
fn the_total_is_the_sum_of_the_phases() {
    let mut phases = PhaseTimes::default();
    phases.add(Phase::Connect, Duration::from_millis(3));
    phases.add(Phase::Processing, Duration::from_millis(5));
    phases.add(Phase::Processing, Duration::from_millis(1));
    assert_eq!(Timings::new(phases, StampSource::Kernel).total, Duration::from_millis(9));
}
