//! The system's trust store is read by the same deadline as the configuration, because it can lie on a file system that does
//! not answer.

use std::{path::PathBuf, sync::Arc};

use super::{error::RunError, reloading::Reload};
use crate::{config::Config, net::TlsContext, yaml::file};

/// Reads the trust store if this configuration needs it. A configuration that is read again does so too.
///
/// # Errors
/// It was not read in time, or cannot be read.
pub(super) fn trust_store(config: &Config, reload: Reload) -> Result<(Arc<TlsContext>, Reload), RunError> {
    let tls = Arc::<TlsContext>::default();
    if config.trusts_the_system() {
        let tls = Arc::clone(&tls);
        file::in_time(move || read(&tls)).and_then(|read| read).map_err(RunError::File)?;
    }
    let context = Arc::clone(&tls);
    let reload = Box::new(move || {
        let loaded = reload()?;
        if loaded.config.trusts_the_system() {
            read(&context)?;
        }
        Ok(loaded)
    });
    Ok((tls, reload))
}

fn read(tls: &TlsContext) -> Result<(), String> {
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().find_map(std::env::var_os);
    let place = named.map_or_else(|| PathBuf::from("/etc/ssl"), PathBuf::from);
    file::reading(&place, || tls.read_public_roots()).map_err(|error| error.to_string())
}
