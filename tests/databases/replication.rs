//! A primary and a replica that streams from it, and an instance that writes tokens at the one and reads them at the other.

use std::{process::Command, thread, time::Duration};

use testkit::{
    binary,
    postgres::{Postgres, token_tables},
    process::eventually,
    way::Way,
};
use tokio::time::Instant;

use crate::scene::{Instance, PATIENCE, Truth};

/// The query of postgres_exporter (collector/pg_replication.go).
const EXPORTER: &str = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 0 \
    WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
    ELSE GREATEST(0, EXTRACT(EPOCH FROM (now() - pg_last_xact_replay_timestamp()))) END";

struct World {
    primary: Postgres,
    way: Way,
    replica: Postgres,
    instance: Instance,
}

impl World {
    fn start() -> Self {
        let primary = Postgres::start("host all regionwatch 127.0.0.1/32 trust\n", &["wal_level=replica"]);
        primary.run_sql(&token_tables(["regionwatch_tokens"]));
        // What the test itself writes, and looks for.
        primary.run_sql("CREATE TABLE truth (n int)");
        let way = Way::to(primary.addr);
        let replica = Postgres::replica(way.addr, &["hot_standby=on"]);
        let login = "kind: postgres\n    user: regionwatch\n    database: postgres";
        let instance = Instance::start(login, primary.addr, replica.addr);
        Self { primary, way, replica, instance }
    }

    /// What postgres_exporter says of the replica.
    fn exporter(&self) -> f64 {
        self.replica.ask(EXPORTER).unwrap().parse().unwrap()
    }

    /// A row of the table in docs/databases.md.
    fn row(&self, what: &str) {
        let bounds = |bound: Option<f64>| bound.map_or_else(|| "none".to_owned(), |bound| format!("{bound:.1} s"));
        let ((lower, upper), state) = (self.instance.bounds(), self.instance.state("there"));
        println!("| {what} | `{state}` | {} to {} | {:.1} s |", bounds(lower), bounds(upper), self.exporter());
    }

    fn reload(&self, server: &Postgres, setting: &str) {
        server.run_sql(&format!("ALTER SYSTEM {setting}"));
        server.run_sql("SELECT pg_reload_conf()");
    }
}

/// The number of the token at a server.
fn token(server: &Postgres) -> u64 {
    server.ask("SELECT sequence FROM regionwatch_tokens").unwrap().parse().unwrap()
}

#[test]
fn the_lag_of_a_real_replica_is_inside_the_interval_whatever_its_engine_says() {
    let world = World::start();
    world.instance.becomes("here", "writable");
    world.instance.becomes("there", "caught_up");
    let mut truth = Truth::default();
    let mut check = |stage: &str, after: u64, seconds: u64| {
        let write = |n| world.primary.run_sql(&format!("INSERT INTO truth VALUES ({n})"));
        let read = || world.replica.ask("SELECT coalesce(max(n), 0) FROM truth").unwrap().parse().unwrap();
        truth.check(stage, (after, seconds), &world.instance, write, read);
    };
    check("idle", 2, 4);
    world.row("idle primary");

    // Delayed on purpose.
    world.reload(&world.replica, "SET recovery_min_apply_delay = '4s'");
    world.instance.becomes("there", "lagging");
    check("delayed", 8, 4);
    let (lower, upper) = world.instance.bounds();
    assert!(lower.unwrap() <= 4.1 && upper.unwrap() >= 3.9, "{lower:?} {upper:?}");
    // Here the engine tells the truth, because what it has received is what it has not applied.
    assert!(world.exporter() > 3.0, "{}", world.exporter());
    world.row("`recovery_min_apply_delay = 4s`");
    world.reload(&world.replica, "RESET recovery_min_apply_delay");
    world.instance.becomes("there", "caught_up");

    // Cut off: the engine has applied all that it has received, and says 0.
    world.way.cut(true);
    let cut = Instant::now();
    world.instance.becomes("there", "cut_off");
    world.instance.falls_behind(4.0);
    let (lower, upper) = world.instance.bounds();
    assert!(lower.unwrap() <= cut.elapsed().as_secs_f64() + 0.1, "{lower:?} {upper:?}");
    assert!(upper.unwrap() >= lower.unwrap());
    assert_eq!((world.instance.value("engine_lag_seconds", "there", ""), world.exporter()), (Some(0.0), 0.0));
    world.row("its network is cut, after 4 s");
    world.way.cut(false);
    world.instance.becomes("there", "caught_up");

    world.replica.run_sql("SELECT pg_wal_replay_pause()");
    world.instance.becomes("there", "not_replicating");
    eventually("the lower bound grows", PATIENCE, || world.instance.bounds().0.filter(|lower| *lower > 4.0));
    assert!(world.exporter() > 3.0, "{}", world.exporter());
    world.row("`pg_wal_replay_pause()`, after 4 s");
    world.replica.run_sql("SELECT pg_wal_replay_resume()");
    world.instance.becomes("there", "caught_up");
    check("resumed", 2, 4);

    // All that it has received is applied, so the query says 0.
    world.primary.kill();
    world.instance.becomes("there", "unknown");
    assert_eq!(world.exporter(), 0.0);
    world.row("the primary is gone");
    world.replica.run_sql("SELECT pg_promote()");
    world.instance.becomes("there", "writable");
    assert_eq!((world.instance.bounds(), world.exporter()), ((None, None), 0.0));
    world.row("promoted");
}

#[test]
fn a_synchronous_replica_is_never_behind_and_its_silence_stops_the_tokens_instead() {
    let world = World::start();
    world.instance.becomes("there", "caught_up");
    // Only now: what is written before there is a replica would wait for one.
    world.reload(&world.primary, "SET synchronous_commit = remote_apply");
    world.reload(&world.primary, "SET synchronous_standby_names = '*'");
    let is_synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    eventually("it is synchronous", PATIENCE, || world.primary.ask(is_synchronous).filter(|count| count == "1"));
    // Tokens that were on their way.
    thread::sleep(Duration::from_secs(3));
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let (lower, upper) = world.instance.bounds();
        assert_eq!(lower, Some(0.0), "what is acknowledged is there");
        assert!(upper.is_some_and(|upper| upper < 10.0), "{upper:?}");
        thread::sleep(Duration::from_millis(50));
    }
    world.row("synchronous, `remote_apply`");

    // The primary acknowledges nothing now, so nothing is missing that was acknowledged, and it is unknown if something will be.
    world.way.cut(true);
    world.instance.becomes("there", "unknown");
    let (lower, upper) = world.instance.bounds();
    assert!(lower.is_none() && upper.is_some(), "{lower:?} {upper:?}");
    let timeouts = || {
        let page = world.instance.page();
        let start = "regionwatch_database_probes_total{vantage_region=\"here\",database=\"orders\",peer_region=\"here\",result=\"timeout\"} ";
        page.lines().find_map(|line| line.strip_prefix(start)?.parse::<f64>().ok()).filter(|count| *count >= 2.0)
    };
    eventually("writes time out", PATIENCE, timeouts);
    assert_eq!((world.instance.state("there"), world.instance.bounds().0), ("unknown".to_owned(), None));
    world.row("synchronous, its network is cut");
    world.way.cut(false);
    world.instance.becomes("there", "caught_up");
}

#[test]
fn nothing_is_written_while_two_servers_take_writes_and_the_new_primary_gets_tokens_afterwards() {
    let world = World::start();
    world.instance.becomes("there", "caught_up");
    world.replica.run_sql("SELECT pg_promote()");
    let tokens: [&dyn Fn() -> u64; 2] = [&|| token(&world.primary), &|| token(&world.replica)];
    world.instance.writes_to_neither_and_then_to_the_one_that_stays(tokens, || world.primary.kill());
}

#[test]
fn a_table_that_is_missing_is_one_line_with_the_command_that_helps() {
    let server = Postgres::start("host all regionwatch 127.0.0.1/32 trust\n", &[]);
    server.run_sql("CREATE ROLE regionwatch LOGIN");
    let login = "kind: postgres\n    user: regionwatch\n    database: postgres\n    table: public.tokens";
    let instance = Instance::alone(login, server.addr);
    instance.says("regionwatch sql postgres --role regionwatch --table public.tokens", 1);
    assert_eq!(instance.check(), "here orders postgres status - SQLSTATE 42P01 from 127.0.0.1");
    // The role exists already, so its line is left out.
    let sql = Command::new(binary()).args(["sql", "postgres", "--table", "public.tokens"]).output().unwrap();
    let sql = String::from_utf8(sql.stdout).unwrap();
    server.run_sql(&sql.lines().filter(|line| !line.starts_with("CREATE ROLE")).collect::<Vec<_>>().join("\n"));
    eventually("tokens are written", PATIENCE, || {
        server.ask("SELECT count(*) FROM public.tokens").filter(|count| count == "1")
    });
    assert!(instance.check().starts_with("here orders postgres ok "), "{}", instance.check());
    eventually("the log says so", PATIENCE, || instance.said().contains("public.tokens can be used now").then_some(()));
}
