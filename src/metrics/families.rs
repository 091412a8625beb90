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
    #[state] BUILD_INFO = "build_info" gauge ("version, revision")
        "Always 1; version and revision of this build.";
    #[state] CONFIG_RELOAD_SUCCESSFUL = "config_last_reload_successful" gauge ("")
        "Whether the last load of the configuration succeeded (1) or was rejected, so that the previous one stays in force (0).";
    #[state] CONFIG_RELOAD_TIMESTAMP = "config_last_reload_success_timestamp_seconds" gauge ("")
        "Time of the last successful configuration load, in seconds since 1970.";
    CLOCK_STEPS = "clock_steps_total" counter ("")
        "Probes discarded because the wall clock was set while they were in flight.";
    START_DELAY = "probe_start_delay_seconds" histogram ("")
        "Delay from a probe's scheduled start to its actual start: lateness of this process, not of the network.";
    TIMESTAMP_SOURCE = "timestamp_source" gauge ("source")
        "Clock of the last successful probe (1): kernel timestamps, or the clock of this process.";
    #[state] PROBE_SUCCESS = "probe_success" gauge ("layer")
        "Whether the last probe succeeded (1) or failed (0); absent before the first.";
    #[state] PROBE_LAST_SUCCESS = "probe_last_success_timestamp_seconds" gauge ("")
        "Start of the last successful probe, in seconds since 1970; absent before the first.";
    PROBES = "probes_total" counter ("result")
        "Probes by result: ok, or the reason of the failure. The result local means that the failure was on this host.";
    PROBE_DURATION = "probe_duration_seconds" histogram ("")
        "Network latency of successful probes, without name resolution; a failed probe has no latency.";
    PROBE_PHASE_DURATION = "probe_phase_duration_seconds" summary ("phase")
        "Phases of successful probes; resolve counts background lookups of the target's name.";
    PROBE_LATE = "probe_late_total" counter ("")
        "Answers received after the deadline; their probes count as timeout.";
    PROBE_DUPLICATES = "probe_duplicates_total" counter ("")
        "Duplicate replies received.";
    TCP_SYN_RETRANSMITS = "tcp_syn_retransmits_total" counter ("")
        "SYNs that the kernel retransmitted before the connection was established.";
    PROBE_SLOTS_MISSED = "probe_slots_missed_total" counter ("")
        "Scheduled starts at which no probe could start in time.";
    PROBE_REPLY_HOP_LIMIT = "probe_reply_hop_limit" gauge ("")
        "Hop limit (TTL) of the last echo reply; absent before the first.";
    TLS_CERTIFICATE_EXPIRY = "tls_certificate_expiry_timestamp_seconds" gauge ("")
        "Expiry of the first certificate in the chain that the target presented last, in seconds since 1970.";
    #[state] PEER_LATENCY = "peer_latency_seconds" summary ("quantile")
        "Latency quantiles over all targets of a peer in the trailing window; absent without a success.";
    #[state] PEER_LOSS = "peer_loss_ratio" gauge ("")
        "Fraction of failed probes over all targets of a peer in the trailing window, 0 to 1, without local failures.";
    #[state] PEER_JITTER = "peer_jitter_seconds" gauge ("")
        "Mean difference between consecutive latencies in the trailing window (RFC 3393).";
    #[state] PEER_STATE = "peer_state" gauge ("state")
        "State of a peer region as seen by this vantage: 1 for the current state, 0 for the others.";
    #[state] PEER_STATE_SINCE = "peer_state_since_timestamp_seconds" gauge ("")
        "Time at which the peer entered its state, in seconds since 1970.";
    #[state] PEER_STATE_CHANGES = "peer_state_changes_total" counter ("from, to")
        "State changes of the peer.";
    #[state] PEER_VOTES = "peer_votes" gauge ("vote")
        "Fresh votes on a peer, including this vantage's own. Expired votes are not counted.";
    #[state] PEER_QUORUM = "peer_quorum" gauge ("")
        "Number of down votes needed for a quorum.";
    #[state] PEER_QUORUM_REACHED = "peer_quorum_reached" gauge ("")
        "Whether enough vantages vote down, and those with a fresh vote are more than half of all.";
    #[state] VANTAGE_ISOLATED = "vantage_isolated" gauge ("")
        "Whether this vantage appears to be isolated (1); it then reports no peer as down.";
    #[state] VANTAGE_HEALTH = "vantage_health_score" gauge ("")
        "0 = probes start on time, 7 = worst. Suspicion timeouts are multiplied by 1 + score.";
    #[state] ANCHOR_SUCCESS = "anchor_success" gauge ("anchor")
        "Whether an anchor, an endpoint outside all regions, answers.";
    #[state] CANDIDATE_ELIGIBLE = "candidate_eligible" gauge ("")
        "Whether the peer is eligible as a failover target of this region.";
    #[state] CANDIDATE_RANK = "candidate_rank" gauge ("")
        "Rank of the peer among the failover targets of this region, 1 is the best; absent if not eligible.";
    #[state] CANDIDATE_SCORE = "candidate_score_seconds" gauge ("")
        "Estimated cost of failing over to the peer, in seconds per request; lower is better; absent without data.";
    #[state] CANDIDATE_INELIGIBLE = "candidate_ineligible" gauge ("reason")
        "Why the peer is not eligible as a failover target: 1 for each reason that applies.";
    PEER_DISTANCE = "peer_distance_meters" gauge ("")
        "Great-circle distance to the peer; absent if either location is unknown.";
    PEER_LIGHT_RTT = "peer_light_rtt_seconds" gauge ("")
        "Round-trip time of light in a straight fiber; no path can be faster.";
    #[state] INCIDENTS = "incidents" gauge ("stage")
        "Whether an incident about the peer is active and sent to Alertmanager, by stage.";
    VOTES_RECEIVED = "votes_received_total" counter ("result")
        "Vote messages received from the peer, by result: accepted, or the reason for rejection.";
    ALERT_PUSHES = "alert_pushes_total" counter ("alertmanager, result")
        "Alert push attempts, by Alertmanager and result.";
    ALERT_PUSH_DURATION = "alert_push_duration_seconds" histogram ("alertmanager")
        "Duration of alert pushes that an Alertmanager accepted; a failed push has no duration.";
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
