//! Odd certificates and handshakes, beside `openssl s_client`.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use crate::{servers, support::probing};

/// What makes the certificate, what nginx does with it, and the name that is verified.
pub(super) type Target = (&'static str, &'static str, &'static str, &'static str);

pub(super) const RSA: &str = "-newkey rsa:2048";
const EC: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
const NAME: &str = "a.example";

pub(super) const TARGETS: [Target; 22] = [
    ("RSA 2048", RSA, "", NAME),
    ("RSA 4096", "-newkey rsa:4096", "", NAME),
    ("SHA-512", "-newkey rsa:3072 -sha512", "", NAME),
    ("P-256", EC, "", NAME),
    ("P-384", "-newkey ec -pkeyopt ec_paramgen_curve:P-384", "", NAME),
    ("Ed25519", "-newkey ed25519", "", NAME),
    ("TLS 1.2 alone", RSA, "ssl_protocols TLSv1.2;", NAME),
    ("TLS 1.3 alone", RSA, "ssl_protocols TLSv1.3;", NAME),
    ("ChaCha20", RSA, "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-RSA-CHACHA20-POLY1305;", NAME),
    ("AES-256 with ECDSA", EC, "ssl_protocols TLSv1.2; ssl_ciphers ECDHE-ECDSA-AES256-GCM-SHA384;", NAME),
    ("X25519 alone", RSA, "ssl_ecdh_curve X25519;", NAME),
    ("secp384r1 alone", RSA, "ssl_ecdh_curve secp384r1;", NAME),
    ("no tickets", RSA, "ssl_session_tickets off;", NAME),
    ("a client certificate is welcome", RSA, "ssl_verify_client optional_no_ca;", NAME),
    ("HTTP/2", RSA, "http2", NAME),
    ("old TLS alone", RSA, "ssl_protocols TLSv1 TLSv1.1; ssl_ciphers ALL@SECLEVEL=0;", NAME),
    ("a long serial number", "-newkey rsa:2048 -set_serial 0x7fabababababababababababababababababab", "", NAME),
    ("a use for signatures alone", "-newkey rsa:2048 -addext keyUsage=critical,digitalSignature", "", NAME),
    ("a use for servers", "-newkey rsa:2048 -addext extendedKeyUsage=serverAuth", "", NAME),
    ("a wildcard", RSA, "", "any.wild.example"),
    ("an address", RSA, "", "127.0.0.1"),
    ("another name", RSA, "", "other.test"),
];

/// A certificate that signs itself, and its key.
pub(super) fn certificate(folder: &Path, number: usize, more: &str) -> (String, String) {
    let file = |kind: &str| folder.join(format!("{kind}{number}.pem")).display().to_string();
    let (certificate, key) = (file("certificate"), file("key"));
    let names: Vec<_> = (0..50).map(|n| format!("DNS:name-{n}.example")).collect();
    let names = format!("subjectAltName=DNS:{NAME},DNS:*.wild.example,IP:127.0.0.1,{}", names.join(","));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=odd", "-addext", &names])
        .args(["-keyout", &key, "-out", &certificate])
        .args(more.split(' '))
        .output()
        .unwrap();
    assert!(made.status.success(), "{more}: {}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

fn openssl(addr: SocketAddr, name: &str, authority: &str) -> bool {
    let verify = if name.parse::<std::net::IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
    Command::new("openssl")
        .args(["s_client", "-connect", &addr.to_string(), "-servername", NAME, "-verify_return_error"])
        .args([verify, name, "-CAfile", authority])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

#[tokio::test]
async fn handshakes_succeed_and_fail_where_those_of_openssl_do() {
    let folder = tempfile::tempdir().unwrap();
    let addrs = TARGETS.map(|_| servers::closed());
    let mut blocks = String::new();
    let mut authorities = Vec::new();
    for (number, ((_, more, settings, _), addr)) in TARGETS.iter().zip(addrs).enumerate() {
        let (certificate, key) = certificate(folder.path(), number, more);
        let (http2, settings) = if *settings == "http2" { (" http2", "") } else { ("", *settings) };
        blocks += &format!(
            "server {{ listen {addr} ssl{http2}; ssl_certificate {certificate}; ssl_certificate_key {key}; {settings} \
             location / {{ return 200; }} }}\n"
        );
        authorities.push(certificate);
    }
    let _server = servers::nginx(folder.path(), &blocks, addrs[0]);
    let mut disagreed = Vec::new();
    for (((name, _, _, verified), addr), authority) in TARGETS.iter().zip(addrs).zip(authorities) {
        let openssl = openssl(addr, verified, &authority);
        let tls = format!("tls: {{server_name: {verified}, ca_file: '{authority}'}}");
        let seen = probing("127.0.0.1", format!("kind: tcp, port: {}, {tls}", addr.port())).run(1).await.remove(0);
        if openssl != seen.outcome.is_ok() {
            disagreed.push(format!("{name}: openssl {openssl}, ours {:?} {}", seen.outcome, seen.failed));
        }
    }
    assert!(disagreed.is_empty(), "{disagreed:#?}");
}

/// openssl takes the dot for a part of the name; curl does not.
#[tokio::test]
async fn a_final_dot_is_no_part_of_the_name_that_is_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (addr, (authority, key)) = (servers::closed(), certificate(folder.path(), 0, RSA));
    let block = format!(
        "server {{ listen {addr} ssl; ssl_certificate {authority}; ssl_certificate_key {key}; \
         return 200 $ssl_server_name; }}"
    );
    let _server = servers::nginx(folder.path(), &block, addr);
    let (port, name) = (addr.port(), format!("{NAME}."));
    let curl = Command::new("curl")
        .args(["--silent", "--cacert", &authority, "--connect-to", &format!("::{addr}")])
        .arg(format!("https://{name}:{port}/"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&curl.stdout), NAME);
    let tls = format!("tls: {{server_name: {name}, ca_file: '{authority}'}}");
    let probe = format!("kind: http, url: 'https://{addr}/', expect: {{body: '^{NAME}$'}}, {tls}");
    probing("127.0.0.1", probe).succeeds().await;
}
