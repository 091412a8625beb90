//! Names become addresses in the background, never inside a measured phase.
//!
//! A name that its servers say does not exist fails its own target with `resolve`. A resolver that does not
//! answer is no reason to call a peer dead: then the last addresses stay in use.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ServerOrderingStrategy},
    net::{DnsError, NetError},
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::Attempt;
use crate::model::{AddressFamily, Failure, Host, Phase, PhaseTimes};

/// The shortest time between two lookups of a name, whatever its TTL says: a TTL of 0 must not make us a flood.
const FLOOR: Duration = Duration::from_secs(5);

/// The longest time between two lookups: a failover of the peer's own DNS should be seen within minutes.
const CEILING: Duration = Duration::from_secs(300);

/// How long a lookup may take, over all servers and attempts.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

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
pub struct Lookup {
    source: Source,
    family: AddressFamily,
    /// The number of the last lookup whose duration was reported.
    reported: Mutex<u64>,
}

#[derive(Debug)]
enum Source {
    Literal(IpAddr),
    Name(watch::Receiver<Entry>),
}

impl Lookup {
    /// The address to probe now. Waits only for the very first lookup of the name.
    ///
    /// # Errors
    /// `resolve` where the name has no address of the family.
    pub(super) async fn address(&self, attempt: &Attempt) -> Result<IpAddr, Failure> {
        match &self.source {
            Source::Literal(address) => Some(*address),
            Source::Name(entry) => {
                if let Some(address) = self.choose(&entry.borrow().answer) {
                    return address;
                }
                let mut entry = entry.clone();
                attempt.suspect(Failure::Resolve);
                let known = entry.wait_for(|entry| entry.answer != Answer::Pending).await;
                attempt.trust();
                return known.ok().and_then(|entry| self.choose(&entry.answer)).unwrap_or(Err(Failure::Resolve));
            }
        }
        .filter(|address| self.family.admits(*address))
        .ok_or(Failure::Resolve)
    }

    fn choose(&self, answer: &Answer) -> Option<Result<IpAddr, Failure>> {
        match answer {
            Answer::Pending => None,
            Answer::Nothing => Some(Err(Failure::Resolve)),
            Answer::Addresses(addresses) => {
                let admitted = || addresses.iter().copied().filter(|address| self.family.admits(*address));
                Some(admitted().find(IpAddr::is_ipv4).or_else(|| admitted().next()).ok_or(Failure::Resolve))
            }
        }
    }

    /// Adds the phase `resolve` where the name was looked up since this was last called.
    pub(super) fn report(&self, phases: &mut PhaseTimes) {
        let Source::Name(entry) = &self.source else { return };
        let entry = entry.borrow();
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.lookups > *reported {
            *reported = entry.lookups;
            phases.add(Phase::Resolve, entry.duration);
        }
    }
}

/// Looks names up in the background for as long as a [`Lookup`] of them exists.
#[derive(Debug)]
pub struct Names {
    resolver: Option<TokioResolver>,
    permits: Arc<Semaphore>,
    known: Mutex<HashMap<Arc<str>, Weak<watch::Sender<Entry>>>>,
}

impl Names {
    /// Reads the system's resolver configuration (`/etc/resolv.conf`, `/etc/hosts`). Without one, names fail
    /// and literal addresses work.
    pub fn from_system() -> Self {
        let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
            let options = builder.options_mut();
            options.timeout = Duration::from_secs(1);
            options.attempts = 1;
            // We keep the answers ourselves, with their TTL.
            options.cache_size = 0;
            options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
            builder.build()
        });
        if let Err(error) = &resolver {
            warn!("cannot read the resolver configuration, so names will not resolve: {error}");
        }
        Self::new(resolver.ok())
    }

    /// Looks names up with this resolver.
    pub fn new(resolver: Option<TokioResolver>) -> Self {
        Self { resolver, permits: Arc::new(Semaphore::new(CONCURRENT)), known: Mutex::default() }
    }

    /// The addresses of a host, kept up to date from now on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn lookup(&self, host: &Host, family: AddressFamily) -> Lookup {
        let source = match host {
            Host::Addr(address) => Source::Literal(*address),
            Host::Name(name) => Source::Name(self.watch(name)),
        };
        Lookup { source, family, reported: Mutex::new(0) }
    }

    fn watch(&self, name: &Arc<str>) -> watch::Receiver<Entry> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = known.get(name).and_then(Weak::upgrade)
            && sender.receiver_count() > 0
        {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Entry::default());
        let sender = Arc::new(sender);
        known.retain(|_, sender| sender.strong_count() > 0);
        known.insert(Arc::clone(name), Arc::downgrade(&sender));
        tokio::spawn(refresh(Arc::clone(name), self.resolver.clone(), Arc::clone(&self.permits), sender));
        receiver
    }
}

/// Looks a name up again and again until nobody wants it any more.
async fn refresh(
    name: Arc<str>,
    resolver: Option<TokioResolver>,
    permits: Arc<Semaphore>,
    entry: Arc<watch::Sender<Entry>>,
) {
    loop {
        let Ok(permit) = permits.acquire().await else { return };
        let (answer, duration, again) = resolve(&name, resolver.as_ref()).await;
        drop(permit);
        entry.send_modify(|entry| apply(entry, answer, duration, &name));
        tokio::select! {
            () = sleep_until(again) => {}
            () = entry.closed() => return,
        }
    }
}

/// Puts the result of a lookup in force. `None` is a resolver that gave no answer: the last one stays.
fn apply(entry: &mut Entry, answer: Option<Answer>, duration: Duration, name: &str) {
    match answer {
        Some(answer) => {
            if answer != entry.answer {
                match &answer {
                    Answer::Addresses(addresses) => debug!(name, ?addresses, "resolved"),
                    _ => info!(name, "the name has no address; its target fails with resolve"),
                }
            }
            if matches!(answer, Answer::Addresses(_)) {
                entry.lookups += 1;
                entry.duration = duration;
            }
            entry.answer = answer;
        }
        None if entry.answer == Answer::Pending => entry.answer = Answer::Nothing,
        None => {}
    }
}

async fn resolve(name: &str, resolver: Option<&TokioResolver>) -> (Option<Answer>, Duration, Instant) {
    let started = Instant::now();
    let Some(resolver) = resolver else { return (None, Duration::ZERO, started + CEILING) };
    // The final dot spares the search list: a name is taken as it is written, unless it is a single word, which
    // container platforms complete.
    let absolute = if name.contains('.') { format!("{name}.") } else { name.to_owned() };
    let result = timeout(LOOKUP_TIMEOUT, resolver.lookup_ip(absolute)).await;
    let duration = started.elapsed();
    let floor = Instant::now() + FLOOR;
    match result {
        Ok(Ok(lookup)) => {
            let valid_for = lookup.valid_until().saturating_duration_since(started.into_std());
            let mut addresses: Vec<_> = lookup.iter().collect();
            // Servers rotate their answers; a target should not wander with them.
            addresses.sort_unstable();
            addresses.dedup();
            let again = floor.max(Instant::now() + valid_for.min(CEILING));
            (Some(Answer::Addresses(addresses.into())), duration, again)
        }
        Ok(Err(NetError::Dns(DnsError::NoRecordsFound(_)))) => (Some(Answer::Nothing), duration, floor),
        Ok(Err(error)) => {
            debug!(name, "lookup failed: {error}");
            (None, duration, floor)
        }
        Err(_) => (None, duration, floor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Answer {
        Answer::Addresses(list.iter().map(|a| a.parse().unwrap()).collect())
    }

    fn attempt() -> Attempt {
        Attempt::new(Instant::now())
    }

    fn lookup(entry: &watch::Sender<Entry>, family: AddressFamily) -> Lookup {
        Lookup { source: Source::Name(entry.subscribe()), family, reported: Mutex::new(0) }
    }

    #[tokio::test]
    async fn a_silent_resolver_leaves_the_last_addresses_in_use() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, Some(addresses(&["192.0.2.1"])), Duration::ZERO, "n"));
        sender.send_modify(|e| apply(e, None, Duration::ZERO, "n"));
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, Ok("192.0.2.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_name_that_stops_existing_fails_with_resolve() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, Some(addresses(&["192.0.2.1"])), Duration::ZERO, "n"));
        sender.send_modify(|e| apply(e, Some(Answer::Nothing), Duration::ZERO, "n"));
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, Err(Failure::Resolve));
    }

    #[tokio::test]
    async fn the_family_decides_and_any_prefers_ipv4() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, Some(addresses(&["2001:db8::1", "192.0.2.1"])), Duration::ZERO, "n"));
        let v6 = Ok("2001:db8::1".parse().unwrap());
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, Ok("192.0.2.1".parse().unwrap()));
        assert_eq!(lookup(&sender, AddressFamily::V6).address(&attempt()).await, v6);
        sender.send_modify(|e| apply(e, Some(addresses(&["2001:db8::1"])), Duration::ZERO, "n"));
        assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, v6);
        assert_eq!(lookup(&sender, AddressFamily::V4).address(&attempt()).await, Err(Failure::Resolve));
    }

    #[tokio::test]
    async fn each_lookup_is_reported_once() {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, Some(addresses(&["192.0.2.1"])), Duration::from_millis(7), "n"));
        let lookup = lookup(&sender, AddressFamily::Any);
        let mut phases = PhaseTimes::default();
        lookup.report(&mut phases);
        lookup.report(&mut phases);
        assert_eq!(phases.iter().collect::<Vec<_>>(), [(Phase::Resolve, Duration::from_millis(7))]);
    }
}
