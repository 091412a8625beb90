use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    config::Config,
    decision::{IsolationReason, ranking::RankedRegion, votes::VoteStatus},
    model::{
        Candidate, Cause, Failure, Incident, Ineligible, LossBounds, Path, PeerState, Phase, RealisedLoss, Region,
        ReplicaState, Stage, StampSource, Tally, TargetName, Timings, UnixMillis, Vote,
    },
    probe,
    replication::{Lag, Status},
    status::{DatabaseView, FailoverOrder, Headline, KindView, Overview, PathView, PeerView, Severity},
    window::{Latency, Record, Summary, Trace},
};

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
        since: UnixMillis(NOW.0 - 90_000),
        tally: Tally { needed: 2, ..Tally::default() },
        vote: Vote::Up,
        order: FailoverOrder::None,
        incident_over_at: None,
        said: Vec::new(),
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
        config: Arc::new(config),
        isolation_reason: None,
        health_score: 0,
        anchors: Vec::new(),
        peers,
        databases: Vec::new(),
        ranking: Vec::new(),
        incidents: Vec::new(),
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
        loss: None,
        lost: None,
        evidence: "Nothing was answered.".to_owned(),
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

fn sentence(overview: &Overview) -> String {
    headline::sentence(&Headline::of(overview), overview)
}

fn down(name: &str) -> PeerView {
    let tally = Tally { down: 2, voters: 2, needed: 2, reached: true, ..Tally::default() };
    PeerView { tally, vote: Vote::Down, ..view(name, PeerState::Down) }
}

#[test]
fn the_headline_says_which_region_is_down_whether_it_is_confirmed_and_the_failover_target() {
    let mut overview = seen(vec![down("a"), view("b", PeerState::Healthy)]);
    assert_eq!(sentence(&overview), "a is down (confirmed 2/2).");
    overview.incidents = vec![incident("a", Stage::Prepare, &["b"])];
    assert_eq!(sentence(&overview), "a is down (confirmed 2/2), prepare to fail over to b.");
    overview.incidents.push(incident("a", Stage::Execute, &["b"]));
    overview.peers[0].order = FailoverOrder::Active;
    assert_eq!(sentence(&overview), "a is down (confirmed 2/2), fail over to b.");

    overview.incidents.clear();
    overview.peers[0].tally = Tally { down: 1, voters: 1, needed: 2, ..Tally::default() };
    assert_eq!(sentence(&overview), "a is down (not confirmed, no other vantage votes).");
}

#[test]
fn a_region_that_is_down_is_never_the_failover_target() {
    let mut overview = seen(vec![down("a"), down("b"), view("c", PeerState::Healthy)]);
    overview.incidents = vec![incident("a", Stage::Execute, &["b", "c"])];
    overview.peers[0].order = FailoverOrder::Active;
    assert_eq!(sentence(&overview), "a is down (confirmed 2/2), fail over to c. b is down (confirmed 2/2).");
    overview.incidents = vec![incident("a", Stage::Execute, &["b"])];
    assert_eq!(
        sentence(&overview),
        "a is down (confirmed 2/2), and no region can take over. b is down (confirmed 2/2)."
    );
}

#[test]
fn each_of_several_down_regions_has_its_own_votes_stage_and_target() {
    let mut doubtful = down("a");
    doubtful.tally = Tally { down: 1, up: 0, voters: 3, needed: 2, ..Tally::default() };
    let mut overview = seen(vec![doubtful, down("b"), view("c", PeerState::Healthy)]);
    let unsure = Incident { confirmed: false, ..incident("a", Stage::Prepare, &["c"]) };
    overview.incidents = vec![unsure, incident("b", Stage::Execute, &["c"])];
    overview.peers[1].order = FailoverOrder::Active;
    assert_eq!(
        sentence(&overview),
        "b is down (confirmed 2/2), fail over to c. a is down (not confirmed 1/3), prepare to fail over to c."
    );
    overview.peers.extend([down("d"), down("e")]);
    assert!(sentence(&overview).ends_with("prepare to fail over to c. 2 more are down."));
}

/// An operator must not fail over by hand what was ordered when the region was still held down.
#[test]
fn a_region_that_was_ordered_to_be_failed_over_and_is_not_held_down_now_is_told_from_one_that_is() {
    let order = |state, order, resolved: Option<UnixMillis>| {
        let peer = PeerView { order, state, ..down("a") };
        let mut overview = seen(vec![peer, view("b", PeerState::Healthy)]);
        overview.incidents = vec![incident("a", Stage::Prepare, &["b"])];
        if order == FailoverOrder::Active || resolved.is_some() {
            overview.incidents.push(Incident { resolved, ..incident("a", Stage::Execute, &["b"]) });
        }
        let page = front(&overview);
        let shown = page.split("data-order=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let headline = Headline::of(&overview);
        (shown, headline::sentence(&headline, &overview) + " " + &headline::detail(&headline, &overview))
    };
    let (shown, text) = order(PeerState::Down, FailoverOrder::Active, None);
    assert_eq!((&*shown, text.trim()), ("active", "a is down (confirmed 2/2), fail over to b."));
    let (shown, text) = order(PeerState::Down, FailoverOrder::Withdrawn, None);
    assert_eq!(shown, "withdrawn");
    assert!(
        text.contains("not held down now: its failover was ordered and is withdrawn") && !text.contains("prepare"),
        "{text}"
    );
    for resolved in [None, Some(NOW)] {
        let (shown, text) = order(PeerState::Recovering, FailoverOrder::Withdrawn, resolved);
        assert_eq!(shown, "withdrawn");
        assert!(
            text.contains("a is recovering") && text.contains("The failover of a was ordered, and is withdrawn."),
            "{text}"
        );
    }
    assert_eq!(order(PeerState::Down, FailoverOrder::None, None).0, "none");
    // The end of the whole incident.
    assert_eq!(order(PeerState::Healthy, FailoverOrder::None, Some(NOW)).0, "withdrawn");
}

#[test]
fn a_page_is_never_green_while_an_incident_is_open() {
    let recovered = PeerView { incident_over_at: Some(UnixMillis(NOW.0 + 270_000)), ..view("a", PeerState::Healthy) };
    let mut overview = seen(vec![recovered, view("b", PeerState::Healthy)]);
    assert_eq!(Headline::of(&overview).severity(), Severity::Fine);
    overview.incidents = vec![incident("a", Stage::Prepare, &["b"])];
    let headline = Headline::of(&overview);
    assert_eq!(headline.severity(), Severity::Watch);
    assert_eq!(headline::sentence(&headline, &overview), "All 2 peers are healthy, and an incident is still open.");
    assert_eq!(
        headline::detail(&headline, &overview),
        "a has been healthy since 03:02:35; its incident stays open until 03:08:35."
    );
    overview.incidents[0].resolved = Some(NOW);
    assert_eq!(Headline::of(&overview).severity(), Severity::Fine);
}

#[test]
fn a_page_is_never_green_while_no_outage_could_be_confirmed_or_failed_over() {
    let of = |more: &str, probe: &str| {
        let text =
            format!("region: here\n{more}peers: [{{region: a, targets: [{{host: 192.0.2.1, probes: [{probe}]}}]}}]");
        let config = Config::load(Some(("c.yaml".as_ref(), &*text)), []).unwrap().config;
        let overview = Overview { config: Arc::new(config), ..seen(vec![view("a", PeerState::Healthy)]) };
        let headline = Headline::of(&overview);
        (headline.severity(), headline::sentence(&headline, &overview) + " " + &headline::detail(&headline, &overview))
    };
    let sidecar = "{kind: sidecar, url: 'http://192.0.2.1:9877/'}";
    let (severity, said) = of("", sidecar);
    assert_eq!(severity, Severity::Watch);
    assert_eq!(said, "The only peer, a, is healthy, but an outage could not be confirmed. Too few vantages vote on a.");
    assert_eq!(of("failover: {allow_single_vantage: true}\n", sidecar).0, Severity::Fine);
    assert_eq!(of("", "{kind: icmp}").0, Severity::Fine, "no sidecar is asked for votes");
    let (severity, said) = of("failover: {armed: false}\n", "{kind: icmp}");
    assert_eq!(severity, Severity::Watch);
    assert!(said.contains("failover is switched off. The configuration switches failover off"), "{said}");
}

#[test]
fn each_state_has_its_headline() {
    use PeerState::{Degraded, Healthy, Recovering, Suspect, Unknown};
    let of = |states: &[PeerState]| {
        let names = ["a", "b", "c", "d", "e"];
        sentence(&seen(states.iter().zip(names).map(|(state, name)| view(name, *state)).collect()))
    };
    assert_eq!(of(&[Healthy; 3]), "All 3 peers are healthy.");
    assert_eq!(of(&[Healthy]), "The only peer, a, is healthy.");
    assert_eq!(of(&[Healthy, Degraded, Suspect]), "c does not answer: asking the other vantages.");
    assert_eq!(of(&[Degraded, Healthy, Degraded]), "a and c are degraded.");
    assert_eq!(of(&[Recovering, Healthy]), "a is recovering (stability check).");
    assert_eq!(of(&[Unknown; 5]), "The state of a, b and 3 more is not known yet.");
    let mut mute = view("a", Unknown);
    mute.kinds[0].summary = Some(Summary { count: 9, loss: 1.0, latency: None });
    assert_eq!(sentence(&seen(vec![mute])), "a has never answered.");
    let isolated = Overview { isolation_reason: Some(IsolationReason::PeersSilent), ..seen(vec![down("a")]) };
    assert!(sentence(&isolated).starts_with("This vantage is isolated: more than half of the peers are silent"));
    assert!(front(&isolated).contains("data-isolated=\"true\""));
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
    peer.kinds[0].summary = Some(Summary { count: 9, loss: 1.0, latency: None });
    let outcome = Err(Failure::Timeout);
    let overview = seen(vec![]);
    peer.paths[0].trace.push(overview.instant, &outcome);
    peer.paths[0].last = Some(Record::one(1, outcome, Some(Phase::Connect)));
    peer.paths[0].failed = peer.paths[0].last;
    let page = front(&Overview { peers: vec![peer], ..overview });
    assert!(page.contains("title=\"last failure: timeout at 00:00:00 UTC\""));
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
    let lost = Summary { count: 1_200, loss: 1.0, latency: None };
    let fine = Summary { count: 1_200, loss: 0.0, latency: Some(latency(17)) };
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
    well.kinds[0].summary = Some(Summary { count: 100, loss: 0.0, latency: Some(latency(24_140)) });
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
        "00:00:00.004</time><span class=\"sub\">to <time datetime=\"1970-01-01T00:08:23.000000Z\">00:08:23.000</time>",
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
