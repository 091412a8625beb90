//! TLS on tcp and http probes.

use std::{io::Write, net::SocketAddr, time::Duration};

use regionwatch::model::Failure;
use testkit::programs::Server;

use crate::{
    servers,
    support::{Certificate, phases, probing},
};

/// nginx with TLS for each certificate, told apart by name, and one port that asks for a client certificate.
fn tls_server(certificates: &[(&str, &Certificate)]) -> (Server, SocketAddr) {
    let addr = servers::closed();
    let block = |(name, certificate): &(&str, &Certificate)| {
        format!(
            "server {{ listen {addr} ssl; server_name {name}; ssl_certificate {}; ssl_certificate_key {};\n\
             location / {{ return 200 {name}; }}\n\
             location /closed {{ if ($ssl_client_verify != SUCCESS) {{ return 403; }} return 200 in; }}\n\
             ssl_verify_client optional_no_ca; }}\n",
            certificate.cert(),
            certificate.key()
        )
    };
    let blocks: String = certificates.iter().map(block).collect();
    let folder = certificates[0].1.folder.path();
    (servers::nginx(folder, &blocks, addr), addr)
}

#[tokio::test]
async fn a_handshake_is_a_phase_and_the_validity_of_the_certificate_is_read() {
    let certificate = Certificate::new(&["a.example"]);
    let (_server, addr) = tls_server(&[("a.example", &certificate)]);
    let tls = format!("tls: {{server_name: a.example, ca_file: '{}'}}", certificate.cert());
    let seen = probing("127.0.0.1", format!("kind: tcp, port: {}, {tls}", addr.port())).run(1).await.remove(0);
    assert_eq!(phases(&seen.outcome.unwrap()), ["connect", "tls"]);
    assert_eq!(seen.certificate, Some(certificate.dates));
    let probe = format!("kind: http, url: 'https://127.0.0.1:{}/', {tls}", addr.port());
    let seen = probing("127.0.0.1", probe).run(1).await.remove(0);
    let timings = seen.outcome.unwrap();
    assert_eq!(phases(&timings), ["connect", "tls", "processing", "transfer"]);
    assert_eq!(seen.certificate, Some(certificate.dates));
    assert!(timings.total < seen.took, "{timings:?}");
}

#[tokio::test]
async fn two_targets_on_one_address_keep_their_own_server_names() {
    let (a, b) = (Certificate::new(&["a.example"]), Certificate::new(&["b.example"]));
    let (_server, addr) = tls_server(&[("a.example", &a), ("b.example", &b)]);
    let probe = |name: &str, trusted: &Certificate| {
        let tls = format!("tls: {{server_name: {name}, ca_file: '{}'}}", trusted.cert());
        probing("127.0.0.1", format!("kind: tcp, port: {}, {tls}", addr.port()))
    };
    let (first, second) = tokio::join!(probe("a.example", &a).run(5), probe("b.example", &b).run(5));
    assert!(first.iter().chain(&second).all(|seen| seen.outcome.is_ok()), "{first:?} {second:?}");
    // Each authority vouches only for its own name, so a mix-up would have failed above, as this does.
    assert_eq!(probe("b.example", &a).fails().await, Failure::Tls);
}

#[tokio::test]
async fn an_unverifiable_certificate_is_a_tls_failure_unless_verification_is_off() {
    let certificate = Certificate::new(&["a.example"]);
    let (_server, addr) = tls_server(&[("a.example", &certificate)]);
    let probe = |tls: &str| probing("127.0.0.1", format!("kind: tcp, port: {}, tls: {tls}", addr.port()));
    assert_eq!(probe("{server_name: a.example}").fails().await, Failure::Tls);
    let other = format!("{{server_name: other.example, ca_file: '{}'}}", certificate.cert());
    assert_eq!(probe(&other).fails().await, Failure::Tls);
    probe("{insecure_skip_verify: true}").succeeds().await;
}

#[tokio::test]
async fn a_handshake_that_hangs_times_out_at_the_deadline() {
    let addr = servers::tcp(|_stream| std::thread::sleep(Duration::from_secs(5)));
    let tcp = format!("kind: tcp, port: {}, tls: true", addr.port());
    assert_eq!(probing("127.0.0.1", tcp).fails_at_the_deadline().await, Failure::Timeout);
    let http = format!("kind: http, url: 'https://127.0.0.1:{}/'", addr.port());
    assert_eq!(probing("127.0.0.1", http).fails_at_the_deadline().await, Failure::Timeout);
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_is_a_tls_failure() {
    let addr = servers::tcp(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        std::thread::sleep(Duration::from_millis(500));
    });
    let tcp = format!("kind: tcp, port: {}, tls: true", addr.port());
    assert_eq!(probing("127.0.0.1", tcp).fails().await, Failure::Tls);
}

#[tokio::test]
async fn a_peer_that_hangs_up_in_the_handshake_is_a_tls_failure() {
    let addr = servers::tcp(|mut stream| {
        let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
    });
    let tcp = format!("kind: tcp, port: {}, tls: true", addr.port());
    assert_eq!(probing("127.0.0.1", tcp).fails().await, Failure::Tls);
}

#[tokio::test]
async fn a_server_that_requires_a_client_certificate_accepts_ours() {
    let certificate = Certificate::new(&["a.example"]);
    let (_server, addr) = tls_server(&[("a.example", &certificate)]);
    let probe = |identity: String| {
        let tls = format!("tls: {{server_name: a.example, ca_file: '{}'{identity}}}", certificate.cert());
        probing("127.0.0.1", format!("kind: http, url: 'https://127.0.0.1:{}/closed', {tls}", addr.port()))
    };
    assert_eq!(probe(String::new()).fails().await, Failure::Auth);
    let identity = format!(", cert_file: '{}', key_file: '{}'", certificate.cert(), certificate.key());
    // nginx says FAILED of a certificate it has no authority for; that it has seen one is enough here.
    let failure = probe(identity).fails().await;
    assert_eq!(failure, Failure::Auth);
}

/// What `openssl s_client` and `openssl x509` say of the same server.
#[tokio::test]
async fn the_facts_of_a_certificate_are_those_of_openssl_also_if_it_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name).display().to_string());
    let openssl = |arguments: &[&str]| {
        let output = std::process::Command::new("openssl").args(arguments).stdin(std::process::Stdio::null()).output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    };
    let subject = "/C=IE/O=Tea, Milk & Co /OU=caf\u{e9}/CN=a.example";
    let arguments = ["req", "-x509", "-utf8", "-nodes", "-newkey", "rsa:2048", "-days", "9", "-subj", subject];
    openssl(
        &[&arguments[..], &["-addext", "subjectAltName=DNS:a.example", "-keyout", &key, "-out", &certificate]].concat(),
    );
    let addr = servers::closed();
    let block = format!(
        "server {{ listen {addr} ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2;\n\
         ssl_ciphers ECDHE-RSA-AES256-GCM-SHA384; }}"
    );
    let _nginx = servers::nginx(folder.path(), &block, addr);
    let probe = |tls: &str| probing("127.0.0.1", format!("kind: tcp, port: {}, tls: {tls}", addr.port()));
    let trusted = probe(&format!("{{server_name: a.example, ca_file: '{certificate}'}}")).run(1).await.remove(0);
    let facts = trusted.facts.tls.unwrap();
    let said = openssl(&[
        "x509",
        "-in",
        &certificate,
        "-noout",
        "-fingerprint",
        "-sha256",
        "-subject",
        "-issuer",
        "-nameopt",
        "RFC2253,-esc_msb",
    ]);
    let digits = facts.fingerprint.to_uppercase();
    let pairs: Vec<_> = digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect();
    for text in [pairs.join(":"), format!("subject={}", facts.subject), format!("issuer={}", facts.issuer)] {
        assert!(said.contains(&text), "{text} in {said}");
    }
    assert_eq!((trusted.outcome.is_ok(), facts.version), (true, Some("TLS 1.2")));
    assert_eq!(facts.cipher, Some("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"));

    let rejected = probe("{server_name: a.example}").run(1).await.remove(0);
    let shown = rejected.facts.tls.unwrap();
    assert_eq!((rejected.outcome, &shown.fingerprint), (Err(Failure::Tls), &facts.fingerprint));
    assert_eq!((shown.version, shown.cipher), (None, None));
}
