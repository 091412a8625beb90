//! What probes and alert pushes share: sockets with kernel timestamps; a resolver, TLS and an HTTP client over them.
//!
//! User-space timestamps include scheduling delay and CPU throttling. So the sockets here ask for `SO_TIMESTAMPING`
//! (Documentation/networking/timestamping.rst): `TX_SCHED` timestamps when a packet is handed to the queue of the
//! device, `RX_SOFTWARE` when it comes in. A TCP connection's round trip is read from `TCP_INFO`.
//!
//! # What is used of surge-ping, and what is not
//! surge-ping 0.9.1 is used for what is sound in it: `AsyncSocket` makes and configures ping sockets
//! (unprivileged first, raw as a fallback), and its packet types decode what comes back. Not used are its
//! clock, its receive task and its `Pinger`: it reads the clock after `send_to` has returned and again in a
//! task that has to be scheduled first, it returns an ICMP error as `Ok(rtt)` on raw sockets, it never sees
//! one on datagram sockets, and a burst of 1,000 pings through its one socket loses most replies.
//!
//! # Unsafe
//! The only module with `unsafe`: calls like `recvmsg`, `setsockopt`, `timerfd_settime` and `setns`, which std does not have. The
//! files that need it allow it. Control messages are parsed by safe code.

mod api_client;
mod attempt;
mod clock;
mod connection;
mod datagram;
mod errors;
#[doc(hidden)]
pub mod hostile;
mod http_client;
mod http_failure;
mod message;
mod namespace;
mod options;
mod ping;
mod progress;
mod proxy;
mod resolver;
mod stream;
mod timer;
mod tls;
mod turn;
mod unix;

pub use api_client::{ApiClient, ApiResponse};
pub use attempt::Attempt;
pub use clock::{ClockReading, ClockWatch, Elapsed, Timestamp, process_cpu_time, thread_cpu_time};
pub(crate) use connection::{Connection, Measured};
pub use datagram::{DATAGRAM_BUDGET, Datagram, ErrorQueueEvent, ReadMore};
pub use errors::{failure, local_failure};
pub(crate) use http_client::{AGENT, BodyUse, HttpClient, HttpResponse};
pub use http_client::{ClientError, HeadParsing, HttpVersion, Way};
pub use message::Message;
pub use namespace::Namespace;
pub use options::{SocketOptions, TimestampingGuard, raise_descriptor_limit, tune_allocator};
pub use ping::{PingSocketKind, open_ping_socket};
pub use proxy::Proxy;
pub(crate) use proxy::unusable as proxy_unusable;
pub use resolver::{ResolvedHost, Resolver};
pub use stream::StreamTimestamps;
pub use timer::Timer;
pub(crate) use tls::{Connector, explained as tls_failure_explained, failure as tls_failure};
pub use tls::{PemFile, TlsContext, TlsError, TlsSpec};
