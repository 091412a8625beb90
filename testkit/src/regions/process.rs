//! Programs inside of namespaces.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::{space::Host, stalls::Patience};

/// A program in a host's namespace, killed when dropped, and by the kernel where the host or the test ends before.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command line without quotes. What it says is added to a file.
    pub fn start(host: &Host, line: &str, log: &Path) -> Self {
        let line = line.to_owned();
        let output = fs::File::options().create(true).append(true).open(log).unwrap();
        let child = host.run(move || {
            let mut command = Command::new("setpriv");
            // What the tests are told is no setting of a sidecar.
            env::vars().filter(|(name, _)| name.starts_with("REGIONWATCH_")).for_each(|(name, _)| {
                command.env_remove(name);
            });
            command
                .args(["--pdeathsig", "KILL"])
                .args(line.split_whitespace())
                .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
                .stdin(Stdio::null())
                .stdout(output.try_clone().unwrap())
                .stderr(output)
                .spawn()
                .unwrap()
        });
        Self { child, log: log.to_owned() }
    }

    /// Sends a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
    }

    /// Ends it politely.
    pub fn end(mut self) {
        self.signal("TERM");
        wait_for("the end of a program", Duration::from_secs(10), || self.child.try_wait().unwrap());
    }

    /// Its last words.
    pub fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks until there is an answer, for so long. What the machine does not give is no part of it.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let patience = Patience::of(limit);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(!patience.is_over(), "waited for {limit:?} in vain for {what}");
        thread::sleep(Duration::from_millis(25));
    }
}

/// A page, seen from inside of a namespace; `None` where nobody answers, or not with status 200.
pub fn get(host: &Host, address: &str, path: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    host.run(move || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(request.as_bytes()).ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        let (head, body) = page.split_once("\r\n\r\n")?;
        (head.split(' ').nth(1) == Some("200")).then(|| body.to_owned())
    })
}
