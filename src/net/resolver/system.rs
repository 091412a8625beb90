//! What this machine says of names: `/etc/resolv.conf` and `/etc/hosts`, read again when they change.
//!
//! Container platforms write both after a start, and change them while a process runs. They are read as glibc reads them
//! (resolv.conf(5), hosts(5)): without a name server the one on this host is asked, and a line that cannot be used takes
//! nothing else with it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    Resolver,
    config::{
        ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
        ServerOrderingStrategy,
    },
    net::NetError,
    proto::rr::Name,
    system_conf::parse_resolv_conf,
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::warn;

use super::runtime::ResolverRuntime;
use crate::model::InterfaceName;

/// What asks one name server for addresses of IPv4, and what asks it for those of IPv6.
pub(super) type NameServer = [Resolver<ResolverRuntime>; 2];

/// The name servers that are asked, as glibc does (resolv.conf(5), MAXNS).
const MAX_SERVERS: usize = 3;

/// How much of each file is read.
const FILE_LIMIT: u64 = 1 << 20;

/// How this machine finds the addresses of names.
#[derive(Debug, Clone)]
pub(super) struct System {
    /// Each name server, in the order in which they are asked.
    pub(super) servers: Arc<[NameServer]>,
    /// What completes a name, and from how many dots on it is first taken as it is.
    search: Arc<[Name]>,
    ndots: usize,
    hosts: Arc<Hosts>,
}

/// Addresses of IPv4 and IPv6 by their names.
type Hosts = HashMap<String, [Vec<IpAddr>; 2]>;

impl System {
    /// Asks this name server alone, for whole names.
    pub(super) fn asking(server: SocketAddr) -> Result<Self, NetError> {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let config = NameServerConfig::new(server.ip(), true, connections.to_vec());
        let servers = Arc::new([name_server(config, None, &ResolverOpts::default())?]);
        Ok(Self { servers, search: Arc::default(), ndots: 1, hosts: Arc::default() })
    }

    /// The addresses in the hosts file, where a name stands as it is written: no search list completes it.
    pub(super) fn in_hosts_file(&self, name: &str) -> [Vec<IpAddr>; 2] {
        self.hosts.get(&name.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    /// The whole names that DNS is asked for, in their order, without those that are too long (resolv.conf(5)).
    pub(super) fn candidates(&self, name: &Name) -> Vec<Name> {
        let mut whole = name.clone();
        whole.set_fqdn(true);
        if name.is_fqdn() {
            return vec![whole];
        }
        let is_first = name.iter().count() > self.ndots || name.is_localhost();
        let mut names = if is_first { vec![whole.clone()] } else { Vec::new() };
        let completed = self.search.iter().filter_map(|domain| name.clone().append_domain(domain).ok());
        for name in completed.chain([whole]) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// The files, and how often they are looked at.
#[derive(Debug, Clone)]
pub(super) struct SystemFiles {
    pub(super) resolv_conf: PathBuf,
    pub(super) hosts: PathBuf,
    pub(super) interval: Duration,
    /// How long they may take to be read, on a file system that may not answer.
    pub(super) deadline: Duration,
}

impl Default for SystemFiles {
    fn default() -> Self {
        let (interval, deadline) = (Duration::from_secs(5), Duration::from_secs(5));
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into(), interval, deadline }
    }
}

/// What the files hold; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Contents {
    resolv_conf: String,
    hosts: String,
}

/// Reads the files now and whenever they have changed, for as long as the resolvers are in use.
pub(super) async fn follow(files: SystemFiles, system: watch::Sender<Option<System>>) {
    let SystemFiles { interval, deadline, .. } = files;
    follow_reads(move || read(&files), interval, deadline, system).await;
}

async fn follow_reads(
    read: impl Fn() -> Contents + Clone + Send + 'static,
    interval: Duration,
    deadline: Duration,
    system: watch::Sender<Option<System>>,
) {
    let mut known = None;
    let mut is_late = false;
    let mut reading = spawn_blocking(read.clone());
    loop {
        // A read that hangs is waited for, so that no more threads hang, and what is known stays in use.
        match timeout(deadline, &mut reading).await {
            Ok(contents) => {
                is_late = false;
                let contents = contents.ok().filter(|contents| known.as_ref() != Some(contents));
                if let Some(contents) = contents {
                    match build(&contents) {
                        Ok(built) => drop(system.send_replace(Some(built))),
                        Err(error) => warn!("cannot use the resolver configuration: {error}"),
                    }
                    known = Some(contents);
                }
                tokio::select! {
                    () = sleep(interval) => reading = spawn_blocking(read.clone()),
                    () = system.closed() => return,
                }
            }
            Err(_) if system.is_closed() => return,
            Err(_) if !std::mem::replace(&mut is_late, true) => {
                warn!("cannot read the resolver configuration in {deadline:?}");
            }
            Err(_) => {}
        }
    }
}

fn read(files: &SystemFiles) -> Contents {
    Contents { resolv_conf: content(&files.resolv_conf), hosts: content(&files.hosts) }
}

/// The text of a regular file; empty where there is none, as for glibc.
fn content(path: &Path) -> String {
    let text = || -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        if fs::metadata(path)?.is_file() {
            File::open(path)?.take(FILE_LIMIT).read_to_end(&mut text)?;
        }
        Ok(text)
    };
    String::from_utf8_lossy(&text().unwrap_or_default()).into_owned()
}

fn build(contents: &Contents) -> Result<System, NetError> {
    let (config, options) = parse_resolv_conf(usable(&contents.resolv_conf))?;
    // glibc completes by the domain of this host only where there is no search list.
    let domain = config.domain().filter(|_| config.search().is_empty());
    let search = domain.into_iter().chain(config.search()).cloned().collect();
    // One at a time: the resolver asks two at once, so that the fastest would answer, and not the first one.
    let servers = name_servers(&contents.resolv_conf).into_iter();
    let servers = servers.map(|(ip, zone)| name_server(NameServerConfig::udp_and_tcp(ip), zone, &options));
    let hosts = Arc::new(parse_hosts(&contents.hosts));
    Ok(System { servers: servers.collect::<Result<_, _>>()?, search, ndots: options.ndots, hosts })
}

fn name_server(
    server: NameServerConfig,
    zone: Option<InterfaceName>,
    options: &ResolverOpts,
) -> Result<NameServer, NetError> {
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let resolver = |strategy| {
        let mut builder = Resolver::builder_with_config(config.clone(), ResolverRuntime::on(zone));
        let resolver_options = builder.options_mut();
        *resolver_options = options.clone();
        resolver_options.timeout = Duration::from_secs(1);
        resolver_options.attempts = 1;
        // We keep the answers ourselves, with their TTL.
        resolver_options.cache_size = 0;
        resolver_options.ip_strategy = strategy;
        resolver_options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        resolver_options.use_hosts_file = ResolveHosts::Never;
        builder.build()
    };
    Ok([resolver(LookupIpStrategy::Ipv4Only)?, resolver(LookupIpStrategy::Ipv6Only)?])
}

/// The name servers of resolv.conf, and the zones of those that have one (RFC 4007 11).
fn name_servers(resolv_conf: &str) -> Vec<(IpAddr, Option<InterfaceName>)> {
    let mut servers = Vec::new();
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(word) = words.next() else { continue };
        let scoped = || {
            let (address, zone) = word.split_once('%')?;
            Some((IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), Some(InterfaceName::new(zone)?)))
        };
        match word.parse().ok().map(|address| (address, None)).or_else(scoped) {
            Some(server) => servers.push(server),
            None => warn!("the resolver configuration has a name server that is no address: {word:?}"),
        }
    }
    servers.truncate(MAX_SERVERS);
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST.into(), None));
    }
    servers
}

/// The text of resolv.conf without search domains that are no domains. Its name servers are read apart, because the parser
/// knows few zones; it must find one all the same.
fn usable(resolv_conf: &str) -> String {
    let mut text = String::with_capacity(resolv_conf.len());
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some(keyword @ ("search" | "domain")) => {
                let (domains, others): (Vec<_>, Vec<_>) =
                    words.partition(|domain| *domain == "." || Name::from_ascii(domain).is_ok());
                if !others.is_empty() {
                    warn!("the resolver configuration has search domains that are not DNS names: {others:?}");
                }
                if domains.is_empty() {
                    continue;
                }
                text.push_str(keyword);
                for domain in domains {
                    text.push(' ');
                    text.push_str(domain);
                }
            }
            Some("nameserver") => continue,
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text.push_str("nameserver 127.0.0.1\n");
    text
}

/// The names of a hosts file.
fn parse_hosts(text: &str) -> Hosts {
    let mut hosts = Hosts::default();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|address| address.parse::<IpAddr>().ok()) else { continue };
        for name in words {
            let addresses = hosts.entry(name.to_ascii_lowercase()).or_default();
            addresses[usize::from(address.is_ipv6())].push(address);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_search_domain_that_is_no_name_takes_nothing_else_with_it() {
        let long = "x".repeat(64);
        let text = format!("search svc.cluster.local {long}.example\noptions ndots:5\nnameserver 192.0.2.53\n");
        let (config, options) = parse_resolv_conf(usable(&text)).unwrap();
        assert_eq!(config.search(), [Name::from_ascii("svc.cluster.local").unwrap()]);
        assert_eq!(options.ndots, 5);
        assert!(build(&Contents { resolv_conf: format!("search {long}\n"), hosts: String::new() }).is_ok());
    }

    #[tokio::test]
    async fn a_read_that_hangs_is_waited_for_and_not_begun_again() {
        let (release, hang) = std::sync::mpsc::channel::<()>();
        let hang = Arc::new(std::sync::Mutex::new(hang));
        let begun = Arc::<std::sync::atomic::AtomicUsize>::default();
        let count = Arc::clone(&begun);
        let read = move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let _ = hang.lock().unwrap().recv();
            Contents::default()
        };
        let (sender, mut system) = watch::channel(None);
        let pause = Duration::from_millis(5);
        let follow = tokio::spawn(follow_reads(read, pause, pause, sender));
        while begun.load(std::sync::atomic::Ordering::Relaxed) == 0 {
            sleep(pause).await;
        }
        sleep(50 * pause).await;
        assert_eq!((begun.load(std::sync::atomic::Ordering::Relaxed), system.borrow().is_some()), (1, false));
        drop(release);
        system.wait_for(Option::is_some).await.unwrap();
        follow.abort();
    }

    #[test]
    fn a_name_is_completed_as_resolv_conf_says() {
        let candidates = |conf: &str, name: &str| {
            let contents = Contents { resolv_conf: format!("{conf}\nnameserver 192.0.2.53\n"), hosts: String::new() };
            let names = build(&contents).unwrap().candidates(&Name::from_ascii(name).unwrap());
            names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let search = "search b.example c.example\noptions ndots:2";
        for (conf, name, expected) in [
            (search, "web", "web.b.example. web.c.example. web."),
            (search, "web.x", "web.x.b.example. web.x.c.example. web.x."),
            (search, "web.x.y", "web.x.y. web.x.y.b.example. web.x.y.c.example."),
            (search, "web.", "web."),
            (search, "localhost", "localhost. localhost.b.example. localhost.c.example."),
            ("search . b.example", "web", "web. web.b.example."),
            ("domain b.example", "web_1", "web_1.b.example. web_1."),
            ("search b.example\nsearch c.example", "web", "web.c.example. web."),
            ("search b.example\noptions ndots:0", "web", "web. web.b.example."),
        ] {
            assert_eq!(candidates(conf, name), expected, "{conf:?}");
        }
        let long = vec!["x".repeat(62); 4].join(".");
        assert_eq!(candidates(&format!("search {long} b.example"), "web"), "web.b.example. web.");
    }

    #[test]
    fn without_a_name_server_the_one_on_this_host_is_asked() {
        for text in ["", "options ndots:2\n", "nameserver\n", "nameserver example.com\n", "nameserver fe80::1%\n"] {
            assert_eq!(name_servers(text), [(IpAddr::from([127, 0, 0, 1]), None)], "{text}");
        }
    }

    #[test]
    fn a_name_server_may_have_a_zone_and_three_of_them_are_asked() {
        let text = "nameserver fe80::1%br-lan.7\nnameserver 192.0.2.53 # ours\n#nameserver 192.0.2.1\n\
                    nameserver\tfe80::1%2\nnameserver 2001:db8::53\n";
        let servers: Vec<_> = name_servers(text)
            .iter()
            .map(|(ip, zone)| format!("{ip} {}", zone.map_or(String::new(), |zone| zone.as_str().to_owned())))
            .collect();
        assert_eq!(servers, ["fe80::1 br-lan.7", "192.0.2.53 ", "fe80::1 2"]);
    }
}
