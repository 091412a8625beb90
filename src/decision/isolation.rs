//! Whether this vantage is isolated. Then all peers seem down, and it must not report them.

use std::{fmt, time::Duration};

use tokio::time::Instant;

/// How long the share of probes that our own side could not send is looked at.
const LOCAL_SPAN: Duration = Duration::from_secs(2);
/// Fewer results than this say nothing about that share.
const LOCAL_RESULTS: u32 = 8;

/// By what a vantage sees that it is cut off itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationReason {
    /// More than half of what it had to send could not be sent.
    CannotSend,
    /// More than half of its peers fell silent, and no anchor answers.
    PeersSilent,
    /// All peers are down, and no anchor answers.
    NobodyLeft,
}

impl fmt::Display for IsolationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CannotSend => "more than half of its own probes cannot be sent",
            Self::PeersSilent => "more than half of the peers are silent, and no anchor answers",
            Self::NobodyLeft => "all peers are down, and no anchor answers",
        })
    }
}

/// The guard against our own isolation.
#[derive(Debug)]
pub struct Isolation {
    why: Option<IsolationReason>,
    /// Results of the span before and of the span now: all, and those that were our own fault.
    spans: [(u32, u32); 2],
    span_began: Instant,
}

impl Isolation {
    /// Not isolated, as far as is known.
    pub const fn new(now: Instant) -> Self {
        Self { why: None, spans: [(0, 0); 2], span_began: now }
    }

    /// A probe came to its end; `local` where that was our own fault.
    pub const fn on_result(&mut self, local: bool) {
        self.spans[1].0 = self.spans[1].0.saturating_add(1);
        self.spans[1].1 = self.spans[1].1.saturating_add(local as u32);
    }

    /// Why this vantage is isolated, where it is.
    pub const fn why(&self) -> Option<IsolationReason> {
        self.why
    }

    /// Whether this vantage is isolated.
    pub const fn is_isolated(&self) -> bool {
        self.why.is_some()
    }

    /// Looks again, and says why this vantage is isolated, where it is. `silent` of `peers` that were not down before are silent now; `anchors` says whether one of the
    /// endpoints outside all regions answers, `None` where there are none. Of a single peer more is asked than of several, which
    /// are not silent together by chance: that it has been silent for long enough to be suspected.
    ///
    /// More than half of the peers dying in one moment is less likely than that we were cut off, unless the outside
    /// world can still be reached. Two anchors and not one are asked for where there is a single peer, because one
    /// may die as well.
    pub fn update(
        &mut self,
        silent: usize,
        peers: usize,
        anchors: Option<bool>,
        now: Instant,
    ) -> Option<IsolationReason> {
        if now.saturating_duration_since(self.span_began) >= LOCAL_SPAN {
            self.spans = [self.spans[1], (0, 0)];
            self.span_began = now;
        }
        let (results, local) = (self.spans[0].0 + self.spans[1].0, self.spans[0].1 + self.spans[1].1);
        self.why = if results >= LOCAL_RESULTS && 2 * local > results {
            Some(IsolationReason::CannotSend)
        } else if 2 * silent > peers && anchors != Some(true) {
            Some(IsolationReason::PeersSilent)
        } else if peers == 0 && anchors == Some(false) {
            // The anchors are all that is left to tell.
            Some(IsolationReason::NobodyLeft)
        } else {
            None
        };
        self.why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_of_more_than_half_of_the_peers_is_isolation_unless_an_anchor_answers() {
        let now = Instant::now();
        let mut isolation = Isolation::new(now);
        for (silent, peers, anchors, why) in [
            (0, 0, None, None),
            (0, 0, Some(true), None),
            (0, 0, Some(false), Some(IsolationReason::NobodyLeft)),
            (1, 1, None, Some(IsolationReason::PeersSilent)),
            (1, 1, Some(true), None),
            (1, 1, Some(false), Some(IsolationReason::PeersSilent)),
            (1, 2, None, None),
            (2, 2, None, Some(IsolationReason::PeersSilent)),
            (2, 3, None, Some(IsolationReason::PeersSilent)),
            (2, 4, None, None),
            (3, 4, Some(true), None),
        ] {
            assert_eq!(isolation.update(silent, peers, anchors, now), why, "{silent} of {peers}, {anchors:?}");
        }
    }

    #[test]
    fn a_vantage_that_cannot_send_is_isolated_until_it_can() {
        let mut now = Instant::now();
        let mut isolation = Isolation::new(now);
        for n in 0..20 {
            isolation.on_result(n % 3 > 0);
        }
        assert_eq!(isolation.update(0, 3, None, now), Some(IsolationReason::CannotSend));
        for _ in 0..3 {
            now += LOCAL_SPAN;
            (0..10).for_each(|_| isolation.on_result(false));
            isolation.update(0, 3, None, now);
        }
        assert!(!isolation.is_isolated());
    }
}
