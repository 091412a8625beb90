//! What really was the matter with a region, against which every alarm is judged.

use super::timeline::{DAY, SECOND, Span, Time, Trouble};

/// How a region was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Plight {
    /// Alive, and in touch with at least half of the other living regions in both directions.
    InTouch,
    /// Alive, and out of touch with more than half of them.
    IsolationReason,
    Dead,
}

/// An appearance that is shorter than this fits between two probes and a vote, and need not be seen.
const GLIMPSE: Time = SECOND;

#[derive(Debug, Clone)]
pub struct Truth {
    spans: Vec<Span>,
    regions: usize,
}

impl Truth {
    pub fn new(spans: &[Span], regions: usize) -> Self {
        let lasting = spans.iter().filter(|span| {
            matches!(span.trouble, Trouble::Path { .. } | Trouble::Cut(_) | Trouble::Dead(_) | Trouble::Partition(_))
        });
        Self { spans: lasting.copied().collect(), regions }
    }

    /// What goes on at any time from `begin` to `end`. Nothing lasts for a day.
    pub fn between(&self, begin: Time, end: Time) -> &[Span] {
        let first = self.spans.partition_point(|span| span.begin + DAY < begin);
        let last = self.spans.partition_point(|span| span.begin <= end);
        &self.spans[first.min(last)..last]
    }

    fn plight(&self, region: usize, at: Time, spans: &[&Span]) -> Plight {
        let now = || spans.iter().filter(|span| span.covers(at));
        let dead = |region| now().any(|span| span.trouble == Trouble::Dead(region));
        if dead(region) {
            return Plight::Dead;
        }
        let others: Vec<_> = (0..self.regions).filter(|other| *other != region && !dead(*other)).collect();
        let touched =
            others.iter().filter(|other| !now().any(|span| span.stops(region, **other) || span.stops(**other, region)));
        if 2 * touched.count() < others.len() { Plight::IsolationReason } else { Plight::InTouch }
    }

    /// How a region was, part by part, from `begin` to `end`.
    fn parts(&self, region: usize, begin: Time, end: Time) -> Vec<(Time, Plight)> {
        let spans: Vec<_> =
            self.between(begin, end).iter().filter(|span| span.end > begin && span.begin <= end).collect();
        let mut edges: Vec<_> = spans.iter().flat_map(|span| [span.begin, span.end]).collect();
        edges.retain(|at| (begin..end).contains(at));
        edges.push(begin);
        edges.sort_unstable();
        edges.dedup();
        let ends = edges.iter().skip(1).copied().chain([end]);
        edges.iter().zip(ends).map(|(&from, to)| (to - from, self.plight(region, from, &spans))).collect()
    }

    /// The worst that a region was from `begin` to `end`: what an alarm about that time is judged by.
    pub fn worst(&self, region: usize, begin: Time, end: Time) -> Plight {
        self.parts(region, begin, end).into_iter().map(|(_, plight)| plight).max().unwrap_or(Plight::InTouch)
    }

    /// Whether a region was dead or cut off all the time from `begin` to `end`, and which of both at worst: what an
    /// order to switch is judged by. It is in touch if it was for a second without a break.
    pub fn throughout(&self, region: usize, begin: Time, end: Time) -> Plight {
        let parts = self.parts(region, begin, end);
        let mut in_touch = 0;
        for (length, plight) in &parts {
            in_touch = if *plight == Plight::InTouch { in_touch + length } else { 0 };
            if in_touch >= GLIMPSE {
                return Plight::InTouch;
            }
        }
        parts.into_iter().map(|(_, plight)| plight).max().unwrap_or(Plight::InTouch)
    }

    /// Each time a region died: which, and from when to when.
    pub fn deaths(&self) -> impl Iterator<Item = (usize, Time, Time)> {
        self.spans.iter().filter_map(|span| match span.trouble {
            Trouble::Dead(region) => Some((region, span.begin, span.end)),
            _ => None,
        })
    }
}
