//! The instances of the regions.

use std::{collections::BTreeMap, net::TcpListener, thread};

use tokio::sync::oneshot;
use tracing::{
    error,
    subscriber::{NoSubscriber, with_default},
};

use super::{network::Network, site::Site};
use crate::{app, config::Config};

/// Runs an instance until it is stopped.
pub(super) fn run_sidecar(
    listener: TcpListener,
    config: Config,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), app::RunError> {
    let again = crate::config::Loaded { config: config.clone(), warnings: Vec::new(), locations: BTreeMap::new() };
    app::run(listener, config, app::ConfigSource::Demo, Box::new(move || Ok(again.clone())), stop)
}

/// Starts the instance of a simulated region.
pub(super) fn start_sidecar(site: &mut Site, network: &Network, config: &Result<Config, String>) -> Result<(), String> {
    let (region, config) = (site.region(), config.clone()?);
    let listener = app::bind(site.page).map_err(|error| error.to_string())?;
    let (until, ended) = oneshot::channel::<()>();
    let run = move || {
        let ended = async { drop(ended.await) };
        // The log is that of one vantage.
        if let Err(error) = with_default(NoSubscriber::default(), || run_sidecar(listener, config, ended)) {
            error!("the sidecar of {region} stopped: {error}");
        }
    };
    let spawn = || thread::Builder::new().name(format!("sidecar-{region}")).spawn(run);
    network.inside(site.place, spawn).map_err(|error| error.to_string())?;
    site.until = Some(until);
    Ok(())
}
