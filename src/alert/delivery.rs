//! How often a failing Alertmanager is tried, and what of it is logged.

use std::{sync::Arc, time::Duration};

use tracing::{info, warn};

use crate::{
    metrics::PushResult,
    model::{Failure, Incident, Stage},
    probe::HttpAnswer,
};

/// The pauses after the first failures.
const RETRIES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

/// The pause after every further failure: an Alertmanager that comes back is told within that time.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most bytes of an answer that are logged.
const MAX_LOGGED: usize = 300;

pub(super) fn result_of(answer: &Result<HttpAnswer, Failure>) -> PushResult {
    match answer {
        Ok(answer) => PushResult::of_status(answer.status.as_u16()),
        Err(failure) => (*failure).into(),
    }
}

/// The pause after that many failures in a row, at least one.
pub(super) fn pause(failures: usize) -> Duration {
    RETRIES.get(failures - 1).copied().unwrap_or(PATIENCE)
}

/// Whether the next attempt may fare better although nothing has changed here.
pub(super) fn passing(result: PushResult) -> bool {
    !matches!(result, PushResult::Ok | PushResult::Status3xx | PushResult::Status4xx)
}

/// The beginning of an answer, safe to log.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_LOGGED)]);
    if text.is_empty() { "nothing".to_owned() } else { format!("{:?}", text.trim_end()) }
}

/// Whether an Alertmanager works, for the log: a line when that changes or it fails in a new way, and none between.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: usize,
    /// A bit for each result that was told since it last worked.
    told: u16,
}

impl Health {
    /// Whether this result is worth a line.
    pub(super) fn tells(&mut self, result: PushResult) -> bool {
        if result == PushResult::Ok {
            return std::mem::take(self).told != 0;
        }
        self.failures += 1;
        let bit = 1 << result as u16;
        // What the quick attempts overcome is counted and not told.
        let overcome = passing(result) && self.failures <= RETRIES.len();
        let tells = !overcome && self.told & bit == 0;
        self.told |= bit * u16::from(tells);
        tells
    }
}

/// What an Alertmanager has heard, for the log: a line for each stage and each end of an incident that is new to it.
#[derive(Debug, Default)]
pub(super) struct Heard(Vec<(Arc<str>, Stage, bool)>);

impl Heard {
    /// Says what of this is new, and remembers it.
    pub(super) fn tell(&mut self, url: &str, incidents: &[Incident]) {
        let known = |incident: &Incident| (Arc::clone(&incident.id), incident.stage, incident.resolved.is_some());
        for incident in incidents.iter().filter(|incident| !self.0.contains(&known(incident))) {
            let Incident { peer, stage, id, .. } = incident;
            let what = if incident.resolved.is_some() { "resolved" } else { "firing" };
            let target = incident.candidates.first().map_or("none", |candidate| candidate.region.as_str());
            info!(%peer, %stage, %id, target, "Alertmanager {url} was told: {what}");
        }
        self.0 = incidents.iter().map(known).collect();
    }
}

pub(super) fn tell(url: &str, answer: &Result<HttpAnswer, Failure>) {
    match answer {
        Ok(HttpAnswer { status, .. }) if status.is_success() => info!("Alertmanager {url} takes alerts again"),
        Ok(HttpAnswer { status, body }) => {
            warn!("Alertmanager {url} does not take alerts: it answers {status} and says {}", excerpt(body));
        }
        Err(failure) => warn!("Alertmanager {url} does not take alerts: {failure}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_transitions_only() {
        let mut health = Health::default();
        let mut lines = |result, times| (0..times).filter(|_| health.tells(result)).count();
        assert_eq!(lines(PushResult::Ok, 5), 0);
        assert_eq!(lines(PushResult::Timeout, 3), 0);
        assert_eq!(lines(PushResult::Ok, 1), 0);
        assert_eq!(lines(PushResult::Timeout, 100), 1);
        assert_eq!(lines(PushResult::Refused, 100), 1);
        assert_eq!(lines(PushResult::Timeout, 100), 0);
        assert_eq!(lines(PushResult::Status4xx, 1), 1);
        assert_eq!(lines(PushResult::Ok, 100), 1);
        assert_eq!(lines(PushResult::Status4xx, 100), 1);
    }

    #[test]
    fn what_a_server_says_is_logged_in_bounds_and_escaped() {
        assert_eq!(excerpt(b"bad\n\x1b[2J\xff\n"), "\"bad\\n\\u{1b}[2J\u{fffd}\"");
        assert!(excerpt(&[b'x'; 10_000]).len() < 400);
        assert_eq!(excerpt(b""), "nothing");
    }
}
