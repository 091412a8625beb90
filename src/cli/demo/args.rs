//! The arguments of the demo.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::builder::PossibleValuesParser;

use super::world::REGIONS;
use crate::yaml::units;

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Address to serve on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9877", value_parser = address)]
    pub(super) listen: SocketAddr,
    /// Run a voting sidecar in every region, and simulate an outage of this region after 10 s.
    #[arg(long, value_name = "REGION", value_parser = PossibleValuesParser::new(REGIONS.into_iter().skip(1)))]
    pub(super) kill: Option<String>,
    /// End the outage after this time, such as 1m.
    #[arg(long, value_name = "DURATION", requires = "kill", value_parser = units::duration)]
    pub(super) revive_after: Option<Duration>,
    /// URL of an Alertmanager to push to; repeatable.
    #[arg(long, value_name = "URL")]
    pub(super) alertmanager: Vec<String>,
    /// Sign orders to fail over, and write the regions' public keys to this file, for a webhook receiver.
    #[arg(long, value_name = "FILE", requires = "kill")]
    pub(super) keys: Option<PathBuf>,
    /// Simulate the regions on loopback addresses, as where the kernel permits no network namespaces: without icmp and tcp.
    #[arg(long)]
    pub(super) loopback: bool,
}

/// An address and a port; an error names the port in its example.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port: u16 = text.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(9877);
        format!("not an address and a port; write it such as 127.0.0.1:{port}")
    })
}
