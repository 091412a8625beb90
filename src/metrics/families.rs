//! Every metric of ours: one entry is its name, type, labels and help, and how its samples are written.

use std::fmt::Write as _;

use super::{
    anchor::AnchorSeries, database::DatabaseSeries, path::PathSeries, peer::PeerSeries, push::PushSeries,
    region::RegionSeries, samples::Samples, vantage::VantageSeries, votes::VoteSeries,
};
use crate::logging;

/// A metric family, as it is documented and exposed.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The name, with its unit.
    pub name: &'static str,
    /// `counter`, `gauge`, `histogram` or `summary`.
    pub kind: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Its labels, besides those of the region, target and probe that it is about.
    pub labels: &'static str,
    /// Whether it is on the small page for frequent scrapes, `?collect=state`.
    pub state: bool,
    pub(super) scope: Scope,
}

/// What has series of a family, and how one of these writes its samples.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scope {
    /// The instance.
    Vantage(fn(&VantageSeries, &mut Samples<'_>)),
    /// Each path.
    Path(fn(&PathSeries, &mut Samples<'_>)),
    /// Each peer and kind of probe.
    Peer(fn(&PeerSeries, &mut Samples<'_>)),
    /// Each peer.
    Region(fn(&RegionSeries, &mut Samples<'_>)),
    /// Each peer whose vote messages are read.
    Votes(fn(&VoteSeries, &mut Samples<'_>)),
    /// Each anchor.
    Anchor(fn(&AnchorSeries, &mut Samples<'_>)),
    /// Each server of a database.
    Database(fn(&DatabaseSeries, &mut Samples<'_>)),
    /// Each Alertmanager.
    Push(fn(&PushSeries, &mut Samples<'_>)),
}

impl Scope {
    /// The labels of the region, target and probe that the scope is about.
    pub(super) const fn labels(self) -> &'static str {
        match self {
            Self::Path(_) => "peer_region, target, probe",
            Self::Peer(_) => "peer_region, probe",
            Self::Region(_) | Self::Votes(_) => "peer_region",
            Self::Database(_) => "database, peer_region",
            Self::Vantage(_) | Self::Anchor(_) | Self::Push(_) => "",
        }
    }
}

macro_rules! families {
    ($($(#[$state:ident])? $name:literal $kind:ident $scope:ident($labels:literal) $help:literal, $write:expr;)*) => {
        /// Every family of ours, in the order of the page.
        pub const FAMILIES: &[Family] = &[$(Family {
            name: concat!("regionwatch_", $name),
            kind: stringify!($kind),
            help: $help,
            labels: $labels,
            state: families!(@state $($state)?),
            scope: Scope::$scope($write),
        }),*];
    };
    (@state state) => { true };
    (@state) => { false };
}

families! {
    #[state] "build_info" gauge Vantage("version, revision")
        "Always 1; version and revision of this build.",
        VantageSeries::write_build;
    #[state] "config_last_reload_successful" gauge Vantage("")
        "Whether the last load of the configuration succeeded (1) or was rejected, so that the previous one stays in force (0).",
        |series, out| out.gauge(&series.reload_successful);
    #[state] "config_last_reload_success_timestamp_seconds" gauge Vantage("")
        "Time of the last successful configuration load, in seconds since 1970.",
        |series, out| out.gauge(&series.reload_timestamp);
    "log_lines_dropped_total" counter Vantage("")
        "Log lines that were not written, because the disk was full or their reader stalled or ended.",
        |_, out| out.put(logging::dropped());
    "clock_steps_total" counter Vantage("")
        "Probes discarded because the wall clock was set while they were in flight.",
        |series, out| out.put(series.clock_steps.get());
    "probe_start_delay_seconds" histogram Vantage("")
        "Delay from a probe's scheduled start to its actual start: lateness of this process, not of the network.",
        |series, out| out.histogram(&series.start_delay);
    "timestamp_source" gauge Vantage("source")
        "Clock of the last successful probe (1): kernel timestamps, or the clock of this process.",
        VantageSeries::write_source;
    #[state] "probe_success" gauge Path("layer")
        "Whether the last probe succeeded (1) or failed (0); absent before the first.",
        |path, out| out.gauge_with(&[("layer", path.kind.layer().as_str())], &path.success);
    "probe_last_success_timestamp_seconds" gauge Path("")
        "Start of the last successful probe, in seconds since 1970; absent before the first.",
        |path, out| out.gauge(&path.last_success);
    // Durations stand before the results that they belong to: a probe is counted first, so that no page has more durations.
    "probe_duration_seconds" histogram Path("")
        "Network latency of successful probes, without name resolution; a failed probe has no latency.",
        |path, out| out.histogram(&path.duration);
    "probe_phase_duration_seconds" summary Path("phase")
        "Phases of successful probes; resolve counts background lookups of the target's name.",
        PathSeries::write_phases;
    "probes_total" counter Path("result")
        "Probes by result: ok, or the reason of the failure. The result local means that the failure was on this host.",
        PathSeries::write_results;
    "probe_late_total" counter Path("")
        "Answers received after the deadline; their probes count as timeout.",
        |path, out| out.put_if(path.shape.late, path.late.get());
    "probe_duplicates_total" counter Path("")
        "Duplicate replies received.",
        |path, out| out.put_if(path.shape.duplicates, path.duplicates.get());
    "tcp_syn_retransmits_total" counter Path("")
        "SYNs that the kernel retransmitted before the connection was established.",
        |path, out| out.put_if(path.shape.retransmits(), path.retransmits.get());
    "probe_slots_missed_total" counter Path("")
        "Scheduled starts at which no probe could start in time.",
        |path, out| out.put(path.slots_missed.get());
    "probe_reply_hop_limit" gauge Path("")
        "Hop limit (TTL) of the last echo reply; absent before the first.",
        PathSeries::write_hop_limit;
    "probe_http_status_code" gauge Path("")
        "Status of the HTTP response in the last probe, after redirects; absent if there was none.",
        PathSeries::write_http_status;
    "probe_http_version" gauge Path("")
        "Version of HTTP in which that response came: 1, 1.1 or 2.",
        PathSeries::write_http_version;
    "probe_dns_question_info" gauge Path("query, record")
        "Always 1; name and record type that the probe asks DNS for.",
        PathSeries::write_question;
    "tls_certificate_expiry_timestamp_seconds" gauge Path("")
        "Expiry of the certificate that the target presented last, also if it was rejected, in seconds since 1970.",
        PathSeries::write_certificate_expiry;
    "tls_certificate_not_before_timestamp_seconds" gauge Path("")
        "Start of the validity of that certificate, in seconds since 1970.",
        PathSeries::write_certificate_not_before;
    "tls_certificate_issuers_expiry_timestamp_seconds" gauge Path("")
        "First expiry of the certificates that the target sent between its own and the trusted authority, in seconds since 1970.",
        PathSeries::write_issuers_expiry;
    "tls_certificate_info" gauge Path("version, cipher, issuer, subject, fingerprint_sha256")
        "Always 1; that certificate and the session of TLS, without version and cipher if the handshake failed. Changes at most once per minute.",
        PathSeries::write_certificate_info;
    "peer_latency_seconds" summary Peer("quantile")
        "Latency quantiles over all targets of a peer in the trailing window; absent without a success.",
        PeerSeries::write_quantiles;
    "peer_loss_ratio" gauge Peer("")
        "Fraction of probes without an answer over all targets of a peer in the trailing window, 0 to 1.",
        |peer, out| out.gauge(&peer.loss);
    "peer_failure_ratio" gauge Peer("")
        "Fraction of failed probes over all targets of a peer in the trailing window, 0 to 1: lost, refused or answered wrongly. Local failures do not count.",
        |peer, out| out.gauge(&peer.failures);
    "peer_jitter_seconds" gauge Peer("")
        "Mean difference between consecutive latencies in the trailing window (RFC 3393).",
        |peer, out| out.gauge(&peer.jitter);
    #[state] "peer_state" gauge Region("state")
        "State of a peer region as seen by this vantage: 1 for the current state, 0 for the others.",
        RegionSeries::write_state;
    "peer_state_reason" gauge Region("reason")
        "Rule by which the peer is in its state: 1 for the current rule, 0 for the others; `common_mode` = its services fail as those of other regions do.",
        RegionSeries::write_state_reason;
    #[state] "peer_state_since_timestamp_seconds" gauge Region("")
        "Time at which the peer entered its state, in seconds since 1970.",
        |region, out| out.gauge(&region.since);
    "peer_state_changes_total" counter Region("from, to")
        "State changes of the peer.",
        RegionSeries::write_changes;
    #[state] "peer_votes" gauge Region("vote")
        "Fresh votes on a peer, including this vantage's own. Expired votes are not counted.",
        RegionSeries::write_votes;
    #[state] "peer_quorum" gauge Region("")
        "Number of down votes needed for a quorum.",
        |region, out| out.gauge(&region.needed);
    #[state] "peer_quorum_reached" gauge Region("")
        "Whether enough vantages vote down, and those with a fresh vote are more than half of all.",
        |region, out| out.gauge(&region.reached);
    #[state] "peer_quorum_possible" gauge Region("")
        "Whether a quorum could confirm an outage of the peer (1), or this vantage alone may; 0 = never `execute`.",
        |region, out| out.gauge(&region.quorum_possible);
    #[state] "vantages" gauge Vantage("")
        "Number of vantages whose votes count here, including this one.",
        |series, out| out.gauge(&series.vantages);
    #[state] "vantage_isolated" gauge Vantage("")
        "Whether this vantage appears to be isolated (1); it then reports no peer as down.",
        |series, out| out.gauge(&series.isolated);
    #[state] "vantage_health_score" gauge Vantage("")
        "0 = probes start on time, 7 = worst. Suspicion timeouts are multiplied by 1 + score.",
        |series, out| out.gauge(&series.health_score);
    #[state] "anchor_success" gauge Anchor("anchor")
        "Whether an anchor, an endpoint outside all regions, answers.",
        |anchor, out| out.gauge(&anchor.success);
    #[state] "candidate_eligible" gauge Region("")
        "Whether the peer is eligible as a failover target of this region.",
        |region, out| out.gauge(&region.eligible);
    #[state] "candidate_rank" gauge Region("")
        "Rank of the peer among the failover targets of this region, 1 is the best; absent if not eligible.",
        |region, out| out.gauge(&region.rank);
    "candidate_score_seconds" gauge Region("")
        "Estimated cost of failing over to the peer, in seconds per request; lower is better; absent without data.",
        |region, out| out.gauge(&region.score);
    "candidate_ineligible" gauge Region("reason")
        "Why the peer is not eligible as a failover target: 1 for each reason that applies.",
        RegionSeries::write_reasons;
    "peer_distance_meters" gauge Region("")
        "Great-circle distance to the peer; absent if either location is unknown.",
        |region, out| out.gauge(&region.distance);
    "peer_light_rtt_seconds" gauge Region("")
        "Round-trip time of light in a straight fiber; no path can be faster.",
        |region, out| out.gauge(&region.light_rtt);
    #[state] "incidents" gauge Region("stage")
        "Whether an incident about the peer is active, by stage; `execute` only while this vantage holds the peer down.",
        RegionSeries::write_incidents;
    "failover_blocked" gauge Region("reason")
        "Why the peer is not failed over although it is down: 1 for the reason that applies, 0 for the others.",
        RegionSeries::write_blocked;
    "order_signatures" gauge Region("")
        "Valid signatures under the order to fail over the peer; absent without an order, and without any key.",
        |region, out| out.gauge(&region.order_signatures);
    "votes_received_total" counter Votes("result")
        "Vote messages received from the peer, by result: accepted, environment_missing (accepted, but one side has none), or the reason for rejection.",
        VoteSeries::write_results;
    "order_signatures_received_total" counter Votes("result")
        "Signatures of the peer under orders to fail over, by result: valid, invalid, or no_key if `public_keys` has no key of it.",
        VoteSeries::write_signatures;
    "signing_key_known" gauge Votes("")
        "Whether `public_keys` has the key that the peer signs orders with, as its votes say; absent if neither has one.",
        |votes, out| out.gauge(&votes.signing_key_known);
    "peer_clock_offset_seconds" gauge Votes("")
        "How far the clock of the peer is ahead of this instance's own, by the time in its votes, to half of the round trip; absent without votes.",
        |votes, out| out.gauge(&votes.clock_offset);
    "database_replication_lag_seconds" gauge Database("bound")
        "How far the replica in the region is behind, at least (lower) and at most (upper), by tokens that this instance writes; absent where it is unknown.",
        DatabaseSeries::write_lag;
    "database_state" gauge Database("state")
        "How the server of the database stands to its primary: 1 for the current state, 0 for the others.",
        DatabaseSeries::write_state;
    "database_writable" gauge Database("")
        "Whether the server takes writes (1) or is a replica (0); absent if it cannot be read.",
        |server, out| out.gauge(&server.writable);
    "database_engine_lag_seconds" gauge Database("")
        "The lag by the word of the replica itself, as postgres_exporter and mysqld_exporter ask for it; it can be 0 while the replica is cut off.",
        |server, out| out.gauge(&server.engine_lag);
    "database_rpo_seconds" gauge Database("bound")
        "What a failover to the region would lose, at least (lower) and at most (upper), by the bounds of all vantages; it stops growing at the onset of an outage of the primary's region. Absent for the primary, and where it is unknown.",
        DatabaseSeries::write_loss;
    "database_rpo_target_seconds" gauge Database("")
        "The setting `rpo` of the database: the most that a failover to the region may lose.",
        |server, out| out.gauge(&server.rpo);
    "database_rpo_unknown" gauge Database("")
        "Whether it is unknown what a failover to the region would lose (1), so that the region is no failover target of the primary's region.",
        |server, out| out.gauge(&server.loss_unknown);
    "database_lost_tokens" gauge Database("")
        "Tokens of this instance, one per second, that the old primary had acknowledged and that this server did not have when it became the primary; absent before.",
        |server, out| out.gauge(&server.lost);
    "database_read_duration_seconds" histogram Database("")
        "Latency of successful reads: role, token and lag of the server, in one statement.",
        |server, out| out.histogram(&server.read);
    "database_write_duration_seconds" histogram Database("")
        "Latency of successful writes: one row of a table of this instance's own, with its commit.",
        |server, out| out.histogram(&server.write);
    "database_probes_total" counter Database("result")
        "Readings of the server, with the token that is written where it takes writes, by result: ok, or the reason of the failure.",
        DatabaseSeries::write_results;
    "alert_push_duration_seconds" histogram Push("alertmanager")
        "Duration of alert pushes that an Alertmanager accepted; a failed push has no duration.",
        |push, out| out.histogram(&push.duration);
    "alert_pushes_total" counter Push("alertmanager, result")
        "Alert push attempts, by Alertmanager and result.",
        PushSeries::write_results;
}

/// The families as a Markdown table, as in docs/metrics.md.
pub fn families_table() -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n");
    for Family { name, kind, help, labels, scope, .. } in FAMILIES {
        let labels = [scope.labels(), labels].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let _ = writeln!(table, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    table
}
