//! Votes of the vantages: as bytes that only a vantage can make, who may vote, what they say, and whether we are the
//! ones who are cut off.

mod admission;
mod ballots;
mod bulletin;
mod isolation;
mod seal;

pub use self::{
    admission::{Reception, Refusal, Sequence, open},
    ballots::{Ballots, Said, View, Views},
    bulletin::{Bulletin, Invalid, PeerReport, Placing},
    isolation::{CutOff, Isolation},
    seal::{Keys, WeakKey},
};
