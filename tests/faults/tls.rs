//! Peers that negotiate without end.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use testkit::{
    needs::{Need, require},
    regions::stranger_address,
};
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::{
    attack::{Crew, Underway, withstood},
    peers::probe,
};

const PORT: u16 = 8443;

fn https() -> String {
    let host = stranger_address(0);
    format!("kind: http, interval: 250ms, url: \"https://{host}:{PORT}/\", tls: {{insecure_skip_verify: true}}")
}

#[test]
fn keys_that_are_renewed_without_end_delay_nothing() {
    let own = rcgen::generate_simple_self_signed(["peer.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    withstood(
        "TLS 1.3: KeyUpdate without end",
        |plan| {
            probe(
                plan,
                &[https(), format!("kind: tcp, port: {PORT}, tls: {{insecure_skip_verify: true}}, expect: never")],
            )
        },
        |world| {
            let mut crew = Crew::default();
            let (config, hits) = (Arc::clone(&config), Arc::clone(&crew.hits));
            crew.serve(&world.strangers[0], PORT, move |stream| {
                let other = std::io::Error::other;
                let mut tls = ServerConnection::new(Arc::clone(&config)).map_err(other)?;
                while tls.is_handshaking() {
                    tls.complete_io(stream)?;
                }
                loop {
                    for _ in 0..100 {
                        tls.refresh_traffic_keys().map_err(other)?;
                    }
                    while tls.wants_write() {
                        tls.write_tls(stream)?;
                    }
                    hits.fetch_add(100, std::sync::atomic::Ordering::Relaxed);
                }
            });
            crew.attack(1000.0)
        },
    );
}

#[test]
fn a_peer_that_asks_to_negotiate_again_delays_nothing() {
    require(&[Need::Tool("openssl")]);
    let own = rcgen::generate_simple_self_signed(["peer.example".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (cert, key) = (file("cert.pem", &own.cert.pem()), file("key.pem", &own.signing_key.serialize_pem()));
    withstood(
        "TLS 1.2: renegotiation without end",
        |plan| probe(plan, &[https()]),
        |world| {
            let (cert, key) = (cert.clone(), key.clone());
            let log = folder.path().join("log");
            let output = fs::File::create(&log).unwrap();
            let mut server = world.strangers[0].run(move || {
                Command::new("openssl")
                    .args(["s_server", "-tls1_2", "-accept", &PORT.to_string(), "-legacy_renegotiation", "-cert"])
                    .arg(cert)
                    .arg("-key")
                    .arg(key)
                    .stdin(Stdio::piped())
                    .stdout(output.try_clone().unwrap())
                    .stderr(output)
                    .spawn()
                    .unwrap()
            });
            let mut asks = server.stdin.take().unwrap();
            let mut crew = Crew::default();
            crew.join(&world.strangers[0], move || {
                thread::sleep(Duration::from_millis(1));
                asks.write_all(b"r\n").is_ok()
            });
            // It writes down each handshake that it asks for.
            let asked = move || fs::metadata(&log).unwrap().len() as f64;
            Underway::new(200.0, asked, vec![Box::new(Killed(server)), Box::new(crew)])
        },
    );
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
