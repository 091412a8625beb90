//! The name, type, labels and help of every family, in the order of the page.

use std::fmt::Write as _;

/// A metric family, as it is documented and exposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The name, with its unit.
    pub name: &'static str,
    /// `counter`, `gauge`, `histogram` or `summary`.
    pub kind: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Its labels, besides those that all of its scope share.
    pub labels: &'static str,
    /// Whether it stands on the small page for frequent scrapes, `?collect=state`.
    pub state: bool,
}

macro_rules! families {
    ($($(#[$state:ident])? $id:ident = $name:literal $kind:ident ($labels:literal) $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Family = Family {
                name: concat!("regionwatch_", $name),
                kind: stringify!($kind),
                help: $help,
                labels: $labels,
                state: families!(@state $($state)?),
            };
        )*
        /// Every family of ours, in the order of the page.
        pub const FAMILIES: &[Family] = &[$($id),*];
    };
    (@state state) => { true };
    (@state) => { false };
}

families! {
    #[state] BUILD_INFO = "build_info" gauge ("version, revision") "Always 1; which build this is.";
    #[state] CONFIG_RELOAD_SUCCESSFUL = "config_last_reload_successful" gauge ("")
        "Whether the last attempt to load the configuration succeeded (1) or left the previous one in force (0).";
    #[state] CONFIG_RELOAD_TIMESTAMP = "config_last_reload_success_timestamp_seconds" gauge ("")
        "When a configuration was last loaded successfully, in seconds since 1970.";
    CLOCK_STEPS = "clock_steps_total" counter ("")
        "Probes that were dropped because the wall clock was set while they were under way.";
    START_DELAY = "probe_start_delay_seconds" histogram ("")
        "From the time a probe was due to its real start; what this process, not the network, is late by.";
    TIMESTAMP_SOURCE = "timestamp_source" gauge ("source")
        "Which clock the last successful probe was measured by (1): the kernel's stamps, or this process's own clock.";
    #[state] PROBE_SUCCESS = "probe_success" gauge ("layer")
        "Whether the last probe succeeded (1) or failed (0); absent before the first.";
    #[state] PROBE_LAST_SUCCESS = "probe_last_success_timestamp_seconds" gauge ("")
        "When the last successful probe began, in seconds since 1970; absent before the first.";
    PROBES = "probes_total" counter ("result")
        "Probes by what came of them: ok, or the reason of the failure. The result local is this side's own fault.";
    PROBE_DURATION = "probe_duration_seconds" histogram ("")
        "Latency of successful probes on the network, without name resolution; a failure has no latency.";
    PROBE_PHASE_DURATION = "probe_phase_duration_seconds" summary ("phase")
        "Phases of successful probes; resolve counts the lookups of the target's name in the background.";
    PROBE_LATE = "probe_late_total" counter ("")
        "Answers that came after the deadline; their probes count as timeout.";
    PROBE_DUPLICATES = "probe_duplicates_total" counter ("") "Replies that came more than once.";
    TCP_SYN_RETRANSMITS = "tcp_syn_retransmits_total" counter ("")
        "SYNs that the kernel sent again before a connection came about.";
    PROBE_SLOTS_MISSED = "probe_slots_missed_total" counter ("")
        "Slots of the schedule in which no probe could start in time.";
    PROBE_REPLY_HOP_LIMIT = "probe_reply_hop_limit" gauge ("")
        "The hop limit (TTL) that the last echo reply arrived with; absent before the first.";
    TLS_CERTIFICATE_EXPIRY = "tls_certificate_expiry_timestamp_seconds" gauge ("")
        "When the first certificate of the chain that the target last presented expires, in seconds since 1970.";
    #[state] PEER_LATENCY = "peer_latency_seconds" summary ("quantile")
        "Quantiles of the latency to all targets of a peer over the trailing window; absent where nothing succeeded.";
    #[state] PEER_LOSS = "peer_loss_ratio" gauge ("")
        "The share of failed probes to all targets of a peer over the trailing window, 0 to 1, without local failures.";
    #[state] PEER_JITTER = "peer_jitter_seconds" gauge ("")
        "The mean difference between consecutive latencies over the trailing window (RFC 3393).";
    #[state] PEER_STATE = "peer_state" gauge ("state")
        "What this vantage thinks of a peer region: 1 for its state, 0 for the others.";
    #[state] PEER_STATE_SINCE = "peer_state_since_timestamp_seconds" gauge ("")
        "Since when the peer has been in its state, in seconds since 1970.";
    #[state] PEER_STATE_CHANGES = "peer_state_changes_total" counter ("from, to") "Changes of the peer's state.";
    #[state] PEER_VOTES = "peer_votes" gauge ("vote")
        "Fresh votes of the vantages on a peer, this one's included. Who has not looked again yet is not among them.";
    #[state] PEER_QUORUM = "peer_quorum" gauge ("") "How many vantages must say down for a quorum.";
    #[state] PEER_QUORUM_REACHED = "peer_quorum_reached" gauge ("")
        "Whether enough vantages say down, and those heard are more than half of all.";
    #[state] VANTAGE_ISOLATED = "vantage_isolated" gauge ("")
        "Whether this vantage itself seems to be cut off (1), and therefore accuses nobody.";
    #[state] VANTAGE_HEALTH = "vantage_health_score" gauge ("")
        "0 where this vantage starts its probes in time, up to 7; it waits (1 + score) times as long before it accuses.";
    #[state] ANCHOR_SUCCESS = "anchor_success" gauge ("anchor")
        "Whether an endpoint outside all regions answers.";
    #[state] CANDIDATE_ELIGIBLE = "candidate_eligible" gauge ("")
        "Whether the peer could take over from this region.";
    #[state] CANDIDATE_RANK = "candidate_rank" gauge ("")
        "The peer's place among those that could take over from this region, 1 is the best; absent where it cannot.";
    #[state] CANDIDATE_SCORE = "candidate_score_seconds" gauge ("")
        "What taking over would cost, in seconds a request; lower is better; absent without data.";
    #[state] CANDIDATE_INELIGIBLE = "candidate_ineligible" gauge ("reason")
        "Why the peer cannot take over: 1 for each reason that holds.";
    PEER_DISTANCE = "peer_distance_meters" gauge ("")
        "Great-circle distance to the peer; absent where one of both places is not known.";
    PEER_LIGHT_RTT = "peer_light_rtt_seconds" gauge ("")
        "The round trip that light in a straight fibre would need; no path can be faster.";
    #[state] INCIDENTS = "incidents" gauge ("stage")
        "Whether Alertmanager is being told that the peer is down, by stage.";
    VOTES_RECEIVED = "votes_received_total" counter ("result")
        "Bulletins that the peer's sidecar answered with, by what they were worth: accepted, or why they do not count.";
    ALERT_PUSHES = "alert_pushes_total" counter ("alertmanager, result")
        "Pushes of the alerts to an Alertmanager by what came of them, each attempt; counted after the answer.";
    ALERT_PUSH_DURATION = "alert_push_duration_seconds" histogram ("alertmanager")
        "How long pushes took that an Alertmanager accepted; a failure has no duration.";
}

/// The families as a Markdown table, as in docs/metrics.md.
pub fn families_table() -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for family in FAMILIES {
        let scope = scope(family);
        let labels = [scope, family.labels].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let _ = writeln!(table, "| `{}` | {} | {} | {} |", family.name, family.kind, labels.join(", "), family.help);
    }
    table
}

fn scope(family: &Family) -> &'static str {
    match family.name {
        _ if [&PEER_LATENCY, &PEER_LOSS, &PEER_JITTER].contains(&family) => "peer_region, probe",
        "regionwatch_incidents" => "peer_region",
        name if name.starts_with("regionwatch_peer_") || name.starts_with("regionwatch_candidate_") => "peer_region",
        "regionwatch_probe_start_delay_seconds" => "",
        "regionwatch_votes_received_total" => "peer_region",
        name if name.starts_with("regionwatch_probe")
            || name.starts_with("regionwatch_tcp_")
            || name.starts_with("regionwatch_tls_") =>
        {
            "peer_region, target, probe"
        }
        _ => "",
    }
}
