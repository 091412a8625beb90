//! Which region takes over: a score, what keeps a region from it, and a rank that stays calm. No clock, no I/O.
//!
//! ```text
//! RankInput ─▶ filters ─ eligible, or every reason why not ─┐
//!          └─▶ score ─ lower is better                      ├─▶ hysteresis ─▶ Ranking ─ published while this region lives
//!                                                           │
//! a region is down: the ranking that it published last ─────┴─▶ failover targets
//! ```

mod failover_target;
mod filters;
mod hysteresis;
mod input;
mod ranker;
mod score;

pub(crate) use self::filters::OwnRegion;
pub use self::{
    failover_target::PublishedRanking,
    input::{Loss, Losses, RankInput, RegionAttributes, TargetPolicy},
    ranker::{RankedRegion, Ranker, Ranking},
    score::{Cost, preferred},
};

#[cfg(test)]
mod tests;
