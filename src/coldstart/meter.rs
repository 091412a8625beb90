//! How fast the layers of an image arrive.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The fewest bytes, and the shortest time, that say how fast a line is.
const LEAST: (u64, Duration) = (1_000_000, Duration::from_millis(20));

/// What has arrived, and for how long something did.
#[derive(Debug, Clone, Copy, Default)]
struct Arrived {
    bytes: u64,
    /// Layers of which something has arrived and more is to come.
    flowing: u32,
    /// The time in which a layer was flowing, and what arrived in it.
    took: Duration,
    counted: u64,
    /// The last arrival while a layer was flowing.
    last: Option<Instant>,
}

/// How fast layers arrive while they do: requests and handshakes are not the line's bandwidth.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Arrived>);

impl Meter {
    fn arrived(&self) -> MutexGuard<'_, Arrived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rate; `None` if too little has arrived.
    pub(super) fn rate(&self) -> (u64, Option<(f64, Duration)>) {
        let Arrived { bytes, took, counted, .. } = *self.arrived();
        let is_enough = bytes >= LEAST.0 && took >= LEAST.1;
        (bytes, is_enough.then(|| (counted as f64 * 8.0 / took.as_secs_f64(), took)))
    }
}

/// One layer on its way, until it is dropped.
pub(super) struct Flow<'a> {
    meter: &'a Meter,
    begun: bool,
}

impl<'a> Flow<'a> {
    pub(super) const fn new(meter: &'a Meter) -> Self {
        Self { meter, begun: false }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        let (now, bytes) = (Instant::now(), bytes as u64);
        let mut arrived = self.meter.arrived();
        arrived.bytes += bytes;
        // The first piece took the time before it, unless another layer was flowing.
        if let Some(last) = arrived.last.filter(|_| arrived.flowing > 0) {
            arrived.took += now - last;
            arrived.counted += bytes;
        }
        arrived.last = Some(now);
        arrived.flowing += u32::from(!self.begun);
        self.begun = true;
    }
}

impl Drop for Flow<'_> {
    fn drop(&mut self) {
        self.meter.arrived().flowing -= u32::from(self.begun);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_that_of_what_arrived_after_the_first_piece() {
        let meter = Meter::default();
        assert_eq!(meter.rate(), (0, None));
        let mut flow = Flow::new(&meter);
        flow.add(500_000);
        advance(Duration::from_secs(1)).await;
        flow.add(400_000);
        assert_eq!(meter.rate(), (900_000, None), "too few bytes");
        flow.add(600_000);
        assert_eq!(meter.rate(), (1_500_000, Some((8e6, Duration::from_secs(1)))));
        let sudden = Meter::default();
        let mut flow = Flow::new(&sudden);
        flow.add(2_000_000);
        flow.add(2_000_000);
        assert_eq!(sudden.rate(), (4_000_000, None), "no time has passed");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_between_layers_does_not_slow_a_rate() {
        let meter = Meter::default();
        for _ in 0..4 {
            let mut flow = Flow::new(&meter);
            flow.add(100_000);
            advance(Duration::from_millis(100)).await;
            flow.add(1_000_000);
            drop(flow);
            // A handshake and a request to a registry far away.
            advance(Duration::from_secs(3)).await;
        }
        assert_eq!(meter.rate(), (4_400_000, Some((8e7, Duration::from_millis(400)))));
    }

    #[tokio::test(start_paused = true)]
    async fn layers_that_arrive_together_are_one_rate() {
        let meter = Meter::default();
        let (mut one, mut two) = (Flow::new(&meter), Flow::new(&meter));
        one.add(100_000);
        advance(Duration::from_millis(50)).await;
        two.add(500_000);
        advance(Duration::from_millis(50)).await;
        one.add(500_000);
        drop(one);
        advance(Duration::from_millis(100)).await;
        two.add(1_000_000);
        assert_eq!(meter.rate(), (2_100_000, Some((8e7, Duration::from_millis(200)))));
    }
}
