use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::*;
use crate::{
    config::Config,
    metrics::Metrics,
    model::{
        Failure, HttpAnswer, HttpProtocol, LabelName, Path, PeerFacts, Phase, Region, Shape, StampSource, TargetName,
        Timings, TlsFacts,
    },
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

#[test]
fn no_page_has_more_latencies_than_successes_while_probes_end() {
    let metrics = metrics();
    let series = metrics.path(&path("there", "a"), ping());
    metrics.expose(of_paths([Arc::clone(&series)]));
    let number = |page: &str, of: &str| -> u64 {
        let line = page.lines().find(|line| line.starts_with(of)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let [labels, success] = ["", ",result=\"ok\""]
        .map(|more| format!("{{vantage_region=\"here\",peer_region=\"there\",target=\"a\",probe=\"icmp\"{more}}}"));
    let ends = std::sync::atomic::AtomicBool::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(std::sync::atomic::Ordering::Relaxed) {
                series.record_success(&timings(1), 1);
            }
        });
        for _ in 0..2000 {
            let page = text(&metrics, Collect::All);
            let succeeded = number(&page, &format!("regionwatch_probes_total{success}"));
            let durations = number(&page, &format!("regionwatch_probe_duration_seconds_count{labels}"));
            assert!(durations <= succeeded, "{durations} latencies of {succeeded} successes");
        }
        ends.store(true, std::sync::atomic::Ordering::Relaxed);
    });
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
    peer.publish(Some(Summary { count: 4, loss: 1.0, unanswered: 0.5, latency: None }));
    let page = text(&metrics, Collect::All);
    for (of, ratio) in [("loss", 0.5), ("failure", 1.0)] {
        let labels = "{vantage_region=\"here\",peer_region=\"there\",probe=\"tcp\"}";
        assert!(page.contains(&format!("regionwatch_peer_{of}_ratio{labels} {ratio}\n")), "{page}");
    }
    assert!(!page.contains("regionwatch_peer_latency_seconds{"));
    let ms = Duration::from_millis;
    let latency = Latency { p50: ms(5), p95: ms(6), p99: ms(7), jitter: None };
    peer.publish(Some(Summary { count: 4, loss: 0.0, unanswered: 0.0, latency: Some(latency) }));
    let page = text(&metrics, Collect::All);
    assert!(page.contains("quantile=\"0.95\"} 0.006\n"));
    assert!(!page.contains("regionwatch_peer_jitter_seconds{"));
}

#[test]
fn each_series_of_a_peer_is_on_the_page_of_the_state_or_of_the_rest() {
    let metrics = labelled("");
    let series = |collect| -> std::collections::BTreeSet<String> {
        let page = text(&metrics, collect);
        let lines = page.lines().filter(|line| line.starts_with("regionwatch_"));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let (all, state, rest) = (series(Collect::All), series(Collect::State), series(Collect::Rest));
    assert_eq!(&state | &rest, all);
    let both = &state & &rest;
    assert!(both.iter().any(|series| series.starts_with("regionwatch_build_info{")), "{both:?}");
    assert!(both.iter().all(|series| !series.contains("peer_region=")), "{both:?}");
}

/// Everything that a configuration can expose, each with a value.
fn labelled(settings: &str) -> Arc<Metrics> {
    let text =
        format!("region: here\n{settings}peers: [{{region: b, targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}]");
    let config = Config::load(Some(("c.yaml".as_ref(), &text)), []).unwrap_or_else(|errors| panic!("{errors}")).config;
    let metrics = Arc::new(Metrics::of(&config));
    let region = Region::new("b").unwrap();
    metrics.pushes(["http://am/"]);
    metrics.expose(Exposed {
        paths: [metrics.path(&path("b", "h"), ping())].into(),
        peers: [metrics.peer(&region, probe::ICMP)].into(),
        regions: [metrics.region(&region)].into(),
        votes: [metrics.votes(&region)].into(),
        anchors: [metrics.anchor("tcp://192.0.2.1:443")].into(),
        ..Exposed::default()
    });
    metrics
}

#[test]
fn every_series_has_the_environment_and_the_constant_labels() {
    let metrics = labelled("environment: \"a\\\"b\\\\\"\nlabels: {team: platform, cost_center: 42}\n");
    let constant = r#"environment="a\"b\\",cost_center="42",team="platform""#;
    for (collect, process, least) in [(Collect::All, true, 100), (Collect::State, false, 20)] {
        let page = text(&metrics, collect);
        assert_eq!(page.contains("\nprocess_open_fds{"), process);
        let samples: Vec<_> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(samples.len() > least, "{page}");
        for line in samples {
            let (_, labels) = line.split_once('{').unwrap_or_else(|| panic!("{line} has no label"));
            assert!(labels.starts_with(constant) || labels.contains(&format!(",{constant}")), "{line}");
            assert_eq!(line.matches("environment=").count(), 1, "{line}");
        }
    }
}

#[test]
fn without_an_environment_no_series_has_such_a_label() {
    let page = text(&labelled(""), Collect::All);
    assert!(!page.contains("environment=") && page.contains("\nprocess_open_fds "));
}

#[test]
fn no_constant_label_can_have_the_name_of_another_label_of_a_series() {
    let metrics = labelled("labels: {own: x}\n");
    let page = text(&metrics, Collect::All);
    let mut names: Vec<_> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.split('{').nth(1))
        .flat_map(|labels| labels.split("=\"").filter_map(|part| part.rsplit([',', '"', '{']).next()))
        .collect();
    names.extend(FAMILIES.iter().flat_map(|family| family.labels.split(", ")));
    names.extend(FAMILIES.iter().flat_map(|family| family.scope.labels().split(", ")));
    names.retain(|name| !name.is_empty() && *name != "own" && LabelName::new(name).is_ok());
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 15 && names.contains(&"le") && names.contains(&"vantage_region"), "{names:?}");
    for name in names {
        let text = format!(
            "region: here\nlabels: {{{name}: x}}\npeers: [{{region: b, targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}]"
        );
        let errors = Config::load(Some(("c.yaml".as_ref(), &text)), []).expect_err(name);
        assert!(errors.to_string().contains(&format!("labels.{name}: \"x\" has the name {name}, ")), "{errors}");
    }
}

/// A configuration of one path, with this probe and these keys of its target.
fn one_path(target: &str, probe: &str) -> Config {
    let target = format!("{{name: t, host: h, {target}probes: [{{{probe}}}]}}");
    let text = format!("region: here\nlabels: {{own: x}}\npeers: [{{region: b, targets: [{target}]}}]");
    Config::load(Some(("c.yaml".as_ref(), &text)), []).unwrap_or_else(|errors| panic!("{errors}")).config
}

/// The series of the only path of a configuration.
fn series_of(metrics: &Arc<Metrics>, probe: &str) -> Arc<PathSeries> {
    let config = one_path("", probe);
    let (path, probe) = config.paths().next().unwrap();
    let series = metrics.path_of(&path, probe);
    assert!(series.fits(probe));
    metrics.expose(of_paths([Arc::clone(&series)]));
    series
}

#[test]
fn the_status_of_a_response_is_absent_after_a_probe_without_one() {
    let metrics = metrics();
    let series = series_of(&metrics, "kind: http, url: 'http://h/'");
    let answer = HttpAnswer { status: 503, protocol: HttpProtocol::Http11, offers_http3: false };
    series.set_facts(&PeerFacts { http: Some(answer), ..PeerFacts::default() }, Instant::now());
    let labels = "{vantage_region=\"here\",peer_region=\"b\",target=\"t\",probe=\"http\"}";
    let page = text(&metrics, Collect::All);
    for line in [format!("probe_http_status_code{labels} 503\n"), format!("probe_http_version{labels} 1.1\n")] {
        assert!(page.contains(&line), "{line} in {page}");
    }
    series.set_facts(&PeerFacts::default(), Instant::now());
    let page = text(&metrics, Collect::All);
    assert!(!page.contains("probe_http_status_code{") && !page.contains("probe_http_version{"), "{page}");
}

#[test]
fn a_peer_that_shows_another_certificate_each_time_makes_one_series_per_minute() {
    let metrics = metrics();
    let series = series_of(&metrics, "kind: http, url: 'https://h/'");
    let start = Instant::now();
    let mut shown = std::collections::BTreeSet::new();
    for second in 0..180 {
        let tls = TlsFacts {
            version: (second > 0).then_some("TLS 1.3"),
            cipher: None,
            issuer: "CN=\"quoted\\".into(),
            subject: "".into(),
            fingerprint: format!("{second:064x}").into(),
        };
        let facts = PeerFacts { tls: Some(Arc::new(tls)), ..PeerFacts::default() };
        series.set_facts(&facts, start + Duration::from_secs(second));
        let page = text(&metrics, Collect::All);
        let mut lines = page.lines().filter(|line| line.starts_with("regionwatch_tls_certificate_info{"));
        shown.insert(lines.next().unwrap().to_owned());
        assert_eq!(lines.next(), None);
    }
    assert_eq!(shown.len(), 3, "{shown:?}");
    let first = shown.first().unwrap();
    let labels = "probe=\"http\",issuer=\"CN=\\\"quoted\\\\\",fingerprint_sha256=\"0";
    assert!(first.contains(labels), "{first}");
    assert!(shown.last().unwrap().contains(",version=\"TLS 1.3\",issuer="), "{shown:?}");
}

#[test]
fn the_name_that_dns_is_asked_for_is_on_the_page() {
    let metrics = metrics();
    series_of(&metrics, "kind: dns, query: _a._tcp.example, record: SRV");
    let labels = "vantage_region=\"here\",peer_region=\"b\",target=\"t\",probe=\"dns\"";
    let line = format!("probe_dns_question_info{{{labels},query=\"_a._tcp.example.\",record=\"SRV\"}} 1\n");
    let page = text(&metrics, Collect::All);
    assert!(page.contains(&line), "{line} in {page}");
}

#[test]
fn the_labels_of_a_target_are_on_each_series_of_its_paths_and_on_no_other() {
    let metrics = metrics();
    let config = one_path("labels: {team: 'a \"b\" \\c', tier: web}, ", "kind: icmp");
    let (path, probe) = config.paths().next().unwrap();
    let series = metrics.path_of(&path, probe);
    let changed = one_path("labels: {team: other}, ", "kind: icmp");
    assert!(series.fits(probe) && !series.fits(changed.paths().next().unwrap().1));
    let peers = [metrics.peer(&path.peer, path.kind)].into();
    metrics.expose(Exposed { peers, ..of_paths([series]) });
    let page = text(&metrics, Collect::All);
    let labels = "peer_region=\"b\",target=\"t\",probe=\"icmp\",team=\"a \\\"b\\\" \\\\c\",tier=\"web\"";
    let mut of_path = page.lines().filter(|line| line.contains(",target=\"t\""));
    assert!(of_path.clone().count() > 5 && of_path.all(|line| line.contains(labels)), "{page}");
    assert_eq!(page.matches("team=").count(), page.matches(",target=\"t\"").count());
}

#[test]
fn a_name_of_a_label_of_a_target_is_taken_if_every_series_or_a_metric_has_it() {
    for (name, reason) in [("own", "which every series has"), ("result", "a label of the metrics"), ("9x", "letters")] {
        let target = format!("{{host: h, labels: {{{name}: x}}, probes: [{{kind: icmp}}]}}");
        let text = format!("region: here\nlabels: {{own: x}}\npeers: [{{region: b, targets: [{target}]}}]");
        let errors = Config::load(Some(("c.yaml".as_ref(), &text)), []).expect_err(name).to_string();
        assert!(errors.contains(reason) && errors.contains("c.yaml:3:"), "{errors}");
    }
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
    // One Prometheus reads it every second from every vantage, with these series for each peer.
    let page = text(&labelled(""), Collect::State);
    let series = page.lines().filter(|line| line.contains("peer_region=\"b\"")).count();
    assert!((10..=20).contains(&series), "{series}: {page}");
}
