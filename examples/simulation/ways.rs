//! The ways to run the product that are compared.

use std::time::Duration;

use regionwatch::{decision::Policy, signing::Operators};
use testkit::simulation::{
    timeline::{SECOND, Time},
    world::Setup,
};

pub(crate) const HOLD: Time = 30 * SECOND;

/// A way to run the product.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) burst: bool,
    pub(crate) ask: bool,
    pub(crate) quorum: bool,
}

pub(crate) const USUAL: Way = Way { name: "regionwatch", burst: false, ask: true, quorum: true };
pub(crate) const BURST: Way = Way { name: "regionwatch, confirm burst", burst: true, ..USUAL };
pub(crate) const UNASKED: Way = Way { name: "regionwatch, votes not requested at once", ask: false, ..USUAL };
pub(crate) const BURST_UNASKED: Way =
    Way { name: "regionwatch, confirm burst, votes not requested at once", burst: true, ..UNASKED };
/// As with `allow_single_vantage`, and without other vantages.
pub(crate) const ALONE: Way = Way { name: "regionwatch, single vantage", quorum: false, ..USUAL };

impl Way {
    pub(crate) const fn setup(&self, rtt: Vec<Vec<f64>>, loss: f64, seed: u64) -> Setup {
        Setup {
            policy: Policy {
                confirm_burst: self.burst,
                execute_after: Duration::from_micros(HOLD),
                allow_single_vantage: !self.quorum,
                // What is limited is another question: here every death is to be ordered.
                max_down: rtt.len() as u32,
                min_interval: Duration::ZERO,
            },
            rtt,
            disarmed: 0,
            critical: false,
            witness: false,
            state: false,
            operators: Operators { environment: String::new(), keys: Vec::new() },
            skew: Vec::new(),
            quorum: self.quorum,
            ask: self.ask,
            loss,
            skip: true,
            seed,
        }
    }
}
