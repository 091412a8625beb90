//! The vote message, as peers read it.

use std::{thread, time::Duration};

use regionwatch::{
    decision::votes::{Keys, VoteMessage},
    model::Nonce,
    server::Limits,
};

use crate::support::{Answer, BOOT, Prober, Running, Setup};

fn keys(secret: &str) -> Keys {
    Keys::new(&[secret]).unwrap()
}

fn ask(server: &Running, nonce: &str) -> Answer {
    server.ask("GET", "/api/v1/regions", &format!("regionwatch-nonce: {nonce}\r\n"))
}

const NONCE: &str = "00112233445566778899aabbccddeeff";

#[test]
fn votes_are_signed_if_the_request_has_a_nonce() {
    let ours = keys("a secret of all regions");
    let server = Setup { keys: Some(ours.clone()), ..Setup::default() }.run();
    let answer = ask(&server, NONCE);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let signature = answer.header("regionwatch-signature").unwrap();
    let nonce = Nonce::parse(NONCE.as_bytes()).unwrap();
    assert!(ours.verify(nonce, &answer.body, signature.as_bytes()));
    assert!(!keys("a secret of others here").verify(nonce, &answer.body, signature.as_bytes()));
    assert!(!ours.verify(Nonce(1), &answer.body, signature.as_bytes()));

    let first = VoteMessage::decode(&answer.body).unwrap();
    assert_eq!((first.vantage().as_str(), first.incarnation()), ("eu-west-1", BOOT));
    thread::sleep(2 * Limits::default().votes_max_age);
    let next = VoteMessage::decode(&ask(&server, NONCE).body).unwrap();
    assert!(next.sequence() > first.sequence());
}

#[test]
fn votes_are_unsigned_without_a_nonce_or_a_key() {
    let server = Setup { keys: Some(keys("a secret of all regions")), ..Setup::default() }.run();
    let open = server.get("/api/v1/regions");
    assert_eq!((open.status, open.header("regionwatch-signature")), (200, None));
    assert!(VoteMessage::decode(&open.body).is_ok());
    let server = Setup::default().run();
    let answer = ask(&server, NONCE);
    assert_eq!((answer.status, answer.header("regionwatch-signature")), (200, None));
}

#[test]
fn a_malformed_nonce_is_rejected_with_one_message() {
    let server = Setup { keys: Some(keys("a secret of all regions")), ..Setup::default() }.run();
    let upper = NONCE.to_uppercase();
    for nonce in ["", "0", &NONCE[1..], &upper, &format!("{NONCE}0"), "\u{e9}", &"0".repeat(4000)] {
        let answer = ask(&server, nonce);
        assert_eq!((answer.status, answer.header("regionwatch-signature")), (400, None), "{nonce}");
        assert!(answer.body.len() < 300);
    }
    assert_eq!(
        ask(&server, "abc").text(),
        "regionwatch-nonce: \"abc\" is not 32 lower-case hexadecimal digits; send 32 random ones, or omit the header to \
         get an unsigned response\n"
    );
    let twice = ask(&server, &format!("{NONCE}\r\nRegionwatch-Nonce: {NONCE}"));
    assert_eq!((twice.status, twice.text()), (400, "regionwatch-nonce is given twice\n"));
}

#[test]
fn a_head_request_gets_the_signature_and_other_methods_are_rejected() {
    let server = Setup { keys: Some(keys("a secret of all regions")), ..Setup::default() }.run();
    let head = server.ask("HEAD", "/api/v1/regions", &format!("regionwatch-nonce: {NONCE}\r\n"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("regionwatch-signature").is_some_and(|signature| signature.starts_with("v1=")));
    assert!(head.header("content-length").is_some_and(|length| length != "0"));
    let post = server.ask("POST", "/api/v1/regions", "Content-Length: 0\r\n");
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    assert!(server.get("/api/v1/region").text().contains("GET  /api/v1/regions\n"));
}

#[test]
fn many_concurrent_requests_for_votes_make_one_query() {
    let limits = Limits { votes_max_age: Duration::from_secs(60), ..Limits::default() };
    let server = Setup { limits, ..Setup::default() }.run();
    let asking = || {
        let answer = server.get("/api/v1/regions");
        (answer.status, VoteMessage::decode(&answer.body).map(|message| message.sequence()))
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..64).map(|_| scope.spawn(asking)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(answers, vec![(200, Ok(1)); 64]);
    server.settles();
}

#[test]
fn a_request_for_votes_times_out_if_the_engine_is_silent() {
    let limits = Limits { query_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = Setup { prober: Prober::Silent, limits, ..Setup::default() }.run();
    // More than fit into the channel to the probing thread.
    for _ in 0..8 {
        let answer = server.get("/api/v1/regions");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    assert_eq!(server.get("/metrics").status, 200);
    server.settles();
}
