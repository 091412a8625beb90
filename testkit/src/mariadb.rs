//! The real MariaDB, on loopback of the namespace that starts it.

use std::{fs, net::SocketAddr, os::unix::fs::MetadataExt, process::Command, sync::Mutex, time::Duration};

use crate::{
    needs::{Need::Tool, program, require},
    process::{Running, eventually, free},
};

/// As much as a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Small files and buffers, and nothing that waits for a disk.
const SETTINGS: [&str; 7] = [
    "innodb_log_file_size=4M",
    "innodb_buffer_pool_size=8M",
    "innodb_flush_log_at_trx_commit=0",
    "innodb_flush_method=nosync",
    "key_buffer_size=1M",
    "aria_pagecache_buffer_size=1M",
    "skip_name_resolve=ON",
];

/// A server, killed and forgotten when dropped. Its superuser `root` needs no password, and is asked by a Unix socket.
pub struct Mariadb {
    pub addr: SocketAddr,
    running: Mutex<Running>,
    folder: tempfile::TempDir,
}

/// The server runs as who runs the tests, also as root.
fn user() -> Option<&'static str> {
    (fs::metadata("/proc/self").unwrap().uid() == 0).then_some("--user=root")
}

impl Mariadb {
    /// A server with settings such as `max_connections=9`.
    pub fn start(settings: &[&str]) -> Self {
        require(&[Tool("mariadbd"), Tool("mariadb-install-db"), Tool("mariadb")]);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        // Each server has a folder for temporary tables: one that starts deletes what it finds there.
        let places = [format!("--datadir={}", path("data")), format!("--tmpdir={}", folder.path().display())];
        let mut install = Command::new(program("mariadb-install-db").unwrap());
        install.args([
            "--no-defaults",
            "--skip-test-db",
            "--skip-name-resolve",
            "--auth-root-authentication-method=normal",
        ]);
        install.args(&places);
        install.args(user()).args(SETTINGS.map(|setting| format!("--{setting}")));
        let output = install.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let addr = free();
        let mut arguments = vec!["--no-defaults".to_owned()];
        arguments.extend(places);
        arguments.extend(user().map(ToOwned::to_owned));
        arguments.extend([
            format!("--socket={}", path("socket")),
            format!("--pid-file={}", path("pid")),
            format!("--bind-address={}", addr.ip()),
            format!("--port={}", addr.port()),
        ]);
        arguments.extend(SETTINGS.iter().chain(settings).map(|setting| format!("--{setting}")));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let running = Running::start(program("mariadbd").unwrap().to_str().unwrap(), &arguments, &[]);
        let server = Self { addr, running: Mutex::new(running), folder };
        eventually("the server answers", PATIENCE, || {
            let ended = server.running.lock().unwrap().child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", server.log());
            server.ask("SELECT 1")
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

    /// The result of statements by the client of MariaDB, as text without a header; nothing if one fails.
    pub fn ask(&self, sql: &str) -> Option<String> {
        let socket = format!("--socket={}", self.folder.path().join("socket").display());
        let client = program("mariadb").unwrap();
        let asked = Command::new(client)
            .args(["--no-defaults", "--user=root", "--batch", "--skip-column-names", &socket, "-e", sql])
            .output()
            .unwrap();
        asked.status.success().then(|| String::from_utf8(asked.stdout).unwrap().trim().to_owned())
    }

    /// Runs statements that must succeed.
    pub fn run_sql(&self, sql: &str) {
        assert!(self.ask(sql).is_some(), "{sql}");
    }

    /// Makes it a replica of the server at this address, from the first transaction on.
    pub fn replicate(&self, primary: SocketAddr) {
        self.run_sql(&format!(
            "CHANGE MASTER TO MASTER_HOST='{}', MASTER_PORT={}, MASTER_USER='replication', MASTER_CONNECT_RETRY=1, \
             MASTER_HEARTBEAT_PERIOD=1, MASTER_USE_GTID=slave_pos; START SLAVE",
            primary.ip(),
            primary.port()
        ));
    }
}
