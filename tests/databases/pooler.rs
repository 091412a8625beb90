//! PostgreSQL behind PgBouncer, which gives each transaction another connection.

use std::{fs, net::SocketAddr, process::Child, time::Duration};

use regionwatch::model::{Failure, StampSource};
use testkit::{
    needs::{Need::Tool, require},
    postgres::{Postgres, as_user, token_tables},
    probing::{phases, probing},
    process::{eventually, free, get, sidecar, write},
};

/// In transaction mode, before a server.
struct Pooler {
    addr: SocketAddr,
    child: Child,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pooler {
    /// It knows this user, by the password `hunter2`.
    fn before(server: &Postgres, user: &str) -> Self {
        require(&[Tool("pgbouncer")]);
        let addr = free();
        let config = server.data().join("pgbouncer.ini");
        let (port, back) = (addr.port(), server.addr.port());
        server.file("users", &format!("\"{user}\" \"hunter2\"\n"));
        let users = server.data().join("users");
        let text = format!(
            "[databases]\npostgres = host=127.0.0.1 port={back}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             pool_mode = transaction\nauth_type = scram-sha-256\nauth_file = {}\nunix_socket_dir =\n",
            users.display()
        );
        server.file("pgbouncer.ini", &text);
        let program = testkit::needs::program("pgbouncer").unwrap();
        let mut command = as_user(&program);
        let log = fs::File::create(server.data().join("pgbouncer.log")).unwrap();
        let command = command.arg("--quiet").arg(config).stdout(log.try_clone().unwrap()).stderr(log);
        let pooler = Self { addr, child: command.spawn().unwrap() };
        eventually("the pooler answers", Duration::from_secs(10), || std::net::TcpStream::connect(addr).ok());
        pooler
    }
}

#[test]
fn a_database_behind_poolers_gets_tokens_and_its_replica_is_caught_up() {
    require(&[Tool("pgbouncer")]);
    let primary = Postgres::start("host all regionwatch 127.0.0.1/32 trust\n", &["wal_level=replica"]);
    primary.run_sql(&token_tables(["regionwatch_tokens"]));
    let replica = Postgres::replica(primary.addr, &["hot_standby=on"]);
    let poolers = [&primary, &replica].map(|server| Pooler::before(server, "regionwatch"));
    let (folder, page) = (tempfile::tempdir().unwrap(), free());
    let [here, there] = poolers.each_ref().map(|pooler| pooler.addr.port());
    let text = format!(
        "region: here\nlisten: {page}\ndatabases:\n  - name: orders\n    kind: postgres\n    user: regionwatch\n    \
         password: hunter2\n    database: postgres\n    servers:\n      - {{region: here, host: 127.0.0.1, port: {here}}}\n      \
         - {{region: there, host: 127.0.0.1, port: {there}}}\npeers:\n  - region: there\n    targets:\n      \
         - {{host: 127.0.0.1, probes: [{{kind: tcp, port: {there}}}]}}\n"
    );
    let file = write(folder.path(), "regionwatch.yaml", &text);
    let _instance = sidecar(&["run", "--config", &file], &[], page);
    for (region, state) in [("here", "writable"), ("there", "caught_up")] {
        let series = format!("database=\"orders\",peer_region=\"{region}\",state=\"{state}\"}} 1\n");
        eventually(state, Duration::from_secs(20), || get(page, "/metrics").contains(&series).then_some(()));
    }
    // Each statement may run on another connection of the pooler, so nothing of a transaction stays behind on one.
    let open =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'regionwatch' AND state LIKE 'idle in transaction%'";
    assert_eq!(primary.ask(open).unwrap(), "0");
}

#[test]
async fn a_pooler_in_transaction_mode_is_read_through() {
    require(&[Tool("pgbouncer")]);
    let server = Postgres::start("host all all 127.0.0.1/32 trust\n", &[]);
    server.run_sql("CREATE ROLE app LOGIN");
    let pooler = Pooler::before(&server, "app");
    let port = pooler.addr.port();
    let probe = |password: &str, more: &str| {
        let probe = format!("kind: postgres, port: {port}, user: app, database: postgres, password: {password}{more}");
        probing("127.0.0.1", probe).timeout(Duration::from_secs(5))
    };
    let timings = probe("hunter2", "").succeeds().await;
    let seen = probe("hunter2", ", keep_alive: true").run(5).await;
    let wrong = probe("wrong", "").fails().await;
    assert_eq!((phases(&timings), timings.source), (vec!["connect", "auth", "read"], StampSource::Kernel));
    assert!(seen.iter().all(|seen| seen.outcome.is_ok()), "{seen:?}");
    assert_eq!(wrong, Failure::Auth);
}
