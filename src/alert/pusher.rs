//! The worker of one Alertmanager: pushes what is the case now, and again until it is accepted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::warn;

use super::{
    Adopted,
    delivery::{Health, Heard, excerpt, passing, pause, result_of, tell},
    message::{self, Speaker},
    restore,
};
use crate::{
    metrics::{PushResult, PushSeries},
    model::{Failure, Incident, UnixMillis},
    probe::{HttpAnswer, HttpClient},
    wire::Stamp,
};

/// How often everything is told again although nothing changed.
pub(super) const TICK: Duration = Duration::from_secs(10);

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(1);

/// The most bytes of an answer to a push that are read.
const MAX_ANSWER: usize = 64 << 10;

/// What carries requests to an Alertmanager.
pub(super) trait Transport: Send + Sync + 'static {
    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        most: usize,
    ) -> impl Future<Output = Result<HttpAnswer, Failure>> + Send;

    /// Returns when the Alertmanager hangs up between requests.
    fn disconnected(&self) -> impl Future<Output = ()> + Send;
}

impl Transport for HttpClient {
    async fn request(&self, method: Method, path: &str, body: Bytes, most: usize) -> Result<HttpAnswer, Failure> {
        Self::request(self, method, path, body, LIMIT, most).await
    }

    async fn disconnected(&self) {
        Self::disconnected(self).await;
    }
}

/// Pushes to one Alertmanager.
pub(super) struct Worker<T> {
    pub(super) transport: T,
    pub(super) url: Arc<str>,
    pub(super) series: Arc<PushSeries>,
    pub(super) speaker: Arc<Speaker>,
}

impl<T: Transport> Worker<T> {
    /// Pushes until nobody can publish any more.
    ///
    /// An Alertmanager that hangs up may be restarting, and then has forgotten all alerts: so it is told again at
    /// once. But one that hangs up after each answer is not to be flooded: at most once for each tick or change.
    pub(super) async fn run(self, mut incidents: watch::Receiver<Arc<[Incident]>>) {
        let mut health = Health::default();
        let mut heard = Heard::default();
        let mut failures = 0;
        let mut watching = true;
        loop {
            let set = Arc::clone(&incidents.borrow_and_update());
            let started = Instant::now();
            let result = self.push(&set, &mut health).await;
            if result == PushResult::Ok {
                heard.tell(&self.url, &set);
            }
            failures = if passing(result) { failures + 1 } else { 0 };
            let next = if failures > 0 { Instant::now() + pause(failures) } else { started + TICK };
            tokio::select! {
                changed = incidents.changed() => match changed {
                    // What is new deserves the quick attempts again.
                    Ok(()) => (failures, watching) = (0, true),
                    Err(_) => return,
                },
                () = self.transport.disconnected(), if watching => watching = false,
                () = sleep_until(next) => watching = true,
            }
        }
    }

    async fn push(&self, incidents: &[Incident], health: &mut Health) -> PushResult {
        let now = UnixMillis(Stamp::now().unix_nanos() / 1_000_000);
        let body = message::body(&self.speaker, incidents, now);
        let started = Instant::now();
        let answer = self.transport.request(Method::POST, "/api/v2/alerts", body.into(), MAX_ANSWER).await;
        let result = result_of(&answer);
        if result == PushResult::Ok {
            self.series.accepted(started.elapsed());
        } else {
            self.series.failed(result);
        }
        if health.tells(result) {
            tell(&self.url, &answer);
        }
        result
    }
}

/// Asks one Alertmanager what it knows of incidents, until it has answered once, and hands it over.
pub(super) async fn ask(transport: impl Transport, url: Arc<str>, adopted: mpsc::Sender<Adopted>) {
    let path = restore::path();
    let mut failures = 0;
    let mut told = false;
    loop {
        let answer = transport.request(Method::GET, &path, Bytes::new(), restore::MAX_BODY).await;
        let result = result_of(&answer);
        let reason = match answer {
            Ok(answer) if result == PushResult::Ok => match restore::read(&answer.body) {
                Ok(incidents) => return hand_over(incidents, &url, &adopted).await,
                Err(error) => Some(format!("it says {}: {error}", excerpt(&answer.body))),
            },
            Ok(answer) if !passing(result) => {
                Some(format!("it answers {} and says {}", answer.status, excerpt(&answer.body)))
            }
            Err(Failure::Protocol) => Some("its answer is no HTTP, or larger than 1 MiB".to_owned()),
            Ok(_) | Err(_) => None,
        };
        match reason {
            Some(reason) => {
                if !std::mem::replace(&mut told, true) {
                    warn!("cannot learn from Alertmanager {url} what was told before a restart: {reason}");
                }
                sleep(TICK).await;
            }
            // The pushes say what is wrong.
            None => {
                failures += 1;
                sleep(pause(failures)).await;
            }
        }
    }
}

async fn hand_over(incidents: Vec<Incident>, url: &Arc<str>, adopted: &mpsc::Sender<Adopted>) {
    for incident in incidents {
        // Nobody wants it where the notifier is going.
        let _ = adopted.send(Adopted { alertmanager: Arc::clone(url), incident }).await;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Mutex, MutexGuard},
    };

    use http::StatusCode;
    use serde_json::Value;
    use tokio::sync::Notify;

    use super::{
        super::message::tests::{incident, region, speaker},
        *,
    };
    use crate::{metrics::Metrics, model::Stage};

    /// What is to come, and what was asked at which millisecond.
    type State = (VecDeque<Plan>, Vec<(u64, Bytes)>);

    /// An Alertmanager that does what was planned, and then accepts everything after 1 ms.
    #[derive(Clone)]
    struct Planned {
        start: Instant,
        state: Arc<Mutex<State>>,
        hangs_up: Arc<Notify>,
    }

    #[derive(Clone, Copy)]
    enum Plan {
        Answers(u16),
        Fails(Failure),
        Hangs,
    }

    impl Planned {
        fn new(plan: impl IntoIterator<Item = Plan>) -> Self {
            Self {
                start: Instant::now(),
                state: Arc::new(Mutex::new((plan.into_iter().collect(), Vec::new()))),
                hangs_up: Arc::default(),
            }
        }

        fn state(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap()
        }

        /// When it was asked, in milliseconds.
        fn times(&self) -> Vec<u64> {
            self.state().1.iter().map(|(at, _)| *at).collect()
        }

        /// The alerts of the last push.
        fn last(&self) -> Vec<Value> {
            serde_json::from_slice(&self.state().1.last().unwrap().1).unwrap()
        }
    }

    impl Transport for Planned {
        async fn request(&self, _: Method, _: &str, body: Bytes, _: usize) -> Result<HttpAnswer, Failure> {
            let at = self.start.elapsed().as_millis() as u64;
            self.state().1.push((at, body));
            let plan = self.state().0.pop_front().unwrap_or(Plan::Answers(200));
            let answer = |status| HttpAnswer { status: StatusCode::from_u16(status).unwrap(), body: b"[]".to_vec() };
            match plan {
                Plan::Hangs => {
                    sleep(LIMIT).await;
                    Err(Failure::Timeout)
                }
                Plan::Fails(failure) => Err(failure),
                Plan::Answers(status) => {
                    sleep(Duration::from_millis(1)).await;
                    Ok(answer(status))
                }
            }
        }

        async fn disconnected(&self) {
            self.hangs_up.notified().await;
        }
    }

    struct Running {
        incidents: watch::Sender<Arc<[Incident]>>,
        series: Arc<PushSeries>,
        transport: Planned,
    }

    fn start(plan: impl IntoIterator<Item = Plan>) -> Running {
        let series = Metrics::new(&region("here"), &[0.1]).unwrap().pushes(["http://am/"]).remove(0);
        let transport = Planned::new(plan);
        let incidents = watch::Sender::new(Arc::from([]));
        let worker = Worker {
            transport: transport.clone(),
            url: "http://am/".into(),
            series: Arc::clone(&series),
            speaker: Arc::new(speaker()),
        };
        tokio::spawn(worker.run(incidents.subscribe()));
        Running { incidents, series, transport }
    }

    async fn until(millis: u64, running: &Running) {
        sleep_until(running.transport.start + Duration::from_millis(millis)).await;
    }

    fn publish(running: &Running, peers: &[&str]) {
        running.incidents.send_replace(peers.iter().map(|peer| incident(peer, Stage::Prepare)).collect());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_at_once_and_everything_again_every_ten_seconds() {
        let running = start([]);
        until(13_250, &running).await;
        publish(&running, &["us-east-1"]);
        until(34_000, &running).await;
        assert_eq!(running.transport.times(), [0, 10_000, 13_250, 23_250, 33_250]);
        assert_eq!(running.transport.last().len(), 2);
        assert_eq!(running.series.total(PushResult::Ok), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_soon_and_then_every_second() {
        let running = start([Plan::Fails(Failure::Refused); 6]);
        until(9_000, &running).await;
        assert_eq!(running.transport.times(), [0, 100, 300, 700, 1_700, 2_700, 3_700]);
        let totals = [PushResult::Refused, PushResult::Ok].map(|result| running.series.total(result));
        assert_eq!(totals, [6, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_told_again_only_with_the_next_change_or_tick() {
        let running = start([Plan::Answers(400), Plan::Answers(302), Plan::Answers(503)]);
        until(4_000, &running).await;
        publish(&running, &["us-east-1"]);
        until(14_050, &running).await;
        assert_eq!(running.transport.times(), [0, 4_000, 14_000]);
        until(15_000, &running).await;
        assert_eq!(running.transport.times().last(), Some(&14_101));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alertmanager_that_hangs_up_is_told_again_at_once_but_not_flooded() {
        let running = start([]);
        for millis in (2_000..20_000).step_by(100) {
            until(millis, &running).await;
            running.transport.hangs_up.notify_one();
        }
        assert_eq!(running.transport.times(), [0, 2_000, 12_000, 12_001]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_changes_during_a_push_only_the_last_is_told() {
        let running = start([Plan::Answers(200), Plan::Hangs]);
        until(5_000, &running).await;
        for peers in [&["a"][..], &["a", "b"], &["a", "b", "c"]] {
            publish(&running, peers);
            until(5_100, &running).await;
        }
        until(6_500, &running).await;
        assert_eq!(running.transport.times(), [0, 5_000, 6_000]);
        assert_eq!(running.transport.last().len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn an_alertmanager_is_asked_until_it_has_answered_once() {
        let down = Plan::Fails(Failure::Refused);
        let transport = Planned::new([down, down, down, down, down, Plan::Answers(404), Plan::Hangs]);
        let (sender, mut adopted) = mpsc::channel(1);
        ask(transport.clone(), "http://am/".into(), sender).await;
        assert_eq!(adopted.recv().await, None);
        assert_eq!(transport.times(), [0, 100, 300, 700, 1_700, 2_700, 12_701, 14_701]);
    }
}
