//! The real PostgreSQL, on loopback of the namespace that starts it.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{
    binary,
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

/// What creates the role of regionwatch and these tables.
pub fn token_tables<'a>(tables: impl IntoIterator<Item = &'a str>) -> String {
    let mut all = String::new();
    for table in tables {
        let printed = Command::new(binary()).args(["sql", "postgres", "--table", table]).output().unwrap();
        succeeds(&printed);
        let text = String::from_utf8(printed.stdout).unwrap();
        // The role is there after the first.
        let is_first = all.is_empty();
        let lines = text.lines().filter(|line| is_first || !line.starts_with("CREATE ROLE"));
        let lines: Vec<_> = lines.collect();
        all.push_str(&lines.join("\n"));
        all.push('\n');
    }
    all
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

/// A kept connection of the superuser `postgres`, for statements so frequent that each cannot start a psql.
pub struct Session(TcpStream);

impl Session {
    /// Connects and logs in without a password.
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        let mut session = Self(stream);
        let startup = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
        session.send(&[], startup)?;
        session.answer()?;
        Ok(session)
    }

    /// The first column of the last row that the statement returns.
    pub fn ask(&mut self, sql: &str) -> io::Result<Option<String>> {
        self.send(b"Q", &[sql.as_bytes(), b"\0"].concat())?;
        self.answer()
    }

    fn send(&mut self, kind: &[u8], body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.0.write_all(&[kind, &length, body].concat())
    }

    /// Reads until the server is ready for the next statement.
    fn answer(&mut self) -> io::Result<Option<String>> {
        let (mut found, mut error) = (None, None);
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head)?;
            let length = u32::from_be_bytes(head[1..].try_into().unwrap());
            let mut body = vec![0; length.saturating_sub(4) as usize];
            self.0.read_exact(&mut body)?;
            match head[0] {
                b'Z' => return error.map_or(Ok(found), |error| Err(io::Error::other(error))),
                b'E' => error = Some(String::from_utf8_lossy(&body).into_owned()),
                // The number of columns, then each with its length.
                b'D' => {
                    let length = i32::from_be_bytes(body[2..6].try_into().unwrap());
                    let column = usize::try_from(length).ok().and_then(|length| body.get(6..6 + length));
                    found = column.map(|column| String::from_utf8_lossy(column).into_owned());
                }
                _ => {}
            }
        }
    }
}
