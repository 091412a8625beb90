//! The nouns that every other module speaks: regions, paths, samples, outcomes.
//!
//! Nothing here does I/O, and a value that exists is valid: names are checked when they are made,
//! closed sets are enums, a cadence cannot have a zero interval.

mod decision;
mod kind;
mod labels;
mod rfc3339;
mod url;
mod vote_response;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

pub(crate) use self::labels::labels;
pub use self::{
    decision::{Candidate, Cause, Incident, Ineligible, PeerState, Stage, Tally, UnixMillis, Vote},
    kind::{Facts, Kind, Layer},
    rfc3339::Utc,
    url::HttpUrl,
    vote_response::{NONCE_HEADER, Nonce, SIGNATURE_HEADER, VoteResponse},
};

/// Why a name was refused; see [`Region::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no character.
    #[error("is empty")]
    Empty,
    /// The name has more than [`MAX_NAME`] characters.
    #[error("is longer than {MAX_NAME} characters")]
    TooLong,
    /// The character cannot stand in a name.
    #[error("contains {0:?}; allowed are letters, digits, '-', '_' and '.'")]
    Character(char),
}

/// The longest region or target name, the limit of a DNS label.
pub const MAX_NAME: usize = 63;

fn checked_name(name: &str) -> Result<Arc<str>, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(c) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(NameError::Character(c));
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    Ok(Arc::from(name))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name of 1 to [`MAX_NAME`] letters, digits, `-`, `_` or `.`, so that it
            /// needs no escaping in a label, a URL or HTML.
            ///
            /// # Errors
            /// Says which rule the name breaks.
            pub fn new(name: &str) -> Result<Self, NameError> {
                checked_name(name).map(Self)
            }

            /// The name as it stands in labels.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a region, such as `eu-west-1`: a vantage or a peer.
    Region
}
name_type! {
    /// The name of one independent target inside a peer region, such as `edge-a`.
    TargetName
}

labels! {
    /// A part of a probe, in blackbox_exporter's words.
    pub enum Phase {
        /// Looking up the target's name, in the background. Userland clock.
        Resolve = "resolve",
        /// The TCP handshake. Kernel: `TCP_INFO.tcpi_rtt`; the wall clock where a SYN was sent again.
        Connect = "connect",
        /// The TLS handshake, from the first byte sent to the last byte received. Kernel stamps.
        Tls = "tls",
        /// DNS: question sent to answer received. Kernel stamps.
        Request = "request",
        /// ICMP: request sent to reply received. Kernel stamps.
        Rtt = "rtt",
        /// HTTP: request sent to head of the response received. Kernel stamps.
        Processing = "processing",
        /// HTTP: head of the response received to its last byte received. Kernel stamps.
        Transfer = "transfer",
    }
}

labels! {
    /// Why a probe failed; its name is the `result` label. A failure carries no duration.
    pub enum Failure {
        /// No answer before the deadline.
        Timeout = "timeout",
        /// The peer's kernel refused or reset: its host is alive, its service is not.
        Refused = "refused",
        /// A router or the peer's host said that it cannot be reached (ICMP error).
        Unreachable = "unreachable",
        /// The target's name has no address, or stopped having one.
        Resolve = "resolve",
        /// The TLS handshake failed: certificate, name, version.
        Tls = "tls",
        /// The answer breaks its protocol, or is larger than the cap.
        Protocol = "protocol",
        /// A well-formed answer with an unexpected status: HTTP status, DNS rcode.
        Status = "status",
        /// A well-formed answer without what was expected: body, header, record, banner.
        Mismatch = "mismatch",
        /// The peer refused our credentials.
        Auth = "auth",
        /// Our own fault: no permission, no descriptor, no route from here, send error. Never counts against a peer.
        Local = "local",
    }
}

impl Failure {
    /// Whether the failure is ours and says nothing about the peer. The only place that decides it.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Local)
    }
}

labels! {
    /// Which clock a measured duration was read from.
    pub enum StampSource {
        /// Time stamps that the kernel took when it sent and received the packets, or its own estimate of a
        /// connection's round trip.
        Kernel = "kernel",
        /// The process's clock, read before sending and after waking up.
        Userland = "userland",
    }
}

impl StampSource {
    /// The weaker of two sources: a duration is as good as its worse end.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Kernel, Self::Kernel) => Self::Kernel,
            _ => Self::Userland,
        }
    }
}

/// How long the phases of one successful probe took.
///
/// Kept as nanoseconds, because thousands of these are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PhaseTimes([u64; Phase::ALL.len()]);

/// Stands for a phase that was not measured.
const UNMEASURED: u64 = u64::MAX;

impl Default for PhaseTimes {
    fn default() -> Self {
        Self([UNMEASURED; Phase::ALL.len()])
    }
}

impl PhaseTimes {
    /// Adds to a phase, which may come up more than once (redirects).
    pub fn add(&mut self, phase: Phase, duration: Duration) {
        let slot = &mut self.0[phase as usize];
        let before = if *slot == UNMEASURED { 0 } else { *slot };
        let added = u64::try_from(duration.as_nanos()).unwrap_or(UNMEASURED);
        *slot = before.saturating_add(added).min(UNMEASURED - 1);
    }

    /// The phases that were measured, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL
            .into_iter()
            .zip(self.0)
            .filter(|(_, nanos)| *nanos != UNMEASURED)
            .map(|(phase, nanos)| (phase, Duration::from_nanos(nanos)))
    }

    /// The sum of all measured phases.
    pub fn total(&self) -> Duration {
        self.iter().map(|(_, duration)| duration).sum()
    }
}

/// What a successful probe measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timings {
    /// The probe's latency: the sum of its phases on the network, without name resolution and without our
    /// own computing between them.
    pub total: Duration,
    /// The parts of `total`.
    pub phases: PhaseTimes,
    /// The clock behind `total`.
    pub source: StampSource,
    /// SYNs that the kernel had to send again; 0 but for TCP and what runs on it.
    pub syn_retransmits: u32,
    /// When the first certificate of the peer's chain expires, in seconds since 1970; TLS only.
    pub certificate_expiry: Option<i64>,
    /// The hop limit (TTL) that the reply arrived with; ICMP only.
    pub hop_limit: Option<u8>,
}

impl Timings {
    /// Timings whose total is the sum of their phases.
    pub fn new(phases: PhaseTimes, source: StampSource) -> Self {
        Self { total: phases.total(), phases, source, syn_retransmits: 0, certificate_expiry: None, hop_limit: None }
    }

    /// Timings of a probe with a single phase.
    pub fn single(phase: Phase, duration: Duration, source: StampSource) -> Self {
        let mut phases = PhaseTimes::default();
        phases.add(phase, duration);
        Self::new(phases, source)
    }
}

/// What came of a probe. A failure has no latency: it is censored, never a number.
pub type Outcome = Result<Timings, Failure>;

/// What is measured: one kind of probe to one target of one peer. The key of every window and series.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The peer region.
    pub peer: Region,
    /// The target inside it.
    pub target: TargetName,
    /// The kind of probe.
    pub kind: Kind,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.peer, self.target, self.kind)
    }
}

/// A path's number for the life of the process; never used again for another path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathId(pub u32);

/// One measurement, made by the schedule and consumed by the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The path that was measured.
    pub path: PathId,
    /// When the probe began (monotonic).
    pub sent_at: Instant,
    /// The same on the wall clock, in nanoseconds since 1970; for people.
    pub sent_at_unix: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// How often a path is probed and how long each probe may take.
///
/// The interval is at least [`Cadence::MIN_INTERVAL`]; the timeout may be longer than the interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    interval: Duration,
    timeout: Duration,
}

impl Cadence {
    /// The shortest interval and timeout: timers have a resolution of 1 ms.
    pub const MIN_INTERVAL: Duration = Duration::from_millis(10);
    /// The longest interval and timeout.
    pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);

    /// `None` where one of both is shorter than [`Self::MIN_INTERVAL`] or longer than [`Self::MAX_INTERVAL`],
    /// or where a probe would outlast more than [`Self::MAX_IN_FLIGHT`] intervals.
    pub fn new(interval: Duration, timeout: Duration) -> Option<Self> {
        let range = Self::MIN_INTERVAL..=Self::MAX_INTERVAL;
        let cadence = Self { interval, timeout };
        (range.contains(&interval) && range.contains(&timeout) && timeout <= interval * Self::MAX_IN_FLIGHT)
            .then_some(cadence)
    }

    /// The most intervals that a probe may last, which bounds memory and descriptors.
    pub const MAX_IN_FLIGHT: u32 = 64;

    /// Time between the starts of two probes.
    pub const fn interval(self) -> Duration {
        self.interval
    }

    /// Time from the start of a probe to its deadline.
    pub const fn timeout(self) -> Duration {
        self.timeout
    }

    /// How many probes of the path are in flight at the most. Where the timeout is a multiple of the interval,
    /// one ends when another begins, and is still there because timers fire a little late.
    pub fn in_flight(self) -> u32 {
        u32::try_from(self.timeout.as_nanos() / self.interval.as_nanos().max(1) + 1).unwrap_or(u32::MAX)
    }
}

/// Where a target is: an address, or a name that is resolved in the background.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address; never resolved.
    Addr(IpAddr),
    /// A DNS name, lower case, without the final dot.
    Name(Arc<str>),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

labels! {
    /// Which addresses of a name are used.
    #[derive(Default)]
    pub enum AddressFamily {
        /// The first address of either family, IPv4 before IPv6.
        #[default]
        Any = "any",
        /// IPv4 only.
        V4 = "v4",
        /// IPv6 only.
        V6 = "v6",
    }
}

impl AddressFamily {
    /// Whether the address may be used.
    pub const fn admits(self, addr: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => addr.is_ipv4(),
            Self::V6 => addr.is_ipv6(),
        }
    }
}

#[cfg(test)]
mod tests;
