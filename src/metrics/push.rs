//! The series of the pushes to one Alertmanager.

use std::time::Duration;

use super::{
    samples::{InstanceLabels, Samples, Series, escaped},
    value::{Counter, Histogram, bounds},
};
use crate::model::PushResult;

/// Upper bounds of the histogram, in seconds: an Alertmanager nearby answers in one millisecond, and one push may
/// take a second.
const BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// The series of one Alertmanager.
#[derive(Debug)]
pub struct PushSeries {
    labels: Box<str>,
    results: [Counter; PushResult::ALL.len()],
    pub(super) duration: Histogram,
}

impl Series for PushSeries {
    fn labels(&self) -> &str {
        &self.labels
    }
}

impl PushSeries {
    pub(super) fn new(labels: Box<str>) -> Self {
        Self { labels, results: Default::default(), duration: Histogram::new(bounds(&BUCKETS)) }
    }

    /// The labels of an Alertmanager's URL.
    pub(super) fn labels_of(instance: &InstanceLabels, url: &str) -> Box<str> {
        let url = escaped(url);
        format!("{instance},alertmanager=\"{url}\"").into()
    }

    /// Records a push. If it failed, it has no duration.
    pub fn record(&self, result: PushResult, duration: Duration) {
        // A page reads these two the other way round.
        self.results[result as usize].add(1);
        if result == PushResult::Ok {
            self.duration.observe(duration);
        }
    }

    /// How often this was the result.
    pub fn total(&self, result: PushResult) -> u64 {
        self.results[result as usize].get()
    }

    pub(super) fn write_results(&self, out: &mut Samples<'_>) {
        out.each("result", |result| self.total(result));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        metrics::{Collect, Metrics},
        model::Region,
    };

    fn page(metrics: &Arc<Metrics>) -> String {
        let mut page = metrics.page(Collect::All);
        let mut out = Vec::new();
        while page.next(&mut out) {}
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_result_is_exported_from_the_start() {
        let metrics = Arc::new(Metrics::new(&Region::new("here").unwrap(), &[0.1]));
        let [series] = metrics.pushes(["http://am:9093/"]).try_into().unwrap();
        for result in PushResult::ALL {
            assert_eq!(PushResult::ALL[result as usize], result);
            let line = format!(
                "regionwatch_alert_pushes_total{{vantage_region=\"here\",alertmanager=\"http://am:9093/\",result=\"{}\"}} 0\n",
                result.as_str()
            );
            assert!(page(&metrics).contains(&line), "{line}");
        }
        series.record(PushResult::Ok, Duration::from_millis(1));
        series.record(PushResult::Ok, Duration::from_secs(3));
        series.record(PushResult::Timeout, Duration::from_secs(1));
        let page = page(&metrics);
        for end in ["le=\"0.001\"} 1\n", "le=\"1\"} 1\n", "le=\"+Inf\"} 2\n", "result=\"ok\"} 2\n"] {
            assert!(page.contains(&format!("alertmanager=\"http://am:9093/\",{end}")), "{end}{page}");
        }
        let samples = page.lines().filter(|line| line.contains("alertmanager=")).count();
        assert_eq!(samples, PushResult::ALL.len() + BUCKETS.len() + 3);
    }

    #[test]
    fn a_kept_alertmanager_keeps_its_counters_and_a_removed_one_is_no_longer_exported() {
        let metrics = Arc::new(Metrics::new(&Region::new("here").unwrap(), &[0.1]));
        metrics.pushes(["http://a/", "http://b/\"\\"])[0].record(PushResult::Tls, Duration::ZERO);
        assert!(page(&metrics).contains("alertmanager=\"http://b/\\\"\\\\\""));
        metrics.expose(crate::metrics::Exposed::default());
        let kept = metrics.pushes(["http://a/"]);
        assert_eq!(kept[0].total(PushResult::Tls), 1);
        assert!(!page(&metrics).contains("http://b/"));
    }
}
