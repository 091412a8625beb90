//! What stands behind every receiver of `alerts/alertmanager.yml`: it writes down each call.
//!

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
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

use crate::root;

/// One call of a webhook.
#[derive(Debug, Clone)]
pub struct Call {
    /// When it was made.
    pub at: Instant,
    /// Which receiver was called.
    pub receiver: String,
    /// The body.
    pub body: Value,
}

impl Call {
    fn group(&self, label: &str) -> &str {
        self.body["groupLabels"][label].as_str().unwrap_or_default()
    }

    /// Which region it is about.
    pub fn peer(&self) -> &str {
        self.group("peer_region")
    }

    /// `prepare firing` and the like.
    pub fn kind(&self) -> String {
        format!("{} {}", self.group("stage"), self.body["status"].as_str().unwrap_or_default())
    }

    /// A label that all its alerts have.
    pub fn label(&self, name: &str) -> &str {
        self.body["commonLabels"][name].as_str().unwrap_or_default()
    }

    /// An annotation that all its alerts have.
    pub fn annotation(&self, name: &str) -> &str {
        self.body["commonAnnotations"][name].as_str().unwrap_or_default()
    }

    /// An annotation, as each of its alerts has it.
    pub fn annotations(&self, name: &str) -> Vec<&str> {
        let alerts = self.body["alerts"].as_array().unwrap();
        alerts.iter().map(|alert| alert["annotations"][name].as_str().unwrap_or_default()).collect()
    }
}

/// The receiver of all webhooks.
pub struct Sink {
    calls: Arc<Mutex<Vec<Call>>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Takes the calls that come to a listener.
    pub fn start(listener: TcpListener) -> Self {
        let (calls, over): (Arc<Mutex<Vec<_>>>, Arc<AtomicBool>) = Default::default();
        let (record, ended) = (Arc::clone(&calls), Arc::clone(&over));
        // So that it sees its end.
        SockRef::from(&listener).set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else { continue };
                let record = Arc::clone(&record);
                thread::spawn(move || take(stream, &record));
            }
        });
        Self { calls, over, thread: Some(thread) }
    }

    /// All calls of one receiver so far.
    pub fn calls(&self, receiver: &str) -> Vec<Call> {
        self.calls.lock().unwrap().iter().filter(|call| call.receiver == receiver).cloned().collect()
    }
}

impl Sink {
    /// Takes no more calls, and refuses connections.
    pub fn stop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop();
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

/// Writes the shipped configuration of Alertmanager, with the URLs of a sink and paths below a folder. Whoever is called
/// can be told by the first part of the URL's path.
pub fn alertmanager_configuration(folder: &Path, sink: SocketAddr) -> PathBuf {
    let mut text = fs::read_to_string(root().join("alerts/alertmanager.yml")).unwrap();
    for name in ["failover", "deadmans-switch", "oncall", "tickets"] {
        let before = format!("https://{name}.example.com/");
        assert!(text.contains(&before), "{before}");
        text = text.replace(&before, &format!("http://{sink}/{name}/"));
    }
    text = text.replace("/etc/alertmanager/secrets/regionwatch", &folder.display().to_string());
    for (_, path) in text.lines().filter_map(|line| line.split_once("credentials_file: ")) {
        fs::write(path.trim_end_matches('}'), "token").unwrap();
    }
    let path = folder.join("alertmanager.yml");
    fs::write(&path, text).unwrap();
    path
}
