//! Whether we are the ones who are cut off: then all peers seem dead, and we must not say so.

use std::time::Duration;

use tokio::time::Instant;

/// How long the share of probes that our own side could not send is looked at.
const LOCAL_SPAN: Duration = Duration::from_secs(2);
/// Fewer results than this say nothing about that share.
const LOCAL_RESULTS: u32 = 8;

/// The guard against our own isolation.
#[derive(Debug)]
pub struct Isolation {
    isolated: bool,
    /// Results of the span before and of the span now: all, and those that were our own fault.
    spans: [(u32, u32); 2],
    span_began: Instant,
}

impl Isolation {
    /// Not isolated, as far as is known.
    pub const fn new(now: Instant) -> Self {
        Self { isolated: false, spans: [(0, 0); 2], span_began: now }
    }

    /// A probe came to its end; `local` where that was our own fault.
    pub const fn ended(&mut self, local: bool) {
        self.spans[1].0 = self.spans[1].0.saturating_add(1);
        self.spans[1].1 = self.spans[1].1.saturating_add(local as u32);
    }

    /// Whether this vantage is isolated.
    pub const fn is_isolated(&self) -> bool {
        self.isolated
    }

    /// Looks again. `quiet` of `peers` that were not down before are silent now; `anchors` says whether one of the
    /// endpoints outside all regions answers, `None` where there are none. Of a single peer more is asked than of several, which
    /// are not quiet together by chance: that it has been silent for long enough to be suspected.
    ///
    /// More than half of the peers dying in one moment is less likely than that we were cut off, unless the outside
    /// world can still be reached. Two anchors and not one are asked for where there is a single peer, because one
    /// may die as well.
    pub fn judge(&mut self, quiet: usize, peers: usize, anchors: Option<bool>, now: Instant) -> bool {
        if now.saturating_duration_since(self.span_began) >= LOCAL_SPAN {
            self.spans = [self.spans[1], (0, 0)];
            self.span_began = now;
        }
        let (results, local) = (self.spans[0].0 + self.spans[1].0, self.spans[0].1 + self.spans[1].1);
        let cannot_send = results >= LOCAL_RESULTS && 2 * local > results;
        // Where all peers are down already, the anchors are all that is left to tell.
        let none_left = peers == 0 && anchors == Some(false);
        let cut_off = (2 * quiet > peers || none_left) && anchors != Some(true);
        self.isolated = cannot_send || cut_off;
        self.isolated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_half_of_the_peers_silent_is_our_own_fault_unless_an_anchor_answers() {
        let now = Instant::now();
        let mut isolation = Isolation::new(now);
        for (quiet, peers, anchors, isolated) in [
            (0, 0, None, false),
            (0, 0, Some(true), false),
            (0, 0, Some(false), true),
            (1, 1, None, true),
            (1, 1, Some(true), false),
            (1, 1, Some(false), true),
            (1, 2, None, false),
            (2, 2, None, true),
            (2, 3, None, true),
            (2, 4, None, false),
            (3, 4, Some(true), false),
        ] {
            assert_eq!(isolation.judge(quiet, peers, anchors, now), isolated, "{quiet} of {peers}, {anchors:?}");
        }
    }

    #[test]
    fn who_cannot_send_is_isolated_until_it_can() {
        let mut now = Instant::now();
        let mut isolation = Isolation::new(now);
        for n in 0..20 {
            isolation.ended(n % 3 > 0);
        }
        assert!(isolation.judge(0, 3, None, now));
        for _ in 0..3 {
            now += LOCAL_SPAN;
            (0..10).for_each(|_| isolation.ended(false));
            isolation.judge(0, 3, None, now);
        }
        assert!(!isolation.is_isolated());
    }
}
