//! Regions that die, and come back.

use std::time::Duration;

use crate::world::{Plan, World};

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn a_dead_region_reaches_the_webhook_once_to_prepare_and_once_to_execute() {
    let world = World::new(&Plan::default());
    let died = world.blackhole('c');
    let prepare = world.webhook('c', "prepare firing", died, 4 * SECOND);
    let execute = world.webhook('c', "execute firing", died, 12 * SECOND);
    for call in [&prepare, &execute] {
        assert_eq!(call.annotation("votes"), "2/2", "{call:?}");
        assert_eq!(call.annotation("cause"), "silence", "{call:?}");
        assert!(["a", "b"].contains(&call.annotation("failover_target")), "{call:?}");
        assert!(call.annotation("incident_id").starts_with("c-"), "{call:?}");
    }
    assert_eq!(prepare.annotation("incident_id"), execute.annotation("incident_id"));
    world.nothing_but(&[('c', "prepare firing"), ('c', "execute firing")], 12 * SECOND);
}
