//! Odd but working targets, more than a hundred of them. Our probe must agree with the usual tool about each: curl on heads, openssl on
//! certificates, dig on answers, and getent on names.

mod dns;
mod failing;
mod names;
mod tls;

use std::{io::Write, net::SocketAddr, process::Command};

use regionwatch::model::{Failure, Outcome};

use crate::{servers, support::probing};

/// A server that answers each request with these bytes and closes.
fn answering(answer: Vec<u8>) -> SocketAddr {
    servers::tcp(move |mut stream| {
        servers::read_head(&mut stream);
        let _ = stream.write_all(&answer);
    })
}

/// Whether curl reads a response with a status from 200 to 299.
fn curl(url: &str) -> bool {
    let arguments = ["--silent", "--fail", "--max-time", "5", "--output", "/dev/null", url];
    Command::new("curl").args(arguments).status().unwrap().success()
}

async fn ours(url: &str, more: &str) -> Outcome {
    probing("127.0.0.1", format!("kind: http, url: '{url}'{more}")).run(1).await.remove(0).outcome
}

/// What stands between the status line and the end of the head.
fn with_fields(fields: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", fields, b"\r\nok"].concat()
}

#[tokio::test]
async fn heads_that_curl_reads_are_read() {
    let many: Vec<u8> = (0..400).flat_map(|n| format!("X-{n}: {n}\r\n").into_bytes()).collect();
    let long = [b"X-Long: ".to_vec(), vec![b'a'; 40_000], b"\r\n".to_vec()].concat();
    let whole = |text: &str| text.as_bytes().to_vec();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a folded line", with_fields(b"X-Folded: one\r\n two\r\n\tthree\r\n")),
        ("a space before the colon", with_fields(b"X-Spaced : one\r\n")),
        ("a name with a space", with_fields(b"X Name: one\r\n")),
        ("a name with a bracket", with_fields(b"X[0]: one\r\n")),
        ("a name with UTF-8", with_fields("X-\u{e9}: one\r\n".as_bytes())),
        ("a control character in a cookie", with_fields(b"Set-Cookie: a=\x01b; Path=/\r\n")),
        ("a value with UTF-8", with_fields("X-Name: caf\u{e9}\r\n".as_bytes())),
        ("a value of Latin-1", with_fields(b"X-Name: caf\xe9\r\n")),
        ("an empty value", with_fields(b"X-Empty:\r\n")),
        ("a value of spaces", with_fields(b"X-Empty:    \r\n")),
        ("no space after the colon", with_fields(b"X-Tight:one\r\n")),
        ("tabs around a value", with_fields(b"X-Tabs:\tone\t\r\n")),
        ("400 fields", with_fields(&many)),
        ("a field of 40 KB", with_fields(&long)),
        ("a name of one character", with_fields(b"x: 1\r\n")),
        ("a field twice", with_fields(b"X-A: 1\r\nX-A: 2\r\n")),
        ("the same length twice", with_fields(b"Content-Length: 2\r\n")),
        ("an unknown coding of the body", with_fields(b"Content-Encoding: zstd\r\n")),
        ("a wrong date", with_fields(b"Date: yesterday\r\n")),
        ("no reason", whole("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")),
        ("an empty reason", whole("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok")),
        ("a reason in UTF-8", whole("HTTP/1.1 200 Tr\u{e8}s bien\r\nContent-Length: 2\r\n\r\nok")),
        ("lines that end in LF", whole("HTTP/1.1 200 OK\nContent-Length: 2\n\nok")),
        ("HTTP/1.0 without a length", whole("HTTP/1.0 200 OK\r\n\r\nok")),
        ("HTTP/1.1 without a length", whole("HTTP/1.1 200 OK\r\n\r\nok")),
        ("no fields and no body", whole("HTTP/1.1 204 No Content\r\n\r\n")),
        ("204 with a length", whole("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")),
        ("206", whole("HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nok")),
        ("a status of 299", whole("HTTP/1.1 299 Odd\r\nContent-Length: 0\r\n\r\n")),
        ("100 before it", whole("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
        (
            "103 before it",
            whole("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ),
        ("chunks", whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
        (
            "chunks with an extension",
            whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n"),
        ),
        (
            "chunks with a trailer",
            whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n"),
        ),
        (
            "chunks with leading zeros",
            whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0002\r\nok\r\n0\r\n\r\n"),
        ),
        ("Chunked in capitals", whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
        (
            "chunks and a length",
            whole("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ),
        ("Connection: close", with_fields(b"Connection: close\r\n")),
        ("Connection: keep-alive", with_fields(b"Connection: keep-alive\r\n")),
        ("Connection: Upgrade", with_fields(b"Connection: Upgrade\r\nUpgrade: h2c\r\n")),
        ("404", whole("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")),
        ("a body that is cut off", whole("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")),
        ("chunks that are cut off", whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok")),
        (
            "a chunk without a number",
            whole("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nok\r\n0\r\n\r\n"),
        ),
        ("nothing", Vec::new()),
    ];
    assert!(cases.len() + tls::TARGETS.len() >= 60, "targets are missing");
    let mut disagreed = Vec::new();
    for (name, answer) in cases {
        let url = format!("http://{}/", answering(answer));
        let (curl, ours) = (curl(&url), ours(&url, "").await);
        if curl != ours.is_ok() {
            disagreed.push(format!("{name}: curl {curl}, ours {ours:?}"));
        }
    }
    assert!(disagreed.is_empty(), "{disagreed:#?}");
}

/// curl takes what it has got as the head. A server that ends there has failed all the same.
#[tokio::test]
async fn a_head_that_is_cut_off_is_a_broken_protocol() {
    let url = format!("http://{}/", answering(b"HTTP/1.1 200 OK\r\nContent-".to_vec()));
    assert_eq!(ours(&url, "").await, Err(Failure::Protocol));
}

#[tokio::test]
async fn broken_heads_are_a_broken_protocol_where_that_is_asked_for() {
    for fields in
        [&b"X-Folded: one\r\n two\r\n"[..], b"X-Spaced : one\r\n", b"X[0]{: one\r\n", b"Set-Cookie: a=\x01b\r\n"]
    {
        let url = format!("http://{}/", answering(with_fields(fields)));
        let seen = ours(&url, ", strict_headers: true").await;
        assert_eq!(seen, Err(Failure::Protocol), "{}", String::from_utf8_lossy(fields));
    }
}

#[tokio::test]
async fn a_long_body_of_nginx_is_a_success_if_its_status_alone_is_asked_for() {
    let (folder, addr) = (tempfile::tempdir().unwrap(), servers::closed());
    std::fs::write(folder.path().join("long"), vec![b'a'; 3 << 20]).unwrap();
    let block = format!("server {{ listen {addr}; root {}; }}", folder.path().display());
    let _nginx = servers::nginx(folder.path(), &block, addr);
    let url = format!("http://{addr}/long");
    assert!(curl(&url));
    for more in ["", ", body_limit: 1KiB", ", body_limit: 1KiB, expect: {status: [200], body: ^aaa}"] {
        assert!(ours(&url, more).await.is_ok(), "{more}");
    }
}
