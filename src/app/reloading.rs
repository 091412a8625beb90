//! Reading the configuration again while everything goes on.

use std::sync::Arc;

use tokio::{sync::oneshot, task::JoinHandle};

use crate::config::Loaded;

/// Reads the configuration again; the error is every mistake, one a line.
pub type Reload = Box<dyn Fn() -> Result<Loaded, String> + Send + Sync>;

/// A configuration that is being read again, and who waits for it. It is read on another thread, because files can
/// be slow, and measuring goes on meanwhile.
pub(super) struct Reloading {
    reload: Arc<Reload>,
    reading: Option<JoinHandle<Result<Loaded, String>>>,
    pub(super) waiting: Vec<oneshot::Sender<Result<(), String>>>,
    /// It was asked for again since it began, when the file may have changed.
    again: bool,
}

impl Reloading {
    /// Nothing is being read.
    pub(super) fn new(reload: Reload) -> Self {
        Self { reload: Arc::new(reload), reading: None, waiting: Vec::new(), again: false }
    }

    pub(super) fn begin(&mut self) {
        if self.reading.is_some() {
            self.again = true;
        } else {
            let reload = Arc::clone(&self.reload);
            self.reading = Some(tokio::task::spawn_blocking(move || reload()));
        }
    }

    /// The configuration, once it has been read; never where it is not being read.
    pub(super) async fn read(&mut self) -> Result<Loaded, String> {
        let loaded = match &mut self.reading {
            Some(reading) => reading.await.unwrap_or_else(|error| Err(error.to_string())),
            None => std::future::pending().await,
        };
        self.reading = None;
        loaded
    }

    /// Tells those who wait; or reads once more, where that was asked for meanwhile.
    pub(super) fn tell(&mut self, result: &Result<(), String>) {
        if std::mem::take(&mut self.again) {
            return self.begin();
        }
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
    }
}
