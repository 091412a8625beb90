//! What stands behind every receiver of `alerts/alertmanager.yml`: it writes down each call.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::Value;
use socket2::SockRef;
use tokio::time::Instant;

use crate::space::Host;

/// One call of a webhook.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// When it was made.
    pub(crate) at: Instant,
    /// Which receiver was called.
    pub(crate) receiver: String,
    /// The body.
    pub(crate) body: Value,
}

impl Call {
    fn group(&self, label: &str) -> &str {
        self.body["groupLabels"][label].as_str().unwrap_or_default()
    }

    /// Which region it is about.
    pub(crate) fn peer(&self) -> &str {
        self.group("peer_region")
    }

    /// `prepare firing` and the like.
    pub(crate) fn kind(&self) -> String {
        format!("{} {}", self.group("stage"), self.body["status"].as_str().unwrap_or_default())
    }

    /// A label that all its alerts have.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.body["commonLabels"][name].as_str().unwrap_or_default()
    }

    /// An annotation that all its alerts have.
    pub(crate) fn annotation(&self, name: &str) -> &str {
        self.body["commonAnnotations"][name].as_str().unwrap_or_default()
    }

    /// An annotation, as each of its alerts has it.
    pub(crate) fn annotations(&self, name: &str) -> Vec<&str> {
        let alerts = self.body["alerts"].as_array().unwrap();
        alerts.iter().map(|alert| alert["annotations"][name].as_str().unwrap_or_default()).collect()
    }
}

/// The receiver of all webhooks.
pub(crate) struct Sink {
    calls: Arc<Mutex<Vec<Call>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens on a host.
    pub(crate) fn start(host: &Host, port: u16) -> Self {
        let (calls, over): (Arc<Mutex<Vec<_>>>, Arc<AtomicBool>) = Default::default();
        let (record, ended) = (Arc::clone(&calls), Arc::clone(&over));
        let thread = host.run(move || {
            let listener = TcpListener::bind(("0.0.0.0", port)).unwrap();
            // So that it sees its end.
            SockRef::from(&listener).set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let Ok((stream, _)) = listener.accept() else { continue };
                    let record = Arc::clone(&record);
                    thread::spawn(move || take(stream, &record));
                }
            })
        });
        Self { calls, over, thread: Some(thread) }
    }

    /// All calls of one receiver so far.
    pub(crate) fn calls(&self, receiver: &str) -> Vec<Call> {
        self.calls.lock().unwrap().iter().filter(|call| call.receiver == receiver).cloned().collect()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Writes down one request, and then answers it.
fn take(stream: TcpStream, record: &Mutex<Vec<Call>>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut reader = BufReader::new(&stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let receiver = first.split('/').nth(1)?.to_owned();
    let body = serde_json::from_slice(&body).ok()?;
    record.lock().unwrap().push(Call { at: Instant::now(), receiver, body });
    (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").ok()
}
