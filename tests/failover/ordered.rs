//! A failover that an operator orders, while all regions are well.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    time::Duration,
};

use regionwatch::signing::PrivateKey;
use serde_json::Value;
use testkit::{
    binary,
    programs::webhook_receiver,
    regions::{
        CONTROL, World,
        process::{Process, get, wait_for},
        region::{Plan, peer_label},
    },
    space::Host,
};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

const ORDERED: [(char, &str); 1] = [('c', "execute firing")];

/// Who commands, from the host of a region.
struct Operator<'a> {
    world: &'a World,
    folder: PathBuf,
}

impl Operator<'_> {
    /// Runs a command with the key in this file, and waits for what it answers.
    fn commands(&self, command: &str, key: &str, answers: &[&str]) {
        let (a, place) = (self.world.region('a'), |name: &str| self.folder.join(name).display().to_string());
        let log = self.folder.join(format!("{}.log", command.replace(' ', "-")));
        let line =
            format!("{} {command} --operator alice --key {} --config {}", binary(), place(key), a.config.display());
        let _commanding = Process::start(&a.host, &line, &log);
        for answer in answers {
            let said = || fs::read_to_string(&log).ok().filter(|said| said.contains(answer));
            wait_for(&format!("{answer:?} of {command}"), 30 * SECOND, said);
        }
    }
}

/// Sends a request to a server, and returns what it answers with status 200.
fn post(host: &Host, address: &str, body: &str) -> Option<String> {
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let address: std::net::SocketAddr = address.parse().unwrap();
    host.run(move || {
        let mut stream = TcpStream::connect_timeout(&address, 2 * SECOND).ok()?;
        stream.set_read_timeout(Some(5 * SECOND)).unwrap();
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    })
}

/// What a vantage says of the region c in its votes.
fn says_of_c(world: &World, vantage: char) -> Option<Value> {
    let text = get(&world.region(vantage).host, "127.0.0.1:9877", "/api/v1/regions")?;
    let message: Value = serde_json::from_str(&text).ok()?;
    message["peers"].as_array()?.iter().find(|peer| peer["region"] == "c").cloned()
}

#[test]
fn an_operator_fails_over_a_region_that_is_well_and_the_release_ends_that() {
    // Before anything is signed, which is fresh for a minute.
    let receiver = webhook_receiver();
    let (operator, pem) = PrivateKey::generate().unwrap();
    let (_, stranger) = PrivateKey::generate().unwrap();
    let keys: Vec<_> = (0..3).map(|_| PrivateKey::generate().unwrap()).collect();
    let public: String =
        "abc".chars().zip(&keys).map(|(name, (key, _))| format!("{name} {}\n", key.public())).collect();
    let keys = keys.into_iter().map(|(key, pem)| (pem, key.public().to_string())).collect();
    let settings = format!("operators: ['alice={}']\n", operator.public());
    let mut world = World::new(&Plan { state: true, settings, keys, ..Plan::default() });
    let folder = world.region('a').config.parent().unwrap().to_owned();
    for (name, text) in [("alice.key", &pem), ("stranger.key", &stranger), ("public", &public)] {
        fs::write(folder.join(name), text).unwrap();
    }
    let operator = Operator { world: &world, folder: folder.clone() };
    let refuses = |by: char| format!("{by}: refused: the signature is not that of the operator");
    let [a, b, c] = ['a', 'b', 'c'].map(refuses);
    operator.commands("failover c --to a", "stranger.key", &[&a, &b, &c, "regionwatch: no instance has taken it"]);
    world.nothing_but(&[], 6 * SECOND);

    // On a busy machine, it may have lost its first probes.
    let is_able = || {
        let reasons = ["state", "insufficient_data"].map(|reason| format!("reason=\"{reason}\""));
        let is_open =
            |reason: &String| world.region('a').value("candidate_ineligible", &[&peer_label('b'), reason]) == Some(0.0);
        reasons.iter().all(is_open).then_some(())
    };
    wait_for("b to be a target", 100 * SECOND, is_able);
    let takes = |by: char| format!("{by}: taken: alice has ordered the failover of c to b until ");
    let [a, b, c] = ['a', 'b', 'c'].map(takes);
    operator.commands("failover c --to b", "alice.key", &[&a, &b, &c, "the failover of c is ordered by "]);
    let call = world.webhook('c', "execute firing", Instant::now(), 20 * SECOND);
    for (name, value) in [("reason", "operator"), ("cause", "operator"), ("failover_target", "b")] {
        assert_eq!(call.annotation(name), value, "{name}: {call:?}");
    }
    assert!(call.annotation("incident_id").starts_with("c-operator-"), "{call:?}");
    let state = world.region('a').state_of('c');
    assert!(matches!(state.as_deref(), Some("healthy" | "degraded")), "it is up: {state:?}");
    // Two vantages sign it, so that the receiver of their keys carries it out.
    let (listen, place) = (format!("{CONTROL}:9100"), |name: &str| folder.join(name).display().to_string());
    let line = format!(
        "{} --listen {listen} --record {} --keys {}",
        receiver.display(),
        place("record.jsonl"),
        place("public")
    );
    let _receiver = Process::start(&world.control, &line, &folder.join("receiver.log"));
    wait_for("the receiver", 30 * SECOND, || get(&world.control, &listen, "/-/healthy"));
    wait_for("the receiver to accept the order", 30 * SECOND, || post(&world.control, &listen, &call.body.to_string()));
    let record: Value = serde_json::from_str(&get(&world.control, &listen, "/incidents").unwrap()).unwrap();
    assert_eq!((&record[0]["decision"], &record[0]["target"]), (&"accepted".into(), &"b".into()), "{record}");

    // A vantage that restarts goes on with the same target, and the order is neither ended nor repeated.
    world.region_mut('a').start();
    wait_for("a to go on", 30 * SECOND, || says_of_c(&world, 'a').filter(|said| said["operator_order"] == true));
    assert_eq!(says_of_c(&world, 'a').unwrap()["failed_over"]["target"], "b");
    world.nothing_but(&ORDERED, 6 * SECOND);

    let operator = Operator { world: &world, folder: folder.clone() };
    // What one has released reaches the others by its votes, perhaps before the command does.
    operator.commands("release c", "alice.key", &["c is released"]);
    world.webhook('c', "execute resolved", Instant::now(), 30 * SECOND);
    for vantage in ['a', 'b'] {
        let labels = [&*peer_label('c'), "reason=\"failed_over\""];
        let released = || world.region(vantage).value("candidate_ineligible", &labels).filter(|value| *value == 0.0);
        wait_for("c to be a target again", 15 * SECOND, released);
    }
    world.nothing_but(&[ORDERED[0], ('c', "execute resolved")], 6 * SECOND);
    let audit = fs::read_to_string(folder.join("state1/audit.log")).unwrap();
    assert!(audit.contains(r#""operator":"alice","action":"failover","region":"c","target":"b","until":"#), "{audit}");
}
