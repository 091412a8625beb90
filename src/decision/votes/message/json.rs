//! A message as JSON. The bytes come from elsewhere: they are bounded, and what has been decoded is valid.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{InvalidMessage, PeerVoteEntry, RankEntry, VERSION, VoteMessage};
use crate::{
    model::{Ineligible, LabelValue, PeerState, Region, Signature, Stage, UnixMillis, Vote},
    signing::{decode_signature, encode_signature},
};

impl VoteMessage {
    /// The bytes: always the same ones for the same message.
    ///
    /// # Errors
    /// [`InvalidMessage::TooLarge`], which takes several hundred peers, each with all that can be said about it.
    pub fn encode(&self) -> Result<Bytes, InvalidMessage> {
        let wire = Wire {
            version: VERSION,
            vantage: self.vantage.as_str().into(),
            environment: self.environment.as_ref().map(|environment| environment.as_str().into()),
            boot_id: format!("{:016x}", self.incarnation).into(),
            seq: self.sequence,
            isolated: self.isolated,
            peers: self.peers.iter().map(WireEntry::of).collect(),
            ranking: self.ranking.iter().map(WireRank::of).collect(),
        };
        let mut bytes = serde_json::to_vec(&wire).expect("a Vec takes every write, and every key is a string");
        bytes.push(b'\n');
        if bytes.len() > Self::MAX_BYTES {
            return Err(InvalidMessage::TooLarge);
        }
        Ok(bytes.into())
    }

    /// Reads the bytes. Fields and reasons that are not known here are ignored, so that sidecars of different ages
    /// understand each other.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidMessage> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(InvalidMessage::TooLarge);
        }
        let wire: Wire<'_> = serde_json::from_slice(bytes)
            .map_err(|error| InvalidMessage::Json { line: error.line(), column: error.column() })?;
        if wire.version != VERSION {
            return Err(InvalidMessage::Version(wire.version));
        }
        let peers = wire.peers.into_iter().map(WireEntry::read).collect::<Result<_, _>>()?;
        let ranking = wire.ranking.into_iter().map(WireRank::read).collect::<Result<_, _>>()?;
        let environment = wire.environment.filter(|environment| !environment.is_empty());
        let environment = environment.map(|environment| LabelValue::new(&environment)).transpose()?;
        let id = (incarnation(&wire.boot_id)?, wire.seq);
        let message = Self::new(Region::new(&wire.vantage)?, id, wire.isolated, peers, ranking)?;
        Ok(message.with_environment(environment))
    }
}

fn incarnation(text: &str) -> Result<u64, InvalidMessage> {
    let bytes = HEXLOWER.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or(InvalidMessage::Text("boot_id"))
}

/// The JSON.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    version: u64,
    #[serde(borrow)]
    vantage: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    environment: Option<Cow<'a, str>>,
    #[serde(borrow)]
    boot_id: Cow<'a, str>,
    seq: u64,
    isolated: bool,
    #[serde(borrow)]
    peers: Vec<WireEntry<'a>>,
    #[serde(borrow)]
    ranking: Vec<WireRank<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireEntry<'a> {
    #[serde(borrow)]
    region: Cow<'a, str>,
    state: Label<PeerState>,
    since_ms: u64,
    vote: Label<Vote>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_answer_age_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    onset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    orders: Vec<WireOrder<'a>>,
}

/// A signature of the sender under an order about the peer, in the environment of the message.
#[derive(Serialize, Deserialize)]
struct WireOrder<'a> {
    #[serde(borrow)]
    stage: Cow<'a, str>,
    drill: bool,
    at: u64,
    #[serde(borrow)]
    signature: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct WireRank<'a> {
    #[serde(borrow)]
    region: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rank: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score_seconds: Option<f64>,
    eligible: bool,
    #[serde(default)]
    reasons: Vec<Label<Ineligible>>,
}

impl<'a> WireEntry<'a> {
    fn of(entry: &'a PeerVoteEntry) -> Self {
        Self {
            region: entry.region.as_str().into(),
            state: Label(Some(entry.state)),
            since_ms: entry.since_ms,
            vote: Label(Some(entry.vote)),
            last_answer_age_ms: entry.last_answer_age_ms,
            onset: entry.onset.map(|UnixMillis(millis)| millis),
            incident: entry.incident.as_deref().map(Cow::from),
            held: entry.held,
            orders: entry.order.iter().map(WireOrder::of).collect(),
        }
    }

    fn read(self) -> Result<PeerVoteEntry, InvalidMessage> {
        if self.orders.len() > VoteMessage::MAX_ORDERS {
            return Err(InvalidMessage::Number("number of orders"));
        }
        let order = self.orders.iter().find(|order| order.is_execute()).map(WireOrder::read).transpose()?;
        Ok(PeerVoteEntry {
            region: Region::new(&self.region)?,
            state: self.state.0.ok_or(InvalidMessage::Text("state"))?,
            since_ms: self.since_ms,
            vote: self.vote.0.ok_or(InvalidMessage::Text("vote"))?,
            last_answer_age_ms: self.last_answer_age_ms,
            onset: self.onset.map(UnixMillis),
            incident: self.incident.map(Arc::from),
            held: self.held,
            order,
        })
    }
}

impl<'a> WireOrder<'a> {
    fn of((UnixMillis(at), signature): &(UnixMillis, Signature)) -> Self {
        let signature = encode_signature(signature).into();
        Self { stage: Stage::Execute.as_str().into(), drill: false, at: *at, signature }
    }

    /// Whether it orders a failover; later versions may sign more.
    fn is_execute(&self) -> bool {
        Stage::parse(&self.stage) == Some(Stage::Execute) && !self.drill
    }

    fn read(&self) -> Result<(UnixMillis, Signature), InvalidMessage> {
        let signature = decode_signature(&self.signature).ok_or(InvalidMessage::Text("signature"))?;
        Ok((UnixMillis(self.at), signature))
    }
}

impl<'a> WireRank<'a> {
    fn of(rank_entry: &'a RankEntry) -> Self {
        Self {
            region: rank_entry.region.as_str().into(),
            rank: rank_entry.rank,
            score_seconds: rank_entry.score.map(|score| score.as_secs_f64()),
            eligible: rank_entry.eligible,
            reasons: rank_entry.reasons.iter().map(|reason| Label(Some(*reason))).collect(),
        }
    }

    fn read(self) -> Result<RankEntry, InvalidMessage> {
        let score = |seconds| Duration::try_from_secs_f64(seconds).map_err(|_| InvalidMessage::Number("score_seconds"));
        Ok(RankEntry {
            region: Region::new(&self.region)?,
            rank: self.rank,
            score: self.score_seconds.map(score).transpose()?,
            eligible: self.eligible,
            reasons: self.reasons.into_iter().filter_map(|reason| reason.0).collect(),
        })
    }
}

/// A word of a closed set; `None` where it was read and is not known.
struct Label<T>(Option<T>);

trait Word: Copy {
    fn word(self) -> &'static str;
    fn known(word: &str) -> Option<Self>;
}

macro_rules! words {
    ($($name:ty),*) => {
        $(impl Word for $name {
            fn word(self) -> &'static str {
                self.as_str()
            }

            fn known(word: &str) -> Option<Self> {
                Self::parse(word)
            }
        })*
    };
}

words!(PeerState, Vote, Ineligible);

impl<T: Word> Serialize for Label<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.map(T::word).serialize(serializer)
    }
}

impl<'de, T: Word> Deserialize<'de> for Label<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'_, str>::deserialize(deserializer).map(|word| Self(T::known(&word)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*, sample::select};

    use super::{
        super::tests::{entry, message, rank_entry, region},
        *,
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
            onset: None,
            incident: None,
            held: None,
            order: Some((UnixMillis(1_795_230_245_123), Signature([0; 64]))),
            ..entry("b")
        };
        let bytes = message(vec![silent, unknown], vec![rank_entry("b"), ineligible]).unwrap().encode().unwrap();
        let expected = concat!(
            r#"{"version":1,"vantage":"eu-west-1","boot_id":"00000000000000ab","seq":7,"isolated":false,"#,
            r#""peers":[{"region":"us-east-1","state":"suspect","since_ms":1250,"vote":"down","#,
            r#""last_answer_age_ms":2000,"onset":1795230245123,"incident":"us-east-1/1795230245","held":true},"#,
            r#"{"region":"b","state":"unknown","since_ms":1250,"vote":"abstain","orders":[{"stage":"execute","drill":false,"#,
            r#""at":1795230245123,"signature":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="}]}],"#,
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
        let place =
            |fields: &str| ("\"ranking\":[]", format!(r#""ranking":[{{"region":"b","eligible":true,{fields}}}]"#));
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
        let states = (select(&PeerState::ALL), age(), select(&Vote::ALL), option::of(age()));
        let incident = option::of("[ -~]{1,128}".prop_map(Arc::from));
        let time = || (0..=VoteMessage::MAX_TIME.0).prop_map(UnixMillis);
        let order = option::of((time(), vec(any::<u8>(), 64).prop_map(|bytes| Signature(bytes.try_into().unwrap()))));
        let incident = (option::of(time()), incident, any::<Option<bool>>(), order);
        (states, incident).prop_map(|((state, since_ms, vote, last_answer_age_ms), (onset, incident, held, order))| {
            PeerVoteEntry { state, since_ms, vote, last_answer_age_ms, onset, incident, held, order, ..entry("x") }
        })
    }

    fn rank_entries() -> impl Strategy<Value = RankEntry> {
        let nanos = prop_oneof![0..2_000_000_000_u64, 0..=1_000_000_000_000_000_u64];
        let score = option::of(nanos.prop_map(Duration::from_nanos));
        let reasons = proptest::sample::subsequence(Ineligible::ALL.to_vec(), 0..=Ineligible::ALL.len());
        (option::of(1..=1024_u32), score, any::<bool>(), reasons).prop_map(|(rank, score, eligible, reasons)| {
            RankEntry { region: region("x"), rank, score, eligible, reasons }
        })
    }

    prop_compose! {
        fn messages()(
            names in vec("[A-Za-z0-9._-]{1,50}", 8),
            counted in (any::<u64>(), 0..=VoteMessage::MAX_SEQUENCE),
            isolated in any::<bool>(),
            environment in option::of("[^\\p{Cc}]{1,64}"),
            peers in vec(entries(), 0..8),
            ranking in vec(rank_entries(), 0..8),
        ) -> VoteMessage {
            let name = |n: usize| region(&format!("{}-{n}", names[n]));
            let peers = peers.into_iter().enumerate().map(|(n, entry)| PeerVoteEntry { region: name(n), ..entry });
            let ranking = ranking.into_iter().enumerate().map(|(n, rank_entry)| RankEntry { region: name(n), ..rank_entry });
            VoteMessage::new(region("here"), counted, isolated, peers.collect(), ranking.collect())
                .unwrap()
                .with_environment(environment.map(|environment| LabelValue::new(&environment).unwrap()))
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
}
