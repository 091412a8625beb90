//! HTTP probes.

use std::{
    io::{Read as _, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use regionwatch::model::{Failure, FailureDetail, Phase, StampSource};

use crate::{
    servers,
    support::{Certificate, Probing, TIMEOUT, phase, phases, probing},
};

fn get(addr: SocketAddr, more: &str) -> Probing {
    probing("127.0.0.1", format!("kind: http, url: 'http://{addr}/x', {more}"))
}

/// Sent as `${PROBE_TOKEN}`, it would be no secret and no token.
#[tokio::test]
async fn variables_are_replaced_in_path_query_header_and_body() {
    let addr = servers::tcp(|mut stream| {
        let mut request = String::new();
        let mut part = [0; 4096];
        while !request.ends_with("end of body") {
            match stream.read(&mut part) {
                Ok(0) | Err(_) => return,
                Ok(read) => request.push_str(&String::from_utf8_lossy(&part[..read])),
            }
        }
        let right = request.starts_with("POST /hunter2/x?token=hunter2&literal=$%7B HTTP/1.1\r\n")
            && request.contains("x-key: key hunter2\r\n")
            && request.ends_with("\r\n\r\n{hunter2} ${PROBE_TOKEN} end of body");
        let status = if right { "200 OK" } else { "400 Bad Request" };
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    });
    let probe = format!(
        "kind: http, url: 'http://{addr}/${{PROBE_TOKEN}}/x?token=${{PROBE_TOKEN}}&literal=$%7B', method: POST, \
         headers: {{X-Key: 'key ${{PROBE_TOKEN}}'}}, body: '{{${{PROBE_TOKEN}}}} $${{PROBE_TOKEN}} end of body'"
    );
    probing("127.0.0.1", probe).succeeds().await;
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Region: there\r\n\r\nhello";

#[tokio::test]
async fn the_phases_are_those_of_the_network() {
    let addr = servers::tcp(|mut stream| {
        servers::read_head(&mut stream);
        std::thread::sleep(Duration::from_millis(80));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        std::thread::sleep(Duration::from_millis(60));
        let _ = stream.write_all(b"hello");
    });
    let seen = get(addr, "expect: {body: hello}").run(1).await.remove(0);
    let timings = seen.outcome.unwrap();
    assert_eq!(phases(&timings), ["connect", "processing", "transfer"]);
    assert_eq!(timings.source, StampSource::Kernel);
    let (millis, most) = (|wanted| phase(&timings, wanted).as_millis(), 250 + seen.stall.as_millis());
    assert!((80..most).contains(&millis(Phase::Processing)), "{timings:?}");
    assert!((60..most).contains(&millis(Phase::Transfer)), "{timings:?}");
    assert_eq!(timings.total, timings.phases.total());
}

#[tokio::test]
async fn status_headers_and_body_are_judged() {
    let addr = servers::says(OK);
    get(addr, "expect: {status: [200, 204], headers: {x-region: ^there$}, body: hel+o}").succeeds().await;
    assert_eq!(get(addr, "expect: {status: [204]}").fails().await, Failure::Status);
    assert_eq!(get(addr, "expect: {headers: {x-region: elsewhere}}").fails().await, Failure::Mismatch);
    assert_eq!(get(addr, "expect: {headers: {x-other: there}}").fails().await, Failure::Mismatch);
    assert_eq!(get(addr, "expect: {body: goodbye}").fails().await, Failure::Mismatch);
}

#[tokio::test]
async fn a_class_of_statuses_and_a_body_that_must_not_come_are_judged() {
    let moved = servers::says(b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 7\r\n\r\nhealthy");
    get(moved, "expect: {status: [3xx]}").succeeds().await;
    get(moved, "expect: {status: [200, 3xx], body: healthy, body_not: maintenance}").succeeds().await;
    assert_eq!(get(moved, "expect: {status: [2xx, 404]}").fails().await, Failure::Status);
    assert_eq!(get(moved, "expect: {status: [3xx], body_not: 'heal'}").fails().await, Failure::Mismatch);
    assert_eq!(get(moved, "expect: {status: [3xx], body_not: 'y$'}").fails().await, Failure::Mismatch);
}

#[tokio::test]
async fn errors_of_the_server_and_missing_credentials_are_told_apart() {
    let down = servers::says(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(get(down, "method: GET").fails().await, Failure::Status);
    for answer in [
        &b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
    ] {
        assert_eq!(get(servers::says(answer), "method: GET").fails().await, Failure::Auth);
    }
}

#[tokio::test]
async fn a_closed_port_and_a_reset_are_refused() {
    assert_eq!(get(servers::closed(), "method: GET").fails().await, Failure::Refused);
    let addr = servers::tcp(|stream| {
        let stream = socket2::Socket::from(stream);
        std::thread::sleep(Duration::from_millis(30));
        stream.set_linger(Some(Duration::ZERO)).unwrap();
    });
    assert_eq!(get(addr, "method: GET").fails().await, Failure::Refused);
}

#[tokio::test]
async fn a_peer_that_accepts_and_never_answers_times_out_at_the_deadline() {
    let addr = servers::tcp(|_stream| std::thread::sleep(Duration::from_secs(5)));
    assert_eq!(get(addr, "method: GET").fails_at_the_deadline().await, Failure::Timeout);
}

#[tokio::test]
async fn endless_headers_are_limited_or_time_out() {
    let flood = servers::repeats(b"HTTP/1.1 200 OK\r\n", &[b'X'; 1024], Duration::ZERO);
    assert_eq!(get(flood, "method: GET").fails().await, Failure::Protocol);
    let many = servers::repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", Duration::ZERO);
    assert_eq!(get(many, "method: GET").fails().await, Failure::Protocol);
    let drip = servers::repeats(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n", Duration::from_millis(50));
    assert_eq!(get(drip, "method: GET").fails_at_the_deadline().await, Failure::Timeout);
}

#[tokio::test]
async fn an_endless_body_is_limited_or_times_out() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let drip = servers::repeats(head, b"1\r\na\r\n", Duration::from_millis(50));
    assert_eq!(get(drip, "method: GET").fails_at_the_deadline().await, Failure::Timeout);
    let flood = servers::repeats(head, many(b"8\r\naaaaaaaa\r\n"), Duration::ZERO);
    get(flood, "body_limit: 4KiB").succeeds().await;
    let failure = get(flood, "body_limit: 4KiB, expect: {body: b}").fails_early().await;
    assert_eq!(failure, Failure::Mismatch);
}

/// A frame of HTTP/2 (RFC 9113 4.1) on a stream below 256.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A HEADERS frame with this status, on the first stream of a client.
fn status(status: &str) -> Vec<u8> {
    // A literal field without indexing, whose name is entry 8 of the static table (RFC 7541).
    frame(1, 4, 1, &[&[8, 3], status.as_bytes()].concat())
}

fn leaked(bytes: Vec<u8>) -> &'static [u8] {
    Vec::leak(bytes)
}

/// The same bytes many times, to be written at once.
fn many(bytes: &[u8]) -> &'static [u8] {
    leaked(bytes.repeat(1000))
}

#[tokio::test]
async fn interim_responses_without_end_are_a_protocol_error_before_the_deadline() {
    let interim = servers::repeats(b"", many(b"HTTP/1.1 100 Continue\r\n\r\n"), Duration::ZERO);
    assert_eq!(get(interim, "method: GET").fails_early().await, Failure::Protocol);
    let interim = servers::repeats(leaked(frame(4, 0, 0, &[])), many(&status("103")), Duration::ZERO);
    assert_eq!(get(interim, "version: 2").fails_early().await, Failure::Protocol);
}

#[tokio::test]
async fn frames_that_bring_nothing_on_are_a_protocol_error_before_the_deadline() {
    let settings = frame(4, 0, 0, &[]);
    let frames = [
        ("SETTINGS", settings.clone()),
        ("PING", frame(6, 0, 0, &[0; 8])),
        ("WINDOW_UPDATE", frame(8, 0, 0, &[0, 0, 0, 1])),
        ("PRIORITY", frame(2, 0, 3, &[0; 5])),
        ("GOAWAY", frame(7, 0, 0, &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])),
        ("unknown", frame(0xfa, 0, 0, &[])),
    ];
    for (name, endless) in frames {
        for answered in [false, true] {
            let head = if answered { status("200") } else { Vec::new() };
            let first = leaked([settings.clone(), head].concat());
            let peer = servers::repeats(first, many(&endless), Duration::ZERO);
            let failure = get(peer, "version: 2").fails_early().await;
            assert!(matches!(failure, Failure::Protocol | Failure::Refused), "{name}, {answered}: {failure}");
        }
    }
    for payload in [&[b'a'][..], &[]] {
        let first = leaked([settings.clone(), status("200")].concat());
        let peer = servers::repeats(first, many(&frame(0, 0, 1, payload)), Duration::ZERO);
        assert_eq!(get(peer, "version: 2").fails_early().await, Failure::Protocol, "{payload:?}");
    }
}

#[tokio::test]
async fn a_large_body_in_small_pieces_is_read_and_matched_as_a_whole() {
    let addr = servers::tcp(|mut stream| {
        servers::read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n");
        let mut body = vec![b'a'; 900_000];
        body[..5].copy_from_slice(b"begin");
        body[899_997..].copy_from_slice(b"end");
        for piece in body.chunks(1000) {
            let _ = stream.write_all(piece);
        }
    });
    get(addr, "expect: {body: '^begina+end$'}").succeeds().await;
    assert_eq!(get(addr, "expect: {body: '^begina+b'}").fails_early().await, Failure::Mismatch);
}

#[tokio::test]
async fn of_a_body_over_the_limit_only_the_first_bytes_are_matched() {
    let addr = servers::tcp(|mut stream| {
        servers::read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2048\r\n\r\n");
        let _ = stream.write_all(&[b'a'; 1023]);
        let _ = stream.write_all(&[b'b'; 1025]);
    });
    for expected in ["", ", expect: {status: [200]}", ", expect: {body: ^aa}", ", expect: {body: ab}"] {
        let seen = get(addr, &format!("body_limit: 1KiB{expected}")).run(1).await.remove(0);
        assert!(seen.outcome.is_ok(), "{expected}: {}", seen.failed);
        assert_eq!(seen.failed.detail, Some(FailureDetail::TruncatedBody), "{expected}");
    }
    // What was read does not end there: neither may a match.
    for expected in ["abb", "ab$"] {
        let expected = format!("body_limit: 1KiB, expect: {{body: '{expected}'}}");
        let seen = get(addr, &expected).run(1).await.remove(0);
        let why = (seen.outcome, seen.failed.detail);
        assert_eq!(why, (Err(Failure::Mismatch), Some(FailureDetail::TruncatedBody)), "{expected}");
    }
    let whole = get(addr, "body_limit: 2KiB, expect: {body: b$}").run(1).await.remove(0);
    assert_eq!((whole.outcome.is_ok(), whole.failed.detail), (true, None));
    assert_eq!(get(addr, "body_limit: 1KiB, expect: {status: [204]}").fails().await, Failure::Status);
}

#[tokio::test]
async fn a_peer_that_does_not_speak_http_is_a_protocol_error() {
    for answer in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nContent-Le"] {
        assert_eq!(get(servers::says(answer), "method: GET").fails().await, Failure::Protocol, "{answer:?}");
    }
    let cut = servers::says(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello");
    assert_eq!(get(cut, "method: GET").fails().await, Failure::Protocol);
}

#[tokio::test]
async fn redirects_are_followed_only_where_allowed_and_only_on_the_same_host() {
    let addr = servers::tcp(|mut stream| {
        let mut line = String::new();
        let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(&stream), &mut line);
        let answer: &[u8] = match line.split(' ').nth(1) {
            Some("/x") => b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
            Some("/y") => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            _ => b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n",
        };
        let _ = stream.write_all(answer);
    });
    assert_eq!(get(addr, "method: GET").fails().await, Failure::Status);
    get(addr, "redirects: 1, expect: {body: hello}").succeeds().await;
    let away = probing("127.0.0.1", format!("kind: http, url: 'http://{addr}/away', redirects: 5"));
    assert_eq!(away.fails().await, Failure::Status);
    let loops = servers::says(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(get(loops, "redirects: 3").fails().await, Failure::Status);
}

#[tokio::test]
async fn method_headers_and_body_are_sent() {
    let addr = servers::tcp(|mut stream| {
        let mut request = vec![0; 4096];
        let len = stream.read(&mut request).unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..len]).to_lowercase();
        let wanted = ["post /x http/1.1\r\n", "authorization: basic dto6cdp3\r\n", "x-a: b\r\n", "\r\n\r\nhi there"];
        let status = if wanted.iter().all(|part| request.contains(part)) { "200" } else { "400" };
        let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
    });
    let more = "method: POST, body: hi there, headers: {x-a: b}, basic_auth: {username: 'u:', password: 'p:w'}";
    let more = more.replace("'u:'", "u").replace("'p:w'", "':p:w'");
    get(addr, &more).run(1).await.remove(0).outcome.unwrap();
}

#[tokio::test]
async fn a_kept_connection_measures_only_the_exchange() {
    let addr = servers::tcp(|mut stream| {
        loop {
            servers::read_head(&mut stream);
            if stream.write_all(OK).is_err() {
                return;
            }
        }
    });
    let seen = get(addr, "keep_alive: true").run(12).await;
    let all: Vec<_> = seen.iter().map(|seen| phases(&seen.outcome.unwrap())).collect();
    assert_eq!(all[0], ["connect", "processing", "transfer"]);
    // One that begins before the last has ended has a connection of its own.
    assert!(all.iter().any(|phases| phases == &["processing", "transfer"]), "{all:?}");
}

/// Serves one request on each connection, and leaves when the next one has come.
fn leaves_after_one(leave: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    servers::tcp(move |mut stream| {
        servers::read_head(&mut stream);
        let _ = stream.write_all(OK);
        servers::read_head(&mut stream);
        leave(stream);
    })
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closes_is_no_failure() {
    let hangs_up = leaves_after_one(drop);
    let resets = leaves_after_one(|stream| {
        let _ = socket2::Socket::from(stream).set_linger(Some(Duration::ZERO));
    });
    for addr in [hangs_up, resets] {
        for seen in get(addr, "keep_alive: true").run(4).await {
            assert_eq!(phases(&seen.outcome.unwrap()), ["connect", "processing", "transfer"]);
        }
    }
}

#[tokio::test]
async fn a_truncated_response_on_a_kept_connection_is_a_failure() {
    let addr = leaves_after_one(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le");
    });
    let seen = get(addr, "keep_alive: true").run(12).await;
    assert!(seen.iter().any(|seen| seen.outcome == Err(Failure::Protocol)), "{seen:?}");
}

#[tokio::test]
async fn nginx_is_measured_over_every_version() {
    let certificate = Certificate::new(&["a.example"]);
    let (plain, secure) = (servers::closed(), servers::closed());
    let servers = format!(
        "server {{ listen {plain}; location / {{ return 200 $server_protocol; }} }}\n\
         server {{ listen {secure} ssl http2; ssl_certificate {}; ssl_certificate_key {};\n\
         location / {{ return 200 $server_protocol; }} }}",
        certificate.cert(),
        certificate.key()
    );
    let _nginx = servers::nginx(certificate.folder.path(), &servers, plain);
    let tls = format!("tls: {{server_name: a.example, ca_file: '{}'}}", certificate.cert());
    let probe = |url: String, version: &str, said: &str| {
        let more = format!("version: {version}, {tls}, expect: {{body: '^{said}$'}}");
        let more = if url.starts_with("https") { more } else { more.replace(&format!("{tls}, "), "") };
        probing("127.0.0.1", format!("kind: http, url: '{url}', {more}"))
    };
    probe(format!("http://{plain}/"), "auto", "HTTP/1.1").succeeds().await;
    let timings = probe(format!("https://{secure}/"), "auto", "HTTP/2.0").succeeds().await;
    assert_eq!((phases(&timings).len(), timings.source), (4, StampSource::Kernel));
    probe(format!("https://{secure}/"), "1", "HTTP/1.1").succeeds().await;
    probe(format!("https://{secure}/"), "2", "HTTP/2.0").succeeds().await;
}

#[tokio::test]
async fn the_status_and_the_version_of_a_response_are_those_of_curl_whatever_the_probe_expects() {
    let certificate = Certificate::new(&["a.example"]);
    let (plain, secure) = (servers::closed(), servers::closed());
    let servers = format!(
        "server {{ listen {plain}; location / {{ return 503; }} location /to {{ return 302 /; }} location /ok {{ return 204; }} }}\n\
         server {{ listen {secure} ssl http2; ssl_certificate {}; ssl_certificate_key {}; return 404; }}",
        certificate.cert(),
        certificate.key()
    );
    let _nginx = servers::nginx(certificate.folder.path(), &servers, plain);
    let ca = format!(", tls: {{server_name: a.example, ca_file: '{}'}}", certificate.cert());
    let [home, moved, fine, other] = [
        format!("http://{plain}/"),
        format!("http://{plain}/to"),
        format!("http://{plain}/ok"),
        format!("https://{secure}/"),
    ];
    for (url, more) in [(home, ""), (moved, ", redirects: 1"), (fine, ""), (other, &*ca)] {
        let arguments = ["--silent", "--insecure", "--location", "--output", "/dev/null", "--write-out"];
        let curl =
            std::process::Command::new("curl").args(arguments).args(["%{http_code} %{http_version}", &url]).output();
        let seen = probing("127.0.0.1", format!("kind: http, url: '{url}'{more}")).run(1).await.remove(0);
        let answer = seen.facts.http.unwrap();
        let ours = format!("{} {}", answer.status, answer.protocol.number());
        assert_eq!(ours, String::from_utf8_lossy(&curl.unwrap().stdout), "{url}");
    }
    let silent = servers::tcp(|_stream| std::thread::sleep(Duration::from_secs(5)));
    let seen = get(silent, "keep_alive: false").timeout(TIMEOUT).run(1).await.remove(0);
    assert_eq!((seen.outcome, seen.facts.http), (Err(Failure::Timeout), None));
}

/// As `curl --header 'Host: inner.example:8443'` does it.
#[tokio::test]
async fn a_host_header_names_the_virtual_host_over_every_version() {
    let certificate = Certificate::new(&["a.example"]);
    let (plain, secure) = (servers::closed(), servers::closed());
    let server = |name: &str| {
        format!(
            "server {{ listen {plain}; listen {secure} ssl http2; server_name {name}; ssl_certificate {};\n\
             ssl_certificate_key {}; location / {{ return 200 '{name} $http_host'; }} }}\n",
            certificate.cert(),
            certificate.key()
        )
    };
    let servers = server("outer.example") + &server("inner.example");
    let _nginx = servers::nginx(certificate.folder.path(), &servers, plain);
    let tls = format!(", tls: {{server_name: a.example, ca_file: '{}'}}", certificate.cert());
    let (http, https) = (format!("http://{plain}/"), format!("https://{secure}/"));
    for (url, version, tls) in [(&http, "1", ""), (&https, "1", &*tls), (&https, "2", &tls)] {
        let host = "headers: {Host: 'inner.example:8443'}, expect: {body: '^inner.example inner.example:8443$'}";
        probing("127.0.0.1", format!("kind: http, url: '{url}', version: '{version}', {host}{tls}")).succeeds().await;
    }
}

/// Each of these leads to the page for `curl --location`, too.
#[tokio::test]
async fn a_redirect_may_be_any_reference_to_the_same_host() {
    let folder = tempfile::tempdir().unwrap();
    let plain = servers::closed();
    let host = format!("//{plain}/folder/next");
    let references = ["next", "./next", "../folder/next", "?a=1", &host, "../../folder/./x/../next", "n\u{e9}xt page"];
    let location = |(n, reference): (usize, &&str)| {
        format!(
            "location = /folder/{n} {{ if ($args) {{ return 200 there; }}\n\
             return 302 '{reference}'; }}\n"
        )
    };
    let locations: String = references.iter().enumerate().map(location).collect();
    let servers = format!(
        "server {{ listen {plain}; absolute_redirect off; {locations} location = /folder/next {{ return 200 there; }}\n\
         location = '/folder/n\u{e9}xt page' {{ return 200 there; }} }}"
    );
    let _nginx = servers::nginx(folder.path(), &servers, plain);
    for (n, reference) in references.iter().enumerate() {
        let url = format!("http://{plain}/folder/{n}");
        let curl = std::process::Command::new("curl").args(["--silent", "--location", &url]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&curl.stdout), "there", "curl: {reference}");
        let probe = format!("kind: http, url: '{url}', redirects: 1, expect: {{body: ^there$}}");
        probing("127.0.0.1", probe).succeeds().await;
    }
}

/// As `curl --location` goes there, which drops credentials of its own, too.
#[tokio::test]
async fn a_redirect_to_an_origin_that_is_allowed_is_followed_without_credentials() {
    let certificate = Certificate::new(&["localhost"]);
    let (plain, secure) = (servers::closed(), servers::closed());
    let port = secure.port();
    let servers = format!(
        "server {{ listen {plain}; if ($http_authorization = '') {{ return 403; }} add_header Set-Cookie session=1;\n\
         location / {{ return 302 https://localhost:{port}/in; }}\n\
         location /back {{ return 302 https://localhost:{port}/back; }} location /home {{ return 200 \"home $http_x_key\"; }} }}\n\
         server {{ listen {secure} ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_verify_client optional_no_ca;\n\
         location /back {{ return 302 http://{plain}/home; }}\n\
         location /in {{ return 200 '<$http_authorization$http_x_key$http_cookie$ssl_client_verify$http_host>'; }} }}",
        certificate.cert(),
        certificate.key()
    );
    let _nginx = servers::nginx(certificate.folder.path(), &servers, plain);
    let url = format!("http://{plain}/");
    let secrets = "basic_auth: {username: u, password: p}, headers: {X-Key: secret}, cookies: true";
    let tls =
        format!("tls: {{ca_file: '{0}', cert_file: '{0}', key_file: '{1}'}}", certificate.cert(), certificate.key());
    let origin = format!("redirects: 2, redirect_origins: ['https://localhost:{port}'], {tls}");
    let probe =
        |path: &str, more: &str| probing("127.0.0.1", format!("kind: http, url: '{url}{path}', {secrets}, {more}"));

    let curl = ["--silent", "--location", "--user", "u:p", "--cookie", "", "--cacert", &certificate.cert(), &url];
    let curl = std::process::Command::new("curl").args(curl).output().unwrap();
    let nothing = format!("<NONElocalhost:{port}>");
    assert_eq!(String::from_utf8_lossy(&curl.stdout), nothing);
    probe("", &format!("{origin}, expect: {{body: '^{nothing}$'}}")).succeeds().await;
    probe("back", &format!("{origin}, expect: {{body: '^home secret$'}}")).succeeds().await;

    let elsewhere = format!("redirects: 2, redirect_origins: ['http://localhost:{port}', 'https://localhost']");
    let seen = probe("", &elsewhere).run(1).await.remove(0);
    assert_eq!((seen.outcome, seen.facts.http.map(|answer| answer.status)), (Err(Failure::Status), Some(302)));
}

#[tokio::test]
async fn after_a_redirect_elsewhere_the_certificate_of_the_target_counts_and_no_earlier_response() {
    let (own, other) = (Certificate::new(&["localhost"]), Certificate::new(&["localhost"]));
    let (here, there, closed) = (servers::closed(), servers::closed(), servers::closed().port());
    let tls = |addr, certificate: &Certificate| {
        let (cert, key) = (certificate.cert(), certificate.key());
        format!("listen {addr} ssl; ssl_certificate {cert}; ssl_certificate_key {key};")
    };
    let elsewhere = there.port();
    let servers = format!(
        "server {{ {} location /own {{ return 200; }} location /dead {{ return 302 https://localhost:{closed}/; }}\n\
         location /away {{ return 302 https://localhost:{elsewhere}/; }} }}\n\
         server {{ {} location / {{ return 200; }} }}",
        tls(here, &own),
        tls(there, &other)
    );
    let _nginx = servers::nginx(own.folder.path(), &servers, here);
    let of = async |addr: SocketAddr, path: &str| {
        let origins = format!("['https://localhost:{elsewhere}', 'https://localhost:{closed}']");
        let url = format!("https://localhost:{}{path}", addr.port());
        let more = format!("redirects: 1, redirect_origins: {origins}, tls: {{insecure_skip_verify: true}}");
        let seen = probing("127.0.0.1", format!("kind: http, url: '{url}', {more}")).run(1).await.remove(0);
        let fingerprint = seen.facts.tls.as_ref().map(|facts| facts.fingerprint.clone());
        (seen.outcome.map(drop), seen.facts.http.map(|answer| answer.status), fingerprint.unwrap())
    };
    let ((_, _, target), (_, _, another)) = (of(here, "/own").await, of(there, "/").await);
    assert_ne!(target, another);
    assert_eq!(of(here, "/away").await, (Ok(()), Some(200), target.clone()));
    assert_eq!(of(here, "/dead").await, (Err(Failure::Refused), None, target));
}

/// As `curl --location --cookie ''` logs in.
#[tokio::test]
async fn a_cookie_that_is_set_before_a_redirect_is_sent_after_it_if_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let addr = servers::closed();
    let server = format!(
        "server {{ listen {addr}; location /login {{ add_header Set-Cookie 'session=7; Path=/; HttpOnly'; return 302 /in; }}\n\
         location /in {{ if ($cookie_session = '') {{ return 403; }} return 200 '$http_cookie'; }} }}"
    );
    let _nginx = servers::nginx(folder.path(), &server, addr);
    let url = format!("http://{addr}/login");
    let curl =
        std::process::Command::new("curl").args(["--silent", "--location", "--cookie", "", &url]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "session=7");
    let probe = |more: &str| probing("127.0.0.1", format!("kind: http, url: '{url}', redirects: 1, {more}"));
    for seen in probe("cookies: true, expect: {body: '^session=7$'}").run(2).await {
        seen.outcome.unwrap();
    }
    probe("cookies: true, headers: {Cookie: 'own=1'}, expect: {body: '^own=1; session=7$'}").succeeds().await;
    assert_eq!(probe("cookies: false").fails().await, Failure::Auth);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_resolve_failure() {
    let probe = "kind: http, url: 'http://nothing.invalid/'";
    assert_eq!(probing("nothing.invalid", probe).fails().await, Failure::Resolve);
}

#[tokio::test]
async fn a_token_that_was_renewed_in_its_file_is_sent_after_the_old_one_was_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "old\n").unwrap();
    let addr = servers::closed();
    let block = format!(
        "server {{ listen {addr}; location / {{ if ($http_authorization != 'Bearer new') {{ return 401; }} return 200; }} }}"
    );
    let _nginx = servers::nginx(folder.path(), &block, addr);
    let probe = format!("kind: http, url: 'http://{addr}/', bearer_token_file: '{}'", path.display());
    let renewed = folder.path().join("next");
    let renew = move || {
        // As Kubernetes does it.
        std::fs::write(&renewed, "new\n").unwrap();
        std::fs::rename(&renewed, &path).unwrap();
    };
    let seen = probing("127.0.0.1", probe).after(3, renew).run(40).await;
    assert!(seen[..3].iter().all(|seen| seen.outcome == Err(Failure::Auth)), "{seen:?}");
    assert!(seen[39].outcome.is_ok(), "{:?}", seen[39]);
}

#[tokio::test]
async fn a_body_that_nginx_compresses_is_matched_as_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let addr = servers::closed();
    let block = format!(
        "server {{ listen {addr}; gzip on; gzip_types text/plain; gzip_min_length 1; default_type text/plain;\n\
         location / {{ return 200 \"{}all is ready\"; }}\n\
         location /br {{ add_header Content-Encoding br; return 200 ready; }} }}\n",
        "x".repeat(2000)
    );
    let _nginx = servers::nginx(folder.path(), &block, addr);
    let ask = |path: &str, expected: &str| {
        let asked = format!("url: 'http://{addr}{path}', headers: {{Accept-Encoding: gzip}}, expect: {{{expected}}}");
        probing("127.0.0.1", format!("kind: http, {asked}"))
    };
    ask("/", "headers: {Content-Encoding: '^gzip$'}, body: 'x{100}all is ready$'").succeeds().await;
    assert_eq!(ask("/", "body_not: ready").fails().await, Failure::Mismatch);
    let seen = ask("/br", "body: ready").run(1).await.remove(0);
    assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Mismatch), Some(FailureDetail::UnknownCoding)));
    ask("/br", "status: [200]").succeeds().await;
}

#[tokio::test]
async fn statuses_and_bodies_of_nginx_are_judged_by_class_and_by_what_must_not_come() {
    let folder = tempfile::tempdir().unwrap();
    let addr = servers::closed();
    let block = format!(
        "server {{ listen {addr}; location /201 {{ return 201 made; }} location /302 {{ return 302 /201; }}\n\
         location /503 {{ return 503 maintenance; }} }}\n"
    );
    let _nginx = servers::nginx(folder.path(), &block, addr);
    for path in ["/201", "/302", "/503"] {
        // What curl says of it, as a class.
        let url = format!("http://{addr}{path}");
        let curl =
            std::process::Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]).output();
        let status = String::from_utf8(curl.unwrap().stdout).unwrap();
        for class in ["2xx", "3xx", "4xx", "5xx"] {
            let seen = probing("127.0.0.1", format!("kind: http, url: '{url}', expect: {{status: [{class}]}}"));
            let is_of_class = class[..1] == status[..1];
            assert_eq!(seen.run(1).await.remove(0).outcome.is_ok(), is_of_class, "{url} {status} {class}");
        }
    }
    let ask = |expected: &str| {
        probing("127.0.0.1", format!("kind: http, url: 'http://{addr}/503', expect: {{status: [5xx], {expected}}}"))
    };
    ask("body_not: healthy").succeeds().await;
    let seen = ask("body_not: mainten").run(1).await.remove(0);
    assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Mismatch), Some(FailureDetail::OtherBody)));
    let seen = ask("headers: {x-region: here}").run(1).await.remove(0);
    assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Mismatch), Some(FailureDetail::OtherHeader)));
}
