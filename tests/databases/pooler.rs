//! PostgreSQL behind PgBouncer, which gives each transaction another connection.

use std::{fs, time::Duration};

use regionwatch::model::{Failure, StampSource};
use testkit::{
    needs::{Need::Tool, require},
    postgres::{Postgres, as_user},
    probing::{phases, probing},
    process::{eventually, free},
};

#[test]
async fn a_pooler_in_transaction_mode_is_read_through() {
    require(&[Tool("pgbouncer")]);
    let server = Postgres::start("host all all 127.0.0.1/32 trust\n", &[]);
    server.run_sql("CREATE ROLE app LOGIN");
    let addr = free();
    let config = server.data().join("pgbouncer.ini");
    let (port, back) = (addr.port(), server.addr.port());
    server.file("users", "\"app\" \"hunter2\"\n");
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
    let mut pooler = command.arg("--quiet").arg(config).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    eventually("the pooler answers", Duration::from_secs(10), || std::net::TcpStream::connect(addr).ok());
    let probe = |password: &str, more: &str| {
        let probe = format!("kind: postgres, port: {port}, user: app, database: postgres, password: {password}{more}");
        probing("127.0.0.1", probe).timeout(Duration::from_secs(5))
    };
    let timings = probe("hunter2", "").succeeds().await;
    let seen = probe("hunter2", ", keep_alive: true").run(5).await;
    let wrong = probe("wrong", "").fails().await;
    let _ = pooler.kill();
    let _ = pooler.wait();
    assert_eq!((phases(&timings), timings.source), (vec!["connect", "auth", "read"], StampSource::Kernel));
    assert!(seen.iter().all(|seen| seen.outcome.is_ok()), "{seen:?}");
    assert_eq!(wrong, Failure::Auth);
}
