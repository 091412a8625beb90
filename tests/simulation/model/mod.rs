//! A discrete-event simulation of vantages that decide, and of what people use today. `docs/simulation.md` describes
//! the model.

#![allow(dead_code, reason = "the test and the example each use a part")]

pub(crate) mod figures;
pub(crate) mod journal;
pub(crate) mod places;
mod random;
pub(crate) mod rivals;
pub(crate) mod timeline;
pub(crate) mod truth;
pub(crate) mod world;
