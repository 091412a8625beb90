//! Reading the configuration again while everything goes on.

use std::sync::Arc;

use tokio::{sync::oneshot, task::JoinHandle};

use crate::config::{Config, Loaded};

/// Reads the configuration again; the error is every mistake, one a line.
pub type Reload = Box<dyn Fn() -> Result<Loaded, String> + Send + Sync>;

/// A configuration that is being read again, and the requests that wait for it. It is read on another thread, because files can
/// be slow, and measuring goes on meanwhile.
pub(super) struct Reloading {
    reload: Arc<Reload>,
    reading: Option<JoinHandle<Result<Loaded, String>>>,
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
    /// It was asked for again since it began, when the file may have changed.
    again: bool,
}

impl Reloading {
    /// Nothing is being read.
    pub(super) fn new(reload: Reload) -> Self {
        Self { reload: Arc::new(reload), reading: None, waiting: Vec::new(), again: false }
    }

    /// Reads the configuration, and sends the result to this sender.
    pub(super) fn request(&mut self, reply: oneshot::Sender<Result<(), String>>) {
        self.waiting.push(reply);
        self.begin();
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

    /// Answers the requests; or reads once more, if that was requested meanwhile.
    pub(super) fn finish(&mut self, result: &Result<(), String>) {
        if std::mem::take(&mut self.again) {
            return self.begin();
        }
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
    }
}

/// Rejects changes of settings that need a restart: one line each, with its place and both values.
pub(super) fn check_restart_only(running: &Config, loaded: &Loaded) -> Result<(), String> {
    let pairs = running.restart_only().zip(loaded.config.restart_only());
    let changed = pairs.filter(|((_, is), (_, asked))| is != asked).map(|((key, is), (_, asked))| {
        let place = loaded.locations.get(key).map_or("configuration", String::as_str);
        format!("{place}: {key}: is {is} and cannot become {asked} while running; restart instead")
    });
    let changed: Vec<_> = changed.collect();
    if changed.is_empty() { Ok(()) } else { Err(changed.join("\n")) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_restart_only_setting_is_reported_with_its_place_and_both_values() {
        let load = |text: &str| {
            let peers = "peers: [{region: b, targets: [{host: h, probes: [{kind: icmp}]}]}]\n";
            Config::load(Some((Path::new("c.yaml"), &format!("{text}{peers}"))), []).unwrap()
        };
        let running = load("region: a\nlisten: 127.0.0.1:1\nenable_lifecycle: true\nwindow: 1m\n").config;
        let refused = |text: &str| check_restart_only(&running, &load(text)).err().unwrap_or_default();
        assert_eq!(refused("region: a\nlisten: 127.0.0.1:1\nenable_lifecycle: true\n"), "");
        assert_eq!(
            refused("zone: eu\nregion: c\nlisten: 127.0.0.1:2\nlog: {level: warn}\nbuckets: [0.5]\n"),
            "c.yaml:2:9: region: is a and cannot become c while running; restart instead\n\
             c.yaml:3:9: listen: is 127.0.0.1:1 and cannot become 127.0.0.1:2 while running; restart instead\n\
             c.yaml:5:10: buckets: is [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, \
             0.5, 1.0] and cannot become [0.5] while running; restart instead\n\
             c.yaml: enable_lifecycle: is true and cannot become false while running; restart instead\n\
             c.yaml:4:14: log.level: is info and cannot become warn while running; restart instead"
        );
    }
}
