//! Outages that end, and what is restarted during one.

use std::{thread, time::Duration};

use crate::{region::Plan, world::World};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn an_outage_that_comes_again_is_the_same_incident() {
    let world = World::new(&Plan::default());
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 4 * SECOND);
    thread::sleep((died + 5 * SECOND / 2).saturating_duration_since(tokio::time::Instant::now()));
    world.mend();
    for vantage in ['a', 'b'] {
        world.comes_to_see(vantage, 'c', "recovering");
    }
    world.nothing_but(&[('c', "prepare firing")], 10 * SECOND);
    world.blackhole('c');
    for vantage in ['a', 'b'] {
        world.comes_to_see(vantage, 'c', "down");
    }
    thread::sleep(SECOND);
    world.mend();
    world.nothing_but(&[('c', "prepare firing")], 10 * SECOND);
    for alert in world.alertmanagers[0].alerts(&world.control, "c") {
        assert_eq!(alert["annotations"]["incident_id"], prepare.annotation("incident_id"), "{alert}");
    }
}

pub(crate) fn a_sidecar_that_restarts_during_an_incident_neither_ends_nor_repeats_it() {
    let mut world = World::new(&Plan { regions: 4, ..Plan::default() });
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 4 * SECOND);
    world.region_mut('a').start();
    let execute = world.webhook('c', "execute firing", died, 12 * SECOND);
    assert_eq!(prepare.annotation("incident_id"), execute.annotation("incident_id"));
    let told = [('c', "prepare firing"), ('c', "execute firing")];
    world.nothing_but(&told, 5 * SECOND);
    world.region_mut('b').start();
    world.region_mut('d').start();
    world.nothing_but(&told, 10 * SECOND);
}
