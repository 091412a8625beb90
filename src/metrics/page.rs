//! A page in the text format (version 0.0.4), written in pieces so that it never sits in memory whole.

use std::sync::atomic::Ordering;

use super::{
    ABSENT, AnchorSeries, Exposed, FAMILIES, Family, PathSeries, PeerSeries, PushSeries, QUANTILES, RegionSeries,
    VoteSeries,
};
use crate::model::{Failure, Phase};

/// How much is written at once: large enough that the calls do not matter, small enough that memory does not.
const PIECE: usize = 24 << 10;

/// Which part of the metrics is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Collect {
    /// Everything.
    #[default]
    All,
    /// Only what tells the state of things, for scrapes each second.
    State,
}

impl Collect {
    /// The value of the query parameter `collect`.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "all" => Some(Self::All),
            "state" => Some(Self::State),
            _ => None,
        }
    }
}

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    head: Option<Vec<u8>>,
    exposed: Exposed,
    collect: Collect,
    family: usize,
    row: usize,
}

impl Page {
    pub(super) const fn new(head: Vec<u8>, exposed: Exposed, collect: Collect) -> Self {
        Self { head: Some(head), exposed, collect, family: 0, row: 0 }
    }

    /// Appends the next piece, about 24 KiB, and says whether more follows.
    pub fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(head) = self.head.take() {
            out.extend_from_slice(&head);
        }
        let end = out.len() + PIECE;
        while let Some(family) = FAMILIES.get(self.family) {
            let Some(writer) = writer(family).filter(|_| self.collect == Collect::All || family.state) else {
                self.family += 1;
                continue;
            };
            let rows = match writer {
                Writer::Path(_) => self.exposed.paths.len(),
                Writer::Peer(_) => self.exposed.peers.len(),
                Writer::Region(_) => self.exposed.regions.len(),
                Writer::Anchor(_) => self.exposed.anchors.len(),
                Writer::Votes(_) => self.exposed.votes.len(),
                Writer::Push(_) => self.exposed.pushes.len(),
            };
            while self.row < rows {
                if out.len() >= end {
                    return true;
                }
                if self.row == 0 {
                    headline(out, family);
                }
                match writer {
                    Writer::Path(write) => write(&mut Line { out, family }, &self.exposed.paths[self.row]),
                    Writer::Peer(write) => write(&mut Line { out, family }, &self.exposed.peers[self.row]),
                    Writer::Region(write) => write(&self.exposed.regions[self.row], &mut Line { out, family }),
                    Writer::Anchor(write) => write(&self.exposed.anchors[self.row], &mut Line { out, family }),
                    Writer::Votes(write) => write(&mut Line { out, family }, &self.exposed.votes[self.row]),
                    Writer::Push(write) => write(&mut Line { out, family }, &self.exposed.pushes[self.row]),
                }
                self.row += 1;
            }
            self.family += 1;
            self.row = 0;
        }
        false
    }
}

fn headline(out: &mut Vec<u8>, family: &Family) {
    for (word, text) in [("# HELP ", family.help), ("# TYPE ", family.kind)] {
        for part in [word, family.name, " ", text, "\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// Writes lines of one family.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    family: &'a Family,
}

impl Line<'_> {
    /// `name_suffix{labels,name="value"} `
    fn begin(&mut self, suffix: &str, labels: &str, (name, value): (&str, &str)) {
        for part in [self.family.name, suffix, "{", labels] {
            self.out.extend_from_slice(part.as_bytes());
        }
        if !name.is_empty() {
            for part in [",", name, "=\"", value, "\""] {
                self.out.extend_from_slice(part.as_bytes());
            }
        }
        self.out.extend_from_slice(b"} ");
    }

    pub(super) fn integer(&mut self, suffix: &str, labels: &str, label: (&str, &str), value: u64) {
        self.begin(suffix, labels, label);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self.out.push(b'\n');
    }

    pub(super) fn float(&mut self, suffix: &str, labels: &str, label: (&str, &str), value: f64) {
        self.begin(suffix, labels, label);
        self.out.extend_from_slice(zmij::Buffer::new().format(value).as_bytes());
        self.out.push(b'\n');
    }
}

pub(super) const NONE: (&str, &str) = ("", "");

enum Writer {
    Path(fn(&mut Line<'_>, &PathSeries)),
    Peer(fn(&mut Line<'_>, &PeerSeries)),
    Region(fn(&RegionSeries, &mut Line<'_>)),
    Anchor(fn(&AnchorSeries, &mut Line<'_>)),
    Votes(fn(&mut Line<'_>, &VoteSeries)),
    Push(fn(&mut Line<'_>, &PushSeries)),
}

/// Who writes a family; `None` for those of the registry.
fn writer(family: &Family) -> Option<Writer> {
    use Writer::{Anchor, Path, Peer, Push, Region, Votes};
    Some(match *family {
        super::PROBE_SUCCESS => Path(success),
        super::PROBE_LAST_SUCCESS => Path(last_success),
        super::PROBES => Path(probes),
        super::PROBE_DURATION => Path(duration),
        super::PROBE_PHASE_DURATION => Path(phases),
        super::PROBE_LATE => Path(|line, path| {
            if path.shape.late {
                line.integer("", &path.labels, NONE, path.late.load(Ordering::Relaxed));
            }
        }),
        super::PROBE_DUPLICATES => Path(|line, path| {
            if path.shape.duplicates {
                line.integer("", &path.labels, NONE, path.duplicates.load(Ordering::Relaxed));
            }
        }),
        super::TCP_SYN_RETRANSMITS => Path(|line, path| {
            if path.shape.retransmits() {
                line.integer("", &path.labels, NONE, path.retransmits.load(Ordering::Relaxed));
            }
        }),
        super::PROBE_SLOTS_MISSED => Path(|line, path| {
            line.integer("", &path.labels, NONE, path.slots_missed.load(Ordering::Relaxed));
        }),
        super::PROBE_REPLY_HOP_LIMIT => Path(|line, path| {
            let hops = path.hop_limit.load(Ordering::Relaxed);
            if hops != ABSENT {
                line.integer("", &path.labels, NONE, hops);
            }
        }),
        super::TLS_CERTIFICATE_EXPIRY => Path(|line, path| {
            let expiry = path.certificate_expiry.load(Ordering::Relaxed);
            if expiry != i64::MIN {
                line.float("", &path.labels, NONE, expiry as f64);
            }
        }),
        super::PEER_LATENCY => Peer(|line, peer| {
            for (gauge, quantile) in peer.quantiles.iter().zip(QUANTILES) {
                gauge_line(line, peer, ("quantile", quantile), gauge);
            }
        }),
        super::PEER_LOSS => Peer(|line, peer| gauge_line(line, peer, NONE, &peer.loss)),
        super::PEER_JITTER => Peer(|line, peer| gauge_line(line, peer, NONE, &peer.jitter)),
        super::PEER_STATE => Region(RegionSeries::write_state),
        super::PEER_STATE_SINCE => Region(RegionSeries::write_since),
        super::PEER_STATE_CHANGES => Region(RegionSeries::write_changes),
        super::PEER_VOTES => Region(RegionSeries::write_votes),
        super::PEER_QUORUM => Region(RegionSeries::write_quorum),
        super::PEER_QUORUM_REACHED => Region(RegionSeries::write_reached),
        super::CANDIDATE_ELIGIBLE => Region(RegionSeries::write_eligible),
        super::CANDIDATE_INELIGIBLE => Region(RegionSeries::write_reasons),
        super::CANDIDATE_RANK => Region(RegionSeries::write_rank),
        super::CANDIDATE_SCORE => Region(RegionSeries::write_score),
        super::PEER_DISTANCE => Region(RegionSeries::write_distance),
        super::PEER_LIGHT_RTT => Region(RegionSeries::write_light_rtt),
        super::INCIDENTS => Region(RegionSeries::write_incidents),
        super::ANCHOR_SUCCESS => Anchor(AnchorSeries::write),
        super::VOTES_RECEIVED => Votes(|line, votes| {
            for (result, count) in votes.counts() {
                line.integer("", votes.labels(), ("result", result), count);
            }
        }),
        super::ALERT_PUSHES => Push(PushSeries::write_results),
        super::ALERT_PUSH_DURATION => Push(PushSeries::write_durations),
        _ => return None,
    })
}

fn gauge_line(line: &mut Line<'_>, peer: &PeerSeries, label: (&str, &str), gauge: &std::sync::atomic::AtomicU64) {
    let value = f64::from_bits(gauge.load(Ordering::Relaxed));
    if !value.is_nan() {
        line.float("", &peer.labels, label, value);
    }
}

fn success(line: &mut Line<'_>, path: &PathSeries) {
    let success = path.success.load(Ordering::Relaxed);
    if success != ABSENT {
        line.integer("", &path.labels, ("layer", path.kind.layer().as_str()), success);
    }
}

fn last_success(line: &mut Line<'_>, path: &PathSeries) {
    let nanos = path.last_success_nanos.load(Ordering::Relaxed);
    if nanos != ABSENT {
        // Milliseconds: a double cannot hold nanoseconds since 1970.
        line.float("", &path.labels, NONE, (nanos / 1_000_000) as f64 / 1e3);
    }
}

fn probes(line: &mut Line<'_>, path: &PathSeries) {
    let names = std::iter::once("ok").chain(Failure::ALL.iter().map(|failure| failure.as_str()));
    // Every path can succeed.
    let possible = std::iter::once(true).chain(Failure::ALL.map(|failure| path.shape.results.contains(failure)));
    for ((counter, result), possible) in path.results.iter().zip(names).zip(possible) {
        let count = counter.load(Ordering::Relaxed);
        // A result that should not be possible is shown all the same once it has happened.
        if count > 0 || possible {
            line.integer("", &path.labels, ("result", result), count);
        }
    }
}

fn duration(line: &mut Line<'_>, path: &PathSeries) {
    let mut count = 0;
    for (bucket, bound) in path.buckets.iter().zip(path.bounds.iter()) {
        count += bucket.load(Ordering::Relaxed);
        line.integer("_bucket", &path.labels, ("le", &bound.text), count);
    }
    count += path.buckets.last().map_or(0, |bucket| bucket.load(Ordering::Relaxed));
    line.integer("_bucket", &path.labels, ("le", "+Inf"), count);
    line.float("_sum", &path.labels, NONE, seconds(path.sum_nanos.load(Ordering::Relaxed)));
    line.integer("_count", &path.labels, NONE, count);
}

fn phases(line: &mut Line<'_>, path: &PathSeries) {
    for phase in Phase::ALL {
        let count = path.phase_counts[phase as usize].load(Ordering::Relaxed);
        if count > 0 || path.shape.phases.contains(phase) {
            let label = ("phase", phase.as_str());
            let nanos = path.phase_nanos[phase as usize].load(Ordering::Relaxed);
            line.float("_sum", &path.labels, label, seconds(nanos));
            line.integer("_count", &path.labels, label, count);
        }
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        metrics::Metrics,
        model::{Path, Region, Shape, StampSource, TargetName, Timings},
        probe,
        window::{Latency, Summary},
    };

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new(&Region::new("here").unwrap(), &[0.001, 0.01]).unwrap())
    }

    fn ping() -> Shape {
        Shape { duplicates: true, ..Shape::new([Phase::Rtt], []) }
    }

    fn path(peer: &str, target: &str) -> Path {
        Path { peer: Region::new(peer).unwrap(), target: TargetName::new(target).unwrap(), kind: probe::ICMP }
    }

    fn text(metrics: &Arc<Metrics>, collect: Collect) -> String {
        let mut page = metrics.page(collect);
        let mut out = Vec::new();
        while page.next(&mut out) {}
        String::from_utf8(out).unwrap()
    }

    fn timings(micros: u64) -> Timings {
        Timings::single(Phase::Rtt, Duration::from_micros(micros), StampSource::Kernel)
    }

    #[test]
    fn a_failure_is_never_a_number() {
        let metrics = metrics();
        let series = metrics.path(&path("there", "a"), ping());
        metrics.expose(Exposed::of_paths([Arc::clone(&series)]));
        series.failed(Failure::Timeout);
        let page = text(&metrics, Collect::All);
        assert!(page.contains("probe_duration_seconds_count{vantage_region=\"here\",peer_region=\"there\",target=\"a\",probe=\"icmp\"} 0\n"));
        assert!(page.contains("result=\"timeout\"} 1\n"));
        assert!(page.contains("layer=\"l3\"} 0\n"));
        assert!(!page.contains("probe_last_success_timestamp_seconds{"));
        assert!(!page.contains("regionwatch_peer_latency_seconds{"));
    }

    #[test]
    fn buckets_are_cumulative_and_agree_with_the_count() {
        let metrics = metrics();
        let series = metrics.path(&path("there", "a"), ping());
        metrics.expose(Exposed::of_paths([Arc::clone(&series)]));
        for micros in [1000, 1001, 50_000] {
            series.succeeded(&timings(micros), 1_700_000_000_123_456_789);
        }
        let page = text(&metrics, Collect::All);
        for line in ["le=\"0.001\"} 1\n", "le=\"0.01\"} 2\n", "le=\"+Inf\"} 3\n"] {
            assert!(page.contains(line), "{line} in {page}");
        }
        assert!(
            page.contains("_sum{vantage_region=\"here\",peer_region=\"there\",target=\"a\",probe=\"icmp\"} 0.052001\n")
        );
        assert!(page.contains("} 1700000000.123\n"), "{page}");
    }

    /// The crate's own vectors merge these: both label sets, joined, are "region1" + "1".
    #[test]
    fn label_sets_that_join_to_the_same_text_stay_apart() {
        let metrics = metrics();
        let first = metrics.path(&path("eu-1", "2"), ping());
        let second = metrics.path(&path("eu-12", "x"), ping());
        metrics.expose(Exposed::of_paths([Arc::clone(&first), second]));
        first.failed(Failure::Timeout);
        let page = text(&metrics, Collect::All);
        assert!(page.contains("peer_region=\"eu-12\",target=\"x\",probe=\"icmp\",result=\"timeout\"} 0\n"));
    }

    #[test]
    fn every_counter_stands_there_from_the_start() {
        let metrics = metrics();
        metrics.expose(Exposed::of_paths([metrics.path(&path("there", "a"), ping())]));
        let page = text(&metrics, Collect::All);
        for result in ["ok", "timeout", "unreachable", "local"] {
            assert!(page.contains(&format!("result=\"{result}\"}} 0\n")), "{result}");
        }
        assert!(!page.contains("result=\"tls\""), "a ping cannot fail of TLS");
    }

    #[test]
    fn a_page_in_pieces_is_the_same_as_in_one() {
        let metrics = metrics();
        let paths: Vec<_> = (0..500).map(|n| metrics.path(&path("there", &format!("t{n}")), ping())).collect();
        metrics.expose(Exposed::of_paths(paths));
        let mut page = metrics.page(Collect::All);
        let mut pieces = 0;
        let mut whole = Vec::new();
        loop {
            let mut piece = Vec::new();
            let more = page.next(&mut piece);
            assert!(piece.len() < 2 * PIECE);
            whole.extend(piece);
            pieces += 1;
            if !more {
                break;
            }
        }
        assert!(pieces > 3);
        let whole = String::from_utf8(whole).unwrap();
        let samples = |text: &str| text.lines().filter(|line| line.contains("target=")).count();
        assert_eq!(samples(&whole), samples(&text(&metrics, Collect::All)));
        assert_eq!(whole.matches("# TYPE regionwatch_probes_total").count(), 1);
    }

    /// A piece can be full wherever a family begins.
    #[test]
    fn each_family_has_one_headline_however_the_pages_are_cut() {
        let metrics = metrics();
        let path = |n: usize| metrics.path(&path("there", &"t".repeat(n)), ping());
        for (paths, length) in (20..32).flat_map(|paths| (1..=60).map(move |length| (paths, length))) {
            metrics.expose(Exposed::of_paths(std::iter::repeat_n(path(length), paths)));
            let page = text(&metrics, Collect::All);
            let mut heads: Vec<_> = page.lines().filter(|line| line.starts_with("# HELP regionwatch_")).collect();
            let all = heads.len();
            heads.sort_unstable();
            heads.dedup();
            assert_eq!(heads.len(), all, "{paths} paths");
        }
    }

    #[test]
    fn a_peer_without_successes_has_loss_but_no_latency() {
        let metrics = metrics();
        let peer = metrics.peer(&Region::new("there").unwrap(), probe::TCP);
        metrics.expose(Exposed { peers: [Arc::clone(&peer)].into(), ..Exposed::default() });
        peer.publish(Some(Summary { count: 4, loss: 1.0, latency: None }));
        let page = text(&metrics, Collect::State);
        assert!(
            page.contains("regionwatch_peer_loss_ratio{vantage_region=\"here\",peer_region=\"there\",probe=\"tcp\"} 1")
        );
        assert!(!page.contains("regionwatch_peer_latency_seconds{"));
        let ms = Duration::from_millis;
        let latency = Latency { p50: ms(5), p95: ms(6), p99: ms(7), jitter: None };
        peer.publish(Some(Summary { count: 4, loss: 0.0, latency: Some(latency) }));
        let page = text(&metrics, Collect::State);
        assert!(page.contains("quantile=\"0.95\"} 0.006\n"));
        assert!(!page.contains("regionwatch_peer_jitter_seconds{"));
    }

    #[test]
    fn the_state_page_is_small() {
        let metrics = metrics();
        let series = metrics.path(&path("there", "a"), ping());
        metrics.expose(Exposed::of_paths([Arc::clone(&series)]));
        series.failed(Failure::Timeout);
        let page = text(&metrics, Collect::State);
        assert!(page.contains("regionwatch_probe_success{") && page.contains("regionwatch_build_info{"));
        assert!(!page.contains("_bucket") && !page.contains("process_"));
    }
}
