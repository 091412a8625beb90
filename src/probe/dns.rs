//! One DNS question to one named server.

mod message;
mod prober;
mod spec;

use std::time::Duration;

use self::prober::DnsProbe;
pub use self::{
    message::fuzz_answer,
    spec::{DnsSpec, DnsTransport, Rcode, RecordType},
};
use super::{
    kind::ProbeKind,
    prober::{ProberContext, SetupError},
};
use crate::{
    model::{Facts, Failure, Host, HttpUrl, Kind, Layer, Phase, Shape},
    net::TlsSpec,
    yaml::{Fields, ReadContext, writer::Writer},
};

/// One DNS question. The server is often in another place than the region's services, so it ranks last.
pub const DNS: Kind = Kind::new(&Facts {
    name: "dns",
    title: "DNS",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 4,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

impl ProbeKind for DnsSpec {
    const KIND: Kind = DNS;
    const KEYS: &'static [&'static str] = spec::KEYS;
    const HAS_URL: bool = false;

    type Prober = DnsProbe;

    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        spec::read(fields, context)
    }

    fn write(&self, page: &mut Writer) {
        spec::write(page, self);
    }

    fn destination(&self, host: &Host) -> String {
        format!("{host}, {} port {}, query {}", self.transport.protocol().name(), self.port, self.query)
    }

    fn shape(&self) -> Shape {
        let mut shape = Shape::new([Phase::Request], [Failure::Refused, Failure::Protocol, Failure::Status]);
        if self.transport != DnsTransport::Udp || self.retry_over_tcp {
            shape = shape.with(Phase::Connect, Failure::Refused);
        }
        if self.transport.tls().is_some() {
            shape = shape.with(Phase::Tls, Failure::Tls);
        }
        if !self.answers.is_empty() {
            shape.results = shape.results.with([Failure::Mismatch]);
        }
        shape
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.transport.tls()
    }

    fn url(&self) -> Option<&HttpUrl> {
        None
    }

    fn descriptors(&self, in_flight: u32) -> u64 {
        // Those that wait for late answers are as many again.
        2 * u64::from(in_flight)
    }

    fn prober(&self, context: ProberContext<'_>) -> Result<DnsProbe, SetupError> {
        DnsProbe::new(self, context)
    }
}
