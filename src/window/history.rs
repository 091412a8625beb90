//! The last probes of one path, for people who ask why it fails.

use std::collections::VecDeque;

use super::packed::Successes;
use crate::model::{Failure, FailureContext, FailureDetail, Outcome, Path, Timings};

/// A probe, or several in a row that failed alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// When it began, in nanoseconds since 1970; the first of several.
    pub sent_at: u64,
    /// The result.
    pub outcome: Outcome,
    /// Of what it failed; of several, the last address. Of the newest success, what is odd about it.
    pub failed: FailureContext,
    /// How many in a row failed so; 1 for a success.
    pub times: u32,
    /// When the last of them began.
    pub last_sent_at: u64,
}

impl Record {
    /// One probe.
    pub fn one(sent_at: u64, outcome: Outcome, failed: impl Into<FailureContext>) -> Self {
        let failed = failed.into();
        Self { sent_at, outcome, failed, times: 1, last_sent_at: sent_at }
    }
}

/// Failures in a row, for one reason, in one phase, with one detail.
#[derive(Debug, Clone, Copy)]
struct Run {
    failure: Failure,
    context: FailureContext,
    times: u32,
    first: u64,
    last: u64,
}

impl Run {
    const fn record(self) -> Record {
        let Self { failure, context, times, first, last } = self;
        Record { sent_at: first, outcome: Err(failure), failed: context, times, last_sent_at: last }
    }
}

/// The last probes of a path. Failures are kept apart, so that they outlast the successes after them, and as runs, so
/// that the beginning of an outage outlasts its length.
#[derive(Debug)]
pub struct History {
    capacity: usize,
    successes: Successes,
    /// What is odd about the newest success.
    warning: Option<FailureDetail>,
    failures: VecDeque<Run>,
}

impl History {
    /// A history of at most `capacity` successes and as many runs of failures.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, successes: Successes::default(), warning: None, failures: VecDeque::new() }
    }

    /// Adds a probe, and drops the oldest success or run of failures if there are too many.
    pub fn push(&mut self, sent_at: u64, outcome: Outcome, failed: FailureContext) {
        let failure = match outcome {
            Ok(timings) => {
                self.warning = failed.detail;
                return self.successes.push(self.capacity, sent_at, &timings);
            }
            Err(failure) => failure,
        };
        // Probes end in another order than they begin: a success that began later may have ended before.
        let answered_since = |last| self.successes.iter().any(|(success, _)| last < success && success < sent_at);
        let what = |context: FailureContext| (context.phase, context.detail);
        match self.failures.back_mut() {
            Some(run) if run.failure == failure && what(run.context) == what(failed) && !answered_since(run.last) => {
                run.context = failed;
                run.times = run.times.saturating_add(1);
                run.first = run.first.min(sent_at);
                run.last = run.last.max(sent_at);
            }
            _ => {
                if self.failures.len() >= self.capacity {
                    self.failures.pop_front();
                }
                self.failures.push_back(Run { failure, context: failed, times: 1, first: sent_at, last: sent_at });
            }
        }
    }

    /// The last probe, and the last one that failed.
    pub fn last(&self) -> (Option<Record>, Option<Record>) {
        let success = self.newest_success();
        let failure = self.failures.back().map(|run| run.record());
        (success.into_iter().chain(failure).max_by_key(|record| record.last_sent_at), failure)
    }

    fn newest_success(&self) -> Option<Record> {
        let mut newest = success(self.successes.last()?);
        newest.failed.detail = self.warning;
        Some(newest)
    }

    /// Everything that is kept, oldest first.
    pub fn records(&self) -> Vec<Record> {
        let runs = self.failures.iter().map(|run| run.record());
        let mut records: Vec<_> = self.successes.iter().map(success).collect();
        if let (Some(last), Some(newest)) = (records.last_mut(), self.newest_success()) {
            *last = newest;
        }
        records.extend(runs);
        records.sort_unstable_by_key(|record| record.sent_at);
        records
    }
}

fn success((sent_at, timings): (u64, Timings)) -> Record {
    Record::one(sent_at, Ok(timings), None)
}

/// The last probes of a path, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathHistory {
    /// The path.
    pub path: Path,
    /// Its last probes, oldest first.
    pub samples: Vec<Record>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{FailureDetail, Phase, StampSource, Timings};

    fn ok() -> Outcome {
        Ok(Timings::single(Phase::Rtt, Duration::from_millis(1), StampSource::Kernel))
    }

    /// First and last beginning, and how many.
    fn runs(history: &History) -> Vec<(u64, u64, u32)> {
        history.records().iter().map(|record| (record.sent_at, record.last_sent_at, record.times)).collect()
    }

    #[test]
    fn failures_outlast_the_successes_after_them() {
        let mut history = History::new(2);
        history.push(1, Err(Failure::Timeout), None.into());
        (2..10).for_each(|sent_at| history.push(sent_at, ok(), None.into()));
        assert_eq!(runs(&history), [(1, 1, 1), (8, 8, 1), (9, 9, 1)]);
    }

    #[test]
    fn the_first_and_last_failure_of_an_outage_are_kept_however_long_it_is() {
        let mut history = History::new(2);
        history.push(1, ok(), None.into());
        for sent_at in 2..1_000 {
            history.push(sent_at, Err(Failure::Refused), FailureContext::from(Some(Phase::Connect)));
        }
        assert_eq!(runs(&history), [(1, 1, 1), (2, 999, 998)]);
        let (last, failed) = history.last();
        assert_eq!((last.unwrap().last_sent_at, failed), (999, last));
    }

    #[test]
    fn another_reason_another_phase_or_a_success_in_between_starts_a_new_run() {
        let mut history = History::new(9);
        history.push(1, Err(Failure::Timeout), FailureContext::from(Some(Phase::Connect)));
        history.push(2, Err(Failure::Refused), FailureContext::from(Some(Phase::Connect)));
        history.push(3, Err(Failure::Refused), FailureContext::from(Some(Phase::Tls)));
        history.push(4, ok(), None.into());
        history.push(5, Err(Failure::Refused), FailureContext::from(Some(Phase::Tls)));
        assert_eq!(runs(&history), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 4, 1), (5, 5, 1)]);
    }

    #[test]
    fn another_detail_starts_a_new_run_and_another_address_does_not() {
        let status = |code, address: &str| FailureContext {
            detail: Some(FailureDetail::HttpStatus(code)),
            address: Some(address.parse().unwrap()),
            phase: Some(Phase::Processing),
        };
        let mut history = History::new(9);
        history.push(1, Err(Failure::Status), status(503, "192.0.2.1"));
        history.push(2, Err(Failure::Status), status(503, "192.0.2.2"));
        history.push(3, Err(Failure::Status), status(404, "192.0.2.1"));
        assert_eq!(runs(&history), [(1, 2, 2), (3, 3, 1)]);
        assert_eq!(history.records()[0].failed, status(503, "192.0.2.2"), "the last address is the one to look at");
    }

    #[test]
    fn runs_follow_the_send_order_and_not_the_order_of_arrival() {
        let mut history = History::new(9);
        history.push(1, Err(Failure::Timeout), None.into());
        history.push(3, ok(), None.into());
        history.push(2, Err(Failure::Timeout), None.into());
        history.push(4, Err(Failure::Timeout), None.into());
        assert_eq!(runs(&history), [(1, 2, 2), (3, 3, 1), (4, 4, 1)]);
    }
}
