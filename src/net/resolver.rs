//! Resolver become addresses in the background, never inside a measured phase.
//!
//! A name that its servers say does not exist fails its own target with `resolve`. A resolver that does not
//! answer is no reason to call a peer dead: then the last addresses stay in use.

mod system;

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    net::{DnsError, NetError},
    proto::rr::Name,
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use self::system::SystemFiles;
pub use self::system::TokioResolvers;
use super::{attempt::Attempt, turn::Turn};
use crate::model::{AddressChoice, AddressFamily, Failure, Host, Phase, PhaseTimes, Region};

/// The shortest time between two lookups of a name, whatever its TTL says: a TTL of 0 must not make us a flood.
const FLOOR: Duration = Duration::from_secs(5);

/// The longest time between two lookups: a failover of the peer's own DNS should be seen within minutes.
const CEILING: Duration = Duration::from_secs(300);

/// How long a lookup may take, over all servers and attempts.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The port that a route is asked for; nothing is sent to it (RFC 863).
const DISCARD_PORT: u16 = 9;

/// How many lookups run at once; at the start there may be a thousand.
const CONCURRENT: usize = 16;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Answer {
    /// Not looked up yet.
    #[default]
    Pending,
    /// The addresses, most recent lookup.
    Addresses(Arc<[IpAddr]>),
    /// The name does not exist, or never answered.
    Nothing,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    answer: Answer,
    /// How many lookups have succeeded, and how long the last of them took.
    lookups: u64,
    duration: Duration,
}

/// The addresses of a target, as they are now.
#[derive(Debug)]
pub struct ResolvedHost {
    source: Source,
    family: AddressFamily,
    turn: Arc<Turn>,
    /// The number of the last lookup whose duration was reported.
    reported: Mutex<u64>,
}

#[derive(Debug)]
enum Source {
    Literal(IpAddr),
    Name(watch::Receiver<Entry>),
}

impl ResolvedHost {
    /// The address to probe now. Waits only for the very first lookup of the name.
    ///
    /// # Errors
    /// `resolve` where the name has no address of the family.
    pub async fn address(&self, attempt: &Attempt) -> Result<IpAddr, Failure> {
        let address = self.known_address(attempt).await?;
        attempt.set_address(address);
        Ok(address)
    }

    /// The same host, of whose addresses these are used.
    #[must_use]
    pub fn using(self, choice: AddressChoice) -> Self {
        Self { turn: Arc::new(Turn::new(choice)), ..self }
    }

    async fn known_address(&self, attempt: &Attempt) -> Result<IpAddr, Failure> {
        match &self.source {
            Source::Literal(address) => Some(*address),
            Source::Name(entry) => {
                if let Some(address) = self.choose(&entry.borrow().answer, attempt) {
                    return address;
                }
                let mut entry = entry.clone();
                attempt.enter(Phase::Resolve);
                attempt.set_timeout_reason(Failure::Resolve);
                let known = entry.wait_for(|entry| entry.answer != Answer::Pending).await;
                attempt.clear_timeout_reason();
                let chosen = known.ok().and_then(|entry| self.choose(&entry.answer, attempt));
                return chosen.unwrap_or(Err(Failure::Resolve));
            }
        }
        .filter(|address| self.family.admits(*address))
        .ok_or(Failure::Resolve)
    }

    fn choose(&self, answer: &Answer, attempt: &Attempt) -> Option<Result<IpAddr, Failure>> {
        match answer {
            Answer::Pending => None,
            Answer::Nothing => Some(Err(Failure::Resolve)),
            Answer::Addresses(addresses) => {
                let mut admitted = addresses.iter().copied().filter(|address| self.family.admits(*address));
                let Some(first) = admitted.next() else { return Some(Err(Failure::Resolve)) };
                // The other family may lead to other hosts on another way.
                let others: Vec<_> = admitted.filter(|address| address.is_ipv4() == first.is_ipv4()).collect();
                if others.is_empty() {
                    return Some(Ok(first));
                }
                let address = self.turn.next(first, &others);
                attempt.set_turn(Arc::clone(&self.turn), address);
                Some(Ok(address))
            }
        }
    }

    /// Adds the phase `resolve` where the name was looked up since this was last called.
    pub fn report(&self, phases: &mut PhaseTimes) {
        let Source::Name(entry) = &self.source else { return };
        let entry = entry.borrow();
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.lookups > *reported {
            *reported = entry.lookups;
            phases.add(Phase::Resolve, entry.duration);
        }
    }
}

/// Looks names up in the background for as long as a [`ResolvedHost`] of them exists.
#[derive(Debug)]
pub struct Resolver {
    /// None until the system's configuration is read.
    resolvers: watch::Receiver<Option<TokioResolvers>>,
    permits: Arc<Semaphore>,
    known: Mutex<HashMap<Question, Weak<watch::Sender<Entry>>>>,
    users: Arc<Mutex<Users>>,
}

/// A name, and the server that is asked for it, where it is not those of the system.
type Question = (Arc<str>, Option<SocketAddr>);

/// Which peers have a name, for people.
type Users = HashMap<Arc<str>, BTreeSet<Region>>;

impl Resolver {
    /// Looks names up as the system's configuration says (`/etc/resolv.conf`, `/etc/hosts`), also when it changes.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn from_system() -> Self {
        Self::from_files(SystemFiles::default())
    }

    fn from_files(files: SystemFiles) -> Self {
        let (sender, resolvers) = watch::channel(None);
        tokio::spawn(system::follow(files, sender));
        Self::following(resolvers)
    }

    /// Looks names up with these resolvers. Without them names fail, and literal addresses work.
    pub fn new(resolvers: Option<TokioResolvers>) -> Self {
        Self::following(watch::channel(resolvers).1)
    }

    fn following(resolvers: watch::Receiver<Option<TokioResolvers>>) -> Self {
        Self {
            resolvers,
            permits: Arc::new(Semaphore::new(CONCURRENT)),
            known: Mutex::default(),
            users: Arc::default(),
        }
    }

    /// Sets which peers have these names, for the log lines about names without an address.
    pub fn used_by<'a>(&self, hosts: impl IntoIterator<Item = (&'a Host, Region)>) {
        let mut users = Users::new();
        for (host, peer) in hosts {
            if let Host::Name(name) = host {
                users.entry(Arc::clone(name)).or_default().insert(peer);
            }
        }
        *self.users.lock().unwrap_or_else(PoisonError::into_inner) = users;
    }

    /// The addresses of a host, kept up to date from now on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn lookup(&self, host: &Host, family: AddressFamily) -> ResolvedHost {
        self.lookup_at(host, family, None)
    }

    /// The same by the word of this name server, and not those of the system.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn lookup_at(&self, host: &Host, family: AddressFamily, server: Option<SocketAddr>) -> ResolvedHost {
        let source = match host {
            Host::Addr(address) => Source::Literal(*address),
            Host::Name(name) => Source::Name(self.watch(name, server)),
        };
        ResolvedHost { source, family, turn: Arc::default(), reported: Mutex::new(0) }
    }

    /// The addresses of a host that are known now; none of a name that is not looked up.
    pub fn known(&self, host: &Host) -> Vec<IpAddr> {
        let name = match host {
            Host::Addr(address) => return vec![*address],
            Host::Name(name) => name,
        };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = known.iter().filter(|((known, _), _)| known == name).filter_map(|(_, entry)| entry.upgrade());
        let mut addresses = Vec::new();
        for entry in entries {
            if let Answer::Addresses(more) = &entry.borrow().answer {
                addresses.extend_from_slice(more);
            }
        }
        addresses
    }

    fn watch(&self, name: &Arc<str>, server: Option<SocketAddr>) -> watch::Receiver<Entry> {
        let question = (Arc::clone(name), server);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = known.get(&question).and_then(Weak::upgrade)
            && sender.receiver_count() > 0
        {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Entry::default());
        let sender = Arc::new(sender);
        known.retain(|_, sender| sender.strong_count() > 0);
        known.insert(question, Arc::downgrade(&sender));
        let users = Arc::clone(&self.users);
        let resolvers = match server {
            // These never change.
            Some(server) => watch::channel(system::asking(server).ok()).1,
            None => self.resolvers.clone(),
        };
        tokio::spawn(refresh(Arc::clone(name), resolvers, Arc::clone(&self.permits), users, sender));
        receiver
    }
}

/// Looks a name up again and again until it has no users left.
async fn refresh(
    name: Arc<str>,
    mut resolvers: watch::Receiver<Option<TokioResolvers>>,
    permits: Arc<Semaphore>,
    users: Arc<Mutex<Users>>,
    entry: Arc<watch::Sender<Entry>>,
) {
    loop {
        // Those that never change have no sender, and those that change are there soon.
        let Some(current) = resolvers.wait_for(Option::is_some).await.ok().and_then(|current| current.clone()) else {
            return;
        };
        let Ok(permit) = permits.acquire().await else { return };
        let (answer, duration, again) = resolve(&name, &current).await;
        drop(permit);
        let answered = answer.iter().all(Option::is_some);
        let before = entry.borrow().answer.clone();
        entry.send_modify(|entry| apply(entry, answer, duration, has_route));
        match change(&before, &entry.borrow().answer) {
            Some(Change::Lost) => {
                let users = users.lock().unwrap_or_else(PoisonError::into_inner);
                warn!("{}", without_address(&name, answered, users.get(&name)));
            }
            Some(Change::Found) => info!("{name} has an address again"),
            None => {}
        }
        tokio::select! {
            () = sleep_until(again) => {}
            () = follow_routes(&entry) => {}
            Ok(()) = resolvers.changed() => {}
            () = entry.closed() => return,
        }
    }
}

/// Puts the addresses of a name that has both families in the right order when a route comes or goes. Never returns.
async fn follow_routes(entry: &watch::Sender<Entry>) {
    loop {
        sleep(FLOOR).await;
        entry.send_if_modified(|entry| match &entry.answer {
            Answer::Addresses(addresses) if is_mixed(addresses) => {
                let mut ordered = addresses.to_vec();
                order(&mut ordered, has_route);
                let changed = ordered[..] != addresses[..];
                if changed {
                    entry.answer = Answer::Addresses(ordered.into());
                }
                changed
            }
            _ => false,
        });
    }
}

fn is_mixed(addresses: &[IpAddr]) -> bool {
    addresses.iter().any(IpAddr::is_ipv4) && addresses.iter().any(IpAddr::is_ipv6)
}

/// The order in which addresses are used: what can be reached comes first (RFC 6724 6, rule 1), then IPv4, then the lowest.
/// Servers rotate their answers; a target should not wander with them.
fn order(addresses: &mut [IpAddr], has_route: impl Fn(IpAddr) -> bool) {
    addresses.sort_unstable();
    if is_mixed(addresses) {
        addresses.sort_by_cached_key(|address| !has_route(*address));
    }
}

/// Whether this host has a route to the address, and an address of its own for it. A datagram socket that is connected
/// sends nothing.
fn has_route(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0)).and_then(|socket| socket.connect((address, DISCARD_PORT))).is_ok()
}

/// What a lookup said of one family: its addresses, of which there may be none; or `None`, where nothing answered.
type Part = Option<Vec<IpAddr>>;

/// Puts the result of a lookup in force, IPv4 and IPv6. Where a resolver gave no answer, the last one stays.
fn apply(entry: &mut Entry, [v4, v6]: [Part; 2], duration: Duration, has_route: impl Fn(IpAddr) -> bool) {
    if v4.is_some() && v6.is_some() {
        entry.lookups += 1;
        entry.duration = duration;
    }
    let known = match &entry.answer {
        Answer::Addresses(addresses) => addresses.to_vec(),
        Answer::Pending | Answer::Nothing => Vec::new(),
    };
    let keep = |v4: bool| known.iter().copied().filter(|address| address.is_ipv4() == v4).collect();
    let mut addresses = v4.unwrap_or_else(|| keep(true));
    addresses.extend(v6.unwrap_or_else(|| keep(false)));
    order(&mut addresses, has_route);
    addresses.dedup();
    let answer = if addresses.is_empty() { Answer::Nothing } else { Answer::Addresses(addresses.into()) };
    entry.answer = answer;
}

/// A change that is logged, once per outage of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Lost,
    Found,
}

fn change(before: &Answer, now: &Answer) -> Option<Change> {
    match (before, now) {
        (Answer::Pending | Answer::Addresses(_), Answer::Nothing) => Some(Change::Lost),
        (Answer::Nothing, Answer::Addresses(_)) => Some(Change::Found),
        _ => None,
    }
}

fn without_address(name: &str, answered: bool, peers: Option<&BTreeSet<Region>>) -> String {
    let why = if answered { "DNS has none" } else { "no name server answers" };
    let peers: Vec<_> = peers.into_iter().flatten().map(Region::as_str).collect();
    let whose = match &peers[..] {
        [] => String::new(),
        [peer] => format!(" (peer {peer})"),
        peers => format!(" (peers {})", peers.join(", ")),
    };
    format!("{name} has no address: {why}, so its probes fail with \"resolve\"{whose}")
}

/// Looks both families up, each by itself: a resolver that answers for one of them has said nothing of the other.
async fn resolve(name: &str, resolvers: &TokioResolvers) -> ([Part; 2], Duration, Instant) {
    let started = Instant::now();
    // Names as the hosts of containers have them may have an underscore in a label, which is no letter of a host name
    // (RFC 1123) but one of a DNS name (RFC 2181 11). Without a final dot, the search list completes them.
    let Ok(query) = Name::from_ascii(name) else { return ([None, None], Duration::ZERO, started + CEILING) };
    let [v4, v6] = resolvers;
    let (v4, v6) = tokio::join!(resolve_family(&query, v4), resolve_family(&query, v6));
    let nothing = [&v4, &v6].into_iter().all(|(part, _)| part.as_ref().is_none_or(Vec::is_empty));
    // A name that has no address is looked for again soon: its target fails meanwhile.
    let valid = if nothing { FLOOR } else { v4.1.min(v6.1) };
    let again = Instant::now() + valid.clamp(FLOOR, CEILING);
    ([v4.0, v6.0], started.elapsed(), again)
}

/// The addresses of one family, and how long they are valid.
async fn resolve_family(name: &Name, resolver: &TokioResolver) -> (Part, Duration) {
    match timeout(LOOKUP_TIMEOUT, resolver.lookup_ip(name.clone())).await {
        Ok(Ok(lookup)) => {
            let valid_for = lookup.valid_until().saturating_duration_since(Instant::now().into_std());
            (Some(lookup.iter().collect()), valid_for)
        }
        Ok(Err(NetError::Dns(DnsError::NoRecordsFound(none)))) => {
            let valid_for = none.negative_ttl.map_or(FLOOR, |ttl| Duration::from_secs(ttl.into()));
            (Some(Vec::new()), valid_for)
        }
        Ok(Err(error)) => {
            debug!(%name, "lookup failed: {error}");
            (None, Duration::ZERO)
        }
        Err(_) => (None, Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> [Part; 2] {
        let all = || list.iter().map(|a| a.parse::<IpAddr>().unwrap());
        [Some(all().filter(IpAddr::is_ipv4).collect()), Some(all().filter(IpAddr::is_ipv6).collect())]
    }

    fn attempt() -> Attempt {
        Attempt::new(Instant::now())
    }

    fn lookup(entry: &watch::Sender<Entry>, family: AddressFamily) -> ResolvedHost {
        let source = Source::Name(entry.subscribe());
        ResolvedHost { source, family, turn: Arc::default(), reported: Mutex::new(0) }
    }

    #[tokio::test]
    async fn a_silent_resolver_leaves_the_last_addresses_in_use() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, addresses(&["192.0.2.1"]), Duration::ZERO, |_| true));
        sender.send_modify(|e| apply(e, [None, None], Duration::ZERO, |_| true));
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, Ok("192.0.2.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_name_that_stops_existing_fails_with_resolve() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, addresses(&["192.0.2.1"]), Duration::ZERO, |_| true));
        sender.send_modify(|e| apply(e, addresses(&[]), Duration::ZERO, |_| true));
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, Err(Failure::Resolve));
    }

    #[test]
    fn an_outage_of_a_name_is_logged_once_with_its_peers() {
        let mut entry = Entry::default();
        let mut next = |part: [Part; 2]| {
            let before = entry.answer.clone();
            apply(&mut entry, part, Duration::ZERO, |_| true);
            change(&before, &entry.answer)
        };
        let (some, other) = (|| addresses(&["192.0.2.1"]), || addresses(&["192.0.2.2"]));
        assert_eq!([next([None, None]), next([None, None]), next(addresses(&[]))], [Some(Change::Lost), None, None]);
        assert_eq!([next(some()), next(other()), next([None, None])], [Some(Change::Found), None, None]);
        assert_eq!([next(addresses(&[])), next(some())], [Some(Change::Lost), Some(Change::Found)]);

        let peers: BTreeSet<_> = ["us-east-1", "eu-west-1"].iter().map(|peer| Region::new(peer).unwrap()).collect();
        let line = without_address("us.example.com", true, Some(&peers));
        assert!(line.starts_with("us.example.com has no address: DNS has none"), "{line}");
        assert!(line.ends_with(" (peers eu-west-1, us-east-1)"), "{line}");
        assert!(without_address("n", false, None).ends_with("\"resolve\""));
    }

    #[tokio::test]
    async fn the_family_decides_and_any_prefers_ipv4() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, addresses(&["2001:db8::1", "192.0.2.1"]), Duration::ZERO, |_| true));
        let v6 = Ok("2001:db8::1".parse().unwrap());
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, Ok("192.0.2.1".parse().unwrap()));
        assert_eq!(lookup(&sender, AddressFamily::V6).address(&attempt()).await, v6);
        sender.send_modify(|e| apply(e, addresses(&["2001:db8::1"]), Duration::ZERO, |_| true));
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, v6);
        assert_eq!(lookup(&sender, AddressFamily::V4).address(&attempt()).await, Err(Failure::Resolve));
    }

    #[tokio::test]
    async fn an_answer_for_one_family_keeps_the_addresses_of_the_other() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, addresses(&["2001:db8::1", "192.0.2.1"]), Duration::ZERO, |_| true));
        let v4_only = [Some(vec!["192.0.2.2".parse().unwrap()]), None];
        sender.send_modify(|e| apply(e, v4_only, Duration::ZERO, |_| true));
        let address = |family| lookup(&sender, family);
        assert_eq!(address(AddressFamily::V6).address(&attempt()).await, Ok("2001:db8::1".parse().unwrap()));
        assert_eq!(address(AddressFamily::V4).address(&attempt()).await, Ok("192.0.2.2".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_silent_address_gives_way_to_the_next_one_of_its_family() {
        let (sender, _receiver) = watch::channel(Entry::default());
        let all = ["192.0.2.2", "192.0.2.1", "192.0.2.3", "2001:db8::1"];
        sender.send_modify(|e| apply(e, addresses(&all), Duration::ZERO, |_| true));
        let host = lookup(&sender, AddressFamily::Any);
        let probe = async || {
            let attempt = attempt();
            let address = host.address(&attempt).await.unwrap().to_string();
            (address, attempt)
        };
        let (first, attempt) = probe().await;
        let (again, overlapping) = probe().await;
        assert_eq!([&*first, &*again], ["192.0.2.1"; 2]);
        attempt.note_silence();
        let (second, attempt) = probe().await;
        assert_eq!(second, "192.0.2.2");
        // What was sent to the first one before says nothing of the second.
        overlapping.note_silence();
        assert_eq!(probe().await.0, "192.0.2.2");
        attempt.note_silence();
        let (third, attempt) = probe().await;
        attempt.note_silence();
        assert_eq!([third, probe().await.0], ["192.0.2.3", "192.0.2.1"]);
        // One that is gone gives way, too.
        sender.send_modify(|e| apply(e, addresses(&["192.0.2.7", "192.0.2.9"]), Duration::ZERO, |_| true));
        assert_eq!(probe().await.0, "192.0.2.7");
    }

    #[tokio::test]
    async fn all_addresses_have_their_turn_where_that_is_wanted() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, addresses(&["192.0.2.2", "192.0.2.1"]), Duration::ZERO, |_| true));
        let host = lookup(&sender, AddressFamily::Any).using(AddressChoice::All);
        let mut probed = Vec::new();
        for _ in 0..4 {
            let attempt = attempt();
            probed.push(host.address(&attempt).await.unwrap().to_string());
            attempt.note_silence();
        }
        assert_eq!(probed, ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"]);
    }

    #[tokio::test]
    async fn of_two_families_the_one_that_has_a_route_is_used() {
        let (sender, _receiver) = watch::channel(Entry::default());
        let both = || addresses(&["2001:db8::1", "192.0.2.1"]);
        sender.send_modify(|e| apply(e, both(), Duration::ZERO, |address| address.is_ipv6()));
        let v6 = Ok("2001:db8::1".parse().unwrap());
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, v6);
        let v4 = Ok("192.0.2.1".parse().unwrap());
        assert_eq!(lookup(&sender, AddressFamily::V4).address(&attempt()).await, v4);
        sender.send_modify(|e| apply(e, both(), Duration::ZERO, |_| false));
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, v4);
    }

    /// The address of a name, once it is this one.
    async fn becomes(host: &ResolvedHost, address: &str) {
        let wanted = Ok(address.parse().unwrap());
        let found = async {
            while host.address(&attempt()).await != wanted {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), found).await.unwrap_or_else(|_| panic!("not {address}"));
    }

    #[tokio::test]
    async fn the_files_of_the_system_are_read_again_when_they_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let interval = Duration::from_millis(20);
        let files =
            SystemFiles { resolv_conf: path("resolv.conf"), hosts: path("hosts"), interval, ..SystemFiles::default() };
        let resolver = Resolver::from_files(files.clone());
        let host = |name: &str| resolver.lookup(&Host::Name(name.into()), AddressFamily::Any);
        // No file yet, and no name server.
        let (web, localhost) = (host("web_1"), host("localhost"));
        becomes(&localhost, "127.0.0.1").await;
        std::fs::write(&files.hosts, "192.0.2.7 Web_1 # as Compose names it\n").unwrap();
        becomes(&web, "192.0.2.7").await;
        std::fs::write(&files.resolv_conf, "search example.com\nnameserver 127.0.0.1\n").unwrap();
        std::fs::write(&files.hosts, "192.0.2.8 web_1\n192.0.2.9 app.svc.example.com\n").unwrap();
        becomes(&web, "192.0.2.8").await;
        // A name that has a dot is completed, too, as with getent; a final dot says that it is whole.
        becomes(&host("app.svc"), "192.0.2.9").await;
        assert_eq!(host("app.svc.").address(&attempt()).await, Err(Failure::Resolve));
    }

    #[tokio::test]
    async fn each_lookup_is_reported_once() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, addresses(&["192.0.2.1"]), Duration::from_millis(7), |_| true));
        let lookup = lookup(&sender, AddressFamily::Any);
        let mut phases = PhaseTimes::default();
        lookup.report(&mut phases);
        lookup.report(&mut phases);
        assert_eq!(phases.iter().collect::<Vec<_>>(), [(Phase::Resolve, Duration::from_millis(7))]);
    }
}
