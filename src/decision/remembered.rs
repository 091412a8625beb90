//! What a restart of all vantages must not forget.

use std::sync::Arc;

use tokio::time::Instant;

use super::votes::FailedOver;
use crate::model::Region;

/// What must outlive a restart of all vantages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Remembered {
    /// The failovers that are not released, and are more than the word of one other vantage.
    pub failovers: Vec<(Region, FailedOver, Orderer)>,
    /// The last failover of each region that was released.
    pub released: Vec<(Region, Released)>,
    /// The signed statements of operators.
    pub statements: Vec<Arc<str>>,
    /// Whether another vantage has told which statements there are. Otherwise one that is missing may hold all the same.
    pub informed: bool,
}

/// Who has ordered a failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orderer {
    /// This vantage, alone or among others.
    ThisVantage,
    /// Others only.
    Others,
}

impl Orderer {
    /// As it is kept: whether this vantage has ordered it.
    pub const fn of(own: bool) -> Self {
        if own { Self::ThisVantage } else { Self::Others }
    }
}

/// A failover that was released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Its incident.
    pub id: Arc<str>,
    /// When it was released here. What was ordered before is over, under whatever name.
    pub at: Instant,
}
