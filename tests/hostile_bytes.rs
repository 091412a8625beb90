//! The entry points of the fuzz targets in `fuzz/`, fed with seeds, everything cut and everything flipped: a
//! short run of each on every machine, without a fuzzer. Nothing may panic or hang.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{path::Path, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use regionwatch::{
    config::Config,
    decision::votes::VoteMessage,
    net::hostile::{fuzz_expiry, fuzz_response},
    probe::hostile::{fuzz_answer, fuzz_reply},
    signing::{PrivateKey, PublicKeys, hostile::fuzz_signatures},
};

const ROUNDS: usize = 4_000;

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
fn arbitrary_certificates_never_panic() {
    let certificate = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    mutations(&[certificate.cert.der().to_vec()], fuzz_expiry);
}

#[test]
fn arbitrary_http_responses_never_panic_or_hang() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
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
    mutations(&seeds, |bytes| {
        for http2 in [false, true] {
            let answered = async { tokio::time::timeout(Duration::from_secs(5), fuzz_response(bytes, http2)).await };
            assert!(runtime.block_on(answered).is_ok(), "hangs on {bytes:?}");
        }
    });
}

#[test]
fn arbitrary_configurations_never_panic() {
    let seeds: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/good"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| std::fs::read(path).unwrap())
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
    mutations(&[full.into(), empty.into(), deep.into()], |bytes| {
        if let Ok(vote_message) = VoteMessage::decode(bytes) {
            let encoded = vote_message.encode().unwrap();
            assert_eq!(VoteMessage::decode(&encoded), Ok(vote_message));
        }
    });
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
