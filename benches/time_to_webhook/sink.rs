//! The receiver of webhooks: writes down when each came.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

use testkit::rig::{Result, net::Namespace, sys};

/// A firing alert in a webhook.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// When the webhook was received whole, by [`sys::monotonic_ns`].
    pub(crate) at: i64,
    /// The path of the webhook's URL.
    pub(crate) path: String,
    /// The label alertname.
    pub(crate) alert: String,
    /// The label peer_region.
    pub(crate) peer: String,
}

#[derive(Deserialize)]
struct Webhook {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    labels: Labels,
}

#[derive(Deserialize)]
struct Labels {
    alertname: String,
    #[serde(default)]
    peer_region: String,
}

/// All that came.
pub(crate) struct Sink(Arc<Mutex<Vec<Call>>>);

impl Sink {
    /// Listens in a namespace until the process ends.
    pub(crate) fn start(net: &Namespace, address: SocketAddr) -> Result<Self> {
        let listener = net.run(|| Ok(TcpListener::bind(address)?))?;
        let sink = Self(Arc::default());
        let calls = Arc::clone(&sink.0);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let calls = Arc::clone(&calls);
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(&stream);
                    while let Some(received) = receive(&mut reader, &stream) {
                        calls.lock().unwrap_or_else(PoisonError::into_inner).extend(received);
                    }
                });
            }
        });
        Ok(sink)
    }

    /// What came after that time.
    pub(crate) fn since(&self, since: i64) -> Vec<Call> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| call.at >= since).cloned().collect()
    }
}

fn receive(reader: &mut BufReader<&TcpStream>, mut stream: &TcpStream) -> Option<Vec<Call>> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let at = sys::monotonic_ns();
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    let webhook: Webhook = serde_json::from_slice(&body).ok()?;
    let firing = webhook.alerts.into_iter().filter(|alert| alert.status == "firing");
    let call = |Alert { labels: Labels { alertname, peer_region }, .. }| Call {
        at,
        path: path.clone(),
        alert: alertname,
        peer: peer_region,
    };
    Some(firing.map(call).collect())
}
