//! Probes of PostgreSQL: each phase, and each way to fail.

use std::{io::Write, net::TcpListener, thread, time::Duration};

use regionwatch::model::{Failure, Phase, StampSource};
use testkit::{
    postgres::Postgres,
    probing::{Certificate, Probing, phases, probing},
    process::{eventually, free},
};
use tokio::task::spawn_blocking;

/// Longer than a login on a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(5);

fn ask(port: u16, user: &str, more: &str) -> Probing {
    probing("127.0.0.1", format!("kind: postgres, port: {port}, user: {user}, database: postgres{more}"))
        .timeout(PATIENCE)
}

fn server_with_tls() -> (Postgres, Certificate) {
    let certificate = Certificate::new(&["127.0.0.1"]);
    let server = Postgres::start(
        "hostssl all tls 127.0.0.1/32 scram-sha-256\nhostnossl all tls 127.0.0.1/32 reject\n\
         host all scram 127.0.0.1/32 scram-sha-256\nhost all md5 127.0.0.1/32 md5\n\
         host all clear 127.0.0.1/32 password\nhost all open 127.0.0.1/32 trust\n",
        &["max_connections=20"],
    );
    server.file("server.crt", &std::fs::read_to_string(certificate.cert()).unwrap());
    server.file("server.key", &std::fs::read_to_string(certificate.key()).unwrap());
    server.run_sql(
        "CREATE ROLE tls LOGIN PASSWORD 'hunter2'; CREATE ROLE scram LOGIN PASSWORD 'hunter2'; \
         CREATE ROLE clear LOGIN PASSWORD 'hunter2'; CREATE ROLE open LOGIN; CREATE ROLE elsewhere LOGIN; \
         SET password_encryption = md5; CREATE ROLE md5 LOGIN PASSWORD 'hunter2'",
    );
    server.run_sql("ALTER SYSTEM SET ssl = on");
    server.run_sql("SELECT pg_reload_conf()");
    eventually("TLS is on", PATIENCE, || server.ask("SHOW ssl").filter(|on| on == "on"));
    (server, certificate)
}

const PASSWORD: &str = ", password: '${PROBE_TOKEN}'";

#[test]
async fn each_phase_of_a_login_and_a_read_is_measured_by_the_kernel() {
    let (server, certificate) = server_with_tls();
    let port = server.addr.port();
    let timings = ask(port, "open", "").succeeds().await;
    assert_eq!((phases(&timings), timings.source), (vec!["connect", "auth", "read"], StampSource::Kernel));
    for (user, tls) in [("scram", ""), ("md5", ""), ("clear", ", cleartext: true")] {
        let timings = ask(port, user, &format!("{PASSWORD}{tls}")).succeeds().await;
        assert_eq!(
            (phases(&timings), timings.source),
            (vec!["connect", "auth", "read"], StampSource::Kernel),
            "{user}"
        );
    }
    let verified = format!(", tls: {{ca_file: '{}'}}", certificate.cert());
    for user in ["tls", "scram", "md5", "clear"] {
        for tls in [&verified, ", cleartext: true, tls: {insecure_skip_verify: true}"] {
            let seen = ask(port, user, &format!("{PASSWORD}{tls}")).run(1).await.remove(0);
            let timings = seen.outcome.unwrap();
            let expected = (vec!["connect", "tls", "auth", "read"], StampSource::Kernel);
            assert_eq!((phases(&timings), timings.source), expected, "{user}{tls}");
            assert_eq!(seen.certificate, Some(certificate.dates));
        }
    }
    // A login that ends as it should leaves no line of a lost connection.
    assert!(!server.log().contains("unexpected EOF") && !server.log().contains("reset by peer"), "{}", server.log());
    // A tcp probe asks for TLS in the same way, and sees the same certificate. It does not log in, and just leaves.
    let starttls = format!("kind: tcp, port: {port}, starttls: postgres, tls: {{ca_file: '{}'}}", certificate.cert());
    let seen = probing("127.0.0.1", starttls).timeout(PATIENCE).run(1).await.remove(0);
    assert_eq!(phases(&seen.outcome.unwrap()), ["connect", "tls"]);
    assert_eq!(seen.certificate, Some(certificate.dates));
}

#[test]
async fn each_failure_has_its_reason() {
    let (server, _certificate) = server_with_tls();
    let port = server.addr.port();
    server.run_sql("CREATE TABLE private AS SELECT 1");
    let plain = Postgres::start("host all all 127.0.0.1/32 trust\n", &[]);
    plain.run_sql("CREATE ROLE open LOGIN");
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let http_port = http.local_addr().unwrap().port();
    thread::spawn(move || {
        http.incoming().flatten().for_each(|mut io| drop(io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    });
    for (port, user, more, failure, phase) in [
        (free().port(), "open", "", Failure::Refused, Phase::Connect),
        (http_port, "open", "", Failure::Protocol, Phase::Auth),
        (http_port, "open", ", tls: true", Failure::Protocol, Phase::Tls),
        (plain.addr.port(), "open", ", tls: true", Failure::Tls, Phase::Tls),
        // No authority that this machine trusts has signed it.
        (port, "open", ", tls: true", Failure::Tls, Phase::Tls),
        (port, "tls", PASSWORD, Failure::Auth, Phase::Auth),
        (port, "clear", PASSWORD, Failure::Auth, Phase::Auth),
        // Any server that answers would get it.
        (port, "clear", &format!("{PASSWORD}, tls: {{insecure_skip_verify: true}}"), Failure::Auth, Phase::Auth),
        (port, "scram", ", password: wrong", Failure::Auth, Phase::Auth),
        (port, "md5", ", password: wrong", Failure::Auth, Phase::Auth),
        (port, "scram", "", Failure::Auth, Phase::Auth),
        (port, "nobody", "", Failure::Auth, Phase::Auth),
        (port, "elsewhere", PASSWORD, Failure::Auth, Phase::Auth),
        (port, "open", ", query: SELECT * FROM nothing", Failure::Status, Phase::Read),
        (port, "open", ", query: SELECT * FROM private", Failure::Status, Phase::Read),
        (port, "open", ", query: 'CREATE TEMPORARY TABLE t (n int)'", Failure::Status, Phase::Read),
        (port, "postgres", ", query: 'INSERT INTO private VALUES (2)'", Failure::Status, Phase::Read),
        (port, "open", ", query: 'SELECT repeat(chr(65), 100000)'", Failure::Protocol, Phase::Read),
        (port, "open", ", query: 'SELECT generate_series(1, 2000)'", Failure::Protocol, Phase::Read),
        (port, "open", ", query: 'COPY (SELECT 1) TO STDOUT'", Failure::Protocol, Phase::Read),
    ] {
        let seen = ask(port, user, more).run(1).await.remove(0);
        assert_eq!((seen.outcome.err(), seen.failed.phase), (Some(failure), Some(phase)), "{user}{more}");
    }
    for (user, more, code) in [
        ("scram", ", password: wrong", "28P01"),
        ("open", ", query: SELECT * FROM nothing", "42P01"),
        ("open", ", query: SELECT * FROM private", "42501"),
    ] {
        let seen = ask(port, user, more).run(1).await.remove(0);
        assert_eq!(seen.failed.to_string(), format!("SQLSTATE {code} from 127.0.0.1"), "{user}{more}");
    }
    plain.run_sql("ALTER ROLE open CONNECTION LIMIT 0");
    assert_eq!(ask(plain.addr.port(), "open", "").fails().await, Failure::Status);
    let other = format!("kind: postgres, port: {port}, user: open, database: missing");
    assert_eq!(probing("127.0.0.1", other).timeout(PATIENCE).fails().await, Failure::Status);
}

#[test]
async fn a_query_without_end_is_a_timeout_and_the_server_gives_it_up() {
    let server = Postgres::start("host all all 127.0.0.1/32 trust\n", &[]);
    server.run_sql("CREATE ROLE open LOGIN");
    let slow = ask(server.addr.port(), "open", ", query: SELECT pg_sleep(60)").timeout(Duration::from_millis(900));
    assert_eq!(slow.fails().await, Failure::Timeout);
    eventually("the server has given the query up", PATIENCE, || {
        let left = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' \
                    AND pid <> pg_backend_pid()";
        server.ask(left).filter(|count| count == "0")
    });
}

#[test]
async fn a_kept_connection_is_used_again_until_the_server_ends_it() {
    let server = Postgres::start("host all all 127.0.0.1/32 trust\n", &[]);
    server.run_sql("CREATE ROLE open LOGIN");
    let port = server.addr.port();
    let end = spawn_blocking(move || {
        eventually("a connection is kept", PATIENCE, || {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'regionwatch' \
                       AND state = 'idle' AND query <> ''";
            server.ask(end).filter(|ended| ended.contains('t'))
        });
        server
    });
    // For longer than that is waited for.
    let seen = ask(port, "open", ", keep_alive: true").run(60).await;
    end.await.unwrap();
    let phases: Vec<_> = seen.iter().map(|seen| phases(seen.outcome.as_ref().unwrap())).collect();
    assert_eq!(phases[0], ["connect", "auth", "read"]);
    assert!(phases.iter().filter(|phases| **phases == ["read"]).count() > 5, "{phases:?}");
    assert_eq!(phases.iter().filter(|phases| **phases == ["connect", "auth", "read"]).count(), 2, "{phases:?}");
}

#[test]
async fn a_password_that_was_refused_is_read_again_from_its_file() {
    let server = Postgres::start("host all all 127.0.0.1/32 scram-sha-256\n", &[]);
    server.run_sql("CREATE ROLE app LOGIN PASSWORD 'new'");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "old\n").unwrap();
    let probe = ask(server.addr.port(), "app", &format!(", password_file: '{}'", file.display()));
    let renewed = spawn_blocking(move || {
        eventually("the old password was refused", PATIENCE, || {
            server.log().contains("password authentication failed").then_some(())
        });
        std::fs::write(&file, "new\n").unwrap();
        server
    });
    // For longer than the refusal is waited for.
    let seen = probe.run(60).await;
    renewed.await.unwrap();
    assert_eq!(seen[0].outcome.err(), Some(Failure::Auth));
    assert!(seen.last().unwrap().outcome.is_ok(), "{:?}", seen.last());
}
