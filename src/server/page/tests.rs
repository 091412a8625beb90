use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    config::Config,
    decision::{
        IsolationReason, Rule,
        ranking::RankedRegion,
        votes::{RejectReason, VoteProblem, VoteStatus},
    },
    model::{
        Candidate, Cause, Failure, Incident, Ineligible, LossBounds, Path, PeerState, Phase, RealisedLoss, Region,
        ReplicaState, Stage, StampSource, Tally, TargetName, Timings, UnixMillis, Vote,
    },
    probe,
    replication::{Lag, Status},
    status::{DatabaseView, FailoverOrder, Headline, KindView, Overview, PathView, PeerView, Severity, WitnessView},
    window::{Latency, Record, Summary, Trace},
};

mod banner;

const NOW: UnixMillis = UnixMillis(1_795_230_245_123);

fn region(name: &str) -> Region {
    Region::new(name).unwrap()
}

fn about(region: &Region) -> About<'_> {
    About { region, environment: None, version: "1.2.3", uptime: Duration::from_secs(61) }
}

fn view(name: &str, state: PeerState) -> PeerView {
    let path = Path { peer: region(name), target: TargetName::new("edge").unwrap(), kind: probe::TCP };
    PeerView {
        region: region(name),
        state,
        rule: Rule::Answers,
        since: UnixMillis(NOW.0 - 90_000),
        tally: Tally { needed: 2, ..Tally::default() },
        vote: Vote::Up,
        order: FailoverOrder::None,
        incident_over_at: None,
        stated: None,
        operator_order: None,
        restrictions: Vec::new(),
        said: Vec::new(),
        vote_problem: None,
        good_at: None,
        kinds: vec![KindView { kind: probe::TCP, summary: None, answered: false }],
        paths: vec![PathView { path, trace: Trace::new(Instant::now()), last: None, failed: None }],
    }
}

fn seen(peers: Vec<PeerView>) -> Overview {
    let text = "region: here\npeers: [{region: a, targets: [{host: 192.0.2.1, probes: [{kind: icmp}]}]}]";
    let config =
        Config::load(Some(("c.yaml".as_ref(), text)), []).unwrap_or_else(|mistakes| panic!("{mistakes}")).config;
    Overview {
        at: NOW,
        instant: Instant::now(),
        uptime: Duration::from_secs(3_600),
        config: Arc::new(config),
        isolation_reason: None,
        health_score: 0,
        anchors: Vec::new(),
        peers,
        witnesses: Vec::new(),
        databases: Vec::new(),
        ranking: Vec::new(),
        incidents: Vec::new(),
        alertmanagers: Vec::new(),
    }
}

fn incident(peer: &str, stage: Stage, candidates: &[&str]) -> Incident {
    let candidate = |(rank, name): (u32, &&str)| Candidate { region: region(name), rank, score: None };
    Incident {
        peer: region(peer),
        stage,
        id: "a-1".into(),
        onset: UnixMillis(NOW.0 - 100_000),
        cause: Cause::Silence,
        confirmed: true,
        tally: Tally { down: 2, voters: 2, needed: 2, reached: true, ..Tally::default() },
        candidates: (1..).zip(candidates).map(candidate).collect(),
        blocked: None,
        blocked_by: Vec::new(),
        common_mode: false,
        loss: None,
        lost: None,
        evidence: "Nothing was answered.".to_owned(),
        ordered_by: None,
        resolved: None,
        signatures: Vec::new(),
    }
}

fn text(page: Bytes) -> String {
    String::from_utf8(page.to_vec()).unwrap()
}

fn front(overview: &Overview) -> String {
    text(super::overview(about(&region("here")), overview))
}

fn down(name: &str) -> PeerView {
    let tally = Tally { down: 2, voters: 2, needed: 2, reached: true, ..Tally::default() };
    PeerView { tally, vote: Vote::Down, ..view(name, PeerState::Down) }
}

#[test]
fn no_data_is_never_zero() {
    let page = front(&seen(vec![view("a", PeerState::Unknown)]));
    assert!(page.contains("data-peer=\"a\" data-state=\"unknown\""));
    assert!(page.contains("no data") && page.contains("no probe yet"));
    assert!(!page.contains(">0 \u{b5}s") && !page.contains("0%"), "{page}");
}

#[test]
fn a_kind_that_only_fails_has_a_loss_and_no_latency() {
    let mut peer = view("a", PeerState::Suspect);
    peer.kinds[0].summary = Some(Summary { count: 9, loss: 1.0, unanswered: 1.0, latency: None });
    let outcome = Err(Failure::Timeout);
    let overview = seen(vec![]);
    peer.paths[0].trace.push(overview.instant, &outcome);
    peer.paths[0].last = Some(Record::one(1, outcome, Some(Phase::Connect)));
    peer.paths[0].failed = peer.paths[0].last;
    let page = front(&Overview { peers: vec![peer], ..overview });
    assert!(page.contains("title=\"last failure: timeout at 1970-01-01 00:00:00 UTC\""));
    assert!(page.contains("100% lost</b>") && page.contains("<b class=\"bad\">timeout</b>"));
    assert!(page.contains("Last 5 minutes: no answer; 1 of 1 probe failed (100%)"), "{page}");
    assert!(page.contains("class=\"range\" d=\"\"") && page.contains("class=\"lost\" d=\"M238 0v24\""), "{page}");
}

fn latency(micros: u64) -> Latency {
    let [p50, p95, p99] = [micros, micros + 1_000, micros + 2_000].map(Duration::from_micros);
    Latency { p50, p95, p99, jitter: None }
}

#[test]
fn a_region_that_is_down_is_represented_by_the_kind_that_fails() {
    let kind = |kind, answered, summary| KindView { kind, summary: Some(summary), answered };
    let lost = Summary { count: 1_200, loss: 1.0, unanswered: 1.0, latency: None };
    let fine = Summary { count: 1_200, loss: 0.0, unanswered: 0.0, latency: Some(latency(17)) };
    let shown = |kinds: Vec<KindView>, cause, config: &str| {
        let mut overview = seen(vec![PeerView { kinds, ..down("a") }]);
        let config = Config::load(Some(("c.yaml".as_ref(), config)), []).unwrap_or_else(|it| panic!("{it}"));
        overview.config = Arc::new(config.config);
        overview.incidents = vec![Incident { cause, ..incident("a", Stage::Prepare, &[]) }];
        let page = front(&overview);
        let row = page.split("<tr id=\"region-a\"").nth(1).unwrap().split("</tr>").next().unwrap().to_owned();
        row.split("<td class=\"n k x\">").next().unwrap().to_owned()
    };
    let config = "region: here\npeers: [{region: a, targets: [{host: 192.0.2.1, probes: [{kind: icmp}, \
                  {kind: tcp, port: 1}, {kind: http, url: 'http://192.0.2.1/', critical: true}]}]}]";
    let (icmp, tcp, http) = (probe::ICMP, probe::TCP, probe::HTTP);

    let row = shown(vec![kind(icmp, true, fine), kind(tcp, true, lost)], Cause::Silence, config);
    assert!(row.contains("by TCP") && row.contains("100%") && !row.contains("17 \u{b5}s"), "{row}");
    let row = shown(vec![kind(icmp, true, fine), kind(tcp, false, lost)], Cause::Silence, config);
    assert!(row.contains("by ICMP") && row.contains("17 \u{b5}s"), "{row}");
    let row = shown(vec![kind(tcp, true, fine), kind(http, true, lost)], Cause::Service, config);
    assert!(row.contains("by HTTP") && row.contains("100%"), "{row}");
}

#[test]
fn the_most_urgent_peer_comes_first_with_its_votes_and_reasons() {
    let mut well = view("a", PeerState::Healthy);
    well.kinds[0].summary = Some(Summary { count: 100, loss: 0.0, unanswered: 0.0, latency: Some(latency(24_140)) });
    let mut overview = seen(vec![well, down("b")]);
    let row = |name, reasons, rank| RankedRegion { region: region(name), reasons, score: None, rank };
    overview.ranking = vec![row("a", vec![], Some(1)), row("b", vec![Ineligible::State, Ineligible::Quorum], None)];
    let page = front(&overview);
    assert!(page.find("data-peer=\"b\"").unwrap() < page.find("data-peer=\"a\"").unwrap());
    for part in [
        "24.1 ms<span class=\"sub\">by TCP",
        "2/2 down<span class=\"sub bad\">quorum reached",
        "data-candidate=\"b\" data-eligible=\"false\"",
        "<span data-reason=\"state\">not healthy</span>, <span data-reason=\"quorum\">",
        "<title>1 down \u{b7} here \u{b7} regionwatch</title>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn expired_missing_and_isolated_votes_are_distinguished() {
    let mut peer = down("a");
    let said = |by: &str, vote, age: Option<u64>, fresh, isolated| {
        let age = age.map(Duration::from_secs);
        VoteStatus { by: region(by), vote, age, fresh, isolated }
    };
    peer.said = vec![
        said("b", Some(Vote::Down), Some(0), true, false),
        said("c", Some(Vote::Up), Some(90), false, false),
        said("d", None, None, false, false),
        said("e", Some(Vote::Down), Some(0), true, true),
    ];
    let page = text(super::peer(about(&region("here")), &seen(vec![peer]), "a").unwrap());
    for part in ["just now", "1 min 30 s ago, expired", "<td>never</td>", "<td>isolated</td>"] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn a_note_says_why_no_quorum_is_possible() {
    let front_of = |probes: &str, tally| {
        let config =
            format!("region: here\npeers: [{{region: a, targets: [{{host: 192.0.2.1, probes: [{probes}]}}]}}]");
        let config = Config::load(Some(("c.yaml".as_ref(), &config)), []).unwrap_or_else(|it| panic!("{it}"));
        front(&Overview {
            config: Arc::new(config.config),
            ..seen(vec![PeerView { tally, ..view("a", PeerState::Healthy) }])
        })
    };
    let votes = "{kind: icmp}, {kind: http, sidecar: true, url: 'http://192.0.2.1/api/v1/regions'}";
    let few = Tally { voters: 1, needed: 2, ..Tally::default() };
    let enough = Tally { voters: 2, needed: 2, ..Tally::default() };
    assert!(front_of("{kind: icmp}", few).contains("No votes are exchanged"));
    let page = front_of(votes, few);
    assert!(
        page.contains("Too few vantages vote to confirm an outage of a.") && page.contains("not possible"),
        "{page}"
    );
    assert!(page.contains("2 needed, 1 voting"), "{page}");
    let page = front_of(votes, enough);
    assert!(!page.contains("No votes are") && !page.contains("Too few") && !page.contains("not possible"), "{page}");
}

#[test]
fn a_probe_shows_its_phases_and_a_failed_one_the_phase_in_which_it_failed() {
    let peer = view("a", PeerState::Healthy);
    let view = peer.paths[0].clone();
    let mut phases = crate::model::PhaseTimes::default();
    for (phase, ms) in [(Phase::Connect, 20), (Phase::Tls, 40), (Phase::Processing, 20)] {
        phases.add(phase, Duration::from_millis(ms));
    }
    let ok = Ok(Timings::new(phases, StampSource::Kernel));
    let records = [
        Record::one(1_000_000, ok, None),
        Record::one(2_000_000, Err(Failure::Timeout), Some(Phase::Tls)),
        Record::one(3_000_000, Err(Failure::Status), Some(Phase::Processing)),
        Record { times: 1_640, last_sent_at: 503_000_000_000, ..Record::one(4_000_000, Err(Failure::Local), None) },
    ];
    let page = text(path(about(&region("here")), &seen(vec![peer]), &view, &records));
    for part in [
        "<rect class=\"ph-tls\" x=\"50\" width=\"100\" height=\"8\"></rect>",
        "tls 40.0 ms</span>",
        "<span>connect \u{2713}</span><span><b class=\"bad\">timeout in tls</b></span>\
         <span class=\"dim\">processing not reached</span>",
        "status in the answer",
        "data-result=\"local\"",
        "1970-01-01 00:00:00.004</time><span class=\"sub\">to \
         <time datetime=\"1970-01-01T00:08:23.000000Z\">1970-01-01 00:08:23.000</time>",
        "<b class=\"bad\">local</b> <span class=\"times\">\u{d7} 1640</span>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(page.find("data-result=\"local\"").unwrap() < page.find("data-result=\"ok\"").unwrap());
}

#[test]
fn one_lost_probe_is_a_warning_and_three_in_a_row_are_an_outage() {
    let level = |last: Record| {
        let mut peer = view("a", PeerState::Healthy);
        peer.paths[0].last = Some(last);
        let view = peer.paths[0].clone();
        let page = text(path(about(&region("here")), &seen(vec![peer]), &view, &[last]));
        let level = page.split("class=\"banner l-").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let sentence = page.split("class=\"sentence\">").nth(1).unwrap().split("</p>").next().unwrap().to_owned();
        (level, sentence)
    };
    let lost = Record::one(4_000_000, Err(Failure::Timeout), Some(Phase::Connect));
    let once = "Last probe failed: <b class=\"bad\">timeout</b> in phase connect";
    assert_eq!(level(lost), ("watch".to_owned(), once.to_owned()));
    let (level, sentence) = level(Record { times: 3, last_sent_at: 1_000_000_000, ..lost });
    assert_eq!(level, "down");
    assert!(sentence.starts_with(&format!("{once}, 3 times since <time")), "{sentence}");
}

/// Tags that are open at the end, or closed without having been opened.
fn unbalanced(page: &str) -> Vec<&str> {
    const VOID: [&str; 6] = ["!DOCTYPE", "meta", "link", "br", "img", "input"];
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.split([' ', '\n']).next().unwrap();
        match name.strip_prefix('/') {
            Some(name) if open.last() == Some(&name) => drop(open.pop()),
            None if VOID.contains(&name) => {}
            _ => open.push(name),
        }
    }
    open
}

fn state() -> impl Strategy<Value = PeerState> {
    prop::sample::select(PeerState::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Whatever a peer or an Alertmanager has got into an incident.
    #[test]
    fn no_text_breaks_a_page(
        states in prop::collection::vec(state(), 0..6),
        id in any::<String>(),
        evidence in "(<script>|</main>|\"|'|&|\\PC){0,20}",
        stage in prop::sample::select(Stage::ALL.to_vec()),
        isolated in any::<bool>(),
    ) {
        let peers = states.iter().enumerate().map(|(n, state)| view(&format!("r{n}"), *state)).collect();
        let mut overview = seen(peers);
        overview.isolation_reason = isolated.then_some(IsolationReason::CannotSend);
        overview.incidents = vec![Incident { id: id.into(), evidence, ..incident("r0", stage, &["r1"]) }];
        let own = region("here");
        let mut pages = vec![front(&overview), text(configuration(about(&own), &overview))];
        pages.extend(peer(about(&own), &overview, "r0").map(text));
        for page in pages {
            prop_assert!(unbalanced(&page).is_empty(), "{:?}", unbalanced(&page));
            prop_assert_eq!(page.matches("<script").count(), usize::from(!page.contains("check --print")));
        }
    }
}

#[test]
fn witnesses_are_named_with_their_last_vote_and_one_whose_votes_are_rejected_is_a_concern() {
    assert!(!front(&seen(vec![view("a", PeerState::Healthy)])).contains("Witnesses"));
    let witness = |name: &str, age: Option<u64>, vote_problem| WitnessView {
        name: region(name),
        age: age.map(Duration::from_secs),
        vote_problem,
    };
    let witnesses = vec![
        witness("w1", Some(1), None),
        witness("w2", Some(75), None),
        witness("w3", None, None),
        witness("w4", Some(3), Some(VoteProblem::Rejected(RejectReason::BadSignature))),
    ];
    let page = front(&Overview { witnesses, ..seen(vec![view("a", PeerState::Healthy)]) });
    assert!(page.contains("w1: voted 1 s ago"), "{page}");
    for said in
        ["last vote 1 min 15 s ago", "has never voted", "votes rejected", "The votes of w4 are rejected (forged)"]
    {
        assert!(page.contains(said), "{said}: {page}");
    }
    assert!(page.contains("but votes are rejected") && !page.contains("<dt>Role"), "{page}");
}

#[test]
fn the_page_of_a_witness_names_no_region_of_its_own() {
    let text = "region: here\nanchors: ['tcp://192.0.2.9:1']\nwitnesses: [{name: here, url: 'http://192.0.2.8:9877'}]\n\
                peers: [{region: a, targets: [{host: 192.0.2.1, probes: [{kind: icmp}]}]}]";
    let config = Config::load(Some(("c.yaml".as_ref(), text)), []).unwrap_or_else(|errors| panic!("{errors}")).config;
    let overview = Overview { config: Arc::new(config), ..seen(vec![view("a", PeerState::Healthy)]) };
    let page = front(&overview);
    assert!(page.contains("witness: it votes, and owns no region"), "{page}");
    assert!(page.contains("as measured from here") && !page.contains("here goes down"), "{page}");
    assert!(!page.contains("should here go down"), "{page}");
}

#[test]
fn a_database_has_a_row_for_each_server_with_both_bounds_and_no_table_without_one() {
    assert!(!front(&seen(vec![down("a")])).contains("Databases"));
    let view = |name: &str, state, lower: Option<u64>, upper: Option<u64>| DatabaseView {
        database: TargetName::new("orders").unwrap(),
        region: region(name),
        status: Status {
            state,
            lag: Lag { lower: lower.map(Duration::from_millis), upper: upper.map(Duration::from_millis) },
            writable: None,
            engine_lag: Some(Duration::ZERO),
        },
        loss: match state {
            ReplicaState::Writable => None,
            ReplicaState::Unknown => Some(None),
            _ => Some(Some(LossBounds::new(Duration::from_millis(7_000), Duration::from_millis(8_120)))),
        },
    };
    let databases = vec![
        view("a", ReplicaState::CutOff, Some(7_100), Some(8_200)),
        view("b", ReplicaState::Unknown, None, Some(12_000)),
        view("c", ReplicaState::Writable, None, None),
    ];
    let page = front(&Overview { databases, ..seen(vec![down("a")]) });
    for text in ["7.1 to 8.2 s", "under 12.0 s", "cut off", "writable", "7.0s..8.2s"] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn an_incident_says_what_its_failover_would_lose_and_what_it_has_lost() {
    let bounds = LossBounds::new(Duration::from_millis(800), Duration::from_millis(1_900));
    let mut overview = seen(vec![down("a"), view("b", PeerState::Healthy)]);
    overview.incidents = vec![Incident { loss: Some(bounds), ..incident("a", Stage::Execute, &["b"]) }];
    let page = front(&overview);
    assert!(page.contains("Would lose</dt><dd>0.8s..1.9s of data") && !page.contains("Has lost"), "{page}");
    overview.incidents[0].lost = Some(RealisedLoss { tokens: 2, bounds });
    assert!(front(&overview).contains("Has lost</dt><dd>2 tokens, 0.8s..1.9s"));
}

#[test]
fn a_service_that_answers_wrongly_has_failed_and_is_not_lost() {
    let mut peer = view("a", PeerState::Degraded);
    peer.kinds[0].summary = Some(Summary { count: 9, loss: 1.0, unanswered: 0.0, latency: None });
    let page = front(&seen(vec![peer]));
    assert!(page.contains("<b class=\"bad\">100% failed</b>") && !page.contains("lost</b>"), "{page}");
}

#[test]
fn during_an_incident_the_targets_of_the_region_that_is_down_come_before_those_of_this_one() {
    let mut overview = seen(vec![down("a"), view("b", PeerState::Healthy)]);
    overview.ranking = vec![RankedRegion { region: region("b"), reasons: vec![], score: None, rank: Some(1) }];
    let place = |page: &str, part: &str| page.find(part).unwrap_or_else(|| panic!("{part} in {page}"));
    assert!(!front(&overview).contains("Fail over a to"));
    overview.incidents = vec![incident("a", Stage::Prepare, &["b", "here"])];
    let page = front(&overview);
    let [first, targets, votes, own] =
        ["Fail over a to", "data-target=\"b\"", "id=\"h-votes\"", "id=\"h-ranking\""].map(|part| place(&page, part));
    assert!(first < targets && targets < votes && votes < own);
    assert!(
        page.contains("<tr data-target=\"here\"><td class=\"n\">2</td><th scope=\"row\">here</th><td>this region</td>")
    );
}
