//! A path, and what one probe of it measured.

use std::{fmt, time::Duration};

use tokio::time::Instant;

use super::{Kind, Region, TargetName, labels};

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
        /// Databases: first byte of the login sent to its last answer received. Kernel stamps. With MySQL also the wait for
        /// the server's greeting, from a reading of the process's clock.
        Auth = "auth",
        /// Databases: query sent to the last byte of its result received. Kernel stamps.
        Read = "read",
        /// Databases: token sent to its acknowledgement received. Kernel stamps.
        Write = "write",
    }
}

labels! {
    /// Why a probe failed; the `result` label. A failure has no duration.
    pub enum Failure {
        /// No answer before the deadline.
        Timeout = "timeout",
        /// The peer's kernel refused or reset: its host is alive, its service is not.
        Refused = "refused",
        /// A router or the peer's host said that it cannot be reached (ICMP error).
        Unreachable = "unreachable",
        /// The target's name has no address.
        Resolve = "resolve",
        /// The TLS handshake failed: certificate, name, version.
        Tls = "tls",
        /// The answer breaks its protocol, or is larger than the cap.
        Protocol = "protocol",
        /// A well-formed answer with an unexpected status: HTTP status, DNS rcode, error of a database.
        Status = "status",
        /// A well-formed answer without the expected body, header, record or banner.
        Mismatch = "mismatch",
        /// A DNS answer without an error has no record where there was one before, or where one is expected.
        Empty = "empty",
        /// The peer refused our credentials.
        Auth = "auth",
        /// A local failure: no permission, no descriptor, no route from here, send error. Never counts against a peer.
        Local = "local",
    }
}

impl Failure {
    /// Whether the failure was on this host, and so does not count against the peer. The only place that decides it.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Local)
    }

    /// Whether no answer came, so that the probe or its answer was lost on the way.
    pub const fn is_unanswered(self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable)
    }

    /// Whether one cause outside of the regions often brings it about for all of them at once: a token or an authority that
    /// expires, or a zone of DNS that is broken or has lost a record.
    pub const fn is_often_common(self) -> bool {
        matches!(self, Self::Auth | Self::Tls | Self::Resolve | Self::Empty)
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
    /// The hop limit (TTL) that the reply arrived with; ICMP only.
    pub hop_limit: Option<u8>,
}

impl Timings {
    /// Timings whose total is the sum of their phases.
    pub fn new(phases: PhaseTimes, source: StampSource) -> Self {
        Self { total: phases.total(), phases, source, syn_retransmits: 0, hop_limit: None }
    }

    /// Timings of a probe with a single phase.
    pub fn single(phase: Phase, duration: Duration, source: StampSource) -> Self {
        let mut phases = PhaseTimes::default();
        phases.add(phase, duration);
        Self::new(phases, source)
    }
}

/// The result of a probe. A failure has no latency: it is censored, never a number.
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

/// One measurement, made by the schedule and consumed by the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The path that was measured.
    pub path: PathId,
    /// When the probe began (monotonic).
    pub sent_at: Instant,
    /// The same on the wall clock, in nanoseconds since 1970; for people.
    pub sent_at_unix: u64,
    /// The result.
    pub outcome: Outcome,
}
