//! The series of the vote messages from one peer.

use super::{
    samples::{InstanceLabels, Samples, Series},
    value::{Counter, Gauge},
};
use crate::{decision::votes::RejectReason, model::Region, signing::SignatureResult};

/// The counters of the vote messages from one peer.
#[derive(Debug)]
pub struct VoteSeries {
    labels: Box<str>,
    accepted: Counter,
    environment_missing: Counter,
    rejected: [Counter; RejectReason::ALL.len()],
    signatures: [Counter; SignatureResult::ALL.len()],
    pub(super) signing_key_known: Gauge,
    pub(super) clock_offset: Gauge,
}

impl Series for VoteSeries {
    fn labels(&self) -> &str {
        &self.labels
    }
}

impl VoteSeries {
    pub(super) fn new(instance: &InstanceLabels, peer: &Region) -> Self {
        Self {
            labels: format!("{instance},peer_region=\"{peer}\"").into(),
            accepted: Counter::default(),
            environment_missing: Counter::default(),
            rejected: Default::default(),
            signatures: Default::default(),
            signing_key_known: Gauge::default(),
            clock_offset: Gauge::default(),
        }
    }

    /// Counts a message that was accepted or rejected.
    pub fn count<T>(&self, result: &Result<T, RejectReason>) {
        match result {
            Ok(_) => self.accepted.add(1),
            Err(reason) => self.rejected[*reason as usize].add(1),
        }
    }

    /// Counts a message that was accepted although one side has no environment.
    pub fn count_environment_missing(&self) {
        self.environment_missing.add(1);
    }

    /// Counts a signature under an order to fail over.
    pub fn count_signature(&self, result: SignatureResult) {
        self.signatures[result as usize].add(1);
    }

    /// Sets whether the key that the peer signs with is one of those that are configured for it; `None` if there is neither.
    pub fn set_signing_key_known(&self, known: Option<bool>) {
        self.signing_key_known.set(known.map(f64::from));
    }

    /// Sets how many seconds the clock of the peer is ahead; `None` if no message came of late.
    pub fn set_clock_offset(&self, seconds: Option<f64>) {
        self.clock_offset.set(seconds);
    }

    pub(super) fn write_signatures(&self, out: &mut Samples<'_>) {
        out.each("result", |result: SignatureResult| self.signatures[result as usize].get());
    }

    pub(super) fn write_results(&self, out: &mut Samples<'_>) {
        out.put_with(&[("result", "accepted")], self.accepted.get());
        out.put_with(&[("result", "environment_missing")], self.environment_missing.get());
        out.each("result", |reason: RejectReason| self.rejected[reason as usize].get());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::Sink, *};
    use crate::model::ConstantLabels;

    #[test]
    fn every_result_has_its_own_counter_from_the_start() {
        let region = |name| Region::new(name).unwrap();
        let here = InstanceLabels::new(&region("here"), &ConstantLabels::default());
        let series = VoteSeries::new(&here, &region("there"));
        let lines = || {
            let mut out = Vec::new();
            series.write_results(&mut Samples::new(Sink::Page(&mut out), "x", series.labels()));
            String::from_utf8(out).unwrap()
        };
        let line = |result: &str, count: u64| {
            format!("x{{vantage_region=\"here\",peer_region=\"there\",result=\"{result}\"}} {count}\n")
        };
        assert_eq!(lines().matches("} 0\n").count(), 2 + RejectReason::ALL.len());
        series.count(&Ok(()));
        series.count_environment_missing();
        assert!(lines().contains(&line("environment_missing", 1)));
        for reason in RejectReason::ALL {
            series.count::<()>(&Err(reason));
            assert!(lines().contains(&line(reason.as_str(), 1)), "{}", lines());
        }
        assert!(lines().starts_with(&line("accepted", 1)));
    }
}
