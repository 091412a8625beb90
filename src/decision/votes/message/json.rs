//! A message as JSON. The bytes come from elsewhere: they are bounded, and what has been decoded is valid.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FailedOverEntry, InvalidMessage, PeerVoteEntry, RankEntry, VERSION, VoteMessage};
use crate::{
    model::{
        DatabaseLoss, FailoverMode, Ineligible, LabelValue, LossBounds, PeerState, Region, Signature, Stage,
        TargetName, UnixMillis, Vote,
    },
    signing::{PublicKey, decode_signature, encode_signature},
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
            public_key: self.public_key.map(|key| key.to_string().into()),
            boot_id: format!("{:016x}", self.incarnation).into(),
            seq: self.sequence,
            time: self.time.map(|UnixMillis(millis)| millis),
            isolated: self.isolated,
            peers: self.peers.iter().map(WireEntry::of).collect(),
            ranking: self.ranking.iter().map(WireRank::of).collect(),
            databases: self.databases.iter().map(WireDatabase::of).collect(),
            statements: self.statements.iter().map(|text| Cow::from(&**text)).collect(),
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
        let databases = wire.databases.into_iter().map(WireDatabase::read).collect::<Result<_, _>>()?;
        let environment = wire.environment.filter(|environment| !environment.is_empty());
        let environment = environment.map(|environment| LabelValue::new(&environment)).transpose()?;
        let public_key = wire.public_key.map(|text| text.parse::<PublicKey>()).transpose();
        let public_key = public_key.map_err(|_| InvalidMessage::Text("public_key"))?;
        let id = (incarnation(&wire.boot_id)?, wire.seq);
        let message =
            Self::new(Region::new(&wire.vantage)?, id, wire.isolated, peers, ranking)?.with_databases(databases)?;
        let message = message.with_environment(environment).with_public_key(public_key);
        let statements = wire.statements.into_iter().map(Arc::from);
        Ok(message.with_time(wire.time.map(UnixMillis)).with_statements(statements))
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
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    public_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    boot_id: Cow<'a, str>,
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<u64>,
    isolated: bool,
    #[serde(borrow)]
    peers: Vec<WireEntry<'a>>,
    #[serde(borrow)]
    ranking: Vec<WireRank<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    databases: Vec<WireDatabase<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    statements: Vec<Cow<'a, str>>,
}

/// What a failover of a database would lose.
#[derive(Serialize, Deserialize)]
struct WireDatabase<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    primary: Option<Cow<'a, str>>,
    #[serde(borrow)]
    replicas: Vec<WireReplica<'a>>,
}

/// What a failover to one server would lose.
#[derive(Serialize, Deserialize)]
struct WireReplica<'a> {
    #[serde(borrow)]
    region: Cow<'a, str>,
    lower_ms: u64,
    upper_ms: u64,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alive_age_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unserved_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    onset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<bool>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    orders: Vec<WireOrder<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<Label<FailoverMode>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    target: Option<WireTarget<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    failed_over: Option<WireFailedOver<'a>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    operator_order: bool,
}

/// A failover target, and the vantage that has proposed it first.
#[derive(Serialize, Deserialize)]
struct WireTarget<'a> {
    #[serde(borrow)]
    region: Cow<'a, str>,
    #[serde(borrow)]
    by: Cow<'a, str>,
}

/// A failover of the peer that was ordered and is not released.
#[derive(Serialize, Deserialize)]
struct WireFailedOver<'a> {
    #[serde(borrow)]
    incident: Cow<'a, str>,
    onset: u64,
    #[serde(borrow)]
    target: Cow<'a, str>,
    age_ms: u64,
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
            alive_age_ms: entry.alive_age_ms,
            unserved_ms: entry.unserved_ms,
            onset: entry.onset.map(|UnixMillis(millis)| millis),
            incident: entry.incident.as_deref().map(Cow::from),
            held: entry.held,
            orders: entry.order.iter().map(WireOrder::of).collect(),
            mode: entry.mode.map(|mode| Label(Some(mode))),
            target: entry
                .target
                .as_ref()
                .map(|(region, by)| WireTarget { region: region.as_str().into(), by: by.as_str().into() }),
            failed_over: entry.failed_over.as_ref().map(WireFailedOver::of),
            operator_order: entry.operator_order,
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
            alive_age_ms: self.alive_age_ms,
            unserved_ms: self.unserved_ms,
            onset: self.onset.map(UnixMillis),
            incident: self.incident.map(Arc::from),
            held: self.held,
            order,
            mode: self.mode.and_then(|mode| mode.0),
            target: self.target.map(WireTarget::read).transpose()?,
            failed_over: self.failed_over.map(WireFailedOver::read).transpose()?,
            operator_order: self.operator_order,
        })
    }
}

impl WireTarget<'_> {
    fn read(self) -> Result<(Region, Region), InvalidMessage> {
        Ok((Region::new(&self.region)?, Region::new(&self.by)?))
    }
}

impl<'a> WireFailedOver<'a> {
    fn of(entry: &'a FailedOverEntry) -> Self {
        let FailedOverEntry { incident, onset, target, age_ms } = entry;
        Self { incident: (&**incident).into(), onset: onset.0, target: target.as_str().into(), age_ms: *age_ms }
    }

    fn read(self) -> Result<FailedOverEntry, InvalidMessage> {
        let Self { incident, onset, target, age_ms } = self;
        let target = Region::new(&target)?;
        Ok(FailedOverEntry { incident: incident.into(), onset: UnixMillis(onset), target, age_ms })
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

impl<'a> WireDatabase<'a> {
    fn of(loss: &'a DatabaseLoss) -> Self {
        let replica = |(region, bounds): (&'a Region, &LossBounds)| WireReplica {
            region: region.as_str().into(),
            lower_ms: millis(bounds.lower),
            // The true loss stays inside.
            upper_ms: millis(bounds.upper.saturating_add(Duration::from_nanos(999_999))),
        };
        Self {
            name: loss.database.as_str().into(),
            primary: loss.primary.as_ref().map(|region| region.as_str().into()),
            replicas: loss.replicas.iter().map(replica).collect(),
        }
    }

    fn read(self) -> Result<DatabaseLoss, InvalidMessage> {
        let mut replicas = BTreeMap::new();
        for WireReplica { region, lower_ms, upper_ms } in self.replicas {
            if lower_ms > upper_ms {
                return Err(InvalidMessage::Number("lower_ms"));
            }
            let bounds = LossBounds::new(Duration::from_millis(lower_ms), Duration::from_millis(upper_ms));
            if replicas.insert(Region::new(&region)?, bounds).is_some() {
                return Err(InvalidMessage::Twice("a server"));
            }
        }
        let primary = self.primary.map(|region| Region::new(&region)).transpose()?;
        Ok(DatabaseLoss { database: TargetName::new(&self.name)?, primary, replicas })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(VoteMessage::MAX_AGE_MS)
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

words!(PeerState, Vote, Ineligible, FailoverMode);

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
mod tests;
