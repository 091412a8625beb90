//! What operators have stated of regions, as far as this vantage knows.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::Vantage;
use crate::{
    decision::{
        Now, Remembered, Restriction, StateChange, Stated, StatementNews,
        execution::files_of,
        operator_order::is_by_operator,
        statements::{Statements, Taken},
        times::Times,
    },
    model::{Blocked, FailoverMode, Region},
    signing::{Action, Command},
};

/// How long a vantage that starts waits for the votes of another one before it takes its own record for what operators have
/// stated.
pub(super) const UNHEARD_FOR: Duration = Duration::from_secs(30);

impl Vantage {
    /// The statement of an operator that decides whether a region may be failed over now.
    pub fn statement(&self, region: &Region, now: Instant) -> Option<&Command> {
        self.statements.of(region, now)
    }

    /// Where it comes from that a region may not be failed over; a maintenance outweighs the rest.
    pub fn restrictions(&self, region: &Region, now: Instant) -> Vec<Restriction> {
        let own = self.position(region).map(|n| self.peers[n].mode);
        let (files, others) = files_of(region, own, &self.votes, now);
        let mode = self.statements.mode(region, files, now);
        let stated = self.statement(region, now).filter(|command| command.restricts());
        let files = own.map(|own| (self.region(), own)).into_iter().chain(others);
        let files = files.filter(|(_, theirs)| *theirs == mode && mode != FailoverMode::Armed);
        let files = files.map(|(vantage, mode)| Restriction::File { vantage: vantage.clone(), mode });
        stated.cloned().map(Restriction::Command).into_iter().chain(files).collect()
    }

    /// The vantages whose files keep a region from being failed over for this reason.
    pub(super) fn blocking_files(&self, blocked: Option<Blocked>, region: &Region, now: Instant) -> Vec<Region> {
        if !matches!(blocked, Some(Blocked::Disarmed | Blocked::Maintenance)) {
            return Vec::new();
        }
        let vantage = |restriction| match restriction {
            Restriction::File { vantage, .. } => Some(vantage),
            Restriction::Command(_) => None,
        };
        self.restrictions(region, now).into_iter().filter_map(vantage).collect()
    }

    /// What holds on the subject of a command, for each region that it is about.
    pub fn stated(&self, command: &Command, now: Instant) -> Vec<Stated> {
        let own = (!self.is_witness()).then(|| self.region());
        let all = own.into_iter().chain(self.peers.iter().map(|peer| &peer.region));
        let of = |region: &Region| Stated {
            newest: self.statements.on_subject_of(command, region, now).cloned(),
            restrictions: self.restrictions(region, now),
            region: region.clone(),
        };
        all.filter(|region| command.region.as_ref().is_none_or(|about| about == *region)).map(of).collect()
    }

    /// Why a statement cannot be taken.
    pub fn statement_refusal(&self, command: &Command) -> Option<String> {
        if command.region.as_ref().is_some_and(|region| !self.is_region(region)) {
            return Some("it is no region of this instance".to_owned());
        }
        if let Some(newer) = self.statements.newer(command) {
            return Some(format!("a newer command about it is known, of {} at {}", newer.operator, newer.at));
        }
        let kept = self.statements.kept_from(command)?;
        let target = kept.failover.as_ref().map(|terms| format!(" to {}", terms.target)).unwrap_or_default();
        Some(format!(
            "{} has ordered its failover{target} already; take that back with --off, or use --force REASON",
            kept.operator
        ))
    }

    /// Takes a statement that was commanded here.
    pub(super) fn on_statement(&mut self, text: &str, now: Now) {
        let times = self.times(now);
        let taken = self.with_statements(|statements, is_region| statements.take(text, is_region, times));
        // A vantage without voters can learn of commands from operators only.
        self.informed |= taken.is_some() && self.votes.is_empty();
        self.on_taken(taken, &StatementNews::Commanded, now);
    }

    /// Takes the statements that another vantage relays; `all` of them with the first votes that were heard, so that nothing is
    /// missing then.
    pub(super) fn adopt_statements(&mut self, from: &Region, texts: &[Arc<str>], all: bool, now: Now) {
        if self.votes.knows(from) {
            let times = self.times(now);
            let taken = self.with_statements(|statements, is_region| statements.adopt(texts, all, is_region, times));
            self.on_taken(taken, &StatementNews::Relayed(from.clone()), now);
        }
    }

    /// Corrects the ends of statements and of maintenance by the clocks of the other vantages.
    pub(super) fn correct_statements(&mut self, now: Now) {
        let (again, is_maintained) = self.statements.correct(self.times(now));
        self.on_news(again, &StatementNews::Resumed, now);
        if is_maintained {
            self.apply_maintenance(now);
        }
    }

    pub(super) fn times(&self, now: Now) -> Times {
        Times::new(now, self.votes.clock_offsets(now.instant))
    }

    /// Takes those that the process before this one has known.
    pub(super) fn remember_statements(&mut self, before: &Remembered, now: Now) {
        let times = self.times(now);
        for text in &before.statements {
            self.with_statements(|statements, is_region| statements.take(text, is_region, times));
        }
        self.informed = before.informed;
    }

    /// Whether another vantage has told now, for the first time, what operators have stated. The disk must know at once: the
    /// next process may hear nobody.
    pub(super) fn is_informed_now(&mut self) -> bool {
        let first = !self.informed && !self.statements.has_no_operators() && self.votes.any_heard_since(self.started);
        self.informed |= first;
        first
    }

    /// Forgets what cannot matter any more, and reports what has ended.
    pub(super) fn expire_statements(&mut self, now: Now) {
        let ended = self.statements.expire(now.instant);
        self.on_news(ended, &StatementNews::Ended, now);
        // One that was refused when it came, or is of before this vantage learnt of the failover.
        for release in self.statements.releases() {
            self.on_release(&release, now.instant);
        }
        if self.statements.end_maintenance(now.instant) {
            self.apply_maintenance(now);
        }
    }

    /// Takes over which regions the configuration maintains now.
    fn apply_maintenance(&mut self, now: Now) {
        for peer in &mut self.peers {
            let is_maintained = self.statements.is_maintained(&peer.region);
            peer.mode = if is_maintained { FailoverMode::Maintenance } else { peer.timeless_mode };
        }
        self.refresh_modes(now);
    }

    pub(super) fn with_statements<T>(&mut self, act: impl FnOnce(&mut Statements, &dyn Fn(&Region) -> bool) -> T) -> T {
        let mut statements = std::mem::take(&mut self.statements);
        let result = act(&mut statements, &|region| self.is_region(region));
        self.statements = statements;
        result
    }

    fn on_news(&mut self, commands: Vec<Command>, news: &StatementNews, now: Now) {
        self.on_taken(commands.into_iter().map(|command| Taken { command, ended: None }), news, now);
    }

    fn on_taken(&mut self, taken: impl IntoIterator<Item = Taken>, news: &StatementNews, now: Now) {
        let before = self.changes.len();
        for Taken { command, ended } in taken {
            self.on_release(&command, now.instant);
            self.changes.push(StateChange::Statement {
                command: Box::new(command),
                news: news.clone(),
                ended: ended.map(Box::new),
            });
        }
        if self.changes.len() > before {
            self.refresh_modes(now);
        }
    }

    /// Releases what an operator had failed over before this release: another vantage has carried it out, and relays it.
    fn on_release(&mut self, command: &Command, now: Instant) {
        let Some(region) = command.region.as_ref().filter(|_| command.action == Action::Release) else { return };
        let known = self.executions.of(region).filter(|failover| is_by_operator(&failover.id, region));
        let is_meant = known.is_some_and(|failover| failover.onset < command.at);
        if is_meant && self.release_refusal(region, now).is_none() {
            self.release(region, now);
        }
    }

    /// Targets first: a region that is under maintenance from now on is none.
    fn refresh_modes(&mut self, now: Now) {
        self.ranking_due = true;
        self.refresh_ranking(now);
        (0..self.peers.len()).for_each(|n| self.refresh_candidates(n, now));
        self.update_peers(|_| true, now);
    }

    /// Whether this vantage knows what operators have stated of a peer. One that has just started waits for another one, and
    /// then takes what it has on disk, if it was told that by another one, or that the peer was ordered before: so it was armed.
    pub(super) fn knows_statements(&self, n: usize, now: Instant) -> bool {
        let peer = &self.peers[n];
        let was_ordered = peer.incident.as_ref().is_some_and(|open| open.executed);
        let has_waited = now.saturating_duration_since(self.started) >= UNHEARD_FOR;
        self.statements.has_no_operators()
            || self.votes.any_heard_since(self.started)
            || self.statements.of(&peer.region, now).is_some()
            || (has_waited && (self.informed || was_ordered))
    }
}
