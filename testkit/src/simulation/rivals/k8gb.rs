//! k8gb: each cluster asks the others by DNS every 30 s, and takes a question without an answer for a cluster without
//! endpoints. Nobody else is asked, and the first answer brings the cluster back.

use super::{super::timeline::SECOND, ONCE, Rival, Rule, Watch};

pub(super) const DEFAULT: Rival = Rival {
    name: "k8gb, a query every 30 s",
    watch: Watch { interval: 30 * SECOND, timeout: 2 * SECOND, tries: ONCE, protocols: 1, evaluated_each: 1 },
    rule: || Box::new(Answered(true)),
};

struct Answered(bool);

impl Rule for Answered {
    fn take(&mut self, ok: bool) -> bool {
        std::mem::replace(&mut self.0, ok) && !ok
    }

    fn rests(&self) -> bool {
        self.0
    }
}
