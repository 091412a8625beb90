//! The wire format, and what is rejected.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    super::tests::{entry, message, rank_entry, region},
    *,
};
use crate::{
    decision::statements::{MAX_STATEMENT, MAX_STATEMENTS},
    signing::PrivateKey,
};

const EMPTY: &str =
    r#"{"version":1,"vantage":"a","boot_id":"00000000000000ab","seq":7,"isolated":false,"peers":[],"ranking":[]}"#;

#[test]
fn the_wire_format_is_stable() {
    let ineligible = RankEntry {
        rank: None,
        score: None,
        eligible: false,
        reasons: vec![Ineligible::State, Ineligible::Rpo],
        ..rank_entry("us-east-1")
    };
    let silent = PeerVoteEntry { held: Some(true), ..entry("us-east-1") };
    let unknown = PeerVoteEntry {
        state: PeerState::Unknown,
        vote: Vote::Abstain,
        last_answer_age_ms: None,
        alive_age_ms: Some(3),
        unserved_ms: Some(4),
        onset: None,
        incident: None,
        held: None,
        mode: Some(FailoverMode::Disarmed),
        target: Some((region("c"), region("a"))),
        failed_over: Some(FailedOverEntry {
            incident: "b-1".into(),
            onset: UnixMillis(1),
            target: region("c"),
            age_ms: 2,
        }),
        operator_order: true,
        order: Some((UnixMillis(1_795_230_245_123), Signature([0; 64]))),
        ..entry("b")
    };
    let bytes = message(vec![silent, unknown], vec![rank_entry("b"), ineligible]).unwrap().encode().unwrap();
    let expected = concat!(
        r#"{"version":1,"vantage":"eu-west-1","boot_id":"00000000000000ab","seq":7,"isolated":false,"#,
        r#""peers":[{"region":"us-east-1","state":"suspect","since_ms":1250,"vote":"down","#,
        r#""last_answer_age_ms":2000,"onset":1795230245123,"incident":"us-east-1/1795230245","held":true},"#,
        r#"{"region":"b","state":"unknown","since_ms":1250,"vote":"abstain","alive_age_ms":3,"unserved_ms":4,"orders":[{"stage":"execute","drill":false,"#,
        r#""at":1795230245123,"signature":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}],"#,
        r#""mode":"disarmed","target":{"region":"c","by":"a"},"failed_over":{"incident":"b-1","onset":1,"target":"c","age_ms":2},"operator_order":true}],"#,
        r#""ranking":[{"region":"b","rank":1,"score_seconds":0.033,"eligible":true,"reasons":[]},"#,
        r#"{"region":"us-east-1","eligible":false,"reasons":["state","rpo"]}]}"#,
        "\n"
    );
    assert_eq!(std::str::from_utf8(&bytes), Ok(expected));
}

#[test]
fn a_message_names_its_environment_only_if_it_has_one() {
    let plain = message(Vec::new(), Vec::new()).unwrap();
    assert_eq!(VoteMessage::decode(&plain.encode().unwrap()).unwrap().environment(), None);
    assert!(!String::from_utf8_lossy(&plain.encode().unwrap()).contains("environment"));
    let prod = LabelValue::new("prod").unwrap();
    let bytes = plain.with_environment(Some(prod.clone())).encode().unwrap();
    assert!(bytes.starts_with(br#"{"version":1,"vantage":"eu-west-1","environment":"prod","boot_id":"#));
    assert_eq!(VoteMessage::decode(&bytes).unwrap().environment(), Some(&prod));
    let empty = EMPTY.replacen("7,", r#"7,"environment":"","#, 1);
    assert_eq!(VoteMessage::decode(empty.as_bytes()).unwrap().environment(), None);
    let null = EMPTY.replacen("7,", r#"7,"environment":null,"#, 1);
    assert_eq!(VoteMessage::decode(null.as_bytes()).unwrap().environment(), None);
}

/// What an older reader does not know follows what it knows, in a field of its own, which it ignores.
#[test]
fn statements_of_operators_travel_unchanged_and_change_nothing_else_in_a_message() {
    let plain = || message(vec![entry("b")], Vec::new()).unwrap();
    let with = |texts: &[&str]| plain().with_statements(texts.iter().map(|text| Arc::from(*text))).encode().unwrap();
    assert_eq!(with(&[]), plain().encode().unwrap());
    let bytes = with(&["one", "t\"wo", "", &"x".repeat(MAX_STATEMENT + 1), "two words", "t\u{fc}r"]);
    let (before, after) =
        (String::from_utf8(with(&[]).into()).unwrap(), String::from_utf8(bytes.clone().into()).unwrap());
    assert_eq!(after, before.replacen("]}\n", "],\"statements\":[\"one\",\"t\\\"wo\"]}\n", 1));
    let read = VoteMessage::decode(&bytes).unwrap();
    assert_eq!(read.statements(), [Arc::from("one"), Arc::from("t\"wo")]);
    assert_eq!(read.peers(), plain().peers());
    let many: Vec<_> = (0..MAX_STATEMENTS + 1).map(|n| n.to_string()).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(VoteMessage::decode(&with(&many)).unwrap().statements().len(), MAX_STATEMENTS);
}

#[test]
fn a_message_names_the_key_of_the_sender_only_if_it_has_one() {
    let plain = message(Vec::new(), Vec::new()).unwrap();
    assert!(!String::from_utf8_lossy(&plain.encode().unwrap()).contains("public_key"));
    let key = PrivateKey::generate().unwrap().0.public();
    let bytes = plain.with_public_key(Some(key)).encode().unwrap();
    let start = format!(r#"{{"version":1,"vantage":"eu-west-1","public_key":"{key}","boot_id":"#);
    assert!(bytes.starts_with(start.as_bytes()), "{}", String::from_utf8_lossy(&bytes));
    assert_eq!(VoteMessage::decode(&bytes).unwrap().public_key(), Some(&key));
}

fn losses(count: usize, servers: usize) -> Vec<DatabaseLoss> {
    let bounds = LossBounds::new(Duration::from_micros(800_400), Duration::from_micros(1_900_400));
    let replicas = |n: usize| (region(&format!("r{n}")), bounds);
    let loss = |n: usize| DatabaseLoss {
        database: TargetName::new(&format!("d{n}")).unwrap(),
        primary: (n > 0).then(|| region("p")),
        replicas: (0..servers).map(replicas).collect(),
    };
    (0..count).map(loss).collect()
}

#[test]
fn a_message_says_what_failovers_would_lose_and_never_less_than_that() {
    let plain = message(Vec::new(), Vec::new()).unwrap();
    assert!(!String::from_utf8_lossy(&plain.encode().unwrap()).contains("databases"));
    let bytes = plain.clone().with_databases(losses(2, 1)).unwrap().encode().unwrap();
    let end = concat!(
        r#","databases":[{"name":"d0","replicas":[{"region":"r0","lower_ms":800,"upper_ms":1901}]},"#,
        r#"{"name":"d1","primary":"p","replicas":[{"region":"r0","lower_ms":800,"upper_ms":1901}]}]}"#,
        "\n"
    );
    assert!(bytes.ends_with(end.as_bytes()), "{}", String::from_utf8_lossy(&bytes));
    let decoded = VoteMessage::decode(&bytes).unwrap();
    assert_eq!(decoded.encode().unwrap(), bytes);
    assert_eq!(decoded.databases()[1].primary, Some(region("p")));
    let full = plain.clone().with_databases(losses(VoteMessage::MAX_DATABASES, VoteMessage::MAX_SERVERS)).unwrap();
    assert!(full.encode().is_ok());
    assert!(plain.clone().with_databases(losses(VoteMessage::MAX_DATABASES + 1, 1)).is_err());
    assert!(plain.clone().with_databases(losses(1, VoteMessage::MAX_SERVERS + 1)).is_err());
    assert_eq!(plain.with_databases([losses(1, 1), losses(1, 1)].concat()), Err(InvalidMessage::Twice("a database")));
    let text = |replicas: &str| {
        let databases = format!(r#""ranking":[],"databases":[{{"name":"d","replicas":[{replicas}]}}]"#);
        VoteMessage::decode(EMPTY.replacen("\"ranking\":[]", &databases, 1).as_bytes())
    };
    let replica = |lower: &str, upper: &str| format!(r#"{{"region":"b","lower_ms":{lower},"upper_ms":{upper}}}"#);
    assert!(text(&replica("0", "1")).is_ok());
    for (lower, upper) in [("2", "1"), ("0", "31536000000001"), ("-1", "1"), ("0", "1.5")] {
        assert!(text(&replica(lower, upper)).is_err(), "{lower} {upper}");
    }
    assert_eq!(text(&[replica("0", "1"), replica("0", "2")].join(",")), Err(InvalidMessage::Twice("a server")));
}

#[test]
fn a_message_has_the_time_at_which_it_was_written() {
    let plain = message(Vec::new(), Vec::new()).unwrap();
    assert_eq!(VoteMessage::decode(&plain.encode().unwrap()).unwrap().time(), None);
    let bytes = plain.with_time(Some(UnixMillis(1_795_230_245_123))).encode().unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains(r#""seq":7,"time":1795230245123,"isolated""#));
    assert_eq!(VoteMessage::decode(&bytes).unwrap().time(), Some(UnixMillis(1_795_230_245_123)));
    // A clock that is far off costs no vote.
    let wrong = EMPTY.replacen("7,", r#"7,"time":253402300800000,"#, 1);
    assert_eq!(VoteMessage::decode(wrong.as_bytes()).unwrap().time(), None);
}

#[test]
fn unknown_fields_and_reasons_are_ignored() {
    let text = r#"{"new":[{"x":null}],"version":1,"vantage":"a","boot_id":"00000000000000ab","seq":7,
        "isolated":false,"peers":[{"region":"b","state":"down","since_ms":0,"vote":"down","new":{}}],
        "ranking":[{"region":"b","eligible":false,"reasons":["state","tired","tired"],"rank":null}]}"#;
    let decoded = VoteMessage::decode(text.as_bytes()).unwrap();
    assert_eq!(decoded.peers()[0].vote, Vote::Down);
    assert_eq!(decoded.ranking()[0].reasons, [Ineligible::State]);
}

#[test]
fn values_out_of_range_are_rejected() {
    assert!(VoteMessage::decode(EMPTY.as_bytes()).is_ok());
    let peer = |fields: &str| {
        let entry = format!(r#""peers":[{{"region":"b","state":"up","since_ms":1,"vote":"up",{fields}}}]"#);
        ("\"peers\":[]", entry.replace(r#""state":"up""#, r#""state":"healthy""#))
    };
    let place = |fields: &str| ("\"ranking\":[]", format!(r#""ranking":[{{"region":"b","eligible":true,{fields}}}]"#));
    let long = "i".repeat(VoteMessage::MAX_INCIDENT + 1);
    let zeros = encode_signature(&Signature([0; 64]));
    let order = |at: u64, signature: &str| {
        format!(r#"{{"stage":"execute","drill":false,"at":{at},"signature":"{signature}"}}"#)
    };
    let orders = |count: usize, order: &str| format!("\"orders\":[{}]", vec![order; count].join(","));
    for (from, to) in [
        ("1,", "2,".to_owned()),
        ("\"a\"", "\"\"".to_owned()),
        ("\"a\"", "\"a b\"".to_owned()),
        ("00ab", "00aB".to_owned()),
        ("00ab", "0ab".to_owned()),
        ("7,", "-7,".to_owned()),
        ("7,", "7.5,".to_owned()),
        ("7,", "9007199254740992,".to_owned()),
        ("false", "0".to_owned()),
        ("[]}", "[]}{}".to_owned()),
        peer("\"onset\":253402300800000"),
        peer("\"last_answer_age_ms\":1e3"),
        peer("\"last_answer_age_ms\":31536000000001"),
        peer("\"incident\":\"\""),
        peer("\"incident\":\"\\n\""),
        peer("\"incident\":\"\u{e9}\""),
        peer(&format!("\"incident\":\"{long}\"")),
        ("7,", "7,\"environment\":\"a\\n\",".to_owned()),
        ("7,", "7,\"environment\":7,".to_owned()),
        ("7,", format!("7,\"environment\":\"{long}\",")),
        ("7,", "7,\"public_key\":\"\",".to_owned()),
        ("7,", format!("7,\"public_key\":\"{zeros}\",")),
        peer(&orders(9, &order(1, &zeros))),
        peer(&orders(1, &order(253_402_300_800_000, &zeros))),
        peer(&orders(1, &order(1, "AA=="))),
        peer(&orders(1, &order(1, &zeros[1..]))),
        peer(&orders(1, "{\"stage\":\"execute\",\"drill\":false,\"at\":1}")),
        peer("\"orders\":{}"),
        place("\"rank\":0"),
        place("\"rank\":1025"),
        place("\"score_seconds\":-0.001"),
        place("\"score_seconds\":1e999"),
        place("\"score_seconds\":1000000.1"),
        place("\"score_seconds\":null,\"reasons\":[\"state\",\"state\"]"),
    ] {
        let text = EMPTY.replacen(from, &to, 1);
        assert_ne!(text, EMPTY);
        assert!(VoteMessage::decode(text.as_bytes()).is_err(), "{text}");
    }
    // Orders that are not known here are left out.
    let unknown = r#""orders":[{"stage":"later","drill":false,"at":1,"signature":"?"},{"stage":"execute","drill":true,"at":1,"signature":""}]"#;
    let (from, to) = peer(unknown);
    let decoded = VoteMessage::decode(EMPTY.replacen(from, &to, 1).as_bytes()).unwrap();
    assert_eq!(decoded.peers()[0].order, None);
    let (from, to) = peer("\"onset\":253402300799999");
    assert!(VoteMessage::decode(EMPTY.replacen(from, &to, 1).as_bytes()).is_ok());
}

#[test]
fn a_message_has_a_maximum_size_in_both_directions() {
    let mut text = EMPTY.to_owned();
    text.push_str(&" ".repeat(VoteMessage::MAX_BYTES - EMPTY.len()));
    assert!(VoteMessage::decode(text.as_bytes()).is_ok());
    text.push(' ');
    assert_eq!(VoteMessage::decode(text.as_bytes()), Err(InvalidMessage::TooLarge));
    let long = |n| PeerVoteEntry { incident: Some("i".repeat(128).into()), ..entry(&format!("{n:060}")) };
    let all = message((0..1024).map(long).collect(), Vec::new()).unwrap();
    assert_eq!(all.encode(), Err(InvalidMessage::TooLarge));
}

fn entries() -> impl Strategy<Value = PeerVoteEntry> {
    let age = || prop_oneof![0..100_000_u64, 0..=VoteMessage::MAX_AGE_MS];
    let seen = (option::of(age()), option::of(age()), option::of(age()));
    let states = (select(&PeerState::ALL), age(), select(&Vote::ALL), seen);
    let incident = option::of("[ -~]{1,128}".prop_map(Arc::from));
    let time = || (0..=VoteMessage::MAX_TIME.0).prop_map(UnixMillis);
    let order = option::of((time(), vec(any::<u8>(), 64).prop_map(|bytes| Signature(bytes.try_into().unwrap()))));
    let incident = (option::of(time()), incident, any::<Option<bool>>(), order);
    let failed_over = ("[ -~]{1,128}", time(), age()).prop_map(|(id, onset, age_ms)| {
        let (incident, target) = (Arc::from(id), region("t"));
        FailedOverEntry { incident, onset, target, age_ms }
    });
    let mode = option::of(select(&FailoverMode::ALL));
    let failover = (mode, option::of(Just((region("t"), region("v")))), option::of(failed_over), any::<bool>());
    let entry = |((state, since_ms, vote, seen), (onset, incident, held, order), failover)| {
        let (mode, target, failed_over, operator_order) = failover;
        let (last_answer_age_ms, alive_age_ms, unserved_ms) = seen;
        let entry = PeerVoteEntry { state, since_ms, vote, onset, incident, held, order, ..entry("x") };
        let entry = PeerVoteEntry { last_answer_age_ms, alive_age_ms, unserved_ms, ..entry };
        PeerVoteEntry { mode, target, failed_over, operator_order, ..entry }
    };
    (states, incident, failover).prop_map(entry)
}

fn rank_entries() -> impl Strategy<Value = RankEntry> {
    let nanos = prop_oneof![0..2_000_000_000_u64, 0..=1_000_000_000_000_000_u64];
    let score = option::of(nanos.prop_map(Duration::from_nanos));
    let reasons = proptest::sample::subsequence(Ineligible::ALL.to_vec(), 0..=Ineligible::ALL.len());
    (option::of(1..=1024_u32), score, any::<bool>(), reasons).prop_map(|(rank, score, eligible, reasons)| RankEntry {
        region: region("x"),
        rank,
        score,
        eligible,
        reasons,
    })
}

prop_compose! {
    fn messages()(
        names in vec("[A-Za-z0-9._-]{1,50}", 8),
        counted in (any::<u64>(), 0..=VoteMessage::MAX_SEQUENCE),
        isolated in any::<bool>(),
        environment in option::of("[^\\p{Cc}]{1,64}"),
        key in option::of(Just(())),
        peers in vec(entries(), 0..8),
        ranking in vec(rank_entries(), 0..8),
    ) -> VoteMessage {
        let name = |n: usize| region(&format!("{}-{n}", names[n]));
        let peers = peers.into_iter().enumerate().map(|(n, entry)| PeerVoteEntry { region: name(n), ..entry });
        let ranking = ranking.into_iter().enumerate().map(|(n, rank_entry)| RankEntry { region: name(n), ..rank_entry });
        VoteMessage::new(region("here"), counted, isolated, peers.collect(), ranking.collect())
            .unwrap()
            .with_environment(environment.map(|environment| LabelValue::new(&environment).unwrap()))
            .with_public_key(key.map(|()| PrivateKey::generate().unwrap().0.public()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn an_encoded_message_is_decoded_unchanged(message in messages()) {
        let bytes = message.encode().unwrap();
        prop_assert_eq!(&message.encode().unwrap(), &bytes);
        prop_assert_eq!(VoteMessage::decode(&bytes), Ok(message));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = VoteMessage::decode(&bytes);
    }

    #[test]
    fn a_changed_message_is_rejected_or_valid(
        message in messages(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = message.encode().unwrap().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(decoded) = VoteMessage::decode(&bytes) {
            let again = decoded.encode().unwrap();
            prop_assert_eq!(VoteMessage::decode(&again), Ok(decoded));
        }
    }
}
