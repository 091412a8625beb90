//! Two Redis servers, of which one replicates from the other, and an instance that writes tokens at the one and reads them at
//! the other.

use std::{
    process::{Command, Output},
    thread,
    time::Duration,
};

use testkit::{
    binary,
    process::{eventually, free},
    redis::Redis,
    way::Way,
};
use tokio::time::Instant;

use crate::scene::{Instance, PATIENCE, Truth};

const LOGIN: &str = "kind: redis\n    user: regionwatch\n    password: hunter2\n    cleartext: true";
const STREAM: &str = "regionwatch:token:here";

/// As an administrator gives the user its password.
const PASSWORD: &str = "ACL SETUSER regionwatch on >hunter2";

fn sql(arguments: &[&str]) -> Output {
    Command::new(binary()).args(["sql", "redis"]).args(arguments).output().unwrap()
}

/// What an administrator runs, at every server.
fn setup() -> String {
    let sql = sql(&[]);
    assert!(sql.status.success());
    String::from_utf8(sql.stdout).unwrap()
}

struct World {
    primary: Redis,
    way: Way,
    replica: Redis,
    instance: Instance,
}

impl World {
    fn start() -> Self {
        let primary = Redis::start(&[]);
        let way = Way::to(primary.addr);
        let replica = Redis::replica(way.addr, &[]);
        for server in [&primary, &replica] {
            server.run(&setup());
            server.run(PASSWORD);
        }
        let instance = Instance::start(LOGIN, primary.addr, replica.addr);
        instance.becomes("here", "writable");
        instance.becomes("there", "caught_up");
        Self { primary, way, replica, instance }
    }

    /// The lag of the replica by the words of the primary, which redis_exporter shows: how long ago it acknowledged.
    fn acknowledged(&self) -> Option<String> {
        let info = self.primary.ask("INFO replication").unwrap();
        let replica = info.lines().find(|line| line.starts_with("slave0:"))?;
        Some(replica.trim().rsplit_once("lag=")?.1.to_owned())
    }

    /// A line of the replica's own words.
    fn link(&self, name: &str) -> String {
        let info = self.replica.ask("INFO replication").unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or("none").trim().to_owned()
    }

    /// A row of the table in docs/databases.md.
    fn row(&self, what: &str) {
        let bounds = |bound: Option<f64>| bound.map_or_else(|| "none".to_owned(), |bound| format!("{bound:.1} s"));
        let ((lower, upper), state) = (self.instance.bounds(), self.instance.state("there"));
        println!(
            "| {what} | `{state}` | {} to {} | lag={} | {} {} |",
            bounds(lower),
            bounds(upper),
            self.acknowledged().unwrap_or_default(),
            self.link("master_link_status"),
            self.link("master_last_io_seconds_ago"),
        );
    }
}

/// The number of the last token at a server.
fn token(server: &Redis) -> u64 {
    let entry = server.ask(&format!("XREVRANGE {STREAM} + - COUNT 1")).unwrap();
    entry.lines().last().unwrap().parse().unwrap()
}

#[test]
fn the_lag_of_a_real_replica_is_inside_the_interval_whatever_its_engine_says() {
    let world = World::start();
    let World { way, primary, replica, instance } = &world;
    let mut truth = Truth::default();
    let mut check = |stage: &str, after: u64, seconds: u64| {
        let write = |n| primary.run(&format!("SET truth {n}"));
        let read = || replica.ask("GET truth").unwrap().parse().unwrap_or(0);
        truth.check(stage, (after, seconds), instance, write, read);
    };
    check("idle", 2, 4);
    world.row("idle primary");

    // Everything takes long on the way, so the replica goes on, and is behind.
    way.delay(Duration::from_secs(4));
    instance.becomes("there", "lagging");
    check("delayed", 8, 4);
    let (lower, upper) = instance.bounds();
    assert!(lower.unwrap() <= 4.5 && upper.unwrap() >= 3.9, "{lower:?} {upper:?}");
    world.row("what it receives is 4 s old");
    way.delay(Duration::ZERO);
    instance.becomes("there", "caught_up");

    // Cut off: either side believes to be connected.
    way.cut(true);
    let cut = Instant::now();
    instance.becomes("there", "cut_off");
    instance.falls_behind(4.0);
    let (lower, upper) = instance.bounds();
    assert!(lower.unwrap() <= cut.elapsed().as_secs_f64() + 0.1, "{lower:?} {upper:?}");
    assert!(upper.unwrap() >= lower.unwrap());
    assert_eq!(world.link("master_link_status"), "up");
    // It says how long nothing has come, and not how far it is behind.
    assert_eq!(instance.value("engine_lag_seconds", "there", ""), None);
    world.row("its network is cut, after 4 s");
    way.cut(false);
    instance.becomes("there", "caught_up");

    // Its link is down, as it knows.
    replica.run(&format!("REPLICAOF 127.0.0.1 {}", free().port()));
    instance.becomes("there", "not_replicating");
    instance.falls_behind(2.0);
    assert_eq!(world.link("master_link_status"), "down");
    world.row("its link is down, after 2 s");
    replica.run(&format!("REPLICAOF 127.0.0.1 {}", way.addr.port()));
    instance.becomes("there", "caught_up");
    check("resumed", 2, 4);

    // One stream for each vantage, which stays short.
    assert_eq!(primary.ask("KEYS regionwatch:*").unwrap(), STREAM);
    assert_eq!(primary.ask(&format!("XLEN {STREAM}")).unwrap(), "8");

    replica.run("REPLICAOF NO ONE");
    instance.becomes("there", "writable");
    assert_eq!(instance.bounds(), (None, None));
}

#[test]
fn after_a_switchover_the_old_primary_replicates_and_was_written_nothing_of_its_own() {
    let world = World::start();
    let World { primary, replica, instance, .. } = &world;
    primary.run(&format!("FAILOVER TO 127.0.0.1 {}", replica.addr.port()));
    instance.becomes("here", "caught_up");
    instance.becomes("there", "writable");
    let before = token(replica);
    eventually("the new primary gets tokens", PATIENCE, || (token(replica) > before).then_some(()));
    // With anything that the new primary does not have, the old one would have had to copy all data.
    let copies = replica.ask("INFO stats").unwrap();
    assert!(copies.contains("sync_full:0") && copies.contains("sync_partial_ok:1"), "{copies}");
}

#[test]
fn nothing_is_written_while_two_servers_take_writes_and_the_new_primary_gets_tokens_afterwards() {
    let world = World::start();
    let World { primary, replica, instance, .. } = &world;
    replica.run("REPLICAOF NO ONE");
    let tokens: [&dyn Fn() -> u64; 2] = [&|| token(primary), &|| token(replica)];
    instance.writes_to_neither_and_then_to_the_one_that_stays(tokens, || primary.kill());
}

#[test]
fn two_instances_of_a_region_do_not_hide_each_others_tokens() {
    let world = World::start();
    let World { primary, replica, instance, .. } = &world;
    let other = Instance::start(LOGIN, primary.addr, replica.addr);
    other.becomes("there", "caught_up");
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        for instance in [instance, &other] {
            let (lower, upper) = instance.bounds();
            assert!(lower.is_some_and(|lower| lower < 3.0) && upper.is_some(), "{lower:?} {upper:?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_user_has_the_rights_that_are_printed_and_no_other() {
    let server = Redis::start(&[]);
    server.run("SET private 1");
    server.run(&setup());
    let ask = |words: &[&str]| server.ask_as("regionwatch", "hunter2", words);
    assert!(ask(&["PING"]).unwrap_err().contains("WRONGPASS"), "it cannot log in before it has a password");
    server.run(PASSWORD);
    for allowed in [
        &["PING"][..],
        &["ROLE"],
        &["XADD", STREAM, "MAXLEN", "8", "*", "1", "2"],
        &["XREVRANGE", STREAM, "+", "-", "COUNT", "8"],
    ] {
        assert!(ask(allowed).is_ok(), "{allowed:?}: {:?}", ask(allowed));
    }
    for denied in [
        &["XADD", "private", "*", "1", "2"][..],
        &["XREVRANGE", "private", "+", "-"],
        &["GET", STREAM],
        &["DEL", STREAM],
        &["KEYS", "*"],
        &["CONFIG", "GET", "*"],
        &["LASTSAVE"],
        &["REPLICAOF", "NO", "ONE"],
        &["FLUSHALL"],
    ] {
        assert!(ask(denied).unwrap_err().contains("NOPERM"), "{denied:?}");
    }
    // It adds rights and takes none, so it does no harm to a user that has others.
    server.run("ACL SETUSER app on nopass ~private +get");
    server.run(&String::from_utf8(sql(&["--role", "app"]).stdout).unwrap());
    assert_eq!(server.ask_as("app", "any", &["GET", "private"]).unwrap(), "1");
    // What is printed for a person is no part of what is run.
    let printed = sql(&["--role", "app"]);
    assert_eq!(printed.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert!(String::from_utf8(printed.stderr).unwrap().contains("ACL SETUSER app on >PASSWORD"));
    for wrong in ["default", "a b", "a;"] {
        let refused = sql(&["--role", wrong]);
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(64), 0), "{wrong}");
    }
}

#[test]
fn a_right_that_is_missing_is_one_line_with_the_command_that_helps() {
    let server = Redis::start(&[]);
    server.run(PASSWORD);
    let instance = Instance::alone(LOGIN, server.addr);
    let help = "gives no right to the key regionwatch:token:*; run at each server what this prints: \
                regionwatch sql redis --role regionwatch";
    instance.says(help, 1);
    assert_eq!(instance.check(), "here orders redis auth - Redis error NOPERM from 127.0.0.1");
    server.run(&setup());
    eventually("tokens are written", PATIENCE, || {
        server.ask(&format!("XLEN {STREAM}")).filter(|count| count != "0" && count != "1")
    });
    assert!(instance.check().starts_with("here orders redis ok "), "{}", instance.check());
    instance.says("the key regionwatch:token:* can be used now", 1);
    // Who may do everything has too many rights, which count from the next login on.
    assert!(!instance.said().contains("superuser"), "{}", instance.said());
    server.run("ACL SETUSER regionwatch +@all ~*\nCLIENT KILL USER regionwatch");
    instance.says("the role is a superuser, and needs one key only; regionwatch sql redis prints its rights", 1);
}
