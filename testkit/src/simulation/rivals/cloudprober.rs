//! cloudprober's alerting: so many failures among the last so many probes, resolved as soon as there are fewer.

use std::collections::VecDeque;

use super::{super::timeline::SECOND, ONCE, Rival, Rule, Watch};

const WATCH: Watch =
    Watch { interval: 10 * SECOND, timeout: SECOND, tries: ONCE, protocols: 1, evaluated_each: 10 * SECOND };

/// `failures: 1, total: 1`, as where nothing is configured.
pub(super) const DEFAULT: Rival =
    Rival { name: "cloudprober, 1 of 1 at 10 s", watch: WATCH, rule: || Box::new(Window::new(1, 1)) };

/// As in the example of its documentation.
pub(super) const THREE_OF_SIX: Rival =
    Rival { name: "cloudprober, 3 of 6 at 10 s", watch: WATCH, rule: || Box::new(Window::new(3, 6)) };

struct Window {
    failures: usize,
    total: usize,
    last: VecDeque<bool>,
    alarmed: bool,
}

impl Window {
    const fn new(failures: usize, total: usize) -> Self {
        Self { failures, total, last: VecDeque::new(), alarmed: false }
    }
}

impl Rule for Window {
    fn take(&mut self, ok: bool) -> bool {
        self.last.push_back(ok);
        if self.last.len() > self.total {
            self.last.pop_front();
        }
        let alarmed = self.last.iter().filter(|ok| !**ok).count() >= self.failures;
        !std::mem::replace(&mut self.alarmed, alarmed) && alarmed
    }

    fn rests(&self) -> bool {
        !self.alarmed && self.last.iter().all(|ok| *ok)
    }
}
