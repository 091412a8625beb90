//! The sockets by which name servers are asked. A link-local one is found by the interface that its packets leave from.

use std::{io, net::SocketAddr, os::fd::AsFd, pin::Pin, time::Duration};

use hickory_resolver::net::runtime::{
    RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime, iocompat::AsyncIoTokioAsStd,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

use crate::{
    model::{InterfaceName, Source},
    net::options::SocketOptions,
};

/// How long a connection may take to come about where nothing else is said.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

type Pending<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

/// tokio's sockets, on the interface of the name server where it has one.
#[derive(Clone, Default)]
pub(super) struct ResolverRuntime {
    tokio: TokioRuntimeProvider,
    zone: Option<InterfaceName>,
}

impl ResolverRuntime {
    /// Packets leave from this interface.
    pub(super) fn on(zone: Option<InterfaceName>) -> Self {
        Self { zone, ..Self::default() }
    }
}

fn socket(server: SocketAddr, kind: Type, protocol: Protocol, zone: InterfaceName) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(server), kind.nonblocking(), Some(protocol))?;
    let options = SocketOptions { source: Some(Source::Interface(zone)), ..SocketOptions::default() };
    options.apply(socket.as_fd(), server.is_ipv4())?;
    Ok(socket)
}

async fn connect(server: SocketAddr, zone: InterfaceName) -> io::Result<TcpStream> {
    let socket = TcpSocket::from_std_stream(socket(server, Type::STREAM, Protocol::TCP, zone)?.into());
    socket.set_nodelay(true)?;
    socket.connect(server).await
}

fn bind(local: SocketAddr, server: SocketAddr, zone: InterfaceName) -> io::Result<UdpSocket> {
    let socket = socket(server, Type::DGRAM, Protocol::UDP, zone)?;
    socket.bind(&local.into())?;
    UdpSocket::from_std(socket.into())
}

impl RuntimeProvider for ResolverRuntime {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> TokioHandle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        wait_for: Option<Duration>,
    ) -> Pending<Self::Tcp> {
        let Some(zone) = self.zone else { return self.tokio.connect_tcp(server, local, wait_for) };
        Box::pin(async move {
            let connected = timeout(wait_for.unwrap_or(CONNECT_TIMEOUT), connect(server, zone)).await;
            Ok(AsyncIoTokioAsStd(connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??))
        })
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Pending<UdpSocket> {
        let Some(zone) = self.zone else { return self.tokio.bind_udp(local, server) };
        Box::pin(async move { bind(local, server, zone) })
    }
}
