use std::time::Duration;

use super::{summaries::STEPS, *};
use crate::{
    metrics::Collect,
    model::{
        Candidate, Cause, DatabaseNews, Failure, PeerFacts, PeerState, Phase, Reading, Stage, StampSource, Tally,
        TargetName, Timings, UnixMillis,
    },
    probe,
    schedule::SlotPhase,
};

/// Targets of these names in a region, if there are any, or else one in another region; all at one host, and with one setting of their probes.
fn config(targets: &[&str], host: &str, setting: &str) -> Arc<Config> {
    let target =
        |name: &&str| format!("{{name: {name}, host: {host}, probes: [{{kind: icmp, interval: 1s, {setting}}}]}}");
    let targets = targets.iter().map(target).collect::<Vec<_>>().join(", ");
    let (region, targets) = if targets.is_empty() { ("elsewhere", target(&"z")) } else { ("there", targets) };
    let text = format!("region: here\nwindow: 1m\npeers: [{{region: {region}, targets: [{targets}]}}]");
    let loaded = Config::load(Some(("c.yaml".as_ref(), &text)), []);
    Arc::new(loaded.unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}")).config)
}

const SECOND: Duration = Duration::from_secs(1);

fn path(target: &str) -> Path {
    Path { peer: Region::new("there").unwrap(), target: TargetName::new(target).unwrap(), kind: probe::ICMP }
}

fn sampled(id: u32, outcome: Outcome, at: Instant) -> Event {
    Event::Sampled {
        sample: Sample { path: PathId(id), sent_at: at, sent_at_unix: 1, outcome },
        start_delay: Duration::ZERO,
        late: 0,
        duplicates: 0,
        failed: None.into(),
        facts: PeerFacts::default(),
    }
}

fn ok() -> Outcome {
    Ok(Timings::single(Phase::Rtt, Duration::from_millis(5), StampSource::Kernel))
}

fn at(instant: Instant) -> Now {
    Now { instant, unix: UnixMillis(1_700_000_000_000) }
}

struct Fixture {
    engine: Engine,
    metrics: Arc<Metrics>,
    topology: Option<Topology>,
    host: &'static str,
    setting: &'static str,
    now: Instant,
}

impl Fixture {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::new(&Region::new("here").unwrap(), &[0.01]));
        let (now, host, setting) = (Instant::now(), "127.0.0.1", "timeout: 1s");
        let engine = Engine::new(Arc::clone(&metrics), config(&["a"], host, setting), now);
        Self { engine, metrics, topology: None, host, setting, now }
    }

    fn now(&self) -> Now {
        at(self.now)
    }

    fn reconfigure(&mut self, targets: &[&str]) {
        let config = config(targets, self.host, self.setting);
        let topology = match &self.topology {
            Some(before) => before.next(config),
            None => Topology::first(config, SlotPhase::random()),
        };
        self.engine.handle(Input::Topology(&topology), at(self.now));
        self.topology = Some(topology);
    }

    fn record(&mut self, event: Event) {
        self.engine.handle(Input::Events(&mut vec![event]), at(self.now));
    }

    fn sampled(&mut self, id: u32, outcome: Outcome) {
        self.record(sampled(id, outcome, self.now));
    }

    fn page(&self) -> String {
        let mut out = Vec::new();
        let mut page = self.metrics.page(Collect::All);
        while page.next(&mut out) {}
        String::from_utf8(out).unwrap()
    }
}

/// Of the vantage `here` with the peers, all with a sidecar, and the witness `w`.
fn with_witness(own: &str, peers: &[&str]) -> Config {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("votes.key"), "0123456789abcdef").unwrap();
    let peer = |name: &&str| {
        let probes = "[{kind: icmp}, {kind: sidecar, url: 'http://127.0.0.1:1'}]";
        format!("{{region: {name}, targets: [{{host: 127.0.0.1, probes: {probes}}}]}}")
    };
    let text = format!(
        "region: {own}\nvotes: {{key_file: votes.key}}\nanchors: ['tcp://127.0.0.1:3']\n\
         witnesses: [{{name: w, url: 'http://127.0.0.1:2'}}]\npeers: [{}]",
        peers.iter().map(peer).collect::<Vec<_>>().join(", ")
    );
    let loaded = Config::load(Some((&folder.path().join("c.yaml"), &text)), []);
    loaded.unwrap_or_else(|errors| panic!("{errors}\n{text}")).config
}

#[test]
fn a_witness_is_counted_as_a_vantage_and_is_neither_a_peer_nor_a_candidate() {
    let mut fixture = Fixture::new();
    let topology = Topology::first(Arc::new(with_witness("here", &["there"])), SlotPhase::random());
    fixture.engine.handle(Input::Topology(&topology), fixture.now());
    let page = fixture.page();
    let labels = |peer: &str| format!("{{vantage_region=\"here\",peer_region=\"{peer}\"");
    assert!(page.contains("regionwatch_vantages{vantage_region=\"here\"} 3\n"), "{page}");
    assert!(page.contains(&format!("regionwatch_peer_quorum_possible{}}} 1\n", labels("there"))), "{page}");
    let votes = format!("regionwatch_votes_received_total{},result=\"accepted\"}} 0\n", labels("w"));
    assert!(page.contains(&votes), "{page}");
    for name in ["peer_state", "peer_votes", "incidents", "candidate_eligible", "peer_quorum_possible", "probes_total"]
    {
        assert!(page.contains(&format!("regionwatch_{name}{}", labels("there"))), "{name}: {page}");
        assert!(!page.contains(&format!("regionwatch_{name}{}", labels("w"))), "{name}: {page}");
    }
    let overview = fixture.engine.overview(Vec::new(), fixture.now());
    assert_eq!(overview.witnesses.iter().map(|witness| witness.name.as_str()).collect::<Vec<_>>(), ["w"]);
    assert_eq!(overview.peers.len(), 1);
    assert!(!fixture.engine.vantage().is_witness());
    // It votes on no region of its own, and its ranking is that of none.
    let own = with_witness("w", &["a", "b"]);
    let metrics = Arc::new(Metrics::new(&own.region, &[0.01]));
    let mut witness = Engine::new(metrics, Arc::new(own.clone()), fixture.now);
    witness.handle(Input::Topology(&Topology::first(Arc::new(own), SlotPhase::random())), fixture.now());
    let message = witness.vantage().vote_message((1, 1), fixture.now()).unwrap();
    assert!(witness.vantage().is_witness() && message.ranking().is_empty());
    assert_eq!(message.peers().iter().map(|entry| entry.region.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_path_that_stays_keeps_its_counters_and_its_window() {
    let mut fixture = Fixture::new();
    fixture.reconfigure(&["a", "b"]);
    fixture.sampled(1, ok());
    fixture.sampled(1, Err(Failure::Timeout));
    fixture.reconfigure(&["a", "c"]);
    let page = fixture.page();
    assert!(page.contains("target=\"a\",probe=\"icmp\",result=\"ok\"} 1\n"), "{page}");
    assert!(!page.contains("target=\"b\"") && page.contains("target=\"c\""));
    assert!(
        page.contains(
            "regionwatch_peer_loss_ratio{vantage_region=\"here\",peer_region=\"there\",probe=\"icmp\"} 0.5\n"
        )
    );
}

#[test]
fn a_path_with_changed_settings_keeps_its_counters_but_not_its_window() {
    let mut fixture = Fixture::new();
    fixture.reconfigure(&["a"]);
    fixture.sampled(1, Err(Failure::Timeout));
    fixture.setting = "timeout: 900ms";
    fixture.reconfigure(&["a"]);
    let page = fixture.page();
    assert!(page.contains("result=\"timeout\"} 1\n"));
    assert!(!page.contains("regionwatch_peer_loss_ratio{"));
}

#[test]
fn a_path_with_other_possible_results_gets_new_counters() {
    let mut fixture = Fixture::new();
    fixture.reconfigure(&["a"]);
    fixture.sampled(1, Err(Failure::Timeout));
    fixture.host = "a.example";
    fixture.reconfigure(&["a"]);
    let page = fixture.page();
    assert!(page.contains("result=\"resolve\"} 0\n") && page.contains("result=\"timeout\"} 0\n"), "{page}");
}

#[test]
fn events_of_a_removed_path_are_dropped() {
    let mut fixture = Fixture::new();
    fixture.reconfigure(&["a"]);
    fixture.reconfigure(&[]);
    fixture.sampled(1, ok());
    fixture.record(Event::Late { path: PathId(1) });
    fixture.record(Event::SlotsMissed { path: PathId(1), count: 3 });
    assert!(!fixture.page().contains("target=\"a\""));
}

#[test]
fn gauges_of_every_peer_are_published_within_the_steps() {
    let mut fixture = Fixture::new();
    fixture.reconfigure(&["a"]);
    fixture.sampled(1, ok());
    for _ in 0..STEPS {
        fixture.engine.handle(Input::Tick, fixture.now());
    }
    assert!(fixture.page().contains("quantile=\"0.5\"} 0.005\n"));
    // Silence ages: what is older than the span says nothing any more.
    for _ in 0..STEPS {
        fixture.engine.handle(Input::Tick, at(fixture.now + SECOND * 61));
    }
    assert!(!fixture.page().contains("quantile=\"0.5\"}"));
}

#[test]
fn histories_are_filtered_ordered_and_limited() {
    let mut fixture = Fixture::new();
    fixture.reconfigure(&["b", "a", "c"]);
    fixture.sampled(2, ok());
    let found = fixture.engine.matching(|path| path.target.as_str() != "c", 10);
    let histories: Vec<_> = found.into_iter().map(|id| fixture.engine.history(id).unwrap()).collect();
    let names: Vec<_> = histories.iter().map(|history| history.path.target.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((histories[0].samples.len(), histories[1].samples.len()), (1, 0));
    assert_eq!(fixture.engine.matching(|_| true, 1).len(), 1);
    assert_eq!(fixture.engine.history(PathId(999)), None);
}

#[test]
fn a_restarted_vantage_reports_the_restored_candidates_until_it_knows_others() {
    let mut fixture = Fixture::new();
    let peer =
        |name| format!("{{region: {name}, targets: [{{host: 127.0.0.1, probes: [{{kind: icmp, interval: 1s}}]}}]}}");
    let text = format!("region: here\nwindow: 1m\npeers: [{}, {}]", peer("there"), peer("elsewhere"));
    let config = Arc::new(Config::load(Some(("c.yaml".as_ref(), &text)), []).unwrap().config);
    fixture.engine.handle(Input::Topology(&Topology::first(config, SlotPhase::random())), fixture.now());
    let candidate = Candidate { region: Region::new("elsewhere").unwrap(), rank: 1, score: None };
    let told = Incident {
        peer: Region::new("there").unwrap(),
        stage: Stage::Prepare,
        id: "there-1".into(),
        onset: UnixMillis(1_699_999_990_000),
        cause: Cause::Silence,
        confirmed: true,
        tally: Tally::default(),
        candidates: vec![candidate.clone()],
        blocked: None,
        blocked_by: Vec::new(),
        common_mode: false,
        loss: None,
        lost: None,
        evidence: String::new(),
        ordered_by: None,
        resolved: None,
        signatures: Vec::new(),
    };
    fixture.engine.handle(Input::Restored(&told), fixture.now());
    assert_eq!(fixture.engine.incidents(fixture.now()), []);
    for _ in 0..10 {
        fixture.now += SECOND;
        fixture.sampled(1, Err(Failure::Timeout));
    }
    let [incident] = fixture.engine.incidents(fixture.now()).try_into().expect("one incident");
    assert_eq!((incident.id, incident.candidates), (told.id, vec![candidate]));
}

#[test]
fn the_status_page_gets_a_copy_of_what_was_measured() {
    let mut fixture = Fixture::new();
    fixture.reconfigure(&["b", "a"]);
    fixture.sampled(1, ok());
    fixture.sampled(1, Err(Failure::Timeout));
    let overview = fixture.engine.overview(Vec::new(), fixture.now());
    let peer = overview.peer("there").unwrap();
    assert_eq!((peer.state, peer.since), (PeerState::Unknown, fixture.now().unix));
    let names: Vec<_> = peer.paths.iter().map(|view| view.path.target.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let view = overview.path(&path("b")).unwrap();
    assert_eq!(view.last.map(|record| record.outcome), Some(Err(Failure::Timeout)));
    let newest = view.trace.buckets(fixture.now).last().unwrap();
    assert_eq!((newest.answered(), newest.lost()), (1, 1));
    assert!(overview.peer("nowhere").is_none() && overview.path(&path("c")).is_none());
}

#[test]
fn what_a_failover_would_lose_is_on_the_page_and_in_the_votes_and_what_it_has_lost_is_reported() {
    let text = "region: here\ndatabases: [{name: orders, kind: postgres, user: u, servers: \
                [{region: there, host: 127.0.0.1}, {region: here, host: 127.0.0.1}]}]\n\
                peers: [{region: there, targets: [{host: 127.0.0.1, probes: [{kind: icmp}]}]}]";
    let config = Arc::new(Config::load(Some(("c.yaml".as_ref(), text)), []).unwrap().config);
    let mut fixture = Fixture::new();
    let now = fixture.now;
    fixture.engine.handle(Input::Topology(&Topology::first(config, SlotPhase::random())), at(now));
    let after = |ms| now + Duration::from_millis(ms);
    let reading = |ms, token, writable| DatabaseNews::Read {
        server: 1,
        reading: Ok(Reading {
            began: after(ms),
            ended: after(ms + 1),
            writable,
            token: Some(token),
            received: None,
            receiver: true,
            paused: false,
            engine_lag: None,
        }),
    };
    let write = |server, sequence, ms| {
        [
            DatabaseNews::Sent { server, sequence, at: after(ms) },
            DatabaseNews::Acknowledged { server, sequence, at: after(ms + 5) },
        ]
    };
    let series = |name: &str, region: &str, more: &str| {
        format!(
            "regionwatch_database_{name}{{vantage_region=\"here\",database=\"orders\",peer_region=\"{region}\"{more}}}"
        )
    };
    let handle = |fixture: &mut Fixture, news: &[DatabaseNews], ms| {
        let mut changes = Vec::new();
        for news in news {
            let event = DatabaseEvent { database: 0, news: *news };
            changes.extend(fixture.engine.handle(Input::Database(&event), at(now)).changes);
        }
        fixture.engine.handle(Input::Tick, at(after(ms)));
        changes
    };
    handle(&mut fixture, &[], 0);
    let page = fixture.page();
    assert!(page.contains(&format!("{} 1\n", series("rpo_unknown", "here", ""))), "{page}");
    handle(&mut fixture, &write(0, 1, 0), 500);
    handle(&mut fixture, &[reading(500, 1, false)], 1000);
    let page = fixture.page();
    for (name, region, more, value) in [
        ("rpo_seconds", "here", ",bound=\"upper\"", "1"),
        ("rpo_seconds", "here", ",bound=\"lower\"", "0"),
        ("rpo_target_seconds", "here", "", "5"),
        ("rpo_target_seconds", "there", "", "5"),
        ("rpo_unknown", "here", "", "0"),
        ("rpo_unknown", "there", "", "0"),
    ] {
        assert!(page.contains(&format!("{} {value}\n", series(name, region, more))), "{name} {region}{more}\n{page}");
    }
    assert!(!page.contains(&series("rpo_seconds", "there", ",bound=\"upper\"")), "it is the primary");
    let (votes, _) = fixture.engine.vote_message(at(now)).unwrap();
    let votes = String::from_utf8_lossy(&votes);
    let expected = r#""databases":[{"name":"orders","primary":"there","replicas":[{"region":"here","lower_ms":0,"upper_ms":1000}]}]"#;
    assert!(votes.contains(expected), "{votes}");

    handle(&mut fixture, &write(0, 2, 1000), 1500);
    let mut promoted = vec![reading(12_000, 1, true)];
    promoted.extend(write(1, 3, 12_500));
    let changes = handle(&mut fixture, &promoted, 13_000);
    let [StateChange::Promoted { database, promotion }] = &changes[..] else { panic!("{changes:?}") };
    let tokens = promotion.lost.map(|lost| lost.tokens);
    assert_eq!(
        (database.as_str(), promotion.from.as_str(), promotion.to.as_str(), tokens),
        ("orders", "there", "here", Some(1))
    );
    assert!(fixture.page().contains(&format!("{} 1\n", series("lost_tokens", "here", ""))));
}
