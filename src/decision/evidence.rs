//! What was seen of one peer: which paths answer, which are silent, and for how many probes.
//!
//! Silence beats counting. One probe in a hundred is lost on an ordinary path, so that a count of failures says
//! little; but that nothing at all comes back, from any target, on two kinds of probe, and nothing that was sent
//! since has been answered, happens by chance once in many years.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::{Cause, Failure, Kind, Outcome, PathId, TargetName};

/// Consecutive silent probes of the fastest kind that make a silence, without and with an edge burst: the burst
/// adds probes that are only 50 ms apart and fail together.
const SILENT_PROBES: usize = 3;
const SILENT_PROBES_WITH_BURST: usize = 5;

/// Consecutive failures of a critical probe that make its service dead.
const SERVICE_FAILURES: u32 = 5;

/// Consecutive failures of every critical probe of another region that make a dead service look like a common one. Fewer than
/// for a verdict: the other region may have begun to fail a little later.
const COMMON_FAILURES: u32 = 3;

/// Silent probes that are remembered of a path; more say nothing new.
const REMEMBERED: usize = 16;

/// A path, as far as a verdict is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// Its number.
    pub path: PathId,
    /// Which of the peer's targets it leads to.
    pub target: TargetName,
    /// Its kind.
    pub kind: Kind,
    /// How often it is probed.
    pub interval: Duration,
    /// Whether the peer counts as down where this fails for long.
    pub critical: bool,
    /// Changes with what is asked: what an earlier question had as its answer says nothing about this one.
    pub question: u32,
}

impl PathInfo {
    /// Whether what was seen of the other one counts for this one.
    fn continues(&self, other: &Self) -> bool {
        (self.path, self.question) == (other.path, other.question)
    }

    /// Whether it decides on silence.
    const fn is_fast(&self) -> bool {
        self.kind.is_fast()
    }

    /// Whether its failures say something about the region. That a sidecar is away does not: it may be restarted, upgraded or
    /// on another port while the services of its region answer.
    const fn is_evidence(&self) -> bool {
        !self.kind.carries_votes()
    }
}

#[derive(Debug, Clone)]
struct PathEvidence {
    info: PathInfo,
    /// It has been answered since this process began. What never was is filtered, or misconfigured, and cannot fall
    /// silent.
    answered: bool,
    /// When the probes were sent that are silent, since the newest sign of life; ascending.
    silent: VecDeque<Instant>,
    /// Failures of any reason, running, and when the first, the second and the decisive of them were sent.
    failures: u32,
    /// Failures running that hardly have one cause for several regions, and whether these were enough since the last answer.
    own_failures: u32,
    is_own: bool,
    failing_since: Option<Instant>,
    failed_again: Option<Instant>,
    dead_since: Option<Instant>,
    /// Answers, running.
    successes: u32,
    tried: u32,
}

/// What makes a silence.
#[derive(Debug)]
struct SilenceRule {
    /// The silent probes that the fastest path needs.
    most: usize,
    /// The interval of the fastest path.
    fastest: Duration,
    /// How many kinds must agree.
    kinds: usize,
    /// Whether any path is fast. Then all fast ones must agree, and otherwise all.
    any_fast: bool,
}

impl SilenceRule {
    fn needed(&self, path: &PathEvidence) -> usize {
        probes_within(self.most, self.fastest, path.info.interval)
    }

    const fn requires(&self, path: &PathEvidence) -> bool {
        path.info.is_fast() || !self.any_fast
    }
}

/// That a peer seems to be dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// What it consists in.
    pub cause: Cause,
    /// When the first probe was sent that had no answer.
    pub onset: Instant,
    /// When the probe was sent that was the last one needed. An answer to a later probe contradicts.
    pub decisive: Instant,
}

/// That every critical probe of a peer fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceFailure {
    /// What it is as an outage: its cause is silence where the network seems to have died with the services.
    pub failing: Failing,
    /// Since when all of the probes fail; one may have failed for long before.
    pub since: Instant,
    /// Whether the probes fail only in ways that often have one cause for all regions.
    pub is_common: bool,
}

/// What was seen of one peer on all of its paths.
#[derive(Debug, Clone)]
pub struct Evidence {
    paths: Vec<PathEvidence>,
    silent_probes: usize,
    /// When the newest probe was sent that had a sign of life as its answer.
    alive: Option<Instant>,
    /// The same for what makes the region useful: a critical probe where there is one.
    good: Option<Instant>,
    any_silent: bool,
    /// No answer yet, but the process before this one had answers: every path counts as one that was answered.
    assumed: bool,
    /// A new configuration has dropped what showed the peer to be dead, and it has not recovered since.
    forgotten: bool,
}

impl Evidence {
    /// Nothing seen yet. `burst` says whether extra probes are sent once one is overdue.
    pub fn new(paths: impl IntoIterator<Item = PathInfo>, burst: bool) -> Self {
        let silent_probes = if burst { SILENT_PROBES_WITH_BURST } else { SILENT_PROBES };
        let paths = paths.into_iter().map(PathEvidence::new).collect();
        Self { paths, silent_probes, alive: None, good: None, any_silent: false, assumed: false, forgotten: false }
    }

    /// Sees these paths from now on, and no others. What stays keeps what was seen of it, also at another interval.
    pub fn reconfigure(&mut self, paths: impl IntoIterator<Item = PathInfo>, burst: bool) {
        let was_failing = self.failing().is_some();
        let mut before = std::mem::take(&mut self.paths);
        let Self { alive, good, any_silent, assumed, forgotten, .. } = *self;
        *self = Self { alive, good, any_silent, assumed, forgotten, ..Self::new(paths, burst) };
        for path in &mut self.paths {
            if let Some(place) = before.iter().position(|old| path.info.continues(&old.info)) {
                let seen = before.swap_remove(place);
                *path = PathEvidence { info: path.info.clone(), ..seen };
            }
        }
        self.forgotten |= was_failing && self.failing().is_none();
    }

    /// Whether the peer was dead by what a new configuration has dropped, and has not recovered since: nothing is known of it.
    pub fn is_forgotten(&self) -> bool {
        self.forgotten && self.failing().is_none()
    }

    /// The process before this one saw the peer die so: it had heard of it, and so its silence says something although this
    /// process has not. Ends with the first sign of life, after which only what was seen counts.
    pub fn assume_was_up(&mut self, cause: Cause) {
        match cause {
            Cause::Silence => self.assumed = self.alive.is_none(),
            Cause::Service => self.paths.iter_mut().for_each(|path| path.answered |= path.info.critical),
        }
    }

    /// Whether it is assumed to have been up, without an answer so far.
    pub const fn is_assumed_up(&self) -> bool {
        self.assumed
    }

    /// The paths on which silence says something.
    fn known(&self) -> impl Iterator<Item = &PathEvidence> {
        self.evidence().filter(|path| path.answered || self.assumed)
    }

    /// The paths whose failures say something.
    fn evidence(&self) -> impl Iterator<Item = &PathEvidence> {
        self.paths.iter().filter(|path| path.info.is_evidence())
    }

    /// The paths.
    pub fn paths(&self) -> impl Iterator<Item = &PathInfo> {
        self.paths.iter().map(|path| &path.info)
    }

    /// A probe came to its end. Says whether it was news for a verdict.
    pub fn on_result(&mut self, path: PathId, sent_at: Instant, outcome: &Outcome) -> bool {
        let Some(n) = self.place(path) else { return false };
        let has_critical = self.paths.iter().any(|path| path.info.critical);
        let path = &mut self.paths[n];
        path.tried = path.tried.saturating_add(1);
        let failure = match outcome {
            Ok(_) => {
                let news = !path.answered || path.failures > 0 || self.any_silent;
                path.answered = true;
                path.reset_failures();
                path.successes = path.successes.saturating_add(1);
                if path.info.critical || !has_critical {
                    self.good = self.good.max(Some(sent_at));
                }
                self.on_alive(sent_at);
                if self.forgotten {
                    self.forgotten = !self.has_recovered();
                }
                return news;
            }
            // Our own fault.
            Err(Failure::Local) => return false,
            Err(failure) => *failure,
        };
        path.successes = 0;
        if path.info.is_evidence() {
            path.failures = path.failures.saturating_add(1);
            path.own_failures = if failure.is_often_common() { 0 } else { path.own_failures.saturating_add(1) };
            path.is_own |= path.own_failures >= SERVICE_FAILURES;
            path.failing_since.get_or_insert(sent_at);
            match path.failures {
                2 => path.failed_again = Some(sent_at),
                SERVICE_FAILURES => path.dead_since = Some(sent_at),
                _ => {}
            }
        }
        match failure {
            Failure::Timeout | Failure::Unreachable => self.on_silent_probe(n, sent_at),
            // The name has no address: nothing was sent, so silence says nothing.
            Failure::Resolve | Failure::Local => {}
            // A refusal is an answer: the host is up.
            Failure::Refused
            | Failure::Tls
            | Failure::Protocol
            | Failure::Status
            | Failure::Mismatch
            | Failure::Empty
            | Failure::Auth => {
                if !has_critical {
                    self.good = self.good.max(Some(sent_at));
                }
                self.on_alive(sent_at);
            }
        }
        true
    }

    /// A probe has waited longer than usual. Says whether that was news.
    pub fn on_overdue(&mut self, path: PathId, sent_at: Instant) -> bool {
        let Some(n) = self.place(path) else { return false };
        self.on_silent_probe(n, sent_at);
        true
    }

    /// An answer came after its deadline, to an unknown probe: it ends every silence.
    pub fn on_late_reply(&mut self, now: Instant) {
        self.on_alive(now);
    }

    fn place(&self, path: PathId) -> Option<usize> {
        self.paths.iter().position(|known| known.info.path == path)
    }

    fn on_silent_probe(&mut self, n: usize, sent_at: Instant) {
        let path = &mut self.paths[n];
        let known = self.alive >= Some(sent_at) || path.silent.back() >= Some(&sent_at);
        if path.info.is_evidence() && !known && path.silent.len() < REMEMBERED {
            path.silent.push_back(sent_at);
            self.any_silent = true;
        }
    }

    /// Something that was sent then was answered: what was sent before is not silence.
    fn on_alive(&mut self, sent_at: Instant) {
        self.alive = self.alive.max(Some(sent_at));
        self.assumed = false;
        if std::mem::take(&mut self.any_silent) {
            for path in &mut self.paths {
                while path.silent.front().is_some_and(|silent| *silent <= sent_at) {
                    path.silent.pop_front();
                }
                self.any_silent |= !path.silent.is_empty();
            }
        }
    }

    /// Whether the peer seems to be dead, judged alone, and since when.
    pub fn failing(&self) -> Option<Failing> {
        let service = || self.service_failure().filter(|service| !service.is_common);
        self.silence().or_else(|| service().map(|service| service.failing))
    }

    /// Whether nothing comes back from the peer, and since when.
    pub fn silence(&self) -> Option<Failing> {
        if !self.any_silent {
            return None;
        }
        let rule = self.silence_rule()?;
        let is_enough = |path: &&PathEvidence| path.silent.len() >= rule.needed(path);
        let required = || self.known().filter(|path| rule.requires(path));
        if !required().all(|path| is_enough(&path)) {
            return None;
        }
        let agreeing: BTreeSet<_> = self.known().filter(is_enough).map(|path| path.info.kind).collect();
        if agreeing.len() < rule.kinds {
            return None;
        }
        let onset = self.known().filter_map(|path| path.silent.front()).min()?;
        let decisive = required().filter_map(|path| path.silent.get(rule.needed(path) - 1)).max()?;
        Some(Failing { cause: Cause::Silence, onset: *onset, decisive: *decisive })
    }

    /// What makes a silence; `None` if no path is known.
    fn silence_rule(&self) -> Option<SilenceRule> {
        let fastest = self.known().map(|path| path.info.interval).min()?;
        let kinds: BTreeSet<_> = self.known().map(|path| path.info.kind).collect();
        // A kind that is alone must agree with itself for twice as long.
        let most = if kinds.len() == 1 { 2 * self.silent_probes } else { self.silent_probes };
        Some(SilenceRule {
            most,
            fastest,
            kinds: kinds.len().min(2),
            any_fast: self.known().any(|path| path.info.is_fast()),
        })
    }

    /// The critical probes that have ever succeeded.
    fn critical(&self) -> impl Iterator<Item = &PathEvidence> {
        self.paths.iter().filter(|path| path.info.critical && path.answered)
    }

    /// Whether every critical probe fails, five times at least.
    pub fn service_failure(&self) -> Option<ServiceFailure> {
        let critical = || self.critical();
        let onset = critical().filter_map(|path| path.failing_since).min()?;
        let since = critical().filter_map(|path| path.failing_since).max()?;
        let decisive = critical().map(|path| path.dead_since).collect::<Option<Vec<_>>>()?.into_iter().max()?;
        if !critical().any(|path| path.is_own) {
            // What was never sent, as without an address, is no silence either.
            return Some(ServiceFailure {
                failing: Failing { cause: Cause::Service, onset, decisive },
                since,
                is_common: true,
            });
        }
        // A network that dies takes its services with it, and these may be the first to fail five times. Its last
        // answer may be younger than the first failure: a ping overtakes a slow page.
        let again = critical().filter_map(|path| path.failed_again).max()?;
        let failing = if self.alive >= Some(again) {
            Failing { cause: Cause::Service, onset, decisive }
        } else {
            let onset = if self.alive >= Some(onset) { again } else { onset };
            Failing { cause: Cause::Silence, onset, decisive }
        };
        Some(ServiceFailure { failing, since, is_common: false })
    }

    /// Whether every critical probe fails, in ways that no credential of this vantage explains.
    pub fn has_dead_service(&self) -> bool {
        self.service_failure().is_some_and(|service| !service.is_common)
    }

    /// Since when every critical probe has failed, three times at least, while the network answers.
    pub fn unserved_since(&self) -> Option<Instant> {
        let all_fail = self.critical().all(|path| path.failures >= COMMON_FAILURES);
        let since = self.critical().filter_map(|path| path.failing_since).max();
        since.filter(|_| all_fail && !self.is_silent())
    }

    /// Whether nothing came back most recently: not enough to call the peer dead, enough to wonder about ourselves.
    pub fn is_silent(&self) -> bool {
        let alive = || self.known();
        let fast = || alive().filter(|path| path.info.is_fast());
        match fast().next() {
            Some(_) => fast().all(|path| !path.silent.is_empty()),
            None => alive().next().is_some() && alive().all(|path| !path.silent.is_empty()),
        }
    }

    /// Whether a path has been failing for long, one that never was answered included, unless it is a ping: those
    /// are filtered in many places.
    pub fn is_partly_dead(&self) -> bool {
        self.dead_path().is_some()
    }

    /// A path that has been failing for so long, and how many probes in a row have failed on it.
    pub fn dead_path(&self) -> Option<(&PathInfo, u32)> {
        let is_known = |path: &&PathEvidence| path.answered || !path.info.kind.is_often_filtered();
        let dead = self.paths.iter().filter(is_known).find(|path| path.failures >= SERVICE_FAILURES)?;
        Some((&dead.info, dead.failures))
    }

    /// Whether a critical probe has never succeeded since this process began. It may be a mistake in the configuration, so the
    /// region is not down; but nothing shows that it can take over.
    pub fn is_unproven(&self) -> bool {
        self.paths.iter().any(|path| path.info.critical && !path.answered)
    }

    /// Whether enough was seen to have a first opinion: five probes, and each target has answered one. A target that is only
    /// asked for votes need not have.
    pub fn is_enough(&self) -> bool {
        let has_evidence = self.evidence().next().is_some();
        let asked = || self.paths.iter().filter(|path| path.info.is_evidence() || !has_evidence);
        let targets: BTreeSet<_> = asked().map(|path| &path.info.target).collect();
        let answering: BTreeSet<_> =
            self.paths.iter().filter(|path| path.answered).map(|path| &path.info.target).collect();
        let tried: u32 = self.paths.iter().map(|path| path.tried).fold(0, u32::saturating_add);
        let all_tried = self.paths.iter().all(|path| path.tried > 0);
        tried >= 5 && !targets.is_empty() && targets.is_subset(&answering) && all_tried
    }

    /// Whether the peer answers again: three times running, on two kinds where there are two.
    pub fn has_recovered(&self) -> bool {
        let kinds = |at_least: u32| -> BTreeSet<Kind> {
            self.paths
                .iter()
                .filter(|path| path.answered && path.successes >= at_least)
                .map(|path| path.info.kind)
                .collect()
        };
        let critical = || self.critical();
        let served = critical().next().is_none() || critical().any(|path| path.successes >= 3);
        let all: BTreeSet<_> = self.evidence().filter(|path| path.answered).map(|path| path.info.kind).collect();
        served && !all.is_empty() && kinds(3).len() >= all.len().min(2)
    }

    /// Forgets silences and failures, so that only new ones count.
    pub fn reset_failures(&mut self) {
        for path in &mut self.paths {
            path.silent.clear();
            path.reset_failures();
        }
        self.any_silent = false;
    }

    /// When the newest probe was sent that shows the region to be of use.
    pub const fn good_at(&self) -> Option<Instant> {
        self.good
    }

    /// When the newest probe was sent that had a sign of life as its answer.
    pub const fn alive_at(&self) -> Option<Instant> {
        self.alive
    }
}

impl PathEvidence {
    const fn new(info: PathInfo) -> Self {
        Self {
            info,
            answered: false,
            silent: VecDeque::new(),
            failures: 0,
            own_failures: 0,
            is_own: false,
            failing_since: None,
            failed_again: None,
            dead_since: None,
            successes: 0,
            tried: 0,
        }
    }

    const fn reset_failures(&mut self) {
        (self.failures, self.own_failures, self.is_own) = (0, 0, false);
        (self.failing_since, self.failed_again, self.dead_since) = (None, None, None);
    }
}

/// How many probes a slower path sends while the fastest sends `most`, at least one.
fn probes_within(most: usize, fastest: Duration, interval: Duration) -> usize {
    let sent = (most as u128 * fastest.as_nanos()).div_ceil(interval.as_nanos().max(1));
    usize::try_from(sent).unwrap_or(most).clamp(1, most)
}

pub(super) mod seen;
#[cfg(test)]
mod tests;
