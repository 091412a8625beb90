//! Months of deciding, simulated: nobody alive is given up, nobody dead is missed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod model;

use std::time::Duration;

use model::{
    figures, places,
    timeline::{DAY, SECOND, Time, Weather, draw},
    truth::Truth,
    world::{Setup, World},
};
use regionwatch::vantage::Policy;

const POLICY: Policy =
    Policy { edge_burst: false, execute_after: Duration::from_secs(30), allow_single_vantage: false };

fn setup(regions: usize, loss: f64) -> Setup {
    Setup { rtt: places::even(regions, 0.1), policy: POLICY, quorum: true, ask: true, loss, skip: true, seed: 1 }
}

#[test]
fn a_month_of_rough_weather_executes_nobody_who_lives() {
    let (regions, length) = (4, 30 * DAY);
    let spans = draw(&Weather::ROUGH, regions, length, 1, true);
    let truth = Truth::new(&spans, regions);
    let mut world = World::new(setup(regions, 0.02), spans);
    world.run(length, |_| false);
    let journal = &world.journal;
    eprintln!("{:?}", journal.moves);
    eprintln!(
        "watched {} s, {} probes, {} extra, isolated {}",
        journal.watched / SECOND,
        journal.probes,
        journal.extra,
        journal.isolated
    );
    let prepared = figures::worth(&journal.opened, figures::page(&truth));
    let executed = figures::worth(&journal.executed, figures::switch(&truth, 30 * SECOND));
    let all: Vec<_> = journal.down.iter().map(|(said, _)| *said).collect();
    let (times, missed) = figures::detection(&journal.confirmed, &all, &truth);
    eprintln!("{prepared:?} {executed:?} {times:?} {missed}");
    assert_eq!(executed.wrong, 0);
    assert_eq!(missed, 0);
    assert_eq!(journal.restless, 0);
}

#[test]
#[ignore = "probe"]
fn skipping() {
    for seed in 1..=2 {
        for skip in [true, false] {
            let (regions, length) = (3, 3 * 3600 * SECOND);
            let spans = draw(&Weather { loss: 0.25, ..Weather::CALM }, regions, length, seed, skip);
            let mut world = World::new(Setup { skip, seed, ..setup(regions, 0.25) }, spans);
            let started = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            world.run(length, |_| false);
            let j = &world.journal;
            eprintln!(
                "{skip} {:?}: watched {} suspected {} down {} isolated {} {:?}",
                std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() - started,
                j.watched / SECOND,
                j.suspected.len(),
                j.down.len(),
                j.isolated,
                j.moves
            );
        }
    }
}
