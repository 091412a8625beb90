//! `doctor`: what this environment provides, and how to fix it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::ExitCode,
    time::Duration,
};

use super::{check::table, report};
use crate::{
    net::{
        Datagram, ErrorQueueEvent, PingSocketKind, ReadMore, SocketOptions, TimestampingGuard, open_ping_socket,
        raise_descriptor_limit,
    },
    server,
};

/// One line of the table.
struct Finding {
    what: &'static str,
    fine: bool,
    state: String,
    fix: &'static str,
}

const PING_FIX: &str = "sysctl -w net.ipv4.ping_group_range=\"0 2147483647\" (Kubernetes: securityContext.sysctls \
                        of the pod; docker run --sysctl), or run with CAP_NET_RAW as root";

/// Prints the table. Exits with 0 if nothing is missing, otherwise with 1.
pub(super) fn run() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return report::failed(format_args!("cannot start: {error}"));
        }
    };
    let findings = runtime.block_on(examine());
    let rows: Vec<[String; 4]> = findings
        .iter()
        .map(|finding| {
            let (sign, fix) = if finding.fine { ("ok", "") } else { ("missing", finding.fix) };
            [sign.to_owned(), finding.what.to_owned(), finding.state.clone(), fix.to_owned()]
        })
        .collect();
    let mut text = String::new();
    table(&mut text, &["", "FEATURE", "STATE", "FIX"], &rows);
    let missing = findings.iter().filter(|finding| !finding.fine).count();
    text.push_str(match missing {
        0 => "\nregionwatch can use everything here.\n",
        _ => "\nA missing item limits only what it names; everything else works.\n",
    });
    let written = report::print(&text).is_ok();
    if missing == 0 && written { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn examine() -> Vec<Finding> {
    let keeper = TimestampingGuard::hold();
    vec![
        ping("icmp over IPv4", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ping("icmp over IPv6", IpAddr::V6(Ipv6Addr::LOCALHOST)),
        timestamps(&keeper).await,
        ipv6(),
        descriptors(),
        cpu_quota(),
        resolver(),
    ]
}

fn ping(what: &'static str, address: IpAddr) -> Finding {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ping_group_range").unwrap_or_default();
    let range = range.split_whitespace().collect::<Vec<_>>().join(" ");
    match open_ping_socket(address, SocketOptions::default()) {
        Ok((_, PingSocketKind::Datagram)) => {
            Finding { what, fine: true, state: format!("unprivileged (ping_group_range \"{range}\")"), fix: "" }
        }
        Ok((_, PingSocketKind::Raw)) => {
            let state = format!("raw socket, because ping_group_range is \"{range}\"");
            Finding { what, fine: true, state, fix: "" }
        }
        Err(error) => {
            let state = format!("{error} (ping_group_range \"{range}\"): icmp probes report \"local\"");
            let fix = if error.kind() == std::io::ErrorKind::PermissionDenied {
                PING_FIX
            } else {
                "give this host an address of this family, or set address_family on the targets"
            };
            Finding { what, fine: false, state, fix }
        }
    }
}

/// Sends a datagram to itself and checks both timestamps.
async fn timestamps(keeper: &TimestampingGuard) -> Finding {
    const WHAT: &str = "kernel timestamps";
    const FIX: &str = "run on a Linux kernel rather than a user-space one (gVisor); without timestamps, latencies \
                       include the scheduling delays of this process";
    let missing = |state: &str| Finding { what: WHAT, fine: false, state: state.to_owned(), fix: FIX };
    if !keeper.available() {
        return missing("the kernel rejects SO_TIMESTAMPING");
    }
    let exchange = async {
        let peer = UdpSocket::bind("127.0.0.1:0").ok()?;
        peer.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        let socket = Datagram::udp(peer.local_addr().ok()?, SocketOptions::default()).ok()?;
        socket.send(b"departure").ok()?;
        let mut buffer = [0; 64];
        let sent = matches!(socket.try_error_queue(&mut buffer), Ok(ErrorQueueEvent::Sent { .. }));
        let (_, from) = peer.recv_from(&mut buffer).ok()?;
        // The kernel enables timestamps with a delay, which a busy host makes longer.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            peer.send_to(b"arrival", from).ok()?;
            let message = socket.until(|| socket.try_receive(&mut buffer).map(ReadMore::Last)).await.ok()?;
            if message.timestamp.is_some() {
                return Some((sent, true));
            }
        }
        Some((sent, false))
    };
    match tokio::time::timeout(Duration::from_secs(5), exchange).await {
        Ok(Some((true, true))) => Finding { what: WHAT, fine: true, state: "on send and receive".to_owned(), fix: "" },
        Ok(Some((sent, received))) => missing(&format!("on send: {}, on receive: {}", yes_no(sent), yes_no(received))),
        _ => missing("a datagram to ourselves did not arrive"),
    }
}

const fn yes_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn ipv6() -> Finding {
    const WHAT: &str = "IPv6";
    // Connecting a UDP socket looks up a route and sends nothing; the address is reserved for documentation.
    let outside = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);
    let route = UdpSocket::bind("[::]:0").and_then(|socket| socket.connect(outside));
    match route {
        Ok(()) => Finding { what: WHAT, fine: true, state: "route available".to_owned(), fix: "" },
        Err(error) => Finding {
            what: WHAT,
            fine: false,
            state: format!("no route ({error})"),
            fix: "needed only for targets with IPv6 addresses; for others, set address_family: v4",
        },
    }
}

fn descriptors() -> Finding {
    const ENOUGH: u64 = 4096;
    let limit = raise_descriptor_limit();
    Finding {
        what: "open files",
        fine: limit.as_ref().is_ok_and(|limit| *limit >= ENOUGH),
        state: limit.map_or_else(|error| error.to_string(), |limit| format!("up to {limit}")),
        fix: "ulimit -Hn 65536, LimitNOFILE=65536 (systemd); regionwatch check shows what a configuration needs",
    }
}

fn cpu_quota() -> Finding {
    let quota = server::cpu_quota();
    let state = quota.map_or_else(
        || "no quota".to_owned(),
        |cores| format!("{:.0}% of a core; kernel timestamps keep latencies accurate", cores * 100.0),
    );
    Finding {
        what: "CPU quota",
        fine: quota.is_none_or(|cores| cores >= 0.02),
        state,
        fix: "give at least 2% of a core (cpu limit 20m); otherwise probes miss their scheduled starts",
    }
}

fn resolver() -> Finding {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<_> =
        text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")).map(str::trim).collect();
    Finding {
        what: "name servers",
        fine: !servers.is_empty(),
        state: if servers.is_empty() { "none in /etc/resolv.conf".to_owned() } else { servers.join(", ") },
        fix: "needed only for targets with host names; mount an /etc/resolv.conf",
    }
}
