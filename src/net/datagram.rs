//! A connected datagram socket (UDP or ping) with timestamps and an error queue.
#![allow(unsafe_code)]

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    clock::Timestamp,
    message::{Message, receive},
    options::{SocketOptions, enable_errors, enable_timestamps},
};

/// What stood in a socket's error queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorQueueEvent {
    /// The kernel handed a packet to the device. Packets count from 0 for each socket.
    Sent {
        /// Which packet of this socket.
        id: u32,
        /// When.
        at: Timestamp,
    },
    /// A router or the peer's host answered with an ICMP error; as many bytes of the packet that it quotes are
    /// in the buffer as `quoted` says, without the IP header.
    Icmp {
        /// The error that the kernel makes of it.
        errno: i32,
        /// Bytes in the buffer.
        quoted: usize,
    },
    /// The kernel itself could not send.
    Local {
        /// Why.
        errno: i32,
    },
    /// Something else.
    Other,
}

/// What was awaited on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMore<T> {
    /// Nothing else is awaited there.
    Last(T),
    /// Others wait for what may be there as well.
    More(T),
}

/// The most datagrams that are read of a peer in one wake-up; then the other probes have their turn.
pub const DATAGRAM_BUDGET: usize = 32;

/// A connected, non-blocking datagram socket.
#[derive(Debug)]
pub struct Datagram {
    socket: AsyncFd<Socket>,
}

impl Datagram {
    /// A UDP socket from a fresh, kernel-chosen port to `peer`.
    ///
    /// # Errors
    /// No descriptor, no route, an option that the system does not know.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn udp(peer: SocketAddr, options: SocketOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(peer), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        Self::connect(socket, peer, options)
    }

    /// Connects and configures a fresh socket.
    ///
    /// # Errors
    /// As [`Self::udp`].
    pub(super) fn connect(socket: Socket, peer: SocketAddr, options: SocketOptions) -> io::Result<Self> {
        options.apply(socket.as_fd(), peer.is_ipv4())?;
        enable_errors(socket.as_fd(), peer.is_ipv4())?;
        socket.connect(&peer.into())?;
        // Where there are no timestamps the caller falls back to its own clock.
        let _ = enable_timestamps(socket.as_fd());
        // SAFETY: the socket owns its descriptor, always returns the same one, and is never taken out of the
        // AsyncFd or given a mutable reference that could replace it.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::ERROR) }?;
        Ok(Self { socket })
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// What `send` says; also an error that an earlier packet met.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_ref().send(bytes).map(|_| ())
    }

    /// Receives a datagram that has arrived.
    ///
    /// # Errors
    /// `WouldBlock` where there is none; an ICMP error that an earlier packet met.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Message> {
        receive(self.fd(), buffer, 0)
    }

    /// Takes the next entry of the error queue.
    ///
    /// # Errors
    /// `WouldBlock` where it is empty.
    pub fn try_error_queue(&self, buffer: &mut [u8]) -> io::Result<ErrorQueueEvent> {
        // SO_EE_ORIGIN_* and SCM_TSTAMP_SCHED (linux/errqueue.h).
        const LOCAL: u8 = 1;
        const ICMP: u8 = 2;
        const ICMP6: u8 = 3;
        const TIMESTAMPING: u8 = 4;
        const SCHED: u32 = 1;
        let message = receive(self.fd(), buffer, libc::MSG_ERRQUEUE)?;
        Ok(match (message.error, message.timestamp) {
            (Some(error), Some(at)) if error.origin == TIMESTAMPING && error.info == SCHED => {
                ErrorQueueEvent::Sent { id: error.data, at }
            }
            (Some(error), _) if error.origin == ICMP || error.origin == ICMP6 => {
                ErrorQueueEvent::Icmp { errno: error.errno, quoted: message.len }
            }
            (Some(error), _) if error.origin == LOCAL => ErrorQueueEvent::Local { errno: error.errno },
            _ => ErrorQueueEvent::Other,
        })
    }

    /// Calls `take` whenever something may have arrived, until it returns something else than `WouldBlock`.
    /// It must have emptied the socket and its error queue before it returns that. What still lies there when it
    /// says [`ReadMore::Last`] is seen when something else arrives. `Interrupted` means that there may be more: it is
    /// called again when other tasks have had their turn.
    ///
    /// # Errors
    /// What `take` says.
    pub async fn until<T>(&self, mut take: impl FnMut() -> io::Result<ReadMore<T>>) -> io::Result<T> {
        loop {
            let mut guard = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
            match take() {
                Ok(ReadMore::Last(value)) => {
                    // Spares the next wait a look at an empty socket. What has come since is not forgotten.
                    guard.clear_ready();
                    return Ok(value);
                }
                Ok(ReadMore::More(value)) => return Ok(value),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    drop(guard);
                    tokio::task::yield_now().await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
