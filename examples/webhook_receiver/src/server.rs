//! The HTTP side: who may speak, what is answered, and the command that is run.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use regionwatch::{logging::to_stderr, model::UnixMillis, net::Timestamp};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::{
    ledger::{Decision, Ledger, Release},
    order::{Order, Proof, Webhook},
    verify::{Verdict, Verifier},
};

/// The largest webhook.
const BODY_LIMIT: usize = 1 << 20;

/// Connections at once.
const CONNECTIONS: usize = 64;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Entries that `GET /incidents` shows.
const SHOWN: usize = 1_000;

/// Orders whose reason to be skipped is remembered, so that it is not logged again and again.
const SKIPPED: usize = 1_000;

/// The most concurrent commands for unsigned orders: requests for approval, and orders of stage `prepare`.
const UNSIGNED: usize = 8;

/// What is run for an order.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    pub(crate) command: Option<String>,
    pub(crate) prepare: bool,
    /// What is run for an order that waits for approval.
    pub(crate) on_approval: Option<String>,
    /// What makes the thread of a command.
    pub(crate) threads: fn() -> thread::Builder,
}

impl Default for Runner {
    fn default() -> Self {
        Self { command: None, prepare: false, on_approval: None, threads: thread::Builder::new }
    }
}

/// Receives webhooks.
#[derive(Debug)]
pub(crate) struct Receiver {
    ledger: Mutex<Ledger>,
    token: Option<String>,
    runner: Runner,
    verifier: Verifier,
    /// Why each order was skipped last.
    skipped: Mutex<BTreeMap<String, String>>,
    unsigned: Arc<Semaphore>,
}

type Reply = (StatusCode, String);

fn now() -> UnixMillis {
    UnixMillis(Timestamp::now().unix_nanos() / 1_000_000)
}

impl Receiver {
    pub(crate) fn new(ledger: Ledger, token: Option<String>, runner: Runner, verifier: Verifier) -> Self {
        Self {
            ledger: Mutex::new(ledger),
            token,
            runner,
            verifier,
            skipped: Mutex::new(BTreeMap::new()),
            unsigned: Arc::new(Semaphore::new(UNSIGNED)),
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves for good.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                // No descriptor, for one: those that are open will close.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let receiver = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| Arc::clone(&receiver).answer(request));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    // Alertmanager would use a kept connection in the moment in which it times out, and an order would
                    // wait for the second attempt.
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = connection.await;
                drop(permit);
            });
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (status, body) = self.route(request).await;
        let mut response = Response::new(Full::new(Bytes::from(body + "\n")));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        Ok(response)
    }

    async fn route(self: Arc<Self>, request: Request<Incoming>) -> Reply {
        let path = request.uri().path().to_owned();
        if path == "/-/healthy" {
            return (StatusCode::OK, "\"healthy\"".to_owned());
        }
        if !self.admits(&request) {
            return failed(
                StatusCode::UNAUTHORIZED,
                "send \"Authorization: Bearer TOKEN\" with the token of --token-file",
            );
        }
        let environment = request.uri().query().and_then(|query| query.strip_prefix("environment="));
        let environment = environment.map(ToOwned::to_owned);
        let region = path.strip_prefix("/regions/").and_then(|rest| rest.strip_suffix("/on")).map(ToOwned::to_owned);
        let known = region.is_some() || matches!(path.as_str(), "/" | "/incidents");
        match (request.method(), path.as_str(), region) {
            (&Method::POST, "/", _) => {
                let body = timeout(PATIENCE, Limited::new(request.into_body(), BODY_LIMIT).collect()).await;
                match body {
                    Ok(Ok(body)) => self.off_thread(move |receiver| receiver.webhook(&body.to_bytes())).await,
                    Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                        failed(StatusCode::PAYLOAD_TOO_LARGE, "a webhook of more than 1 MiB is not read")
                    }
                    // It may come whole the next time.
                    _ => failed(StatusCode::SERVICE_UNAVAILABLE, "the webhook did not arrive"),
                }
            }
            (&Method::GET, "/incidents", _) => (StatusCode::OK, json!(self.ledger().newest(SHOWN)).to_string()),
            (&Method::POST, _, Some(_)) if self.token.is_none() => {
                failed(StatusCode::FORBIDDEN, "start the receiver with --token-file to be allowed this")
            }
            (&Method::POST, _, Some(region)) => {
                self.off_thread(move |receiver| receiver.back_on(&region, environment.as_deref())).await
            }
            _ if known => failed(StatusCode::METHOD_NOT_ALLOWED, "see --help for the routes"),
            _ => failed(StatusCode::NOT_FOUND, "see --help for the routes"),
        }
    }

    /// Whether the caller has the token. Compared in whole, so that the time tells nothing of it.
    fn admits(&self, request: &Request<Incoming>) -> bool {
        let Some(token) = &self.token else { return true };
        let said = request.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
        let said = said.and_then(|said| said.strip_prefix(b"Bearer ")).unwrap_or_default();
        let differing = said.iter().zip(token.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
        said.len() == token.len() && differing == 0
    }

    /// Writing to disk takes its time.
    async fn off_thread(self: Arc<Self>, work: impl FnOnce(&Arc<Self>) -> Reply + Send + 'static) -> Reply {
        let done = tokio::task::spawn_blocking(move || work(&self)).await;
        done.unwrap_or_else(|error| failed(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
    }

    fn webhook(self: &Arc<Self>, body: &[u8]) -> Reply {
        let webhook: Webhook = match serde_json::from_slice(body) {
            Ok(webhook) => webhook,
            Err(error) => {
                return failed(StatusCode::BAD_REQUEST, &format!("this is no webhook of Alertmanager: {error}"));
            }
        };
        let (firing, resolved) = webhook.orders();
        let mut told = Vec::new();
        let mut again = None;
        for (order, proof, verdict) in self.judged(firing) {
            let needs_approval = match verdict {
                Verdict::Valid => None,
                Verdict::NeedsApproval(reason) => Some(reason),
                Verdict::Retry(reason) => {
                    self.log_skipped(&order, &reason);
                    again.get_or_insert_with(|| format!("{}: {reason}", order.key()));
                    continue;
                }
                Verdict::Skip(reason) => {
                    self.log_skipped(&order, &reason);
                    told.push(json!({"order": order.key(), "skipped": reason}));
                    continue;
                }
            };
            // Unsigned orders above the limit are answered 503 and not recorded.
            let permit = match self.permit_for(&order, needs_approval.is_some()) {
                Ok(permit) => permit,
                Err(reason) => {
                    self.log_skipped(&order, reason);
                    again.get_or_insert_with(|| format!("{}: {reason}", order.key()));
                    continue;
                }
            };
            // The lock is held while it is decided and written: one at a time for each region.
            let taken = self.ledger().take(&order, needs_approval, now());
            match taken {
                Ok(decision) => {
                    told.push(json!({"order": order.key(), "new": decision}));
                    if let Some(decision) = decision {
                        to_stderr(format_args!("{}: {decision}", order.key()));
                        self.carry_out(&order, decision, proof.expires_at, permit);
                    }
                }
                Err(error) => return self.unrecorded(&error),
            }
        }
        for order in resolved {
            if let Err(error) = self.ledger().resolve(&order, now()) {
                return self.unrecorded(&error);
            }
            told.push(json!({"order": order.key(), "new": "resolved"}));
        }
        match again {
            // Alertmanager sends it again, with newer signatures and another time at which it expires.
            Some(reason) => failed(StatusCode::SERVICE_UNAVAILABLE, &reason),
            None => (StatusCode::OK, json!(told).to_string()),
        }
    }

    /// Each order once, with the best that any of its alerts says for it.
    fn judged(&self, firing: Vec<(Order, Proof)>) -> Vec<(Order, Proof, Verdict)> {
        let mut orders: Vec<(Order, Proof, Verdict)> = Vec::new();
        for (order, proof) in firing {
            let verdict = self.verifier.judge(&order, &proof, now());
            match orders.iter_mut().find(|(known, ..)| known.is(&order)) {
                Some(known) if verdict < known.2 => *known = (order, proof, verdict),
                Some(_) => {}
                None => orders.push((order, proof, verdict)),
            }
        }
        orders
    }

    /// What permits to run a command for an order; none is needed for what is signed, or runs nothing.
    fn permit_for(&self, order: &Order, needs_approval: bool) -> Result<Option<OwnedSemaphorePermit>, &'static str> {
        let runs_unsigned = match needs_approval {
            true => self.runner.on_approval.is_some(),
            false => !order.executes() && self.runner.prepare,
        };
        let permit = runs_unsigned.then(|| Arc::clone(&self.unsigned).try_acquire_owned());
        permit.transpose().map_err(|_| "too many commands are running for unsigned orders")
    }

    /// Logs why an order is skipped, unless that was the reason the last time.
    fn log_skipped(&self, order: &Order, reason: &str) {
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        if skipped.len() >= SKIPPED {
            skipped.clear();
        }
        // The time at which it expired is another one each time.
        let kind = reason.split(" at ").next().unwrap_or(reason);
        if skipped.insert(order.key(), kind.to_owned()).as_deref() != Some(kind) {
            to_stderr(format_args!("{} {}: not carried out: {reason}", order.key(), order.peer_region));
        }
    }

    /// What is not recorded must come again: Alertmanager repeats what was answered with 5xx.
    fn unrecorded(&self, error: &std::io::Error) -> Reply {
        to_stderr(format_args!("cannot write the record: {error}"));
        failed(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write the record: {error}"))
    }

    fn back_on(&self, region: &str, environment: Option<&str>) -> Reply {
        match self.ledger().back_on(region, environment, now()) {
            Ok(Release::Done) => (StatusCode::OK, json!({"on": region}).to_string()),
            Ok(Release::NotOff) => failed(StatusCode::NOT_FOUND, "that region was not failed over"),
            Ok(Release::Ambiguous(environments)) => failed(
                StatusCode::CONFLICT,
                &format!("append ?environment= and one of {environments:?}: it was failed over in each"),
            ),
            Err(error) => self.unrecorded(&error),
        }
    }

    /// Runs the command on a thread of its own: Alertmanager waits for the answer, and not for the failover.
    fn carry_out(
        self: &Arc<Self>,
        order: &Order,
        decision: Decision,
        expires_at: Option<UnixMillis>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        let awaits_approval = matches!(decision, Decision::AwaitsApproval { .. });
        let (command, target) = match decision {
            Decision::Accepted { target } if order.executes() || self.runner.prepare => (&self.runner.command, target),
            Decision::AwaitsApproval { .. } => (&self.runner.on_approval, order.candidates.first().cloned()),
            _ => return,
        };
        let Some(command) = command else { return };
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).stdin(Stdio::null());
        shell.envs([
            ("PEER_REGION", order.peer_region.as_str()),
            ("FAILOVER_TARGET", target.as_deref().unwrap_or_default()),
            ("STAGE", &order.stage),
            ("INCIDENT_ID", order.incident_id.as_deref().unwrap_or_default()),
            ("ONSET", &order.onset),
            ("DRY_RUN", if order.dry_run { "true" } else { "false" }),
            ("EXPIRES_AT", &expires_at.map_or_else(String::new, |at| at.to_string())),
        ]);
        // Where the vantages name none, that of the receiver holds.
        if !order.environment().is_empty() {
            shell.env("ENVIRONMENT", order.environment());
        }
        let (receiver, taken) = (Arc::clone(self), order.clone());
        let run = move || {
            let status = shell.status();
            drop(permit);
            receiver.ended(&taken, awaits_approval, status);
        };
        // The order is recorded, so it must not be answered with an error: every copy of it is known.
        if let Err(error) = (self.runner.threads)().spawn(run) {
            self.ended(order, awaits_approval, Err(error));
        }
    }

    /// Notes how a command ended, or that it could not be run.
    fn ended(&self, order: &Order, awaits_approval: bool, status: std::io::Result<ExitStatus>) {
        match &status {
            Ok(status) => to_stderr(format_args!("{}: the command ended with {status}", order.key())),
            Err(error) => to_stderr(format_args!("{}: the command could not be run: {error}", order.key())),
        }
        // The page for an approval is not the failover.
        if awaits_approval {
            return;
        }
        let ok = status.is_ok_and(|status| status.success());
        if let Err(error) = self.ledger().end(order, ok, now()) {
            to_stderr(format_args!("cannot write the record: {error}"));
        }
    }
}

fn failed(status: StatusCode, reason: &str) -> Reply {
    (status, json!({"error": reason}).to_string())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde_json::Value;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
    };

    use super::*;
    use crate::{ledger::Rules, order::tests::alert};

    async fn start(record: &Path, token: Option<&str>, runner: Runner) -> std::net::SocketAddr {
        let ledger = Ledger::open(record, Rules { block_millis: 3_600_000, ..Rules::default() }).unwrap();
        start_with(ledger, token, runner).await
    }

    async fn start_with(ledger: Ledger, token: Option<&str>, runner: Runner) -> std::net::SocketAddr {
        let receiver = Arc::new(Receiver::new(ledger, token.map(ToOwned::to_owned), runner, Verifier::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(receiver.serve(listener));
        addr
    }

    /// The status and the body of the answer to a request whose head ends with `more`.
    async fn ask(addr: std::net::SocketAddr, line: &str, more: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let length = body.len();
        let head = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // Who is refused at the head does not read the body.
        let _ = stream.write_all(body.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.trim_end().to_owned())
    }

    fn webhook(alerts: &[Value]) -> String {
        json!({"version": "4", "alerts": alerts}).to_string()
    }

    #[tokio::test]
    async fn an_order_is_executed_once_however_often_it_is_received() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let command =
            format!("echo $PEER_REGION $FAILOVER_TARGET $STAGE $INCIDENT_ID $ONSET $DRY_RUN >> {}", out.display());
        let runner = Runner { command: Some(command), ..Runner::default() };
        let record = folder.path().join("record");
        let addr = start(&record, None, runner).await;
        let body = webhook(&[alert("a", "prepare", "1"), alert("a", "execute", "1")]);
        let first = ask(addr, "POST /", "", &body).await;
        assert_eq!(first.0, 200, "{first:?}");
        for _ in 0..3 {
            let again = ask(addr, "POST /", "", &body).await;
            assert_eq!(again, (200, r#"[{"new":null,"order":"1 prepare"},{"new":null,"order":"1 execute"}]"#.into()));
        }
        while !fs::read_to_string(&record).unwrap().contains("ended") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(fs::read_to_string(&out).unwrap(), "a b execute 1 2026-11-21T03:04:05.123Z false\n");
        let mut over = alert("a", "execute", "1");
        over["status"] = json!("resolved");
        assert_eq!(ask(addr, "POST /", "", &webhook(&[over])).await.0, 200);
        let (_, shown) = ask(addr, "GET /incidents", "", "").await;
        let shown: Vec<Value> = serde_json::from_str(&shown).unwrap();
        let decisions: Vec<_> = shown.iter().map(|entry| entry["decision"].as_str().unwrap()).collect();
        assert_eq!(decisions, ["accepted", "accepted", "ended", "resolved"]);
        assert_eq!(ask(addr, "GET /-/healthy", "", "").await.0, 200);
    }

    #[tokio::test]
    async fn no_connection_is_kept_whose_end_could_meet_the_next_webhook() {
        let folder = tempfile::tempdir().unwrap();
        let addr = start(&folder.path().join("record"), None, Runner::default()).await;
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let body = webhook(&[alert("a", "prepare", "1")]);
        let request = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // It ends with the answer, and says so.
        timeout(PATIENCE / 2, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test]
    async fn the_command_is_told_the_environment_and_when_the_order_expires() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let command = format!("echo \"$ENVIRONMENT $EXPIRES_AT\" > {0}.new; mv {0}.new {0}", out.display());
        let runner = Runner { command: Some(command), ..Runner::default() };
        let addr = start(&folder.path().join("record"), None, runner).await;
        let mut order = alert("a", "execute", "1");
        order["labels"]["environment"] = json!("prod");
        order["annotations"]["expires_at"] = json!("2999-11-21T03:04:05.123Z");
        assert_eq!(ask(addr, "POST /", "", &webhook(&[order])).await.0, 200);
        while !out.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(fs::read_to_string(&out).unwrap(), "prod 2999-11-21T03:04:05.123Z\n");
    }

    #[tokio::test]
    async fn commands_for_what_nobody_signed_are_few_at_once_and_come_again_when_one_ends() {
        let folder = tempfile::tempdir().unwrap();
        let go = folder.path().join("go");
        // One that outlives the test ends too: the folder is gone.
        let waits = format!("test -d {} && ! test -e {}", folder.path().display(), go.display());
        let command = format!("while {waits}; do sleep 0.05; done");
        let runner = Runner { command: Some(command), prepare: true, ..Runner::default() };
        let addr = start(&folder.path().join("record"), None, runner).await;
        let prepare = |n: usize| webhook(&[alert(&format!("r{n}"), "prepare", &n.to_string())]);
        for n in 0..UNSIGNED {
            assert_eq!(ask(addr, "POST /", "", &prepare(n)).await.0, 200, "{n}");
        }
        let (status, said) = ask(addr, "POST /", "", &prepare(UNSIGNED)).await;
        assert!(status == 503 && said.contains("too many commands"), "{said}");
        // What is executed waits for none of them.
        assert_eq!(ask(addr, "POST /", "", &webhook(&[alert("a", "execute", "x")])).await.0, 200);
        fs::write(&go, "").unwrap();
        while ask(addr, "POST /", "", &prepare(UNSIGNED)).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn an_order_for_which_no_thread_can_be_started_is_recorded_as_failed() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("record");
        // No machine has room for such a stack.
        let threads = || thread::Builder::new().stack_size(1 << 60);
        let runner = Runner { command: Some("true".to_owned()), threads, ..Runner::default() };
        let addr = start(&record, None, runner).await;
        let body = webhook(&[alert("a", "execute", "1")]);
        assert_eq!(ask(addr, "POST /", "", &body).await.0, 200);
        let (_, shown) = ask(addr, "GET /incidents", "", "").await;
        let shown: Vec<Value> = serde_json::from_str(&shown).unwrap();
        let decisions: Vec<_> = shown.iter().map(|entry| (entry["decision"].as_str().unwrap(), &entry["ok"])).collect();
        assert_eq!(decisions, [("accepted", &Value::Null), ("ended", &json!(false))]);
    }

    #[tokio::test]
    async fn only_retryable_requests_are_answered_with_5xx() {
        let folder = tempfile::tempdir().unwrap();
        let addr = start(&folder.path().join("record"), None, Runner::default()).await;
        let post = |body: String| async move { ask(addr, "POST /", "", &body).await.0 };
        assert_eq!(post("{}".to_owned()).await, 400);
        assert_eq!(post("x".repeat(BODY_LIMIT + 1)).await, 413);
        assert_eq!(post(webhook(&[json!({"status": "firing", "labels": {}})])).await, 200);
        assert_eq!(ask(addr, "GET /", "", "").await.0, 405);
        assert_eq!(ask(addr, "GET /x", "", "").await.0, 404);
        assert_eq!(ask(addr, "POST /regions/a/on", "", "").await.0, 403);
        let full = start_with(Ledger::on_a_full_disk(), None, Runner::default()).await;
        let (status, said) = ask(full, "POST /", "", &webhook(&[alert("a", "execute", "1")])).await;
        assert!(status == 500 && said.contains("cannot write the record"), "{said}");
    }

    #[tokio::test]
    async fn a_request_without_the_token_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let addr = start(&folder.path().join("record"), Some("secret"), Runner::default()).await;
        let body = webhook(&[alert("a", "execute", "1")]);
        for header in
            ["", "Authorization: Bearer secre\r\n", "Authorization: Bearer secrets\r\n", "Authorization: secret\r\n"]
        {
            for line in ["POST /", "GET /incidents", "POST /regions/a/on"] {
                assert_eq!(ask(addr, line, header, &body).await.0, 401, "{line} {header}");
            }
        }
        let header = "Authorization: Bearer secret\r\n";
        assert_eq!(ask(addr, "POST /", header, &body).await.0, 200);
        assert_eq!(ask(addr, "POST /regions/a/on", header, "").await.0, 200);
        assert_eq!(ask(addr, "POST /regions/a/on", header, "").await.0, 404);
    }
}
