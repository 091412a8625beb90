//! The series of the pushes to one Alertmanager.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{add, page::Line, zeros};
use crate::model::{Failure, Region, labels};

/// Upper bounds of the histogram, in seconds: an Alertmanager nearby answers in one millisecond, and one push may
/// take a second.
const BUCKETS: [(u64, &str); 10] = [
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
];

labels! {
    /// What came of a push; the `result` label.
    pub enum PushResult {
        /// Accepted.
        Ok = "ok",
        /// No answer within the limit.
        Timeout = "timeout",
        /// The host is alive and nothing listens, or the connection was reset.
        Refused = "refused",
        /// The network said that there is no way.
        Unreachable = "unreachable",
        /// The name has no address.
        Resolve = "resolve",
        /// The TLS handshake failed.
        Tls = "tls",
        /// The answer is no HTTP, or too large.
        Protocol = "protocol",
        /// Our own fault: no descriptor, no route, no permission.
        Local = "local",
        /// A redirect, or another status that is neither success nor error.
        Status3xx = "status_3xx",
        /// Alertmanager, or what stands before it, refuses what was sent.
        Status4xx = "status_4xx",
        /// Alertmanager, or what stands before it, has failed.
        Status5xx = "status_5xx",
    }
}

impl PushResult {
    /// What an HTTP status means.
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..300 => Self::Ok,
            400..500 => Self::Status4xx,
            500.. => Self::Status5xx,
            _ => Self::Status3xx,
        }
    }
}

impl From<Failure> for PushResult {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Timeout => Self::Timeout,
            Failure::Refused => Self::Refused,
            Failure::Unreachable => Self::Unreachable,
            Failure::Resolve => Self::Resolve,
            Failure::Tls => Self::Tls,
            Failure::Local => Self::Local,
            Failure::Protocol | Failure::Status | Failure::Mismatch | Failure::Auth => Self::Protocol,
        }
    }
}

/// The series of one Alertmanager. Written by its worker alone, read by scrapes; nothing waits.
#[derive(Debug)]
pub struct PushSeries {
    /// `vantage_region="..",alertmanager=".."`, rendered once.
    labels: Box<str>,
    results: [AtomicU64; PushResult::ALL.len()],
    /// Not cumulative; the last is +Inf.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_nanos: AtomicU64,
}

impl PushSeries {
    /// How many series there are for each Alertmanager.
    pub(super) const COUNT: usize = PushResult::ALL.len() + BUCKETS.len() + 3;

    pub(super) fn new(labels: Box<str>) -> Self {
        Self { labels, results: zeros(), buckets: zeros(), sum_nanos: AtomicU64::new(0) }
    }

    /// The labels of an Alertmanager's URL.
    pub(super) fn labels(vantage: &Region, url: &str) -> Box<str> {
        let url = url.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("vantage_region=\"{vantage}\",alertmanager=\"{url}\"").into()
    }

    pub(super) fn is(&self, labels: &str) -> bool {
        *self.labels == *labels
    }

    /// A push was accepted after so long.
    pub fn accepted(&self, after: Duration) {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        add(&self.buckets[BUCKETS.partition_point(|(bound, _)| *bound < nanos)], 1);
        add(&self.sum_nanos, nanos);
        self.count(PushResult::Ok);
    }

    /// A push failed. It has no duration.
    pub fn failed(&self, result: PushResult) {
        self.count(result);
    }

    fn count(&self, result: PushResult) {
        add(&self.results[result as usize], 1);
    }

    /// How often this was the result.
    pub fn total(&self, result: PushResult) -> u64 {
        self.results[result as usize].load(Ordering::Relaxed)
    }

    pub(super) fn write_results(line: &mut Line<'_>, series: &Self) {
        for result in PushResult::ALL {
            line.integer("", &series.labels, ("result", result.as_str()), series.total(result));
        }
    }

    pub(super) fn write_durations(line: &mut Line<'_>, series: &Self) {
        let bounds = BUCKETS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        let mut count = 0;
        for (bucket, bound) in series.buckets.iter().zip(bounds) {
            count += bucket.load(Ordering::Relaxed);
            line.integer("_bucket", &series.labels, ("le", bound), count);
        }
        let seconds = series.sum_nanos.load(Ordering::Relaxed) as f64 / 1e9;
        line.float("_sum", &series.labels, ("", ""), seconds);
        line.integer("_count", &series.labels, ("", ""), count);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metrics::{Collect, Metrics};

    fn page(metrics: &Arc<Metrics>) -> String {
        let mut page = metrics.page(Collect::All);
        let mut out = Vec::new();
        while page.next(&mut out) {}
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_result_stands_there_from_the_start() {
        let metrics = Arc::new(Metrics::new(&Region::new("here").unwrap(), &[0.1]).unwrap());
        let [series] = metrics.pushes(["http://am:9093/"]).try_into().unwrap();
        for result in PushResult::ALL {
            assert_eq!(PushResult::ALL[result as usize], result);
            let line = format!(
                "regionwatch_alert_pushes_total{{vantage_region=\"here\",alertmanager=\"http://am:9093/\",result=\"{}\"}} 0\n",
                result.as_str()
            );
            assert!(page(&metrics).contains(&line), "{line}");
        }
        series.accepted(Duration::from_millis(1));
        series.accepted(Duration::from_secs(3));
        series.failed(PushResult::Timeout);
        let page = page(&metrics);
        for end in ["le=\"0.001\"} 1\n", "le=\"1\"} 1\n", "le=\"+Inf\"} 2\n", "result=\"ok\"} 2\n"] {
            assert!(page.contains(&format!("alertmanager=\"http://am:9093/\",{end}")), "{end}{page}");
        }
        let samples = page.lines().filter(|line| line.contains("alertmanager=")).count();
        assert_eq!(samples, PushSeries::COUNT);
    }

    #[test]
    fn an_alertmanager_that_stays_keeps_its_counters_and_one_that_goes_leaves_the_page() {
        let metrics = Arc::new(Metrics::new(&Region::new("here").unwrap(), &[0.1]).unwrap());
        metrics.pushes(["http://a/", "http://b/\"\\"])[0].failed(PushResult::Tls);
        assert!(page(&metrics).contains("alertmanager=\"http://b/\\\"\\\\\""));
        metrics.expose(crate::metrics::Exposed::default());
        let kept = metrics.pushes(["http://a/"]);
        assert_eq!(kept[0].total(PushResult::Tls), 1);
        assert!(!page(&metrics).contains("http://b/"));
    }
}
