//! blackbox_exporter, scraped by Prometheus, with an alert rule on `probe_success == 0`. A probe is scraped and has
//! the scrape's timeout less half a second; the rule is evaluated some time later, and fires once it was true for as
//! long as `for` says.

use super::{
    super::timeline::{MILLI, SECOND, Time},
    ONCE, Rival, Rule, WITH_RETRANSMISSIONS, Watch,
};

/// 15 s and 15 s, `for: 1m`, timeouts as they are. Alertmanager waits for 30 s (`group_wait`) and tells nobody of what
/// is over by then.
pub(super) const STOCK: Rival = Rival {
    name: "blackbox + rules, stock: 15 s, for: 1m, group_wait: 30s",
    watch: watch(15 * SECOND, 9500 * MILLI, WITH_RETRANSMISSIONS, 1),
    rule: || Box::new(For::evaluations(1 + 4 + 2)),
};

/// 1 s and 1 s, `for: 2s`, `group_wait: 0s`.
pub(super) const TUNED: Rival = Rival {
    name: "blackbox + rules, tuned: 1 s, for: 2s",
    watch: watch(SECOND, 500 * MILLI, ONCE, 1),
    rule: || Box::new(For::evaluations(1 + 2)),
};

/// 1 s and 1 s, without `for`: one lost probe alarms.
pub(super) const EDGE: Rival = Rival {
    name: "blackbox + rules, edge: 1 s, for: 0s",
    watch: watch(SECOND, 500 * MILLI, ONCE, 1),
    rule: || Box::new(For::evaluations(1)),
};

/// The same where ICMP, TCP and HTTP must fail together.
pub(super) const EDGE_ALL: Rival = Rival {
    name: "blackbox + rules, edge, three protocols at once",
    watch: watch(SECOND, 500 * MILLI, ONCE, 3),
    rule: || Box::new(For::evaluations(1)),
};

const fn watch(interval: Time, timeout: Time, tries: &'static [Time], protocols: u32) -> Watch {
    Watch { interval, timeout, tries, protocols, evaluated_each: interval }
}

/// The rule must be true in so many evaluations running: one, and one more for each interval in `for`.
struct For {
    needed: u32,
    failed: u32,
}

impl For {
    const fn evaluations(needed: u32) -> Self {
        Self { needed, failed: 0 }
    }
}

impl Rule for For {
    fn take(&mut self, ok: bool) -> bool {
        self.failed = if ok { 0 } else { self.failed.saturating_add(1) };
        self.failed == self.needed
    }

    fn rests(&self) -> bool {
        self.failed == 0
    }
}
