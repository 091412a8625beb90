//! TLS that is asked for in the protocol of a server: real servers beside openssl, and hostile ones.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use regionwatch::model::{Failure, FailureDetail, Phase};
use testkit::programs::{Server, start};

use crate::{
    servers,
    support::{Certificate, Probing, phases, probing},
};

/// nginx as a server of mail: SMTP, IMAP and POP3, with STARTTLS `on` or `off`.
fn mail_server(certificate: &Certificate, starttls: &str) -> (Server, [(&'static str, SocketAddr); 3]) {
    let ports = ["smtp", "imap", "pop3"].map(|protocol| (protocol, servers::closed()));
    let folder = certificate.folder.path();
    let blocks: String =
        ports.iter().map(|(protocol, addr)| format!("server {{ listen {addr}; protocol {protocol}; }}\n")).collect();
    let config = format!(
        "load_module /usr/lib/nginx/modules/ngx_mail_module.so;\n\
         daemon off; master_process off; error_log stderr crit; pid {0}/mail.pid; events {{ worker_connections 64; }}\n\
         mail {{ server_name mail.example; auth_http 127.0.0.1:9/; starttls {starttls};\n\
         ssl_certificate {1}; ssl_certificate_key {2};\n{blocks} }}",
        folder.display(),
        certificate.cert(),
        certificate.key()
    );
    let path = folder.join("mail.conf");
    std::fs::write(&path, config).unwrap();
    (start("nginx", &["-c", path.to_str().unwrap(), "-p", folder.to_str().unwrap()], ports[2].1), ports)
}

fn slapd(certificate: &Certificate) -> (Server, SocketAddr) {
    let (addr, folder) = (servers::closed(), certificate.folder.path());
    let config = format!(
        "pidfile {}/slapd.pid\nTLSCertificateFile {}\nTLSCertificateKeyFile {}\n",
        folder.display(),
        certificate.cert(),
        certificate.key()
    );
    let path = folder.join("slapd.conf");
    std::fs::write(&path, config).unwrap();
    let url = format!("ldap://{addr}");
    (start("slapd", &["-d", "0", "-h", &url, "-f", path.to_str().unwrap()], addr), addr)
}

fn mariadb(certificate: &Certificate) -> (Server, SocketAddr) {
    let (addr, folder) = (servers::closed(), certificate.folder.path());
    let data = folder.join("mariadb");
    std::fs::create_dir_all(&data).unwrap();
    let data = data.display();
    let settings = [
        "--no-defaults".to_owned(),
        "--skip-grant-tables".to_owned(),
        "--user=root".to_owned(),
        format!("--datadir={data}"),
        format!("--socket={data}/socket"),
        format!("--pid-file={data}/pid"),
        format!("--bind-address={}", addr.ip()),
        format!("--port={}", addr.port()),
        format!("--ssl-cert={}", certificate.cert()),
        format!("--ssl-key={}", certificate.key()),
    ];
    let settings: Vec<_> = settings.iter().map(String::as_str).collect();
    (start("mariadbd", &settings, addr), addr)
}

/// Whether openssl trusts the server after STARTTLS.
fn openssl(protocol: &str, addr: SocketAddr, certificate: &Certificate) -> bool {
    Command::new("openssl")
        .args(["s_client", "-starttls", protocol, "-connect", &addr.to_string(), "-servername", "a.example"])
        .args(["-verify_return_error", "-CAfile", &certificate.cert()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

fn ask(protocol: &str, addr: SocketAddr, tls: &str) -> Probing {
    probing("127.0.0.1", format!("kind: tcp, port: {}, starttls: {protocol}{tls}", addr.port()))
}

#[tokio::test]
async fn the_certificates_of_mail_servers_directories_and_databases_are_seen_as_openssl_sees_them() {
    let certificate = Certificate::new(&["a.example"]);
    let (_mail, mail) = mail_server(&certificate, "on");
    let (_slapd, directory) = slapd(&certificate);
    let (_mariadb, database) = mariadb(&certificate);
    let tls = format!(", tls: {{server_name: a.example, ca_file: '{}'}}", certificate.cert());
    for (protocol, addr) in mail.into_iter().chain([("ldap", directory), ("mysql", database)]) {
        assert!(openssl(protocol, addr, &certificate), "{protocol}: openssl");
        let seen = ask(protocol, addr, &tls).run(1).await.remove(0);
        let timings = seen.outcome.unwrap_or_else(|failure| panic!("{protocol}: {failure} {}", seen.failed));
        assert_eq!(phases(&timings), ["connect", "tls"], "{protocol}");
        assert_eq!(seen.certificate, Some(certificate.dates), "{protocol}");
        let seen = ask(protocol, addr, "").run(1).await.remove(0);
        assert_eq!((seen.outcome, seen.certificate), (Err(Failure::Tls), Some(certificate.dates)), "{protocol}");
    }
}

#[tokio::test]
async fn a_server_without_tls_says_so() {
    let certificate = Certificate::new(&["a.example"]);
    let (_mail, mail) = mail_server(&certificate, "off");
    for (protocol, addr) in mail {
        assert!(!openssl(protocol, addr, &certificate), "{protocol}: openssl");
        let seen = ask(protocol, addr, "").run(1).await.remove(0);
        let detail = Some(FailureDetail::StartTlsRefused);
        assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Tls), detail), "{protocol}");
        assert_eq!(seen.failed.to_string(), "in phase tls to 127.0.0.1: the server has refused STARTTLS");
    }
}

/// A server that says one thing after the other, each but the first once it was asked something.
fn says(parts: &'static [&'static [u8]]) -> SocketAddr {
    servers::tcp(move |mut stream| {
        for (place, part) in parts.iter().enumerate() {
            if place > 0 && !stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
                return;
            }
            if stream.write_all(part).is_err() {
                return;
            }
        }
        while stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
    })
}

#[tokio::test]
async fn servers_that_break_off_refuse_or_send_more_than_they_may_are_told_apart() {
    const MYSQL: &[u8] = b"\x19\0\0\0\x0a8.0\0\x01\0\0\0abcdefgh\0\xff\xff\x21\x02\0\xff\xff";
    const PLAIN: &[u8] = b"\x19\0\0\0\x0a8.0\0\x01\0\0\0abcdefgh\0\xff\xf7\x21\x02\0\xff\xff";
    let (status, tls, protocol) = (Failure::Status, Failure::Tls, Failure::Protocol);
    let cases: [(&str, &'static [&'static [u8]], Failure); 27] = [
        ("smtp", &[b"554 no\r\n"], status),
        ("smtp", &[b"220 a\r\n", b"550 who?\r\n"], status),
        ("smtp", &[b"220-a\r\n220 b\r\n", b"250-a\r\n250 SIZE 1\r\n"], tls),
        ("smtp", &[b"220 a\r\n", b"250-a\r\n250 starttls\r\n", b"454 later\r\n"], tls),
        ("smtp", &[b"SSH-2.0-x\r\n"], protocol),
        ("smtp", &[b"\xff\xff\xff\xff\xff\r\n"], protocol),
        ("smtp", &[b"220 a\r\n", b"250-a\r\n250 STARTTLS\r\n", b"220 go\r\nEHLO injected\r\n"], protocol),
        ("imap", &[b"* BYE\r\n"], status),
        ("imap", &[b"* PREAUTH\r\n"], tls),
        ("imap", &[b"* OK hi\r\n", b"* 1 EXISTS\r\na BAD no\r\n"], tls),
        ("imap", &[b"+OK\r\n"], protocol),
        ("imap", &[b"* OK hi\r\n", b"a OK go\r\n* injected\r\n"], protocol),
        ("pop3", &[b"-ERR\r\n"], status),
        ("pop3", &[b"+OK\r\n", b"-ERR\r\n"], tls),
        ("pop3", &[b"220 a\r\n"], protocol),
        ("ldap", &[b"", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x34\x04\0\x04\0"], tls),
        ("ldap", &[b"", b"\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\0\x04\0\x04\0"], protocol),
        ("ldap", &[b"", b"\x30\x84\xff\xff\xff\xff"], protocol),
        ("ldap", &[b"", b"\x30\x05\x02\x01\x01\x78\x07"], protocol),
        ("ldap", &[b"", b"HTTP/1.1 400\r\n"], protocol),
        ("postgres", &[b"", b"N"], tls),
        ("postgres", &[b"", b"E"], protocol),
        ("postgres", &[b"", b"Sx"], protocol),
        ("mysql", &[PLAIN], tls),
        ("mysql", &[b"\x05\0\0\0\xff\x69\x04no"], status),
        ("mysql", &[b"\xff\xff\xff\0\x0a"], protocol),
        ("mysql", &[b"\x04\0\0\0\x0a8.0"], protocol),
    ];
    for (name, parts, expected) in cases {
        let seen = ask(name, says(parts), "").run(1).await.remove(0);
        assert_eq!((seen.outcome, seen.failed.phase), (Err(expected), Some(Phase::Tls)), "{name}: {parts:?}");
    }
    // These go on to a handshake, which then has no answer.
    let agreed: [(&str, &'static [&'static [u8]]); 3] = [
        ("smtp", &[b"220 a\r\n", b"250-a\r\n250-SIZE 1\r\n250 STARTTLS\r\n", b"220 go\r\n"]),
        ("ldap", &[b"", b"\x30\x84\0\0\0\x10\x02\x01\x01\x78\x84\0\0\0\x07\x0a\x01\0\x04\0\x04\0"]),
        ("mysql", &[MYSQL]),
    ];
    for (name, parts) in agreed {
        let probe = format!("kind: tcp, port: {}, starttls: {name}", says(parts).port());
        assert_eq!(probing("127.0.0.1", probe).fails_at_the_deadline().await, Failure::Timeout, "{name}");
    }
}

#[tokio::test]
async fn a_server_that_talks_without_end_or_not_at_all_is_left() {
    for (name, again) in [("smtp", &b"220-more\r\n"[..]), ("smtp", b"x"), ("imap", b"* more\r\n"), ("pop3", b"y")] {
        let endless = servers::tcp(move |mut stream| while stream.write_all(again).is_ok() {});
        assert_eq!(ask(name, endless, "").fails_early().await, Failure::Protocol, "{name}");
    }
    let silent = servers::tcp(|_stream| std::thread::sleep(Duration::from_secs(5)));
    for name in ["smtp", "ldap", "postgres", "mysql"] {
        let probe = format!("kind: tcp, port: {}, starttls: {name}", silent.port());
        assert_eq!(probing("127.0.0.1", probe).fails_at_the_deadline().await, Failure::Timeout, "{name}");
    }
}
