//! What this machine says of names: `/etc/resolv.conf` and `/etc/hosts`, read again when they change.
//!
//! Container platforms write both after a start, and change them while a process runs. They are read as glibc reads them
//! (resolv.conf(5), hosts(5)): without a name server the one on this host is asked, and a line that cannot be used takes
//! nothing else with it.

use std::{
    fs::{self, File},
    io::{self, Read},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    Hosts, TokioResolver,
    config::{
        ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
        ServerOrderingStrategy,
    },
    lookup::Lookup,
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::Query,
        rr::{Name, RData, Record, RecordType},
    },
    system_conf::parse_resolv_conf,
};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::warn;

/// A resolver for IPv4 and one for IPv6.
pub type TokioResolvers = [TokioResolver; 2];

/// How much of each file is read.
const FILE_LIMIT: u64 = 1 << 20;

/// The validity of an address of the hosts file, in seconds: a change of the file is seen without it.
const HOSTS_TTL: u32 = 300;

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
pub(super) async fn follow(files: SystemFiles, resolvers: watch::Sender<Option<TokioResolvers>>) {
    let SystemFiles { interval, deadline, .. } = files;
    follow_reads(move || read(&files), interval, deadline, resolvers).await;
}

async fn follow_reads(
    read: impl Fn() -> Contents + Clone + Send + 'static,
    interval: Duration,
    deadline: Duration,
    resolvers: watch::Sender<Option<TokioResolvers>>,
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
                        Ok(built) => drop(resolvers.send_replace(Some(built))),
                        Err(error) => warn!("cannot use the resolver configuration: {error}"),
                    }
                    known = Some(contents);
                }
                tokio::select! {
                    () = sleep(interval) => reading = spawn_blocking(read.clone()),
                    () = resolvers.closed() => return,
                }
            }
            Err(_) if resolvers.is_closed() => return,
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

/// The resolvers of IPv4 and IPv6.
fn build(contents: &Contents) -> Result<TokioResolvers, NetError> {
    let (config, options) = parse_resolv_conf(usable(&contents.resolv_conf))?;
    // glibc completes by the domain of this host only where there is no search list.
    let domain = config.domain().filter(|_| config.search().is_empty()).cloned();
    let config = ResolverConfig::from_parts(domain, config.search().to_vec(), config.name_servers().to_vec());
    resolvers(&config, &options, Arc::new(parse_hosts(&contents.hosts)))
}

/// The resolvers that ask this name server alone, for whole names.
pub(super) fn asking(server: SocketAddr) -> Result<TokioResolvers, NetError> {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
    resolvers(&ResolverConfig::from_parts(None, Vec::new(), vec![server]), &ResolverOpts::default(), Arc::default())
}

fn resolvers(config: &ResolverConfig, options: &ResolverOpts, hosts: Arc<Hosts>) -> Result<TokioResolvers, NetError> {
    let resolver = |strategy| {
        let mut builder = TokioResolver::builder_with_config(config.clone(), TokioRuntimeProvider::default());
        let resolver_options = builder.options_mut();
        *resolver_options = options.clone();
        resolver_options.timeout = Duration::from_secs(1);
        resolver_options.attempts = 1;
        // We keep the answers ourselves, with their TTL.
        resolver_options.cache_size = 0;
        resolver_options.ip_strategy = strategy;
        resolver_options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        resolver_options.use_hosts_file = ResolveHosts::Never;
        let mut resolver = builder.build()?;
        resolver.set_hosts(Arc::clone(&hosts));
        Ok::<_, NetError>(resolver)
    };
    Ok([resolver(LookupIpStrategy::Ipv4Only)?, resolver(LookupIpStrategy::Ipv6Only)?])
}

/// The text of resolv.conf without search domains that are no domains, and with a name server.
fn usable(resolv_conf: &str) -> String {
    let mut text = String::with_capacity(resolv_conf.len());
    let mut has_server = false;
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
            Some("nameserver") => {
                has_server |= words.next().is_some_and(|server| server.parse::<IpAddr>().is_ok());
                text.push_str(line);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    if !has_server {
        text.push_str("nameserver 127.0.0.1\n");
    }
    text
}

/// The names of a hosts file.
fn parse_hosts(text: &str) -> Hosts {
    let mut hosts = Hosts::default();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(address) = words.next().and_then(|address| address.parse::<IpAddr>().ok()) else { continue };
        for name in words.filter_map(|name| Name::from_ascii(name.to_ascii_lowercase()).ok()) {
            let record_type = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
            let record = Record::from_rdata(name.clone(), HOSTS_TTL, RData::from(address));
            let lookup = Lookup::new_with_max_ttl(Query::query(name.clone(), record_type), [record]);
            hosts.insert(name, record_type, lookup);
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
        assert_eq!((config.name_servers().len(), options.ndots), (1, 5));
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
        let (sender, mut resolvers) = watch::channel(None);
        let pause = Duration::from_millis(5);
        let follow = tokio::spawn(follow_reads(read, pause, pause, sender));
        sleep(50 * pause).await;
        assert_eq!((begun.load(std::sync::atomic::Ordering::Relaxed), resolvers.borrow().is_some()), (1, false));
        drop(release);
        resolvers.wait_for(Option::is_some).await.unwrap();
        follow.abort();
    }

    #[test]
    fn without_a_name_server_the_one_on_this_host_is_asked() {
        for text in ["", "options ndots:2\n", "nameserver\n", "nameserver example.com\n"] {
            let (config, _) = parse_resolv_conf(usable(text)).unwrap();
            let servers: Vec<_> = config.name_servers().iter().map(|server| server.ip).collect();
            assert_eq!(servers, [IpAddr::from([127, 0, 0, 1])], "{text}");
        }
    }
}
