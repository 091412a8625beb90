//! Targets that fail, and what `check --probe` says of each.

use std::{fmt::Write as _, io::Write as _, net::SocketAddr};

use testkit::process::{output, write};

use super::{answering, tls, with_fields};
use crate::servers;

/// The probe, its result, and what its row must say.
type Target = (String, &'static str, &'static str);

fn http_targets() -> Vec<Target> {
    let get = |answer: &[u8], more: &str| format!("kind: http, url: 'http://{}/'{more}", answering(answer.to_vec()));
    let head = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n").into_bytes();
    let chunks = |text: &str| [head("Transfer-Encoding: chunked\r\n"), text.as_bytes().to_vec()].concat();
    let cut_off = "the connection was closed before the answer was complete";
    let malformed = "the answer is not valid HTTP";
    let long = "is longer, or comes in more pieces, than is read";
    vec![
        (get(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ""), "status", "HTTP status 404"),
        (get(b"HTTP/1.1 401 Who\r\nContent-Length: 0\r\n\r\n", ""), "auth", "HTTP status 401"),
        (
            get(b"HTTP/1.1 302 X\r\nLocation: http://a.test/\r\nContent-Length: 0\r\n\r\n", ""),
            "status",
            "HTTP status 302",
        ),
        (get(b"", ""), "protocol", cut_off),
        (get(b"HTTP/1.1 200 OK\r\nContent-Le", ""), "protocol", cut_off),
        (get(&head("Content-Length: 9\r\n"), ""), "protocol", cut_off),
        (get(&chunks("9\r\nok"), ""), "protocol", cut_off),
        (get(&chunks("x\r\nok\r\n0\r\n\r\n"), ""), "protocol", malformed),
        (get(b"SSH-2.0-OpenSSH_9.2\r\n", ""), "protocol", malformed),
        (get(&with_fields(b"X-Folded: one\r\n two\r\n"), ", strict_headers: true"), "protocol", malformed),
        (get(&with_fields(&b"X: y\r\n".repeat(2_000)), ""), "protocol", long),
        (get(&with_fields(b""), ", expect: {body: '^no$'}"), "mismatch", "the body is not the expected one"),
        (get(&with_fields(b""), ", expect: {headers: {x-a: b}}"), "mismatch", "a header field is missing"),
        (get(&with_fields(b"Content-Encoding: br\r\n"), ", expect: {body: ok}"), "mismatch", "the body is compressed"),
        (
            get(
                &[head("Content-Length: 2000\r\n"), vec![b'a'; 2000]].concat(),
                ", body_limit: 1KiB, expect: {body: a$}",
            ),
            "mismatch",
            "longer than body_limit",
        ),
    ]
}

fn dns_targets(knot: SocketAddr) -> Vec<Target> {
    let ask = |asked: &str| format!("kind: dns, port: {}, query: {asked}", knot.port());
    let refusing = servers::udp(|question| {
        let mut answer = question.to_vec();
        answer[2..4].copy_from_slice(&[0x80, 5]);
        vec![answer]
    });
    vec![
        (ask("nothing.example.com, record: A"), "status", "rcode NXDOMAIN"),
        (ask("web.example.com, record: A, expect: {answers: [192.0.2.9]}"), "mismatch", "other records than expected"),
        (
            ask("nothing.example.com, record: A, expect: {rcode: [NXDOMAIN], some_answer: .}"),
            "mismatch",
            "rcode NXDOMAIN",
        ),
        (ask("web.example.com, record: AAAA, expect: {some_answer: .}"), "empty", "has no record of the type"),
        (ask("alias.example.com, record: A, expect: {some_answer: .}"), "empty", "is an alias (CNAME) without"),
        (ask("a.sub.example.com, record: A, expect: {some_answer: .}"), "empty", "is a referral"),
        (format!("kind: dns, port: {}, query: a.example", refusing.port()), "status", "rcode REFUSED"),
    ]
}

fn tls_targets(nginx: SocketAddr, old: SocketAddr, authority: &str) -> Vec<Target> {
    let handshake = |addr: SocketAddr, tls: &str| format!("kind: tcp, port: {}, tls: {{{tls}}}", addr.port());
    let trusted = format!("ca_file: '{authority}'");
    let plain = servers::tcp(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let closing = servers::tcp(|mut stream| drop(std::io::Read::read(&mut stream, &mut [0; 4096])));
    let version_2 = format!("kind: http, url: 'https://{nginx}/', version: 2, tls: {{{trusted}}}");
    let no_starttls = servers::tcp(|mut stream| {
        let _ = stream.write_all(b"220 a\r\n");
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        let _ = stream.write_all(b"250 a\r\n");
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
    });
    let smtp = format!("kind: tcp, port: {}, starttls: smtp", no_starttls.port());
    vec![
        (handshake(nginx, "server_name: a.example"), "tls", "is signed by an unknown authority"),
        (handshake(nginx, &format!("server_name: other.test, {trusted}")), "tls", "is for another name"),
        (handshake(old, &trusted), "tls", "the peer accepts neither TLS 1.2 nor 1.3"),
        (handshake(plain, &trusted), "tls", "the answer is not TLS"),
        (handshake(closing, &trusted), "tls", "closed in the TLS handshake"),
        (version_2, "tls", "TLS alert no_application_protocol"),
        (smtp, "tls", "the server has refused STARTTLS"),
    ]
}

fn other_targets() -> Vec<Target> {
    let closed = servers::closed().port();
    let silent = servers::tcp(|mut stream| drop(std::io::Read::read(&mut stream, &mut [0; 1])));
    let ended = servers::tcp(drop);
    let banner = servers::tcp(|mut stream| drop(stream.write_all(b"SSH-2.0-x\r\n")));
    let expect = |addr: SocketAddr| format!("kind: tcp, port: {}, expect: '^220 '", addr.port());
    let proxy = format!("kind: http, url: 'http://a.test/', proxy: 'http://127.0.0.1:{closed}'");
    let unix = "kind: http, url: 'http://a.test/', unix_socket: /nowhere/app.sock".to_owned();
    vec![
        (format!("kind: tcp, port: {closed}"), "refused", "nothing listens there"),
        (expect(silent), "timeout", "no answer within the timeout"),
        (expect(banner), "mismatch", "11 bytes that are not expected"),
        (expect(ended), "mismatch", "no bytes, although some are expected"),
        (proxy, "local", "the proxy cannot be used"),
        (unix, "refused", "nothing listens there"),
        ("kind: http, url: 'http://no-such-name.invalid/'".to_owned(), "resolve", "the name has no address"),
    ]
}

#[tokio::test]
async fn check_names_the_reason_of_each_target_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let zone = "web 60 A 192.0.2.1\nalias 60 CNAME nothing.elsewhere.test.\nsub 60 NS ns.elsewhere.test.\n";
    let (knot, nginx, old) = (servers::closed(), servers::closed(), servers::closed());
    let _knot = servers::knot(folder.path(), zone, knot);
    let (authority, key) = tls::certificate(folder.path(), 0, tls::RSA);
    let block = |addr: SocketAddr, settings: &str| {
        format!(
            "server {{ listen {addr} ssl; ssl_certificate {authority}; ssl_certificate_key {key}; {settings} return 200; }}\n"
        )
    };
    let blocks = block(nginx, "") + &block(old, "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL@SECLEVEL=0;");
    let _nginx = servers::nginx(folder.path(), &blocks, nginx);
    let all = [http_targets(), dns_targets(knot), tls_targets(nginx, old, &authority), other_targets()];
    let all: Vec<_> = all.into_iter().flatten().collect();
    let mut text = "region: here\npeers:\n  - region: there\n    targets:\n".to_owned();
    for (n, (probe, ..)) in all.iter().enumerate() {
        let _ = writeln!(text, "      - {{name: t{n}, host: 127.0.0.1, probes: [{{{probe}, timeout: 6s}}]}}");
    }
    let checked = output(&["check", "--probe", "--config", &write(folder.path(), "failing.yaml", &text)], &[]);
    let table = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(1), "{table}{}", String::from_utf8_lossy(&checked.stderr));
    let mut unnamed = Vec::new();
    for (n, (probe, result, reason)) in all.iter().enumerate() {
        let row = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&*format!("t{n}"))).unwrap();
        if row.split_whitespace().nth(3) != Some(*result) || !row.contains(reason) {
            unnamed.push(format!("{probe}: {result}, {reason}\n{row}"));
        }
    }
    assert!(unnamed.is_empty(), "{unnamed:#?}");
    assert!(table.ends_with(&format!("{0} of {0} probes failed.\n", all.len())), "{table}");
}
