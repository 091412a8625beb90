//! The decision about one peer in words: for the page, the API and the terminal.

use std::time::Duration;

use super::{
    format,
    views::{FailoverOrder, Overview, PathView, PeerView},
};
use crate::{
    decision::{
        Explanation, NextVote, Now, OpenIncident, QualitySample, Restriction, Rule, SeenPath,
        votes::{Ballot, VoteProblem, VoteStatus},
    },
    model::{Path, PeerState, Region, StateReason, Tally, UnixMillis, Vote},
};

/// The decision about one peer in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The peer.
    pub region: Region,
    /// Its state.
    pub state: PeerState,
    /// Since when.
    pub since: UnixMillis,
    /// The rule that led to it.
    pub reason: StateReason,
    /// The rule in words.
    pub why: String,
    /// All that the decision rests on.
    pub sections: Vec<Section>,
}

/// A part of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its title.
    pub title: &'static str,
    /// Its lines.
    pub lines: Vec<String>,
}

impl Explained {
    /// Puts a decision into words, with what the overview knows beside it.
    pub fn of(explanation: &Explanation, overview: &Overview) -> Self {
        let words = Words { explanation, overview, peer: overview.peer(explanation.region.as_str()) };
        let sections = [
            ("Evidence", words.evidence()),
            ("Paths", words.paths()),
            ("Votes", words.votes()),
            ("One more vote", words.next_votes()),
            ("Failover", words.failover()),
        ];
        Self {
            region: explanation.region.clone(),
            state: explanation.state,
            since: words.unix(explanation.since),
            reason: explanation.rule.reason(),
            why: explanation.rule.to_string(),
            sections: sections.into_iter().map(|(title, lines)| Section { title, lines }).collect(),
        }
    }
}

struct Words<'a> {
    explanation: &'a Explanation,
    overview: &'a Overview,
    peer: Option<&'a PeerView>,
}

impl Words<'_> {
    fn unix(&self, instant: tokio::time::Instant) -> UnixMillis {
        Now { instant: self.overview.instant, unix: self.overview.at }.unix_at(instant)
    }

    fn moment(&self, at: UnixMillis) -> String {
        format::moment(at, self.overview.at)
    }

    fn evidence(&self) -> Vec<String> {
        let Explanation { failing, isolation, quality, rule, .. } = self.explanation;
        let mut lines = Vec::new();
        lines.push(match failing {
            Some(failing) => format!(
                "It seems to be down since {}: {}. The decisive probe was sent at {}.",
                self.moment(self.unix(failing.onset)),
                format::cause(failing.cause),
                self.moment(self.unix(failing.decisive))
            ),
            None if *rule == Rule::CommonMode => {
                "Its critical services fail, but so that several regions seem to share the cause: no outage.".to_owned()
            }
            None => "Nothing says that it is down.".to_owned(),
        });
        if let Some(good_at) = self.peer.and_then(|peer| peer.good_at) {
            lines.push(format!("The last good answer was {} ago.", format::since(good_at, self.overview.at)));
        }
        // Quality is sampled every few seconds: what was good a moment ago would contradict the silence.
        if failing.is_none()
            && let Some((QualitySample { kind, loss, lost, p95 }, usual)) = quality
        {
            let mut line = format!("In the last minute, {} of {kind} probes failed ({lost})", format::percent(*loss));
            if let Some(p95) = p95 {
                let usual = usual.map(|usual| format!(", usually {}", format::latency(usual))).unwrap_or_default();
                line += &format!("; the p95 latency was {}{usual}", format::latency(*p95));
            }
            lines.push(line + ".");
        }
        lines.push(match isolation {
            Some(reason) => format!("This vantage is isolated: {reason}. So it suspects no peer."),
            None => "This vantage is not isolated.".to_owned(),
        });
        lines
    }

    fn paths(&self) -> Vec<String> {
        self.explanation.paths.iter().map(|path| self.path(path)).collect()
    }

    fn path(&self, seen: &SeenPath) -> String {
        let SeenPath { info, answered, silent, silence_needs, failures, service_needs } = seen;
        let mut line = format!("{} of {}: ", info.kind, info.target);
        line += &match (answered, silence_needs) {
            (false, _) => "never answered, so its silence says nothing".to_owned(),
            (true, None) => "its silence says nothing about the region".to_owned(),
            (true, Some((needed, must))) => {
                let role = if *must { "must agree" } else { "may agree" };
                format!("{silent} silent probes of {needed} for a silence ({role})")
            }
        };
        line += &match service_needs {
            Some(needed) => format!("; {failures} failures in a row of {needed} for a dead service"),
            None => format!("; {failures} failures in a row"),
        };
        let path = Path { peer: self.explanation.region.clone(), target: info.target.clone(), kind: info.kind };
        let failed = self.overview.path(&path).and_then(PathView::last_failure);
        if let Some((failure, at)) = failed {
            let context =
                self.overview.path(&path).and_then(|view| view.failed).map(|record| record.failed.to_string());
            let context = context.filter(|text| !text.is_empty()).map(|text| format!(" {text}")).unwrap_or_default();
            line += &format!("; last failure: {failure}{context} at {}", self.moment(at));
        }
        line + "."
    }

    fn votes(&self) -> Vec<String> {
        let Explanation { own, ballots, tally, .. } = self.explanation;
        let role = if self.overview.config.is_witness() { "this vantage, a witness" } else { "this vantage" };
        let mut lines = vec![format!("{} ({role}): {own}.", self.overview.config.region)];
        lines.extend(ballots.iter().map(|(voter, ballot)| self.ballot(voter, *ballot)));
        lines.push(counted(tally));
        lines
    }

    fn ballot(&self, voter: &Region, ballot: Ballot) -> String {
        let status = self.peer.and_then(|peer| peer.said.iter().find(|status| status.by == *voter));
        let age = status.and_then(|status: &VoteStatus| status.age);
        let age = age.map(|age| format!(", {} ago", seconds(age))).unwrap_or_default();
        let counts = match ballot {
            Ballot::Counts(vote) => vote.to_string(),
            Ballot::Isolated => "does not count: it is isolated".to_owned(),
            Ballot::NoOpinion => "does not count: it has no opinion on this region".to_owned(),
            Ballot::BeforeOnset => "down, but requested before the onset here: undecided".to_owned(),
            Ballot::BeforeDecisive => "up, but by no probe after the decisive one here: undecided".to_owned(),
            Ballot::Expired => "does not count: too old".to_owned(),
            Ballot::Missing => match self.overview.vote_problem(voter) {
                Some(VoteProblem::Rejected(reason)) => format!("does not count: rejected ({})", reason.as_str()),
                _ => "does not count: never received".to_owned(),
            },
        };
        let role = if self.overview.is_witness(voter) { " (witness)" } else { "" };
        format!("{voter}{role}: {counts}{age}.")
    }

    fn next_votes(&self) -> Vec<String> {
        match &self.explanation.next_votes[..] {
            [] => vec!["No single vote would change anything now.".to_owned()],
            all => all.iter().map(|next| self.next_vote(next)).collect(),
        }
    }

    fn next_vote(&self, NextVote { vote, by, state, tally }: &NextVote) -> String {
        let by: Vec<_> = by.iter().map(Region::as_str).collect();
        let then = match *state == self.explanation.state {
            true => format!("the state stays {state}"),
            false => format!("the state becomes {state}"),
        };
        let an = if *vote == Vote::Up { "An" } else { "A" };
        format!("{an} {vote} vote of {}: {then}. {}", by.join(" or "), counted(tally))
    }

    fn failover(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.explanation.stated.as_ref().map(format::statement).into_iter().collect();
        lines.extend(self.explanation.restrictions.iter().filter_map(|restriction| match restriction {
            Restriction::File { vantage, mode } => Some(format::file(vantage, *mode, self.explanation.region.as_str())),
            // It was stated.
            Restriction::Command(_) => None,
        }));
        if let Some(order) = &self.explanation.operator_order {
            lines.extend([format::statement(&order.command), format::order(order)]);
        }
        let Some((incident, gates)) = &self.explanation.incident else {
            lines.push("No incident is open.".to_owned());
            return lines;
        };
        let OpenIncident { id, onset, cause, confirmed, .. } = incident;
        let confirmed = if *confirmed { "confirmed by a quorum" } else { "not confirmed by a quorum" };
        let hold = self.overview.config.failover.execute_after;
        lines.extend([
            format!("Incident {id} since {} ({cause}), {confirmed}.", self.moment(*onset)),
            format!("Down without a longer lapse for {} of {}.", seconds(incident.held_for()), format::setting(hold)),
        ]);
        lines.push(match gates.blocked {
            Some(reason) => format!("Blocked: {}.", reason.explanation()),
            None => "Neither arming, maintenance nor limits block a failover.".to_owned(),
        });
        let failed_over: Vec<_> = self.explanation.failed_over.iter().map(Region::as_str).collect();
        if !failed_over.is_empty() {
            lines.push(format!("Failed over, and not released: {}.", failed_over.join(", ")));
        }
        lines.push(match &gates.target {
            Some(target) if gates.settled => format!("All vantages that propose a target propose {target}."),
            Some(target) => format!("The target would be {target}, but other vantages propose another one."),
            None => "No region passes every filter as a target.".to_owned(),
        });
        lines.push(match self.peer.map(|peer| peer.order) {
            Some(FailoverOrder::Active) => "The failover is ordered now.".to_owned(),
            Some(FailoverOrder::Withdrawn) => "The failover was ordered, and is withdrawn.".to_owned(),
            _ => "The failover is not ordered.".to_owned(),
        });
        lines
    }
}

fn counted(Tally { down, up, abstain, voters, needed, reached, contradicted }: &Tally) -> String {
    let verdict = match (reached, contradicted) {
        (true, _) => "a quorum votes down",
        (_, true) => "so many reach it that no quorum is possible",
        _ => "no quorum",
    };
    format!("{down} down, {up} up, {abstain} abstain; {needed} of {voters} voting must vote down: {verdict}.")
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
