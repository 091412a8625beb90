//! What became of the bulletins that peers answered with.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{decision::votes::RejectReason, model::Region};

/// The counters of one peer's bulletins.
#[derive(Debug)]
pub struct VoteSeries {
    labels: Box<str>,
    accepted: AtomicU64,
    refused: [AtomicU64; RejectReason::ALL.len()],
}

impl VoteSeries {
    /// The values of the label `result`.
    pub(super) const RESULTS: [&str; 1 + RejectReason::ALL.len()] = {
        let mut results = ["accepted"; 1 + RejectReason::ALL.len()];
        let mut n = 0;
        while n < RejectReason::ALL.len() {
            results[1 + n] = RejectReason::ALL[n].as_str();
            n += 1;
        }
        results
    };

    pub(super) fn new(vantage: &Region, peer: &Region) -> Self {
        Self {
            labels: format!("vantage_region=\"{vantage}\",peer_region=\"{peer}\"").into(),
            accepted: AtomicU64::new(0),
            refused: Default::default(),
        }
    }

    /// One bulletin came, and counts or does not.
    pub fn received<T>(&self, result: &Result<T, RejectReason>) {
        let counter = match result {
            Ok(_) => Some(&self.accepted),
            Err(refusal) => RejectReason::ALL.iter().position(|each| each == refusal).and_then(|n| self.refused.get(n)),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn labels(&self) -> &str {
        &self.labels
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counters = std::iter::once(&self.accepted).chain(&self.refused);
        Self::RESULTS.into_iter().zip(counters.map(|counter| counter.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_is_counted_where_it_belongs_and_stands_there_from_the_start() {
        let region = |name| Region::new(name).unwrap();
        let series = VoteSeries::new(&region("here"), &region("there"));
        assert!(series.counts().all(|(_, count)| count == 0));
        series.received(&Ok(()));
        for refusal in RejectReason::ALL {
            series.received::<()>(&Err(refusal));
            let count = series.counts().find(|(result, _)| *result == refusal.as_str());
            assert_eq!(count, Some((refusal.as_str(), 1)));
        }
        assert_eq!(series.counts().next(), Some(("accepted", 1)));
        assert_eq!(series.labels(), "vantage_region=\"here\",peer_region=\"there\"");
    }
}
