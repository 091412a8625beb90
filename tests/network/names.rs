//! Names as `getent ahosts` resolves them: search list, `ndots`, hosts file, and name servers that fail. Each case is a host with
//! an `/etc` of its own, and a name server on port 53.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use testkit::{
    needs::{Need, require},
    space::{Host, Pair, Ping, at_once, need_namespaces},
};

use crate::servers::{Process, folder, get, wait_for, write};

/// The names that DNS knows.
const ZONE: [(&str, &[&str]); 34] = [
    ("web.ns.svc.cluster.test", &["127.0.1.1"]),
    ("api.other.svc.cluster.test", &["127.0.1.2"]),
    ("my_app.ns.svc.cluster.test", &["127.0.1.3"]),
    ("web_1", &["127.0.1.4"]),
    ("_odd_.corp.test", &["127.0.1.5"]),
    ("edge.example.test", &["127.0.1.6"]),
    ("edge.example.test.corp.test", &["127.0.1.7"]),
    // Those of the second name are of another host.
    ("six.ns.svc.cluster.test", &["fd00:53::1"]),
    ("six.corp.test", &["127.0.1.8"]),
    ("four.ns.svc.cluster.test", &["127.0.1.9"]),
    ("four.corp.test", &["fd00:53::2"]),
    ("both.corp.test", &["127.0.1.10", "fd00:53::3"]),
    ("both", &["127.0.1.11"]),
    ("many.corp.test", &["127.0.1.12", "127.0.1.13", "fd00:53::4", "fd00:53::5"]),
    // It is there, and has no address.
    ("half.ns.svc.cluster.test", &[]),
    ("half.corp.test", &["127.0.1.14"]),
    ("a.b.c.d.e.test", &["127.0.1.15"]),
    ("short.corp.test", &["127.0.1.16"]),
    ("entry.corp.test", &["127.0.1.17", "fd00:53::6"]),
    ("host.corp.test", &["127.0.1.18"]),
    ("after.corp.test", &["127.0.1.19"]),
    ("1.b.corp.test", &["127.0.1.20"]),
    ("xn--bcher-kva.corp.test", &["127.0.1.21"]),
    // The server of the first names is silent about one family of them.
    ("two.mute6.test", &["127.0.1.22"]),
    ("two.corp.test", &["fd00:53::7"]),
    ("three.corp.test", &["fd00:53::8"]),
    ("five.mute6.test", &[]),
    ("five.corp.test", &["fd00:53::9"]),
    ("seven.corp.test", &["127.0.1.23", "fd00:53::a"]),
    ("eight.mute4.test", &["fd00:53::b"]),
    ("eight.corp.test", &["127.0.1.24"]),
    // It does not fit in a datagram.
    ("large.corp.test", &["127.0.1.25"]),
    // Of one family there is no route.
    ("six.route.test", &["203.0.113.7", "fd00:1::2"]),
    ("four.route.test", &["10.0.1.2", "2001:db8::7"]),
];

const CLUSTER: &str = "search ns.svc.cluster.test svc.cluster.test cluster.test corp.test\noptions ndots:5\n";

/// `resolv.conf`, the hosts file and the names that are looked up. All have the same name server.
const CASES: [(&str, &str, &[&str]); 15] = [
    (
        CLUSTER,
        "",
        &[
            "web",
            "WEB",
            "web.",
            "web.ns",
            "web.ns.svc",
            "web.ns.svc.cluster.test",
            "web.ns.svc.cluster.test.",
            "api.other",
            "api.other.svc",
            "api.other.svc.",
            "my_app",
            "web_1",
            "web_1.",
            "edge.example.test",
            "edge.example.test.",
            "six",
            "four",
            "both",
            "half",
            "a.b.c.d.e.test",
            "a.b.c.d.e.test.",
            "nothing",
            "1.b",
        ],
    ),
    ("search corp.test\n", "", &["edge.example.test", "_odd_", "both", "many", "1.b", "xn--bcher-kva", "half"]),
    ("domain corp.test\noptions ndots:3\n", "", &["edge.example.test", "both", "many.corp.test", "both.corp.test."]),
    (
        "# a comment\nsearch nowhere.test\n; another\nsearch\tcorp.test.\nsortlist 127.0.0.0\noptions  ndots:0 rotate\n",
        "",
        &["both", "many", "edge.example.test"],
    ),
    ("search . corp.test\n", "", &["both", "many", "web_1"]),
    // No label has so many letters.
    (
        "search corp.test \
         xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.test\n",
        "",
        &["many", "edge.example.test", "nothing"],
    ),
    (
        "search corp.test\n",
        "127.0.2.1\tdb Db.Local # not this\n127.0.2.2 DB_2\nfd00:53::9 db6\n127.0.2.3 short\n127.0.2.4 entry\n\
         127.0.2.5 host.corp.test\n999.1.1.1 bad\n127.0.2.6 twice\nfd00:53::a twice\n127.0.2.7 twice\n127.0.2.8\n",
        &[
            "db",
            "DB",
            "db.local",
            "db.",
            "db_2",
            "db6",
            "short",
            "short.",
            "short.corp.test",
            "entry",
            "host",
            "host.corp.test",
            "bad",
            "twice",
            "not",
            "many",
        ],
    ),
    // The server fails for names of the first domain.
    ("search broken.test corp.test\noptions timeout:1 attempts:1\n", "", &["after", "nothing", "edge.example.test"]),
    // It says nothing about them, so that no other host is taken for the one that is meant.
    ("search silent.test corp.test\noptions timeout:1 attempts:1\n", "", &["after", "edge.example.test"]),
    // The first server knows the names of this network; the second one, which is faster, has none of them.
    (
        "nameserver 127.0.0.1\nnameserver 127.0.0.3\nsearch corp.test\n",
        "",
        &["both", "many", "edge.example.test", "nothing"],
    ),
    // A server that refuses, and one that is silent, give way to the next one.
    (
        "nameserver 127.0.0.2\nnameserver 127.0.0.1\nsearch corp.test\noptions timeout:1 attempts:1\n",
        "",
        &["both", "many", "edge.example.test", "nothing"],
    ),
    (
        "nameserver 127.0.0.4\nnameserver 127.0.0.2\nnameserver 127.0.0.1\nsearch corp.test\noptions timeout:1 attempts:1\n",
        "",
        &["both", "many", "edge.example.test"],
    ),
    // Both families are one question, whichever of them has an answer.
    ("search mute6.test corp.test\noptions timeout:1 attempts:1\n", "", &["two", "three", "five", "seven", "nothing"]),
    ("search mute4.test corp.test\noptions timeout:1 attempts:1\n", "", &["eight", "seven", "edge.example.test"]),
    // What is in the file for one family is the answer for both: no server is asked, and none would answer.
    (
        "nameserver 127.0.0.4\nsearch corp.test\n",
        "127.0.2.9 four6\nfd00:53::c six4\n127.0.2.10 entry.corp.test\n",
        &["four6", "six4", "entry.corp.test"],
    ),
];

/// Name servers that know nothing: one that refuses, one that denies all names, and one that is silent.
const OTHERS: [(&str, Option<u8>); 3] = [("127.0.0.2:53", Some(5)), ("127.0.0.3:53", Some(3)), ("127.0.0.4:53", None)];

fn other_name_servers(host: &Host) {
    for (address, rcode) in OTHERS {
        let socket = host.run(move || UdpSocket::bind(address).unwrap());
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                let Some(rcode) = rcode else { continue };
                // The question alone, without what follows it.
                let end = 12 + query[12..length].iter().position(|byte| *byte == 0).unwrap() + 5;
                let mut answer = query[..end].to_vec();
                answer[2..12].copy_from_slice(&[0x81, 0x80 | rcode, 0, 1, 0, 0, 0, 0, 0, 0]);
                let _ = socket.send_to(&answer, from);
            }
        });
    }
}

/// The answer to a query, without the length that comes before it on a connection.
fn answer(query: &[u8], is_datagram: bool) -> Option<Vec<u8>> {
    let mut labels = Vec::new();
    let mut at = 12;
    while query[at] > 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8_lossy(&query[at + 1..end]).to_lowercase());
        at = end;
    }
    let (name, question) = (labels.join("."), &query[12..(at + 5).min(query.len())]);
    let is_v6 = question[question.len() - 3] == 28;
    if ["silent.test", if is_v6 { "mute6.test" } else { "mute4.test" }].iter().any(|silent| name.ends_with(silent)) {
        return None;
    }
    let known = ZONE.iter().find(|(known, _)| *known == name).map(|(_, addresses)| *addresses);
    let is_truncated = is_datagram && name.starts_with("large");
    let addresses = known.unwrap_or_default().iter().map(|address| address.parse::<IpAddr>().unwrap());
    let answers: Vec<_> = addresses.filter(|address| !is_truncated && address.is_ipv6() == is_v6).collect();
    let rcode = match known {
        Some(_) => 0,
        None if name.ends_with("broken.test") => 2,
        None => 3,
    };
    let truncation = if is_truncated { 2 } else { 0 };
    let mut answer = query[..2].to_vec();
    answer.extend([0x81 | truncation, 0x80 | rcode, 0, 1, 0, answers.len() as u8, 0, 0, 0, 0]);
    answer.extend(question);
    for address in answers {
        let data = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        answer.extend([0xc0, 12, 0, if is_v6 { 28 } else { 1 }, 0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
        answer.extend(data);
    }
    Some(answer)
}

/// Answers what the zone has, at this address of the host.
fn name_server(host: &Host, at: SocketAddr) {
    let (datagrams, connections) = host.run(move || (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap()));
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = datagrams.recv_from(&mut query) {
            let Some(answer) = answer(&query[..length], true) else { continue };
            let socket = datagrams.try_clone().unwrap();
            // Slower than the others, but no question waits for that of another.
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                let _ = socket.send_to(&answer, from);
            });
        }
    });
    thread::spawn(move || {
        for mut connection in connections.incoming().flatten() {
            thread::spawn(move || {
                let mut length = [0; 2];
                while connection.read_exact(&mut length).is_ok() {
                    let mut query = vec![0; u16::from_be_bytes(length).into()];
                    connection.read_exact(&mut query).unwrap();
                    let Some(answer) = answer(&query, false) else { continue };
                    let length = (answer.len() as u16).to_be_bytes();
                    let _ = connection.write_all(&[&length, &*answer].concat());
                }
            });
        }
    });
}

/// Where the name server is that `resolv.conf` has by default.
fn on_loopback() -> SocketAddr {
    ([127, 0, 0, 1], 53).into()
}

/// A folder to be `/etc`.
fn etc(folder: &Path, resolv_conf: &str, hosts: &str) -> PathBuf {
    let etc = folder.join("etc");
    fs::create_dir(&etc).unwrap();
    let first = if resolv_conf.contains("nameserver") { "" } else { "nameserver 127.0.0.1\n" };
    fs::write(etc.join("resolv.conf"), format!("{first}{resolv_conf}")).unwrap();
    fs::write(etc.join("hosts"), hosts).unwrap();
    fs::write(etc.join("nsswitch.conf"), "hosts: files dns\n").unwrap();
    etc
}

/// Runs a shell command where a folder is `/etc`, and returns what it prints.
fn with_etc(host: &Host, etc: &Path, command: &str) -> String {
    let script = format!("mount --bind {} /etc && {command}", etc.display());
    let output = host.run(move || Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap());
    assert!(!output.stdout.is_empty(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The addresses that a command of glibc prints of each name, with an option of it such as `ahosts`.
fn getent(host: &Host, etc: &Path, names: &[&str], option: &str) -> BTreeMap<String, Vec<IpAddr>> {
    let lookups: String = names.iter().map(|name| format!("echo {name}; getent {option} {name}; ")).collect();
    let told = with_etc(host, etc, &lookups);
    let mut addresses = BTreeMap::<_, Vec<IpAddr>>::new();
    let mut of = "";
    for line in told.lines() {
        match line.split_once(char::is_whitespace).map(|(address, _)| address.parse()) {
            Some(Ok(address)) => addresses.entry(of.to_owned()).or_default().push(address),
            _ => of = line,
        }
    }
    assert!(!addresses.is_empty(), "{told}");
    addresses
}

/// The address that a row of `check --probe` names.
fn probed(row: &str) -> Option<IpAddr> {
    row.split_once(" to ")?.1.split_whitespace().next()?.trim_end_matches(':').parse().ok()
}

/// The names that our probes do not take where glibc says, with targets that have these keys.
fn disagreed(
    host: &Host,
    etc: &Path,
    names: &[&str],
    keys: &str,
    mut expected: BTreeMap<String, Vec<IpAddr>>,
) -> Vec<String> {
    // Nothing listens there, so that the address that was tried is known.
    let probe = "{kind: tcp, port: 4, interval: 1s, timeout: 20s}";
    let targets: String = names
        .iter()
        .enumerate()
        .map(|(n, name)| format!("{{name: t{n}, host: '{name}', {keys}probes: [{probe}]}}, "))
        .collect();
    let text = format!("region: here\npeers: [{{region: there, targets: [{targets}]}}]\n");
    let folder = folder();
    let config = write(&folder, "regionwatch.yaml", &text);
    let table = with_etc(host, etc, &format!("{} check --probe --config {config}", testkit::binary()));
    let mut disagreed = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let row = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&*format!("t{n}")));
        let row = row.unwrap_or_else(|| panic!("{name}: {table}"));
        let expected = expected.remove(*name).unwrap_or_default();
        let agrees = match probed(row) {
            Some(address) => expected.contains(&address),
            None => expected.is_empty() && row.contains(" resolve "),
        };
        if !agrees {
            disagreed.push(format!("{name}: getent {expected:?}, ours {row}"));
        }
    }
    disagreed
}

#[test]
fn names_lead_where_getent_says_whatever_resolv_conf_and_the_hosts_file_say() {
    need_namespaces();
    require(&[Need::Tool("getent"), Need::Tool("mount")]);
    at_once(CASES, |(resolv_conf, hosts, names)| {
        // With addresses of both families, or getent leaves one of them out (AI_ADDRCONFIG).
        let Pair { here, there: _there } = Pair::new(Ping::Datagram);
        here.ip("route add local fd00:53::/64 dev lo");
        name_server(&here, on_loopback());
        other_name_servers(&here);
        let folder = folder();
        let etc = etc(folder.path(), resolv_conf, hosts);
        let disagreed = disagreed(&here, &etc, names, "", getent(&here, &etc, names, "ahosts"));
        assert!(disagreed.is_empty(), "{resolv_conf}{hosts}{disagreed:#?}");
    });
}

/// A name may lead elsewhere if addresses of one family alone are wanted.
#[test]
fn names_of_one_family_lead_where_glibc_says() {
    need_namespaces();
    require(&[Need::Tool("getent"), Need::Tool("mount"), Need::Tool("python3")]);
    let names = ["six", "four", "both", "half", "db", "db6", "twice", "nothing", "web"];
    let hosts = "127.0.2.1 db\nfd00:53::9 db6\n127.0.2.6 twice\nfd00:53::a twice\n";
    at_once(["v4", "v6"], |family| {
        let Pair { here, there: _there } = Pair::new(Ping::Datagram);
        here.ip("route add local fd00:53::/64 dev lo");
        name_server(&here, on_loopback());
        let folder = folder();
        let etc = etc(folder.path(), CLUSTER, hosts);
        let expected = match family {
            "v4" => getent(&here, &etc, &names, "ahostsv4"),
            _ => in_python(&here, &etc, &names),
        };
        let disagreed = disagreed(&here, &etc, &names, &format!("address_family: {family}, "), expected);
        assert!(disagreed.is_empty(), "{family}: {disagreed:#?}");
    });
}

/// What getaddrinfo(3) has of IPv6 alone: getent adds addresses of IPv4 there (`AI_V4MAPPED`).
fn in_python(host: &Host, etc: &Path, names: &[&str]) -> BTreeMap<String, Vec<IpAddr>> {
    let program = "import socket, sys\n\
                   for name in sys.argv[1:]:\n  \
                   try:\n    \
                   for found in socket.getaddrinfo(name, 4, socket.AF_INET6, socket.SOCK_STREAM): print(name, found[4][0])\n  \
                   except OSError: print(name)\n";
    let told = with_etc(host, etc, &format!("python3 -c '{program}' {}", names.join(" ")));
    let mut addresses = BTreeMap::<_, Vec<IpAddr>>::new();
    for (name, address) in told.lines().filter_map(|line| line.split_once(' ')) {
        addresses.entry(name.to_owned()).or_default().push(address.parse().unwrap());
    }
    assert!(!addresses.is_empty(), "{told}");
    addresses
}

/// A router that announces itself as the name server (RFC 8106) has a link-local address, which is on every link.
#[test]
fn a_name_server_with_a_zone_is_asked_on_its_link() {
    need_namespaces();
    require(&[Need::Tool("getent"), Need::Tool("mount")]);
    let Pair { here, there } = Pair::new(Ping::Datagram);
    here.ip("route add local fd00:53::/64 dev lo");
    here.ip(
        "addr add fe80::a:1/64 dev net1 nodad\nneigh replace fe80::a:2 lladdr 02:00:00:00:01:02 dev net1 nud permanent",
    );
    there.ip("addr add fe80::a:2/64 dev net1 nodad");
    let number = |host: &Host| {
        let link = host.command("ip -oneline link show dev net1", "");
        link.split(':').next().unwrap().parse::<u32>().unwrap()
    };
    name_server(&there, SocketAddrV6::new("fe80::a:2".parse().unwrap(), 53, 0, number(&there)).into());
    for zone in ["net1".to_owned(), number(&here).to_string()] {
        let folder = folder();
        let etc = etc(folder.path(), &format!("nameserver fe80::a:2%{zone}\nsearch corp.test\n"), "");
        let names = ["both", "large", "nothing"];
        let disagreed = disagreed(&here, &etc, &names, "", getent(&here, &etc, &names, "ahosts"));
        assert!(disagreed.is_empty(), "{zone}: {disagreed:#?}");
    }
}

/// As getent orders them (RFC 6724 6, rule 1).
#[test]
fn of_two_families_the_one_with_a_route_is_probed_for_peers_of_a_file_and_of_a_variable() {
    need_namespaces();
    require(&[Need::Tool("getent"), Need::Tool("mount")]);
    let Pair { here, there: _there } = Pair::new(Ping::Datagram);
    name_server(&here, on_loopback());
    let folder = folder();
    let etc = etc(folder.path(), "", "");
    let binary = testkit::binary();
    for name in ["six.route.test", "four.route.test"] {
        let told = with_etc(&here, &etc, &format!("getent ahosts {name}"));
        let first = told.split_whitespace().next().unwrap();
        let probe = "{kind: tcp, port: 4, timeout: 4s}";
        let text =
            format!("region: here\npeers: [{{region: there, targets: [{{host: {name}, probes: [{probe}]}}]}}]\n");
        let config = write(&folder, "regionwatch.yaml", &text);
        for command in [
            format!("{binary} check --probe --config {config}"),
            format!("REGIONWATCH_REGION=here REGIONWATCH_PEERS=there=http://{name}:4/ {binary} check --probe"),
        ] {
            let table = with_etc(&here, &etc, &command);
            let row = table.lines().find(|line| line.split_whitespace().nth(2) == Some("tcp")).unwrap_or(&table);
            assert_eq!(probed(row), first.parse().ok(), "{command}: {told}{table}");
        }
    }
}

/// Container platforms write both files after a start, and change them later.
#[test]
fn a_running_vantage_follows_resolv_conf_and_the_hosts_file_as_getent_reads_them() {
    need_namespaces();
    require(&[Need::Tool("getent"), Need::Tool("mount"), Need::Tool("setpriv")]);
    let Pair { here, there: _there } = Pair::new(Ping::Datagram);
    here.ip("route add local fd00:53::/64 dev lo");
    name_server(&here, on_loopback());
    let folder = folder();
    // At first there is neither file.
    let etc = etc(folder.path(), "", "");
    for file in ["resolv.conf", "hosts"] {
        fs::remove_file(etc.join(file)).unwrap();
    }
    let names = ["web_1", "short", "many"];
    let targets: String = names
        .iter()
        .map(|name| format!("{{name: {}, host: {name}, probes: [{{kind: tcp, port: 4}}]}}, ", name.replace('_', "-")))
        .collect();
    let text = format!("region: here\nlisten: 127.0.0.1:9877\npeers: [{{region: there, targets: [{targets}]}}]\n");
    let config = write(&folder, "regionwatch.yaml", &text);
    let line = format!(
        "exec unshare --mount sh -c 'mount --bind {} /etc && exec {} run --config {config}'",
        etc.display(),
        testkit::binary()
    );
    let _vantage = Process::start(&here, &line, &folder.path().join("log"));
    let probed = |name: &str| {
        let path = format!("/api/v1/probes?path=there/{}/tcp&samples=1", name.replace('_', "-"));
        let page = get(&here, "127.0.0.1:9877", &path)?;
        let answer: serde_json::Value = serde_json::from_str(page.split_once("\r\n\r\n")?.1).ok()?;
        let sample = answer["probes"][0]["samples"].get(0)?;
        Some(sample["address"].as_str().and_then(|address| address.parse::<IpAddr>().ok()))
    };
    for files in [
        None,
        Some(("nameserver 127.0.0.1\nsearch corp.test\n", "127.0.2.3 short\n")),
        Some(("nameserver 127.0.0.1\n", "127.0.2.4 short\n127.0.2.5 many web_1\n")),
        Some(("nameserver 127.0.0.1\nsearch corp.test\n", "127.0.2.6 other\n")),
    ] {
        if let Some((resolv_conf, hosts)) = files {
            fs::write(etc.join("resolv.conf"), resolv_conf).unwrap();
            fs::write(etc.join("hosts"), hosts).unwrap();
        }
        let expected = getent(&here, &etc, &names, "ahosts");
        for name in names {
            let expected = expected.get(name).cloned().unwrap_or_default();
            wait_for(&format!("{name} to be one of {expected:?}"), || {
                let address = probed(name)?;
                address.map_or(expected.is_empty(), |address| expected.contains(&address)).then_some(())
            });
        }
    }
}
