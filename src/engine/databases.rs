//! The databases: what was read of their servers, and the series of it.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::topology::Topology;
use crate::{
    config::{self, DatabaseServer},
    metrics::{DatabaseSeries, Metrics},
    model::{DatabaseEvent, DatabaseNews, PathId, Sample},
    replication::Database,
    status::DatabaseView,
};

/// A database and the series of its servers.
#[derive(Debug)]
struct Watched {
    database: Database,
    series: Vec<Arc<DatabaseSeries>>,
}

/// Every database of the configuration, in its order.
#[derive(Debug, Default)]
pub(super) struct Databases {
    watched: Vec<Watched>,
    /// The series of each server, by the number that its probes have.
    paths: HashMap<PathId, Arc<DatabaseSeries>>,
}

impl Databases {
    /// Takes the databases of a topology. They do not change while the process runs.
    pub(super) fn reconfigure(&mut self, topology: &Topology, metrics: &Metrics) {
        if !self.watched.is_empty() {
            return;
        }
        for (database, slots) in topology.config.databases.iter().zip(&topology.databases) {
            let new = |server: &DatabaseServer| metrics.database(&database.name, &server.region);
            let series: Vec<_> = database.servers.iter().map(new).collect();
            self.paths.extend(slots.iter().map(|slot| slot.id).zip(series.iter().cloned()));
            self.watched.push(Watched { database: Database::new(series.len()), series });
        }
    }

    /// The series of all servers.
    pub(super) fn series(&self) -> impl Iterator<Item = &Arc<DatabaseSeries>> {
        self.watched.iter().flat_map(|watched| &watched.series)
    }

    /// Takes what a prober has learnt.
    pub(super) fn handle(&mut self, event: &DatabaseEvent, now: Instant) {
        let Some(Watched { database, series }) = self.watched.get_mut(event.database) else { return };
        database.handle(&event.news);
        if let DatabaseNews::Read { server, .. } = event.news
            && let Some(series) = series.get(server)
        {
            series.show(&database.status(server, now));
        }
    }

    /// Whether these probes are those of a database.
    pub(super) fn has(&self, path: PathId) -> bool {
        self.paths.contains_key(&path)
    }

    /// Counts a probe of a server.
    pub(super) fn count(&self, sample: &Sample) {
        if let Some(series) = self.paths.get(&sample.path) {
            series.record(&sample.outcome);
        }
    }

    /// A copy of what is known of each server, for the status page.
    pub(super) fn views(&self, now: Instant, configured: &[config::Database]) -> Vec<DatabaseView> {
        let servers = |(config::Database { name, servers, .. }, watched): (&config::Database, &Watched)| {
            let view = |(place, server): (usize, &DatabaseServer)| DatabaseView {
                database: name.clone(),
                region: server.region.clone(),
                status: watched.database.status(place, now),
            };
            servers.iter().enumerate().map(view).collect::<Vec<_>>()
        };
        configured.iter().zip(&self.watched).flat_map(servers).collect()
    }

    /// Brings the gauges up to date.
    pub(super) fn show(&self, now: Instant) {
        for Watched { database, series } in &self.watched {
            for (server, series) in series.iter().enumerate() {
                series.show(&database.status(server, now));
            }
        }
    }
}
