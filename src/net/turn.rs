//! Whose turn it is of several addresses of a name.

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::model::AddressChoice;

/// Which address was probed last, and whether it is to be left.
#[derive(Debug, Default)]
pub(super) struct Turn {
    choice: AddressChoice,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    address: Option<IpAddr>,
    is_silent: bool,
}

impl Turn {
    pub(super) fn new(choice: AddressChoice) -> Self {
        Self { choice, last: Mutex::default() }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address to probe now, of the first one and these others.
    pub(super) fn next(&self, first: IpAddr, others: &[IpAddr]) -> IpAddr {
        let mut last = self.last();
        let all = || std::iter::once(first).chain(others.iter().copied());
        let place = all().position(|address| Some(address) == last.address);
        let moves = last.is_silent || self.choice == AddressChoice::All;
        let next = match place {
            Some(place) if moves => all().nth(place + 1),
            Some(_) => last.address,
            None => None,
        };
        let address = next.unwrap_or(first);
        *last = Last { address: Some(address), is_silent: false };
        address
    }

    /// Notes that this address is silent or refuses. Only the one whose turn it is gives way.
    pub(super) fn leave(&self, address: IpAddr) {
        let mut last = self.last();
        last.is_silent |= last.address == Some(address);
    }
}
