//! What operators have stated of regions for a time: armed, disarmed, under maintenance, or to be failed over. Votes relay the
//! signed commands unchanged, so one vantage that has taken a command is enough.
//!
//! Arming and maintenance are two subjects: the end of a maintenance must not end a disarming. A failover is the third one. It
//! ends with the release of its region, which is relayed, too: else a vantage that has missed the release would bring it back.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::times::Times;
use crate::{
    model::{Blocked, FailoverMode, Region, UnixMillis},
    signing::{Action, Command, Operators},
};

/// The most bytes of a statement as it travels.
pub(super) const MAX_STATEMENT: usize = 2 << 10;

/// The most statements of one vote message.
pub(super) const MAX_STATEMENTS: usize = 64;

/// The most signatures that are usually verified for one vote message. What is left comes with the next one.
const MAX_VERIFIED: usize = 4;

/// How many texts are known at most that were not taken.
const MAX_REJECTED: usize = 256;

/// How far the time of what permits may be ahead of the clock of this vantage. A later one would beat all commands until then.
const MAX_AHEAD: Duration = Duration::from_secs(60);

/// The longest maintenance by the configuration: a century, which the monotonic clock can add.
const FARTHEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Whether the clocks let this vantage take a command now. At another time it may be right.
fn is_timely(command: &Command, times: Times) -> bool {
    let is_old = command.at.0.saturating_add(Command::LONGEST.as_millis() as u64) <= times.earliest.0;
    !is_old && (command.restricts() || !is_ahead(command, times.own))
}

fn is_ahead(command: &Command, clock: UnixMillis) -> bool {
    command.at.0 > clock.0.saturating_add(MAX_AHEAD.as_millis() as u64)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Arming,
    Maintenance,
    Failover,
}

impl Subject {
    const fn of(action: Action) -> Self {
        match action {
            Action::Arm | Action::Disarm => Self::Arming,
            Action::Maintenance => Self::Maintenance,
            Action::Failover | Action::Release => Self::Failover,
        }
    }
}

/// A statement that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    /// What was stated.
    command: Command,
    /// The signed command, as it travels.
    text: Arc<str>,
    /// When this vantage took it.
    taken: Instant,
    /// When it ends. By the monotonic clock, so that a step of the other one ends nothing.
    ends: Instant,
    /// When no older statement can hold any more, so that it may be forgotten.
    forgotten: Instant,
    /// Whether its end is still to come.
    holds: bool,
}

impl Statement {
    fn new(command: Command, text: &str, times: Times) -> Self {
        let now = times.instant;
        let mut new = Self { text: text.into(), taken: now, ends: now, forgotten: now, holds: false, command };
        (new.ends, new.forgotten) = new.ends_by(times);
        new.holds = new.ends > now;
        new
    }

    /// When it ends and may be forgotten. What forbids ends by the clock by which that is later, and what permits by the other
    /// one.
    fn ends_by(&self, times: Times) -> (Instant, Instant) {
        let Command { at, until, .. } = self.command;
        // A clock may also be behind that of the operator.
        let end = |until: UnixMillis, clock: UnixMillis| {
            let longest = Duration::from_millis(until.0.saturating_sub(at.0));
            let left = Duration::from_millis(until.0.saturating_sub(clock.0)).min(longest);
            (times.instant + left).min(self.taken + longest)
        };
        let clock = if self.command.restricts() { times.earliest } else { times.latest };
        let forgotten = UnixMillis(at.0.saturating_add(Command::LONGEST.as_millis() as u64));
        (end(until.unwrap_or(at), clock), end(forgotten, times.earliest))
    }

    /// Ends where the clocks that were compared say so. Says whether it holds again.
    fn correct(&mut self, times: Times) -> bool {
        let (ends, forgotten) = self.ends_by(times);
        if times.is_ahead() {
            self.forgotten = self.forgotten.max(forgotten);
        }
        match self.command.restricts() {
            true if times.is_ahead() => self.ends = self.ends.max(ends),
            false if times.is_behind() => self.ends = self.ends.min(ends),
            _ => return false,
        }
        let holds_again = self.command.restricts() && !self.holds && self.ends > times.instant;
        self.holds |= holds_again;
        holds_again
    }

    /// The newest statement counts. Of two at the same time it is the one that restricts, and then the larger signed bytes, so
    /// that all vantages choose the same one.
    fn order(&self) -> (UnixMillis, bool, Option<Vec<u8>>) {
        (self.command.at, self.command.restricts(), self.command.bytes())
    }

    /// Whether it is a failover that holds, and the command another one without force, unless that accepts a loss for the same
    /// target. An order that was given must not be withdrawn by one that is refused: first it is taken back, or its region is
    /// released.
    fn is_kept_from(&self, command: &Command) -> bool {
        let (Some(known), Some(new)) = (&self.command.failover, &command.failover) else { return false };
        let accepts_more = new.target == known.target && new.accept_loss && !known.accept_loss;
        self.holds && new.force.is_none() && !accepts_more
    }

    /// Whether it takes the place of the other one. What forbids and is ahead of its time, by a wrong clock, must not end
    /// before its time what forbids for longer.
    fn replaces(&self, other: &Self, times: Times) -> bool {
        let both_restrict = self.command.restricts() && other.command.restricts();
        let is_early = |statement: &Self| is_ahead(&statement.command, times.latest);
        if both_restrict && (is_early(self) || is_early(other)) {
            return (self.ends, self.order()) > (other.ends, other.order());
        }
        self.order() > other.order()
    }
}

/// A statement that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) command: Command,
    /// What held until then on its region and subject, and does not any more.
    pub(super) ended: Option<Command>,
}

/// A maintenance by the configuration that ends by itself.
#[derive(Debug)]
struct Maintained {
    until: UnixMillis,
    ends: Instant,
    /// Whether its end is still to come.
    holds: bool,
}

impl Maintained {
    fn new(until: UnixMillis, times: Times) -> Self {
        let ends = times.instant + Self::left(until, times);
        Self { until, ends, holds: ends > times.instant }
    }

    fn left(until: UnixMillis, times: Times) -> Duration {
        Duration::from_millis(until.0.saturating_sub(times.earliest.0)).min(FARTHEST)
    }

    /// Ends later where the clocks that were compared say so. Says whether it holds again.
    fn correct(&mut self, times: Times) -> bool {
        self.ends = self.ends.max(times.instant + Self::left(self.until, times));
        let holds_again = !self.holds && self.ends > times.instant;
        self.holds |= holds_again;
        holds_again
    }
}

/// All of them: of each region and subject, the newest.
#[derive(Debug, Default)]
pub(super) struct Statements {
    operators: Operators,
    known: BTreeMap<(Option<Region>, Subject), Statement>,
    /// Relayed statements that were rejected, so that they are not verified again every second.
    rejected: BTreeSet<Arc<str>>,
    /// The regions whose maintenance by the configuration ends by itself.
    maintained: BTreeMap<Region, Maintained>,
    /// Whether something changed that must be remembered.
    changed: bool,
}

impl Statements {
    /// These operators count from now on. What others have stated is forgotten, and so is what is about other regions. Returns
    /// what of it has held until now.
    pub(super) fn reconfigure(&mut self, operators: Operators, is_region: impl Fn(&Region) -> bool) -> Vec<Command> {
        self.operators = operators;
        self.rejected.clear();
        let operators = &self.operators;
        let (mut forgotten, before) = (Vec::new(), self.known.len());
        self.known.retain(|(region, _), statement| {
            let counts = region.as_ref().is_none_or(&is_region) && operators.verify(statement.text.as_bytes()).is_ok();
            if !counts && statement.holds {
                forgotten.push(statement.command.clone());
            }
            counts
        });
        self.changed |= self.known.len() != before;
        forgotten
    }

    /// The configuration keeps these regions under maintenance until then.
    pub(super) fn maintain(&mut self, regions: Vec<(Region, UnixMillis)>, times: Times) {
        let regions = regions.into_iter().map(|(region, until)| (region, Maintained::new(until, times)));
        self.maintained = regions.collect();
    }

    /// Whether the configuration keeps a region under maintenance that ends by itself.
    pub(super) fn is_maintained(&self, region: &Region) -> bool {
        self.maintained.get(region).is_some_and(|maintained| maintained.holds)
    }

    /// Ends what the configuration has kept under maintenance until now. Says whether anything ended.
    pub(super) fn end_maintenance(&mut self, now: Instant) -> bool {
        let ended = self.maintained.values_mut().filter(|maintained| maintained.holds && maintained.ends <= now);
        ended.map(|maintained| maintained.holds = false).count() > 0
    }

    /// Corrects all ends, where the clock of this vantage is wrong. Returns what holds again, and says whether a maintenance by
    /// the configuration does. A step of a clock that was right corrects nothing.
    pub(super) fn correct(&mut self, times: Times) -> (Vec<Command>, bool) {
        let mut again = Vec::new();
        if !(times.is_ahead() || times.is_behind()) {
            return (again, false);
        }
        for statement in self.known.values_mut() {
            if statement.correct(times) {
                again.push(statement.command.clone());
            }
        }
        let mut is_maintained = false;
        for maintained in self.maintained.values_mut().filter(|_| times.is_ahead()) {
            is_maintained |= maintained.correct(times);
        }
        (again, is_maintained)
    }

    /// Whether no operator is configured.
    pub(super) fn has_no_operators(&self) -> bool {
        self.operators.keys.is_empty()
    }

    /// Takes a statement, unless it is known or a newer one is. Returns it if it is new.
    pub(super) fn take(&mut self, text: &str, is_region: impl Fn(&Region) -> bool, times: Times) -> Option<Taken> {
        let command = self.operators.verify(text.as_bytes()).ok()?;
        let subject = Subject::of(command.action);
        let statement = Statement::new(command, text, times);
        let is_about_others = statement.command.region.as_ref().is_some_and(|region| !is_region(region));
        if is_about_others || !is_timely(&statement.command, times) {
            return None;
        }
        let key = (statement.command.region.clone(), subject);
        let is_kept = |known: &Statement| !statement.replaces(known, times) || known.is_kept_from(&statement.command);
        if self.known.get(&key).is_some_and(is_kept) {
            return None;
        }
        let command = statement.command.clone();
        let before = self.known.insert(key, statement).filter(|before| before.ends > times.instant);
        self.changed = true;
        Some(Taken { command, ended: before.map(|before| before.command) })
    }

    /// Takes what another vantage relays, if need be `all` of it at once. Returns what is new of it.
    pub(super) fn adopt(
        &mut self,
        texts: &[Arc<str>],
        all: bool,
        is_region: impl Fn(&Region) -> bool,
        times: Times,
    ) -> Vec<Taken> {
        let most = if all { MAX_STATEMENTS } else { MAX_VERIFIED };
        let is_known =
            |text: &Arc<str>| self.rejected.contains(text) || self.known.values().any(|known| known.text == *text);
        // What the clock forbids is neither verified nor remembered: it is right at another time, or with another clock.
        let is_due =
            |text: &Arc<str>, command: Command| is_timely(&command, times) && !self.waits(command, text, times);
        let may_be_taken = |text: &Arc<str>| {
            !is_known(text) && Command::unverified(text.as_bytes()).is_ok_and(|(command, _)| is_due(text, command))
        };
        let new: Vec<_> = texts.iter().filter(|text| may_be_taken(text)).take(most).cloned().collect();
        let mut taken = Vec::new();
        for text in new {
            match self.take(&text, &is_region, times) {
                Some(new) => taken.push(new),
                None => {
                    if self.rejected.len() >= MAX_REJECTED {
                        self.rejected.clear();
                    }
                    self.rejected.insert(text);
                }
            }
        }
        taken
    }

    /// Whether a statement is ahead of its time, and could be taken only then.
    fn waits(&self, command: Command, text: &str, times: Times) -> bool {
        let known = self.known.get(&(command.region.clone(), Subject::of(command.action)));
        let is_ahead = is_ahead(&command, times.latest);
        is_ahead && known.is_some_and(|known| !Statement::new(command, text, times).replaces(known, times))
    }

    /// The statement that is known and newer than this one.
    pub(super) fn newer(&self, command: &Command) -> Option<&Command> {
        let known = self.known.get(&(command.region.clone(), Subject::of(command.action)));
        known.map(|known| &known.command).filter(|known| known.at > command.at)
    }

    /// The failover that a command does not replace, because it holds and the command has no force.
    pub(super) fn kept_from(&self, command: &Command) -> Option<&Command> {
        let known = self.known.get(&(command.region.clone(), Subject::of(command.action)));
        known.filter(|known| known.is_kept_from(command)).map(|known| &known.command)
    }

    /// What was released, as far as it is known.
    pub(super) fn releases(&self) -> Vec<Command> {
        let released = self.known.values().filter(|known| known.command.action == Action::Release);
        released.map(|known| known.command.clone()).collect()
    }

    /// The statement that decides on the subject of this one now, for a region.
    pub(super) fn on_subject_of(&self, command: &Command, region: &Region, now: Instant) -> Option<&Command> {
        self.newest(region, Subject::of(command.action), now).map(|newest| &newest.command)
    }

    /// Forgets what cannot matter any more. Returns what has ended since the last time.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Command> {
        let before = self.known.len();
        self.known.retain(|_, statement| statement.forgotten > now);
        self.changed |= self.known.len() != before;
        let ended = self.known.values_mut().filter(|statement| statement.holds && statement.ends <= now);
        ended
            .map(|statement| {
                statement.holds = false;
                statement.command.clone()
            })
            .collect()
    }

    /// The newest of those that hold now, about a region or all of them.
    fn newest(&self, region: &Region, subject: Subject, now: Instant) -> Option<&Statement> {
        let about = |scope: Option<Region>| self.known.get(&(scope, subject));
        let both = [about(Some(region.clone())), about(None)].into_iter().flatten();
        both.filter(|statement| statement.ends > now).max_by(|a, b| a.order().cmp(&b.order()))
    }

    /// The statement that decides on a region now. A maintenance comes before any arming.
    pub(super) fn of(&self, region: &Region, now: Instant) -> Option<&Command> {
        let newest = |subject| self.newest(region, subject, now);
        newest(Subject::Maintenance).or_else(|| newest(Subject::Arming)).map(|statement| &statement.command)
    }

    /// What holds for a region, for which the files say `files`. Operators arm what the files disarm, and end no maintenance
    /// of a file.
    pub(super) fn mode(&self, region: &Region, files: FailoverMode, now: Instant) -> FailoverMode {
        let files = if self.is_maintained(region) { FailoverMode::Maintenance } else { files };
        match (self.of(region, now).map(|command| command.action), files) {
            (Some(Action::Maintenance), _) | (_, FailoverMode::Maintenance) => FailoverMode::Maintenance,
            (Some(Action::Disarm), _) => FailoverMode::Disarmed,
            (Some(Action::Arm), _) => FailoverMode::Armed,
            (Some(Action::Failover | Action::Release) | None, files) => files,
        }
    }

    /// The failovers that operators have ordered and that hold, with the texts of the commands; the oldest one first.
    pub(super) fn failovers(&self, now: Instant) -> Vec<(Command, Arc<str>)> {
        let ordered = self.known.values().filter(|known| known.ends > now && known.command.failover.is_some());
        let mut ordered: Vec<_> = ordered.map(|known| (known.command.clone(), Arc::clone(&known.text))).collect();
        ordered.sort_by(|(a, _), (b, _)| (a.at, &a.region).cmp(&(b.at, &b.region)));
        ordered
    }

    /// What forbids a failover that an operator has ordered: what was commanded later, or a maintenance of a file. The order
    /// beats what was commanded before it, and files that disarm the region; one by force also their maintenance.
    pub(super) fn forbids(
        &self,
        order: &Command,
        region: &Region,
        files: FailoverMode,
        now: Instant,
    ) -> Option<Blocked> {
        let is_forbidden = |subject| {
            let newest = self.newest(region, subject, now);
            newest.is_some_and(|newest| newest.command.restricts() && newest.command.at >= order.at)
        };
        let is_forced = order.failover.as_ref().is_some_and(|terms| terms.force.is_some());
        let is_maintained = files == FailoverMode::Maintenance || self.is_maintained(region);
        if is_forbidden(Subject::Maintenance) || (is_maintained && !is_forced) {
            return Some(Blocked::Maintenance);
        }
        is_forbidden(Subject::Arming).then_some(Blocked::Disarmed)
    }

    /// Whether a region is under maintenance for a time.
    pub(super) fn maintains(&self, region: &Region, now: Instant) -> bool {
        self.is_maintained(region) || self.newest(region, Subject::Maintenance, now).is_some()
    }

    /// All that are known, as they travel: first those that restrict now, then failovers, then what takes something back, then
    /// the rest. Of each, the newest first. A vote message may lack the last.
    pub(super) fn texts(&self) -> Vec<Arc<str>> {
        let mut known: Vec<_> = self.known.values().collect();
        let rank = |known: &Statement| {
            let Statement { command, holds, .. } = known;
            let takes_back = command.is_off() || command.action == Action::Release;
            (*holds && command.restricts(), *holds && command.failover.is_some(), takes_back, known.order())
        };
        known.sort_by_cached_key(|known| Reverse(rank(known)));
        known.into_iter().map(|statement| Arc::clone(&statement.text)).collect()
    }

    /// Whether something has changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests;
