use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    metrics::Metrics,
    model::{Failure, Path, Phase, Region, Shape, StampSource, TargetName, Timings},
    probe,
    window::{Latency, Summary},
};

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(&Region::new("here").unwrap(), &[0.001, 0.01]))
}

fn of_paths(paths: impl IntoIterator<Item = Arc<PathSeries>>) -> Exposed {
    Exposed { paths: paths.into_iter().collect(), ..Exposed::default() }
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
fn a_failure_exports_no_latency_and_no_last_success() {
    let metrics = metrics();
    let series = metrics.path(&path("there", "a"), ping());
    metrics.expose(of_paths([Arc::clone(&series)]));
    series.record_failure(Failure::Timeout);
    let page = text(&metrics, Collect::All);
    assert!(page.contains(
        "probe_duration_seconds_count{vantage_region=\"here\",peer_region=\"there\",target=\"a\",probe=\"icmp\"} 0\n"
    ));
    assert!(page.contains("result=\"timeout\"} 1\n"));
    assert!(page.contains("layer=\"l3\"} 0\n"));
    assert!(!page.contains("probe_last_success_timestamp_seconds{"));
    assert!(!page.contains("regionwatch_peer_latency_seconds{"));
}

#[test]
fn buckets_are_cumulative_and_agree_with_the_count() {
    let metrics = metrics();
    let series = metrics.path(&path("there", "a"), ping());
    metrics.expose(of_paths([Arc::clone(&series)]));
    for micros in [1000, 1001, 50_000] {
        series.record_success(&timings(micros), 1_700_000_000_123_456_789);
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
    metrics.expose(of_paths([Arc::clone(&first), second]));
    first.record_failure(Failure::Timeout);
    let page = text(&metrics, Collect::All);
    assert!(page.contains("peer_region=\"eu-12\",target=\"x\",probe=\"icmp\",result=\"timeout\"} 0\n"));
}

#[test]
fn every_counter_is_exported_from_the_start() {
    let metrics = metrics();
    metrics.expose(of_paths([metrics.path(&path("there", "a"), ping())]));
    let page = text(&metrics, Collect::All);
    for result in ["ok", "timeout", "unreachable", "local"] {
        assert!(page.contains(&format!("result=\"{result}\"}} 0\n")), "{result}");
    }
    assert!(!page.contains("result=\"tls\""), "a ping cannot fail of TLS");
}

#[test]
fn a_page_in_chunks_equals_the_whole_page() {
    let metrics = metrics();
    let paths: Vec<_> = (0..500).map(|n| metrics.path(&path("there", &format!("t{n}")), ping())).collect();
    metrics.expose(of_paths(paths));
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

/// A chunk can be full wherever a family begins.
#[test]
fn each_family_has_one_help_line_however_the_page_is_split() {
    let metrics = metrics();
    let path = |n: usize| metrics.path(&path("there", &"t".repeat(n)), ping());
    for (paths, length) in (20..32).flat_map(|paths| (1..=60).map(move |length| (paths, length))) {
        metrics.expose(of_paths(std::iter::repeat_n(path(length), paths)));
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
    metrics.expose(of_paths([Arc::clone(&series)]));
    series.record_failure(Failure::Timeout);
    let page = text(&metrics, Collect::State);
    assert!(page.contains("regionwatch_probe_success{") && page.contains("regionwatch_build_info{"));
    assert!(!page.contains("_bucket") && !page.contains("process_"));
}
