//! Network namespaces without names, and the two that the delay line joins.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use super::{Result, sys};

/// A network namespace that lives as long as this value and the processes in it.
pub struct Namespace(File);

impl Namespace {
    /// Makes a namespace whose loopback device is up, without IPv6, where everyone may send echo requests.
    pub fn new() -> Result<Self> {
        let file = std::thread::spawn(sys::unshare_net).join().map_err(|_| "thread panicked")??;
        let namespace = Self(file);
        namespace.ip(&["link", "set", "lo", "up"])?;
        namespace.set("ipv4/ping_group_range", "0 2147483647")?;
        // Neighbour discovery and router solicitations would only be noise on the line. Absent where IPv6 is off.
        drop(namespace.set("ipv6/conf/all/disable_ipv6", "1"));
        Ok(namespace)
    }

    /// The handle for [`sys::place`].
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Runs the function on a thread inside the namespace. What it opens stays in the namespace.
    pub fn run<T: Send>(&self, function: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    sys::enter_net(&self.0)?;
                    function()
                })
                .join()
                .map_err(|_| "a thread in the namespace panicked")?
        })
    }

    /// Runs `ip`.
    pub fn ip(&self, arguments: &[&str]) -> Result<()> {
        self.run(|| {
            let output = Command::new("ip").args(arguments).output().map_err(|e| format!("ip: {e}"))?;
            if output.status.success() {
                return Ok(());
            }
            Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into())
        })
    }

    /// Sets a variable under `/proc/sys/net`, which shows those of the reader's namespace.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.run(|| fs::write(format!("/proc/sys/net/{name}"), value).map_err(|e| format!("{name}: {e}").into()))
    }

    /// Connects from inside the namespace.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        self.run(|| {
            let stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(15)))?;
            Ok(stream)
        })
    }
}

/// The name of the TUN device in either namespace.
pub const DEVICE: &str = "rig0";
const PROBER: Ipv4Addr = Ipv4Addr::new(10, 76, 0, 1);

/// The address of the server behind the n-th delay.
pub fn server_address(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, u8::try_from(n + 1).unwrap_or(u8::MAX), 1)
}

/// Two namespaces and their ends of the line.
pub struct Pair {
    /// Where the program under test runs.
    pub prober: Namespace,
    /// Where the servers run.
    pub servers: Namespace,
}

impl Pair {
    /// Makes both namespaces with a device each; returns the ends for the delay line, the prober's first.
    pub fn new(delays: usize) -> Result<(Self, File, File)> {
        let prober = Namespace::new()?;
        let near = prober.run(|| Ok(sys::open_tun(DEVICE)?))?;
        prober.ip(&["addr", "add", &format!("{PROBER}/32"), "dev", DEVICE])?;
        prober.ip(&["link", "set", DEVICE, "up"])?;
        prober.ip(&["route", "add", "10.77.0.0/16", "dev", DEVICE, "src", &PROBER.to_string()])?;

        let servers = Namespace::new()?;
        let far = servers.run(|| Ok(sys::open_tun(DEVICE)?))?;
        for n in 0..delays {
            servers.ip(&["addr", "add", &format!("{}/32", server_address(n)), "dev", DEVICE])?;
        }
        servers.ip(&["link", "set", DEVICE, "up"])?;
        servers.ip(&["route", "add", &format!("{PROBER}/32"), "dev", DEVICE])?;
        Ok((Self { prober, servers }, near, far))
    }
}
