//! `promote_postgres.sh` with a real PostgreSQL: a primary, and a standby that streams from it.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use testkit::{
    needs::{Need::Other, require},
    process::{eventually, free},
};

use crate::fake::{Vantage, command, example, said, urls, vantages};

/// Where Debian has the programs of the server.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    found.retain(|bin| bin.join("pg_ctl").exists());
    found.sort();
    found.pop()
}

struct Server {
    data: PathBuf,
    addr: SocketAddr,
}

struct World {
    primary: Server,
    standby: Server,
    vantages: [Vantage; 2],
    bin: PathBuf,
    /// Removed after the servers were stopped.
    folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        for server in [&self.primary, &self.standby] {
            let _ =
                self.server_program("pg_ctl").args(["stop", "--mode=immediate", "--pgdata"]).arg(&server.data).output();
        }
    }
}

/// PostgreSQL refuses to run as root.
fn as_user(bin: &Path, program: &str) -> Command {
    let program = bin.join(program);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

impl World {
    fn server_program(&self, name: &str) -> Command {
        as_user(&self.bin, name)
    }

    fn start() -> Self {
        let bin = programs();
        require(&[Other("PostgreSQL", bin.is_some())]);
        let bin = bin.unwrap();
        let folder = tempfile::tempdir().unwrap();
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            succeeds(&Command::new("chown").arg("postgres:postgres").arg(folder.path()).output().unwrap());
        }
        let server = |name: &str| Server { data: folder.path().join(name), addr: free() };
        let (primary, standby) = (server("primary"), server("standby"));
        let world = Self { primary, standby, vantages: vantages(), bin, folder };
        let mut initdb = world.server_program("initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--no-sync", "--pgdata"]).arg(&world.primary.data);
        succeeds(&initdb.output().unwrap());
        world.run_server(&world.primary);
        let from = format!("host=127.0.0.1 port={} user=postgres", world.primary.addr.port());
        let mut backup = world.server_program("pg_basebackup");
        backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname", &from, "--pgdata"]);
        succeeds(&backup.arg(&world.standby.data).output().unwrap());
        world.run_server(&world.standby);
        world.ask(&world.primary, "CREATE TABLE t AS SELECT 7 AS n").unwrap();
        eventually("the standby has the table", Duration::from_secs(10), || {
            world.ask(&world.standby, "SELECT n FROM t").filter(|n| n == "7")
        });
        world
    }

    fn run_server(&self, server: &Server) {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories= -c fsync=off -c shared_buffers=1MB",
            server.addr.port()
        );
        let log = server.data.with_extension("log");
        let mut start = self.server_program("pg_ctl");
        start
            .args(["start", "--wait", "--silent", "--options", &options, "--log"])
            .arg(&log)
            .arg("--pgdata")
            .arg(&server.data);
        // Its output would stay open with the server.
        let status = start.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(log).unwrap_or_default());
    }

    fn ask(&self, server: &Server, sql: &str) -> Option<String> {
        let to = format!("host=127.0.0.1 port={} user=postgres connect_timeout=3", server.addr.port());
        let psql = Command::new(self.bin.join("psql")).args(["-XAtq", "-d", &to, "-c", sql]).output().unwrap();
        psql.status.success().then(|| String::from_utf8(psql.stdout).unwrap().trim().to_owned())
    }

    fn accepts_writes(&self, server: &Server) -> bool {
        self.ask(server, "INSERT INTO t VALUES (8)").is_some()
    }

    /// Stops the old primary, after it has failed as often as the file says.
    fn fence(&self) -> String {
        let setpriv = self.server_program("pg_ctl");
        let words = std::iter::once(setpriv.get_program()).chain(setpriv.get_args());
        let words: Vec<_> = words.map(|word| word.to_str().unwrap()).collect();
        let data = self.primary.data.display();
        // Idempotent: a server that is stopped already is fenced.
        format!(
            "echo x >> {calls}; [ \"$(wc -l < {calls})\" -gt \"${{FAILURES:-0}}\" ] || exit 1; \
             {words} status --pgdata {data} > /dev/null || exit 0; {words} stop --mode=immediate --silent --pgdata {data}",
            calls = self.folder.path().join("calls").display(),
            words = words.join(" "),
        )
    }

    fn run(&self, more: &[(&str, &str)]) -> (bool, String) {
        let state = self.folder.path().join("state");
        fs::create_dir_all(&state).unwrap();
        let standby = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.standby.addr.port());
        let mut command = command("bash");
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        command.arg(example("promote_postgres.sh")).env("PATH", path).env("STATE", state).env("STANDBY", standby);
        command.env("FENCE", self.fence()).env("VANTAGES", urls(&self.vantages)).envs(more.iter().copied());
        let output = command.output().unwrap();
        (output.status.success(), said(&output))
    }
}

#[test]
fn the_standby_is_promoted_after_the_fence_and_only_once() {
    let world = World::start();
    // The fence fails twice, and is tried again.
    let (ok, said) = world.run(&[("FAILURES", "2")]);
    assert!(ok, "{said}");
    assert!(world.accepts_writes(&world.standby));
    assert!(world.ask(&world.primary, "SELECT 1").is_none(), "the old primary still answers");
    // The same order again: nothing is promoted, fenced or lost.
    let timeline = world.ask(&world.standby, "SELECT timeline_id FROM pg_control_checkpoint()");
    let (ok, said) = world.run(&[]);
    assert!(ok, "{said}");
    assert_eq!(world.ask(&world.standby, "SELECT timeline_id FROM pg_control_checkpoint()"), timeline);
    assert_eq!(fs::read_to_string(world.folder.path().join("calls")).unwrap().lines().count(), 3);
}

#[test]
fn without_a_fence_nothing_is_promoted() {
    let world = World::start();
    let (ok, said) = world.run(&[("FAILURES", "1000"), ("RETRY_FOR", "1")]);
    assert!(!ok && said.contains("page a person"), "{said}");
    assert_eq!(world.ask(&world.standby, "SELECT pg_is_in_recovery()").unwrap(), "t");
    assert!(world.accepts_writes(&world.primary));
    // A region that is up again is left alone, and so is one in a drill.
    let (ok, said) = world.run(&[("DRY_RUN", "true")]);
    assert!(ok && said.contains("dry run"), "{said}");
    world.vantages[0].says("up");
    let (ok, said) = world.run(&[]);
    assert!(!ok && said.contains("called off"), "{said}");
    assert_eq!(world.ask(&world.standby, "SELECT pg_is_in_recovery()").unwrap(), "t");
    assert!(world.accepts_writes(&world.primary));
}

#[test]
fn what_was_fenced_is_promoted_although_the_program_was_killed_and_the_region_is_back() {
    let world = World::start();
    // It ends between the two steps: no psql.
    let (ok, said) = world.run(&[("STANDBY", "host=127.0.0.1 port=1 connect_timeout=1"), ("RETRY_FOR", "1")]);
    assert!(!ok, "{said}");
    assert_eq!(world.ask(&world.standby, "SELECT pg_is_in_recovery()").unwrap(), "t");
    assert!(world.ask(&world.primary, "SELECT 1").is_none());
    for vantage in &world.vantages {
        vantage.says("up");
    }
    let (ok, said) = world.run(&[]);
    assert!(ok, "{said}");
    assert!(world.accepts_writes(&world.standby));
}
