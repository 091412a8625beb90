//! Signatures under orders to fail over: the own ones, and those in the votes of peers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    config::Config,
    decision::{Now, votes::VoteMessage},
    metrics::VoteSeries,
    model::{Incident, OrderSignature, Region, Stage},
    signing::{Order, PrivateKey, PublicKey, PublicKeys, SignatureList, SignatureResult},
};

/// How old an own signature of a stage may become, in milliseconds. Votes are requested more often, and a signature costs
/// 30 µs. That of the first stage only shows at the next start that an incident is of a vantage, and of late.
const fn renew_after(stage: Stage) -> u64 {
    match stage {
        Stage::Prepare => 30_000,
        Stage::Execute => 1_000,
    }
}

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
    own: HashMap<(Region, Stage), OrderSignature>,
    /// Those of the peers, by the region that is down and the vantage.
    received: BTreeMap<(Region, Region), Received>,
    /// How many signatures each order of the last report had.
    signatures: HashMap<Region, usize>,
    /// The series of the peers that vote.
    series: HashMap<Region, Arc<VoteSeries>>,
}

#[derive(Debug)]
struct Received {
    signed: OrderSignature,
    requested_at: Instant,
    /// What it is worth; verified when it is used for the first time.
    result: Option<SignatureResult>,
}

/// An order about a region.
fn order<'a>(environment: &'a str, region: &'a Region, stage: Stage) -> Order<'a> {
    Order { environment, region, stage, drill: false }
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
            series: HashMap::new(),
        }
    }

    pub(super) fn reconfigure(&mut self, config: &Config, series: HashMap<Region, Arc<VoteSeries>>) {
        self.series = series;
        self.key = config.signing.as_ref().map(|signing| signing.key.clone());
        self.keys = config.public_keys();
        self.environment = config.environment.as_ref().map(ToString::to_string).unwrap_or_default();
        self.own.clear();
        // Another key may be right now.
        self.received.values_mut().for_each(|received| received.result = None);
    }

    /// Whether this vantage or a peer has a key.
    pub(super) fn are_signed(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The key that verifies the own signatures.
    pub(super) fn public_key(&self) -> Option<PublicKey> {
        self.key.as_ref().map(PrivateKey::public)
    }

    /// The own signature under an order about a region, of late; `None` without a key.
    pub(super) fn own(&mut self, region: &Region, stage: Stage, now: Now) -> Option<OrderSignature> {
        let key = self.key.as_ref()?;
        let entry = (region.clone(), stage);
        let known = self.own.get(&entry).filter(|signed| now.unix.0.abs_diff(signed.at.0) < renew_after(stage));
        if let Some(signed) = known {
            return Some(signed.clone());
        }
        let signed = order(&self.environment, region, stage).sign(&self.vantage, key, now.unix)?;
        self.own.insert(entry, signed.clone());
        Some(signed)
    }

    /// Takes the signatures in a vote message, in place of those in the one before.
    pub(super) fn on_votes(&mut self, message: &VoteMessage, requested_at: Instant) {
        let vantage = message.vantage();
        let series = self.series.get(vantage);
        let is_known = match message.public_key() {
            Some(key) => Some(self.keys.contains(vantage, key)),
            None => self.keys.has(vantage).then_some(false),
        };
        series.inspect(|series| series.set_signing_key_known(is_known));
        if !self.keys.has(vantage) {
            let orders = message.peers().iter().filter(|entry| entry.order.is_some()).count();
            series.inspect(|series| (0..orders).for_each(|_| series.count_signature(SignatureResult::NoKey)));
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
            let result = self.received.get(&key).filter(|known| known.signed == signed).and_then(|known| known.result);
            self.received.insert(key, Received { signed, requested_at, result });
        }
    }

    /// Adds to each order the own signature, and those of the peers that hold the region down; to the first stage only the
    /// own one.
    pub(super) fn sign(&mut self, incidents: &mut [Incident], now: Now) {
        self.signatures.clear();
        for incident in incidents {
            if incident.resolved.is_some() {
                continue;
            }
            incident.signatures = self.own(&incident.peer, incident.stage, now).into_iter().collect();
            if incident.stage != Stage::Execute {
                continue;
            }
            let order = order(&self.environment, &incident.peer, incident.stage);
            for ((region, vantage), received) in &mut self.received {
                let fresh = now.instant.saturating_duration_since(received.requested_at) <= FRESH_FOR;
                if *region != incident.peer || !fresh || incident.signatures.len() >= SignatureList::MAX {
                    continue;
                }
                let result = *received.result.get_or_insert_with(|| {
                    let result = self.keys.verify(&order, &received.signed);
                    self.series.get(vantage).inspect(|series| series.count_signature(result));
                    result
                });
                if result == SignatureResult::Valid {
                    incident.signatures.push(received.signed.clone());
                }
            }
            self.signatures.insert(incident.peer.clone(), incident.signatures.len());
        }
    }

    /// How many signatures the order to fail a region over has; `None` without an order, and without any key.
    pub(super) fn signatures_of(&self, region: &Region) -> Option<usize> {
        self.signatures.get(region).copied().filter(|_| self.are_signed())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        decision::votes::PeerVoteEntry,
        metrics::{Collect, Exposed, Metrics},
        model::{Cause, PeerState, Signature, Tally, UnixMillis, Vote},
    };

    const NOW: UnixMillis = UnixMillis(1_795_230_245_123);

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    /// The vantage `here` with a key, the peers `a` and `b` with one each, and `c` without.
    struct Fixture {
        orders: Orders,
        metrics: Metrics,
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
        let metrics = Metrics::new(&region("here"), &[0.1]);
        let series: HashMap<_, _> = ["a", "b", "c"].map(|peer| (region(peer), metrics.votes(&region(peer)))).into();
        metrics.expose(Exposed { votes: series.values().cloned().collect(), ..Exposed::default() });
        orders.reconfigure(&config(&pem, &[("a", a.public()), ("b", b.public())]), series);
        Fixture { orders, metrics, here, a, b }
    }

    fn votes(from: &str, order: Option<(UnixMillis, Signature)>, isolated: bool) -> VoteMessage {
        let entry = PeerVoteEntry {
            region: region("dead"),
            state: PeerState::Down,
            since_ms: 1,
            vote: Vote::Down,
            last_answer_age_ms: None,
            alive_age_ms: None,
            unserved_ms: None,
            onset: None,
            incident: None,
            held: None,
            order,
            mode: None,
            target: None,
            failed_over: None,
            operator_order: false,
        };
        VoteMessage::new(region(from), (1, 1), isolated, vec![entry], Vec::new()).unwrap()
    }

    fn signed(key: &PrivateKey, by: &str, stage: Stage) -> Option<(UnixMillis, Signature)> {
        let dead = region("dead");
        order("", &dead, stage).sign(&region(by), key, NOW).map(|signed| (signed.at, signed.signature))
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
            blocked: None,
            blocked_by: Vec::new(),
            common_mode: false,
            loss: None,
            lost: None,
            evidence: String::new(),
            ordered_by: None,
            resolved: None,
            signatures: Vec::new(),
        }
    }

    fn signers(orders: &mut Orders, now: Now) -> Vec<String> {
        let mut incidents = [incident(Stage::Prepare), incident(Stage::Execute)];
        orders.sign(&mut incidents, now);
        // The first stage is no order, and has only its sender's.
        assert!(incidents[0].signatures.iter().all(|signed| signed.vantage == region("here")), "{incidents:?}");
        incidents[1].signatures.iter().map(|signed| signed.vantage.to_string()).collect()
    }

    /// The value of a sample about a peer, with this result if that is one of its labels.
    fn sample(metrics: &Metrics, family: &str, peer: &str, result: &str) -> String {
        let mut page = metrics.page(Collect::All);
        let mut text = Vec::new();
        while page.next(&mut text) {}
        let text = String::from_utf8(text).unwrap();
        let result = if result.is_empty() { String::new() } else { format!(",result=\"{result}\"") };
        let sample = format!("regionwatch_{family}{{vantage_region=\"here\",peer_region=\"{peer}\"{result}}} ");
        text.lines().find_map(|line| line.strip_prefix(&sample)).unwrap_or("absent").to_owned()
    }

    #[test]
    fn an_order_has_the_valid_signatures_of_all_vantages_that_hold_the_region() {
        let Fixture { mut orders, metrics, here, a, b } = fixture();
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
        let counted = |peer: &str, result: &str| sample(&metrics, "order_signatures_received_total", peer, result);
        assert_eq!([counted("a", "valid"), counted("b", "valid"), counted("b", "invalid")], ["1", "1", "4"]);
        assert_eq!([counted("c", "no_key"), counted("b", "no_key")], ["1", "0"]);
        // Old votes hold nothing.
        let later = Now { instant: start + FRESH_FOR + Duration::from_millis(1), unix: NOW };
        assert_eq!(signers(&mut orders, later), ["here"]);
    }

    #[test]
    fn an_own_signature_is_renewed_once_a_second_whatever_the_clock_does() {
        let Fixture { mut orders, here, .. } = fixture();
        let mut at = |unix: u64| {
            let now = Now { instant: Instant::now(), unix: UnixMillis(unix) };
            orders.own(&region("dead"), Stage::Execute, now).unwrap()
        };
        let first = at(10_000);
        assert!(order("", &region("dead"), Stage::Execute).verify(&here.public(), &first));
        assert_eq!(at(10_999), first);
        assert_eq!(at(11_000).at.0, 11_000);
        assert_eq!(at(5_000).at.0, 5_000);
    }

    #[test]
    fn a_reload_with_another_key_signs_with_it_at_once() {
        let Fixture { mut orders, a, .. } = fixture();
        let now = Now { instant: Instant::now(), unix: NOW };
        let before = orders.own(&region("dead"), Stage::Execute, now).unwrap();
        orders.on_votes(&votes("a", signed(&a, "a", Stage::Execute), false), now.instant);
        assert_eq!(signers(&mut orders, now), ["here", "a"]);
        let (new, pem) = PrivateKey::generate().unwrap();
        orders.reconfigure(&config(&pem, &[("a", key().public())]), HashMap::new());
        let after = orders.own(&region("dead"), Stage::Execute, now).unwrap();
        assert!(before != after && order("", &region("dead"), Stage::Execute).verify(&new.public(), &after));
        assert_eq!(signers(&mut orders, now), ["here"], "the key of a was replaced");
    }

    /// Before any outage: a signature is made and verified only during one.
    #[test]
    fn a_key_that_a_peer_signs_with_and_that_is_not_configured_is_shown_by_its_votes() {
        let Fixture { mut orders, metrics, a, .. } = fixture();
        let known = |orders: &mut Orders, peer: &str, key: Option<&PrivateKey>| {
            let message = votes(peer, None, false).with_public_key(key.map(PrivateKey::public));
            orders.on_votes(&message, Instant::now());
            sample(&metrics, "signing_key_known", peer, "")
        };
        assert_eq!(known(&mut orders, "a", Some(&a)), "1");
        assert_eq!(known(&mut orders, "a", Some(&key())), "0");
        assert_eq!(known(&mut orders, "a", None), "0", "it signs nothing, but has a key here");
        assert_eq!(known(&mut orders, "c", Some(&key())), "0", "it signs, but has no key here");
        assert_eq!(known(&mut orders, "c", None), "absent");
    }

    #[test]
    fn without_any_key_an_order_has_no_number_of_signatures() {
        let mut orders = Orders::new(region("here"));
        let now = Now { instant: Instant::now(), unix: NOW };
        assert_eq!(signers(&mut orders, now), [] as [String; 0]);
        assert_eq!(orders.signatures_of(&region("dead")), None);
    }
}
