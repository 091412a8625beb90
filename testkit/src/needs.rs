//! What a test needs of the machine it runs on. Where that is missing the test is ignored, or fails where all must run.

use std::{
    env, fmt, fs,
    os::unix::fs::MetadataExt,
    panic::resume_unwind,
    path::{Path, PathBuf},
    process::Command,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::root;

/// Something that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]

pub enum Need {
    /// To be root.
    Root,
    /// To make network namespaces.
    NetworkNamespaces,
    /// To make network namespaces with a TUN device, as root or in a user namespace.
    Tunnels,
    /// To send pings, with privileges or without.
    Ping,
    /// A program.
    Tool(&'static str),
    /// Something else, and whether it is there.
    Other(&'static str, bool),
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::NetworkNamespaces => f.write_str("network namespaces (CAP_SYS_ADMIN)"),
            Self::Tunnels => f.write_str("/dev/net/tun, and root or user namespaces"),
            Self::Ping => f.write_str("ping sockets (net.ipv4.ping_group_range, or CAP_NET_RAW)"),
            Self::Tool(name) => write!(f, "the program {name}"),
            Self::Other(name, _) => f.write_str(name),
        }
    }
}

impl Need {
    fn met(self) -> bool {
        match self {
            Self::Root => Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0),
            Self::NetworkNamespaces => {
                Command::new("unshare").args(["--net", "true"]).output().is_ok_and(|output| output.status.success())
            }
            Self::Tunnels => {
                let namespaces = ["--net", "--user --net"].iter().any(|flags| {
                    let unshare = Command::new("unshare").args(flags.split(' ')).arg("true").output();
                    unshare.is_ok_and(|output| output.status.success())
                });
                namespaces && fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok()
            }
            Self::Ping => {
                let range = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
                let open = range.split_whitespace().next_back().is_some_and(|last| last != "0");
                open || Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).is_ok()
            }
            Self::Tool(name) => program(name).is_some(),
            Self::Other(_, met) => met,
        }
    }
}

/// Where `tests/run` puts what `tests/tools` names: a virtual environment of Python with a `node_modules` in it.
pub fn installed() -> PathBuf {
    root().join("target/tools")
}

/// Where a program is.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let installed = installed().join("bin");
    // Daemons live in the sbin folders, which are not on everybody's PATH.
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into(), installed]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// What a machine lacks for a test: with it as the panic, a test of [`harness`](crate::harness) counts as ignored.
#[derive(Debug)]
pub struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "needs {}", self.0)
    }
}

/// Whether all that a test needs is here.
///
/// # Errors
/// What is missing.
///
/// # Panics
/// Where something is missing and `CI` or `REGIONWATCH_REQUIRE_ALL` is set: a machine that is there to run all tests must
/// not pass by ignoring them.
pub fn check(needs: &[Need]) -> Result<(), Missing> {
    let missing: Vec<_> = needs.iter().filter(|need| !need.met()).map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing = Missing(missing.join(", "));
    if let Some(name) = ["CI", "REGIONWATCH_REQUIRE_ALL"].iter().find(|name| env::var_os(name).is_some()) {
        panic!("this test {missing}, and {name} is set, so it must not be ignored");
    }
    Err(missing)
}

/// Ends a test here, as ignored, where something that it needs is missing.
///
/// # Panics
/// As [`check`] does.
pub fn require(needs: &[Need]) {
    if let Err(missing) = check(needs) {
        end(missing);
    }
}

/// Ends a test here, as ignored even where all must run: for what a machine cannot be asked to have.
pub fn ignore(missing: &str) -> ! {
    end(Missing(missing.to_owned()))
}

/// Not by `panic!`, which would print a message and a backtrace.
fn end(missing: Missing) -> ! {
    resume_unwind(Box::new(missing))
}
