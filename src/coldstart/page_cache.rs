//! What of the images is in the page cache when a container starts.

use std::{fs, io};

use super::error::ColdstartError;
use crate::model::labels;

labels! {
    /// The page cache at a start.
    pub enum PageCache {
        /// What an earlier start read is there still.
        Warm = "warm",
        /// It is emptied before each start, as on a node that has just pulled the image or was rebooted.
        Cold = "cold",
    }
}

/// The kernel's switch (Documentation/admin-guide/sysctl/vm.rst, `drop_caches`); 1 is the page cache.
const SWITCH: &str = "/proc/sys/vm/drop_caches";

impl PageCache {
    /// Empties the page cache of this host, if it is to be cold. What is not written yet stays.
    pub(super) fn prepare(self) -> Result<(), ColdstartError> {
        match self {
            Self::Warm => Ok(()),
            Self::Cold => fs::write(SWITCH, "1").map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ColdstartError::Invalid(format!(
                    "--page-cache cold needs to write {SWITCH}, which only root of the host may; run it as root, or leave it out"
                )),
                _ => ColdstartError::Local(error),
            }),
        }
    }

    /// Has the layers written that were made a moment ago, so that they can leave the page cache.
    pub(super) async fn settle(self) -> Result<(), ColdstartError> {
        if self == Self::Cold {
            tokio::process::Command::new("sync").status().await?;
        }
        Ok(())
    }
}
