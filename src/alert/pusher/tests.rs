//! The pusher and the query for restored incidents, against planned answers.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc},
    time::sleep,
};

use super::{
    super::{
        message::tests::{incident, region, source},
        restore,
        transport::REQUEST_TIMEOUT,
    },
    *,
};
use crate::{
    metrics::Metrics,
    model::{Failure, Stage},
    net::ApiResponse,
    signing::{Order, PrivateKey, PublicKeys},
};

/// The planned answers, and the bodies received with their milliseconds.
type State = (VecDeque<Plan>, Vec<(u64, Bytes)>);

/// An Alertmanager that follows a plan, and then accepts everything after 1 ms.
#[derive(Clone)]
struct Planned {
    start: Instant,
    state: Arc<Mutex<State>>,
    disconnects: Arc<Notify>,
    /// The body of its answers.
    holds: Bytes,
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
            disconnects: Arc::default(),
            holds: Bytes::from_static(b"[]"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// When it received requests, in milliseconds.
    fn times(&self) -> Vec<u64> {
        self.state().1.iter().map(|(at, _)| *at).collect()
    }

    /// The alerts of the last push.
    fn last(&self) -> Vec<Value> {
        serde_json::from_slice(&self.state().1.last().unwrap().1).unwrap()
    }
}

impl Transport for Planned {
    async fn request(&self, _: Method, _: &str, body: Bytes, _: usize) -> Result<ApiResponse, Failure> {
        let at = self.start.elapsed().as_millis() as u64;
        self.state().1.push((at, body));
        let plan = self.state().0.pop_front().unwrap_or(Plan::Answers(200));
        let answer = |status| {
            // Its clock is an hour ahead of 1970.
            let date = Some(UnixMillis(3_600_000 + at / 1_000 * 1_000));
            ApiResponse { status: StatusCode::from_u16(status).unwrap(), date, body: self.holds.to_vec() }
        };
        match plan {
            Plan::Hangs => {
                sleep(REQUEST_TIMEOUT).await;
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
        self.disconnects.notified().await;
    }
}

struct Running {
    incidents: watch::Sender<Arc<[Incident]>>,
    /// What ticks, unless it is aborted.
    ticks: tokio::task::JoinHandle<()>,
    evaluated: watch::Sender<Instant>,
    series: Arc<PushSeries>,
    transport: Planned,
    /// What the status page shows.
    seen: watch::Receiver<AlertmanagerView>,
}

fn start(plan: impl IntoIterator<Item = Plan>) -> Running {
    let series = Metrics::new(&region("here"), &[0.1]).pushes(["http://am/"]).remove(0);
    let transport = Planned::new(plan);
    let incidents = watch::Sender::new(Arc::from([]));
    let evaluated = watch::Sender::new(Instant::now());
    let view = watch::Sender::new(AlertmanagerView::new("http://am/"));
    let seen = view.subscribe();
    let pusher = Pusher {
        transport: transport.clone(),
        url: "http://am/".into(),
        series: Arc::clone(&series),
        source: Arc::new(source()),
        evaluated: evaluated.subscribe(),
        view,
    };
    tokio::spawn(pusher.run(incidents.subscribe()));
    let ticking = evaluated.clone();
    let ticks = tokio::spawn(async move {
        loop {
            sleep(Duration::from_secs(1)).await;
            ticking.send_replace(Instant::now());
        }
    });
    Running { incidents, ticks, evaluated, series, transport, seen }
}

async fn until(millis: u64, running: &Running) {
    sleep_until(running.transport.start + Duration::from_millis(millis)).await;
}

fn publish(running: &Running, peers: &[&str]) {
    running.incidents.send_replace(peers.iter().map(|peer| incident(peer, Stage::Prepare)).collect());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_pushed_at_once_and_everything_every_ten_seconds() {
    let running = start([]);
    until(13_250, &running).await;
    publish(&running, &["us-east-1"]);
    until(34_000, &running).await;
    assert_eq!(running.transport.times(), [0, 10_000, 13_250, 23_250, 33_250]);
    assert_eq!(running.transport.last().len(), 2);
    assert_eq!(running.series.total(PushResult::Ok), 5);
}

/// A skew of decades changes nothing: an order is valid for a minute by the clock that judges it.
#[tokio::test(start_paused = true)]
async fn an_order_expires_by_the_clock_of_the_alertmanager() {
    let running = start([]);
    until(12_000, &running).await;
    running.incidents.send_replace([incident("us-east-1", Stage::Execute)].into());
    until(12_500, &running).await;
    let order = running.transport.last().remove(0);
    // Its last answer was that of 10 s, and 2 s have passed since.
    let now = 3_600_000 + 12_999;
    let times = [&order["annotations"]["expires_at"], &order["endsAt"], &order["startsAt"]]
        .map(|time| UnixMillis::parse(time.as_str().unwrap()).unwrap().0);
    assert!(times[0].abs_diff(now + 60_000) <= 10 && times[1] == times[0], "{order}");
    assert!(times[2].abs_diff(now) <= 10, "{order}");
    until(23_000, &running).await;
    let again = UnixMillis::parse(running.transport.last()[0]["endsAt"].as_str().unwrap()).unwrap();
    assert!(again.0.abs_diff(now + 70_000) <= 1_010, "{again}");
}

/// The engine may find the region back, and other vantages may hold it down again since it was found to be back.
#[tokio::test(start_paused = true)]
async fn nothing_is_pushed_after_a_stall_until_all_peers_were_evaluated_again() {
    let running = start([]);
    let over = Incident { resolved: Some(UnixMillis(9)), ..incident("ap-south-1", Stage::Execute) };
    running.incidents.send_replace([incident("us-east-1", Stage::Execute), over].into());
    until(4_500, &running).await;
    // The first push only learns the clock by which orders expire.
    assert_eq!(running.transport.times(), [0, 1]);
    assert_eq!(running.transport.last().len(), 3);
    running.ticks.abort();
    // The last tick was at 4 s. Neither the next push, nor a connection that was closed, nor a change sends anything.
    until(9_100, &running).await;
    running.transport.disconnects.notify_one();
    until(12_000, &running).await;
    running.incidents.send_replace([incident("us-west-1", Stage::Execute)].into());
    until(60_000, &running).await;
    assert_eq!(running.transport.times(), [0, 1]);
    running.incidents.send_replace([incident("us-east-1", Stage::Prepare)].into());
    running.evaluated.send_replace(Instant::now());
    until(60_010, &running).await;
    assert_eq!(running.transport.times(), [0, 1, 60_000]);
    let names: Vec<_> = running.transport.last().iter().map(|alert| alert["labels"]["alertname"].clone()).collect();
    assert_eq!(names, ["RegionwatchPeerDown", "RegionwatchHeartbeat"]);
}

/// A retry is a push as any other.
#[tokio::test(start_paused = true)]
async fn a_failed_push_is_not_retried_without_an_evaluation() {
    let running = start([Plan::Fails(Failure::Refused); 100]);
    until(1_500, &running).await;
    running.ticks.abort();
    until(30_000, &running).await;
    assert_eq!(running.transport.times().last(), Some(&5_700), "{:?}", running.transport.times());
}

#[tokio::test(start_paused = true)]
async fn a_failed_push_is_retried_quickly_and_then_every_second() {
    let running = start([Plan::Fails(Failure::Refused); 6]);
    until(9_000, &running).await;
    assert_eq!(running.transport.times(), [0, 100, 300, 700, 1_700, 2_700, 3_700]);
    let totals = [PushResult::Refused, PushResult::Ok].map(|result| running.series.total(result));
    assert_eq!(totals, [6, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_push_is_retried_only_with_the_next_change_or_resend() {
    let running = start([Plan::Answers(400), Plan::Answers(302), Plan::Answers(503)]);
    until(4_000, &running).await;
    publish(&running, &["us-east-1"]);
    until(14_050, &running).await;
    assert_eq!(running.transport.times(), [0, 4_000, 14_000]);
    until(15_000, &running).await;
    assert_eq!(running.transport.times().last(), Some(&14_101));
}

#[tokio::test(start_paused = true)]
async fn an_alertmanager_that_disconnects_gets_all_alerts_at_once_but_is_not_flooded() {
    let running = start([]);
    for millis in (2_000..20_000).step_by(100) {
        until(millis, &running).await;
        running.transport.disconnects.notify_one();
    }
    assert_eq!(running.transport.times(), [0, 2_000, 12_000, 12_001]);
}

#[tokio::test(start_paused = true)]
async fn only_the_last_of_many_changes_during_a_push_is_pushed() {
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
async fn an_alertmanager_is_queried_until_it_has_answered_once() {
    let down = Plan::Fails(Failure::Refused);
    let transport = Planned::new([down, down, down, down, down, Plan::Answers(404), Plan::Hangs]);
    let (sender, mut restored) = mpsc::channel(1);
    restore::query(transport.clone(), "http://am/".into(), Arc::new(source()), Arc::default(), sender).await;
    assert_eq!(restored.recv().await, None);
    assert_eq!(transport.times(), [0, 100, 300, 700, 1_700, 2_700, 12_701, 14_701]);
}

/// The Alertmanager of these tests believes that it is 1970.
#[tokio::test(start_paused = true)]
async fn what_an_alertmanager_holds_is_judged_by_the_own_clock_and_not_by_its_date() {
    fn ten_days_later() -> UnixMillis {
        UnixMillis((source().clock)().0 + 10 * 86_400_000)
    }
    let (key, _) = PrivateKey::generate().unwrap();
    let (vantage, mut keys) = (region("eu-west-1"), PublicKeys::default());
    keys.add(&vantage, key.public()).unwrap();
    let (none, now) = (PublicKeys::default(), (source().clock)());
    let mut held = incident("us-east-1", Stage::Execute);
    let order = Order { environment: "", region: &held.peer, stage: held.stage, drill: false };
    held.signatures = vec![order.sign(&vantage, &key, now).unwrap()];
    let body = message::body(&source(), std::slice::from_ref(&held), Clocks { own: now, there: Some(now) });
    let clocks: [(fn() -> UnixMillis, bool); 2] = [(source().clock, true), (ten_days_later, false)];
    for ((clock, is_restored), keys) in clocks.into_iter().flat_map(|clock| [(clock, &keys), (clock, &none)]) {
        let transport = Planned { holds: body.clone().into(), ..Planned::new([]) };
        let (sender, mut restored) = mpsc::channel(1);
        let here = Arc::new(AlertSource { clock, ..source() });
        restore::query(transport, "http://am/".into(), here, Arc::new(keys.clone()), sender).await;
        let found = restored.recv().await.map(|restored| restored.incident.id);
        assert_eq!(found, is_restored.then(|| Arc::clone(&held.id)));
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_page_shows_since_when_and_why_an_alertmanager_accepts_nothing() {
    let refused = || Plan::Fails(Failure::Refused);
    let running = start((0..6).map(|_| refused()));
    until(500, &running).await;
    assert_eq!(running.seen.borrow().failing, None, "three quick retries may help");
    until(2_000, &running).await;
    let failing = running.seen.borrow().failing.unwrap();
    assert_eq!((failing.result, running.seen.borrow().accepted_at), (PushResult::Refused, None));
    until(2_500, &running).await;
    assert_eq!(running.seen.borrow().failing, Some(failing), "since the same moment");
    until(10_000, &running).await;
    let seen = running.seen.borrow();
    assert!(seen.failing.is_none() && seen.accepted_at.is_some());
}
