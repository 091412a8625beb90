//! The banner: its sentence, its lines, and how severe it is.

use super::*;
use crate::{
    decision::{
        Explanation, Failing, OperatorOrder, OrderStatus, QualityFault, QualitySample, Restriction,
        votes::{RejectReason, VoteProblem},
    },
    model::{Blocked, FailoverMode, PushResult, StateReason},
    signing::{Action, Command, FailoverTerms},
    status::{AlertmanagerView, Concern, Explained, PushFailure, Section},
};

fn sentence(overview: &Overview) -> String {
    headline::sentence(&Headline::of(overview), overview)
}

fn details(headline: &Headline<'_>, overview: &Overview) -> String {
    let lines = lines(headline, overview);
    lines.iter().map(|line| &*line.text).collect::<Vec<_>>().join(" ")
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
        (shown, headline::sentence(&headline, &overview) + " " + &details(&headline, &overview))
    };
    let (shown, text) = order(PeerState::Down, FailoverOrder::Active, None);
    assert_eq!(shown, "active");
    assert!(text.starts_with("a is down (confirmed 2/2), fail over to b. "), "{text}");
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
        details(&headline, &overview),
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
        (headline.severity(), headline::sentence(&headline, &overview) + " " + &details(&headline, &overview))
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
fn what_operators_have_commanded_is_said_once_with_its_end() {
    let mut overview = seen(vec![view("a", PeerState::Healthy), view("b", PeerState::Healthy)]);
    let command = |region: Option<Region>, action| Command {
        operator: "alice".to_owned(),
        environment: String::new(),
        region,
        action,
        failover: None,
        until: Some(UnixMillis(NOW.0 + 3_600_000)),
        at: NOW,
    };
    for peer in &mut overview.peers {
        peer.stated = Some(command(None, Action::Disarm));
    }
    let headline = Headline::of(&overview);
    assert_eq!(headline.severity(), Severity::Watch);
    assert_eq!(sentence(&overview), "All 2 peers are healthy, and an operator has disarmed a region.");
    let said = "alice has disarmed every region until 2026-11-21T04:04:05.123Z: no failover is ordered.";
    assert_eq!(details(&headline, &overview), said);
    overview.peers[0].stated = Some(command(Some(region("a")), Action::Maintenance));
    overview.peers[1].stated = None;
    assert_eq!(sentence(&overview), "All 2 peers are healthy, and an operator maintains a region.");
    assert!(details(&Headline::of(&overview), &overview).contains("alice has put a under maintenance until "));
}

#[test]
fn a_failover_that_an_operator_has_ordered_is_said_with_what_prevents_it() {
    let command = Command {
        operator: "alice".to_owned(),
        environment: String::new(),
        region: Some(region("a")),
        action: Action::Failover,
        failover: Some(FailoverTerms { target: region("b"), accept_loss: false, force: None }),
        until: Some(UnixMillis(NOW.0 + 3_600_000)),
        at: NOW,
    };
    let with = |status, reasons: &[Ineligible]| {
        let order = OperatorOrder::new(command.clone()).unwrap();
        OperatorOrder { status, reasons: reasons.to_vec(), known_to: (1, 3), ..order }
    };
    let mut overview = seen(vec![view("a", PeerState::Healthy), view("b", PeerState::Healthy)]);
    overview.peers[0].operator_order = Some(with(OrderStatus::Ordered, &[]));
    overview.peers[0].order = FailoverOrder::Active;
    overview.incidents = vec![Incident { ordered_by: Some("alice".into()), ..incident("a", Stage::Execute, &["b"]) }];
    assert_eq!(sentence(&overview), "All 2 peers are healthy, and an operator has ordered a failover.");
    let stated = "alice has ordered the failover of a to b until 2026-11-21T04:04:05.123Z. The failover of a to b is";
    assert_eq!(details(&Headline::of(&overview), &overview), format!("{stated} ordered now."));
    let page = front(&overview);
    assert!(page.contains("failover ordered by alice") && page.contains("2 of 2 vantages know the command"), "{page}");
    let of_peer = text(peer(about(&region("here")), &overview, "a").unwrap());
    assert!(of_peer.contains("The failover of a to b is ordered now."), "{of_peer}");
    overview.incidents.clear();
    let know = "1 of 3 instances that are neither down nor isolated know the command, and more than half must";
    for (status, reasons, why) in [
        (OrderStatus::Unconfirmed, vec![], know),
        (OrderStatus::Blocked(Blocked::Limit), vec![], "other regions are failed over or come first"),
        (OrderStatus::Blocked(Blocked::NoTarget), vec![Ineligible::Residency], "b cannot take over (zone not allowed)"),
        (OrderStatus::Blocked(Blocked::NoTarget), vec![], "b is no region of this instance"),
        (OrderStatus::Blocked(Blocked::TargetDown), vec![], "b is down"),
    ] {
        overview.peers[0].operator_order = Some(with(status, &reasons));
        overview.peers[0].order = FailoverOrder::None;
        assert_eq!(sentence(&overview), "All 2 peers are healthy, and an operator has commanded a failover.");
        let said = details(&Headline::of(&overview), &overview);
        assert!(said.starts_with(&format!("{stated} not ordered now: {why}")), "{said}");
    }
}

/// No command says where it comes from.
#[test]
fn a_block_by_the_file_of_another_vantage_is_a_line_with_that_vantage_and_what_to_change() {
    let mut overview = seen(vec![view("a", PeerState::Healthy), view("b", PeerState::Healthy)]);
    let file = |vantage: &str, mode| Restriction::File { vantage: region(vantage), mode };
    overview.peers[0].restrictions = vec![file("here", FailoverMode::Maintenance)];
    assert_eq!(sentence(&overview), "All 2 peers are healthy.", "the own file");
    for peer in &mut overview.peers {
        peer.restrictions.push(file("c", FailoverMode::Maintenance));
    }
    let said =
        "The file of c keeps a and b under maintenance. No command lifts that: change maintenance there, and reload.";
    let headline = Headline::of(&overview);
    assert_eq!(sentence(&overview), "All 2 peers are healthy, and the file of another vantage forbids a failover.");
    assert_eq!((headline.severity(), details(&headline, &overview)), (Severity::Watch, said.to_owned()));
    let page = text(peer(about(&region("here")), &overview, "a").unwrap());
    for vantage in ["here", "c"] {
        assert!(page.contains(&format!("The file of {vantage} keeps a under maintenance.")), "{page}");
    }
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
    let failing = |cause| Failing { cause, onset: Instant::now(), decisive: Instant::now() };
    let service = PeerView { rule: Rule::Failing(failing(Cause::Service)), ..view("a", Suspect) };
    let silent = PeerView { rule: Rule::Failing(failing(Cause::Silence)), ..view("b", Suspect) };
    let mixed = sentence(&seen(vec![service.clone(), silent]));
    assert_eq!(mixed, "a and b are suspect: asking the other vantages.");
    // It answers with 503.
    assert_eq!(sentence(&seen(vec![service])), "The critical services of a fail: asking the other vantages.");
    assert_eq!(of(&[Degraded, Healthy, Degraded]), "a and c are degraded.");
    assert_eq!(of(&[Recovering, Healthy]), "a is recovering (stability check).");
    assert_eq!(of(&[Unknown; 5]), "The state of a, b and 3 more is not known yet.");
    let mut mute = view("a", Unknown);
    mute.kinds[0].summary = Some(Summary { count: 9, loss: 1.0, unanswered: 1.0, latency: None });
    assert_eq!(sentence(&seen(vec![mute])), "a has never answered.");
    let isolated = Overview { isolation_reason: Some(IsolationReason::PeersSilent), ..seen(vec![down("a")]) };
    assert!(sentence(&isolated).starts_with("This vantage is isolated: more than half of the peers are silent"));
    assert!(front(&isolated).contains("data-isolated=\"true\""));
}

#[test]
fn each_reason_not_to_be_green_is_a_line_with_a_link() {
    let failing = PushFailure { since: NOW, result: PushResult::Refused };
    let mut deaf = AlertmanagerView::new("http://am.example:9093/");
    deaf.failing = Some(failing);
    let calm = || vec![view("a", PeerState::Healthy), view("b", PeerState::Healthy)];
    let pushing = Overview { alertmanagers: vec![deaf], ..seen(calm()) };
    let mut rejecting = seen(calm());
    rejecting.peers[1].vote_problem = Some(VoteProblem::Rejected(RejectReason::BadSignature));
    let isolated = Overview { isolation_reason: Some(IsolationReason::PeersSilent), ..seen(calm()) };
    let mut blocked = seen(vec![down("a"), view("b", PeerState::Healthy)]);
    blocked.peers[0].order = FailoverOrder::Blocked(Blocked::Limit);
    for (overview, sentence, line, runbook) in [
        (
            pushing,
            "All 2 peers are healthy, but alerts are not accepted.",
            "Alertmanager http://am.example:9093/ has accepted no alerts since 03:04:05: it refuses the connection.",
            "RegionwatchAlertPushFailing",
        ),
        (
            rejecting,
            "All 2 peers are healthy, but votes are rejected.",
            "The votes of b are rejected (forged): its votes.key differs from ours;",
            "RegionwatchVotesRejected",
        ),
        (
            isolated,
            "This vantage is isolated: more than half of the peers are silent, and no anchor answers.",
            "It reports no peer as down and does not vote.",
            "RegionwatchVantageIsolated",
        ),
        (
            blocked,
            "a is down (confirmed 2/2).",
            "a is not failed over: other regions are failed over or come first",
            "RegionwatchFailoverBlocked",
        ),
    ] {
        let headline = Headline::of(&overview);
        assert_ne!(headline.severity(), Severity::Fine, "{sentence}");
        assert_eq!(headline::sentence(&headline, &overview), sentence);
        let text = details(&headline, &overview);
        assert!(text.contains(line), "{text}");
        let page = front(&overview);
        assert!(page.contains(&format!("/docs/runbooks/{runbook}.md\">runbook</a>")), "{runbook} in {page}");
    }
}

#[test]
fn an_alertmanager_that_accepts_alerts_is_no_concern() {
    let mut accepting = AlertmanagerView::new("http://am.example:9093/");
    accepting.accepted_at = Some(UnixMillis(NOW.0 - 3_000));
    let overview = Overview { alertmanagers: vec![accepting], ..seen(vec![view("a", PeerState::Healthy)]) };
    assert!(Concern::all(&overview).is_empty());
    assert!(front(&overview).contains("http://am.example:9093/: last push accepted 3 s ago"));
}

#[test]
fn a_process_that_has_just_begun_is_starting_and_not_healthy() {
    let early = |peers: Vec<PeerView>| Overview { uptime: Duration::from_secs(3), ..seen(peers) };
    let row = |reasons| RankedRegion { region: region("a"), reasons, score: None, rank: None };
    let voter = |age| VoteStatus { by: region("c"), vote: None, age, fresh: false, isolated: false };

    let mut overview = early(vec![view("a", PeerState::Unknown), view("b", PeerState::Healthy)]);
    overview.ranking = vec![row(vec![Ineligible::State, Ineligible::InsufficientData])];
    overview.peers[1].said = vec![voter(None)];
    overview.alertmanagers = vec![AlertmanagerView::new("http://am.example/")];
    let headline = Headline::of(&overview);
    assert_eq!(headline.severity(), Severity::Watch);
    assert_eq!(
        headline::sentence(&headline, &overview),
        "Starting: the state of a is not known yet, no failover target is known yet, no votes from c yet, no answer from \
         1 Alertmanager yet."
    );
    assert_eq!(headline::mark(&headline), "starting");

    // Healthy, but too few probes for a ranking.
    let mut overview = early(vec![view("a", PeerState::Healthy)]);
    overview.ranking = vec![row(vec![Ineligible::InsufficientData])];
    assert_eq!(sentence(&overview), "Starting: no failover target is known yet.");
    overview.uptime = Duration::from_secs(30);
    assert_eq!(sentence(&overview), "The only peer, a, is healthy.");
    overview.uptime = Duration::from_secs(3);
    overview.ranking[0].reasons.clear();
    assert_eq!(sentence(&overview), "The only peer, a, is healthy.", "all that is to be known is known");

    // What is known to be wrong comes first.
    let overview = early(vec![view("a", PeerState::Unknown), view("b", PeerState::Suspect)]);
    assert!(sentence(&overview).starts_with("b does not answer"));
}

#[test]
fn a_state_has_its_reason_and_its_time_on_the_front_page_and_on_that_of_the_peer() {
    let sample = QualitySample { kind: probe::TCP, loss: 0.07, lost: 17, p95: None };
    let mut degraded = view("a", PeerState::Degraded);
    degraded.rule = Rule::Quality(QualityFault::Lossy(sample));
    let overview = seen(vec![degraded, view("b", PeerState::Healthy)]);
    let headline = Headline::of(&overview);
    assert_eq!(
        details(&headline, &overview),
        "1 of 2 peers healthy. a is degraded since 03:02:35: 7% of tcp probes failed over 60 s (17 probes)."
    );
    let page = text(peer(about(&region("here")), &overview, "a").unwrap());
    assert!(page.contains("<span data-reason=\"loss\">7% of tcp probes failed over 60 s"), "{page}");
}

#[test]
fn the_minute_before_does_not_contradict_that_a_region_is_silent() {
    let overview = seen(vec![down("a")]);
    let sample = QualitySample { kind: probe::TCP, loss: 0.0, lost: 0, p95: None };
    let dead = Failing { cause: Cause::Silence, onset: overview.instant, decisive: overview.instant };
    let evidence = |failing| {
        let explanation = Explanation {
            region: region("a"),
            state: PeerState::Suspect,
            since: overview.instant,
            rule: Rule::Failing(dead),
            isolation: None,
            failing,
            quality: Some((sample, None)),
            paths: Vec::new(),
            own: Vote::Down,
            ballots: Vec::new(),
            tally: Tally::default(),
            next_votes: Vec::new(),
            incident: None,
            stated: None,
            operator_order: None,
            restrictions: vec![Restriction::File { vantage: region("c"), mode: FailoverMode::Disarmed }],
            failed_over: Vec::new(),
        };
        let sections = Explained::of(&explanation, &overview).sections;
        let failover = sections.last().unwrap().lines.join(" ");
        assert!(
            failover.starts_with("The file of c forbids the failover of a (armed or failover.armed)."),
            "{failover}"
        );
        sections[0].lines.join(" ")
    };
    assert!(evidence(None).contains("In the last minute, 0% of tcp probes failed (0)."), "{}", evidence(None));
    let silent = evidence(Some(dead));
    assert!(silent.contains("It seems to be down since") && !silent.contains("In the last minute"), "{silent}");
}

#[test]
fn an_explanation_is_a_page_with_a_card_for_each_section() {
    let overview = seen(vec![down("a"), view("b", PeerState::Healthy)]);
    let explained = Explained {
        region: region("a"),
        state: PeerState::Down,
        since: NOW,
        reason: StateReason::Quorum,
        why: "2 of 2 vantages vote down, 2 needed".to_owned(),
        sections: vec![Section { title: "One more vote", lines: vec!["<nothing> would change.".to_owned()] }],
    };
    let page = text(explain(about(&region("here")), &overview, &explained));
    for part in [
        "<span data-reason=\"quorum\">2 of 2 vantages vote down, 2 needed</span>",
        "<h2 id=\"h-one-more-vote\">One more vote</h2>",
        "<li>&lt;nothing&gt; would change.</li>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(front(&overview).contains("<a href=\"/explain?region=a\">why</a>"));
}
