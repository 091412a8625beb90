//! Real servers to be measured: nginx and knotd.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::{
    needs::{Need::Tool, require},
    process::{Running, eventually, free, write},
};

/// A web server, with and without TLS, and a DNS server.
pub struct Peers {
    pub web: SocketAddr,
    pub secure: SocketAddr,
    pub dns: SocketAddr,
    _running: [Running; 2],
}

/// Starts them; see [`require`].
pub fn start(folder: &Path) -> Peers {
    require(&[Tool("nginx"), Tool("knotd")]);
    let (web, secure, dns) = (free(), free(), free());
    let place = folder.display();
    write_chain(folder);
    let nginx = write(
        folder,
        "nginx.conf",
        &format!(
            "daemon off; master_process off; error_log stderr crit; pid {place}/nginx.pid;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p;\n\
             fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n\
             server {{ listen {web}; location / {{ return 200 ok; }} }}\n\
             server {{ listen {secure} ssl http2; ssl_certificate {place}/cert.pem;\n\
             ssl_certificate_key {place}/key.pem; location / {{ return 200 ok; }} }} }}\n"
        ),
    );
    write(
        folder,
        "zone",
        "$ORIGIN example.com.\n@ 60 SOA ns hostmaster 1 60 60 60 60\n@ 60 NS ns\nns 60 A 127.0.0.1\napp 60 A 192.0.2.7\n",
    );
    let knot = write(
        folder,
        "knot.conf",
        &format!(
            "server:\n  rundir: \"{place}\"\n  listen: {}@{}\n\
             database:\n  storage: \"{place}/db\"\n\
             zone:\n  - domain: example.com\n    file: \"{place}/zone\"\n",
            dns.ip(),
            dns.port()
        ),
    );
    let running = [
        Running::start("nginx", &["-c", &nginx, "-p", folder.to_str().unwrap()], &[]),
        Running::start("knotd", &["-c", &knot], &[]),
    ];
    for (addr, server) in [(web, &running[0]), (dns, &running[1])] {
        eventually(&format!("{addr} answers; it said {}", server.said()), Duration::from_secs(10), || {
            TcpStream::connect(addr).ok()
        });
    }
    Peers { web, secure, dns, _running: running }
}

/// A certificate of an intermediate authority, as servers have them: `ca.pem`, `cert.pem` with the chain, `key.pem`.
fn write_chain(folder: &Path) {
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, KeyPair::generate().unwrap())
    };
    let (params, key) = authority("Root");
    let root = CertifiedIssuer::self_signed(params, key).unwrap();
    let (params, key) = authority("Intermediate");
    let between = CertifiedIssuer::signed_by(params, key, &root).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["peer.example".to_owned()]).unwrap().signed_by(&key, &between).unwrap();
    write(folder, "ca.pem", &root.pem());
    write(folder, "cert.pem", &(leaf.pem() + &between.pem()));
    write(folder, "key.pem", &key.serialize_pem());
}

/// A configuration that measures them by all four kinds, with TLS, and as a sidecar.
pub fn configuration(peers: &Peers, folder: &Path, listen: SocketAddr, extra: &str) -> String {
    let Peers { web, secure, dns, .. } = peers;
    format!(
        "region: here\nlisten: {listen}\n{extra}\npeers:\n\
         \x20 - region: there\n    location: {{latitude: 40.7, longitude: -74}}\n    targets:\n\
         \x20     - name: edge-a\n        host: 127.0.0.1\n        probes:\n\
         \x20         - {{kind: icmp, interval: 100ms}}\n\
         \x20         - {{kind: tcp, port: {}, interval: 100ms}}\n\
         \x20         - {{kind: dns, port: {}, query: app.example.com, record: A, interval: 100ms, expect: {{answers: [192.0.2.7]}}}}\n\
         \x20         - {{kind: http, url: \"http://{web}/\", interval: 100ms, expect: {{body: ok}}}}\n\
         \x20     - name: edge-b\n        host: 127.0.0.1\n        probes:\n\
         \x20         - {{kind: http, url: \"https://{secure}/\", interval: 100ms, tls: {{server_name: peer.example, ca_file: \"{}/ca.pem\"}}}}\n\
         \x20         - {{kind: http, sidecar: true, url: \"http://{web}/\", interval: 100ms}}\n",
        web.port(),
        dns.port(),
        folder.display()
    )
}
