//! The entry points of the fuzz targets in `fuzz/`, fed with seeds, everything cut and everything flipped, and with the corpus
//! that the fuzzer has found: a short run of each on every machine, without a fuzzer. Nothing may panic or hang.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use regex::bytes::RegexBuilder;
use regionwatch::{
    alert::hostile::{fuzz_held, fuzz_push, push_series},
    bench::hostile::fuzz_results,
    config::Config,
    decision::votes::{VoteMessage, hostile::fuzz_vote},
    metrics::PushSeries,
    net::hostile::{Peer, Script, fuzz_expiry, fuzz_response},
    probe::hostile::{
        fuzz_answer, fuzz_health, fuzz_mysql_session, fuzz_pattern, fuzz_redis_session, fuzz_reply, fuzz_session,
    },
    signing::{PrivateKey, PublicKeys, hostile::fuzz_signatures},
    yaml::hostile::fuzz_tree,
};
use tokio::runtime::{Builder, Runtime};

const ROUNDS: usize = 4_000;

/// How long one exchange may take on a busy machine. A peer that has hung up leaves nothing to wait for, and the clients have
/// enough of one that goes on without end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A peer on loopback, and what runs it.
struct World {
    runtime: Runtime,
    peer: Peer,
    series: Arc<PushSeries>,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let peer = runtime.block_on(Peer::bind());
        Self { runtime, peer, series: push_series() }
    }

    fn responds(&self, script: &Script) {
        for http2 in [false, true] {
            self.ends(script, fuzz_response(&self.peer, script, http2));
        }
    }

    fn answers_pushes(&self, script: &Script) {
        self.ends(script, fuzz_push(&self.peer, script, &self.series));
    }

    fn ends(&self, script: &Script, exchange: impl Future<Output = ()>) {
        let exchange = async { tokio::time::timeout(PATIENCE, exchange).await };
        assert!(self.runtime.block_on(exchange).is_ok(), "hangs on {script:?}");
    }
}

/// Whether a text that comes in pieces matches as it does by the crate `regex`.
fn compare_pattern(bytes: &[u8]) {
    let Some(([length, piece], rest)) = bytes.split_first_chunk() else { return };
    let (source, text) = rest.split_at(usize::from(*length).min(rest.len()));
    let Ok(source) = std::str::from_utf8(source) else { return };
    let Some((matches, unicode)) = fuzz_pattern(source, text, usize::from(*piece)) else { return };
    if let Ok(reference) = RegexBuilder::new(source).unicode(unicode).build() {
        assert_eq!(matches, reference.is_match(text), "{source:?} in {text:?}");
    }
}

fn fuzz_configuration(bytes: &[u8]) {
    let read = |text: &str| Config::load(Some((Path::new("fuzz.yaml"), text)), []);
    if let Ok(loaded) = read(&String::from_utf8_lossy(bytes)) {
        let printed = loaded.config.to_yaml();
        assert!(read(&printed).is_ok() || printed.contains("<secret>"), "{printed}");
    }
}

fn fuzz_signed_vote(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (signature, body) = bytes.split_at(end);
    fuzz_vote(body, signature);
}

type Target = Box<dyn Fn(&[u8])>;

/// The entry point of a fuzz target.
fn target(name: &str) -> Target {
    let world = World::new();
    match name {
        "certificate" => Box::new(fuzz_expiry),
        "config_file" => Box::new(fuzz_configuration),
        "dns_answer" => Box::new(fuzz_answer),
        "grpc_health" => Box::new(|bytes| {
            let _ = fuzz_health(bytes);
        }),
        "held_alerts" => Box::new(fuzz_held),
        "http_heads" => Box::new(move |bytes| world.responds(&Script::endless(bytes))),
        "http_response" => Box::new(move |bytes| world.responds(&Script::once(bytes))),
        "icmp_reply" => Box::new(fuzz_reply),
        "load_test_results" => Box::new(fuzz_results),
        "order_signatures" => Box::new(fuzz_signatures),
        "pattern" => Box::new(compare_pattern),
        "mysql_session" => Box::new(fuzz_mysql_session),
        "postgres_session" => Box::new(fuzz_session),
        "push_answer" => Box::new(move |bytes| world.answers_pushes(&Script::endless(bytes))),
        "redis_session" => Box::new(fuzz_redis_session),
        "vote_message" => Box::new(fuzz_signed_vote),
        "yaml_tree" => Box::new(|bytes| fuzz_tree(&String::from_utf8_lossy(bytes))),
        _ => panic!("{name} is not replayed; add it here"),
    }
}

fn names(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The corpus is small enough to be in the repository, and belongs to targets that exist.
#[test]
fn what_the_fuzzer_has_found_never_panics_or_hangs() {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let targets: BTreeSet<_> = names("fuzz_targets").iter().map(stem).collect();
    let corpora: BTreeSet<_> = names("corpus").iter().map(stem).collect();
    assert_eq!(targets, corpora);
    let mut size = 0;
    for name in targets {
        let run = target(&name);
        let files = names(&format!("corpus/{name}"));
        assert!(!files.is_empty(), "{name}");
        for file in files {
            let bytes = fs::read(file).unwrap();
            size += bytes.len();
            run(&bytes);
        }
    }
    assert!(size < 200_000, "{size} bytes");
}

/// Each seed whole, cut at every place, and with random bytes changed, doubled or taken out.
fn mutations(seeds: &[Vec<u8>], mut feed: impl FnMut(&[u8])) {
    let mut random = StdRng::seed_from_u64(7);
    for seed in seeds {
        (0..=seed.len()).for_each(|cut| feed(&seed[..cut]));
        for _ in 0..ROUNDS / seeds.len() {
            let mut bytes = seed.clone();
            for _ in 0..random.random_range(1..6) {
                let place = random.random_range(0..bytes.len().max(1));
                match random.random_range(0..4) {
                    0 if place < bytes.len() => bytes[place] = random.random(),
                    1 if place < bytes.len() => bytes[place] ^= 1 << random.random_range(0..8),
                    2 if place < bytes.len() => drop(bytes.remove(place)),
                    _ => bytes.insert(place.min(bytes.len()), random.random()),
                }
            }
            feed(&bytes);
        }
    }
}

#[test]
fn arbitrary_icmp_messages_never_panic() {
    let mut reply = vec![0; 64];
    reply[4..24].copy_from_slice(&[0, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let mut raw = vec![0x45, 0, 0, 84, 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1];
    raw.extend(&reply);
    let mut v6 = reply.clone();
    v6[0] = 129;
    mutations(&[reply, raw, v6], fuzz_reply);
}

#[test]
fn arbitrary_results_of_load_tests_never_panic() {
    let csv =
        "timeStamp,elapsed,label,responseCode,success,Latency,Connect\n1509841690552,354,\"u\"\"s\",200,true,300,100\n";
    let xml = "<?xml version=\"1.0\"?>\n<testResults version=\"1.2\"><!-- > --><httpSample t=\"354\" lt=\"300\" ts=\"1509841690552\" \
        s=\"true\" lb=\"&#117;s\"><responseData><![CDATA[<a> ]]></responseData></httpSample></testResults>";
    let k6 = concat!(
        r#"{"metric":"http_req_duration","type":"Point","data":{"time":"2017-11-05T01:28:10.906+01:00","value":354.5,"#,
        r#""tags":{"expected_response":"false","error_code":"1050","name":"x","status":"0"}}}"#
    );
    let summary =
        r#"{"metrics":{"http_req_duration{region:us}":{"values":{"avg":1,"p(95)":2}},"http_reqs":{"count":4}}}"#;
    let saved = concat!(
        r#"{"regionwatch_results":1,"began_unix_ms":1,"duration_ns":2,"source":"","series":[{"region":"us","tags":{},"#,
        r#""deadline_ns":null,"missed":0,"at_ns":[1,2],"latency_ns":[5,null],"failures":["timeout"],"phases_ns":{"tls":[1,null]}}]}"#
    );
    mutations(&[csv.into(), xml.into(), k6.into(), summary.into(), saved.into()], fuzz_results);
    for deepest in ["[", "{\"metrics\":", "<testResults>", "\""] {
        fuzz_results(deepest.repeat(100_000).as_bytes());
    }
}

#[test]
fn arbitrary_health_checks_never_panic() {
    let later = b"\0\0\0\0\x1a\x19abcdefgh\x12\x03abc\x25abcd\x10\xff\xff\xff\x01\x08\x01";
    mutations(&[b"\0\0\0\0\x02\x08\x01".to_vec(), later.to_vec()], |bytes| {
        let _ = fuzz_health(bytes);
    });
}

#[test]
fn arbitrary_dns_messages_never_panic() {
    let mut answer = vec![0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 1];
    answer.extend(b"\x07example\x03com\x00\x00\x01\x00\x01");
    answer.extend(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01");
    answer.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    // A name that points to itself.
    let mut circle = answer.clone();
    circle[30] = 0x1d;
    mutations(&[answer, circle], fuzz_answer);
}

#[test]
fn arbitrary_messages_of_a_database_never_panic_or_hang() {
    let seeds = |name: &str| -> Vec<_> {
        names(&format!("corpus/{name}")).iter().map(|file| fs::read(file).unwrap()).collect()
    };
    mutations(&seeds("postgres_session"), fuzz_session);
    mutations(&seeds("mysql_session"), fuzz_mysql_session);
    mutations(&seeds("redis_session"), fuzz_redis_session);
}

#[test]
fn arbitrary_certificates_never_panic() {
    let certificate = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    mutations(&[certificate.cert.der().to_vec()], fuzz_expiry);
}

#[test]
fn arbitrary_http_responses_never_panic_or_hang() {
    let world = World::new();
    let seeds = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec(),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 301 Moved\r\nLocation: /\r\n\r\n".to_vec(),
        // HTTP/2: SETTINGS, acknowledgement, HEADERS (":status: 200"), DATA.
        [
            &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88][..],
            &[0, 0, 2, 0, 1, 0, 0, 0, 1, b'o', b'k'],
        ]
        .concat(),
    ];
    mutations(&seeds, |bytes| world.responds(&Script::once(bytes)));
}

/// What is repeated without end.
#[test]
fn arbitrary_endless_responses_never_panic_or_hang() {
    let world = World::new();
    let mut random = StdRng::seed_from_u64(8);
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    for again in [
        &b"HTTP/1.1 100 Continue\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
        b"A: b\r\n",
        // HTTP/2: PING, an interim response, and DATA of one byte.
        &[0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 5, 1, 4, 0, 0, 0, 1, 8, 3, b'1', b'0', b'3'],
        &[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88, 0, 0, 1, 0, 0, 0, 0, 0, 1, b'x'],
    ] {
        for round in 0..20 {
            let mut again = again.to_vec();
            for _ in 0..round.min(3) {
                let place = random.random_range(0..again.len());
                again[place] ^= 1 << random.random_range(0..8);
            }
            let length = (again.len() as u16).to_le_bytes();
            let script = Script::endless(&[&length[..], &settings, &again].concat());
            world.responds(&script);
            world.answers_pushes(&Script::endless(&[&length[..], &again].concat()));
        }
    }
}

#[test]
fn arbitrary_configurations_never_panic() {
    let seeds: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/good"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| fs::read(path).unwrap())
        .filter(|text| text.len() < 3_000)
        .collect();
    assert!(!seeds.is_empty());
    mutations(&seeds, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let _ = Config::load(Some((Path::new("seed.yaml"), &text)), []);
    });
}

#[test]
fn arbitrary_vote_messages_never_panic() {
    let full = concat!(
        r#"{"version":1,"vantage":"eu-west-1","boot_id":"00000000000000ab","seq":7,"isolated":false,"peers":["#,
        r#"{"region":"us-east-1","state":"down","since_ms":1250,"vote":"down","last_answer_age_ms":2000,"#,
        r#""onset":1795230245123,"incident":"us-east-1/1795230245"},"#,
        r#"{"region":"b","state":"unknown","since_ms":0,"vote":"abstain","orders":[{"stage":"execute","drill":false,"at":5,"#,
        r#""signature":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}]}],"#,
        r#""ranking":[{"region":"b","rank":1,"score_seconds":0.033,"eligible":true,"reasons":[]},"#,
        r#"{"region":"us-east-1","eligible":false,"reasons":["state","rpo"]}]}"#
    );
    let empty =
        r#"{"version":1,"vantage":"a","boot_id":"0000000000000000","seq":0,"isolated":true,"peers":[],"ranking":[]}"#;
    let deep = empty.replace("\"seq\"", &format!("\"x\":{}{},\"seq\"", "[".repeat(100), "]".repeat(100)));
    assert!(VoteMessage::decode(full.as_bytes()).is_ok());
    mutations(&[full.into(), empty.into(), deep.into()], |bytes| fuzz_vote(bytes, b"v1="));
    for deepest in ["[", "{\"x\":"] {
        let _ = VoteMessage::decode(deepest.repeat(VoteMessage::MAX_BYTES / deepest.len()).as_bytes());
    }
}

#[test]
fn arbitrary_signatures_and_keys_never_panic() {
    let entry = concat!(
        r#"{"vantage":"eu-west-1","at":"2026-11-21T03:04:05.123Z","signature":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"#,
        r#"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}"#
    );
    let list = format!("[{entry},{entry}]");
    mutations(&[list.into(), format!("[{}]", vec![entry; 40].join(",")).into()], fuzz_signatures);
    for deepest in ["[", "{\"vantage\":"] {
        fuzz_signatures(deepest.repeat(100_000).as_bytes());
    }
    let (key, pem) = PrivateKey::generate().unwrap();
    mutations(&[pem.into_bytes()], |bytes| drop(PrivateKey::from_pem(bytes)));
    let keys = format!("# keys\nx {}\n", key.public());
    mutations(&[keys.into_bytes()], |bytes| drop(PublicKeys::parse(&String::from_utf8_lossy(bytes))));
}
