//! Strangers at the port of the survivors' servers.

use std::{
    collections::VecDeque,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use testkit::regions::World;
use tokio::time::Instant;

use crate::attack::{Crew, Underway, pace, withstood};

/// From how many addresses a stranger comes.
const ADDRESSES: u8 = 100;

/// The stranger's network.
const NET: u8 = 110;

/// The nth address of the stranger.
fn source(n: usize, addresses: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, NET, 2 + u8::try_from(n % usize::from(addresses)).unwrap()).into()
}

/// A connection from this address, without waiting for it, whose client holds little.
fn connect(from: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(2048)?;
    // A reset: ports must not run out.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// What strangers do.
#[derive(Clone, Copy)]
struct Rush {
    /// From how many addresses, to each survivor.
    addresses: u8,
    connections: usize,
    /// Between two new connections to a survivor.
    each: Duration,
    says: &'static str,
}

/// Keeps so many connections to each survivor open; the oldest gives way to a new one.
fn rush(world: &World, rush: Rush) -> Underway {
    let stranger = &world.strangers[0];
    for n in 1..rush.addresses {
        stranger.ip(&format!("addr add 10.0.{NET}.{}/24 dev net{NET}", 2 + n));
    }
    let mut crew = Crew::default();
    for name in ['a', 'b'] {
        let to: SocketAddr = world.region(name).address().parse().unwrap();
        let (mut open, mut began, mut done) = (VecDeque::<TcpStream>::new(), Instant::now(), 0);
        let mut count = 0;
        crew.join(stranger, move || {
            let Ok(mut fresh) = connect(source(count, rush.addresses), to) else { return false };
            count += 1;
            // Most are not yet connected: what they say, they say later.
            let late = open.len().saturating_sub(20);
            for stream in open.range_mut(late..) {
                let _ = stream.write(rush.says.as_bytes());
            }
            let _ = fresh.write(rush.says.as_bytes());
            open.push_back(fresh);
            if open.len() > rush.connections {
                open.pop_front();
            }
            done += 1;
            pace(&mut began, &mut done, rush.each);
            true
        });
    }
    crew.attack(500.0)
}

fn pipelined() -> &'static str {
    "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100).leak()
}

fn attacked_by(attack: &str, strangers: Rush) {
    withstood(attack, |plan| plan.strangers = 1, |world| rush(world, strangers));
}

#[test]
fn pipelined_requests_that_nobody_reads_the_answers_of_delay_nothing() {
    let each = Duration::from_millis(2);
    attacked_by(
        "stranger: 256 pipelined connections",
        Rush { addresses: 1, connections: 256, each, says: pipelined() },
    );
}

#[test]
fn pipelined_requests_of_many_strangers_delay_nothing() {
    let each = Duration::from_millis(2);
    let many = Rush { addresses: ADDRESSES, connections: 600, each, says: pipelined() };
    attacked_by("strangers: 600 pipelined connections of 100 addresses", many);
}

#[test]
fn bare_connections_delay_nothing() {
    let each = Duration::from_micros(333);
    attacked_by("stranger: 3,000 bare connects a second", Rush { addresses: 1, connections: 200, each, says: "" });
}

#[test]
fn readers_of_the_page_that_stall_delay_nothing() {
    let says = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let each = Duration::from_millis(5);
    attacked_by("strangers: stalled readers of /", Rush { addresses: ADDRESSES, connections: 200, each, says });
}
