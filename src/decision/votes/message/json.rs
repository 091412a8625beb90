//! A bulletin as JSON. The bytes come from elsewhere: they are bounded, and what has been decoded is valid.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Bulletin, Invalid, PeerReport, Placing};
use crate::model::{Ineligible, PeerState, Region, UnixMillis, Vote};

/// The version of the format. Fields may be added to it; one that changes its meaning makes a new version.
pub(super) const VERSION: u64 = 1;

impl Bulletin {
    /// The bytes: always the same ones for the same bulletin.
    ///
    /// # Errors
    /// [`Invalid::TooLarge`], which takes several hundred peers, each with all that can be said about it.
    pub fn encode(&self) -> Result<Bytes, Invalid> {
        let wire = Wire {
            version: VERSION,
            vantage: self.vantage.as_str().into(),
            boot_id: format!("{:016x}", self.boot).into(),
            seq: self.seq,
            isolated: self.isolated,
            peers: self.peers.iter().map(WireReport::of).collect(),
            ranking: self.ranking.iter().map(WirePlacing::of).collect(),
        };
        let mut bytes = serde_json::to_vec(&wire).expect("a Vec takes every write, and every key is a string");
        bytes.push(b'\n');
        if bytes.len() > Self::MAX_BYTES {
            return Err(Invalid::TooLarge);
        }
        Ok(bytes.into())
    }

    /// Reads the bytes. Fields and reasons that are not known here are ignored, so that sidecars of different ages
    /// understand each other.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Invalid::TooLarge);
        }
        let wire: Wire<'_> = serde_json::from_slice(bytes)
            .map_err(|error| Invalid::Json { line: error.line(), column: error.column() })?;
        if wire.version != VERSION {
            return Err(Invalid::Version(wire.version));
        }
        let peers = wire.peers.into_iter().map(WireReport::read).collect::<Result<_, _>>()?;
        let ranking = wire.ranking.into_iter().map(WirePlacing::read).collect::<Result<_, _>>()?;
        Self::new(Region::new(&wire.vantage)?, (boot(&wire.boot_id)?, wire.seq), wire.isolated, peers, ranking)
    }
}

fn boot(text: &str) -> Result<u64, Invalid> {
    let well_formed = text.len() == 16 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    well_formed.then(|| u64::from_str_radix(text, 16).ok()).flatten().ok_or(Invalid::Text("boot_id"))
}

/// The JSON.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    version: u64,
    #[serde(borrow)]
    vantage: Cow<'a, str>,
    #[serde(borrow)]
    boot_id: Cow<'a, str>,
    seq: u64,
    isolated: bool,
    #[serde(borrow)]
    peers: Vec<WireReport<'a>>,
    #[serde(borrow)]
    ranking: Vec<WirePlacing<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireReport<'a> {
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
}

#[derive(Serialize, Deserialize)]
struct WirePlacing<'a> {
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

impl<'a> WireReport<'a> {
    fn of(report: &'a PeerReport) -> Self {
        Self {
            region: report.region.as_str().into(),
            state: Label(Some(report.state)),
            since_ms: report.since_ms,
            vote: Label(Some(report.vote)),
            last_answer_age_ms: report.last_answer_age_ms,
            onset: report.onset.map(|UnixMillis(millis)| millis),
            incident: report.incident.as_deref().map(Cow::from),
        }
    }

    fn read(self) -> Result<PeerReport, Invalid> {
        Ok(PeerReport {
            region: Region::new(&self.region)?,
            state: self.state.0.ok_or(Invalid::Text("state"))?,
            since_ms: self.since_ms,
            vote: self.vote.0.ok_or(Invalid::Text("vote"))?,
            last_answer_age_ms: self.last_answer_age_ms,
            onset: self.onset.map(UnixMillis),
            incident: self.incident.map(Arc::from),
        })
    }
}

impl<'a> WirePlacing<'a> {
    fn of(placing: &'a Placing) -> Self {
        Self {
            region: placing.region.as_str().into(),
            rank: placing.rank,
            score_seconds: placing.score.map(|score| score.as_secs_f64()),
            eligible: placing.eligible,
            reasons: placing.reasons.iter().map(|reason| Label(Some(*reason))).collect(),
        }
    }

    fn read(self) -> Result<Placing, Invalid> {
        let score = |seconds| Duration::try_from_secs_f64(seconds).map_err(|_| Invalid::Number("score_seconds"));
        Ok(Placing {
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
        super::tests::{bulletin, placing, region, report},
        *,
    };

    const EMPTY: &str =
        r#"{"version":1,"vantage":"a","boot_id":"00000000000000ab","seq":7,"isolated":false,"peers":[],"ranking":[]}"#;

    #[test]
    fn the_format_is_this_one() {
        let ineligible = Placing {
            rank: None,
            score: None,
            eligible: false,
            reasons: vec![Ineligible::State, Ineligible::Rpo],
            ..placing("us-east-1")
        };
        let silent = report("us-east-1");
        let unknown = PeerReport {
            state: PeerState::Unknown,
            vote: Vote::Abstain,
            last_answer_age_ms: None,
            onset: None,
            incident: None,
            ..report("b")
        };
        let bytes = bulletin(vec![silent, unknown], vec![placing("b"), ineligible]).unwrap().encode().unwrap();
        let expected = concat!(
            r#"{"version":1,"vantage":"eu-west-1","boot_id":"00000000000000ab","seq":7,"isolated":false,"#,
            r#""peers":[{"region":"us-east-1","state":"suspect","since_ms":1250,"vote":"down","#,
            r#""last_answer_age_ms":2000,"onset":1795230245123,"incident":"us-east-1/1795230245"},"#,
            r#"{"region":"b","state":"unknown","since_ms":1250,"vote":"abstain"}],"#,
            r#""ranking":[{"region":"b","rank":1,"score_seconds":0.033,"eligible":true,"reasons":[]},"#,
            r#"{"region":"us-east-1","eligible":false,"reasons":["state","rpo"]}]}"#,
            "\n"
        );
        assert_eq!(std::str::from_utf8(&bytes), Ok(expected));
    }

    #[test]
    fn what_a_newer_sidecar_adds_is_ignored() {
        let text = r#"{"new":[{"x":null}],"version":1,"vantage":"a","boot_id":"00000000000000ab","seq":7,
            "isolated":false,"peers":[{"region":"b","state":"down","since_ms":0,"vote":"down","new":{}}],
            "ranking":[{"region":"b","eligible":false,"reasons":["state","tired","tired"],"rank":null}]}"#;
        let decoded = Bulletin::decode(text.as_bytes()).unwrap();
        assert_eq!(decoded.peers()[0].vote, Vote::Down);
        assert_eq!(decoded.ranking()[0].reasons, [Ineligible::State]);
    }

    #[test]
    fn nothing_out_of_range_is_decoded() {
        assert!(Bulletin::decode(EMPTY.as_bytes()).is_ok());
        let peer = |fields: &str| {
            let entry = format!(r#""peers":[{{"region":"b","state":"up","since_ms":1,"vote":"up",{fields}}}]"#);
            ("\"peers\":[]", entry.replace(r#""state":"up""#, r#""state":"healthy""#))
        };
        let place =
            |fields: &str| ("\"ranking\":[]", format!(r#""ranking":[{{"region":"b","eligible":true,{fields}}}]"#));
        let long = "i".repeat(Bulletin::MAX_INCIDENT + 1);
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
            place("\"rank\":0"),
            place("\"rank\":1025"),
            place("\"score_seconds\":-0.001"),
            place("\"score_seconds\":1e999"),
            place("\"score_seconds\":1000000.1"),
            place("\"score_seconds\":null,\"reasons\":[\"state\",\"state\"]"),
        ] {
            let text = EMPTY.replacen(from, &to, 1);
            assert_ne!(text, EMPTY);
            assert!(Bulletin::decode(text.as_bytes()).is_err(), "{text}");
        }
        let (from, to) = peer("\"onset\":253402300799999");
        assert!(Bulletin::decode(EMPTY.replacen(from, &to, 1).as_bytes()).is_ok());
    }

    #[test]
    fn a_bulletin_has_a_largest_size_on_both_ways() {
        let mut text = EMPTY.to_owned();
        text.push_str(&" ".repeat(Bulletin::MAX_BYTES - EMPTY.len()));
        assert!(Bulletin::decode(text.as_bytes()).is_ok());
        text.push(' ');
        assert_eq!(Bulletin::decode(text.as_bytes()), Err(Invalid::TooLarge));
        let long = |n| PeerReport { incident: Some("i".repeat(128).into()), ..report(&format!("{n:060}")) };
        let all = bulletin((0..1024).map(long).collect(), Vec::new()).unwrap();
        assert_eq!(all.encode(), Err(Invalid::TooLarge));
    }

    fn reports() -> impl Strategy<Value = PeerReport> {
        let age = || prop_oneof![0..100_000_u64, 0..=Bulletin::MAX_AGE_MS];
        let states = (select(&PeerState::ALL), age(), select(&Vote::ALL), option::of(age()));
        let incident = option::of("[ -~]{1,128}".prop_map(Arc::from));
        let onset = option::of((0..=Bulletin::MAX_TIME.0).prop_map(UnixMillis));
        (states, onset, incident).prop_map(|((state, since_ms, vote, last_answer_age_ms), onset, incident)| {
            PeerReport { state, since_ms, vote, last_answer_age_ms, onset, incident, ..report("x") }
        })
    }

    fn placings() -> impl Strategy<Value = Placing> {
        let nanos = prop_oneof![0..2_000_000_000_u64, 0..=1_000_000_000_000_000_u64];
        let score = option::of(nanos.prop_map(Duration::from_nanos));
        let reasons = proptest::sample::subsequence(Ineligible::ALL.to_vec(), 0..=Ineligible::ALL.len());
        (option::of(1..=1024_u32), score, any::<bool>(), reasons).prop_map(|(rank, score, eligible, reasons)| Placing {
            region: region("x"),
            rank,
            score,
            eligible,
            reasons,
        })
    }

    prop_compose! {
        fn bulletins()(
            names in vec("[A-Za-z0-9._-]{1,50}", 8),
            counted in (any::<u64>(), 0..=Bulletin::MAX_SEQ),
            isolated in any::<bool>(),
            peers in vec(reports(), 0..8),
            ranking in vec(placings(), 0..8),
        ) -> Bulletin {
            let name = |n: usize| region(&format!("{}-{n}", names[n]));
            let peers = peers.into_iter().enumerate().map(|(n, report)| PeerReport { region: name(n), ..report });
            let ranking = ranking.into_iter().enumerate().map(|(n, placing)| Placing { region: name(n), ..placing });
            Bulletin::new(region("here"), counted, isolated, peers.collect(), ranking.collect()).unwrap()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn what_was_encoded_is_decoded(bulletin in bulletins()) {
            let bytes = bulletin.encode().unwrap();
            prop_assert_eq!(&bulletin.encode().unwrap(), &bytes);
            prop_assert_eq!(Bulletin::decode(&bytes), Ok(bulletin));
        }

        #[test]
        fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..300)) {
            let _ = Bulletin::decode(&bytes);
        }

        #[test]
        fn a_changed_bulletin_is_refused_or_valid(
            bulletin in bulletins(), place in any::<prop::sample::Index>(), byte in any::<u8>(),
        ) {
            let mut bytes = bulletin.encode().unwrap().to_vec();
            let place = place.index(bytes.len());
            bytes[place] = byte;
            if let Ok(decoded) = Bulletin::decode(&bytes) {
                let again = decoded.encode().unwrap();
                prop_assert_eq!(Bulletin::decode(&again), Ok(decoded));
            }
        }
    }
}
