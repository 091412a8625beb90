//! Two MariaDB servers, of which one replicates from the other, and an instance that writes tokens at the one and reads them
//! at the other.

use std::{process::Command, thread, time::Duration};

use testkit::{binary, mariadb::Mariadb, process::eventually, way::Way};
use tokio::time::Instant;

use crate::scene::{Instance, PATIENCE, Truth};

/// What an administrator runs, in the database `shop`.
fn setup() -> String {
    let sql = Command::new(binary()).args(["sql", "mysql"]).output().unwrap();
    assert!(sql.status.success());
    format!("USE shop;\n{}", String::from_utf8(sql.stdout).unwrap())
}

struct World {
    primary: Mariadb,
    way: Way,
    replica: Mariadb,
    instance: Instance,
}

impl World {
    fn start() -> Self {
        let logs = ["log_bin=binlog", "log_slave_updates=ON", "gtid_strict_mode=ON"];
        let primary = Mariadb::start(&[&logs[..], &["server_id=1"]].concat());
        primary.run_sql("CREATE DATABASE shop; CREATE USER replication; GRANT REPLICATION SLAVE ON *.* TO replication");
        primary.run_sql(&setup());
        primary.run_sql("ALTER USER regionwatch IDENTIFIED BY 'hunter2' ACCOUNT UNLOCK");
        // What the test itself writes, and looks for.
        primary.run_sql("CREATE TABLE shop.truth (n int)");
        let way = Way::to(primary.addr);
        let replica = Mariadb::start(&[&logs[..], &["server_id=2", "read_only=ON"]].concat());
        replica.replicate(way.addr);
        let login = "kind: mysql\n    user: regionwatch\n    password: hunter2\n    database: shop";
        let instance = Instance::start(login, primary.addr, replica.addr);
        instance.becomes("here", "writable");
        instance.becomes("there", "caught_up");
        Self { primary, way, replica, instance }
    }

    /// Makes the replica a primary, whatever the other one is.
    fn promote(&self) {
        self.replica.run_sql("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = OFF");
    }
}

/// The number of the token at a server.
fn token(server: &Mariadb) -> u64 {
    server.ask("SELECT sequence FROM shop.regionwatch_tokens").unwrap().parse().unwrap()
}

/// The last transactions of a server, by who made them: `0-1-17` is the 17th, made by the server 1.
fn transactions(server: &Mariadb, made_by: u32) -> Option<String> {
    let state = server.ask("SELECT @@global.gtid_binlog_state").unwrap();
    state.split(',').find(|gtid| gtid.starts_with(&format!("0-{made_by}-"))).map(ToOwned::to_owned)
}

#[test]
fn the_lag_of_a_real_replica_is_inside_the_interval_whatever_its_engine_says() {
    let world = World::start();
    let World { way, replica, instance, .. } = &world;
    let mut truth = Truth::default();
    let mut check = |stage: &str, after: u64, seconds: u64| {
        let write = |n| world.primary.run_sql(&format!("INSERT INTO shop.truth VALUES ({n})"));
        let read = || replica.ask("SELECT coalesce(max(n), 0) FROM shop.truth").unwrap().parse().unwrap();
        truth.check(stage, (after, seconds), instance, write, read);
    };
    check("idle", 2, 4);

    // Delayed on purpose, by whole seconds of the primary's clock.
    replica.run_sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 4; START SLAVE");
    instance.becomes("there", "lagging");
    check("delayed", 8, 4);
    let (lower, upper) = instance.bounds();
    assert!(lower.unwrap() <= 5.1 && upper.unwrap() >= 3.9, "{lower:?} {upper:?}");
    replica.run_sql("STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 0; START SLAVE");
    instance.becomes("there", "caught_up");

    // Cut off: the engine has applied all that it has received, and says 0.
    way.cut(true);
    let cut = Instant::now();
    instance.becomes("there", "cut_off");
    instance.falls_behind(4.0);
    let (lower, upper) = instance.bounds();
    assert!(lower.unwrap() <= cut.elapsed().as_secs_f64() + 0.1, "{lower:?} {upper:?}");
    assert!(upper.unwrap() >= lower.unwrap());
    assert_eq!(instance.value("engine_lag_seconds", "there", ""), Some(0.0));
    way.cut(false);
    instance.becomes("there", "caught_up");

    // Either of its threads is stopped. The engine then says nothing.
    for thread in ["SQL_THREAD", "IO_THREAD"] {
        replica.run_sql(&format!("STOP SLAVE {thread}"));
        instance.becomes("there", "not_replicating");
        instance.falls_behind(2.0);
        assert_eq!(instance.value("engine_lag_seconds", "there", ""), None, "{thread}");
        replica.run_sql("START SLAVE");
        instance.becomes("there", "caught_up");
    }
    check("resumed", 2, 4);
}

#[test]
fn after_a_switchover_the_old_primary_replicates_and_has_no_transaction_of_its_own() {
    let world = World::start();
    let World { primary, replica, instance, .. } = &world;
    primary.run_sql("SET GLOBAL read_only = ON");
    eventually("the old primary takes no writes", PATIENCE, || {
        (instance.value("writable", "here", "") == Some(0.0)).then_some(())
    });
    eventually("the replica has all", PATIENCE, || (token(primary) == token(replica)).then_some(()));
    let (last, ours) = (token(primary), transactions(primary, 1));
    world.promote();
    instance.becomes("there", "writable");
    eventually("the new primary gets tokens", PATIENCE, || (token(replica) > last).then_some(()));
    assert_eq!((token(primary), transactions(primary, 1)), (last, ours.clone()), "the old one gets none");
    primary.run_sql("SET GLOBAL gtid_slave_pos = @@global.gtid_binlog_pos");
    primary.replicate(replica.addr);
    instance.becomes("here", "caught_up");
    // In the strict mode, a transaction that the new primary does not have would have stopped the replication.
    assert_eq!((transactions(primary, 1), transactions(replica, 1)), (ours.clone(), ours));
    assert!(transactions(primary, 2).is_some());
}

#[test]
fn nothing_is_written_while_two_servers_take_writes_and_the_new_primary_gets_tokens_afterwards() {
    let world = World::start();
    let World { primary, replica, instance, .. } = &world;
    world.promote();
    let tokens: [&dyn Fn() -> u64; 2] = [&|| token(primary), &|| token(replica)];
    instance.writes_to_neither_and_then_to_the_one_that_stays(tokens, || primary.kill());
}

#[test]
fn a_replica_that_takes_writes_by_mistake_gets_no_token_while_it_replicates() {
    let world = World::start();
    let World { primary, replica, instance, .. } = &world;
    replica.run_sql("SET GLOBAL read_only = OFF");
    instance.both_take_writes();
    primary.kill();
    let why = "the server replicates from another one and takes writes";
    let patience = PATIENCE + Duration::from_secs(10);
    eventually("the log says why it gets none", patience, || instance.said().contains(why).then_some(()));
    thread::sleep(Duration::from_secs(3));
    assert_eq!((transactions(replica, 2), instance.said().matches(why).count()), (None, 1));
    // It is promoted, and the lost primary is forgotten.
    let last = token(replica);
    replica.run_sql("STOP SLAVE; RESET SLAVE ALL");
    eventually("it gets tokens", PATIENCE, || (token(replica) > last).then_some(()));
}

#[test]
fn a_table_or_a_right_that_is_missing_is_one_line_with_the_command_that_helps() {
    let server = Mariadb::start(&[]);
    server.run_sql("CREATE DATABASE shop; CREATE USER regionwatch");
    let login = "kind: mysql\n    user: regionwatch\n    table: shop.regionwatch_tokens";
    let instance = Instance::alone(login, server.addr);
    let help = "regionwatch sql mysql --role regionwatch --table shop.regionwatch_tokens";
    instance.says(help, 1);
    assert_eq!(instance.check(), "here orders mysql status - MySQL error 1142 from 127.0.0.1");
    // The user exists already. The last right is that to see whether the server replicates.
    let sql = setup();
    let (tables, rights): (Vec<_>, Vec<_>) = sql.lines().partition(|line| !line.contains("ON *.*"));
    server.run_sql(&tables.join("\n"));
    eventually("the log says what to do", PATIENCE, || (instance.said().matches(help).count() == 2).then_some(()));
    assert_eq!(server.ask("SELECT count(*) FROM shop.regionwatch_tokens").as_deref(), Some("0"));
    assert!(instance.check().starts_with("here orders mysql ok "), "{}", instance.check());
    server.run_sql(&rights.join("\n"));
    eventually("tokens are written", PATIENCE, || {
        server.ask("SELECT count(*) FROM shop.regionwatch_tokens").filter(|count| count == "1")
    });
    assert_eq!(instance.said().matches(help).count(), 2, "{}", instance.said());
    // Who may write in spite of read_only has too many rights, which count from the next login on.
    assert!(!instance.said().contains("superuser"), "{}", instance.said());
    server.run_sql("GRANT READ_ONLY ADMIN ON *.* TO regionwatch");
    let kept = server.ask("SELECT id FROM information_schema.processlist WHERE user = 'regionwatch'").unwrap();
    server.run_sql(&format!("KILL {kept}"));
    eventually("the log says so", PATIENCE, || instance.said().contains("the role is a superuser").then_some(()));
}
