//! A failed probe says why, in the words of its protocol.

use std::{io::Write, net::SocketAddr, process::Command};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use regionwatch::model::{CertificateFault, Failure, FailureDetail};

use crate::{
    servers,
    support::{Certificate, TIMEOUT, probing},
};

/// nginx with this certificate chain and key.
fn nginx(folder: &std::path::Path, chain: &str, key: &str) -> (testkit::programs::Server, SocketAddr) {
    nginx_with("", folder, chain, key)
}

/// The same with these settings.
fn nginx_with(
    settings: &str,
    folder: &std::path::Path,
    chain: &str,
    key: &str,
) -> (testkit::programs::Server, SocketAddr) {
    std::fs::write(folder.join("chain.pem"), chain).unwrap();
    std::fs::write(folder.join("server.pem"), key).unwrap();
    let addr = servers::closed();
    let (chain, key) = (folder.join("chain.pem"), folder.join("server.pem"));
    let block = format!(
        "server {{ listen {addr} ssl; ssl_certificate {}; ssl_certificate_key {};\n\
         ssl_ciphers DEFAULT@SECLEVEL=0; {settings} location / {{ return 503; }} location /ok {{ return 200; }} }}\n",
        chain.display(),
        key.display()
    );
    (servers::nginx(folder, &block, addr), addr)
}

/// What `openssl req -x509` makes: certificate and key, which are also `c.pem` and `k.pem` in the folder.
fn openssl(folder: &std::path::Path, more: &str) -> (String, String) {
    let line = format!("req -x509 -nodes -days 30 -keyout k.pem -out c.pem {more}");
    let made = Command::new("openssl").args(line.split(' ')).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap();
    (read("c.pem"), read("k.pem"))
}

const VERSION_1: &str = "version 1";

/// What `openssl x509 -req` makes, without extensions.
fn version_1(folder: &std::path::Path) -> (String, String) {
    let line = "openssl req -newkey rsa:2048 -nodes -keyout k.pem -subj /CN=a.example -out r.pem && \
                openssl x509 -req -in r.pem -signkey k.pem -days 30 -out c.pem && \
                openssl x509 -in c.pem -noout -text | grep 'Version: 1 '";
    let made = Command::new("sh").args(["-c", line]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let read = |name| std::fs::read_to_string(folder.join(name)).unwrap();
    (read("c.pem"), read("k.pem"))
}

/// Valid from one day to another, both in years.
fn params(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(to, 1, 1);
    params
}

fn authority(name: &str, from: i32, to: i32) -> CertificateParams {
    let mut params = params(name, from, to);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

const YEAR_2020: i64 = 1_577_836_800;
const YEAR_2025: i64 = 1_735_689_600;
const YEAR_2040: i64 = 2_208_988_800;
const YEAR_2045: i64 = 2_366_841_600;

#[tokio::test]
async fn a_rejected_certificate_says_what_is_wrong_with_it_and_when_it_expires() {
    let root = CertifiedIssuer::self_signed(authority("Root", 2020, 2045), KeyPair::generate().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, root.pem()).unwrap();
    let trusting = format!(", ca_file: '{}'", ca.display());
    for (name, years, trust, fault) in [
        ("a.example", (2020, 2025), &*trusting, CertificateFault::Expired),
        ("a.example", (2040, 2045), &*trusting, CertificateFault::NotYetValid),
        ("b.example", (2020, 2040), &*trusting, CertificateFault::WrongName),
        ("a.example", (2020, 2040), "", CertificateFault::UnknownAuthority),
    ] {
        let key = KeyPair::generate().unwrap();
        let leaf = params(name, years.0, years.1).signed_by(&key, &root).unwrap();
        let (_server, addr) = nginx(folder.path(), &leaf.pem(), &key.serialize_pem());
        let tls = format!("tls: {{server_name: a.example{trust}}}");
        for probe in [
            format!("kind: tcp, port: {}, {tls}", addr.port()),
            format!("kind: http, url: 'https://127.0.0.1:{}/', {tls}", addr.port()),
        ] {
            let seen = probing("127.0.0.1", probe).run(1).await.remove(0);
            assert_eq!(seen.outcome, Err(Failure::Tls));
            assert_eq!(seen.failed.detail, Some(FailureDetail::Certificate(fault)));
            assert_eq!(seen.failed.address, Some(addr.ip()));
            let year = |year| match year {
                2020 => YEAR_2020,
                2025 => YEAR_2025,
                2040 => YEAR_2040,
                _ => YEAR_2045,
            };
            let dates = seen.certificate.expect("a rejected certificate has dates, too");
            assert_eq!((dates.not_before, dates.not_after), (year(years.0), year(years.1)));
        }
    }
}

#[tokio::test]
async fn the_issuers_that_lead_to_a_trusted_authority_count_and_others_that_were_sent_do_not() {
    let root = CertifiedIssuer::self_signed(authority("Root", 2020, 2045), KeyPair::generate().unwrap()).unwrap();
    let old = CertifiedIssuer::self_signed(authority("Old root", 2020, 2025), KeyPair::generate().unwrap()).unwrap();
    let between = CertifiedIssuer::signed_by(authority("Between", 2020, 2040), KeyPair::generate().unwrap(), &root);
    let between = between.unwrap();
    // The root, vouched for by one that has expired: what Let's Encrypt's servers sent for years.
    let crossed = authority("Root", 2020, 2025).signed_by(root.key(), &old).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params("a.example", 2020, 2045).signed_by(&key, &between).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, root.pem()).unwrap();
    let chain = leaf.pem() + &between.pem() + &crossed.pem() + &old.pem();
    let (_server, addr) = nginx(folder.path(), &chain, &key.serialize_pem());
    let tls = format!("tls: {{server_name: a.example, ca_file: '{}'}}", ca.display());
    let ok = format!("kind: http, url: 'https://127.0.0.1:{}/ok', {tls}", addr.port());
    let failing = format!("kind: http, url: 'https://127.0.0.1:{}/', {tls}", addr.port());
    for (probe, succeeds) in [(ok, true), (failing, false)] {
        let seen = probing("127.0.0.1", probe).run(1).await.remove(0);
        assert_eq!(seen.outcome.is_ok(), succeeds, "{seen:?}");
        let dates = seen.certificate.expect("a failed probe has seen it, too");
        assert_eq!((dates.not_after, dates.issuers_not_after), (YEAR_2045, Some(YEAR_2040)));
        let status = FailureDetail::HttpStatus(503);
        assert_eq!(seen.failed.detail, (!succeeds).then_some(status));
    }
}

/// As OpenSSL and curl have it: what is trusted by name needs no authority.
#[tokio::test]
async fn a_self_signed_certificate_of_openssl_is_accepted_if_it_is_its_own_ca_file() {
    let folder = tempfile::tempdir().unwrap();
    for (more, fits) in [
        ("-newkey rsa:2048 -subj /CN=a.example", true),
        ("-newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=a.example", true),
        ("-newkey rsa:2048 -subj /CN=other -addext subjectAltName=DNS:a.example", true),
        ("-newkey rsa:2048 -subj /CN=other", false),
        ("-newkey rsa:2048 -subj /CN=a.example -addext subjectAltName=DNS:other.example", false),
    ] {
        let (certificate, key) = openssl(folder.path(), more);
        let (_server, addr) = nginx(folder.path(), &certificate, &key);
        let trusted = folder.path().join("c.pem");
        let tls = format!("tls: {{server_name: a.example, ca_file: '{}'}}", trusted.display());
        let probe = probing("127.0.0.1", format!("kind: tcp, port: {}, {tls}", addr.port()));
        let seen = probe.run(1).await.remove(0);
        let wrong = FailureDetail::Certificate(CertificateFault::WrongName);
        assert_eq!((seen.outcome.is_ok(), seen.failed.detail), (fits, (!fits).then_some(wrong)), "{more}");
        let curl = Command::new("curl")
            .args(["--silent", "--output", "/dev/null", "--cacert"])
            .arg(&trusted)
            .args(["--resolve", &format!("a.example:{}:127.0.0.1", addr.port())])
            .arg(format!("https://a.example:{}/", addr.port()))
            .status();
        assert_eq!(curl.unwrap().success(), fits, "curl, {more}");
    }
}

#[tokio::test]
async fn a_self_signed_certificate_of_openssl_is_of_an_unknown_authority_if_another_one_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let other = Certificate::new(&["a.example"]);
    let (certificate, key) = openssl(folder.path(), "-newkey rsa:2048 -subj /CN=a.example");
    let (_server, addr) = nginx(folder.path(), &certificate, &key);
    for ca in [String::new(), format!(", ca_file: '{}'", other.cert())] {
        let tls = format!("tls: {{server_name: a.example{ca}}}");
        let seen = probing("127.0.0.1", format!("kind: tcp, port: {}, {tls}", addr.port())).run(1).await.remove(0);
        let unknown = FailureDetail::Certificate(CertificateFault::UnknownAuthority);
        assert_eq!((seen.outcome.err(), seen.failed.detail), (Some(Failure::Tls), Some(unknown)), "{ca}");
    }
}

/// The dates of the certificate count however the handshake fails after it.
#[tokio::test]
async fn the_dates_of_a_certificate_are_read_if_the_handshake_fails_or_ends_at_the_deadline_after_it() {
    let certificate = Certificate::new(&["a.example"]);
    let addr = servers::closed();
    let port = addr.port().to_string();
    let arguments = ["s_server", "-quiet", "-tls1_2", "-Verify", "1", "-verify_return_error", "-accept"];
    let (chain, key) = (certificate.cert(), certificate.key());
    let files = [port.as_str(), "-cert", &chain, "-key", &key];
    // It ends the handshake with an alert, because we show no certificate.
    let _refusing = testkit::programs::start("openssl", &[&arguments[..], &files].concat(), addr);
    // It sends everything up to its certificate, and never gets what the client says then.
    let upstream = servers::closed();
    let block = format!(
        "server {{ listen {upstream} ssl; ssl_protocols TLSv1.2; ssl_certificate {chain}; ssl_certificate_key {key}; }}"
    );
    let _upstream = servers::nginx(certificate.folder.path(), &block, upstream);
    let hanging = servers::tcp(move |mut client| {
        let mut server = std::net::TcpStream::connect(upstream).unwrap();
        let mut buffer = [0; 16 << 10];
        let hello = std::io::Read::read(&mut client, &mut buffer).unwrap();
        server.write_all(&buffer[..hello]).unwrap();
        let _ = std::io::copy(&mut server, &mut client);
    });
    let trusts = format!("{{server_name: a.example, ca_file: '{}'}}", certificate.cert());
    for tls in [trusts.as_str(), "{insecure_skip_verify: true}"] {
        for (port, failure) in [(addr.port(), Failure::Tls), (hanging.port(), Failure::Timeout)] {
            // Before a deadline, the certificate must have come all the same.
            let limit = if failure == Failure::Timeout { 5 * TIMEOUT } else { 10 * TIMEOUT };
            let probe = probing("127.0.0.1", format!("kind: tcp, port: {port}, tls: {tls}"));
            let seen = probe.timeout(limit).run(1).await.remove(0);
            assert_eq!(seen.outcome.err(), Some(failure), "{tls}: {:?}", seen.failed);
            assert_eq!(seen.certificate, Some(certificate.dates), "{tls}: {failure:?}");
        }
    }
}

#[tokio::test]
async fn certificates_that_cannot_be_verified_are_accepted_where_none_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let long_serial = format!("0x7f{}", "ab".repeat(30));
    for more in [
        "-newkey rsa:1024 -subj /CN=a.example",
        "-newkey rsa:2048 -sha1 -subj /CN=a.example",
        "-newkey rsa:2048 -subj /CN=a.example -addext 1.2.3.4=critical,ASN1:NULL",
        "-newkey ec -pkeyopt ec_paramgen_curve:P-521 -subj /CN=a.example",
        VERSION_1,
        &format!("-newkey rsa:2048 -subj /CN=a.example -set_serial {long_serial}"),
    ] {
        let (certificate, key) =
            if more == VERSION_1 { version_1(folder.path()) } else { openssl(folder.path(), more) };
        // With TLS 1.2, a client must also exchange keys by the curve of the certificate.
        let settings = if more.contains("P-521") { "ssl_protocols TLSv1.3;" } else { "" };
        let (_server, addr) = nginx_with(settings, folder.path(), &certificate, &key);
        let tcp = format!("kind: tcp, port: {}, tls: {{insecure_skip_verify: true}}", addr.port());
        let seen = probing("127.0.0.1", tcp).run(1).await.remove(0);
        assert!(seen.outcome.is_ok(), "{more}: {:?}", seen.failed);
        let dates = seen.certificate.unwrap_or_else(|| panic!("{more} has no dates"));
        assert_eq!(dates.not_after - dates.not_before, 30 * 86_400, "{more}");
    }
}

#[tokio::test]
async fn what_a_peer_does_in_the_handshake_is_told() {
    let certificate = Certificate::new(&["a.example"]);
    let read = |path: String| std::fs::read_to_string(path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (_server, tls) = nginx(folder.path(), &read(certificate.cert()), &read(certificate.key()));
    let plain = servers::tcp(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let closing = servers::tcp(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
    });
    // A record of TLS with the fatal alert protocol_version.
    let refusing = servers::tcp(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 70]);
    });
    // A ServerHello of TLS 1.0 that chooses TLS_RSA_WITH_AES_128_CBC_SHA.
    let old = servers::tcp(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
        let hello = [&[22, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1][..], &[7; 32], &[0, 0, 47, 0]].concat();
        let _ = stream.write_all(&hello);
        let _ = std::io::Read::read(&mut stream, &mut [0; 1]);
    });
    let (aged, files) = (servers::closed(), (certificate.cert(), certificate.key()));
    let block = format!(
        "server {{ listen {aged} ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1 TLSv1.1; }}",
        files.0, files.1
    );
    let _aged = servers::nginx(certificate.folder.path(), &block, aged);
    let closed = servers::closed();
    for (addr, detail, text) in [
        (aged, Some(FailureDetail::TlsAlert(70)), "protocol_version: the peer accepts neither TLS 1.2 nor 1.3"),
        (tls, Some(FailureDetail::Certificate(CertificateFault::UnknownAuthority)), "signed by an unknown authority"),
        (plain, Some(FailureDetail::NotTls), "the answer is not TLS"),
        (closing, Some(FailureDetail::ClosedInHandshake), "closed in the TLS handshake"),
        (refusing, Some(FailureDetail::TlsAlert(70)), "TLS alert protocol_version"),
        (old, Some(FailureDetail::OldTls), "TLS 1.1 or older, which is not supported"),
        (closed, None, "in phase connect to 127.0.0.1"),
    ] {
        let probe = format!("kind: tcp, port: {}, tls: {{server_name: a.example}}", addr.port());
        let seen = probing("127.0.0.1", probe).run(1).await.remove(0);
        assert_eq!(seen.failed.detail, detail);
        assert!(seen.failed.to_string().contains(text), "{}", seen.failed);
    }
}

#[tokio::test]
async fn an_unexpected_status_and_rcode_are_told() {
    let http = servers::says(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n");
    let seen = probing("127.0.0.1", format!("kind: http, url: 'http://{http}/'")).run(1).await.remove(0);
    assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Status), Some(FailureDetail::HttpStatus(418))));
    let dns = servers::udp(|question| {
        let mut answer = question.to_vec();
        (answer[2], answer[3]) = (0x80 | answer[2], 5);
        vec![answer]
    });
    let probe = format!("kind: dns, query: a.example, port: {}", dns.port());
    let seen = probing("127.0.0.1", probe).run(1).await.remove(0);
    assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Status), Some(FailureDetail::Rcode(5))));
    assert_eq!(seen.failed.to_string(), "rcode REFUSED from 127.0.0.1");
}
