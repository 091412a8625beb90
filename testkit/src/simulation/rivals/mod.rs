//! What people use today, by the rules that its documentation and source give, told of the same troubles. Their
//! observers never freeze or start again, and their alarms are never late on the way: that is in their favour.

mod cloudprober;
mod k8gb;
mod prometheus;

use super::{
    journal::Said,
    random::Random,
    timeline::{SECOND, Span, Time, Trouble},
};

/// A probe that is done again and again, and how long it takes until somebody looks at what came of it.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    pub interval: Time,
    /// After how long without an answer it has failed.
    pub timeout: Time,
    /// When a packet is sent that may be answered: at the beginning, and where TCP sends it again.
    pub tries: &'static [Time],
    /// How many protocols are tried, each of which would do.
    pub protocols: u32,
    /// How often what came of it is looked at.
    pub evaluated_each: Time,
}

/// When somebody is alarmed.
pub trait Rule {
    /// A probe came to its end. Says whether the alarm begins.
    fn take(&mut self, ok: bool) -> bool;

    /// Whether what is remembered is the same after one more success.
    fn rests(&self) -> bool;
}

pub struct Rival {
    pub name: &'static str,
    pub watch: Watch,
    pub rule: fn() -> Box<dyn Rule>,
}

/// All of them.
pub const ALL: [Rival; 7] = [
    prometheus::STOCK,
    prometheus::TUNED,
    prometheus::EDGE,
    prometheus::EDGE_ALL,
    cloudprober::DEFAULT,
    cloudprober::THREE_OF_SIX,
    k8gb::DEFAULT,
];

impl Rival {
    /// Every alarm that every observer raises.
    pub fn alarms(&self, spans: &[Span], regions: usize, loss: f64, length: Time, seed: u64) -> Vec<Said> {
        let mut alarms = Vec::new();
        for by in 0..regions {
            for of in (0..regions).filter(|of| *of != by) {
                let troubles: Vec<_> = spans.iter().filter(|span| concerns(span, by, of)).copied().collect();
                let random = Random::stream(seed, &format!("{} {by} {of}", self.name));
                self.watch_one((by, of), &troubles, loss, length, random, &mut alarms);
            }
        }
        let deaths: Vec<_> = spans.iter().filter(|span| matches!(span.trouble, Trouble::Dead(_))).copied().collect();
        alarms.retain(|said| !is_dead(&deaths, said));
        alarms.sort_by_key(|said| said.at);
        alarms
    }

    fn watch_one(
        &self,
        (by, of): (usize, usize),
        troubles: &[Span],
        loss: f64,
        length: Time,
        mut random: Random,
        alarms: &mut Vec<Said>,
    ) {
        let Watch { interval, timeout, tries, protocols, evaluated_each } = self.watch;
        let mut rule = (self.rule)();
        let longest = troubles.iter().map(|span| span.end - span.begin).max().unwrap_or_default();
        let all_lost = loss.powi(protocols as i32 * tries.len() as i32);
        let evaluated = random.below(evaluated_each);
        let mut at = random.below(interval);
        let mut onset = None;
        let mut unlucky = None;
        let mut first = 0;
        while at < length {
            while troubles.get(first).is_some_and(|span| span.begin + longest < at) {
                first += 1;
            }
            let last = at + tries.last().copied().unwrap_or_default();
            let troubled = || troubles[first..].iter().take_while(|span| span.begin <= last).any(|span| span.end > at);
            if rule.rests() && !troubled() {
                // Calm time is skipped: to the next probe that fails by chance, or in trouble.
                let slots = *unlucky.get_or_insert_with(|| random.geometric(all_lost) as Time);
                let begins = troubles[first..].iter().map(|span| span.begin).find(|begin| *begin > last);
                let wait = last - at;
                let free = begins.map_or(Time::MAX, |begin| (begin.saturating_sub(wait) - at).div_ceil(interval));
                if free < slots {
                    unlucky = Some(slots - free.max(1));
                    at += free.max(1) * interval;
                    continue;
                }
                unlucky = None;
                at = at.saturating_add(slots.saturating_mul(interval));
                if at >= length {
                    return;
                }
                onset.get_or_insert(at);
                if rule.take(false) {
                    alarms.push(Said { at: at + timeout + evaluated, by, of, onset: at });
                }
                at += interval;
                continue;
            }
            let answered = |offset: Time| {
                !troubles[first..].iter().take_while(|span| span.begin <= at + offset).any(|s| s.covers(at + offset))
            };
            let ok = (0..protocols).any(|_| tries.iter().any(|offset| !random.chance(loss) && answered(*offset)));
            if ok {
                onset = None;
            }
            let since = if ok { at } else { *onset.get_or_insert(at) };
            if rule.take(ok) {
                alarms.push(Said { at: at + timeout + evaluated, by, of, onset: since });
            }
            at += interval;
        }
    }
}

/// Whether whoever raises the alarm is in a region that is dead, or was when the first probe was lost.
fn is_dead(deaths: &[Span], said: &Said) -> bool {
    let concerns =
        |span: &Span| span.trouble == Trouble::Dead(said.by) && span.begin <= said.at && said.onset < span.end;
    deaths.iter().any(concerns)
}

fn concerns(span: &Span, by: usize, of: usize) -> bool {
    span.stops(by, of) || span.stops(of, by) || span.trouble == Trouble::Blind(by)
}

const ONCE: &[Time] = &[0];
/// A SYN that is not answered is sent again after 1, 3 and 7 s (RFC 6298, 2.1 and 5.5).
const WITH_RETRANSMISSIONS: &[Time] = &[0, SECOND, 3 * SECOND, 7 * SECOND];
