//! The pusher of one Alertmanager: sends the current set of incidents, and again until it is accepted.

use std::{sync::Arc, time::Duration};

use http::Method;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    delivery::{DeliveryLog, ResultLog, backoff, is_retryable, log_result, result_of},
    message::{self, AlertSource, Clocks, needs_clock},
    transport::Transport,
};
use crate::{
    metrics::PushSeries,
    model::{Incident, PushResult, UnixMillis},
    status::{AlertmanagerView, PushFailure},
};

/// How often all alerts are sent again when nothing has changed.
const RESEND_INTERVAL: Duration = Duration::from_secs(10);

/// How long ago the peers may have been evaluated for a push. A region counts as held down for as long without fresh
/// evidence.
const MAX_AGE: Duration = Duration::from_secs(5);

/// The most bytes of an answer to a push that are read.
const MAX_ANSWER: usize = 64 << 10;

/// The clock of an Alertmanager, by its last answer. By it, an order expires at the right time wherever our own clock is.
pub(super) struct Clock {
    date: UnixMillis,
    read_at: Instant,
}

impl Clock {
    fn at(date: UnixMillis) -> Self {
        Self { date, read_at: Instant::now() }
    }

    fn now(&self) -> UnixMillis {
        // Its date has no fraction of a second. An alert must not seem to start before its onset.
        UnixMillis(self.date.0.saturating_add(999 + self.read_at.elapsed().as_millis() as u64))
    }
}

/// Pushes to one Alertmanager.
pub(super) struct Pusher<T> {
    pub(super) transport: T,
    pub(super) url: Arc<str>,
    pub(super) series: Arc<PushSeries>,
    pub(super) source: Arc<AlertSource>,
    /// When all peers were evaluated last.
    pub(super) evaluated: watch::Receiver<Instant>,
    /// What the status page shows of it.
    pub(super) view: watch::Sender<AlertmanagerView>,
}

impl<T: Transport> Pusher<T> {
    /// Pushes until the sender of `incidents` is dropped.
    ///
    /// An Alertmanager that closes the connection may be restarting, and then has lost all alerts: they are pushed
    /// again at once. One that closes it after each answer is not flooded: this happens at most once per
    /// [`RESEND_INTERVAL`] or change.
    ///
    /// Nothing is pushed while the peers are not evaluated, as after this process was stopped for a while: an order to fail
    /// over could be for a region that is back, and an end for one that other vantages hold down again.
    pub(super) async fn run(mut self, mut incidents: watch::Receiver<Arc<[Incident]>>) {
        let mut results = ResultLog::default();
        let mut deliveries = DeliveryLog::default();
        let mut clock = None;
        let mut failures = 0;
        let mut watching = true;
        loop {
            // Before the set is read, which is then at least as new.
            if self.evaluated.borrow_and_update().elapsed() > MAX_AGE {
                if self.evaluated.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let set = Arc::clone(&incidents.borrow_and_update());
            let started = Instant::now();
            let is_first = clock.is_none();
            let result = self.push(&set, &mut results, &mut clock).await;
            if is_first && clock.is_some() && set.iter().any(needs_clock) {
                // Without what was left out, because it needs the clock.
                continue;
            }
            if result == PushResult::Ok {
                deliveries.record(&self.url, &set);
            }
            failures = if is_retryable(result) { failures + 1 } else { 0 };
            let next = if failures > 0 { Instant::now() + backoff(failures) } else { started + RESEND_INTERVAL };
            tokio::select! {
                changed = incidents.changed() => match changed {
                    // A change gets the quick retries again.
                    Ok(()) => (failures, watching) = (0, true),
                    Err(_) => return,
                },
                () = self.transport.disconnected(), if watching => watching = false,
                () = sleep_until(next) => watching = true,
            }
        }
    }

    pub(super) async fn push(
        &self,
        incidents: &[Incident],
        results: &mut ResultLog,
        clock: &mut Option<Clock>,
    ) -> PushResult {
        let own = self.source.clock;
        let body = message::body(&self.source, incidents, Clocks { own: own(), there: clock.as_ref().map(Clock::now) });
        let started = Instant::now();
        let answer = self.transport.request(Method::POST, "/api/v2/alerts", body.into(), MAX_ANSWER).await;
        let result = result_of(&answer);
        self.series.record(result, started.elapsed());
        match answer.as_ref().ok().and_then(|answer| answer.date) {
            Some(date) => *clock = Some(Clock::at(date)),
            // A proxy has taken its date away.
            None if result == PushResult::Ok && clock.is_none() => *clock = Some(Clock::at(own())),
            None => {}
        }
        if results.should_log(result) {
            log_result(&self.url, &answer);
        }
        self.show(result, results.is_failing(), own());
        result
    }

    /// Shows on the status page what came of a push.
    fn show(&self, result: PushResult, is_failing: bool, at: UnixMillis) {
        self.view.send_modify(|view| match result {
            PushResult::Ok => (view.accepted_at, view.failing) = (Some(at), None),
            _ if is_failing => {
                let since = view.failing.map_or(at, |failing| failing.since);
                view.failing = Some(PushFailure { since, result });
            }
            _ => {}
        });
    }
}

#[cfg(test)]
mod tests;
