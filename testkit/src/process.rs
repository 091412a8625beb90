//! Starts the binary and other programs, and asks them things over HTTP.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use crate::{binary, stalls::Patience};

pub use crate::ports::free;

/// A program under way, killed when dropped. What it says goes to a file.
pub struct Running {
    pub child: Child,
    log: tempfile::NamedTempFile,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    pub fn start(program: &str, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let log = tempfile::NamedTempFile::new().unwrap();
        let output = log.reopen().unwrap();
        let child = Command::new(program)
            .args(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}; install it (tests/run says how)"));
        Self { child, log }
    }

    /// What it said.
    pub fn said(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn ends_within(&mut self, limit: Duration) -> i32 {
        let patience = Patience::of(limit);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(!patience.is_over(), "still running; it said:\n{}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A command that ends by itself.
pub fn output(args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(binary()).args(args).envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

pub struct Answer {
    pub status: u16,
    pub body: String,
}

pub fn request(addr: SocketAddr, method: &str, path: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {addr}\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: body.to_owned() })
}

pub fn get(addr: SocketAddr, path: &str) -> String {
    request(addr, "GET", path).unwrap_or_else(|| panic!("{addr} does not answer {path}")).body
}

/// A text as it may stand in a query.
pub fn escaped(text: &str) -> String {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() { (b as char).into() } else { format!("%{b:02x}") }).collect()
}

/// Asks again and again until the function finds what it wants. What the machine does not give is no part of the limit.
pub fn eventually<T>(what: &str, limit: Duration, mut find: impl FnMut() -> Option<T>) -> T {
    let patience = Patience::of(limit);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(!patience.is_over(), "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A sidecar whose server answers.
pub fn sidecar(args: &[&str], environment: &[(&str, &str)], addr: SocketAddr) -> Running {
    let mut running = Running::start(binary(), args, environment);
    eventually("the sidecar is ready", Duration::from_secs(10), || {
        assert!(running.child.try_wait().unwrap().is_none(), "it ended:\n{}", running.said());
        request(addr, "GET", "/-/ready").filter(|answer| answer.status == 200)
    });
    running
}

/// The value of the one series whose line begins so.
pub fn value(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

pub fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}
