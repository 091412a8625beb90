//! What Prometheus makes of samples that come seldom, or stop coming: an exporter that says what a sidecar would, and the
//! rules that are shipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use regionwatch::net::Timestamp;
use serde_json::Value;
use testkit::{
    needs::{Need, require},
    process::{Running, escaped, eventually, free, request, write},
};
use tokio::time::Instant;

use testkit::regions::alerting::shipped;

const SECOND: Duration = Duration::from_secs(1);

/// Serves, under the name of each region, what a vantage says about it: whether it holds it down, and as of when in Unix
/// milliseconds. A sample that is read again is no further one.
fn exporter(mut says: impl FnMut(&str) -> (bool, u64) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let Some(first) = lines.next() else { continue };
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let region = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
            let (down, at) = says(region);
            let down = u8::from(down);
            let labels = format!("vantage_region=\"a\",peer_region=\"{region}\"");
            let page = format!(
                "regionwatch_incidents{{{labels},stage=\"execute\"}} {down} {at}\n\
                 regionwatch_peer_state{{{labels},state=\"down\"}} {down} {at}\n\
                 regionwatch_peer_quorum_reached{{{labels}}} {down} {at}\n"
            );
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
        }
    });
    address
}

fn now() -> u64 {
    Timestamp::now().unix_nanos() / 1_000_000
}

fn job(region: &str, interval: u32, exporter: SocketAddr) -> String {
    format!(
        "- {{job_name: {region}, scrape_interval: {interval}s, scrape_timeout: 1s, metrics_path: /{region}, \
         static_configs: [{{targets: ['{exporter}']}}]}}\n"
    )
}

/// A Prometheus of this configuration, in a folder of its own.
struct Prometheus {
    address: SocketAddr,
    process: Running,
}

impl Prometheus {
    fn start(folder: &Path, config: &str, flags: &[&str]) -> Self {
        let address = free();
        std::fs::create_dir_all(folder).unwrap();
        let config = write(folder, "prometheus.yml", config);
        let own = [
            format!("--config.file={config}"),
            format!("--storage.tsdb.path={}", folder.join("data").display()),
            format!("--web.listen-address={address}"),
        ];
        let args: Vec<_> = own.iter().map(String::as_str).chain(flags.iter().copied()).collect();
        let process = Running::start("prometheus", &args, &[]);
        eventually("Prometheus is ready", 20 * SECOND, || {
            request(address, "GET", "/-/ready").filter(|answer| answer.status == 200)
        });
        Self { address, process }
    }

    fn ask(&self, path: &str) -> Option<Value> {
        serde_json::from_str(&request(self.address, "GET", path)?.body).ok()
    }

    /// How many series the query finds.
    fn finds(&self, query: &str) -> usize {
        let answer = self.ask(&format!("/api/v1/query?query={}", escaped(query)));
        answer.and_then(|answer| Some(answer["data"]["result"].as_array()?.len())).unwrap_or_default()
    }

    /// The regions that the rules order to fail over.
    fn ordered(&self) -> BTreeSet<String> {
        let answer = self.ask("/api/v1/alerts").unwrap_or_else(|| panic!("no alerts: {}", self.process.said()));
        let alerts = answer["data"]["alerts"].as_array().unwrap().iter().map(|alert| &alert["labels"]);
        let orders = alerts.filter(|labels| labels["alertname"] == "RegionwatchPeerFailover");
        orders.map(|labels| labels["peer_region"].as_str().unwrap().to_owned()).collect()
    }
}

/// A Prometheus beside the sidecar scrapes each second and sends to the one that has the rules.
#[test]
fn the_last_sample_before_a_remote_write_broke_orders_no_failover_and_keeps_none() {
    require(&[Need::Tool("prometheus")]);
    let folder = tempfile::tempdir().unwrap();
    let (down, lasts) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (is_down, does_last) = (Arc::clone(&down), Arc::clone(&lasts));
    let mut first = None;
    let exporter = exporter(move |_| match is_down.load(Ordering::Relaxed) {
        true if does_last.load(Ordering::Relaxed) => (true, now()),
        // However late the link is cut, one sample says so.
        true => (true, *first.get_or_insert_with(now)),
        false => (false, now()),
    });
    let rules = shipped("regionwatch.rules.yml");
    let central = Prometheus::start(
        &folder.path().join("central"),
        &format!("global: {{evaluation_interval: 1s}}\nrule_files: ['{rules}']\n"),
        &["--web.enable-remote-write-receiver"],
    );
    let config = format!(
        "remote_write: [{{url: 'http://{}/api/v1/write', queue_config: {{batch_send_deadline: 100ms}}}}]\n\
         scrape_configs:\n{}",
        central.address,
        job("c", 1, exporter)
    );
    let writer = || Prometheus::start(&folder.path().join("writer"), &config, &[]);

    let cut = writer();
    eventually("samples are written", 20 * SECOND, || {
        (central.finds("count_over_time(regionwatch_incidents[10s]) > 3") == 1).then_some(())
    });
    down.store(true, Ordering::Relaxed);
    eventually("one sample says down", 10 * SECOND, || {
        (central.finds("regionwatch_incidents == 1") == 1).then_some(())
    });
    drop(cut);
    let broke = Instant::now();
    assert_eq!(central.finds("sum_over_time(regionwatch_incidents[1m]) == 1"), 1);
    while broke.elapsed() < 36 * SECOND {
        assert_eq!(central.ordered(), BTreeSet::new(), "{:?} after the link broke", broke.elapsed());
        thread::sleep(SECOND / 4);
    }
    assert_eq!(central.finds("regionwatch_incidents == 1"), 1, "Prometheus still shows the last sample");

    lasts.store(true, Ordering::Relaxed);
    let again = writer();
    let orders = eventually("an order", 40 * SECOND, || Some(central.ordered()).filter(|orders| !orders.is_empty()));
    assert_eq!(orders, ["c".to_owned()].into());
    drop(again);
    let broke = Instant::now();
    eventually("the end of the order", 14 * SECOND, || central.ordered().is_empty().then_some(()));
    testkit::regions::report(&format!("the order ended {:.1} s after the link broke", broke.elapsed().as_secs_f64()));
}

/// Each of these regions is down for some seconds around its scrape, as an outage of 9 s can be. There are several, so
/// that one of them is scraped soon.
#[test]
fn an_outage_of_seconds_around_a_scrape_of_60_s_orders_no_failover() {
    require(&[Need::Tool("prometheus")]);
    let folder = tempfile::tempdir().unwrap();
    let mut scraped = BTreeMap::new();
    let exporter = exporter(move |region| {
        let first: &mut Instant = scraped.entry(region.to_owned()).or_insert_with(Instant::now);
        (!region.starts_with("short") || first.elapsed() < 5 * SECOND, now())
    });
    let short: String = (1..=8).map(|n| job(&format!("short-{n}"), 60, exporter)).collect();
    let config = format!(
        "global: {{evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n{short}{}{}",
        shipped("regionwatch.rules.yml"),
        job("each-1-s", 1, exporter),
        job("each-15-s", 15, exporter),
    );
    let prometheus = Prometheus::start(folder.path(), &config, &[]);
    // An outage that lasts is ordered at a scrape of 1 s, and never at 15 s.
    let mut ordered = BTreeSet::new();
    let old = "regionwatch_incidents{peer_region=~'short.*'} == 1 and timestamp(regionwatch_incidents) < time() - 40";
    let slow = "count_over_time(regionwatch_incidents{peer_region='each-15-s'}[1m]) >= 3";
    eventually("a sample of a short outage is 40 s old", 100 * SECOND, || {
        ordered.append(&mut prometheus.ordered());
        (prometheus.finds(old) > 0 && prometheus.finds(slow) > 0).then_some(())
    });
    assert_eq!(ordered, ["each-1-s".to_owned()].into());
}
