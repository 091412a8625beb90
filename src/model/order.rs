//! The signature under an order to fail over.

use std::fmt;

use super::{Region, UnixMillis};

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// What one vantage adds to an order: by it, the vantage says that it held the region down at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderSignature {
    /// The vantage.
    pub vantage: Region,
    /// When it signed, by its own clock.
    pub at: UnixMillis,
    /// The signature over the order and that time.
    pub signature: Signature,
}
