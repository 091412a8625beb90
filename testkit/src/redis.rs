//! The real Redis, on loopback of the namespace that starts it.

use std::{fmt::Write, fs, net::SocketAddr, process::Command, sync::Mutex, time::Duration};

use crate::{
    needs::{Need::Tool, program, require},
    process::{Running, eventually, free},
};

/// As much as a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// No files but those that are asked for, no wait for a second replica, and a user that the tests have beside those of the
/// product.
const SETTINGS: &str =
    "save \"\"\nrepl-diskless-sync-delay 0\nenable-debug-command yes\nuser admin on nopass ~* &* +@all\n";

/// A server, killed and forgotten when dropped. The tests ask it by a Unix socket.
pub struct Redis {
    pub addr: SocketAddr,
    running: Mutex<Running>,
    folder: tempfile::TempDir,
}

impl Redis {
    /// A server with settings such as `maxclients 9`.
    pub fn start(settings: &[&str]) -> Self {
        let addr = free();
        let port = format!("port {}", addr.port());
        Self::start_at(addr, &[&[port.as_str()][..], settings].concat())
    }

    /// A server that takes connections with TLS alone, by these files.
    pub fn with_tls(cert: &str, key: &str, settings: &[&str]) -> Self {
        let addr = free();
        let tls = [
            "port 0".to_owned(),
            format!("tls-port {}", addr.port()),
            format!("tls-cert-file {cert}"),
            format!("tls-key-file {key}"),
            "tls-auth-clients no".to_owned(),
        ];
        let tls: Vec<_> = tls.iter().map(String::as_str).collect();
        Self::start_at(addr, &[&tls[..], settings].concat())
    }

    /// A replica of the server at this address.
    pub fn replica(primary: SocketAddr, settings: &[&str]) -> Self {
        let primary = format!("replicaof {} {}", primary.ip(), primary.port());
        Self::start(&[&[primary.as_str()][..], settings].concat())
    }

    fn start_at(addr: SocketAddr, settings: &[&str]) -> Self {
        require(&[Tool("redis-server"), Tool("redis-cli")]);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut text = SETTINGS.to_owned();
        let _ = write!(text, "bind {}\ndir {}\nunixsocket {}\n", addr.ip(), path(""), path("socket"));
        settings.iter().for_each(|setting| text.extend([*setting, "\n"]));
        fs::write(path("redis.conf"), text).unwrap();
        let running = Running::start(program("redis-server").unwrap().to_str().unwrap(), &[&path("redis.conf")], &[]);
        let server = Self { addr, running: Mutex::new(running), folder };
        eventually("the server answers", PATIENCE, || {
            let ended = server.running.lock().unwrap().child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", server.log());
            // Which a replica without a primary answers too.
            server.ask("ROLE")
        });
        server
    }

    /// Ends the server at once.
    pub fn kill(&self) {
        let mut running = self.running.lock().unwrap();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.running.lock().unwrap().said()
    }

    /// The reply to a command by the client of Redis, as text with a line for each part; nothing if it is an error.
    pub fn ask(&self, command: &str) -> Option<String> {
        self.ask_words(&command.split(' ').collect::<Vec<_>>())
    }

    /// The reply to a command whose words may have spaces.
    pub fn ask_words(&self, words: &[&str]) -> Option<String> {
        self.ask_as("admin", "any", words).ok()
    }

    /// The reply to a command by this user, or the error.
    pub fn ask_as(&self, user: &str, password: &str, words: &[&str]) -> Result<String, String> {
        let socket = self.folder.path().join("socket");
        let asked = Command::new(program("redis-cli").unwrap())
            .args(["-e", "--no-auth-warning", "--user", user, "--pass", password, "-s"])
            .arg(socket)
            .args(words)
            .output()
            .unwrap();
        let [output, errors] = [asked.stdout, asked.stderr].map(|text| String::from_utf8(text).unwrap());
        // The client goes on without a login that was refused.
        match asked.status.success() && !errors.contains("AUTH failed") {
            true => Ok(output.trim().to_owned()),
            false => Err(format!("{output}{errors}")),
        }
    }

    /// Runs commands that must succeed, each a line.
    pub fn run(&self, commands: &str) {
        for command in commands.lines() {
            assert!(self.ask(command).is_some(), "{command}");
        }
    }
}
