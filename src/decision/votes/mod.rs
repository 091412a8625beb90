//! Votes of the vantages: as bytes that only a vantage can make, who may vote, what they say, and whether we are the
//! ones who are cut off.

mod message;
mod signature;
mod table;
mod verify;

pub use self::{
    message::{InvalidMessage, PeerVoteEntry, RankEntry, VoteMessage},
    signature::{Keys, WeakKey},
    table::{PeerVote, VoteSet, VoteStatus, VoteTable},
    verify::{RejectReason, RejectionLog, Sequence, verify},
};
