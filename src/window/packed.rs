//! Successful probes in some 25 bytes each, because hundreds of thousands are kept.

use std::{collections::VecDeque, time::Duration};

use crate::model::{Phase, PhaseTimes, StampSource, Timings};

/// The last successful probes of a path, oldest first, each with its start in nanoseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Successes {
    count: usize,
    /// Numbers as LEB128 (seven bits a byte, the lowest first), in the order of [`Successes::push`].
    bytes: VecDeque<u8>,
    /// How many bytes the newest probe takes.
    newest: usize,
}

impl Successes {
    /// Adds a probe, and drops the oldest one if there are `capacity` already.
    pub(super) fn push(&mut self, capacity: usize, sent_at: u64, timings: &Timings) {
        if self.count >= capacity {
            let mut oldest = Numbers(self.bytes.iter());
            let _ = oldest.probe();
            let length = self.bytes.len() - oldest.0.len();
            self.bytes.drain(..length);
            self.count -= 1;
        }
        let before = self.bytes.len();
        let Timings { total, phases, source, syn_retransmits, hop_limit } = *timings;
        let present = source as u64 | u64::from(hop_limit.is_some()) << 1;
        let measured = phases.iter().fold(0, |set, (phase, _)| set | 1 << phase as u64);
        // What the phases are longer by than the total is little or nothing.
        let beside = nanos(phases.total()).wrapping_sub(nanos(total));
        let fixed = [sent_at, beside, syn_retransmits.into(), present, measured];
        let numbers = fixed.into_iter().chain(hop_limit.map(u64::from));
        for number in numbers.chain(phases.iter().map(|(_, duration)| nanos(duration))) {
            self.write(number);
        }
        self.newest = self.bytes.len() - before;
        self.count += 1;
    }

    fn write(&mut self, mut number: u64) {
        if self.bytes.capacity() - self.bytes.len() < 10 {
            // Doubling would leave up to half of the memory unused.
            self.bytes.reserve_exact(64);
        }
        while number > 0x7f {
            self.bytes.push_back(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push_back(number as u8);
    }

    /// The newest probe.
    pub(super) fn last(&self) -> Option<(u64, Timings)> {
        Numbers(self.bytes.range(self.bytes.len() - self.newest..)).probe()
    }

    /// All probes, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Timings)> + '_ {
        let mut numbers = Numbers(self.bytes.iter());
        std::iter::from_fn(move || numbers.probe())
    }
}

struct Numbers<'a>(std::collections::vec_deque::Iter<'a, u8>);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..).step_by(7) {
            let byte = *self.0.next()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte <= 0x7f {
                break;
            }
        }
        Some(number)
    }

    fn probe(&mut self) -> Option<(u64, Timings)> {
        let mut fixed = [0; 5];
        for number in &mut fixed {
            *number = self.next()?;
        }
        let [sent_at, beside, syn_retransmits, present, measured] = fixed;
        let hop_limit = if present & 2 != 0 { Some(self.next()? as u8) } else { None };
        let mut phases = PhaseTimes::default();
        for phase in Phase::ALL.into_iter().filter(|phase| measured & 1 << *phase as u64 != 0) {
            phases.add(phase, Duration::from_nanos(self.next()?));
        }
        let timings = Timings {
            total: Duration::from_nanos(nanos(phases.total()).wrapping_sub(beside)),
            phases,
            source: StampSource::ALL[present as usize & 1],
            syn_retransmits: syn_retransmits as u32,
            hop_limit,
        };
        Some((sent_at, timings))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn timings() -> impl Strategy<Value = Timings> {
        let phases = vec((0..Phase::ALL.len(), 0..u64::from(u32::MAX)), 0..4);
        (phases, any::<u64>(), any::<bool>(), any::<u32>(), option::of(any::<u8>())).prop_map(
            |(measured, total, kernel, syn_retransmits, hop_limit)| {
                let mut phases = PhaseTimes::default();
                for (phase, nanos) in measured {
                    phases.add(Phase::ALL[phase], Duration::from_nanos(nanos));
                }
                let source = if kernel { StampSource::Kernel } else { StampSource::Userland };
                let total = Duration::from_nanos(total);
                Timings { total, phases, source, syn_retransmits, hop_limit }
            },
        )
    }

    proptest! {
        #[test]
        fn the_last_probes_unpack_unchanged(probes in vec((any::<u64>(), timings()), 0..20), capacity in 1_usize..8) {
            let mut successes = Successes::default();
            for (sent_at, timings) in &probes {
                successes.push(capacity, *sent_at, timings);
            }
            let kept = probes.len().saturating_sub(capacity);
            prop_assert_eq!(successes.iter().collect::<Vec<_>>(), &probes[kept..]);
            prop_assert_eq!(successes.last(), probes.last().copied());
        }
    }

    #[test]
    fn fifty_probes_take_at_most_two_kilobytes() {
        let mut phases = PhaseTimes::default();
        for phase in [Phase::Resolve, Phase::Connect, Phase::Tls, Phase::Processing, Phase::Transfer] {
            phases.add(phase, Duration::from_millis(100));
        }
        let timings = Timings::new(phases, StampSource::Kernel);
        let mut successes = Successes::default();
        for n in 0..1_000 {
            successes.push(50, 1_795_230_245_123_456_789 + n, &timings);
        }
        assert!(successes.bytes.capacity() <= 2_200, "{} bytes", successes.bytes.capacity());
    }
}
