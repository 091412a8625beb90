//! HTTP servers that answer as a service does, and the programs that call them.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::{Value, json};
use testkit::{
    needs::{
        Need::{Other, Tool},
        installed, require,
    },
    root,
};

pub(crate) const REGION: &str = "us-east-1";

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// All headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The operation of an AWS service that speaks JSON.
    pub(crate) fn operation(&self) -> String {
        let target = self.head.lines().find_map(|line| line.strip_prefix("x-amz-target: ")).unwrap_or_default();
        target.rsplit('.').next().unwrap().to_owned()
    }
}

/// A status and a body; the status 0 closes the connection without an answer, or in the middle of the body.
pub(crate) type Answer = (u16, String);

/// A server on loopback.
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    over: Arc<AtomicBool>,
}

impl Fake {
    pub(crate) fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fake = Self { addr: listener.local_addr().unwrap(), requests: Arc::default(), over: Arc::default() };
        let (requests, over, answer) = (Arc::clone(&fake.requests), Arc::clone(&fake.over), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    requests.lock().unwrap().push(request.clone());
                    let (status, body) = answer(&request);
                    if status != 0 || !body.is_empty() {
                        let (status, length) = if status == 0 { (200, body.len() + 1) } else { (status, body.len()) };
                        let head =
                            format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                        let _ = (&stream).write_all((head + &body).as_bytes());
                    }
                });
            }
        });
        fake
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(':')?;
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.trim().parse().ok()?;
        } else if name == "expect" {
            let mut stream = stream;
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        head += &format!("{name}: {}\n", value.trim());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = first.split(' ').map(str::to_owned);
    Some(Request { method: words.next()?, path: words.next()?, head, body: String::from_utf8(body).ok()? })
}

/// What a vantage answers about the region: `held`, `down` (not held), `up`.
pub(crate) fn opinion(vantage: &str, opinion: &str) -> Value {
    let vote = if opinion == "held" { "down" } else { opinion };
    let mut entry =
        json!({"region": REGION, "state": vote, "vote": vote, "last_answer_age_ms": 9000, "since_ms": 9000});
    if vote == "down" {
        entry["incident"] = json!("us-east-1-1");
        entry["held"] = json!(opinion == "held");
    }
    let other = json!({"region": "ap-southeast-2", "state": "healthy", "vote": "up", "since_ms": 1});
    json!({"version": 1, "vantage": vantage, "isolated": false, "peers": [other, entry], "ranking": []})
}

/// A vantage whose opinion can be changed.
pub(crate) struct Vantage {
    pub(crate) fake: Fake,
    message: Arc<Mutex<Value>>,
}

impl Vantage {
    pub(crate) fn start(name: &str, says: &str) -> Self {
        let message = Arc::new(Mutex::new(opinion(name, says)));
        let shown = Arc::clone(&message);
        let fake = Fake::start(move |request| {
            assert_eq!(request.path, "/api/v1/regions");
            (200, shown.lock().unwrap().to_string())
        });
        Self { fake, message }
    }

    pub(crate) fn says(&self, says: &str) {
        let name = self.message.lock().unwrap()["vantage"].as_str().unwrap().to_owned();
        self.replace(opinion(&name, says));
    }

    pub(crate) fn replace(&self, message: Value) {
        *self.message.lock().unwrap() = message;
    }
}

/// Two vantages that hold the region down.
pub(crate) fn vantages() -> [Vantage; 2] {
    ["eu-west-1", "eu-central-1"].map(|name| Vantage::start(name, "held"))
}

pub(crate) fn urls(vantages: &[Vantage]) -> String {
    vantages.iter().map(|vantage| vantage.fake.url()).collect::<Vec<_>>().join(" ")
}

pub(crate) fn example(file: &str) -> PathBuf {
    root().join("examples/receivers").join(file)
}

/// The Python that `tests/run` installs boto3 for.
pub(crate) fn python() -> Command {
    let python = installed().join("bin/python");
    let there = python.exists()
        && Command::new(&python).args(["-c", "import boto3"]).output().is_ok_and(|output| output.status.success());
    require(&[Other("boto3, which tests/run installs", there)]);
    command(python.to_str().unwrap())
}

/// A program as the example receiver runs it for an order.
pub(crate) fn command(program: &str) -> Command {
    if program != "bash" {
        require(&[Tool("python3")]);
    }
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("PYTHONDONTWRITEBYTECODE", "1").envs([
        ("PEER_REGION", REGION),
        ("FAILOVER_TARGET", "eu-central-1"),
        ("STAGE", "execute"),
        ("INCIDENT_ID", "us-east-1-1"),
        ("ONSET", "2026-11-21T08:13:22.792Z"),
        ("DRY_RUN", "false"),
        // A machine that is busy needs long for a few programs: how long there is matters only to those that give up.
        ("RETRY_FOR", "300"),
        ("PAUSE", "0.1"),
    ]);
    command
}

/// All that a program printed.
pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
