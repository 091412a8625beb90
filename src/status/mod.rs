//! What the status page shows, as plain data: copied by the engine's thread, formatted by the server's.
//!
//! Everything that a page must decide is decided here: which headline applies, how severe a state is, which kind of probe
//! represents a peer, and which peer comes first.

mod explanation;
pub mod format;
mod headline;
mod views;

pub use self::{
    explanation::{Explained, Section},
    headline::{Concern, DownRegion, Headline, Pending, Severity},
    views::{
        AlertmanagerView, DatabaseView, Distance, FailoverOrder, KindView, Overview, PathView, PeerView, PushFailure,
        Quorum, WitnessView,
    },
};
