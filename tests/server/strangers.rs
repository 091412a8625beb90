//! Strangers who take all that they can get: neither this host, nor a known vantage, nor a client elsewhere waits for them.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use regionwatch::server::Limits;
use socket2::{Domain, Socket, Type};
use tokio::time::Instant;

use crate::support::{Answer, Running, Setup, alone, eventually};

/// How long a client may wait that is not to be locked out. Far below the limits on time that would end an attack.
const SOON: Duration = Duration::from_secs(5);

/// A server that is soon full: what is tested does not depend on how many connections there are.
fn small() -> Limits {
    Limits { max_connections: 32, reserved: 8, ..Limits::default() }
}

/// Addresses of loopback that are no one's in particular.
fn stranger(n: u8) -> IpAddr {
    [127, 0, 0, n].into()
}

/// A connection from this address, whose client can hold little.
fn connect(server: &Running, from: IpAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&server.addr.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.set_write_timeout(Some(SOON)).unwrap();
    stream
}

/// One request on a fresh connection from this address; the client is as far away as the pause says.
fn get_after(server: &Running, from: IpAddr, pause: Duration, target: &str) -> Answer {
    let started = Instant::now();
    let mut stream = connect(server, from);
    thread::sleep(pause);
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(started.elapsed() < SOON, "{from} waited for {:?}", started.elapsed());
    Answer::parse(&answer)
}

/// A thread that attacks until this is dropped.
struct Attack {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Attack {
    fn run(mut step: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                step();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn pipelined_requests_that_are_not_read_on_every_connection_lock_no_other_client_out() {
    let server = Setup { limits: small(), ..Setup::default() }.run();
    let many = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
    let flood: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = connect(&server, stranger(2));
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(many.as_bytes());
            stream
        })
        .collect();
    for from in [stranger(1), stranger(3)] {
        assert_eq!(get_after(&server, from, Duration::ZERO, "/api/v1/regions").status, 200, "{from}");
    }
    assert!(server.stats().connections() <= small().max_connections);
    drop(flood);
    server.settles();
}

#[test]
fn bare_connections_without_end_lock_no_client_out_that_is_far_away() {
    let server = Setup { limits: small(), ..Setup::default() }.run();
    let address = server.addr;
    let attack = Attack::run(move || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(stranger(2), 0).into()).unwrap();
        let _ = socket.connect(&address.into());
        // A reset: the attacker's ports must not run out.
        let _ = socket.set_linger(Some(Duration::ZERO));
        // Three thousand in a second, each long enough to be accepted.
        thread::sleep(Duration::from_micros(300));
        KEPT.with_borrow_mut(|kept| {
            kept.push_back(socket);
            if kept.len() > 40 {
                kept.pop_front();
            }
        });
    });
    thread_local! {
        static KEPT: std::cell::RefCell<std::collections::VecDeque<Socket>> = const { std::cell::RefCell::new(std::collections::VecDeque::new()) };
    }
    eventually("the attack has filled what it may", || server.stats().refused() > 100);
    for from in [stranger(1), stranger(3)] {
        let answer = get_after(&server, from, Duration::from_millis(200), "/api/v1/regions");
        assert_eq!(answer.status, 200, "{from}");
    }
    drop(attack);
}

#[test]
fn pages_that_stalled_readers_hold_are_bounded_and_given_up_for_the_next_reader() {
    let limits = Limits { held_bytes: 256 << 10, send_buffer: 2 << 10, ..Limits::default() };
    let server = Setup { limits, ..Setup::default() }.run();
    let page = get_after(&server, stranger(1), Duration::ZERO, "/config").body.len();
    assert!(page > 16 << 10, "{page} bytes fit into what the kernel holds");
    let readers = 4 * limits.held_bytes / page;
    let stalled: Vec<_> = (0..readers)
        .map(|n| {
            let mut stream = connect(&server, stranger(2 + (n % 100) as u8));
            stream.write_all(b"GET /config HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let answer = get_after(&server, stranger(200), Duration::ZERO, "/config");
    assert_eq!((answer.status, answer.body.len() > page / 2), (200, true), "{}", answer.head);
    drop(stalled);
}

/// CPU time of the server's thread.
fn used() -> Duration {
    let stat = |task: std::io::Result<std::fs::DirEntry>| {
        // A task may have ended since.
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).ok()?;
        let (name, rest) = stat.rsplit_once(") ").unwrap();
        let ticks = |n: usize| rest.split(' ').nth(n).unwrap().parse::<u64>().unwrap();
        name.ends_with("(server").then(|| ticks(11) + ticks(12))
    };
    // A tick is 10 ms.
    10 * Duration::from_millis(std::fs::read_dir("/proc/self/task").unwrap().find_map(stat).unwrap())
}

#[test]
fn strangers_get_their_share_of_the_cpu_and_known_clients_do_not_wait_for_it() {
    if !alone("strangers::strangers_get_their_share_of_the_cpu_and_known_clients_do_not_wait_for_it", "") {
        return;
    }
    let limits = Limits { strangers_cpu: 0.05, ..Limits::default() };
    let server = Setup { limits, ..Setup::default() }.run();
    // Now its thread has its name.
    server.scrape();
    let (began, before) = (Instant::now(), used());
    let many = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let attacks: Vec<_> = (2..10)
        .map(|n| {
            let mut stream = connect(&server, stranger(n));
            stream.set_nonblocking(true).unwrap();
            let (many, mut sink) = (many.clone(), vec![0; 1 << 20]);
            Attack::run(move || {
                let _ = stream.write(many.as_bytes());
                let _ = stream.read(&mut sink);
                thread::sleep(Duration::from_millis(1));
            })
        })
        .collect();
    let mut mine = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(3) {
        let before = used();
        assert_eq!(get_after(&server, stranger(1), Duration::ZERO, "/api/v1/regions").status, 200);
        mine += used() - before;
        thread::sleep(Duration::from_millis(100));
    }
    let (took, lasted) = (used() - before, began.elapsed());
    drop(attacks);
    let share = lasted.mul_f64(limits.strangers_cpu);
    assert!(took <= 3 * share + mine, "{took:?} of {lasted:?}, of which {mine:?} by a known client");
    assert!(took >= share / 4, "{took:?} of {lasted:?} is no attack");
}

#[test]
fn a_scrape_per_second_of_a_large_page_is_answered_while_strangers_attack() {
    let server = Setup { page: 1_000_000, ..Setup::default() }.run();
    let scraper = stranger(200);
    let scrape = || assert!(get_after(&server, scraper, Duration::ZERO, "/metrics").body.len() > 900_000);
    scrape();
    let address = server.addr;
    let many = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    let mut kept = std::collections::VecDeque::new();
    let mut n = 0;
    let attack = Attack::run(move || {
        n = (n + 1) % 100;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let _ = socket.set_linger(Some(Duration::ZERO));
        socket.bind(&SocketAddr::new(stranger(2 + n), 0).into()).unwrap();
        let _ = socket.connect(&address.into());
        let _ = socket.set_nonblocking(true);
        let _ = socket.send(many.as_bytes());
        kept.push_back(socket);
        if kept.len() > 300 {
            kept.pop_front();
        }
        thread::sleep(Duration::from_millis(2));
    });
    for _ in 0..5 {
        thread::sleep(Duration::from_millis(200));
        scrape();
    }
    drop(attack);
}
