//! A primary and a replica that streams from it, and an instance that writes tokens at the one and reads them at the other.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use testkit::{
    binary,
    postgres::Postgres,
    process::{Running, eventually, free, get, sidecar},
};
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(20);

/// The way from the replica to its primary, which can be cut: nothing gets through, and neither end gets an error.
struct Way {
    addr: SocketAddr,
    cut: Arc<AtomicBool>,
}

impl Way {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, cut) = (listener.local_addr().unwrap(), Arc::<AtomicBool>::default());
        let is_cut = Arc::clone(&cut);
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(server) else { continue };
                for (from, to) in [(from.try_clone(), to.try_clone()), (to.try_clone(), from.try_clone())] {
                    let (from, to, is_cut) = (from.unwrap(), to.unwrap(), Arc::clone(&is_cut));
                    thread::spawn(move || carry(from, to, &is_cut));
                }
            }
        });
        Self { addr, cut }
    }

    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count) = from.read(&mut buffer) {
        while is_cut.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
}

struct World {
    primary: Postgres,
    way: Way,
    replica: Postgres,
    page: SocketAddr,
    _instance: Running,
    _folder: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let primary = Postgres::start("host all regionwatch 127.0.0.1/32 trust\n", &["wal_level=replica"]);
        let sql = Command::new(binary()).args(["sql", "postgres"]).output().unwrap();
        assert!(sql.status.success());
        primary.run_sql(&String::from_utf8(sql.stdout).unwrap());
        // What the test itself writes, and looks for.
        primary.run_sql("CREATE TABLE truth (n int)");
        let way = Way::to(primary.addr);
        let replica = Postgres::replica(way.addr, &["hot_standby=on"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("regionwatch.yaml");
        let page = free();
        let text = format!(
            "region: here\nlisten: {page}\ndatabases:\n  - name: orders\n    kind: postgres\n    user: regionwatch\n    \
             database: postgres\n    servers:\n      - {{region: here, host: 127.0.0.1, port: {}}}\n      \
             - {{region: there, host: 127.0.0.1, port: {}}}\npeers:\n  - region: there\n    targets:\n      \
             - {{host: 127.0.0.1, probes: [{{kind: tcp, port: {}}}]}}\n",
            primary.addr.port(),
            replica.addr.port(),
            replica.addr.port(),
        );
        std::fs::write(&file, text).unwrap();
        let instance = sidecar(&["run", "--config", file.to_str().unwrap()], &[], page);
        Self { primary, way, replica, page, _instance: instance, _folder: folder }
    }

    fn value(&self, metric: &str, region: &str, more: &str) -> Option<f64> {
        let text = get(self.page, "/metrics?collect=state");
        let start = format!(
            "regionwatch_database_{metric}{{vantage_region=\"here\",database=\"orders\",peer_region=\"{region}\"{more}}} "
        );
        text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
    }

    fn state(&self, region: &str) -> String {
        let states = ["caught_up", "lagging", "cut_off", "not_replicating", "writable", "unknown"];
        let is = |state: &&&str| self.value("state", region, &format!(",state=\"{state}\"")) == Some(1.0);
        states.iter().find(is).map(|state| (*state).to_owned()).unwrap_or_default()
    }

    fn becomes(&self, region: &str, state: &str) {
        eventually(&format!("{region} is {state}"), PATIENCE, || (self.state(region) == state).then_some(()));
    }

    fn bounds(&self) -> (Option<f64>, Option<f64>) {
        let bound = |bound: &str| self.value("replication_lag_seconds", "there", &format!(",bound=\"{bound}\""));
        (bound("lower"), bound("upper"))
    }

    /// The number of the token at a server.
    fn token(&self, server: &Postgres) -> String {
        server.ask("SELECT sequence FROM regionwatch_tokens").unwrap()
    }
}

/// The state of the replica's lag, by the test's own writes and reads and its own clock: the age of the oldest row that is
/// missing there, at least and at most.
fn truth(world: &World, writes: &[(u32, Instant, Instant)]) -> (Duration, Duration) {
    let before = Instant::now();
    let seen: u32 = world.replica.ask("SELECT coalesce(max(n), 0) FROM truth").unwrap().parse().unwrap();
    let after = Instant::now();
    match writes.iter().find(|(n, ..)| *n > seen) {
        Some((_, began, ended)) => (before.saturating_duration_since(*ended), after.saturating_duration_since(*began)),
        None => (Duration::ZERO, after.saturating_duration_since(writes.last().unwrap().1)),
    }
}

#[test]
fn the_lag_of_a_real_replica_is_inside_the_interval_whatever_its_engine_says() {
    let world = World::start();
    world.becomes("here", "writable");
    world.becomes("there", "caught_up");
    let mut writes = Vec::new();
    // Between two checks the test writes nothing, so what it knows is true only once that is over at the replica.
    let mut check = |stage: &str, after: u64, seconds: u64| {
        let until = Instant::now() + Duration::from_secs(after + seconds);
        let (mut truths, mut checked) = (Vec::new(), 0);
        while Instant::now() < until {
            let n = u32::try_from(writes.len()).unwrap() + 1;
            let began = Instant::now();
            world.primary.run_sql(&format!("INSERT INTO truth VALUES ({n})"));
            writes.push((n, began, Instant::now()));
            let (least, most) = truth(&world, &writes);
            truths.push((Instant::now(), least.as_secs_f64(), most.as_secs_f64()));
            let (Some(lower), Some(upper)) = world.bounds() else { continue };
            if truths[0].0.elapsed() < Duration::from_secs(after) {
                continue;
            }
            // The interval is that of a reading of the last second, or some more on a busy machine.
            let recent = truths.iter().filter(|(at, ..)| at.elapsed() < Duration::from_secs(3));
            let (least, most) =
                recent.fold((f64::MAX, 0.0), |(least, most), truth| (truth.1.min(least), truth.2.max(most)));
            // Two readings of the test lie apart.
            let slack = began.elapsed().as_secs_f64();
            assert!(lower <= most + slack && least <= upper + slack, "{stage}: {lower}..{upper} {least}..{most}");
            assert!(0.0 <= lower && lower <= upper, "{stage}: {lower}..{upper}");
            checked += 1;
        }
        assert!(checked > 3, "{stage}");
    };
    check("idle", 2, 4);

    // Delayed on purpose.
    world.replica.run_sql("ALTER SYSTEM SET recovery_min_apply_delay = '4s'");
    world.replica.run_sql("SELECT pg_reload_conf()");
    world.becomes("there", "lagging");
    check("delayed", 8, 4);
    let (lower, upper) = world.bounds();
    assert!(lower.unwrap() <= 4.1 && upper.unwrap() >= 3.9, "{lower:?} {upper:?}");
    world.replica.run_sql("ALTER SYSTEM RESET recovery_min_apply_delay");
    world.replica.run_sql("SELECT pg_reload_conf()");
    world.becomes("there", "caught_up");

    // Cut off: the engine has applied all that it has received, and says 0.
    world.way.cut(true);
    let cut = Instant::now();
    world.becomes("there", "cut_off");
    eventually("the lower bound says so", PATIENCE, || world.bounds().0.filter(|lower| *lower > 4.0));
    let (lower, upper) = world.bounds();
    assert!(lower.unwrap() <= cut.elapsed().as_secs_f64() + 0.1, "{lower:?} {upper:?}");
    assert!(upper.unwrap() >= lower.unwrap());
    assert_eq!(world.value("engine_lag_seconds", "there", ""), Some(0.0));
    world.way.cut(false);
    world.becomes("there", "caught_up");

    world.replica.run_sql("SELECT pg_wal_replay_pause()");
    world.becomes("there", "not_replicating");
    world.replica.run_sql("SELECT pg_wal_replay_resume()");
    world.becomes("there", "caught_up");
    check("resumed", 2, 4);
}

#[test]
fn nothing_is_written_while_two_servers_take_writes_and_the_new_primary_gets_tokens_afterwards() {
    let world = World::start();
    world.becomes("there", "caught_up");
    world.replica.run_sql("SELECT pg_promote()");
    eventually("both take writes", PATIENCE, || {
        let writable = |region: &str| world.value("writable", region, "") == Some(1.0);
        (writable("here") && writable("there")).then_some(())
    });
    // What was under way when both were seen to.
    thread::sleep(Duration::from_secs(2));
    let before = (world.token(&world.primary), world.token(&world.replica));
    thread::sleep(Duration::from_secs(4));
    assert_eq!((world.token(&world.primary), world.token(&world.replica)), before);
    world.primary.kill();
    let grown = || Some(world.token(&world.replica)).filter(|token| *token != before.1);
    eventually("the new primary gets tokens", PATIENCE + Duration::from_secs(10), grown);
    world.becomes("here", "unknown");
    world.becomes("there", "writable");
}

#[test]
fn a_table_that_is_missing_is_one_line_with_the_command_that_helps() {
    let server = Postgres::start("host all regionwatch 127.0.0.1/32 trust\n", &[]);
    server.run_sql("CREATE ROLE regionwatch LOGIN");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("regionwatch.yaml");
    let page = free();
    let text = format!(
        "region: here\nlisten: {page}\ndatabases:\n  - name: orders\n    kind: postgres\n    user: regionwatch\n    \
         database: postgres\n    table: public.tokens\n    servers: [{{region: here, host: 127.0.0.1, port: {0}}}]\npeers:\n  \
         - region: there\n    targets:\n      - {{host: 127.0.0.1, probes: [{{kind: tcp, port: {0}}}]}}\n",
        server.addr.port(),
    );
    std::fs::write(&file, text).unwrap();
    let instance = sidecar(&["run", "--config", file.to_str().unwrap()], &[], page);
    let help = "regionwatch sql postgres --role regionwatch --table public.tokens";
    eventually("the log says what to do", PATIENCE, || instance.said().contains(help).then_some(()));
    thread::sleep(Duration::from_secs(3));
    assert_eq!(instance.said().matches(help).count(), 1, "{}", instance.said());
    let check = || {
        let check =
            Command::new(binary()).args(["check", "--probe", "--config", file.to_str().unwrap()]).output().unwrap();
        let text = String::from_utf8(check.stdout).unwrap();
        text.lines().find(|line| line.starts_with("here")).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(check(), "here orders postgres status - SQLSTATE 42P01 from 127.0.0.1");
    // The role exists already, so its line is left out.
    let sql = Command::new(binary()).args(["sql", "postgres", "--table", "public.tokens"]).output().unwrap();
    let sql = String::from_utf8(sql.stdout).unwrap();
    server.run_sql(&sql.lines().filter(|line| !line.starts_with("CREATE ROLE")).collect::<Vec<_>>().join("\n"));
    eventually("tokens are written", PATIENCE, || {
        server.ask("SELECT count(*) FROM public.tokens").filter(|count| count == "1")
    });
    assert!(check().starts_with("here orders postgres ok "), "{}", check());
    eventually("the log says so", PATIENCE, || instance.said().contains("public.tokens can be used now").then_some(()));
}
