//! Probes of MySQL against MariaDB: each phase, and each way to fail.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use regionwatch::model::{Failure, FailureDetail, Phase, StampSource};
use testkit::{
    mariadb::Mariadb,
    probing::{Certificate, Probing, phases, probing},
    process::{eventually, free},
};
use tokio::task::spawn_blocking;

/// Longer than a login on a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(5);

fn ask(port: u16, user: &str, more: &str) -> Probing {
    probing("127.0.0.1", format!("kind: mysql, port: {port}, user: {user}{more}")).timeout(PATIENCE)
}

fn server_with_tls() -> (Mariadb, Certificate) {
    let certificate = Certificate::new(&["127.0.0.1"]);
    let server = Mariadb::start(&[
        &format!("ssl_cert={}", certificate.cert()),
        &format!("ssl_key={}", certificate.key()),
        "max_connections=40",
    ]);
    server.run_sql(
        "CREATE DATABASE shop; CREATE TABLE shop.private (n int); \
         CREATE USER open; CREATE USER native IDENTIFIED BY 'hunter2'; \
         CREATE USER tls IDENTIFIED BY 'hunter2' REQUIRE SSL; \
         CREATE USER locked IDENTIFIED BY 'hunter2' ACCOUNT LOCK; \
         CREATE USER old IDENTIFIED VIA mysql_old_password USING '0123456789abcdef'; \
         CREATE USER elsewhere@'192.0.2.1'; \
         CREATE USER writer; GRANT ALL ON shop.* TO writer",
    );
    (server, certificate)
}

const PASSWORD: &str = ", password: '${PROBE_TOKEN}'";

#[test]
async fn each_phase_of_a_login_and_a_read_is_measured() {
    let (server, certificate) = server_with_tls();
    let port = server.addr.port();
    for (user, more) in
        [("open", ""), ("native", PASSWORD), ("writer", ", database: shop, query: SELECT * FROM private")]
    {
        let timings = ask(port, user, more).succeeds().await;
        // The wait for the greeting begins by the clock of the process.
        let expected = (vec!["connect", "auth", "read"], StampSource::Userland);
        assert_eq!((phases(&timings), timings.source), expected, "{user}");
    }
    let verified = format!(", tls: {{ca_file: '{}'}}", certificate.cert());
    for user in ["native", "tls"] {
        for tls in [&verified, ", tls: {insecure_skip_verify: true}"] {
            let seen = ask(port, user, &format!("{PASSWORD}{tls}")).run(1).await.remove(0);
            let timings = seen.outcome.unwrap();
            assert_eq!(phases(&timings), ["connect", "tls", "auth", "read"], "{user}{tls}");
            assert_eq!(seen.certificate, Some(certificate.dates));
        }
    }
    // A login that ends as it should leaves no line of a lost connection.
    assert!(!server.log().contains("Aborted connection"), "{}", server.log());
    // A tcp probe asks for TLS in the same way, and sees the same certificate. It does not log in, and just leaves.
    let starttls = format!("kind: tcp, port: {port}, starttls: mysql, tls: {{ca_file: '{}'}}", certificate.cert());
    let seen = probing("127.0.0.1", starttls).timeout(PATIENCE).run(1).await.remove(0);
    assert_eq!(phases(&seen.outcome.unwrap()), ["connect", "tls"]);
    assert_eq!(seen.certificate, Some(certificate.dates));
}

#[test]
async fn each_failure_has_its_reason() {
    let (server, _certificate) = server_with_tls();
    let port = server.addr.port();
    let plain = Mariadb::start(&[]);
    plain.run_sql("CREATE USER open");
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let http_port = http.local_addr().unwrap().port();
    thread::spawn(move || {
        http.incoming().flatten().for_each(|mut io| drop(io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    });
    for (port, user, more, failure, phase) in [
        (free().port(), "open", "", Failure::Refused, Phase::Connect),
        (http_port, "open", "", Failure::Protocol, Phase::Auth),
        (plain.addr.port(), "open", ", tls: true", Failure::Tls, Phase::Tls),
        // No authority that this machine trusts has signed it.
        (port, "open", ", tls: true", Failure::Tls, Phase::Tls),
        (port, "tls", PASSWORD, Failure::Auth, Phase::Auth),
        (port, "native", ", password: wrong", Failure::Auth, Phase::Auth),
        (port, "native", "", Failure::Auth, Phase::Auth),
        (port, "open", PASSWORD, Failure::Auth, Phase::Auth),
        (port, "nobody", "", Failure::Auth, Phase::Auth),
        (port, "elsewhere", "", Failure::Auth, Phase::Auth),
        (port, "locked", PASSWORD, Failure::Auth, Phase::Auth),
        (port, "old", PASSWORD, Failure::Auth, Phase::Auth),
        (port, "open", ", database: missing", Failure::Status, Phase::Auth),
        (port, "writer", ", query: SELECT * FROM shop.nothing", Failure::Status, Phase::Read),
        (port, "open", ", query: SELECT * FROM shop.private", Failure::Status, Phase::Read),
        (port, "open", ", query: SELEC 1", Failure::Status, Phase::Read),
        (port, "writer", ", query: 'INSERT INTO shop.private VALUES (2)'", Failure::Status, Phase::Read),
        (port, "writer", ", query: DROP TABLE shop.private", Failure::Status, Phase::Read),
        (port, "open", ", query: \"SELECT repeat('A', 100000)\"", Failure::Protocol, Phase::Read),
        (port, "writer", ", database: shop, query: SELECT seq FROM seq_1_to_2000", Failure::Protocol, Phase::Read),
    ] {
        let seen = ask(port, user, more).run(1).await.remove(0);
        assert_eq!((seen.outcome.err(), seen.failed.phase), (Some(failure), Some(phase)), "{user}{more}");
    }
    for (user, more, code) in [
        ("native", ", password: wrong", 1045),
        ("writer", ", query: SELECT * FROM shop.nothing", 1146),
        ("open", ", query: SELECT * FROM shop.private", 1142),
        ("writer", ", query: 'INSERT INTO shop.private VALUES (2)'", 1792),
    ] {
        let seen = ask(port, user, more).run(1).await.remove(0);
        assert_eq!(seen.failed.to_string(), format!("MySQL error {code} from 127.0.0.1"), "{user}{more}");
    }
    assert_eq!(server.ask("SELECT count(*) FROM shop.private").as_deref(), Some("0"));
}

#[test]
async fn too_many_connections_are_a_status_that_says_so() {
    let server = Mariadb::start(&["max_connections=10"]);
    server.run_sql("CREATE USER open");
    let port = server.addr.port();
    let greeted = || {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        let _ = stream.read(&mut [0; 256]).unwrap();
        stream
    };
    let waiting: Vec<_> = (0..12).map(|_| greeted()).collect();
    let seen = ask(port, "open", "").run(1).await.remove(0);
    let expected = (Some(Failure::Status), Some(FailureDetail::MysqlError(1040)));
    assert_eq!((seen.outcome.err(), seen.failed.detail), expected);
    drop(waiting);
    eventually("the server has let them go", PATIENCE, || {
        server.ask("SHOW STATUS LIKE 'Threads_connected'").filter(|text| text.ends_with("\t1"))
    });
    assert!(ask(port, "open", "").run(1).await.remove(0).outcome.is_ok());
}

/// A server like MySQL 8, which does not remember the password of the user.
fn forgetful_server() -> u16 {
    const GREETING: &[u8] =
        b"\x5e\0\0\0\x0a8.4.0\0\x07\0\0\0abcdefgh\0\xff\xff\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0\
        ijklmnopqrst\0caching_sha2_password\0";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut io in listener.incoming().flatten() {
            let mut greeting = GREETING.to_vec();
            greeting[0] = u8::try_from(GREETING.len() - 4).unwrap();
            let _ = io.write_all(&greeting);
            let mut login = [0; 1024];
            let _ = io.read(&mut login);
            let _ = io.write_all(b"\x02\0\0\x02\x01\x04");
            let _ = io.read(&mut login);
        }
    });
    port
}

#[test]
async fn a_password_that_is_asked_for_without_tls_is_refused_with_what_to_do() {
    let seen = ask(forgetful_server(), "app", PASSWORD).run(1).await.remove(0);
    assert_eq!(seen.outcome.err(), Some(Failure::Auth));
    let expected = "in phase auth to 127.0.0.1: the server asks for the password itself, which is sent only over TLS that \
                    verifies the server";
    assert_eq!(seen.failed.to_string(), expected);
}

#[test]
async fn a_query_without_end_is_a_timeout_and_the_server_gives_it_up() {
    let server = Mariadb::start(&[]);
    server.run_sql("CREATE USER open");
    let slow = ask(server.addr.port(), "open", ", query: SELECT sleep(60)").timeout(Duration::from_millis(900));
    assert_eq!(slow.fails().await, Failure::Timeout);
    eventually("the server has given the query up", PATIENCE, || {
        let left = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE '%sleep(60)%' AND id <> connection_id()";
        server.ask(left).filter(|count| count == "0")
    });
}

#[test]
async fn a_kept_connection_is_used_again_until_the_server_ends_it() {
    let server = Mariadb::start(&[]);
    server.run_sql("CREATE USER open");
    let port = server.addr.port();
    let end = spawn_blocking(move || {
        let id = eventually("a connection is kept", PATIENCE, || {
            let kept = "SELECT id FROM information_schema.processlist WHERE user = 'open' AND command = 'Sleep'";
            server.ask(kept).filter(|id| !id.is_empty())
        });
        server.run_sql(&format!("KILL {id}"));
        server
    });
    let seen = ask(port, "open", ", keep_alive: true").run(20).await;
    end.await.unwrap();
    let phases: Vec<_> = seen.iter().map(|seen| phases(seen.outcome.as_ref().unwrap())).collect();
    assert_eq!(phases[0], ["connect", "auth", "read"]);
    assert!(phases.iter().filter(|phases| **phases == ["read"]).count() > 5, "{phases:?}");
    assert_eq!(phases.iter().filter(|phases| **phases == ["connect", "auth", "read"]).count(), 2, "{phases:?}");
    let sources = seen.iter().map(|seen| seen.outcome.unwrap().source);
    assert!(sources.filter(|source| *source == StampSource::Kernel).count() > 5, "a read is measured by the kernel");
}

#[test]
async fn a_password_that_was_refused_is_read_again_from_its_file() {
    let server = Mariadb::start(&[]);
    server.run_sql("CREATE USER app IDENTIFIED BY 'new'");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "old\n").unwrap();
    let probe = ask(server.addr.port(), "app", &format!(", password_file: '{}'", file.display()));
    let renewed = spawn_blocking(move || {
        eventually("the old password was refused", PATIENCE, || server.log().contains("Access denied").then_some(()));
        std::fs::write(&file, "new\n").unwrap();
        server
    });
    let seen = probe.run(30).await;
    renewed.await.unwrap();
    assert_eq!(seen[0].outcome.err(), Some(Failure::Auth));
    assert!(seen.last().unwrap().outcome.is_ok(), "{:?}", seen.last());
}
