//! A TCP connection on which the peer sends back what it receives (RFC 862).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    kind::ProbeKind,
    prober::{Probe, ProbeError, ProberContext, SetupError},
};
use crate::{
    model::{Facts, Failure, Host, Kind, Layer, Phase, Shape, Timings},
    net::{Attempt, ClockWatch, Connection, Elapsed, Measured, ResolvedHost, SocketOptions, TlsSpec, failure},
    yaml::{Fields, ReadContext, writer::Writer},
};

/// An echo over TCP.
pub const ECHO: Kind = Kind::new(&Facts {
    name: "echo",
    title: "Echo",
    layer: Layer::L7,
    fast: false,
    often_filtered: false,
    never_critical: None,
    carries_votes: false,
    // Behind every other kind, however many there will be.
    preference: 200,
    interval: Duration::from_secs(1),
    timeout: Duration::from_secs(2),
});

/// An echo over TCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EchoSpec {
    /// The port; by default 7.
    pub port: u16,
}

impl ProbeKind for EchoSpec {
    const KIND: Kind = ECHO;
    const KEYS: &'static [&'static str] = &["port"];
    const SHARES_SOCKET: bool = false;

    type Prober = EchoProbe;

    fn read(fields: &Fields<'_>, _: &ReadContext<'_>) -> Option<Self> {
        Some(Self { port: fields.read("port", |item| item.port()).unwrap_or(7) })
    }

    fn write(&self, page: &mut Writer) {
        page.raw("port", self.port);
    }

    fn destination(&self, host: &Host) -> String {
        format!("{host}, port {}", self.port)
    }

    fn shape(&self) -> Shape {
        Shape::new([Phase::Connect, Phase::Request], [Failure::Refused, Failure::Mismatch])
    }

    fn tls(&self) -> Option<&TlsSpec> {
        None
    }

    fn prober(self: Arc<Self>, context: ProberContext<'_>) -> Result<EchoProbe, SetupError> {
        Ok(EchoProbe { options: context.socket_options(), resolved: context.resolved, port: self.port })
    }
}

/// Measures one echo.
#[derive(Debug)]
pub struct EchoProbe {
    resolved: ResolvedHost,
    port: u16,
    options: SocketOptions,
}

impl Probe for EchoProbe {
    const LINGERS: bool = true;

    async fn probe(&self, attempt: &Attempt) -> Result<Timings, ProbeError> {
        let server = SocketAddr::new(self.resolved.address(attempt).await?, self.port);
        let watch = ClockWatch::start();
        let mut measured = Measured::default();
        let mut connection = Connection::open(server, self.options, None, &mut measured, attempt).await?;
        let timestamps = connection.enable_timestamps();
        attempt.enter(Phase::Request);
        let sent: [u8; 16] = rand::random();
        let mut received = [0; 16];
        connection.io.write_all(&sent).await.map_err(|error| failure(&error))?;
        connection.io.read_exact(&mut received).await.map_err(|error| failure(&error))?;
        if received != sent {
            return Err(Failure::Mismatch.into());
        }
        if watch.stepped() {
            return Err(ProbeError::ClockStep);
        }
        let readings = timestamps.read();
        let elapsed = Elapsed::between(readings.last_sent, readings.last_received).ok_or(Failure::Local)?;
        measured.add(Phase::Request, elapsed);
        Ok(measured.into_timings(&self.resolved))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use tokio::time::Instant;

    use crate::{
        config::Config,
        model::{AddressFamily, Failure},
        net::{Attempt, Resolver, TlsContext},
        probe::{ECHO, Lookup, Probe, ProbeError, ProbeSpec, ProberContext, ProberVisitor, kind_named},
    };

    fn load(text: &str) -> Config {
        let loaded = Config::load(Some(("c.yaml".as_ref(), text)), []);
        loaded.unwrap_or_else(|errors| panic!("{errors}\n{text}")).config
    }

    #[test]
    fn configurations_reports_and_series_know_the_kind() {
        let config = load(
            "region: a\ndefaults: {echo: {interval: 3s}}\n\
             peers: [{region: b, targets: [{host: 192.0.2.1, probes: [{kind: echo, port: 8, critical: true}]}]}]",
        );
        let (path, probe) = config.paths().next().unwrap();
        assert_eq!((path.kind, kind_named("echo")), (ECHO, Some(ECHO)));
        assert_eq!(probe.cadence.interval().as_secs(), 3);
        assert_eq!(probe.spec.destination(&probe.host), "192.0.2.1, port 8");
        assert!(probe.shape().results.contains(Failure::Mismatch));
        assert_eq!(load(&config.to_yaml()), config);
    }

    struct Once(Attempt);

    impl ProberVisitor for Once {
        type Output = Pin<Box<dyn Future<Output = Result<crate::model::Timings, ProbeError>>>>;

        fn visit<P: Probe>(self, prober: P) -> Self::Output {
            Box::pin(async move { prober.probe(&self.0).await })
        }
    }

    #[tokio::test]
    async fn an_echo_is_measured() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut read, _) = listener.accept().unwrap();
            let mut write = read.try_clone().unwrap();
            std::io::copy(&mut read, &mut write)
        });
        let host = crate::model::Host::Addr("127.0.0.1".parse().unwrap());
        let resolver = Resolver::new(None);
        let (resolved, lookup) = (resolver.lookup(&host, AddressFamily::Any), Lookup::by(&resolver));
        let tls = TlsContext::default();
        let context =
            ProberContext { host: &host, resolved, lookup, tos: None, source: None, tls: &tls, responses: None };
        let attempt = Attempt::new(Instant::now() + std::time::Duration::from_secs(10));
        let spec = ProbeSpec::from(super::EchoSpec { port });
        let timings = spec.prober(context, Once(attempt)).unwrap().await.unwrap();
        let phases: Vec<_> = timings.phases.iter().map(|(phase, _)| phase.as_str()).collect();
        assert_eq!(phases, ["connect", "request"]);
    }
}
