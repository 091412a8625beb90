//! What was seen of each path, for people who ask why a peer is in its state.

use super::{Evidence, PathInfo, SERVICE_FAILURES};

/// What was seen of one path.
#[derive(Debug, Clone)]
pub struct SeenPath {
    /// The path.
    pub info: PathInfo,
    /// Whether it was ever answered.
    pub answered: bool,
    /// Silent probes since the newest sign of life.
    pub silent: usize,
    /// How many silent probes it takes until this path agrees that the peer is silent, and whether it must agree; `None` if its
    /// silence says nothing.
    pub silence_needs: Option<(usize, bool)>,
    /// Failed probes of any reason, in a row.
    pub failures: u32,
    /// How many it takes until its service is dead; `None` if it is not critical.
    pub service_needs: Option<u32>,
}

impl Evidence {
    /// What was seen of each path, and what it would take to call the peer dead.
    pub fn seen(&self) -> impl Iterator<Item = SeenPath> {
        let rule = self.silence_rule();
        self.paths.iter().map(move |path| {
            let counts = path.info.is_evidence() && (path.answered || self.assumed);
            SeenPath {
                info: path.info.clone(),
                answered: path.answered,
                silent: path.silent.len(),
                silence_needs: rule.as_ref().filter(|_| counts).map(|rule| (rule.needed(path), rule.requires(path))),
                failures: path.failures,
                service_needs: (path.info.critical && path.answered).then_some(SERVICE_FAILURES),
            }
        })
    }
}
