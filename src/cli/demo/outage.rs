//! The outage of a region, and its end.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use tracing::{error, warn};

use super::{instance::start_sidecar, network::Network, servers, site::Site, world::REGIONS};
use crate::config::Config;

/// How long all regions run before the outage.
pub(super) const ALIVE: Duration = Duration::from_secs(10);

/// How often the outage looks for the ranking of the region at most, and how long it then waits for the others to read it.
const TRIES: u32 = 100;
const SPREAD: Duration = Duration::from_secs(2);

/// Takes a region down, and brings it up again.
pub(super) fn outage(
    mut victim: Site,
    config: &Result<Config, String>,
    network: &Network,
    revive_after: Option<Duration>,
) {
    thread::sleep(ALIVE - SPREAD);
    // Its own ranking decides who takes over, and a busy machine may need longer for that.
    for _ in 0..TRIES {
        if has_ranked(victim.page) {
            break;
        }
        thread::sleep(Duration::from_millis(200));
    }
    thread::sleep(SPREAD);
    let (region, address) = (victim.region(), victim.address);
    let silent = network.namespace(victim.place).is_some();
    warn!("{region} goes down now");
    victim.cut.send_replace(true);
    // Its instance dies with it: a Prometheus on this machine would reach its page whatever becomes of the network.
    drop(victim.until.take());
    let ports = victim.servers.as_ref().map_or((0, 0), |servers| (servers.web, servers.dns));
    if !silent {
        drop(victim.servers.take());
    }
    let Some(revive_after) = revive_after else {
        return stay();
    };
    thread::sleep(revive_after);
    let servers = match silent {
        true => Ok(()),
        false => servers::start(region, address, ports, true).map(|servers| victim.servers = Some(servers)),
    };
    let started = servers.map_err(|error| error.to_string()).and_then(|()| start_sidecar(&mut victim, network, config));
    if let Err(error) = started {
        error!("{region} cannot come back: {error}");
    }
    victim.cut.send_replace(false);
    warn!("{region} is back");
    stay();
}

/// Whether an instance ranks all other regions.
fn has_ranked(page: SocketAddr) -> bool {
    let ask = || -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&page, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /metrics?collect=state HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let ranked = ask().unwrap_or_default().matches("\nregionwatch_candidate_rank{").count();
    ranked + 1 >= REGIONS.len()
}

/// Keeps everything as it is until the process ends. A single wait may return at once.
fn stay() {
    loop {
        thread::park();
    }
}
