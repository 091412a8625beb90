//! The databases: what was read of their servers, and the series of it.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use super::topology::Topology;
use crate::{
    config::{self, DatabaseServer},
    decision::{Now, Vantage},
    metrics::{DatabaseSeries, Metrics},
    model::{DatabaseEvent, DatabaseLoss, DatabaseNews, DatabaseReport, PathId, Promotion, Region, Sample},
    replication::{Database, Promoted},
    status::DatabaseView,
};

/// A database and the series of its servers.
#[derive(Debug)]
struct Watched {
    database: Database,
    series: Vec<Arc<DatabaseSeries>>,
    /// The last change of the primary.
    promotion: Option<Promotion>,
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
            let new = |server: &DatabaseServer| metrics.database(&database.name, &server.region, database.rpo);
            let series: Vec<_> = database.servers.iter().map(new).collect();
            self.paths.extend(slots.iter().map(|slot| slot.id).zip(series.iter().cloned()));
            self.watched.push(Watched { database: Database::new(series.len()), series, promotion: None });
        }
    }

    /// The series of all servers.
    pub(super) fn series(&self) -> impl Iterator<Item = &Arc<DatabaseSeries>> {
        self.watched.iter().flat_map(|watched| &watched.series)
    }

    /// Takes what a prober has learnt. Says whether another server has become the primary.
    pub(super) fn handle(
        &mut self,
        event: &DatabaseEvent,
        configured: &[config::Database],
        now: Now,
    ) -> Option<&Promotion> {
        let Watched { database, series, promotion } = self.watched.get_mut(event.database)?;
        let promoted = database.handle(&event.news);
        if let DatabaseNews::Read { server, .. } = event.news
            && let Some(series) = series.get(server)
        {
            series.show(&database.status(server, now.instant));
        }
        let Promoted { from, to, lost } = promoted?;
        let region = |server: usize| Some(configured.get(event.database)?.servers.get(server)?.region.clone());
        *promotion = Some(Promotion { from: region(from)?, to: region(to)?, at: now.unix, lost });
        if let Some(series) = series.get(to) {
            series.set_lost(lost.map(|lost| lost.tokens));
        }
        promotion.as_ref()
    }

    /// What is known of each database. `onset` is when the first probe of a region was sent that had no answer, if it is failing.
    pub(super) fn reports(
        &self,
        configured: &[config::Database],
        onset: impl Fn(&Region) -> Option<Instant>,
        now: Instant,
    ) -> Vec<DatabaseReport> {
        let report = |(configured, watched): (&config::Database, &Watched)| {
            let Watched { database, promotion, .. } = watched;
            let servers: Vec<_> = configured.servers.iter().map(|server| server.region.clone()).collect();
            let onset = database.last_primary().and_then(|primary| onset(servers.get(primary)?));
            let loss = |(place, region): (usize, &Region)| Some((region.clone(), database.loss(place, onset, now)?));
            let loss = DatabaseLoss {
                database: configured.name.clone(),
                primary: database.primary(onset, now).and_then(|primary| servers.get(primary).cloned()),
                replicas: servers.iter().enumerate().filter_map(loss).collect(),
            };
            DatabaseReport { loss, servers, rpo: configured.rpo, promotion: promotion.clone() }
        };
        configured.iter().zip(&self.watched).map(report).collect()
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
    pub(super) fn views(&self, vantage: &Vantage, now: Now, configured: &[config::Database]) -> Vec<DatabaseView> {
        let servers = |(number, (database, watched)): (usize, (&config::Database, &Watched))| {
            let config::Database { name, servers, .. } = database;
            let view = |(place, server): (usize, &DatabaseServer)| DatabaseView {
                database: name.clone(),
                region: server.region.clone(),
                status: watched.database.status(place, now.instant),
                loss: vantage.loss(number, &server.region, now.instant),
            };
            servers.iter().enumerate().map(view).collect::<Vec<_>>()
        };
        configured.iter().zip(&self.watched).enumerate().flat_map(servers).collect()
    }

    /// Brings the gauges up to date.
    pub(super) fn show(&self, vantage: &Vantage, configured: &[config::Database], now: Instant) {
        for (number, (Watched { database, series, .. }, configured)) in self.watched.iter().zip(configured).enumerate()
        {
            for (place, (series, server)) in series.iter().zip(&configured.servers).enumerate() {
                series.show(&database.status(place, now));
                series.show_loss(vantage.loss(number, &server.region, now));
            }
        }
    }
}
