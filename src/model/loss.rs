//! What a failover of a database would lose, and what it has lost.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{Region, TargetName, UnixMillis};

/// How much is lost, as the time in which it was written: at least, and at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossBounds {
    /// At least so much.
    pub lower: Duration,
    /// At most so much.
    pub upper: Duration,
}

impl LossBounds {
    /// Bounds in this order, whichever is greater.
    pub fn new(lower: Duration, upper: Duration) -> Self {
        Self { lower: lower.min(upper), upper }
    }

    /// The worse of two: at least what is lost of either.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { lower: self.lower.max(other.lower), upper: self.upper.max(other.upper) }
    }
}

/// As in the annotation `rpo_estimate`: `0.8s..1.9s`. Rounded away from each other, so that it still holds.
impl fmt::Display for LossBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lower, upper) = (self.lower.as_secs_f64() * 10.0, self.upper.as_secs_f64() * 10.0);
        write!(f, "{:.1}s..{:.1}s", lower.floor() / 10.0, upper.ceil() / 10.0)
    }
}

/// What one vantage knows of a database: where its primary is, and what a failover to each other region would lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseLoss {
    /// The database.
    pub database: TargetName,
    /// The region of the server that has acknowledged a token last.
    pub primary: Option<Region>,
    /// The regions of the other servers for which that is known.
    pub replicas: BTreeMap<Region, LossBounds>,
}

/// What this vantage itself knows of a database of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseReport {
    /// What a failover would lose.
    pub loss: DatabaseLoss,
    /// The regions of all servers, in the order of the configuration.
    pub servers: Vec<Region>,
    /// The most that a failover may lose.
    pub rpo: Duration,
    /// The last change of the primary that this process has seen.
    pub promotion: Option<Promotion>,
}

/// Another server has taken the place of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// The region of the old primary.
    pub from: Region,
    /// The region of the new one.
    pub to: Region,
    /// When the new one acknowledged its first token.
    pub at: UnixMillis,
    /// What was lost; `None` if that is unknown.
    pub lost: Option<RealisedLoss>,
}

/// What a failover has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RealisedLoss {
    /// The tokens that the old primary had acknowledged and that the new one does not have.
    pub tokens: u64,
    /// The time that they span.
    pub bounds: LossBounds,
}

impl RealisedLoss {
    /// The worse of two, as of two databases.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { tokens: self.tokens.max(other.tokens), bounds: self.bounds.max(other.bounds) }
    }
}

/// As in the annotation `rpo_realised`: `3 tokens, 2.1s..3.2s`.
impl fmt::Display for RealisedLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.tokens == 1 { "" } else { "s" };
        write!(f, "{} token{plural}, {}", self.tokens, self.bounds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_rounded_away_from_each_other() {
        let ms = Duration::from_millis;
        let text = |lower, upper| LossBounds::new(ms(lower), ms(upper)).to_string();
        assert_eq!((text(890, 1_810), text(0, 1)), ("0.8s..1.9s".to_owned(), "0.0s..0.1s".to_owned()));
        assert_eq!(text(2_000, 1_000), "1.0s..1.0s");
        let lost = |tokens| RealisedLoss { tokens, bounds: LossBounds::new(ms(0), ms(500)) }.to_string();
        assert_eq!((lost(1), lost(3)), ("1 token, 0.0s..0.5s".to_owned(), "3 tokens, 0.0s..0.5s".to_owned()));
    }
}
