//! Hosts and the links between them.
#![allow(unsafe_code, reason = "unshare(2) and gettid(2), for which std has no call")]

use std::{
    fs,
    future::Future,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process::{self, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use regionwatch::net::{PingSocketKind, SocketOptions, open_ping_socket};

use crate::needs::{Need, require};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace and the thread that keeps it. Sockets, threads and processes that are made on that thread
/// live in the namespace.
pub struct Host {
    jobs: Option<mpsc::Sender<Job>>,
    keeper: Option<JoinHandle<()>>,
    namespace: String,
}

impl Host {
    /// A host with nothing but its loopback interface.
    pub fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let name = thread::current().name().unwrap_or("host").to_owned();
        let keeper = thread::Builder::new().name(name).spawn(move || {
            // SAFETY: unshare takes no pointer. With CLONE_NEWNET it moves the calling thread, and no other, into
            // a namespace of its own; this thread has no socket yet.
            let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "unshare: {}", std::io::Error::last_os_error());
            // SAFETY: gettid takes nothing and cannot fail.
            let thread = unsafe { libc::gettid() };
            tell.send(format!("/proc/{}/task/{thread}/ns/net", process::id())).unwrap();
            queue.into_iter().for_each(|job| job());
        });
        let host = Self { jobs: Some(jobs), keeper: Some(keeper.unwrap()), namespace: told.recv().unwrap() };
        // Duplicate address detection would keep addresses from being used for a second or two.
        host.set("net/ipv6/conf/default/accept_dad", "0");
        // Each of a quick series of errors must be told.
        host.set("net/ipv4/icmp_ratelimit", "0");
        host.set("net/ipv6/icmp/ratelimit", "0");
        host.ip("link set lo up");
        host
    }

    /// Runs a job in the namespace and returns its result; a panic in it goes on here.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = Box::new(move || {
            let _ = tell.send(catch_unwind(AssertUnwindSafe(job)));
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        told.recv().unwrap().unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Runs a future in the namespace, on a runtime as the product's.
    pub fn block_on<T: Send + 'static, F: Future<Output = T>>(&self, future: impl FnOnce() -> F + Send + 'static) -> T {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async { future().await })
        })
    }

    /// Runs a program in the namespace; it must succeed. Returns what it printed.
    pub fn command(&self, line: &str, input: &str) -> String {
        let (line, input) = (line.to_owned(), input.to_owned());
        self.run(move || {
            let mut words = line.split_whitespace();
            let mut child = Command::new(words.next().unwrap())
                .args(words)
                .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert!(output.status.success(), "{line}\n{input}{}", text(&output.stderr));
            text(&output.stdout)
        })
    }

    /// Runs lines of ip(8).
    pub fn ip(&self, lines: &str) {
        self.command("ip -batch -", &format!("{lines}\n"));
    }

    /// Adds or deletes a rule of both packet filters; `icmp` becomes `icmpv6` in the second.
    pub fn filter(&self, rule: &str) {
        self.command(&format!("iptables -w {rule}"), "");
        self.command(&format!("ip6tables -w {}", rule.replace("-p icmp", "-p icmpv6")), "");
    }

    /// Sets a sysctl of the namespace, named by its path under `/proc/sys`.
    pub fn set(&self, name: &str, value: &'static str) {
        let path = format!("/proc/sys/{name}");
        self.run(move || fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
    }

    /// Makes a link to another host, with the addresses 10.0.N.1 and fd00:N::1 here and those ending in 2 there.
    pub fn join(&self, other: &Self, net: u8) {
        self.ip(&format!("link add name net{net} type veth peer name net{net} netns {}", other.namespace));
        self.ip(&configure(net, 1, 2));
        other.ip(&configure(net, 2, 1));
    }
}

/// One end of a link. Both ends know the other's hardware address: a link that has just come up loses the question
/// for it, and the next is asked a second later.
fn configure(net: u8, own: u8, other: u8) -> String {
    let link = format!("net{net}");
    let hardware = |host| format!("02:00:00:00:{net:02x}:{host:02x}");
    let (hardware, next) = (hardware(own), hardware(other));
    format!(
        "link set {link} address {hardware}\n\
         link set {link} up\n\
         addr add 10.0.{net}.{own}/24 dev {link}\n\
         addr add fd00:{net}::{own}/64 dev {link} nodad\n\
         neigh replace 10.0.{net}.{other} lladdr {next} dev {link} nud permanent\n\
         neigh replace fd00:{net}::{other} lladdr {next} dev {link} nud permanent"
    )
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Which of the two kinds of ping socket a host gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ping {
    /// Unprivileged.
    Datagram,
    /// By capability.
    Raw,
}

impl Ping {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Datagram, Self::Raw];

    /// Makes a host give this kind.
    pub fn allow_on(self, host: &Host) {
        let range = match self {
            Self::Datagram => "0 2147483647",
            Self::Raw => "1 0",
        };
        host.set("net/ipv4/ping_group_range", range);
        let given = host.block_on(|| async {
            let (_, kind) = open_ping_socket([127, 0, 0, 1].into(), SocketOptions::default()).unwrap();
            kind
        });
        let wanted = match self {
            Self::Datagram => PingSocketKind::Datagram,
            Self::Raw => PingSocketKind::Raw,
        };
        assert_eq!(given, wanted);
    }
}

/// Tries all cases at the same time, each on a thread of its own: they wait more than they work.
pub fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let name = thread::current().name().unwrap_or("test").to_owned();
    thread::scope(|scope| {
        let test = &test;
        let start = |case| thread::Builder::new().name(name.clone()).spawn_scoped(scope, move || test(case)).unwrap();
        let cases: Vec<_> = cases.into_iter().map(start).collect();
        // All come to their end before the first panic goes on.
        let mut panics: Vec<_> = cases.into_iter().filter_map(|case| case.join().err()).collect();
        if let Some(panic) = panics.pop() {
            resume_unwind(panic);
        }
    });
}

/// Every kind of ping socket with each of the targets (one an address family).
pub fn with_targets(targets: [&'static str; 2]) -> impl Iterator<Item = (Ping, &'static str)> {
    Ping::ALL.into_iter().flat_map(move |ping| targets.map(|target| (ping, target)))
}

/// What it takes to make namespaces and to fill them; see [`require`].
pub fn need_namespaces() {
    require(&[
        Need::Root,
        Need::NetworkNamespaces,
        Need::Tool("ip"),
        Need::Tool("iptables"),
        Need::Tool("ip6tables"),
        Need::Tool("unshare"),
    ]);
}

/// Two hosts and the link between them.
pub struct Pair {
    /// 10.0.1.1, fd00:1::1: where the probes are.
    pub here: Host,
    /// 10.0.1.2, fd00:1::2.
    pub there: Host,
}

impl Pair {
    /// The addresses of `there`.
    pub const THERE: [&'static str; 2] = ["10.0.1.2", "fd00:1::2"];

    pub fn new(ping: Ping) -> Self {
        let (here, there) = (Host::new(), Host::new());
        ping.allow_on(&here);
        here.join(&there, 1);
        Self { here, there }
    }
}

/// Two hosts, and a router between them.
pub struct Routed {
    /// 10.0.1.1, fd00:1::1: where the probes are.
    pub here: Host,
    /// 10.0.1.2 and 10.0.2.1, fd00:1::2 and fd00:2::1.
    pub router: Host,
    /// 10.0.2.2, fd00:2::2.
    pub there: Host,
}

impl Routed {
    /// The addresses of `there`.
    pub const THERE: [&'static str; 2] = ["10.0.2.2", "fd00:2::2"];

    pub fn new(ping: Ping) -> Self {
        let (here, router, there) = (Host::new(), Host::new(), Host::new());
        ping.allow_on(&here);
        here.join(&router, 1);
        router.join(&there, 2);
        here.ip("route add default via 10.0.1.2\nroute add default via fd00:1::2");
        there.ip("route add default via 10.0.2.1\nroute add default via fd00:2::1");
        router.set("net/ipv4/ip_forward", "1");
        router.set("net/ipv6/conf/all/forwarding", "1");
        Self { here, router, there }
    }
}
