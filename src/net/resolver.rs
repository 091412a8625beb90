//! Names become addresses in the background, never inside a measured phase.
//!
//! A name that its servers say does not exist fails its own target with `resolve`. A resolver that does not
//! answer is no reason to call a peer dead: then the last addresses stay in use.

mod lookup;
mod runtime;
mod system;

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::{sleep, sleep_until},
};
use tracing::{info, warn};

use self::{
    lookup::{FLOOR, Found, resolve},
    system::{System, SystemFiles},
};
use super::{attempt::Attempt, turn::Turn};
use crate::model::{AddressChoice, AddressFamily, Failure, Host, Phase, PhaseTimes, Region};

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
    /// Which name of the search list has the addresses.
    place: Option<usize>,
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
        self.address_or(attempt, Failure::Resolve).await
    }

    /// The same; a deadline that ends the wait is this failure.
    pub(crate) async fn address_or(&self, attempt: &Attempt, waited: Failure) -> Result<IpAddr, Failure> {
        let address = self.known_address(attempt, waited).await?;
        attempt.set_address(address);
        Ok(address)
    }

    /// The same host, of whose addresses these are used.
    #[must_use]
    pub fn using(self, choice: AddressChoice) -> Self {
        Self { turn: Arc::new(Turn::new(choice)), ..self }
    }

    async fn known_address(&self, attempt: &Attempt, waited: Failure) -> Result<IpAddr, Failure> {
        match &self.source {
            Source::Literal(address) => Some(*address),
            Source::Name(entry) => {
                if let Some(address) = self.choose(&entry.borrow().answer, attempt) {
                    return address;
                }
                let mut entry = entry.clone();
                attempt.enter(Phase::Resolve);
                attempt.set_timeout_reason(waited);
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
    system: watch::Receiver<Option<System>>,
    permits: Arc<Semaphore>,
    known: Mutex<HashMap<Question, Weak<watch::Sender<Entry>>>>,
    users: Arc<Mutex<Users>>,
}

/// A name, the families that are wanted, and the server that is asked for them, where it is not those of the system. For
/// glibc, too, a name may lead elsewhere if one family alone is wanted.
type Question = (Arc<str>, AddressFamily, Option<SocketAddr>);

/// What names are looked up by at this server; it never changes.
fn asking(server: Option<SocketAddr>) -> watch::Receiver<Option<System>> {
    watch::channel(server.and_then(|server| System::asking(server).ok())).1
}

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
        let (sender, system) = watch::channel(None);
        tokio::spawn(system::follow(files, sender));
        Self::following(system)
    }

    /// Looks names up at this server. Without one names fail, and literal addresses work.
    pub fn new(server: Option<SocketAddr>) -> Self {
        Self::following(asking(server))
    }

    fn following(system: watch::Receiver<Option<System>>) -> Self {
        Self { system, permits: Arc::new(Semaphore::new(CONCURRENT)), known: Mutex::default(), users: Arc::default() }
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
            Host::Scoped(address, _) => Source::Literal(IpAddr::V6(*address)),
            Host::Name(name) => Source::Name(self.watch(name, family, server)),
        };
        ResolvedHost { source, family, turn: Arc::default(), reported: Mutex::new(0) }
    }

    /// The addresses of a host that are known now; none of a name that is not looked up.
    pub fn known(&self, host: &Host) -> Vec<IpAddr> {
        let name = match host {
            Host::Addr(address) => return vec![*address],
            Host::Scoped(address, _) => return vec![IpAddr::V6(*address)],
            Host::Name(name) => name,
        };
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = known.iter().filter(|((known, ..), _)| known == name).filter_map(|(_, entry)| entry.upgrade());
        let mut addresses = Vec::new();
        for entry in entries {
            if let Answer::Addresses(more) = &entry.borrow().answer {
                addresses.extend_from_slice(more);
            }
        }
        addresses
    }

    fn watch(&self, name: &Arc<str>, family: AddressFamily, server: Option<SocketAddr>) -> watch::Receiver<Entry> {
        let question = (Arc::clone(name), family, server);
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
        let system = if server.is_some() { asking(server) } else { self.system.clone() };
        tokio::spawn(refresh(Arc::clone(name), family, system, Arc::clone(&self.permits), users, sender));
        receiver
    }
}

/// Looks a name up again and again until it has no users left.
async fn refresh(
    name: Arc<str>,
    family: AddressFamily,
    mut system: watch::Receiver<Option<System>>,
    permits: Arc<Semaphore>,
    users: Arc<Mutex<Users>>,
    entry: Arc<watch::Sender<Entry>>,
) {
    loop {
        // What never changes has no sender, and what changes is there soon.
        let Some(current) = system.wait_for(Option::is_some).await.ok().and_then(|current| current.clone()) else {
            return;
        };
        let Ok(permit) = permits.acquire().await else { return };
        let (found, duration, again) = resolve(&name, family, &current).await;
        drop(permit);
        let answered = found.parts.iter().all(Option::is_some);
        let before = entry.borrow().answer.clone();
        entry.send_modify(|entry| apply(entry, found, duration, has_route));
        match change(&before, &entry.borrow().answer) {
            Some(Change::Lost) => {
                let users = users.lock().unwrap_or_else(PoisonError::into_inner);
                warn!("{}", without_address(&name, family, answered, users.get(&name)));
            }
            Some(Change::Found) => info!("{name} has an {} again", kind_of_address(family)),
            None => {}
        }
        tokio::select! {
            () = sleep_until(again) => {}
            () = follow_routes(&entry) => {}
            Ok(()) = system.changed() => {}
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

/// The order in which addresses are used: what can be reached (RFC 6724 6, rule 1), then IPv4, then the lowest. Servers
/// rotate their answers; a target should not wander with them.
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

/// Puts the result of a lookup in force. Where a resolver gave no answer, the last one stays.
fn apply(entry: &mut Entry, found: Found, duration: Duration, has_route: impl Fn(IpAddr) -> bool) {
    let [v4, v6] = found.parts;
    if v4.is_some() && v6.is_some() {
        entry.lookups += 1;
        entry.duration = duration;
    }
    // What another name of the search list had is of another host.
    let stays = found.place.is_none() || found.place == entry.place;
    entry.place = found.place.or(entry.place);
    let known = match &entry.answer {
        Answer::Addresses(addresses) if stays => addresses.to_vec(),
        Answer::Addresses(_) | Answer::Pending | Answer::Nothing => Vec::new(),
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

const fn kind_of_address(family: AddressFamily) -> &'static str {
    match family {
        AddressFamily::Any => "address",
        AddressFamily::V4 => "IPv4 address",
        AddressFamily::V6 => "IPv6 address",
    }
}

fn without_address(name: &str, family: AddressFamily, answered: bool, peers: Option<&BTreeSet<Region>>) -> String {
    let why = if answered { "DNS has none" } else { "no name server answers" };
    let peers: Vec<_> = peers.into_iter().flatten().map(Region::as_str).collect();
    let whose = match &peers[..] {
        [] => String::new(),
        [peer] => format!(" (peer {peer})"),
        peers => format!(" (peers {})", peers.join(", ")),
    };
    let address = kind_of_address(family);
    format!("{name} has no {address}: {why}, so its probes fail with \"resolve\"{whose}")
}

#[cfg(test)]
mod tests;
