//! Real servers, and the product itself as a process.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use tokio::time::Instant;

use crate::space::Host;

/// A folder that anybody may read, gone when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("regionwatch-network-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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

/// Asks until there is an answer; gives up after 20 s.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
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

/// nginx on port 80 and unbound on port 53 of all addresses of a host.
pub(crate) struct Servers {
    _nginx: Process,
    _unbound: Process,
    _folder: Folder,
}

/// What [`Servers`] needs.
pub(crate) const PROGRAMS: [crate::privileges::Need; 2] =
    [crate::privileges::Need::Tool("nginx"), crate::privileges::Need::Tool("unbound")];

impl Servers {
    pub(crate) fn start(host: &Host) -> Self {
        let folder = Folder::new();
        let place = folder.path().display();
        let nginx = folder.write(
            "nginx.conf",
            &format!(
                "daemon off; master_process off; worker_processes 1; pid {place}/nginx.pid; error_log stderr;\n\
                 events {{ worker_connections 512; }}\n\
                 http {{ access_log off; client_body_temp_path {place}; proxy_temp_path {place};\n\
                 fastcgi_temp_path {place}; uwsgi_temp_path {place}; scgi_temp_path {place};\n\
                 server {{ listen 80; listen [::]:80; location / {{ return 200 \"fine\"; }} }} }}\n"
            ),
        );
        let unbound = folder.write(
            "unbound.conf",
            "server:\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n directory: \"/\"\n use-syslog: no\n\
             logfile: \"\"\n do-daemonize: no\n interface: 0.0.0.0\n interface: ::0\n port: 53\n num-threads: 1\n\
             access-control: 0.0.0.0/0 allow\n access-control: ::0/0 allow\n module-config: \"iterator\"\n\
             local-zone: \"example.com.\" static\n local-data: \"example.com. A 192.0.2.1\"\n\
             remote-control:\n control-enable: no\n",
        );
        let log = |name| folder.path().join(name);
        let servers = Self {
            _nginx: Process::start(host, &format!("exec nginx -p {place} -e stderr -c {nginx}"), &log("nginx.log")),
            _unbound: Process::start(host, &format!("exec unbound -d -c {unbound}"), &log("unbound.log")),
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
