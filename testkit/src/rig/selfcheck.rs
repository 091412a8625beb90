//! The rig's own error: the tap's stamps, which are the truth, against the delay line's independent clock readings.

use std::collections::HashMap;

use super::{
    line::Passage,
    stats::{Table, number, spread},
    sys,
    tap::Seen,
};

/// What is known about the rig's own error; in µs.
#[derive(Default)]
pub struct SelfCheck {
    /// From the tap's stamp of an outgoing packet to the line's having it: bounds the error of the first stamp. It
    /// contains the line's wake-up and so overstates it.
    departure_lag: Vec<f64>,
    /// From before to after the line gave a packet to the prober's device; the tap's stamp must lie between both,
    /// so that its error is less than this.
    arrival_bracket: Vec<f64>,
    /// From the tap's stamp of an incoming packet to the line's clock reading just before: what of the bracket the
    /// stamp really is late.
    arrival_lag: Vec<f64>,
    /// Stamps outside of what the line's clock allows.
    impossible: usize,
    /// Held time minus intended time.
    hold_error: Vec<f64>,
    /// Packets that only one of both saw.
    unmatched: usize,
    clock_offset: Option<i64>,
    clock_shift: i64,
}

impl SelfCheck {
    /// Compares what both saw in one run.
    pub fn add(&mut self, seen: &[Seen], passages: &[Passage]) {
        let us = |ns: i64| ns as f64 / 1000.0;
        let mut tapped: HashMap<(u64, bool), Vec<i64>> = HashMap::new();
        for Seen { at, packet } in seen.iter().rev() {
            tapped.entry((packet.digest, !packet.outgoing)).or_default().push(*at);
        }
        // Both are read one after the other: at the edges one may know a packet that the other cannot know yet.
        let (first, last) = (seen.first().map_or(0, |seen| seen.at), seen.last().map_or(0, |seen| seen.at));
        let both = |passage: &&Passage| passage.taken >= first && passage.giving <= last;
        for passage in passages.iter().filter(both) {
            self.hold_error.push(us(passage.giving - passage.taken - passage.hold));
            let Some(at) = tapped.get_mut(&(passage.digest, passage.inbound)).and_then(Vec::pop) else {
                self.unmatched += 1;
                continue;
            };
            if passage.inbound {
                self.impossible += usize::from(at < passage.giving || at > passage.given);
                self.arrival_bracket.push(us(passage.given - passage.giving));
                self.arrival_lag.push(us(at - passage.giving));
            } else {
                self.impossible += usize::from(at > passage.taken);
                self.departure_lag.push(us(passage.taken - at));
            }
        }
        let offset = sys::realtime_ns() - sys::monotonic_ns();
        let first = *self.clock_offset.get_or_insert(offset);
        self.clock_shift = self.clock_shift.max((offset - first).abs());
    }

    /// Prints the error.
    pub fn print(&self) {
        println!("\nThe rig's own error, µs:\n");
        let mut table = Table::new(&["", "n", "min", "p50", "p99", "max"]);
        for (name, values) in [
            ("departure: line has it - stamp (bound)", &self.departure_lag),
            ("arrival: stamp - line gives it", &self.arrival_lag),
            ("arrival: width of the line's bracket (bound)", &self.arrival_bracket),
            ("line: held - intended (does not enter the truth)", &self.hold_error),
        ] {
            let [p50, p99, max] = spread(values.clone());
            let min = values.iter().copied().fold(f64::NAN, f64::min);
            let mut row = vec![name.to_owned(), values.len().to_string()];
            row.extend([min, p50, p99, max].map(number));
            table.row(row);
        }
        table.print();
        println!(
            "\nstamps that contradict the line's clock: {}; packets seen by one of both only: {}; \
             CLOCK_REALTIME moved against CLOCK_MONOTONIC by {} µs",
            self.impossible,
            self.unmatched,
            number(self.clock_shift as f64 / 1000.0)
        );
    }
}
