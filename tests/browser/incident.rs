//! An incident to its end, as the page of one vantage and its log report it: wrong key, Alertmanager away, no quorum, suspect,
//! prepare, execute, a restart, recovery, resolved.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{
    needs::{Need::Tool, require},
    process::{Running, eventually, free, request, sidecar, write},
};

use crate::{driver::need_browser, page::Page};

/// A service that works, or answers 503.
struct Service {
    port: u16,
    fails: Arc<AtomicBool>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let fails = Arc::new(AtomicBool::new(false));
        let is_down = Arc::clone(&fails);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let status = if is_down.load(Ordering::Relaxed) { "503 Service Unavailable" } else { "200 OK" };
                thread::spawn(move || {
                    if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
                        let head = "content-length: 2\r\nconnection: close";
                        let _ = write!(stream, "HTTP/1.1 {status}\r\n{head}\r\n\r\nok");
                    }
                });
            }
        });
        Self { port, fails }
    }
}

/// A region: its name, its instance and its service.
struct Site {
    name: char,
    listen: SocketAddr,
    service: Service,
}

impl Site {
    /// Starts its instance, with the key of this file.
    fn run(&self, sites: &[Self], alertmanager: SocketAddr, folder: &Path, key: &str) -> Running {
        let mut text = format!(
            "region: {}\npriority: {}\nlisten: {}\nvotes: {{key_file: {}}}\nalertmanagers: ['http://{alertmanager}']\n\
             failover: {{execute_after: 4s}}\npeers:\n",
            self.name,
            // By latency, all of them are as near.
            priority(self.name),
            self.listen,
            folder.join(key).display()
        );
        for Self { name, listen, service } in sites.iter().filter(|site| site.name != self.name) {
            let port = service.port;
            text += &format!(
                "  - region: {name}\n    priority: {}\n    targets:\n      - name: edge\n        host: 127.0.0.1\n        probes:\n\
                 \x20         - {{kind: tcp, port: {port}, interval: 200ms}}\n\
                 \x20         - {{kind: http, url: 'http://127.0.0.1:{port}/', interval: 200ms, critical: true}}\n\
                 \x20         - {{kind: sidecar, url: 'http://{listen}', interval: 250ms}}\n",
                priority(*name)
            );
        }
        let file = write(folder, &format!("{}.yaml", self.name), &text);
        sidecar(&["run", "--config", &file], &[], self.listen)
    }
}

/// The first region is the first target.
fn priority(name: char) -> u32 {
    u32::from(name) - u32::from('a')
}

fn alertmanager(listen: SocketAddr, folder: &Path) -> Running {
    let config = write(folder, "alertmanager.yml", "route: {receiver: 'null'}\nreceivers: [{name: 'null'}]\n");
    let args = [
        format!("--config.file={config}"),
        format!("--storage.path={}", folder.join("data").display()),
        format!("--web.listen-address={listen}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let running = Running::start("prometheus-alertmanager", &args.each_ref().map(String::as_str), &[]);
    eventually("Alertmanager is ready", Duration::from_secs(20), || {
        request(listen, "GET", "/-/ready").filter(|answer| answer.status == 200)
    });
    running
}

/// How long a region may take until it is healthy again, and its incident until it is over. They need 60 s and six minutes.
const RECOVERY: Duration = Duration::from_secs(300);
const RESOLUTION: Duration = Duration::from_secs(480);

/// Waits until the page of an instance has this sentence, without a browser, which waits for less long.
fn concludes(listen: SocketAddr, sentence: &str, limit: Duration) {
    eventually(sentence, limit, || {
        thread::sleep(Duration::from_millis(500));
        let overview: Value = serde_json::from_str(&request(listen, "GET", "/api/v1/overview")?.body).ok()?;
        (overview["sentence"] == sentence).then_some(())
    });
}

/// Waits until the banner says all of this.
fn says(page: &Page, sentence: &str, lines: &[&str]) {
    let told = page.order("until", json!({"selector": "#summary", "text": sentence, "seconds": 45}));
    println!("{}: {sentence}", told["at"]);
    for line in lines {
        page.order("until", json!({"selector": "#summary", "text": line, "seconds": 20}));
    }
}

/// The lines of a log with this word, as level, message and keys: without times, numbers and values.
fn story(log: &str, about: &str) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<_> = line.split_whitespace().skip(1).collect();
        let keys: Vec<_> = words.iter().filter_map(|word| word.split_once('=')).map(|(key, _)| key).collect();
        let message = words.iter().take_while(|word| !word.contains('='));
        let message: Vec<_> = message.copied().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect();
        format!("{} [{}]", message.join(" "), keys.join(" "))
    };
    let mut ends = BTreeSet::new();
    // An end is sent again if votes were late for a moment.
    let is_new = |line: &&str| {
        !line.contains(": resolved ") || ends.insert(line.split_once(' ').map(|(_, text)| text.to_owned()))
    };
    // Where the machine is busy for a moment a region that is well is degraded for one, which is no part of an incident.
    let is_moment = |line: &&str| {
        [" from=healthy to=degraded ", " from=degraded to=healthy "].iter().any(|change| line.contains(change))
    };
    let lines = log.lines().filter(|line| line.contains(about)).filter(is_new).filter(|line| !is_moment(line));
    let mut lines: Vec<_> = lines.map(line).collect();
    // An instance that takes the older name of another one for the incident pushes once more.
    lines.dedup();
    lines
}

#[test]
fn the_banner_and_the_log_tell_an_incident_step_by_step() {
    need_browser();
    require(&[Tool("prometheus-alertmanager")]);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (name, key) in
        [("votes.key", "0123456789abcdef0123456789abcdef"), ("wrong.key", "fedcba9876543210fedcba9876543210")]
    {
        fs::write(folder.join(name), key).unwrap();
    }
    let sites = ['a', 'b', 'c'].map(|name| Site { name, listen: free(), service: Service::start() });
    let at = free();
    let run = |n: usize, key: &str| sites[n].run(&sites, at, folder, key);
    let (first, mut b, c) = (run(0, "votes.key"), run(1, "wrong.key"), run(2, "votes.key"));
    let url = format!("http://{}/", sites[0].listen);
    let page = Page::open(&url);

    // Nothing listens where Alertmanager should be, and b has another key.
    says(
        &page,
        "All 2 peers are healthy, but alerts are not accepted.",
        &[&format!("Alertmanager http://{at}/ has accepted no alerts since "), "The votes of b are rejected ("],
    );
    let alertmanager = alertmanager(at, folder);
    says(&page, "All 2 peers are healthy, but votes are rejected.", &["The votes of b are rejected ("]);

    // Without the votes of b there is no quorum.
    sites[2].service.fails.store(true, Ordering::Relaxed);
    says(&page, "The critical services of c fail: asking the other vantages.", &["c is suspect since "]);
    says(
        &page,
        "c is down (not confirmed, no other vantage votes), prepare to fail over to a.",
        &["no quorum after 10 s"],
    );

    // With its votes there is one.
    b.signal("TERM");
    b.ends_within(Duration::from_secs(5));
    let b = run(1, "votes.key");
    says(&page, "c is down (confirmed 2/2), prepare to fail over to a.", &[]);
    says(&page, "c is down (confirmed 2/2), fail over to a.", &[]);
    let log = first.said();

    // A restart in the middle: Alertmanager has the incident, and the page does not lose it.
    drop(first);
    page.order("until", json!({"selector": "[role=status]", "text": "not answering since "}));
    let second = run(0, "votes.key");
    page.order("until", json!({"selector": "[role=status]", "text": "live"}));
    says(&page, "c is down (confirmed 2/2), fail over to a.", &[]);

    sites[2].service.fails.store(false, Ordering::Relaxed);
    says(&page, "c is recovering (stability check).", &["c answers again; its incident stays open"]);
    concludes(sites[0].listen, "All 2 peers are healthy, and an incident is still open.", RECOVERY);
    says(
        &page,
        "All 2 peers are healthy, and an incident is still open.",
        &["c has been healthy since ", "; its incident stays open until "],
    );
    concludes(sites[0].listen, "All 2 peers are healthy.", RESOLUTION);
    says(&page, "All 2 peers are healthy.", &[]);
    let banner = page.order("until", json!({"selector": "#summary", "text": "All 2 peers are healthy."}));
    assert!(!banner["text"].as_str().unwrap().contains("incident"), "{banner}");
    eventually("no alert about c is left", Duration::from_secs(20), || {
        let alerts = request(at, "GET", "/api/v2/alerts?filter=peer_region%3D%22c%22")?;
        (alerts.body.trim() == "[]").then_some(())
    });
    // Another vantage may have ended it first.
    eventually("this vantage has sent the end", Duration::from_secs(20), || {
        second.said().contains(": resolved peer=c stage=prepare").then_some(())
    });
    assert_eq!(page.close_after_restart(), Vec::<String>::new());

    let again = second.said();
    println!("{log}\n---\n{again}");
    assert_eq!(
        story(&log, " peer=c "),
        [
            "INFO c is healthy: it answers [peer from to reason down up voters needed]",
            "INFO c is suspect: the network answers, and its critical services fail; asking the other vantages [peer from to reason cause]",
            "WARN c is down: no quorum after s: of vantages vote down, needed [peer from to reason cause incident down up voters needed confirmed]",
            "INFO sent to Alertmanager firing [peer stage incident target signatures]",
            "WARN the failover of c to a is ordered [peer cause incident target]",
            "WARN sent to Alertmanager firing [peer stage incident target signatures]",
        ]
    );
    assert_eq!(
        story(&again, " peer=c "),
        [
            "INFO Alertmanager holds an incident from before the start of this process; it goes on unless the region is healthy or degraded [peer stage incident alertmanager]",
            "INFO c is healthy: it answers [peer from to reason down up voters needed]",
            "INFO c is suspect: the network answers, and its critical services fail; asking the other vantages [peer from to reason cause]",
            "WARN c is down: of vantages vote down, needed [peer from to reason cause incident down up voters needed confirmed]",
            "WARN the failover of c to a is ordered [peer cause incident target]",
            "INFO sent to Alertmanager firing [peer stage incident target signatures]",
            "WARN sent to Alertmanager firing [peer stage incident target signatures]",
            "INFO c is recovering: it answers again, and is watched for stability [peer from to reason incident down up voters needed]",
            "WARN the failover of c to a is withdrawn [peer cause incident target]",
            "INFO sent to Alertmanager resolved [peer stage incident target signatures]",
            "INFO c is healthy: it has been stable for s [peer from to reason incident down up voters needed]",
            "INFO the incident of c is over [peer incident]",
            "INFO sent to Alertmanager resolved [peer stage incident target signatures]",
        ]
    );
    let about = |log: &str, word: &str| {
        story(log, word).iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(about(&log, "votes of b"), ["WARN rejecting", "INFO accepting"]);
    assert_eq!(
        about(&log, &format!("Alertmanager http://{at}/")),
        ["WARN cannot", "INFO Alertmanager", "INFO sent", "WARN sent"]
    );
    // The incident stays the one that was ordered.
    let last = |log: &str| {
        log.split_whitespace().filter_map(|word| word.strip_prefix("incident=")).next_back().map(str::to_owned)
    };
    assert!(
        last(&log)
            .is_some_and(|id| again.matches("incident=").count() == again.matches(&format!("incident={id}")).count())
    );
    drop((alertmanager, b, c));
}
