//! What really happened: each probe's round trips between the moment its packets left the prober's device and the
//! moment the answers came in, put together from the tap.

use std::{collections::HashMap, net::Ipv4Addr};

use super::{
    packet::{Content, Segment},
    servers::{HTTP_PORT, HTTPS_PORT, TCP_PORT},
    tap::Seen,
};

/// What is probed at a server; each has its own port, so that a packet tells which it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Echo requests.
    Icmp,
    /// Questions by UDP.
    Dns,
    /// Connections.
    Tcp,
    /// Requests in the clear.
    Http,
    /// Requests through TLS 1.3.
    Https,
}

impl std::str::FromStr for Service {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "icmp" => Ok(Self::Icmp),
            "dns" => Ok(Self::Dns),
            "tcp" => Ok(Self::Tcp),
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(format!("no service {name:?}; write icmp, dns, tcp, http or https")),
        }
    }
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Icmp, Self::Dns, Self::Tcp, Self::Http, Self::Https];
}

/// One probe as the tap saw it; times in ns of CLOCK_REALTIME.
#[derive(Debug, Clone, Copy)]
pub struct Truth {
    /// When its first packet left.
    pub sent: i64,
    /// SYN left to SYN-ACK arrived.
    pub connect: Option<i64>,
    /// Question left to answer arrived: the echo, the DNS message; for HTTP the last packet of the request to the
    /// first packet of the response.
    pub exchange: Option<i64>,
    /// When the answer that completes the probe arrived.
    pub answered: Option<i64>,
}

impl Truth {
    const fn new(sent: i64) -> Self {
        Self { sent, connect: None, exchange: None, answered: None }
    }

    const fn answer(&mut self, at: i64) {
        if self.answered.is_none() {
            self.exchange = Some(at - self.sent);
            self.answered = Some(at);
        }
    }
}

/// A server's service.
pub type Flow = (Ipv4Addr, Service);

/// All probes of each flow, in the order in which they were sent.
pub fn reconstruct(seen: &[Seen]) -> HashMap<Flow, Vec<Truth>> {
    let mut questions: HashMap<(Flow, u16, u16), Vec<Truth>> = HashMap::new();
    let mut connections: HashMap<(Ipv4Addr, u16, u16), Vec<Connection>> = HashMap::new();
    for Seen { at, packet } in seen {
        let key = match packet.content {
            Content::Echo { id, sequence } => ((packet.server, Service::Icmp), id, sequence),
            Content::Dns { port, id } => ((packet.server, Service::Dns), port, id),
            Content::Tcp(segment) => {
                let key = (packet.server, segment.server_port, segment.local_port);
                let list = connections.entry(key).or_default();
                Connection::follow(list, *at, packet.outgoing, segment);
                continue;
            }
            Content::Other => continue,
        };
        let list = questions.entry(key).or_default();
        if packet.outgoing {
            list.push(Truth::new(*at));
        } else if let Some(last) = list.last_mut() {
            last.answer(*at);
        }
    }
    let mut truths: HashMap<Flow, Vec<Truth>> = HashMap::new();
    for ((flow, ..), list) in questions {
        truths.entry(flow).or_default().extend(list);
    }
    for ((server, port, _), list) in connections {
        let service = match port {
            TCP_PORT => Service::Tcp,
            HTTP_PORT => Service::Http,
            HTTPS_PORT => Service::Https,
            _ => continue,
        };
        truths.entry((server, service)).or_default().extend(list.iter().map(|connection| connection.truth(service)));
    }
    for list in truths.values_mut() {
        list.sort_by_key(|truth| truth.sent);
    }
    truths
}

/// Packets with payload in one direction, without one of the other between them.
struct Flight {
    outgoing: bool,
    first: i64,
    last: i64,
}

/// A TCP connection of the prober.
struct Connection {
    syn: i64,
    initial: u32,
    syn_ack: Option<i64>,
    flights: Vec<Flight>,
    /// The highest sequence number seen, incoming and outgoing: what is below was sent again and is not new.
    highest: [Option<u32>; 2],
}

impl Connection {
    /// Takes one segment into the newest connection of a pair of ports, or begins another.
    fn follow(list: &mut Vec<Self>, at: i64, outgoing: bool, segment: Segment) {
        if segment.syn && outgoing && list.last().is_none_or(|last| last.initial != segment.sequence) {
            let initial = segment.sequence;
            list.push(Self { syn: at, initial, syn_ack: None, flights: Vec::new(), highest: [None, None] });
        }
        let Some(connection) = list.last_mut() else { return };
        if segment.syn {
            if !outgoing {
                connection.syn_ack.get_or_insert(at);
            }
            return;
        }
        let end = segment.sequence.wrapping_add(segment.length);
        let highest = &mut connection.highest[usize::from(outgoing)];
        if segment.length == 0 || highest.is_some_and(|highest| end.wrapping_sub(highest) as i32 <= 0) {
            return;
        }
        *highest = Some(end);
        match connection.flights.last_mut() {
            Some(flight) if flight.outgoing == outgoing => flight.last = at,
            _ => connection.flights.push(Flight { outgoing, first: at, last: at }),
        }
    }

    /// In the clear, the request is the first flight out and the response the first flight in. With TLS 1.3 and
    /// no session tickets (the server is told to send none) the flights are: hello, server's handshake, client's
    /// finished and request, response.
    fn truth(&self, service: Service) -> Truth {
        let connect = self.syn_ack.map(|at| at - self.syn);
        let request = match service {
            Service::Https => 2,
            _ => 0,
        };
        let exchange = match self.flights.get(request..request + 2) {
            Some([request, response]) if request.outgoing && !response.outgoing => Some((request.last, response.first)),
            _ => None,
        };
        let answered = match service {
            Service::Tcp => self.syn_ack,
            _ => exchange.map(|(_, response)| response),
        };
        Truth { sent: self.syn, connect, exchange: exchange.map(|(from, to)| to - from), answered }
    }
}
