//! The series of the vote messages from one peer.

use super::{
    samples::{Samples, Series},
    value::Counter,
};
use crate::{decision::votes::RejectReason, model::Region};

/// The counters of the vote messages from one peer.
#[derive(Debug)]
pub struct VoteSeries {
    labels: Box<str>,
    accepted: Counter,
    rejected: [Counter; RejectReason::ALL.len()],
}

impl Series for VoteSeries {
    fn labels(&self) -> &str {
        &self.labels
    }
}

impl VoteSeries {
    pub(super) fn new(vantage: &Region, peer: &Region) -> Self {
        Self {
            labels: format!("vantage_region=\"{vantage}\",peer_region=\"{peer}\"").into(),
            accepted: Counter::default(),
            rejected: Default::default(),
        }
    }

    /// Counts a message that was accepted or rejected.
    pub fn count<T>(&self, result: &Result<T, RejectReason>) {
        match result {
            Ok(_) => self.accepted.add(1),
            Err(reason) => self.rejected[*reason as usize].add(1),
        }
    }

    pub(super) fn write_results(&self, out: &mut Samples<'_>) {
        out.put_with(&[("result", "accepted")], self.accepted.get());
        out.each("result", |reason: RejectReason| self.rejected[reason as usize].get());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples::Sink, *};

    #[test]
    fn every_result_has_its_own_counter_from_the_start() {
        let region = |name| Region::new(name).unwrap();
        let series = VoteSeries::new(&region("here"), &region("there"));
        let lines = || {
            let mut out = Vec::new();
            series.write_results(&mut Samples { sink: Sink::Page(&mut out), name: "x", labels: series.labels() });
            String::from_utf8(out).unwrap()
        };
        let line = |result: &str, count: u64| {
            format!("x{{vantage_region=\"here\",peer_region=\"there\",result=\"{result}\"}} {count}\n")
        };
        assert_eq!(lines().matches("} 0\n").count(), 1 + RejectReason::ALL.len());
        series.count(&Ok(()));
        for reason in RejectReason::ALL {
            series.count::<()>(&Err(reason));
            assert!(lines().contains(&line(reason.as_str(), 1)), "{}", lines());
        }
        assert!(lines().starts_with(&line("accepted", 1)));
    }
}
