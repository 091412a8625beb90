//! The real nginx and knotd, and the example receiver.

use std::{
    io::Read,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use crate::{root, stalls::Patience};

/// Cargo in the folder of the project.
pub fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(args).arg("--locked").current_dir(root());
    // What the cargo around us has set for one package alone would make build scripts run again, here and there.
    let own = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars().filter(|(name, _)| own(name)) {
        cargo.env_remove(name);
    }
    cargo
}

/// The example receiver, which `cargo test` builds as a test only.
pub fn webhook_receiver() -> PathBuf {
    // With an example, the dependencies have the features that they have in tests, so that none is compiled again.
    let args = ["build", "--quiet", "--workspace", "--bin", "webhook_receiver", "--example", "simulation"];
    assert!(cargo(&args).status().unwrap().success());
    let deps = std::env::current_exe().unwrap();
    deps.parent().unwrap().parent().unwrap().join("webhook_receiver")
}

/// A server program, ended when dropped.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program and waits until the port answers.
pub fn start(program: &str, args: &[&str], ready: SocketAddr) -> Server {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; install it (tests/run says how)"));
    let mut server = Server(child);
    let patience = Patience::of(Duration::from_secs(10));
    while TcpStream::connect(ready).is_err() {
        if let Some(status) = server.0.try_wait().unwrap() {
            let mut said = String::new();
            let _ = server.0.stderr.take().unwrap().read_to_string(&mut said);
            panic!("{program} ended with {status}: {said}");
        }
        assert!(!patience.is_over(), "{program} does not answer on {ready}");
        thread::sleep(Duration::from_millis(20));
    }
    server
}

/// nginx with these `server` blocks; `folder` is for its files.
pub fn nginx(folder: &Path, servers: &str, ready: SocketAddr) -> Server {
    let place = folder.display();
    let config = format!(
        "daemon off; master_process off; error_log stderr crit; pid {place}/nginx.pid;\n\
         events {{ worker_connections 512; }}\n\
         http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p;\n\
         fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n{servers}\n}}"
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, config).unwrap();
    start("nginx", &["-c", path.to_str().unwrap(), "-p", folder.to_str().unwrap()], ready)
}

/// knotd with the zone `example.com` of these records.
pub fn knot(folder: &Path, records: &str, addr: SocketAddr) -> Server {
    let place = folder.display();
    write_zone(folder, records);
    let config = format!(
        "server:\n  rundir: \"{place}\"\n  listen: {}@{}\n  udp-workers: 1\n  tcp-workers: 1\n\
         database:\n  storage: \"{place}/db\"\n\
         zone:\n  - domain: example.com\n    file: \"{place}/zone\"\n    zonefile-load: whole\n\
         log:\n  - target: stderr\n    any: error\n",
        addr.ip(),
        addr.port()
    );
    let path = folder.join("knot.conf");
    std::fs::write(&path, config).unwrap();
    start("knotd", &["-c", path.to_str().unwrap()], addr)
}

/// Writes the zone; the serial grows with each writing, as it must for knotd to take it.
pub fn write_zone(folder: &Path, records: &str) {
    static SERIAL: AtomicU32 = AtomicU32::new(1);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let soa = format!("@ 1 SOA ns hostmaster {serial} 60 60 60 1\n@ 1 NS ns\nns 1 A 127.0.0.1\n");
    std::fs::write(folder.join("zone"), format!("$ORIGIN example.com.\n{soa}{records}")).unwrap();
}

impl Server {
    /// Makes the program read its files again, by SIGHUP.
    pub fn reload(&self) {
        let status = Command::new("kill").args(["-HUP", &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}
