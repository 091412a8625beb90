//! Retries against a failing Alertmanager, and what the log says about deliveries.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use tracing::{info, warn};

use crate::{
    model::{Failure, Incident, PushResult, Stage},
    net::ApiResponse,
};

/// The delays before the first retries.
const QUICK_RETRIES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

/// The delay before every later retry: an Alertmanager that comes back receives the alerts within that time.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// The most bytes of an answer that are logged.
const MAX_LOGGED: usize = 300;

pub(super) fn result_of(answer: &Result<ApiResponse, Failure>) -> PushResult {
    match answer {
        Ok(answer) => PushResult::of_status(answer.status.as_u16()),
        Err(failure) => (*failure).into(),
    }
}

/// The delay before the next attempt after that many failures in a row, at least one.
pub(super) fn backoff(failures: usize) -> Duration {
    QUICK_RETRIES.get(failures - 1).copied().unwrap_or(MAX_BACKOFF)
}

/// Whether the same request may succeed later.
pub(super) fn is_retryable(result: PushResult) -> bool {
    !matches!(result, PushResult::Ok | PushResult::Status3xx | PushResult::Status4xx)
}

/// Whether the Alertmanager, or a proxy before it, wants other credentials than ours.
pub(super) const fn refuses_credentials(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED)
}

/// The beginning of an answer, safe to log.
pub(super) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_LOGGED)]);
    if text.is_empty() { "nothing".to_owned() } else { format!("{:?}", text.trim_end()) }
}

/// Decides which results of pushes to one Alertmanager are logged: one line when it begins to fail, one for each new
/// way in which it fails, one when it works again.
#[derive(Debug, Default)]
pub(super) struct ResultLog {
    failures: usize,
    /// The last push failed, and more than a moment's retries are needed.
    failing: bool,
    /// A bit for each result that was logged since the last success.
    logged: u16,
}

impl ResultLog {
    /// Whether to log this result.
    pub(super) fn should_log(&mut self, result: PushResult) -> bool {
        if result == PushResult::Ok {
            return std::mem::take(self).logged != 0;
        }
        self.failures += 1;
        let bit = 1 << result as u16;
        // A failure that the quick retries overcome is counted, but not logged.
        let may_pass = is_retryable(result) && self.failures <= QUICK_RETRIES.len();
        self.failing = !may_pass;
        let logs = !may_pass && self.logged & bit == 0;
        self.logged |= bit * u16::from(logs);
        logs
    }

    /// Whether the Alertmanager accepts nothing, for longer than the quick retries take.
    pub(super) const fn is_failing(&self) -> bool {
        self.failing
    }
}

/// Logs the result of a push that [`ResultLog::should_log`] has picked.
pub(super) fn log_result(url: &str, answer: &Result<ApiResponse, Failure>) {
    match answer {
        Ok(ApiResponse { status, .. }) if status.is_success() => info!("Alertmanager {url} accepts alerts again"),
        Ok(ApiResponse { status, body, .. }) if refuses_credentials(*status) => warn!(
            "Alertmanager {url} refuses our credentials with status {status}: {}; check the user, password, token and \
             headers of its entry in alertmanagers",
            excerpt(body)
        ),
        Ok(ApiResponse { status, body, .. }) => {
            warn!("Alertmanager {url} rejects alerts with status {status}: {}", excerpt(body));
        }
        Err(failure) => warn!("cannot push alerts to Alertmanager {url}: {failure}"),
    }
}

/// What one Alertmanager has accepted, for the log: a line when it accepts a stage or the end of an incident for the
/// first time.
#[derive(Debug, Default)]
pub(super) struct DeliveryLog(Vec<(Arc<str>, Stage, bool)>);

impl DeliveryLog {
    /// Logs which of these incidents are new to the Alertmanager, and remembers them.
    pub(super) fn record(&mut self, url: &str, incidents: &[Incident]) {
        let key = |incident: &Incident| (Arc::clone(&incident.id), incident.stage, incident.resolved.is_some());
        for incident in incidents.iter().filter(|incident| !self.0.contains(&key(incident))) {
            let Incident { peer, stage, id, .. } = incident;
            let status = if incident.resolved.is_some() { "resolved" } else { "firing" };
            let target = incident.candidates.first().map_or("none", |candidate| candidate.region.as_str());
            let signatures = incident.signatures.len();
            // An order to fail over is what an operator looks for first.
            if *stage == Stage::Execute && incident.resolved.is_none() {
                warn!(%peer, %stage, incident = %id, target, signatures, "sent to Alertmanager {url}: {status}");
            } else {
                info!(%peer, %stage, incident = %id, target, signatures, "sent to Alertmanager {url}: {status}");
            }
        }
        self.0 = incidents.iter().map(key).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_transitions_are_logged() {
        let mut log = ResultLog::default();
        let mut lines = |result, times| (0..times).filter(|_| log.should_log(result)).count();
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
    fn a_logged_response_is_bounded_and_escaped() {
        assert_eq!(excerpt(b"bad\n\x1b[2J\xff\n"), "\"bad\\n\\u{1b}[2J\u{fffd}\"");
        assert!(excerpt(&[b'x'; 10_000]).len() < 400);
        assert_eq!(excerpt(b""), "nothing");
    }
}
