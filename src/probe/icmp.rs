//! ICMP echo (RFC 792, RFC 4443), timed from the kernel's departure timestamp to its arrival timestamp.
//!
//! Each path has a ping socket of its own: the kernel then delivers only this path's replies and errors, and a fresh socket
//! means a fresh identifier.

mod echo_socket;
mod packet;

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{debug, warn};

use self::echo_socket::EchoSocket;
pub use self::packet::fuzz_reply;
use super::{
    kind::{ProbeKind, SHARED_SOCKETS},
    prober::{Probe, ProbeError, ProberContext, SetupError},
};
use crate::{
    model::{Facts, Failure, Host, Kind, Layer, Phase, Shape, Timings},
    net::{Attempt, ClockWatch, Measured, ResolvedHost, SocketOptions, TlsSpec},
    yaml::{Fields, ReadContext, writer::Writer},
};

/// ICMP echo. Much equipment answers it at low priority, so it ranks almost last.
pub const ICMP: Kind = Kind::new(&Facts {
    name: "icmp",
    title: "ICMP",
    layer: Layer::L3,
    fast: true,
    often_filtered: true,
    never_critical: Some("the network answers an echo, not a service"),
    carries_votes: false,
    preference: 4,
    interval: Duration::from_millis(250),
    timeout: Duration::from_secs(1),
});

/// An ICMP echo probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcmpSpec {
    /// Bytes of payload, 16 to 65,507. The first 16 carry a token by which a reply is known as ours.
    pub size: u16,
    /// The hop limit of what is sent, 1 to 255; `None` leaves the system's.
    pub ttl: Option<u8>,
    /// Forbid fragmentation (DF), so that a path with too small an MTU fails.
    pub dont_fragment: bool,
}

impl Default for IcmpSpec {
    fn default() -> Self {
        Self { size: 56, ttl: None, dont_fragment: false }
    }
}

impl ProbeKind for IcmpSpec {
    const KIND: Kind = ICMP;
    const KEYS: &'static [&'static str] = &["size", "ttl", "dont_fragment"];
    const SHARES_SOCKET: bool = true;

    type Prober = IcmpProbe;

    fn read(fields: &Fields<'_>, _: &ReadContext<'_>) -> Option<Self> {
        let default = Self::default();
        Some(Self {
            size: fields.read("size", |item| item.whole::<u16>(16..=65507)).unwrap_or(default.size),
            ttl: fields.read("ttl", |item| item.whole::<u8>(1..=255)),
            dont_fragment: fields.read("dont_fragment", |item| item.flag()).unwrap_or(default.dont_fragment),
        })
    }

    fn write(&self, page: &mut Writer) {
        page.raw("size", self.size);
        if let Some(ttl) = self.ttl {
            page.raw("ttl", ttl);
        }
        page.raw("dont_fragment", self.dont_fragment);
    }

    fn destination(&self, host: &Host) -> String {
        format!("{host}, {} bytes", self.size)
    }

    fn shape(&self) -> Shape {
        Shape { duplicates: true, ..Shape::new([Phase::Rtt], []) }
    }

    fn tls(&self) -> Option<&TlsSpec> {
        None
    }

    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<IcmpProbe, SetupError> {
        let options =
            SocketOptions { ttl: self.ttl, dont_fragment: Some(self.dont_fragment), ..context.socket_options() };
        Ok(IcmpProbe { resolved: context.resolved, size: self.size, options, sockets: Mutex::default() })
    }
}

/// After so many losses in a row a new socket is opened: connection tracking on the way may have an entry from
/// the time of the outage that swallows every packet with the old identifier.
const RENEW_AFTER: u32 = 3;

/// The shortest time between two such renewals. The replaced socket is kept until the next one, so that answers
/// that are late by less than this are still seen.
const RENEW_INTERVAL: Duration = Duration::from_secs(5);

/// Pings one target.
#[derive(Debug)]
pub(crate) struct IcmpProbe {
    resolved: ResolvedHost,
    size: u16,
    options: SocketOptions,
    /// Those of the addresses that are probed, which are few.
    sockets: Mutex<Vec<(IpAddr, Sockets)>>,
}

/// For how long the sockets of an address are kept after their last use.
const KEPT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Sockets {
    current: Option<Arc<EchoSocket>>,
    previous: Option<Arc<EchoSocket>>,
    losses: u32,
    renewed: Option<Instant>,
    used: Option<Instant>,
}

impl IcmpProbe {
    fn all_sockets(&self) -> MutexGuard<'_, Vec<(IpAddr, Sockets)>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works with the sockets of an address, which it has from now on.
    fn sockets<T>(&self, address: IpAddr, work: impl FnOnce(&mut Sockets) -> T) -> T {
        let mut all = self.all_sockets();
        let place = all.iter().position(|(known, _)| *known == address).unwrap_or_else(|| {
            if all.len() >= SHARED_SOCKETS {
                all.remove(0);
            }
            all.push((address, Sockets::default()));
            all.len() - 1
        });
        work(&mut all[place].1)
    }

    /// Works with the sockets of an address if they are still kept.
    fn kept_sockets(&self, address: IpAddr, work: impl FnOnce(&mut Sockets)) {
        if let Some((_, sockets)) = self.all_sockets().iter_mut().find(|(known, _)| *known == address) {
            work(sockets);
        }
    }

    /// The sockets on which late answers may come, but for this one.
    fn others(&self, current: &Arc<EchoSocket>) -> Vec<Arc<EchoSocket>> {
        let all = self.all_sockets();
        let each = all.iter().flat_map(|(_, sockets)| [&sockets.current, &sockets.previous]).flatten();
        each.filter(|socket| !Arc::ptr_eq(socket, current)).cloned().collect()
    }

    /// The socket to use now: the current one of the address, or a new one if there is none, it broke, or an outage has lasted.
    fn socket(&self, address: IpAddr) -> Result<Arc<EchoSocket>, Failure> {
        let now = Instant::now();
        let is_recent = |sockets: &Sockets| sockets.used.is_some_and(|at| now.duration_since(at) < KEPT);
        self.all_sockets().retain(|(known, sockets)| *known == address || is_recent(sockets));
        self.sockets(address, |sockets| {
            sockets.used = Some(now);
            let stale = sockets.losses >= RENEW_AFTER
                && sockets.renewed.is_none_or(|at| now.duration_since(at) >= RENEW_INTERVAL);
            if let (Some(socket), false) = (&sockets.current, stale) {
                return Ok(Arc::clone(socket));
            }
            match EchoSocket::open(address, self.options, self.size) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    sockets.previous = sockets.current.replace(Arc::clone(&socket));
                    if stale {
                        sockets.renewed = Some(now);
                        sockets.losses = 0;
                    }
                    Ok(socket)
                }
                Err(error) => {
                    sockets.current = None;
                    if error.kind() == io::ErrorKind::PermissionDenied {
                        warn_once();
                    }
                    debug!(%address, "cannot open a ping socket: {error}");
                    Err(Failure::Local)
                }
            }
        })
    }
}

/// Logs once per process how to permit ping.
fn warn_once() {
    static WARNED: std::sync::Once = std::sync::Once::new();
    WARNED.call_once(|| {
        warn!(
            "ping is not permitted here, so icmp probes report the result \"local\"; permit it with \
             sysctl net.ipv4.ping_group_range=\"0 2147483647\" (in Kubernetes: securityContext.sysctls of the \
             pod); regionwatch doctor shows what else this environment permits"
        );
    });
}

impl Probe for IcmpProbe {
    // Late answers are found by later attempts on the same socket.
    const LINGERS: bool = false;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let address = self.resolved.address(attempt).await?;
        attempt.enter(Phase::Rtt);
        let socket = self.socket(address)?;
        for other in self.others(&socket) {
            other.receive_all();
            other.report(attempt);
        }
        socket.report(attempt);
        let watch = ClockWatch::start();
        let request = match socket.send() {
            Ok(request) => request,
            Err(failure) => {
                // The kernel's count of packets and ours may be out of step now.
                self.kept_sockets(address, |sockets| sockets.current = None);
                return Err(failure.into());
            }
        };
        let loss = Loss(Some((self, address)));
        let reply = request.answer().await;
        loss.averted();
        let reply = reply?;
        if watch.stepped() {
            return Err(ProbeError::ClockStep);
        }
        let mut measured = Measured::default();
        measured.add(Phase::Rtt, reply.rtt);
        Ok(Timings { hop_limit: reply.hop_limit, ..measured.into_timings(&self.resolved) })
    }
}

/// Counts a loss when dropped unanswered, as happens at the deadline.
struct Loss<'a>(Option<(&'a IcmpProbe, IpAddr)>);

impl Loss<'_> {
    fn averted(mut self) {
        if let Some((probe, address)) = self.0.take() {
            probe.kept_sockets(address, |sockets| sockets.losses = 0);
        }
    }
}

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        if let Some((probe, address)) = self.0 {
            probe.kept_sockets(address, |sockets| sockets.losses += 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::AddressChoice, probe::ProbeSpec};

    fn address(n: u8) -> IpAddr {
        [127, 0, 0, n].into()
    }

    fn probe(count: u8) -> IcmpProbe {
        let addresses: Vec<_> = (1..=count).map(|n| address(n).to_string()).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let resolved = ResolvedHost::fixed(&addresses).using(AddressChoice::All);
        IcmpProbe { resolved, size: 56, options: SocketOptions::default(), sockets: Mutex::default() }
    }

    fn kept(probe: &IcmpProbe) -> Vec<IpAddr> {
        probe.all_sockets().iter().map(|(address, _)| *address).collect()
    }

    #[tokio::test]
    async fn a_name_with_many_addresses_has_no_more_sockets_than_are_counted() {
        let (few, many) = (8, 12);
        for count in [few, many] {
            let probe = probe(count);
            // The second round replaces each socket, and keeps the one before.
            for _ in 0..2 {
                for n in 1..=count {
                    if let Err(failure) = probe.socket(address(n)) {
                        let strict =
                            ["CI", "REGIONWATCH_REQUIRE_ALL"].iter().any(|name| std::env::var_os(name).is_some());
                        assert!(!strict, "this test needs ping sockets: {failure:?}");
                        eprintln!("SKIPPED: no ping socket: {failure:?}");
                        return;
                    }
                    probe.kept_sockets(address(n), |sockets| sockets.losses = RENEW_AFTER);
                }
            }
            let all = probe.all_sockets();
            let open = all.iter().flat_map(|(_, sockets)| [&sockets.current, &sockets.previous]).flatten().count();
            let counted = ProbeSpec::Icmp(Arc::default()).descriptors(4, &Host::Name("a.example".into()));
            assert!(open as u64 <= counted, "{open} of {counted}");
            assert_eq!(open as u64 == counted, count == few, "{open} of {counted}");
        }
    }

    #[test]
    fn the_outcome_of_an_address_that_is_no_longer_kept_drops_no_sockets_of_another() {
        let probe = probe(9);
        for n in 1..=9 {
            probe.sockets(address(n), |_| ());
        }
        let before = kept(&probe);
        assert_eq!(before, (2..=9).map(address).collect::<Vec<_>>());
        drop(Loss(Some((&probe, address(1)))));
        Loss(Some((&probe, address(1)))).averted();
        assert_eq!(kept(&probe), before);
    }
}
