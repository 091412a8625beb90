//! Numbers and times as text. No data is never 0.

use std::time::Duration;

use crate::{
    decision::{OperatorOrder, OrderStatus},
    model::{Blocked, Cause, FailoverMode, Ineligible, PushResult, Region, UnixMillis},
    signing::{Action, Command},
};

/// A latency in ms with two or three digits, in µs below 0.1 ms, and in s from ten seconds on.
pub fn latency(latency: Duration) -> String {
    let ms = latency.as_secs_f64() * 1e3;
    match ms {
        0.0 => "0 \u{b5}s".to_owned(),
        ms if ms < 0.001 => "<1 \u{b5}s".to_owned(),
        ms if ms < 0.099_5 => format!("{:.0} \u{b5}s", ms * 1e3),
        ms if ms < 9.995 => format!("{ms:.2} ms"),
        ms if ms < 99.95 => format!("{ms:.1} ms"),
        ms if ms < 9_999.5 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// A share of 0 to 1 in percent, never rounded to 0 or 100.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p <= 0.0 => "0%".to_owned(),
        p if p < 0.1 => "<0.1%".to_owned(),
        p if p < 99.95 => format!("{p:.1}%"),
        p if p < 100.0 => ">99.9%".to_owned(),
        _ => "100%".to_owned(),
    }
}

/// How many probes failed: `lost` if none of them got an answer, `failed` if all of them did.
pub fn failed(failed: f64, unanswered: f64) -> String {
    match (failed - unanswered).abs() < f64::EPSILON {
        true => format!("{} lost", percent(failed)),
        false if unanswered <= 0.0 => format!("{} failed", percent(failed)),
        false => format!("{} failed, {} lost", percent(failed), percent(unanswered)),
    }
}

/// A measured duration in its two largest units: `42 s`, `3 min 5 s`, `2 h 7 min`, `12 d 3 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{minutes} min {} s", seconds % 60),
        3_600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// A configured duration in one unit: `5 min`, `90 s`.
pub fn setting(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        ms => format!("{ms} ms"),
    }
}

/// The duration between two moments of the wall clock.
pub fn since(then: UnixMillis, now: UnixMillis) -> String {
    duration(Duration::from_millis(now.0.saturating_sub(then.0)))
}

/// The time of day in UTC.
pub fn clock(at: UnixMillis) -> String {
    let seconds = at.0 / 1_000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// How long ago a time of day stands without its date.
const SAME_DAY: u64 = 12 * 3_600_000;

/// A time in UTC: of day, with its date if that is not plain.
pub fn moment(at: UnixMillis, now: UnixMillis) -> String {
    let date = if at.0.abs_diff(now.0) < SAME_DAY { String::new() } else { at.to_string() };
    date.split_once('T').map_or_else(|| clock(at), |(date, _)| format!("{date} {}", clock(at)))
}

/// A number of things: `1 peer`, `3 peers`.
pub fn count(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// Why a region is not eligible as a failover target.
pub const fn reason(reason: Ineligible) -> &'static str {
    match reason {
        Ineligible::State => "not healthy",
        Ineligible::Residency => "zone not allowed",
        Ineligible::Distance => "too close",
        Ineligible::FailureDomain => "shares a failure domain",
        Ineligible::Capacity => "too little capacity",
        Ineligible::Maintenance => "in maintenance",
        Ineligible::Rpo => "would lose more than the RPO",
        Ineligible::RpoUnknown => "unknown what would be lost",
        Ineligible::InsufficientData => "not enough samples yet",
        Ineligible::Quorum => "other regions report it down",
        Ineligible::Critical => "critical probes fail",
        Ineligible::FailedOver => "failed over, and not released",
    }
}

/// Why a region that is down is not failed over.
pub const fn blocked(reason: Blocked) -> &'static str {
    match reason {
        Blocked::Disarmed => "it is not armed",
        Blocked::Maintenance => "it is under maintenance",
        Blocked::Limit => "other regions are failed over or come first",
        Blocked::NoTarget => "no region can take over",
        Blocked::RpoUnknown => "it is unknown what of a database would be lost",
        Blocked::TargetDown => "the region that took over is down itself",
        Blocked::ArmingUnknown => "it is unknown whether it is armed",
    }
}

/// What an operator has stated.
pub fn statement(command: &Command) -> String {
    let Command { operator, action, until, .. } = command;
    let (scope, until) = (command.subject(), until.map(|until| format!(" until {until}")).unwrap_or_default());
    match action {
        _ if command.is_off() => format!("{operator} has taken back what was commanded of {scope} ({action})."),
        Action::Arm => format!("{operator} has armed {scope}{until}."),
        Action::Disarm => format!("{operator} has disarmed {scope}{until}: no failover is ordered."),
        Action::Maintenance => {
            format!(
                "{operator} has put {scope} under maintenance{until}: no failover is ordered, neither from it nor to it."
            )
        }
        Action::Failover => {
            let terms = command.failover.as_ref();
            let target = terms.map(|terms| format!(" to {}", terms.target)).unwrap_or_default();
            let loss = if terms.is_some_and(|terms| terms.accept_loss) { ", whatever it loses" } else { "" };
            let force = terms.and_then(|terms| terms.force.as_ref());
            let force = force.map(|reason| format!(", by force: {reason}")).unwrap_or_default();
            format!("{operator} has ordered the failover of {scope}{target}{until}{loss}{force}.")
        }
        Action::Release => format!("{operator} has released {scope}."),
    }
}

/// What a vantage makes of a failover that an operator has ordered.
pub fn order(order: &OperatorOrder) -> String {
    let OperatorOrder { region, target, status, reasons, known_to: (know, of), .. } = order;
    let why = match status {
        OrderStatus::Ordered => return format!("The failover of {region} to {target} is ordered now."),
        OrderStatus::Pending => return format!("The failover of {region} to {target} is ordered in a few seconds."),
        OrderStatus::Unconfirmed => {
            format!(
                "{know} of {of} instances that are neither down nor isolated know the command, and more than half must"
            )
        }
        OrderStatus::Isolated => "this instance is isolated".to_owned(),
        OrderStatus::Blocked(Blocked::NoTarget | Blocked::RpoUnknown) if !reasons.is_empty() => {
            let reasons: Vec<_> = reasons.iter().copied().map(reason).collect();
            format!("{target} cannot take over ({})", reasons.join(", "))
        }
        OrderStatus::Blocked(Blocked::NoTarget) => format!("{target} is no region of this instance"),
        OrderStatus::Blocked(Blocked::TargetDown) => format!("{target} is down"),
        OrderStatus::Blocked(Blocked::Disarmed) => "it was disarmed after the command".to_owned(),
        OrderStatus::Blocked(Blocked::Maintenance) => {
            "it is under maintenance, by a file or by a later command".to_owned()
        }
        OrderStatus::Blocked(Blocked::ArmingUnknown) => {
            "this instance has just started, and has no votes of another one yet".to_owned()
        }
        OrderStatus::Blocked(reason) => blocked(*reason).to_owned(),
    };
    format!("The failover of {region} to {target} is not ordered now: {why}.")
}

/// What the file of a vantage says of regions, and what to change.
pub fn file(vantage: &Region, mode: FailoverMode, regions: &str) -> String {
    match mode {
        FailoverMode::Armed => format!("The file of {vantage} permits the failover of {regions}."),
        FailoverMode::Disarmed => format!(
            "The file of {vantage} forbids the failover of {regions} (armed or failover.armed). Change it there and reload; \
             or use regionwatch arm, for a time."
        ),
        FailoverMode::Maintenance => format!(
            "The file of {vantage} keeps {regions} under maintenance. No command lifts that: change maintenance there, and \
             reload."
        ),
    }
}

/// Why an Alertmanager has not accepted a push.
pub const fn push_result(result: PushResult) -> &'static str {
    match result {
        PushResult::Ok => "it accepts them",
        PushResult::Timeout => "it does not answer",
        PushResult::Refused => "it refuses the connection",
        PushResult::Unreachable => "the network reports it as unreachable",
        PushResult::Resolve => "its name has no address",
        PushResult::Tls => "the TLS handshake fails",
        PushResult::Protocol => "its answer is not valid HTTP",
        PushResult::Local => "this host cannot send",
        PushResult::Status3xx => "it answers with a redirect",
        PushResult::Status4xx => "it rejects them with a status of 400 to 499",
        PushResult::Status5xx => "it answers with a status of 500 or more",
    }
}

/// What has failed.
pub const fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Silence => "nothing answers on any layer",
        Cause::Service => "the network answers, critical services fail",
    }
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
            assert_eq!(latency(Duration::from_micros(micros)), text);
        }
        assert_eq!(latency(Duration::from_nanos(300)), "<1 \u{b5}s");
    }

    #[test]
    fn a_share_is_never_rounded_to_0_or_100() {
        for (share, text) in
            [(0.0, "0%"), (0.000_1, "<0.1%"), (0.001, "0.1%"), (0.123_4, "12.3%"), (0.999_9, ">99.9%"), (1.0, "100%")]
        {
            assert_eq!(percent(share), text);
        }
    }

    #[test]
    fn only_probes_without_an_answer_are_lost() {
        for (all, unanswered, text) in
            [(1.0, 1.0, "100% lost"), (1.0, 0.0, "100% failed"), (0.5, 0.25, "50.0% failed, 25.0% lost")]
        {
            assert_eq!(failed(all, unanswered), text);
        }
    }

    #[test]
    fn times_are_short() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (185, "3 min 5 s"), (7_620, "2 h 7 min"), (1_047_600, "12 d 3 h")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        for (millis, text) in [(250, "250 ms"), (90_000, "90 s"), (300_000, "5 min"), (3_600_000, "1 h")] {
            assert_eq!(setting(Duration::from_millis(millis)), text);
        }
        assert_eq!(clock(UnixMillis(1_795_230_245_123)), "03:04:05");
        let now = UnixMillis(1_795_230_245_123);
        for (hours, text) in [(0, "03:04:05"), (-11, "16:04:05"), (11, "14:04:05"), (-24, "2026-11-20 03:04:05")] {
            assert_eq!(moment(UnixMillis(now.0.checked_add_signed(hours * 3_600_000).unwrap()), now), text);
        }
        assert_eq!(since(UnixMillis(5_000), UnixMillis(1_000)), "0 s", "the clock was set back");
        assert_eq!((count(1, "peer"), count(0, "peer")), ("1 peer".to_owned(), "0 peers".to_owned()));
    }
}
