//! The page, written in pieces so that it is never in memory as a whole.

use std::sync::Arc;

use super::{
    anchor::AnchorSeries,
    database::DatabaseSeries,
    families::{FAMILIES, Family, Scope},
    path::PathSeries,
    peer::PeerSeries,
    push::PushSeries,
    region::RegionSeries,
    samples::{Samples, Series, Sink},
    vantage::VantageSeries,
    votes::VoteSeries,
};
use crate::model::labels;

/// How much is written at once: large enough that the calls do not matter, small enough that memory does not.
const PIECE: usize = 24 << 10;

labels! {
    /// Which part of the metrics is asked for; the query parameter `collect`.
    #[derive(Default)]
    pub enum Collect {
        /// Everything.
        #[default]
        All = "all",
        /// The state only, for a scrape every second.
        State = "state",
        /// All but the state of peers, for a job beside the one that reads the state. What the instance says of itself is
        /// in both.
        Rest = "rest",
    }
}

/// The series that a configuration makes; replaced as a whole when it changes.
#[derive(Debug, Clone, Default)]
pub struct Exposed {
    /// Of paths.
    pub paths: Arc<[Arc<PathSeries>]>,
    /// Of peers, by kind of probe.
    pub peers: Arc<[Arc<PeerSeries>]>,
    /// Of peers as a whole.
    pub regions: Arc<[Arc<RegionSeries>]>,
    /// Of vote messages.
    pub votes: Arc<[Arc<VoteSeries>]>,
    /// Of pushes to Alertmanagers: those of [`Metrics::pushes`](super::Metrics::pushes) stay, whatever is given here.
    pub pushes: Arc<[Arc<PushSeries>]>,
    /// Of anchors.
    pub anchors: Arc<[Arc<AnchorSeries>]>,
    /// Of servers of databases.
    pub databases: Arc<[Arc<DatabaseSeries>]>,
}

impl Exposed {
    /// Writes what one row of a family has: `row` counts what is in its scope. `None` if there is no such row.
    fn write(&self, vantage: &Arc<VantageSeries>, family: &Family, row: usize, sink: Sink<'_>) -> Option<()> {
        let row = Row { row, name: family.name, sink };
        match family.scope {
            Scope::Vantage(write) => row.of(std::slice::from_ref(vantage), write),
            Scope::Path(write) => row.of(&self.paths, write),
            Scope::Peer(write) => row.of(&self.peers, write),
            Scope::Region(write) => row.of(&self.regions, write),
            Scope::Votes(write) => row.of(&self.votes, write),
            Scope::Anchor(write) => row.of(&self.anchors, write),
            Scope::Database(write) => row.of(&self.databases, write),
            Scope::Push(write) => row.of(&self.pushes, write),
        }
    }

    /// How many series there are, those included that have no value yet.
    pub(super) fn count(&self, vantage: &Arc<VantageSeries>) -> usize {
        let mut count = 0;
        for family in FAMILIES {
            let rows = (0..).map_while(|row| self.write(vantage, family, row, Sink::Count(&mut count)));
            rows.for_each(drop);
        }
        count
    }
}

struct Row<'a> {
    row: usize,
    name: &'a str,
    sink: Sink<'a>,
}

impl Row<'_> {
    fn of<S: Series>(self, all: &[Arc<S>], write: fn(&S, &mut Samples<'_>)) -> Option<()> {
        let series = all.get(self.row)?;
        write(series, &mut Samples::new(self.sink, self.name, series.labels()));
        Some(())
    }
}

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    head: Option<Vec<u8>>,
    vantage: Arc<VantageSeries>,
    exposed: Exposed,
    collect: Collect,
    family: usize,
    row: usize,
}

impl Page {
    /// A page that begins with `head`.
    pub(super) const fn new(head: Vec<u8>, vantage: Arc<VantageSeries>, exposed: Exposed, collect: Collect) -> Self {
        Self { head: Some(head), vantage, exposed, collect, family: 0, row: 0 }
    }

    /// Appends the next piece, about 24 KiB, and says whether more follows.
    pub fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(head) = self.head.take() {
            out.extend_from_slice(&head);
        }
        let end = out.len() + PIECE;
        while let Some(family) = FAMILIES.get(self.family) {
            if out.len() >= end {
                return true;
            }
            let before = out.len();
            if self.row == 0 {
                for part in ["# HELP ", family.name, " ", family.help, "\n# TYPE ", family.name, " ", family.kind, "\n"]
                {
                    out.extend_from_slice(part.as_bytes());
                }
            }
            let is_wanted = match self.collect {
                Collect::All => true,
                Collect::State => family.state,
                Collect::Rest => !family.state || matches!(family.scope, Scope::Vantage(_)),
            };
            if is_wanted && self.exposed.write(&self.vantage, family, self.row, Sink::Page(out)).is_some() {
                self.row += 1;
            } else {
                out.truncate(before);
                (self.family, self.row) = (self.family + 1, 0);
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
