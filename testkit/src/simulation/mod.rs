//! A discrete-event simulation of vantages that decide, and of what people use today. `docs/simulation.md` describes
//! the model.

pub mod figures;
pub mod journal;
pub mod places;
mod random;
pub mod rivals;
pub mod timeline;
pub mod truth;
pub mod world;
