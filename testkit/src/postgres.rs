//! The real PostgreSQL, on loopback of the namespace that starts it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{
    needs::{Need::Other, require},
    process::free,
};

/// A server, stopped and forgotten when dropped. Its superuser `postgres` needs no password.
pub struct Postgres {
    pub addr: SocketAddr,
    bin: PathBuf,
    folder: tempfile::TempDir,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.program("pg_ctl").args(["stop", "--mode=immediate", "--pgdata"]).arg(self.data()).output();
    }
}

/// Where Debian has the programs of the server.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    found.retain(|bin| bin.join("pg_ctl").exists());
    found.sort();
    found.pop()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Gives a file to the user that servers of databases run as.
fn give(path: &Path) {
    if is_root() {
        succeeds(&Command::new("chown").arg("postgres:postgres").arg(path).output().unwrap());
    }
}

/// A command that runs as that user: these servers refuse to run as root.
pub fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

impl Postgres {
    /// A server with these lines in `pg_hba.conf`, and settings such as `max_connections=9`.
    pub fn start(access: &str, settings: &[&str]) -> Self {
        let bin = programs();
        require(&[Other("PostgreSQL", bin.is_some())]);
        let folder = tempfile::tempdir().unwrap();
        give(folder.path());
        let server = Self { addr: free(), bin: bin.unwrap(), folder };
        let mut initdb = server.program("initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--no-sync", "--pgdata"]).arg(server.data());
        succeeds(&initdb.output().unwrap());
        fs::write(
            server.data().join("pg_hba.conf"),
            format!("host all,replication postgres 127.0.0.1/32 trust\n{access}"),
        )
        .unwrap();
        server.run(settings);
        server
    }

    /// A replica of a server, by streaming from this address, which leads to it.
    pub fn replica(primary: SocketAddr, settings: &[&str]) -> Self {
        let bin = programs();
        require(&[Other("PostgreSQL", bin.is_some())]);
        let folder = tempfile::tempdir().unwrap();
        give(folder.path());
        let server = Self { addr: free(), bin: bin.unwrap(), folder };
        let from = format!("host={} port={} user=postgres", primary.ip(), primary.port());
        let mut backup = server.program("pg_basebackup");
        backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname", &from, "--pgdata"]);
        succeeds(&backup.arg(server.data()).output().unwrap());
        server.run(settings);
        server
    }

    /// Ends the server at once.
    pub fn kill(&self) {
        succeeds(
            &self.program("pg_ctl").args(["stop", "--mode=immediate", "--pgdata"]).arg(self.data()).output().unwrap(),
        );
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Puts a file there, which it alone can read.
    pub fn file(&self, name: &str, content: &str) {
        let path = self.data().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        give(&path);
    }

    fn program(&self, name: &str) -> Command {
        as_user(&self.bin.join(name))
    }

    fn run(&self, settings: &[&str]) {
        let mut options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories= -c fsync=off -c shared_buffers=1MB",
            self.addr.port()
        );
        for setting in settings {
            options.push_str(&format!(" -c {setting}"));
        }
        let log = self.folder.path().join("log");
        let mut start = self.program("pg_ctl");
        start.args(["start", "--wait", "--silent", "--options", &options, "--log"]).arg(&log);
        start.arg("--pgdata").arg(self.data());
        // Its output would stay open with the server.
        let status = start.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(log).unwrap_or_default());
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The result of a statement by psql, as text without a header; nothing if it fails.
    pub fn ask(&self, sql: &str) -> Option<String> {
        let to = format!("host=127.0.0.1 port={} user=postgres connect_timeout=3", self.addr.port());
        let psql = Command::new(self.bin.join("psql")).args(["-XAtq", "-d", &to, "-c", sql]).output().unwrap();
        psql.status.success().then(|| String::from_utf8(psql.stdout).unwrap().trim().to_owned())
    }

    /// Runs statements that must succeed.
    pub fn run_sql(&self, sql: &str) {
        assert!(self.ask(sql).is_some(), "{sql}");
    }
}
