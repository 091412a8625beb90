//! What the alarms were worth.

use super::{
    journal::Said,
    timeline::{SECOND, Time},
    truth::{Plight, Truth},
};

/// Alarms about one region that are closer than this are one to whoever is paged.
const ONE_ALARM: Time = 60 * SECOND;
/// Who was dead for so long should have been noticed.
const NOTICEABLE: Time = 60 * SECOND;

/// How many alarms there were, by what was the matter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Worth {
    pub dead: u64,
    pub isolation_reason: u64,
    pub wrong: u64,
}

/// Judges alarms; those of several vantages that belong together count once, at their best.
pub fn worth(alarms: &[Said], plight: impl Fn(&Said) -> Plight) -> Worth {
    let mut alarms: Vec<_> = alarms.iter().collect();
    alarms.sort_by_key(|said| (said.of, said.at));
    let mut worth = Worth::default();
    for together in alarms.chunk_by(|a, b| a.of == b.of && b.at < a.at + ONE_ALARM) {
        match together.iter().map(|said| plight(said)).max() {
            Some(Plight::Dead) => worth.dead += 1,
            Some(Plight::IsolationReason) => worth.isolation_reason += 1,
            _ => worth.wrong += 1,
        }
    }
    worth
}

/// Of how many alarms all vantages that raise one give the same onset, which is what they name it by; and of how many.
pub fn named_alike(alarms: &[Said]) -> (usize, usize) {
    let mut alarms: Vec<_> = alarms.iter().collect();
    alarms.sort_by_key(|said| (said.of, said.at));
    let together: Vec<_> = alarms.chunk_by(|a, b| a.of == b.of && b.at < a.at + ONE_ALARM).collect();
    let alike = together.iter().filter(|alarms| alarms.iter().all(|said| said.onset == alarms[0].onset)).count();
    (alike, together.len())
}

/// An alarm about what was the matter since its first lost probe.
pub fn page(truth: &Truth) -> impl Fn(&Said) -> Plight {
    |said| truth.worst(said.of, said.onset.min(said.at).saturating_sub(SECOND / 2), said.at)
}

/// An order to switch, after a hold all through which the region must have been out of touch.
pub fn switch(truth: &Truth, hold: Time) -> impl Fn(&Said) -> Plight {
    move |said| truth.throughout(said.of, said.at.saturating_sub(hold), said.at)
}

/// How long it took from each death until the first alarm, and how many were missed; those that a region was already
/// under alarm for are left out.
pub fn detection(alarms: &[Said], all: &[Said], truth: &Truth) -> (Vec<Time>, u64) {
    let mut times = Vec::new();
    let mut missed = 0;
    for (region, begin, end) in truth.deaths() {
        let first =
            |alarms: &[Said], from| alarms.iter().find(|s| s.of == region && (from..end).contains(&s.at)).copied();
        if first(all, begin.saturating_sub(ONE_ALARM)).is_some_and(|said| said.at < begin) {
            continue;
        }
        match first(alarms, begin) {
            Some(said) => times.push(said.at - begin),
            None if end - begin > NOTICEABLE && first(all, begin).is_none_or(|s| s.at > begin + NOTICEABLE) => {
                missed += 1
            }
            None => {}
        }
    }
    times.sort_unstable();
    (times, missed)
}

/// The value that so large a part of them does not exceed; by nearest rank.
pub fn quantile(sorted: &[Time], part: f64) -> Option<f64> {
    let rank = (part * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).map(|time| *time as f64 / SECOND as f64)
}
