//! What a test needs of the machine it runs on: a skip that can be seen, or a failure where skipping is not allowed.
//!

use std::{
    env, fmt,
    os::unix::fs::MetadataExt,
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
            Self::Ping => {
                let range = std::fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
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

/// Whether all that a test needs is here. Where it is not, the test should return: the reason stands on stderr.
///
/// # Panics
/// Where something is missing and `CI` or `REGIONWATCH_REQUIRE_ALL` is set: a machine that is there to run all
/// tests must not pass by skipping them.
pub fn granted(needs: &[Need]) -> bool {
    let missing: Vec<_> = needs.iter().filter(|need| !need.met()).map(ToString::to_string).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    let strict = ["CI", "REGIONWATCH_REQUIRE_ALL"].iter().find(|name| env::var_os(name).is_some());
    if let Some(name) = strict {
        panic!("this test needs {missing}, and {name} is set, so it must not be skipped");
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Past the capture of a test's output, which would hide the notice of a test that passes.
    let notice = format!("SKIPPED {test}: needs {missing}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), notice.as_bytes());
    false
}
