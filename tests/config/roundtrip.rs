//! What `check --print` shows loads again to the same configuration.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::*,
    sample::select,
};
use regionwatch::{
    app::prober,
    config::*,
    model::{
        AddressChoice, AddressFamily, Cadence, Host, InterfaceName, Kind, LabelName, LabelValue, Region, Source,
        TargetName, UnixMillis,
    },
    net::{HeadParsing, HttpVersion, PemFile, Proxy, Resolver, TlsContext, TlsSpec, Way},
    probe::*,
    signing::{PrivateKey, PublicKey},
};

fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![any::<String>(), Just("null".to_owned()), Just(" - a: #\t\r\n\u{85}\u{feff}".to_owned())]
        .prop_filter("is no text of an answer", |text| !text.is_empty() && !text.contains("${"))
        .prop_map(Arc::from)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[A-Za-z0-9._-]{1,50}", Just("null".to_owned()), Just("1e3".to_owned()), Just("---".to_owned())]
}

fn label_value() -> impl Strategy<Value = LabelValue> {
    let texts = prop_oneof!["[^\\p{Cc}\\s]{1,32}", Just("null".to_owned()), Just("a: \"b\" \\ #1".to_owned())];
    let texts = texts.prop_filter("names a variable", |text| !text.contains("${"));
    texts.prop_map(|text| LabelValue::new(&text).unwrap())
}

/// Names that no label of a series or an alert has.
fn label_names() -> impl Strategy<Value = LabelName> {
    "my_[A-Za-z0-9_]{0,20}".prop_map(|name| LabelName::new(&name).unwrap())
}

fn zone() -> impl Strategy<Value = Arc<str>> {
    name().prop_map(Arc::from)
}

fn host() -> impl Strategy<Value = Host> {
    prop_oneof![
        any::<IpAddr>().prop_map(Host::Addr),
        "[a-z0-9_]{1,9}(\\.[a-z0-9]{1,9}){0,3}\\.[a-z]{2,5}".prop_map(|name| Host::Name(name.into())),
    ]
}

fn url(path: impl Strategy<Value = String>) -> impl Strategy<Value = HttpUrl> {
    (any::<bool>(), host(), port(), path).prop_map(|(https, host, port, path)| HttpUrl {
        https,
        host,
        port,
        path: path.as_str().into(),
    })
}

/// The values of a query are printed and read as this.
fn path_and_query() -> impl Strategy<Value = String> {
    let name = "[a-z0-9%.~-]{1,9}";
    ("/[a-z0-9/%.~-]{0,9}", vec(name, 0..3)).prop_map(|(path, names)| {
        let query: Vec<_> = names.iter().map(|name| format!("{name}=%3Csecret%3E")).collect();
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    })
}

/// What is printed of a body, and read again.
fn masked() -> Secret {
    Secret::new(*b"<secret>")
}

fn port() -> impl Strategy<Value = u16> {
    1..=u16::MAX
}

fn millis(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    let (start, end) = (*range.start(), *range.end());
    prop_oneof![range, start.div_ceil(1000)..=(end / 1000)]
        .prop_map(move |n| Duration::from_millis(n.clamp(start, end)))
}

fn cadence() -> impl Strategy<Value = Cadence> {
    (millis(10..=3_600_000), millis(10..=3_600_000)).prop_map(|(a, b)| Cadence::new(a.max(b), a.min(b)).unwrap())
}

fn pattern() -> impl Strategy<Value = Pattern> {
    select(vec!["", "ok|ready", "^SSH-2\\.0", "\"a\": \\d+", "é\\t#", "(?i)x{2,3}"])
        .prop_map(|p| Pattern::new(p).unwrap())
}

/// Compared by its path alone.
fn pem(name: &str) -> PemFile {
    PemFile { path: file(name), content: Arc::from([]) }
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/files")).join(name)
}

/// What `files/votes.key` holds.
const KEY: &[u8; 33] = b"test-key-0123456789abcdef01234567";

fn tls() -> impl Strategy<Value = TlsSpec> {
    (option::of(host()), any::<[bool; 3]>()).prop_map(|(server, [ca, identity, insecure_skip_verify])| TlsSpec {
        server_name: server.map(|host| host.to_string().into()),
        ca_file: ca.then(|| pem("ca.pem")),
        identity: identity.then(|| (pem("ca.pem"), pem("key.pem"))),
        insecure_skip_verify,
    })
}

fn icmp() -> impl Strategy<Value = ProbeSpec> {
    (16..=65507_u16, option::of(1..=255_u8), any::<bool>())
        .prop_map(|(size, ttl, dont_fragment)| IcmpSpec { size, ttl, dont_fragment }.into())
}

fn tcp() -> impl Strategy<Value = ProbeSpec> {
    let starttls = option::of(select(StartTls::ALL.to_vec()));
    (port(), option::of(tls()), starttls, any::<bool>(), option::of(pattern())).prop_map(
        |(port, tls, starttls, send, expect)| {
            let starttls = starttls.filter(|_| tls.is_some());
            TcpSpec { port, tls, starttls, send: send.then(masked), expect }.into()
        },
    )
}

fn password() -> impl Strategy<Value = Option<Password>> {
    prop_oneof![
        Just(None),
        Just(Some(Password { file: None, secret: masked() })),
        Just(Some(Password { file: Some(file("token")), secret: Secret::new(*b"s3cret-token") })),
    ]
}

fn postgres() -> impl Strategy<Value = PostgresSpec> {
    let texts = ["[a-z][a-z0-9_ -]{0,9}", "[a-z][a-z0-9_ -]{0,9}", "SELECT [a-z0-9_ *()']{1,9}"];
    (port(), texts, password(), any::<[bool; 2]>(), option::of(tls())).prop_map(
        |(port, [user, database, query], password, [cleartext, keep_alive], tls)| PostgresSpec {
            port,
            user: user.into(),
            password,
            cleartext,
            database: database.into(),
            query: query.into(),
            keep_alive,
            tls,
        },
    )
}

fn mysql() -> impl Strategy<Value = MysqlSpec> {
    let texts = ["[a-z][a-z0-9_ -]{0,9}", "[a-z][a-z0-9_ -]{0,9}", "SELECT [a-z0-9_ *()']{1,9}"];
    (port(), texts, password(), any::<[bool; 2]>(), option::of(tls())).prop_map(
        |(port, [user, database, query], password, [has_database, keep_alive], tls)| MysqlSpec {
            port,
            user: user.into(),
            password,
            database: has_database.then(|| database.into()),
            query: query.into(),
            keep_alive,
            tls,
        },
    )
}

/// Without a password that would be refused, because it would go out as it is.
fn redis() -> impl Strategy<Value = RedisSpec> {
    let queries = prop_oneof![Just("PING".to_owned()), "(GET|TTL|exists) [a-z0-9_:*()']{1,9}"];
    (port(), option::of("[a-z][a-z0-9_-]{0,9}"), queries, password(), any::<[bool; 2]>(), option::of(tls())).prop_map(
        |(port, user, query, password, [cleartext, keep_alive], tls)| {
            let hidden = tls.as_ref().is_some_and(|tls| !tls.insecure_skip_verify);
            RedisSpec {
                port,
                user: user.map(Arc::from),
                password: password.filter(|_| cleartext || hidden),
                cleartext,
                query: query.into(),
                keep_alive,
                tls,
            }
        },
    )
}

/// How to log in to a database, without what are no keys of it.
fn login() -> impl Strategy<Value = DatabaseLogin> {
    let postgres =
        |login| PostgresSpec { port: PostgresSpec::PORT, query: "SELECT 1".into(), keep_alive: false, ..login };
    let mysql = |login| MysqlSpec {
        port: MysqlSpec::PORT,
        query: "SELECT 1".into(),
        keep_alive: false,
        database: Some("shop".into()),
        ..login
    };
    let redis = |login| RedisSpec { port: RedisSpec::PORT, query: "PING".into(), keep_alive: false, ..login };
    prop_oneof![
        self::postgres().prop_map(move |login| DatabaseLogin::Postgres(postgres(login))),
        self::mysql().prop_map(move |login| DatabaseLogin::Mysql(mysql(login))),
        self::redis().prop_map(move |login| DatabaseLogin::Redis(redis(login))),
    ]
}

/// Each name and region ends in its number, so that they are unique.
fn databases() -> impl Strategy<Value = Vec<Database>> {
    let servers = vec((name(), host(), port()), 1..4).prop_map(|servers| {
        let numbered = servers.into_iter().enumerate();
        let server = |(n, (region, host, port)): (usize, (String, Host, u16))| {
            let region = Region::new(&format!("{region}{n}")).unwrap();
            DatabaseServer { region, host, port }
        };
        numbered.map(server).collect::<Vec<_>>()
    });
    let database = (name(), "[a-z_][a-z0-9_]{0,9}(\\.[a-z]{1,9})?", millis(2_000..=86_400_000), servers, login());
    vec(database, 0..3).prop_map(|databases| {
        let numbered = databases.into_iter().enumerate();
        let database = |(n, (name, table, rpo, servers, login)): (usize, (String, String, _, _, DatabaseLogin))| {
            let name = TargetName::new(&format!("{name}{n}")).unwrap();
            // Which cannot be chosen there.
            let table = if login.kind() == REDIS { "regionwatch:token:*".to_owned() } else { table };
            Database { name, login, table: table.into(), rpo, servers }
        };
        numbered.map(database).collect()
    })
}

fn grpc() -> impl Strategy<Value = ProbeSpec> {
    let service = prop_oneof![Just(Arc::from("")), text()];
    let authority = option::of("[a-z]{1,9}\\.example(:[1-9][0-9]{0,3})?");
    (port(), service, authority, any::<bool>(), option::of(tls())).prop_map(
        |(port, service, authority, keep_alive, tls)| {
            let authority = authority.map(Arc::from);
            GrpcSpec { port, service, authority, headers: Vec::new(), credentials: None, keep_alive, tls }.into()
        },
    )
}

fn dns() -> impl Strategy<Value = ProbeSpec> {
    let transport = (0..4, tls(), "/[a-z-]{0,9}").prop_map(|(n, tls, path)| match n {
        0 => DnsTransport::Udp,
        1 => DnsTransport::Tcp,
        2 => DnsTransport::Tls(tls),
        _ => DnsTransport::Https { tls, path: path.as_str().into() },
    });
    let query = prop_oneof![Just(".".to_owned()), "([A-Za-z0-9_*-]{1,9}\\.){1,4}"];
    let record = prop_oneof![Just(1), Just(28), Just(16), Just(255), any::<u16>()];
    let patterns = (option::of(pattern()), option::of(pattern()), option::of(pattern()));
    let expected = (vec(0..=15_u8, 1..4), any::<IpAddr>(), text(), patterns);
    let parts = (port(), transport, query, record, expected, any::<[bool; 4]>());
    parts.prop_map(|(port, transport, query, record, expected, [recursion, retry, asks, edns])| {
        let (rcodes, addr, other, patterns) = expected;
        let record = RecordType(record);
        let written = if record.0 == 16 || record.0 == 255 { other.to_string() } else { addr.to_string() };
        let answer = Answer::parse(&written, record).ok();
        DnsSpec {
            port,
            query: query.into(),
            record,
            recursion,
            rcodes: rcodes.into_iter().map(Rcode).collect(),
            answers: answer.filter(|_| asks).into_iter().collect(),
            some_answer: patterns.0,
            every_answer: patterns.1,
            no_answer: patterns.2,
            retry_over_tcp: retry && transport == DnsTransport::Udp,
            edns,
            transport,
        }
        .into()
    })
}

fn status() -> impl Strategy<Value = ExpectedStatus> {
    prop_oneof![(100..=599_u16).prop_map(ExpectedStatus::One), (1..=5_u16).prop_map(ExpectedStatus::Class)]
}

fn http(sidecar: bool) -> impl Strategy<Value = ProbeSpec> {
    let methods = select(vec![http::Method::GET, http::Method::POST, http::Method::OPTIONS]);
    let versions = select(vec![HttpVersion::Auto, HttpVersion::Http1, HttpVersion::Http2]);
    let headers = btree_map(select(vec!["content-type", "null", "1", "x-a"]), pattern(), 0..3);
    let request = (url(path_and_query()), methods, any::<bool>(), 0..=10_u8, versions, tls());
    let ways = (url(Just("/".to_owned())), 0..4);
    let answer = (vec(status(), 0..3), headers, option::of(pattern()), 1..=(64_usize << 20), any::<bool>(), ways);
    (request, answer).prop_map(move |((url, method, body, redirects, version, tls), answer)| {
        let (status, headers, expect_body, body_limit, keep_alive, (proxy, way)) = answer;
        let headers = headers.into_iter().map(|(name, pattern)| (http::HeaderName::from_static(name), pattern));
        let origin = HttpUrl { path: "/".into(), ..url.clone() };
        let way = match way {
            0 if !sidecar => Way::Unix(Path::new("/run/app.sock").into()),
            1 if !sidecar => {
                let url = HttpUrl { https: false, ..proxy };
                Way::Proxy(Box::new(Proxy { url, authorization: None }))
            }
            _ => Way::Direct,
        };
        let is_unix = matches!(way, Way::Unix(_));
        let is_fixed = matches!(way, Way::Proxy(_)) && !url.https;
        let request = HttpSpec {
            tls: if url.https { tls } else { TlsSpec::default() },
            url,
            method,
            headers: Vec::new(),
            credentials: None,
            body: body.then(masked),
            status,
            expect_headers: headers.collect(),
            reject_body: expect_body.clone().filter(|_| redirects > 5),
            expect_body,
            redirects,
            redirect_origins: if redirects > 7 && !sidecar && !is_unix { vec![origin] } else { Vec::new() },
            cookies: redirects > 6 && !sidecar,
            body_limit,
            way,
            version: if is_fixed { HttpVersion::Http1 } else { version },
            keep_alive,
            parsing: if redirects % 2 == 0 { HeadParsing::Lenient } else { HeadParsing::Strict },
        };
        if sidecar { SidecarSpec { request }.into() } else { request.into() }
    })
}

fn source() -> impl Strategy<Value = Option<Source>> {
    let interface = select(vec!["lo", "eth0.100", "null", "1"]);
    prop_oneof![Just(None), interface.prop_map(|name| InterfaceName::new(name).map(Source::Interface)),]
}

fn set_source(probes: &mut [ProbeConfig], address: &str) {
    let source = Some(Source::Address(address.parse().unwrap()));
    probes.iter_mut().for_each(|probe| probe.source = source);
}

/// The probes of one target, each kind at most once.
fn probes() -> impl Strategy<Value = Vec<ProbeConfig>> {
    let spec = prop_oneof![
        // On the heap: together they would not fit on the stack of a test.
        icmp().boxed(),
        tcp().boxed(),
        dns().boxed(),
        grpc().boxed(),
        postgres().prop_map(ProbeSpec::from).boxed(),
        mysql().prop_map(ProbeSpec::from).boxed(),
        redis().prop_map(ProbeSpec::from).boxed(),
        http(false).boxed(),
        http(true).boxed(),
    ];
    let families = select(vec![AddressFamily::Any, AddressFamily::V4, AddressFamily::V6]);
    let choices = select(AddressChoice::ALL.to_vec());
    (vec((spec, cadence(), any::<bool>()), 1..6), host(), families, choices, any::<Option<u8>>(), source()).prop_map(
        |(specs, host, family, addresses, tos, source)| {
            let mut probes: BTreeMap<Kind, ProbeConfig> = BTreeMap::new();
            for (spec, cadence, critical) in specs {
                let host = spec.dialled().unwrap_or(&host).clone();
                let name_server = tos.map(|tos| SocketAddr::from(([192, 0, 2, 53], 53 + u16::from(tos))));
                let labels = tos.map(|tos| {
                    let value = LabelValue::new("a: \"b\" \\ #1").unwrap();
                    (LabelName::new(&format!("own_{tos}")).unwrap(), value)
                });
                let labels = Arc::new(labels.into_iter().collect::<BTreeMap<_, _>>());
                let mut probe = ProbeConfig {
                    cadence,
                    host,
                    family,
                    name_server,
                    addresses,
                    tos,
                    source,
                    labels,
                    critical: false,
                    spec,
                };
                probe.critical = critical && probe.kind().never_critical().is_none();
                probes.insert(probe.kind(), probe);
            }
            let mut probes: Vec<_> = probes.into_values().collect();
            if probes.iter().any(|probe| matches!(&probe.host, Host::Addr(addr) if !family.admits(*addr))) {
                probes.iter_mut().for_each(|probe| probe.family = AddressFamily::Any);
            }
            // An address decides the family.
            match probes[0].family {
                AddressFamily::V4 if tos.is_some_and(|tos| tos % 2 == 0) => set_source(&mut probes, "192.0.2.9"),
                AddressFamily::V6 if tos.is_some_and(|tos| tos % 2 == 0) => set_source(&mut probes, "2001:db8::9"),
                _ => {}
            }
            probes
        },
    )
}

fn location() -> impl Strategy<Value = Option<Location>> {
    option::of((-90.0..=90.0, -180.0..=180.0).prop_map(|(latitude, longitude)| Location { latitude, longitude }))
}

/// Each peer's region and each target's name end in their number, so that they are unique.
fn peers() -> impl Strategy<Value = Vec<Peer>> {
    let targets = vec((name(), probes()), 1..4).prop_map(|targets| {
        let named = targets.into_iter().enumerate();
        named
            .map(|(n, (name, probes))| Target { name: TargetName::new(&format!("{name}{n}")).unwrap(), probes })
            .collect()
    });
    let traits = (option::of(zone()), option::of(zone()), option::of(0.0..=1.0), maintenance(), any::<bool>());
    let peer = (name(), traits, location(), 0..=1_000_000_u32, targets, public_keys());
    vec(peer, 1..4).prop_map(|peers| {
        let named = peers.into_iter().enumerate();
        named
            .map(
                |(
                    n,
                    (name, (zone, failure_domain, capacity, maintenance, armed), location, priority, targets, keys),
                )| Peer {
                    region: Region::new(&format!("{name}{n}")).unwrap(),
                    zone,
                    failure_domain,
                    location,
                    priority,
                    capacity,
                    maintenance,
                    armed,
                    public_keys: numbered(keys, n),
                    targets,
                },
            )
            .collect()
    })
}

/// Each name ends in its number, so that they are unique and no names of peers.
fn witnesses() -> impl Strategy<Value = Vec<Witness>> {
    vec((name(), http(true), cadence(), option::of(zone()), public_keys()), 0..3).prop_map(|witnesses| {
        let numbered_ones = witnesses.into_iter().enumerate().map(|(n, (name, spec, cadence, domain, keys))| {
            let host = spec.dialled().unwrap().clone();
            let target = TargetName::new(&host.to_string().replace([':', '%'], "-")).unwrap();
            let probe = ProbeConfig {
                cadence,
                host,
                family: AddressFamily::Any,
                name_server: None,
                addresses: AddressChoice::default(),
                tos: None,
                source: None,
                labels: Arc::default(),
                critical: false,
                spec,
            };
            Witness {
                name: Region::new(&format!("{name}-w{n}")).unwrap(),
                // No region has one of these.
                failure_domain: domain.map(|domain| format!("{domain}-w").into()),
                public_keys: numbered(keys, 100 + n),
                target: Target { name: target, probes: vec![probe] },
            }
        });
        numbered_ones.collect()
    })
}

fn maintenance() -> impl Strategy<Value = Maintenance> {
    // To the end of the year 9999.
    let until = (0..253_402_300_800_000_u64).prop_map(|at| Maintenance::Until(UnixMillis(at)));
    prop_oneof![Just(Maintenance::No), Just(Maintenance::Yes), until]
}

/// Up to two public keys, which differ from those of peers with other numbers.
fn public_keys() -> impl Strategy<Value = Vec<[u8; 32]>> {
    vec(any::<[u8; 32]>(), 0..=2)
}

fn numbered(keys: Vec<[u8; 32]>, peer: usize) -> Vec<PublicKey> {
    let number = |(n, mut key): (usize, [u8; 32])| {
        (key[0], key[1]) = (peer as u8, n as u8);
        format!("ed25519:{}", data_encoding::BASE64.encode(&key)).parse().unwrap()
    };
    keys.into_iter().enumerate().map(number).collect()
}

fn distinct<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    list.into_iter().fold(Vec::new(), |mut distinct, item| {
        if !distinct.contains(&item) {
            distinct.push(item);
        }
        distinct
    })
}

fn config() -> impl Strategy<Value = Config> {
    let hold = || millis(0..=86_400_000);
    let choices = (any::<[bool; 2]>(), 0.0..=1.0);
    let failover = (btree_set(zone(), 0..3), 0.0..=20_000_000.0, any::<bool>(), hold(), choices);
    let levels = select(vec![LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace]);
    let formats = select(vec![LogFormat::Text, LogFormat::Json]);
    let log = (levels, formats).prop_map(|(level, format)| Log { level, format });
    let buckets = btree_set(1..=u64::MAX, 1..=MAX_BUCKETS)
        .prop_map(|set| distinct(set.into_iter().map(|n| n as f64 / 1e9).collect()));
    let votes = option::of(Just(VoteKeys { file: file("votes.key"), keys: vec![Secret::new(*KEY)] }));
    let anchor = (host(), port()).prop_map(|(host, port)| Anchor { host, port });
    let alertmanager = (url(select(vec!["/".to_owned(), "/am/".to_owned()])), tls()).prop_map(|(url, tls)| {
        let tls = if url.https { tls } else { TlsSpec::default() };
        Alertmanager { url, access: HttpAccess { tls, ..HttpAccess::default() } }
    });
    let alertmanagers = vec(alertmanager, 0..3).prop_map(|list| {
        let urls = distinct(list.iter().map(|to| to.url.clone()).collect());
        urls.iter().filter_map(|url| list.iter().find(|to| to.url == *url).cloned()).collect()
    });
    let zones = (option::of(zone()), option::of(zone()), 0..=1_000_000_u32, option::of(0.0..=1.0), maintenance());
    let external_url = option::of(url(select(vec!["/".to_owned(), "/eu/".to_owned()])));
    let listen = any::<(IpAddr, u16)>().prop_map(SocketAddr::from);
    let labels = (option::of(label_value()), btree_map(label_names(), label_value(), 0..=16));
    let here = (name(), labels, listen, external_url, zones, location());
    let key = PrivateKey::from_pem(&std::fs::read(file("signing.key")).unwrap()).unwrap();
    let signing = option::of(Just(SigningKey { file: file("signing.key"), key }));
    let there = (
        alertmanagers,
        vec(anchor, 0..3).prop_map(distinct),
        failover,
        peers(),
        (votes, signing, databases(), witnesses()),
    );
    (here, there, millis(10_000..=3_600_000), buckets, any::<bool>(), log).prop_map(
        |(
            (
                region,
                (environment, labels),
                listen,
                external_url,
                (zone, failure_domain, priority, capacity, maintenance),
                location,
            ),
            (alertmanagers, anchors, failover, peers, (votes, signing, databases, witnesses)),
            window,
            buckets,
            enable_lifecycle,
            log,
        )| {
            let mut config = least();
            config.region = Region::new(&format!("{region}-here")).unwrap();
            config.environment = environment;
            config.labels = labels;
            config.listen = listen;
            config.external_url = external_url;
            config.zone = zone;
            config.failure_domain = failure_domain;
            config.location = location;
            config.priority = priority;
            config.capacity = capacity;
            config.maintenance = maintenance;
            config.alertmanagers = alertmanagers;
            config.anchors = anchors;
            let (zones, min_distance_meters, links, execute_after, (flags, min_capacity)) = failover;
            config.failover.allowed_zones = zones.into_iter().collect();
            config.failover.min_distance_meters = min_distance_meters;
            config.runbook_url = if links { UrlTemplate::runbooks() } else { UrlTemplate::default() };
            config.failover.execute_after = execute_after;
            config.failover.min_capacity = min_capacity;
            [config.failover.allow_single_vantage, config.failover.confirm_burst] = flags;
            config.votes = votes;
            config.databases = databases;
            config.state_dir = signing.as_ref().map(|_| file("a state"));
            config.signing = signing;
            config.window = window;
            config.buckets = buckets;
            config.enable_lifecycle = enable_lifecycle;
            config.log = log;
            config.peers = peers;
            config.witnesses = witnesses;
            config
        },
    )
}

/// Reads the trust store once.
static TLS: LazyLock<TlsContext> = LazyLock::new(TlsContext::default);

/// The least configuration. A setting that is not generated yet has its default.
fn least() -> Config {
    let text = "region: a\npeers: [{region: b, targets: [{host: h, probes: [{kind: icmp}]}]}]";
    Config::load(Some(("least.yaml".as_ref(), text)), []).unwrap().config
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn a_printed_configuration_loads_to_the_same_configuration(config in config()) {
        let printed = config.to_yaml();
        match Config::load(Some(("printed.yaml".as_ref(), &printed)), []) {
            Ok(loaded) => prop_assert_eq!(loaded.config, config, "{}", printed),
            Err(errors) => prop_assert!(false, "{errors}\n{printed}"),
        }
    }

    /// So that `run` refuses nothing that `check` accepts.
    #[test]
    fn every_probe_of_a_valid_configuration_can_be_made(config in config()) {
        let printed = config.to_yaml();
        // The files that it names are read.
        let config = Config::load(Some(("printed.yaml".as_ref(), &printed)), []).unwrap().config;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let (resolver, (events, _happened)) = (Resolver::new(None), tokio::sync::mpsc::channel(1));
        for (path, probe) in config.paths() {
            let made = prober(probe, &resolver, &TLS, events.clone(), None);
            prop_assert!(made.is_ok(), "{}: {}\n{}", path, made.err().unwrap(), printed);
        }
    }
}
