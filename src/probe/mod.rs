//! One file a kind of probe: cold `new`, hot `probe`. Each file is the only one that names its library.

mod answer;
mod dns;
mod http;
mod icmp;
mod kinds;
mod tcp;

pub use dns::DnsProbe;
pub use http::{HttpProbe, ResponseSender};
pub use icmp::IcmpProbe;
pub use kinds::{DNS, HTTP, ICMP, KINDS, SIDECAR, TCP, kind_named};
pub use tcp::TcpProbe;

#[doc(hidden)]
pub mod hostile {
    //! The parsers that see a peer's bytes, for the fuzz targets.
    pub use super::{answer::fuzz_answer, icmp::fuzz_reply};
}

use crate::{
    model::{Failure, Timings},
    net::Attempt,
};

/// Something that can be measured again and again.
pub trait Probe: Send + Sync + 'static {
    /// Whether an answer that comes after the deadline is still waited for, so that it can be counted as late.
    const LINGERS: bool;

    /// Measures one time. The caller ends it at the deadline by dropping it; it must hold nothing that outlives
    /// that.
    fn probe(&self, attempt: &Attempt) -> impl Future<Output = Result<Timings, ProbeError>> + Send;
}

/// Why a probe has no timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeError {
    /// It failed.
    Failed(Failure),
    /// The wall clock was set while it was under way: what was measured is worth nothing and says nothing.
    ClockStep,
}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
