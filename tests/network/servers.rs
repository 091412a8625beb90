//! Real servers, and the product itself as a process.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;
use testkit::{needs::Need, space::Host, stalls::Patience};

/// A folder that anybody may read.
pub(crate) fn folder() -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// Writes a file, and returns its path.
pub(crate) fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A process in a host's namespace, killed when dropped, and by the kernel where the test itself is killed.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a shell command line; it must `exec` what it starts in the end. What it writes to stderr goes to a file.
    pub(crate) fn start(host: &Host, line: &str, log: &Path) -> Self {
        let (line, log) = (line.to_owned(), log.to_owned());
        Self(host.run(move || {
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "sh", "-c", &line])
                .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(log).unwrap())
                .spawn()
                .unwrap()
        }))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until there is an answer; gives up after 20 s that the machine gave.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let patience = Patience::of(Duration::from_secs(20));
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(!patience.is_over(), "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A page over HTTP/1.0, seen from inside of the namespace; `None` where nobody answers.
pub(crate) fn get(host: &Host, address: &str, path: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
    host.run(move || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        page.starts_with("HTTP/1.").then_some(page)
    })
}

/// nginx on port 80 and knotd on port 53 of all addresses of a host.
pub(crate) struct Servers {
    _nginx: Process,
    _knot: Process,
    _folder: TempDir,
}

/// What [`Servers`] needs.
pub(crate) const PROGRAMS: [Need; 3] = [Need::Tool("nginx"), Need::Tool("knotd"), Need::Tool("setpriv")];

impl Servers {
    pub(crate) fn start(host: &Host) -> Self {
        let folder = folder();
        let place = folder.path().display();
        let nginx = format!(
            "daemon off; master_process off; pid {place}/nginx.pid; error_log stderr crit;\n\
             events {{ worker_connections 512; }}\n\
             http {{ access_log off; client_body_temp_path {place}/b; proxy_temp_path {place}/p;\n\
             fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;\n\
             server {{ listen 80; listen [::]:80; location / {{ return 200 \"fine\"; }} }} }}\n"
        );
        let nginx = write(&folder, "nginx.conf", &nginx);
        let zone = "$ORIGIN example.com.\n@ 1 SOA ns hostmaster 1 60 60 60 1\n@ 1 NS ns\n\
                    ns 1 A 127.0.0.1\n@ 1 A 192.0.2.1\n";
        let zone = write(&folder, "zone", zone);
        let knot = format!(
            "server:\n  rundir: \"{place}\"\n  listen: [ 0.0.0.0@53, ::@53 ]\n  udp-workers: 1\n  tcp-workers: 1\n\
             database:\n  storage: \"{place}/db\"\n\
             zone:\n  - domain: example.com\n    file: \"{zone}\"\n\
             log:\n  - target: stderr\n    any: error\n"
        );
        let knot = write(&folder, "knot.conf", &knot);
        let log = |name| folder.path().join(name);
        let servers = Self {
            _nginx: Process::start(host, &format!("exec nginx -p {place} -e stderr -c {nginx}"), &log("nginx.log")),
            _knot: Process::start(host, &format!("exec knotd -c {knot}"), &log("knot.log")),
            _folder: folder,
        };
        for port in [80, 53] {
            wait_for(&format!("the server on port {port}"), || {
                host.run(move || TcpStream::connect(("127.0.0.1", port)).ok())
            });
        }
        servers
    }
}
