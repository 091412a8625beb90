//! Numbers, times and states as people read them. No data is never 0.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use super::{Html, put};
use crate::{
    model::{Cause, Ineligible, PeerState, Stage, UnixMillis},
    window::Summary,
};

/// A latency in ms with two or three digits, in µs below 0.1 ms, and in s from ten seconds on.
pub(super) struct Latency(pub(super) Duration);

impl Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_secs_f64() * 1e3;
        match ms {
            0.0 => f.write_str("0 \u{b5}s"),
            ms if ms < 0.001 => f.write_str("<1 \u{b5}s"),
            ms if ms < 0.099_5 => write!(f, "{:.0} \u{b5}s", ms * 1e3),
            ms if ms < 9.995 => write!(f, "{ms:.2} ms"),
            ms if ms < 99.95 => write!(f, "{ms:.1} ms"),
            ms if ms < 9_999.5 => write!(f, "{ms:.0} ms"),
            ms => write!(f, "{:.1} s", ms / 1e3),
        }
    }
}

/// A share of 0 to 1 in percent, never rounded to 0 or 100 where it is not.
pub(super) struct Percent(pub(super) f64);

impl Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        match percent {
            p if p <= 0.0 => f.write_str("0%"),
            p if p < 0.1 => f.write_str("<0.1%"),
            p if p < 99.95 => write!(f, "{p:.1}%"),
            p if p < 100.0 => f.write_str(">99.9%"),
            _ => f.write_str("100%"),
        }
    }
}

/// A length of time in its two largest units: `42 s`, `3 min 5 s`, `2 h 7 min`, `12 d 3 h`.
pub(super) struct Span(pub(super) Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        match seconds {
            0..60 => write!(f, "{seconds} s"),
            60..3_600 => write!(f, "{minutes} min {} s", seconds % 60),
            3_600..86_400 => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d {} h", hours % 24),
        }
    }
}

/// A length of time that somebody chose, without a second unit of nothing: `5 min`, `90 s`.
pub(super) struct Round(pub(super) Duration);

impl Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            ms if ms % 3_600_000 == 0 => write!(f, "{} h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, "{} min", ms / 60_000),
            ms if ms % 1_000 == 0 => write!(f, "{} s", ms / 1_000),
            ms => write!(f, "{ms} ms"),
        }
    }
}

/// The time between two moments on the wall clock.
pub(super) fn since(then: UnixMillis, now: UnixMillis) -> Span {
    Span(Duration::from_millis(now.0.saturating_sub(then.0)))
}

/// The time of day in UTC.
pub(super) struct Clock(pub(super) UnixMillis);

impl Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.0 / 1_000 % 86_400;
        write!(f, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }
}

/// How many of a thing: `1 peer`, `3 peers`.
pub(super) struct Count<N>(pub(super) N, pub(super) &'static str);

impl<N: Display + PartialEq + From<u8>> Display for Count<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == N::from(1) { "" } else { "s" };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}

/// Why a region cannot take over, in words.
pub(super) const fn reason(reason: Ineligible) -> &'static str {
    match reason {
        Ineligible::State => "not healthy",
        Ineligible::Residency => "zone not allowed",
        Ineligible::Distance => "too close",
        Ineligible::FailureDomain => "shares a failure domain",
        Ineligible::Capacity => "too little capacity",
        Ineligible::Maintenance => "under maintenance",
        Ineligible::Rpo => "data lag too far behind",
        Ineligible::InsufficientData => "too few samples yet",
        Ineligible::Quorum => "other regions report it down",
    }
}

/// What an incident consists in, in words.
pub(super) const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Silence => "nothing answers on any layer",
        Cause::Service => "the network answers, critical services fail",
    }
}

/// How far an incident has come, in words.
pub(super) const fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Prepare => "prepare",
        Stage::Execute => "execute",
    }
}

/// How urgent a state is; the worst ones stand first.
pub(super) const fn urgency(state: PeerState) -> u8 {
    match state {
        PeerState::Down => 0,
        PeerState::Suspect => 1,
        PeerState::Recovering => 2,
        PeerState::Degraded => 3,
        PeerState::Unknown => 4,
        PeerState::Healthy => 5,
    }
}

/// A state as a word with its symbol, so that no colour is needed to read it.
pub(super) fn state(page: &mut Html, state: PeerState) {
    put!(page; "<span class=\"state s-" (state) "\"><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><path d=\"");
    page.literal(match state {
        PeerState::Healthy => "M2 6.5l3 3 5-7",
        PeerState::Degraded => "M1 8l3-4 3 4 4-5",
        PeerState::Suspect => "M4 4a2 2 0 1 1 3 1.7c-.7.5-1 .8-1 1.6M6 9.6v.4",
        PeerState::Down => "M2.5 2.5l7 7M9.5 2.5l-7 7",
        PeerState::Recovering => "M6 10V2.5M2.5 6L6 2.5 9.5 6",
        PeerState::Unknown => "M2.5 6h7",
    });
    put!(page; "\"/></svg>" (state) "</span>");
}

/// A missing value.
pub(super) fn none(page: &mut Html) {
    put!(page; "<span class=\"none\" title=\"no data\">\u{2013}<span class=\"vh\"> no data</span></span>");
}

/// A latency or a missing value.
pub(super) fn latency(page: &mut Html, value: Option<Duration>) {
    match value {
        Some(value) => put!(page; (Latency(value))),
        None => none(page),
    }
}

/// A share of lost probes, which stands out where it is more than a thousandth.
pub(super) fn loss(page: &mut Html, summary: Option<&Summary>) {
    match summary.map(|summary| summary.loss) {
        Some(loss) if loss > 0.001 => put!(page; "<b class=\"bad\">" (Percent(loss)) "</b>"),
        Some(loss) => put!(page; (Percent(loss))),
        None => none(page),
    }
}

/// A time with how long ago it was.
pub(super) fn time(page: &mut Html, then: UnixMillis) {
    put!(page; "<time datetime=\"" (then) "\" title=\"" (then) "\">" (Clock(then)) "</time>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_a_few_digits_and_a_unit() {
        for (micros, text) in [
            (0, "0 \u{b5}s"),
            (85, "85 \u{b5}s"),
            (100, "0.10 ms"),
            (420, "0.42 ms"),
            (8_314, "8.31 ms"),
            (9_996, "10.0 ms"),
            (24_140, "24.1 ms"),
            (255_400, "255 ms"),
            (2_000_000, "2000 ms"),
            (12_345_000, "12.3 s"),
        ] {
            assert_eq!(Latency(Duration::from_micros(micros)).to_string(), text);
        }
        assert_eq!(Latency(Duration::from_nanos(300)).to_string(), "<1 \u{b5}s");
    }

    #[test]
    fn a_share_is_rounded_neither_to_nothing_nor_to_all() {
        for (share, text) in
            [(0.0, "0%"), (0.000_1, "<0.1%"), (0.001, "0.1%"), (0.123_4, "12.3%"), (0.999_9, ">99.9%"), (1.0, "100%")]
        {
            assert_eq!(Percent(share).to_string(), text);
        }
    }

    #[test]
    fn times_are_short() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (185, "3 min 5 s"), (7_620, "2 h 7 min"), (1_047_600, "12 d 3 h")]
        {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
        for (millis, text) in [(250, "250 ms"), (90_000, "90 s"), (300_000, "5 min"), (3_600_000, "1 h")] {
            assert_eq!(Round(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(Clock(UnixMillis(1_795_230_245_123)).to_string(), "03:04:05");
        assert_eq!(since(UnixMillis(5_000), UnixMillis(1_000)).to_string(), "0 s", "the clock was set back");
        assert_eq!(
            (Count(1_u32, "peer").to_string(), Count(0_u32, "peer").to_string()),
            ("1 peer".into(), "0 peers".into())
        );
    }
}
