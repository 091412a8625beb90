//! Names of hosts, beside `getent ahosts`.

use std::{net::IpAddr, process::Command};

use regionwatch::model::Failure;

use crate::{servers, support::probing};

/// The addresses of a name by the resolver of the system.
fn getent(name: &str) -> Vec<IpAddr> {
    let output = Command::new("getent").args(["ahosts", name]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[tokio::test]
async fn names_lead_where_getent_says() {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut disagreed = Vec::new();
    for name in ["localhost", "LOCALHOST", "127.0.0.1", "::1", own.trim(), "no-such-name.invalid", "a.b.c.invalid."] {
        let addresses = getent(name);
        // Nothing listens there, so that the address that was tried is known.
        let probe = format!("kind: tcp, port: {}", servers::closed().port());
        let seen = probing(name, probe).run(1).await.remove(0);
        let agrees = match seen.failed.address {
            Some(address) => addresses.contains(&address),
            None => addresses.is_empty() && seen.outcome == Err(Failure::Resolve),
        };
        if !agrees {
            disagreed.push(format!("{name}: getent {addresses:?}, ours {:?} {}", seen.outcome, seen.failed));
        }
    }
    assert!(disagreed.is_empty(), "{disagreed:#?}");
}
