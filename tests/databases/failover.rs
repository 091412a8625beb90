//! A region goes down with its primary: where to fail over, what that would lose, and what it has lost.

use std::{fs, process::Command, sync::Arc, thread, time::Duration};

use testkit::{
    binary,
    postgres::Postgres,
    regions::{World, process::wait_for, region::Plan},
    sink::Call,
    space::Host,
};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(40);

/// By this port of its host the replica reaches the primary, and nothing else does. So replication alone can be cut.
const REPLICATION: u16 = 5433;

/// A server in the network of a region.
struct Server {
    postgres: Arc<Postgres>,
}

impl Server {
    fn start(host: &Host, make: impl FnOnce() -> Postgres + Send + 'static) -> Self {
        Self { postgres: Arc::new(host.run(make)) }
    }

    fn ask(&self, host: &Host, sql: &str) -> Option<String> {
        let (postgres, sql) = (Arc::clone(&self.postgres), sql.to_owned());
        host.run(move || postgres.ask(&sql))
    }

    /// The numbers of the tokens there, by vantage.
    fn tokens(&self, host: &Host) -> Vec<(String, u64)> {
        let rows = self.ask(host, "SELECT vantage, sequence FROM regionwatch_tokens ORDER BY vantage").unwrap();
        let row = |line: &str| {
            let (vantage, sequence) = line.split_once('|').unwrap();
            (vantage.to_owned(), sequence.parse().unwrap())
        };
        rows.lines().map(row).collect()
    }

    fn token(&self, host: &Host, vantage: char) -> u64 {
        let tokens = self.tokens(host);
        tokens.iter().find(|(name, _)| *name == vantage.to_string()).unwrap().1
    }

    fn kill(&self, host: &Host) {
        let postgres = Arc::clone(&self.postgres);
        host.run(move || postgres.kill());
    }
}

/// Three regions, with the primary in `c` and a replica in `a`.
struct Scene {
    primary: Server,
    replica: Server,
    world: World,
}

impl Scene {
    fn start(rpo: &str) -> Self {
        let mut world = World::new(&Plan::default());
        let access = "host all,replication all 10.0.0.0/8 trust\n";
        let primary = Server::start(&world.region('c').host, move || {
            let server = Postgres::start(access, &["listen_addresses=0.0.0.0"]);
            let sql = Command::new(binary()).args(["sql", "postgres"]).output().unwrap();
            server.run_sql(&String::from_utf8(sql.stdout).unwrap());
            server.run_sql("CREATE TABLE truth (n int)");
            server
        });
        let port = primary.postgres.addr.port();
        let redirect =
            format!("iptables -w -t nat -A PREROUTING -p tcp --dport {REPLICATION} -j REDIRECT --to-ports {port}");
        world.region('c').host.command(&redirect, "");
        let replica = Server::start(&world.region('a').host, || {
            Postgres::replica(([10, 0, 3, 2], REPLICATION).into(), &["listen_addresses=0.0.0.0"])
        });
        let databases = format!(
            "databases:\n  - name: orders\n    kind: postgres\n    user: regionwatch\n    database: postgres\n    rpo: {rpo}\n    \
             servers:\n      - {{region: c, host: 10.0.3.2, port: {port}}}\n      \
             - {{region: a, host: 10.0.1.2, port: {}}}\n",
            replica.postgres.addr.port()
        );
        for region in ['a', 'b', 'c'] {
            let region = world.region_mut(region);
            let text = fs::read_to_string(&region.config).unwrap();
            fs::write(&region.config, text + &databases).unwrap();
            region.start();
        }
        let scene = Self { primary, replica, world };
        for vantage in ['a', 'b', 'c'] {
            wait_for(&format!("{vantage} to know the loss"), PATIENCE, || {
                let upper = scene.loss(vantage, "upper")?;
                let region = scene.world.region(vantage);
                let healthy = ['a', 'b', 'c'].iter().filter(|peer| **peer != vantage);
                let healthy = healthy.filter(|peer| region.state_of(**peer).as_deref() == Some("healthy")).count();
                (upper < 3.0 && healthy == 2).then_some(())
            });
        }
        scene
    }

    /// What a failover to `a` would lose.
    fn loss(&self, vantage: char, bound: &str) -> Option<f64> {
        let labels = ["peer_region=\"a\"", &format!("bound=\"{bound}\"")];
        self.world.region(vantage).value("database_rpo_seconds", &labels)
    }

    fn host(&self, region: char) -> &Host {
        &self.world.region(region).host
    }

    fn cut_replication(&self) {
        self.world.forward_all(&["--dport", "--sport"].map(|port| format!("-p tcp {port} {REPLICATION} -j DROP")));
    }

    fn reason(&self, vantage: char, peer: char) -> Option<f64> {
        let labels = [format!("peer_region=\"{peer}\""), "reason=\"rpo\"".to_owned()];
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        self.world.region(vantage).value("candidate_ineligible", &labels)
    }
}

/// The bounds of an annotation such as `0.8s..1.9s`.
fn bounds(text: &str) -> (f64, f64) {
    let parsed =
        text.split_once("..").map(|(lower, upper)| [lower, upper].map(|text| text.trim_end_matches('s').parse()));
    match parsed {
        Some([Ok(lower), Ok(upper)]) => (lower, upper),
        _ => panic!("{text:?}"),
    }
}

#[test]
fn the_target_is_within_its_rpo_the_estimate_holds_and_what_was_lost_is_counted() {
    let scene = Scene::start("20s");
    let world = &scene.world;
    // In the region of the primary, `b` is no target: it has no server.
    assert_eq!((scene.reason('c', 'a'), scene.reason('c', 'b')), (Some(0.0), Some(1.0)));
    scene.cut_replication();
    let cut = Instant::now();
    let mut writes = Vec::new();
    while cut.elapsed() < 4 * SECOND {
        let (n, began) = (writes.len() + 1, Instant::now());
        scene.primary.ask(scene.host('c'), &format!("INSERT INTO truth VALUES ({n})")).unwrap();
        writes.push((began, Instant::now()));
    }
    let before = ['a', 'b'].map(|vantage| scene.primary.token(scene.host('c'), vantage));
    let died = world.blackhole('c');
    // The network goes away at some moment in between.
    let dead = Instant::now();
    world.webhook('c', "prepare firing", died, 10 * SECOND);
    let order: Call = world.webhook('c', "execute firing", died, 30 * SECOND);
    assert_eq!(order.annotation("failover_target"), "a", "{order:?}");

    // What has arrived at the replica is there; the rest is lost. The test knows when it wrote the first row that is.
    let seen: usize = scene.replica.ask(scene.host('a'), "SELECT count(*) FROM truth").unwrap().parse().unwrap();
    let (began, ended) = writes[seen];
    let least = died.saturating_duration_since(ended).as_secs_f64();
    let most = dead.saturating_duration_since(began).as_secs_f64();
    assert!(least > 2.0, "replication was cut for {least} s only");
    let (lower, upper) = bounds(order.annotation("rpo_estimate"));
    // The annotation has tenths of a second.
    assert!(lower <= most + 0.1 && upper >= least, "{lower}..{upper} s, and {least}..{most} s were lost");
    // And it stays as of the onset, however long the outage is.
    let early = ['a', 'b'].map(|vantage| scene.loss(vantage, "upper").unwrap());
    thread::sleep(3 * SECOND);
    for (vantage, early) in ['a', 'b'].into_iter().zip(early) {
        let now = scene.loss(vantage, "upper").unwrap();
        assert!(now < early + 1.0, "{vantage}: {now} s, and {early} s before");
    }

    let lost = ['a', 'b'].map(|vantage| {
        let there = scene.primary.token(scene.host('c'), vantage);
        (there, there - scene.replica.token(scene.host('a'), vantage))
    });
    scene.replica.ask(scene.host('a'), "SELECT pg_promote()").unwrap();
    for ((vantage, (there, lost)), before) in ['a', 'b'].into_iter().zip(lost).zip(before) {
        let counted = wait_for(&format!("{vantage} to count"), PATIENCE, || {
            world.region(vantage).any_value("database_lost_tokens", &["peer_region=\"a\""])
        });
        // One write may have arrived whose acknowledgement did not.
        let most = lost as f64;
        let least = most - if there > before { 1.0 } else { 0.0 };
        assert!(
            (least..=most).contains(&counted) && counted >= 2.0,
            "{vantage}: {counted}, and {least}..{most} are lost"
        );
    }
    let realised = wait_for("the alert to say so", PATIENCE, || {
        let alerts = world.alertmanagers[0].alerts(&world.control, 'c');
        let said = |alert: &serde_json::Value| Some(alert["annotations"]["rpo_realised"].as_str()?.to_owned());
        alerts.iter().find_map(said)
    });
    assert!(realised.contains(" tokens, "), "{realised}");

    // The old primary is back, alone, and takes writes. It gets no token, which would keep it from returning as a replica.
    world.mend();
    scene.replica.kill(scene.host('a'));
    let others = |tokens: Vec<(String, u64)>| tokens.into_iter().filter(|(name, _)| name != "c").collect::<Vec<_>>();
    let tokens = others(scene.primary.tokens(scene.host('c')));
    for vantage in ['a', 'b'] {
        wait_for(&format!("{vantage} to read it"), PATIENCE, || {
            let writable = world.region(vantage).value("database_writable", &["peer_region=\"c\""]);
            writable.filter(|writable| *writable == 1.0)
        });
    }
    // For some rounds of reading and writing.
    thread::sleep(10 * SECOND);
    assert_eq!(others(scene.primary.tokens(scene.host('c'))), tokens);
}

#[test]
fn a_region_that_would_lose_more_than_the_rpo_is_no_target_and_nothing_is_ordered() {
    let scene = Scene::start("5s");
    scene.cut_replication();
    wait_for("the loss to be too great", PATIENCE, || scene.loss('b', "lower").filter(|lower| *lower > 6.0));
    // Each vantage has its own bounds.
    wait_for("c to see it", PATIENCE, || scene.reason('c', 'a').filter(|reason| *reason == 1.0));
    let died = scene.world.blackhole('c');
    let call = scene.world.webhook('c', "prepare firing", died, 10 * SECOND);
    assert_eq!(call.annotation("failover_target"), "", "{call:?}");
    thread::sleep(10 * SECOND);
    assert!(scene.world.story().iter().all(|(_, kind)| kind == "prepare firing"), "{:?}", scene.world.story());
    for vantage in ['a', 'b'] {
        let labels = ["peer_region=\"c\"", "reason=\"no_target\""];
        let blocked = || scene.world.region(vantage).value("failover_blocked", &labels).filter(|value| *value == 1.0);
        wait_for(&format!("{vantage} to say why"), PATIENCE, blocked);
    }
}
