//! Signatures under orders to fail over: the own ones, and those in the votes of peers.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    config::Config,
    decision::{Now, votes::VoteMessage},
    model::{Incident, OrderSignature, Region, Stage},
    signing::{Order, PrivateKey, PublicKeys, SignatureList},
};

/// How old an own signature may become, in milliseconds. Votes are requested more often, and a signature costs 30 µs.
const RENEW_AFTER: u64 = 1_000;

/// How long a signature in a vote is used. A vote counts for as long.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// The keys, and the signatures that are known.
#[derive(Debug)]
pub(super) struct Orders {
    vantage: Region,
    environment: String,
    key: Option<PrivateKey>,
    keys: PublicKeys,
    /// The own signatures, by the region that is down.
    own: HashMap<Region, OrderSignature>,
    /// Those of the peers, by the region that is down and the vantage.
    received: BTreeMap<(Region, Region), Received>,
    /// How many signatures each order of the last report had.
    signatures: HashMap<Region, usize>,
}

#[derive(Debug)]
struct Received {
    signed: OrderSignature,
    requested_at: Instant,
    /// Whether a known key made it; verified when it is used for the first time.
    valid: Option<bool>,
}

/// The order to fail a region over.
fn execute<'a>(environment: &'a str, region: &'a Region) -> Order<'a> {
    Order { environment, region, stage: Stage::Execute, drill: false }
}

impl Orders {
    pub(super) fn new(vantage: Region) -> Self {
        Self {
            vantage,
            environment: String::new(),
            key: None,
            keys: PublicKeys::default(),
            own: HashMap::new(),
            received: BTreeMap::new(),
            signatures: HashMap::new(),
        }
    }

    pub(super) fn reconfigure(&mut self, config: &Config) {
        self.key = config.signing.as_ref().map(|signing| signing.key.clone());
        self.keys = config.public_keys();
        self.environment = config.environment.as_ref().map(ToString::to_string).unwrap_or_default();
        self.own.clear();
        // Another key may be right now.
        self.received.values_mut().for_each(|received| received.valid = None);
    }

    /// Whether this vantage or a peer has a key.
    pub(super) fn are_signed(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The own signature under the order to fail a region over, at most a second old; `None` without a key.
    pub(super) fn own(&mut self, region: &Region, now: Now) -> Option<OrderSignature> {
        let key = self.key.as_ref()?;
        let known = self.own.get(region).filter(|signed| now.unix.0.abs_diff(signed.at.0) < RENEW_AFTER);
        if let Some(signed) = known {
            return Some(signed.clone());
        }
        let signed = execute(&self.environment, region).sign(&self.vantage, key, now.unix)?;
        self.own.insert(region.clone(), signed.clone());
        Some(signed)
    }

    /// Takes the signatures in a vote message, in place of those in the one before.
    pub(super) fn on_votes(&mut self, message: &VoteMessage, requested_at: Instant) {
        let vantage = message.vantage();
        if !self.keys.has(vantage) {
            return;
        }
        self.received
            .retain(|(region, by), _| by != vantage || message.peers().iter().any(|entry| entry.region == *region));
        for entry in message.peers() {
            let key = (entry.region.clone(), vantage.clone());
            let Some((at, signature)) = entry.order.filter(|_| !message.isolated()) else {
                self.received.remove(&key);
                continue;
            };
            let signed = OrderSignature { vantage: vantage.clone(), at, signature };
            let valid = self.received.get(&key).filter(|known| known.signed == signed).and_then(|known| known.valid);
            self.received.insert(key, Received { signed, requested_at, valid });
        }
    }

    /// Adds to each order the own signature, and those of the peers that hold the region down.
    pub(super) fn sign(&mut self, incidents: &mut [Incident], now: Now) {
        self.signatures.clear();
        for incident in incidents {
            if incident.stage != Stage::Execute || incident.resolved.is_some() {
                continue;
            }
            incident.signatures = self.own(&incident.peer, now).into_iter().collect();
            let order = execute(&self.environment, &incident.peer);
            for ((region, _), received) in &mut self.received {
                let fresh = now.instant.saturating_duration_since(received.requested_at) <= FRESH_FOR;
                if *region != incident.peer || !fresh || incident.signatures.len() >= SignatureList::MAX {
                    continue;
                }
                let keys = &self.keys;
                if *received.valid.get_or_insert_with(|| keys.verify(&order, &received.signed)) {
                    incident.signatures.push(received.signed.clone());
                }
            }
            self.signatures.insert(incident.peer.clone(), incident.signatures.len());
        }
    }

    /// How many signatures the order to fail a region over has; `None` without an order.
    pub(super) fn signatures_of(&self, region: &Region) -> Option<usize> {
        self.signatures.get(region).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        decision::votes::PeerVoteEntry,
        model::{Cause, PeerState, Signature, Tally, UnixMillis, Vote},
        signing::PublicKey,
    };

    const NOW: UnixMillis = UnixMillis(1_795_230_245_123);

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    /// The vantage `here` with a key, the peers `a` and `b` with one each, and `c` without.
    struct Fixture {
        orders: Orders,
        here: PrivateKey,
        a: PrivateKey,
        b: PrivateKey,
    }

    fn key() -> PrivateKey {
        PrivateKey::generate().unwrap().0
    }

    fn config(pem: &str, keys: &[(&str, PublicKey)]) -> Config {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("k"), pem).unwrap();
        let peer = |name: &str| {
            let own = keys.iter().filter(|(owner, _)| *owner == name).map(|(_, key)| format!("'{key}'"));
            let own: Vec<_> = own.collect();
            format!(
                "- {{region: {name}, public_keys: [{}], targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}\n",
                own.join(", ")
            )
        };
        let text =
            format!("region: here\nsigning: {{key_file: k}}\npeers:\n{}", ["a", "b", "c", "dead"].map(peer).concat());
        let file = folder.path().join("c.yaml");
        Config::load(Some((Path::new(&file), &text)), []).unwrap_or_else(|m| panic!("{m}")).config
    }

    fn fixture() -> Fixture {
        let (here, pem) = PrivateKey::generate().unwrap();
        let (a, b) = (key(), key());
        let mut orders = Orders::new(region("here"));
        orders.reconfigure(&config(&pem, &[("a", a.public()), ("b", b.public())]));
        Fixture { orders, here, a, b }
    }

    fn votes(from: &str, order: Option<(UnixMillis, Signature)>, isolated: bool) -> VoteMessage {
        let entry = PeerVoteEntry {
            region: region("dead"),
            state: PeerState::Down,
            since_ms: 1,
            vote: Vote::Down,
            last_answer_age_ms: None,
            onset: None,
            incident: None,
            held: None,
            order,
        };
        VoteMessage::new(region(from), (1, 1), isolated, vec![entry], Vec::new()).unwrap()
    }

    fn signed(key: &PrivateKey, by: &str, stage: Stage) -> Option<(UnixMillis, Signature)> {
        let dead = region("dead");
        let order = Order { stage, ..execute("", &dead) };
        order.sign(&region(by), key, NOW).map(|signed| (signed.at, signed.signature))
    }

    fn incident(stage: Stage) -> Incident {
        Incident {
            peer: region("dead"),
            stage,
            id: "dead-1".into(),
            onset: NOW,
            cause: Cause::Silence,
            confirmed: true,
            tally: Tally::default(),
            candidates: Vec::new(),
            evidence: String::new(),
            resolved: None,
            signatures: Vec::new(),
        }
    }

    fn signers(orders: &mut Orders, now: Now) -> Vec<String> {
        let mut incidents = [incident(Stage::Prepare), incident(Stage::Execute)];
        orders.sign(&mut incidents, now);
        assert_eq!(incidents[0].signatures, []);
        incidents[1].signatures.iter().map(|signed| signed.vantage.to_string()).collect()
    }

    #[test]
    fn an_order_has_the_valid_signatures_of_all_vantages_that_hold_the_region() {
        let Fixture { mut orders, here, a, b } = fixture();
        let start = Instant::now();
        let now = Now { instant: start, unix: NOW };
        assert_eq!(signers(&mut orders, now), ["here"]);
        orders.on_votes(&votes("a", signed(&a, "a", Stage::Execute), false), start);
        orders.on_votes(&votes("b", signed(&b, "b", Stage::Execute), false), start);
        assert_eq!(signers(&mut orders, now), ["here", "a", "b"]);
        assert_eq!((orders.signatures_of(&region("dead")), orders.signatures_of(&region("a"))), (Some(3), None));
        let mut over = [incident(Stage::Execute)];
        over[0].resolved = Some(NOW);
        orders.sign(&mut over, now);
        assert_eq!((&over[0].signatures[..], orders.signatures_of(&region("dead"))), (&[][..], None));
        // Of another stage, by another's key, of a vantage without a key, by nobody, of an isolated vantage, by none.
        for wrong in [
            votes("b", signed(&b, "b", Stage::Prepare), false),
            votes("b", signed(&a, "b", Stage::Execute), false),
            votes("b", signed(&here, "b", Stage::Execute), false),
            votes("c", signed(&key(), "c", Stage::Execute), false),
            votes("b", Some((NOW, Signature([7; 64]))), false),
            votes("b", signed(&b, "b", Stage::Execute), true),
            votes("b", None, false),
        ] {
            orders.on_votes(&votes("b", None, false), start);
            orders.on_votes(&wrong, start);
            assert_eq!(signers(&mut orders, now), ["here", "a"], "{wrong:?}");
        }
        // Old votes hold nothing.
        let later = Now { instant: start + FRESH_FOR + Duration::from_millis(1), unix: NOW };
        assert_eq!(signers(&mut orders, later), ["here"]);
    }

    #[test]
    fn an_own_signature_is_renewed_once_a_second_whatever_the_clock_does() {
        let Fixture { mut orders, here, .. } = fixture();
        let mut at = |unix: u64| {
            let now = Now { instant: Instant::now(), unix: UnixMillis(unix) };
            orders.own(&region("dead"), now).unwrap()
        };
        let first = at(10_000);
        assert!(execute("", &region("dead")).verify(&here.public(), &first));
        assert_eq!(at(10_999), first);
        assert_eq!(at(11_000).at.0, 11_000);
        assert_eq!(at(5_000).at.0, 5_000);
    }

    #[test]
    fn a_reload_with_another_key_signs_with_it_at_once() {
        let Fixture { mut orders, a, .. } = fixture();
        let now = Now { instant: Instant::now(), unix: NOW };
        let before = orders.own(&region("dead"), now).unwrap();
        orders.on_votes(&votes("a", signed(&a, "a", Stage::Execute), false), now.instant);
        assert_eq!(signers(&mut orders, now), ["here", "a"]);
        let (new, pem) = PrivateKey::generate().unwrap();
        orders.reconfigure(&config(&pem, &[("a", key().public())]));
        let after = orders.own(&region("dead"), now).unwrap();
        assert!(before != after && execute("", &region("dead")).verify(&new.public(), &after));
        assert_eq!(signers(&mut orders, now), ["here"], "the key of a was replaced");
    }
}
