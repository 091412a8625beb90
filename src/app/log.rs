//! The log lines of what the engine reports. The same thing has the same key in each of them: `peer`, `from`, `to`, `reason`,
//! `cause`, `incident`, `target`.

use std::{fmt, net::SocketAddr, path::PathBuf};

use tracing::{info, warn};

use crate::{
    config::Config,
    decision::{StateChange, StatementNews, Transition, votes::VoteProblem},
    model::{Cause, Incident, PeerState, Promotion, Region, StateReason, Tally},
    status::format,
};

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub enum ConfigSource {
    /// This file, with what variables and flags override.
    File(PathBuf),
    /// Variables and flags alone.
    Environment,
    /// The demo.
    Demo,
}

impl fmt::Display for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Environment => f.write_str("environment"),
            Self::Demo => f.write_str("demo"),
        }
    }
}

/// What this process is and does, in one line.
pub(super) fn log_start(source: &ConfigSource, address: SocketAddr, config: &Config) {
    let votes = if config.paths().any(|(path, _)| path.kind.carries_votes()) { "on" } else { "off" };
    let alertmanagers: Vec<_> = config.alertmanagers.iter().map(|to| to.url.to_string()).collect();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        config = %source,
        %address,
        region = %config.region,
        role = config.is_witness().then_some("witness"),
        environment = config.environment.as_ref().map(tracing::field::display),
        peers = config.peers.len(),
        paths = config.paths().count(),
        votes,
        alertmanagers = alertmanagers.join(","),
        "measuring"
    );
}

pub(super) fn log(change: &StateChange) {
    match change {
        StateChange::Peer { peer, transition: Transition { from, to }, rule, tally, cause, incident } => {
            let Tally { down, up, voters, needed, .. } = tally;
            let (reason, cause) = (rule.reason(), cause.map(tracing::field::display));
            let incident = incident.as_deref().map(tracing::field::display);
            match to {
                PeerState::Down => {
                    let confirmed = tally.reached;
                    warn!(%peer, %from, %to, %reason, cause, incident, down, up, voters, needed, confirmed, "{peer} is down: {rule}");
                }
                PeerState::Suspect => {
                    info!(%peer, %from, %to, %reason, cause, incident, "{peer} is suspect: {rule}; asking the other vantages");
                }
                PeerState::Degraded => {
                    warn!(%peer, %from, %to, %reason, incident, down, up, voters, needed, "{peer} is degraded: {rule}");
                }
                _ => info!(%peer, %from, %to, %reason, incident, down, up, voters, needed, "{peer} is {to}: {rule}"),
            }
        }
        StateChange::Order { peer, incident, cause, target, ordered } => {
            let target = target.as_ref().map_or("none", Region::as_str);
            let cause = cause.map_or(Incident::BY_OPERATOR, Cause::as_str);
            if *ordered {
                warn!(%peer, %cause, %incident, target, "the failover of {peer} to {target} is ordered");
            } else {
                warn!(%peer, %cause, %incident, target, "the failover of {peer} to {target} is withdrawn");
            }
        }
        StateChange::Statement { command, news, ended } => {
            let ended = ended.as_ref().map(|ended| format!(" Taken back: {}", format::statement(ended)));
            let said = format::statement(command) + &ended.unwrap_or_default();
            let operator = &command.operator;
            match news {
                StatementNews::Commanded => warn!(operator, "{said}"),
                StatementNews::Relayed(by) => warn!(operator, %by, "{said}"),
                StatementNews::Forgotten => warn!(operator, "the configuration ends it: {said}"),
                StatementNews::Resumed => warn!(operator, "the clock of this instance is ahead, so it goes on: {said}"),
                StatementNews::Ended => {
                    let (action, subject) = (command.action, command.subject());
                    warn!(operator, %action, "what {operator} has commanded of {subject} has ended ({action})");
                }
            }
        }
        StateChange::Resolved { peer, incident } => info!(%peer, %incident, "the incident of {peer} is over"),
        StateChange::Blocked { peer, reason: Some(reason) } => {
            warn!(%peer, %reason, "{peer} is not failed over: {}", reason.explanation());
        }
        StateChange::Blocked { peer, reason: None } => info!(%peer, "nothing prevents the failover of {peer} any more"),
        StateChange::Promoted { database, promotion: Promotion { from, to, lost, .. } } => match lost {
            Some(lost) if lost.tokens > 0 => {
                warn!(%database, %from, %to, tokens = lost.tokens, "{database} is written in {to} now, without what {from} had acknowledged last: {lost}");
            }
            Some(_) => {
                info!(%database, %from, %to, tokens = 0, "{database} is written in {to} now, and nothing that {from} had acknowledged is missing")
            }
            None => warn!(%database, %from, %to, "{database} is written in {to} now; it is unknown what was lost"),
        },
        StateChange::CommonMode { peer, active: true } => {
            let reason = StateReason::CommonMode;
            warn!(%peer, %reason, "the critical services of {peer} fail, and the cause seems to be common to several regions; it is not failed over. \
                   Repair the cause, or use regionwatch failover");
        }
        StateChange::CommonMode { peer, active: false } => {
            info!(%peer, "the critical services of {peer} do not fail from a common cause any more");
        }
        StateChange::Isolation(Some(why)) => {
            warn!(%why, "this vantage appears to be isolated; it reports no peer as down");
        }
        StateChange::Isolation(None) => info!("this vantage is no longer isolated"),
        StateChange::Sidecar { peer, away: Some(away) } => {
            let away = away.as_secs();
            warn!(%peer, "the sidecar of {peer} has not answered for {away} s, so its votes are missing");
        }
        StateChange::Sidecar { peer, away: None } => info!(%peer, "the sidecar of {peer} answers again"),
        StateChange::Votes { peer, problem: Some(VoteProblem::Rejected(reason)), has_key } => {
            let (reason, remedy) = (reason.as_str(), reason.remedy(*has_key));
            warn!(%peer, "rejecting the votes of {peer}: {reason}; {remedy}");
        }
        StateChange::Votes { peer, problem: Some(VoteProblem::EnvironmentMissing(missing)), .. } => {
            let remedy = missing.remedy();
            warn!(%peer, "accepting the votes of {peer}, which may be of another environment: {remedy}");
        }
        StateChange::Votes { peer, problem: None, .. } => info!(%peer, "accepting the votes of {peer} again"),
    }
}
