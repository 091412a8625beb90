//! Which series a path has.

use super::{Failure, LabelSet, Phase};

/// The series that a path has from the start, at zero, because its probe can produce them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The ways in which the probe can fail.
    pub results: LabelSet<Failure>,
    /// The phases of a successful probe.
    pub phases: LabelSet<Phase>,
    /// Whether an answer after the deadline is noticed.
    pub late: bool,
    /// Whether a duplicate answer is noticed.
    pub duplicates: bool,
    /// Whether the answer is a response of HTTP whose status and version say something.
    pub http: bool,
}

impl Shape {
    /// The shape of a probe with these phases, which fails in these ways besides `timeout`, `unreachable` and `local`.
    pub fn new(phases: impl IntoIterator<Item = Phase>, results: impl IntoIterator<Item = Failure>) -> Self {
        let results = LabelSet::of([Failure::Timeout, Failure::Unreachable, Failure::Local]).with(results);
        Self { results, phases: LabelSet::of(phases), late: true, duplicates: false, http: false }
    }

    /// The shape with a phase and the way in which it fails added.
    #[must_use]
    pub fn with(self, phase: Phase, failure: Failure) -> Self {
        Self { results: self.results.with([failure]), phases: self.phases.with([phase]), ..self }
    }

    /// Whether retransmitted SYNs are counted: the probe makes a TCP connection.
    pub fn retransmits(self) -> bool {
        self.phases.contains(Phase::Connect)
    }
}
