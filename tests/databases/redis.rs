//! Probes of Redis against the real server: each phase, and each way to fail.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use regionwatch::model::{Failure, FailureDetail, Phase, RedisFault, StampSource};
use testkit::{
    probing::{Certificate, Probing, phases, probing},
    process::{eventually, free},
    redis::Redis,
};
use tokio::task::spawn_blocking;

/// Longer than a login on a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(5);

fn ask(port: u16, more: &str) -> Probing {
    probing("127.0.0.1", format!("kind: redis, port: {port}{more}")).timeout(PATIENCE)
}

/// A user with each right that a login by password can have, and one without a password.
const USERS: [&str; 3] = [
    "user app on >hunter2 ~app:* +ping +get",
    "user open on nopass ~* +ping +get +set",
    "user locked off >hunter2 +ping",
];

const PASSWORD: &str = ", password: '${PROBE_TOKEN}'";
const CLEARTEXT: &str = ", password: '${PROBE_TOKEN}', cleartext: true";

#[test]
async fn each_phase_of_a_login_and_a_read_is_measured() {
    let server = Redis::start(&USERS);
    let port = server.addr.port();
    let logs_in = vec!["connect", "auth", "read"];
    for (more, expected) in [
        (String::new(), vec!["connect", "read"]),
        (", user: open".to_owned(), logs_in.clone()),
        (format!(", user: app{CLEARTEXT}"), logs_in.clone()),
        (format!(", user: app{CLEARTEXT}, query: GET app:name"), logs_in.clone()),
    ] {
        let timings = ask(port, &more).succeeds().await;
        assert_eq!((phases(&timings), timings.source), (expected, StampSource::Kernel), "{more}");
    }
    // A password alone, as before Redis 6.
    let server = Redis::start(&["requirepass hunter2"]);
    assert_eq!(phases(&ask(server.addr.port(), CLEARTEXT).succeeds().await), logs_in);
    let certificate = Certificate::new(&["127.0.0.1"]);
    let server = Redis::with_tls(&certificate.cert(), &certificate.key(), &USERS);
    for tls in [
        format!("{PASSWORD}, tls: {{ca_file: '{}'}}", certificate.cert()),
        format!("{CLEARTEXT}, tls: {{insecure_skip_verify: true}}"),
    ] {
        let seen = ask(server.addr.port(), &format!(", user: app{tls}")).run(1).await.remove(0);
        assert_eq!(phases(&seen.outcome.unwrap()), ["connect", "tls", "auth", "read"], "{tls}");
        assert_eq!(seen.certificate, Some(certificate.dates));
    }
}

#[test]
async fn each_failure_has_its_reason() {
    let server = Redis::start(&USERS);
    let port = server.addr.port();
    server.run("SET text hello\nRPUSH list a");
    server.ask_words(&["SET", "long", &"x".repeat(40_000)]).unwrap();
    let closed = Redis::start(&["requirepass hunter2"]);
    // Its primary is not there.
    let stale = Redis::replica(free(), &["replica-serve-stale-data no"]);
    let certificate = Certificate::new(&["127.0.0.1"]);
    let tls = Redis::with_tls(&certificate.cert(), &certificate.key(), &[]);
    let http = TcpListener::bind("127.0.0.1:0").unwrap();
    let http_port = http.local_addr().unwrap().port();
    thread::spawn(move || {
        http.incoming().flatten().for_each(|mut io| drop(io.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    });
    let wrong = ", password: wrong, cleartext: true";
    for (port, more, failure, phase, fault) in [
        (free().port(), String::new(), Failure::Refused, Phase::Connect, None),
        (http_port, String::new(), Failure::Protocol, Phase::Read, None),
        // No authority that this machine trusts has signed it.
        (tls.addr.port(), ", tls: true".to_owned(), Failure::Tls, Phase::Tls, None),
        (port, format!(", user: app{wrong}"), Failure::Auth, Phase::Auth, Some(RedisFault::WrongPass)),
        (port, ", user: app".to_owned(), Failure::Auth, Phase::Auth, Some(RedisFault::WrongPass)),
        (port, ", user: nobody".to_owned(), Failure::Auth, Phase::Auth, Some(RedisFault::WrongPass)),
        (port, format!(", user: locked{CLEARTEXT}"), Failure::Auth, Phase::Auth, Some(RedisFault::WrongPass)),
        (port, CLEARTEXT.to_owned(), Failure::Auth, Phase::Auth, Some(RedisFault::NoPassword)),
        (closed.addr.port(), String::new(), Failure::Auth, Phase::Read, Some(RedisFault::NoAuth)),
        (closed.addr.port(), wrong.to_owned(), Failure::Auth, Phase::Auth, Some(RedisFault::WrongPass)),
        (
            port,
            format!(", user: app{CLEARTEXT}, query: TTL text"),
            Failure::Auth,
            Phase::Read,
            Some(RedisFault::NoPerm),
        ),
        (
            port,
            format!(", user: app{CLEARTEXT}, query: GET text"),
            Failure::Auth,
            Phase::Read,
            Some(RedisFault::NoPerm),
        ),
        (port, ", query: GET list".to_owned(), Failure::Status, Phase::Read, Some(RedisFault::WrongType)),
        (port, ", query: GET a b".to_owned(), Failure::Status, Phase::Read, Some(RedisFault::Other)),
        (port, ", query: GET long".to_owned(), Failure::Protocol, Phase::Read, None),
        (stale.addr.port(), ", query: GET a".to_owned(), Failure::Status, Phase::Read, Some(RedisFault::MasterDown)),
    ] {
        let seen = ask(port, &more).run(1).await.remove(0);
        assert_eq!((seen.outcome.err(), seen.failed.phase), (Some(failure), Some(phase)), "{more}");
        if failure != Failure::Tls {
            assert_eq!(seen.failed.detail, fault.map(FailureDetail::Redis), "{more}");
        }
    }
    let seen = ask(port, ", query: GET list").run(1).await.remove(0);
    assert_eq!(seen.failed.to_string(), "Redis error WRONGTYPE from 127.0.0.1");
}

#[test]
async fn too_many_connections_are_a_status_that_says_so() {
    let server = Redis::start(&["maxclients 5"]);
    let mut waiting = Vec::new();
    loop {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        if stream.read(&mut [0; 64]).is_ok() {
            break; // It says why, and closes.
        }
        waiting.push(stream);
        assert!(waiting.len() < 20);
    }
    for (more, phase) in [(String::new(), Phase::Read), (format!(", user: open{CLEARTEXT}"), Phase::Auth)] {
        let seen = ask(server.addr.port(), &more).run(1).await.remove(0);
        let expected = (Some(Failure::Status), Some(phase), Some(FailureDetail::Redis(RedisFault::MaxClients)));
        assert_eq!((seen.outcome.err(), seen.failed.phase, seen.failed.detail), expected, "{more}");
    }
    drop(waiting);
    eventually("the server has let them go", PATIENCE, || server.ask("PING"));
    assert!(ask(server.addr.port(), "").run(1).await.remove(0).outcome.is_ok());
}

/// Probes until a probe succeeds, or fails by this fault.
async fn becomes(port: u16, fault: Option<RedisFault>) {
    let expected = (fault.map(|_| Failure::Status), fault.map(FailureDetail::Redis));
    let mut last = (None, None);
    for _ in 0..100 {
        let seen = ask(port, "").run(1).await.remove(0);
        last = (seen.outcome.err(), seen.failed.detail);
        if last == expected {
            return;
        }
    }
    panic!("{expected:?} does not come, but {last:?}");
}

#[test]
async fn a_server_that_reads_its_data_or_runs_a_script_answers_that_and_is_a_status() {
    let server = Arc::new(Redis::start(&["loading-process-events-interval-bytes 1024", "busy-reply-threshold 50"]));
    let port = server.addr.port();
    server.run("DEBUG POPULATE 20000\nCONFIG SET key-load-delay 2000");
    let loading = Arc::clone(&server);
    let loads = spawn_blocking(move || loading.ask("DEBUG RELOAD"));
    becomes(port, Some(RedisFault::Loading)).await;
    server.run("CONFIG SET key-load-delay 0");
    assert!(loads.await.unwrap().is_some());
    becomes(port, None).await;

    let running = Arc::clone(&server);
    let runs = spawn_blocking(move || running.ask_words(&["EVAL", "while true do end", "0"]));
    becomes(port, Some(RedisFault::Busy)).await;
    server.run("SCRIPT KILL");
    assert_eq!(runs.await.unwrap(), None);
    becomes(port, None).await;
}

#[test]
async fn a_server_that_does_nothing_is_a_timeout() {
    let server = Arc::new(Redis::start(&[]));
    let sleeping = Arc::clone(&server);
    let sleeps = spawn_blocking(move || sleeping.ask("DEBUG SLEEP 4"));
    let slow = || ask(server.addr.port(), "").timeout(Duration::from_millis(500));
    let mut failures = Vec::new();
    while !failures.contains(&Some(Failure::Timeout)) && failures.len() < 20 {
        failures.push(slow().run(1).await.remove(0).outcome.err());
    }
    assert!(failures.contains(&Some(Failure::Timeout)), "{failures:?}");
    assert!(sleeps.await.unwrap().is_some());
    assert!(ask(server.addr.port(), "").run(1).await.remove(0).outcome.is_ok());
}

#[test]
async fn a_kept_connection_is_used_again_until_the_server_ends_it() {
    let server = Redis::start(&USERS);
    let port = server.addr.port();
    let end = spawn_blocking(move || {
        let id = eventually("a connection is kept", PATIENCE, || {
            let clients = server.ask("CLIENT LIST")?;
            let kept = clients.lines().find(|line| line.contains(" cmd=ping user=open "))?;
            Some(kept.strip_prefix("id=")?.split(' ').next()?.to_owned())
        });
        server.run(&format!("CLIENT KILL ID {id}"));
        server
    });
    let seen = ask(port, ", user: open, keep_alive: true").run(20).await;
    end.await.unwrap();
    let phases: Vec<_> = seen.iter().map(|seen| phases(seen.outcome.as_ref().unwrap())).collect();
    assert_eq!(phases[0], ["connect", "auth", "read"]);
    assert!(phases.iter().filter(|phases| **phases == ["read"]).count() > 5, "{phases:?}");
    assert_eq!(phases.iter().filter(|phases| **phases == ["connect", "auth", "read"]).count(), 2, "{phases:?}");
}

#[test]
async fn a_password_that_was_refused_is_read_again_from_its_file() {
    let server = Redis::start(&["user app on >new +ping"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "old\n").unwrap();
    let more = format!(", user: app, cleartext: true, password_file: '{}'", file.display());
    let probe = ask(server.addr.port(), &more);
    let renewed = spawn_blocking(move || {
        let refused = || server.ask("ACL LOG").filter(|log| log.contains("app"));
        eventually("the old password was refused", PATIENCE, refused);
        std::fs::write(&file, "new\n").unwrap();
        server
    });
    let seen = probe.run(30).await;
    renewed.await.unwrap();
    assert_eq!(seen[0].outcome.err(), Some(Failure::Auth));
    assert!(seen.last().unwrap().outcome.is_ok(), "{:?}", seen.last());
}
