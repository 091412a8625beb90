//! Other ways to an origin than a connection to its address: Unix sockets and HTTP proxies.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use regionwatch::{
    config::Config,
    model::{Failure, FailureDetail, StampSource},
};
use socket2::{Domain, Socket, Type};
use testkit::programs::{Server, start};

use crate::{
    servers,
    support::{Certificate, Probing, TIMEOUT, phases, probing},
};

/// What curl prints of a URL.
fn curl(url: &str, arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["--silent", "--max-time", "5"]).args(arguments).arg(url).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_unix_socket_of_nginx_is_requested_as_curl_does_it() {
    let certificate = Certificate::new(&["app.invalid"]);
    let folder = certificate.folder.path();
    let file = |name: &str| folder.join(name).display().to_string();
    let (plain, secure, addr) = (file("app.sock"), file("tls.sock"), servers::closed());
    let answer = "return 200 '$server_protocol $http_host$uri';";
    let blocks = format!(
        "server {{ listen {addr}; listen unix:{plain}; {answer} }}\n\
         server {{ listen unix:{secure} ssl http2; ssl_certificate {}; ssl_certificate_key {}; {answer} }}",
        certificate.cert(),
        certificate.key()
    );
    let _nginx = servers::nginx(folder, &blocks, addr);
    let probe = |socket: &str, scheme: &str, more: &str| {
        let keys = format!("kind: http, url: '{scheme}://app.invalid/x', unix_socket: '{socket}'{more}");
        // No address of the target is used, of any family.
        probing("::1", keys).with_target("address_family: v6")
    };
    let tls = format!(", tls: {{ca_file: '{}'}}", certificate.cert());
    for (socket, scheme, more, version) in [(&plain, "http", "", "HTTP/1.1"), (&secure, "https", &*tls, "HTTP/2.0")] {
        let expected = format!("{version} app.invalid/x");
        let arguments = ["--unix-socket", socket, "--cacert", &certificate.cert()];
        assert_eq!(curl(&format!("{scheme}://app.invalid/x"), &arguments), expected);
        for keep_alive in [false, true] {
            let keys = format!(", keep_alive: {keep_alive}, expect: {{body: '^{expected}$'}}{more}");
            let seen = probe(socket, scheme, &keys).run(12).await.into_iter().map(|seen| {
                let timings = seen.outcome.unwrap_or_else(|failure| panic!("{failure}: {}", seen.failed));
                assert_eq!(timings.source, StampSource::Userland);
                phases(&timings).contains(&"connect")
            });
            // One that begins before the last has ended has a connection of its own.
            let connects: Vec<_> = seen.collect();
            assert!(connects[0] && connects.contains(&false) == keep_alive, "{connects:?}");
        }
    }
    assert_eq!(probe(&file("nobody.sock"), "http", "").fails_early().await, Failure::Refused);
    let silent = std::os::unix::net::UnixListener::bind(file("silent.sock")).unwrap();
    assert_eq!(probe(&file("silent.sock"), "http", "").fails_at_the_deadline().await, Failure::Timeout);
    drop(silent);
    assert_eq!(probe(&file("silent.sock"), "http", "").fails_early().await, Failure::Refused);
}

/// Answers each connection to a Unix socket with a response and forty open files.
const PLANTING: &str = "\
import os, socket, sys
planted = [os.open(sys.argv[2], os.O_CREAT | os.O_RDWR) for _ in range(40)]
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    connection, _ = server.accept()
    connection.recv(65536)
    socket.send_fds(connection, [b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok'], planted)
    connection.close()
";

#[tokio::test]
async fn open_files_that_a_unix_peer_sends_do_not_stay_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (socket, planted) = (file("peer.sock"), file("planted"));
    let mut server = Command::new("python3").args(["-c", PLANTING, &socket, &planted]).spawn().unwrap();
    testkit::process::eventually("it listens", Duration::from_secs(20), || Path::new(&socket).exists().then_some(()));
    let keys = format!("kind: http, url: 'http://app.invalid/', unix_socket: '{socket}', expect: {{body: '^ok$'}}");
    let seen = probing("::1", keys).with_target("address_family: v6").run(5).await;
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(seen.iter().all(|seen| seen.outcome.is_ok()), "{:?}", seen[0].outcome);
    let open =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    assert_eq!(open.filter(|path| path.ends_with("planted")).count(), 0);
}

/// tinyproxy, which wants the user `u` with the password `p`.
fn tinyproxy(folder: &Path) -> (Server, SocketAddr) {
    let (addr, config) = (servers::closed(), folder.join("tinyproxy.conf"));
    let (port, log) = (addr.port(), folder.join("tinyproxy.log"));
    let text = format!(
        "Listen 127.0.0.1\nPort {port}\nTimeout 30\nMaxClients 50\nLogFile \"{}\"\nLogLevel Error\nBasicAuth u p\n",
        log.display()
    );
    std::fs::write(&config, text).unwrap();
    (start("tinyproxy", &["-d", "-c", config.to_str().unwrap()], addr), addr)
}

/// A probe by a proxy, with this password.
fn by_proxy(url: &str, proxy: SocketAddr, password: &str, more: &str) -> Probing {
    let proxy = format!("proxy: {{url: 'http://{proxy}', basic_auth: {{username: u, password: {password}}}}}");
    probing("192.0.2.1", format!("kind: http, url: '{url}', {proxy}{more}"))
}

#[tokio::test]
async fn a_proxy_is_asked_as_curl_asks_it() {
    let certificate = Certificate::new(&["localhost"]);
    let folder = certificate.folder.path();
    let [plain, secure, closed] = [(); 3].map(|()| servers::closed());
    let blocks = format!(
        "server {{ listen {plain}; location = /away {{ return 302 https://localhost:{}/; }}\n\
         location / {{ return 200 '$http_host $http_proxy_authorization'; }} }}\n\
         server {{ listen {secure} ssl http2; ssl_certificate {}; ssl_certificate_key {};\n\
         return 200 '$server_protocol $http_proxy_authorization'; }}",
        secure.port(),
        certificate.cert(),
        certificate.key()
    );
    let _nginx = servers::nginx(folder, &blocks, plain);
    let (_proxy, via) = tinyproxy(folder);
    let proxy = format!("http://{via}");
    let curl = |url: &str, more: &[&str]| {
        let arguments = ["--proxy", &proxy, "--proxy-user", "u:p", "--cacert", &certificate.cert()];
        curl(url, &[&arguments[..], more].concat())
    };
    let http = format!("http://localhost:{}", plain.port());
    let https = format!("https://localhost:{}", secure.port());
    let tls = format!(", tls: {{ca_file: '{}'}}", certificate.cert());
    // The credentials are for the proxy alone, and the tunnel is a part of connecting.
    let host = format!("localhost:{} ", plain.port());
    // tinyproxy closes after each request that it answers itself.
    for (url, more, body, phases_of_one, is_kept) in [
        (&http, "", &*host, &["connect", "processing", "transfer"][..], false),
        (&https, &*tls, "HTTP/2.0 ", &["connect", "tls", "processing", "transfer"][..], true),
    ] {
        assert_eq!(curl(url, &[]), body);
        for keep_alive in [false, true] {
            let keys = format!(", keep_alive: {keep_alive}, expect: {{body: '^{body}$'}}{more}");
            let seen = by_proxy(url, via, "p", &keys).run(20).await;
            let seen = seen.into_iter().map(|seen| match seen.outcome {
                Ok(timings) => phases(&timings),
                Err(failure) => panic!("{url}: {failure}: {}", seen.failed),
            });
            // One that begins before the last has ended has a connection of its own.
            let (fresh, kept): (Vec<_>, Vec<_>) = seen.partition(|phases| phases == phases_of_one);
            assert!(kept.iter().all(|phases| *phases == ["processing", "transfer"]), "{url}: {kept:?}");
            assert_eq!(!kept.is_empty(), keep_alive && is_kept, "{url}: {fresh:?}");
        }
    }
    let keys = format!(", redirects: 1, redirect_origins: ['{https}'], expect: {{body: '^HTTP/2.0 $'}}{tls}");
    by_proxy(&format!("{http}/away"), via, "p", &keys).succeeds().await;
    // A name that the proxy alone knows.
    let own = "http://tinyproxy.stats/";
    assert!(curl(own, &[]).contains("tinyproxy"));
    by_proxy(own, via, "p", ", expect: {body: tinyproxy}").succeeds().await;

    let nothing = [format!("http://localhost:{}", closed.port()), format!("https://localhost:{}", closed.port())];
    let status = |written: &str| FailureDetail::HttpStatus(written.parse().unwrap());
    for (url, asked) in [(&nothing[0], "%{http_code}"), (&nothing[1], "%{http_connect}")] {
        let told = curl(url, &["--output", "/dev/null", "--write-out", asked]);
        let seen = by_proxy(url, via, "p", "").run(1).await.remove(0);
        // tinyproxy says 500 where it does not reach the peer, which an http URL cannot be told from the peer's own.
        let is_gateway = matches!(&*told, "502" | "503" | "504");
        let expected = if is_gateway || url.starts_with("https") { Failure::Unreachable } else { Failure::Status };
        assert_eq!((seen.outcome, seen.failed.detail), (Err(expected), Some(status(&told))), "{url}");
    }
    for (url, asked) in [(&http, "%{http_code}"), (&https, "%{http_connect}")] {
        // The last option wins.
        let told = curl(url, &["--proxy-user", "u:wrong", "--output", "/dev/null", "--write-out", asked]);
        let seen = by_proxy(url, via, "wrong", "").run(1).await.remove(0);
        // 401 of an http URL may be the peer's.
        let expected = if url.starts_with("https") { Failure::Local } else { Failure::Auth };
        assert_eq!((seen.outcome, seen.failed.detail), (Err(expected), Some(status(&told))), "{url}");
        let keys = format!("kind: http, url: '{url}', proxy: '{proxy}'");
        let seen = probing("192.0.2.1", keys).run(1).await.remove(0);
        assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Local), Some(status("407"))), "{url}");
    }
}

/// A port whose queue of connections is full, so that no more handshakes are answered; for as long as the second lives.
fn full() -> (SocketAddr, (Socket, Vec<Socket>)) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let clients = (0..4).map(|_| {
        let client = socket();
        client.set_nonblocking(true).unwrap();
        let _ = client.connect(&addr);
        client
    });
    let clients = clients.collect();
    (addr.as_socket().unwrap(), (listener, clients))
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_no_failure_of_the_peer() {
    let hangs_up = servers::tcp(drop);
    let resets = servers::tcp(|mut stream| {
        servers::read_head(&mut stream);
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let (full, _queue) = full();
    let local = (Err(Failure::Local), Some(FailureDetail::ProxyUnreachable));
    for url in ["http://peer.invalid/", "https://peer.invalid/"] {
        for proxy in [servers::closed(), hangs_up, resets, full] {
            // One of them fails at the deadline.
            let limit = if proxy == full { TIMEOUT } else { 10 * TIMEOUT };
            let seen = by_proxy(url, proxy, "p", "").timeout(limit).run(1).await.remove(0);
            assert_eq!((seen.outcome, seen.failed.detail), local, "{url} by {proxy}: {}", seen.failed);
        }
        let probe = format!("kind: http, url: '{url}', proxy: 'http://proxy.invalid:3128'");
        let seen = probing("192.0.2.1", probe).run(1).await.remove(0);
        assert_eq!((seen.outcome, seen.failed.detail), local, "{url}: {}", seen.failed);
    }
    // An answer that is none, one without end, and one that goes on behind its end.
    let answers: [(&'static [u8], &'static [u8]); 3] = [
        (b"SSH-2.0-x\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", &[b'x'; 4096]),
        (b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03", b"x"),
    ];
    for (first, again) in answers {
        let proxy = servers::repeats(first, again, Duration::from_millis(1));
        let probe = by_proxy("https://peer.invalid/", proxy, "p", "");
        assert_eq!(probe.fails_early().await, Failure::Local, "{}", String::from_utf8_lossy(first));
    }
    // While the peer may be what it waits for, silence is that of the peer.
    let silent = servers::tcp(|mut stream: TcpStream| {
        servers::read_head(&mut stream);
        let _ = stream.read(&mut [0; 1]);
    });
    for url in ["http://peer.invalid/", "https://peer.invalid/"] {
        assert_eq!(by_proxy(url, silent, "p", "").fails_at_the_deadline().await, Failure::Timeout);
    }
    // What follows the tunnel is judged as without one.
    let refusing = servers::tcp(|mut stream| {
        servers::read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    let seen = by_proxy("https://peer.invalid/", refusing, "p", "").run(1).await.remove(0);
    let closed = FailureDetail::ClosedInHandshake;
    assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Tls), Some(closed)));
}

/// What curl cannot do either: reach a proxy that has an address of the other family alone.
#[tokio::test]
async fn a_proxy_that_the_family_or_the_source_rules_out_is_an_error_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (_proxy, via) = tinyproxy(folder.path());
    let proxy = format!("http://{via}");
    let curl = |more: &[&str]| {
        let arguments =
            ["--silent", "--max-time", "5", "--proxy", &proxy, "--proxy-user", "u:p", "--output", "/dev/null"];
        let status = Command::new("curl").args(arguments).args(more).arg("http://tinyproxy.stats/").status();
        status.unwrap().success()
    };
    let load = |keys: &str| {
        let credentials = "basic_auth: {username: u, password: p}";
        let probe = format!("{{kind: http, url: 'http://tinyproxy.stats/', proxy: {{url: '{proxy}', {credentials}}}}}");
        let text = format!("region: a\npeers: [{{region: b, targets: [{{name: t, {keys}probes: [{probe}]}}]}}]\n");
        Config::load(Some((Path::new("test.yaml"), &text)), []).map(drop).map_err(|errors| errors.to_string())
    };
    for (keys, option) in [
        ("", &[][..]),
        ("address_family: v4, ", &["--ipv4"]),
        ("address_family: v6, ", &["--ipv6"]),
        ("source: 127.0.0.5, ", &["--interface", "127.0.0.5"]),
        ("source: '::1', ", &["--interface", "::1"]),
    ] {
        let loaded = load(keys);
        assert_eq!(loaded.is_ok(), curl(option), "{keys}: {loaded:?}");
        if let Err(errors) = loaded {
            assert!(errors.contains("test.yaml:2:") && errors.contains(".proxy: leads to 127.0.0.1"), "{errors}");
        }
    }
}
