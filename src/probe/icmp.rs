//! ICMP echo (RFC 792, RFC 4443).

mod echo_socket;
mod packet;
mod prober;

use std::time::Duration;

pub use self::packet::fuzz_reply;
use self::prober::IcmpProbe;
use super::{
    kind::ProbeKind,
    prober::{ProberContext, SetupError},
};
use crate::{
    model::{Facts, Host, HttpUrl, Kind, Layer, Phase, Shape},
    net::{SocketOptions, TlsSpec},
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
    preference: 3,
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
    const HAS_URL: bool = false;

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

    fn url(&self) -> Option<&HttpUrl> {
        None
    }

    fn descriptors(&self, _: u32) -> u64 {
        // One socket for all that is under way, and the one before it.
        2
    }

    fn prober(&self, context: ProberContext<'_>) -> Result<IcmpProbe, SetupError> {
        let options =
            SocketOptions { ttl: self.ttl, dont_fragment: Some(self.dont_fragment), ..context.socket_options() };
        Ok(IcmpProbe::new(context.resolved, self.size, options))
    }
}
