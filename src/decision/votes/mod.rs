//! Votes: messages that only a vantage can sign, their verification, and the table by which a quorum is counted.

mod clock_offset;
mod message;
mod signature;
mod table;
mod verify;

pub use self::{
    clock_offset::ClockOffset,
    message::{FailedOverEntry, InvalidMessage, PeerVoteEntry, RankEntry, VoteMessage},
    signature::{Keys, WeakKey},
    table::{Ballot, FailedOver, PeerVote, VoteSet, VoteStatus, VoteTable},
    verify::{MissingEnvironment, RejectReason, Sequence, VoteLog, VoteProblem, check_environment, verify},
};

#[doc(hidden)]
pub mod hostile {
    //! The parser that sees what a peer's sidecar answered, for the fuzz targets.
    pub use super::verify::fuzz_vote;
}
