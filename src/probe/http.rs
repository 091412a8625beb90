//! One HTTP request, on a fresh connection unless it is to be kept.

mod prober;
mod spec;

use std::time::Duration;

pub use self::spec::HttpSpec;
pub(super) use self::{
    prober::{Exchange, HttpProbe},
    spec::{KEYS, read, write},
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

/// One HTTP request. The server adds its own time.
pub const HTTP: Kind = Kind::new(&Facts {
    name: "http",
    title: "HTTP",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    preference: 2,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

impl ProbeKind for HttpSpec {
    const KIND: Kind = HTTP;
    const KEYS: &'static [&'static str] = KEYS;
    const HAS_URL: bool = true;

    type Prober = HttpProbe;

    fn read(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Self> {
        read(fields, context, |_, defaults| defaults)
    }

    fn write(&self, page: &mut Writer) {
        write(page, self);
    }

    fn destination(&self, _: &Host) -> String {
        format!("{} {}", self.method, self.url)
    }

    fn shape(&self) -> Shape {
        let phases = [Phase::Connect, Phase::Processing, Phase::Transfer];
        let results = [Failure::Refused, Failure::Protocol, Failure::Status, Failure::Auth];
        let mut shape = Shape { late: false, ..Shape::new(phases, results) };
        if self.url.https {
            shape = shape.with(Phase::Tls, Failure::Tls);
        }
        if self.expect_body.is_some() || !self.expect_headers.is_empty() {
            shape.results = shape.results.with([Failure::Mismatch]);
        }
        shape
    }

    fn tls(&self) -> Option<&TlsSpec> {
        self.url.https.then_some(&self.tls)
    }

    fn url(&self) -> Option<&HttpUrl> {
        Some(&self.url)
    }

    fn descriptors(&self, in_flight: u32) -> u64 {
        // Twice as many while connections are closed.
        2 * u64::from(in_flight)
    }

    fn prober(&self, context: ProberContext<'_>) -> Result<HttpProbe, SetupError> {
        HttpProbe::new(self.clone(), context)
    }
}
